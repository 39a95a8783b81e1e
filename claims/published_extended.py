"""Published figures of the extended experiments: spectra, codebooks, phases, the last MLP, the KV cache."""

from __future__ import annotations

from claims.published_figure import EITHER, GPT2, MISTRAL, NOT_SAID, InEvidence, InProtocol, InRow, Published

_LAYERS, _EMBEDDINGS = "spectral_gini_excess", "spectral_gini_excess_embeddings"
_TABLE_5, _TABLE_6, _TABLE_7 = "§5.1, Table 5", "§5.2, Table 6", "§5.3, Table 7"
_MEAN = f"mean of all matrices; {NOT_SAID}"
_MSE = "the paper says only MSE, and the row's note has the gain of the weights' own"
_OUTPUTS = "error of outputs, mean of all layers, one codebook or scale for each tensor"

_SPECTRA = (
    Published(
        "gini-embeddings",
        EITHER,
        "appendix",
        "Gini of squared DCT coefficients, embeddings",
        _TABLE_5,
        "gini",
        (0.79, 0.81),
        InEvidence(_EMBEDDINGS, ("gini", 0)),
        differs=_MEAN,
    ),
    Published(
        "gini-layers",
        EITHER,
        "appendix",
        "Gini of squared DCT coefficients, layers",
        _TABLE_5,
        "gini",
        (0.63, 0.65),
        InEvidence(_LAYERS, ("gini", 0)),
        differs=_MEAN,
    ),
    Published(
        "gini-random",
        EITHER,
        "appendix",
        "the same of a random matrix",
        _TABLE_5,
        "gini",
        0.30,
        InEvidence(_LAYERS, ("shuffled", 0)),
        differs=f"the layers' own entries, shuffled; {NOT_SAID}",
    ),
    Published(
        "top-quarter",
        EITHER,
        "appendix",
        "energy in the top 25% of coefficients",
        "§5.1",
        "share",
        0.72,
        InEvidence(_LAYERS, ("energy", 0)),
        differs=f"layers, {_MEAN}",
    ),
    Published(
        "needed-energy",
        EITHER,
        "appendix",
        "energy that spectral compression would need",
        "§5.1",
        "share",
        0.90,
        "a requirement, and no measurement",
        above=True,
    ),
)

_CODEBOOKS = (
    Published(
        "codebook-levels", MISTRAL, "appendix", "levels of k-means", _TABLE_6, "set-up", 16, InProtocol(("reconstruction", "levels"))
    ),
    Published(
        "kmeans",
        MISTRAL,
        "appendix",
        "uniform INT4 over k-means, MSE, five layers",
        _TABLE_6,
        "ratio",
        1.6,
        InRow("kmeans_gain"),
        differs=f"{_OUTPUTS}; {_MSE}",
    ),
    Published(
        "nf4",
        MISTRAL,
        "appendix",
        "uniform INT4 over NF4, MSE",
        "§5.2",
        "ratio",
        1.21,
        InRow("nf4_gain"),
        differs=f"{_OUTPUTS}; {_MSE}; not said of which model, Table 6 is Mistral's",
    ),
    *(
        Published(
            f"kmeans-{name}",
            MISTRAL,
            "appendix",
            f"share of k-means' gain from {what}",
            "§5.2",
            "share",
            share,
            "the suite does not take the gain of k-means apart",
        )
        for name, what, share in (("levels", "Gaussian levels", 0.60), ("groups", "adapting to each group", 0.40))
    ),
)

_Cells = tuple[tuple[range, float | tuple[float, float], float | tuple[float, float]], ...]
_SIDES: _Cells = (
    (range(1), 4.7, 1.1),
    (range(2, 5), (0.2, 0.3), (0.3, 2.1)),
    (range(5, 10), (0.09, 0.26), (0.09, 0.29)),
    (range(11, 12), 0.80, 0.18),
)


def _range(blocks: range) -> str:
    return f", of B{blocks[0]}–{blocks[-1]}" if len(blocks) > 1 else ""


_PHASES = (
    *(
        Published(
            f"{part}-{block}",
            GPT2,
            "appendix",
            f"KL with the {told} of B{block} destroyed{_range(blocks)}",
            _TABLE_7,
            "kl",
            kl,
            InEvidence("phase_profile", ("kl", part, block)),
            differs="INT2 with a scale for every row",
        )
        for blocks, attention, mlp in _SIDES
        for part, told, kl in (("attention", "attention", attention), ("mlp", "MLP", mlp))
        for block in blocks
    ),
    Published(
        "phases",
        GPT2,
        "appendix",
        "phases of depth",
        "§5.3",
        "count",
        4,
        InRow("phase_profile"),
        differs="runs of blocks in which one side costs twice the other, or neither",
    ),
    Published("mlp-skipped", MISTRAL, "appendix", "perplexity added, MLP of B31 skipped", "§5.3", "perplexity", 3.05, InRow("mlp_skip")),
    Published(
        "mlp-mean",
        MISTRAL,
        "appendix",
        "perplexity added, MLP of B31 replaced by its mean output",
        "§5.3",
        "perplexity",
        4.51,
        InRow("mlp_mean"),
    ),
)

EXTENDED = (
    *_SPECTRA,
    *_CODEBOOKS,
    *_PHASES,
    Published(
        "kv-cache",
        EITHER,
        "appendix",
        "perplexity by which quantised keys and values beat rank reduction, five models",
        "companion study",
        "perplexity",
        (4, 364),
        "this version has no measurement of the KV cache",
    ),
)
