"""Published figures of the set-up and of claim 1: variance is not importance."""

from __future__ import annotations

from claims.published_figure import EITHER, GPT2, MISTRAL, NOT_SAID, InEvidence, InModel, InProtocol, InRow, Matching, Published, SumOfFirst

_SET_UP = "set-up"
_PROJECTION = "projection_ppl_ratio"

_SETTINGS = (
    Published("gpt2-blocks", GPT2, 2, "blocks", _SET_UP, "set-up", 12, InModel("n_blocks")),
    Published("gpt2-width", GPT2, 1, "width d", _SET_UP, "set-up", 768, InModel("width")),
    Published("mistral-blocks", MISTRAL, 2, "blocks", _SET_UP, "set-up", 32, InModel("n_blocks")),
    Published("mistral-width", MISTRAL, 1, "width d", _SET_UP, "set-up", 4096, InModel("width")),
    Published(
        "gpt2-parameters", GPT2, 2, "parameters", _SET_UP, "set-up", 124e6, "a report does not record the parameters of the whole model"
    ),
    Published(
        "mistral-parameters",
        MISTRAL,
        2,
        "parameters",
        _SET_UP,
        "set-up",
        7.24e9,
        "a report does not record the parameters of the whole model",
    ),
    Published("calibration-samples", EITHER, 1, "calibration samples", _SET_UP, "set-up", 32, InProtocol(("calibration_windows",))),
    Published("sample-tokens", EITHER, 1, "tokens of a sample", _SET_UP, "set-up", 256, InProtocol(("window",))),
    Published(
        "calibration-tokens",
        EITHER,
        1,
        "calibration tokens",
        _SET_UP,
        "set-up",
        8192,
        "a report records windows and their size, which are the rows above",
    ),
    Published("evaluation-samples", EITHER, 1, "evaluation samples", _SET_UP, "set-up", 16, InProtocol(("evaluation_windows",))),
    Published("experiments", EITHER, 1, "experiments", _SET_UP, "set-up", 46, "a count of the paper's own"),
)

_TABLE_1 = tuple(
    Published(
        f"projection-{kept}",
        GPT2,
        1,
        f"perplexity, B3–B8 projected onto {kept} PCs",
        "§4.1, Table 1",
        "perplexity",
        perplexity,
        InEvidence(_PROJECTION, ("perplexity", "pca", Matching("k", kept))),
    )
    for kept, perplexity in ((8, 3441), (64, 524), (256, 145))
)

_KEPT = tuple(
    Published(
        f"variance-of-{kept}",
        GPT2,
        1,
        f"share of variance in {kept} PCs",
        "§4.1, Table 1",
        "share",
        share,
        InEvidence("dimensions_90", ("shares", SumOfFirst(kept))),
        differs="after B5 alone",
    )
    for kept, share in ((8, 0.95), (64, 0.99), (256, 0.999))
)

VARIANCE = (
    *_SETTINGS,
    Published(
        "dimensions-90",
        GPT2,
        1,
        "PCs for 90% of variance after B3, of 768",
        "§4.1",
        "count",
        2,
        InRow("dimensions_90", 3),
    ),
    *_TABLE_1,
    Published(
        "baseline-gpt2", GPT2, 1, "perplexity, all 768 PCs kept", "§4.1, Table 1", "perplexity", 47, InEvidence(_PROJECTION, ("baseline",))
    ),
    *_KEPT,
    Published(
        "overlap",
        MISTRAL,
        1,
        "overlap of the top 128 PCA and CCA directions, B15 to B31",
        "§4.1",
        "share",
        0.04,
        InRow("subspace_overlap"),
        differs="as the mean squared cosine of CCA weights with the PCs",
    ),
    Published(
        "overlap-rank",
        MISTRAL,
        1,
        "directions of each kind",
        "§4.1",
        "set-up",
        128,
        "chosen, and the same here: d/32, of which a report's protocol has the divisor",
    ),
    Published(
        "uncorrelated",
        MISTRAL,
        1,
        "1 minus that overlap (“96% uncorrelated”)",
        "§4.1",
        "share",
        0.96,
        "the row above, said the other way round",
    ),
    Published(
        "cca-gain",
        EITHER,
        1,
        "R² that CCA gains over PCA, as a ratio − 1, at every dimensionality",
        "§4.1",
        "gain",
        0.23,
        InRow("predictive_gain"),
        differs=f"the least gain of four dimensionalities, held out; {NOT_SAID}",
    ),
    Published(
        "logit-correlation",
        EITHER,
        1,
        "canonical correlation of PCs with the change in logits that would falsify",
        "reviews",
        "ratio",
        0.2,
        "a threshold that a reviewer names, and no figure of the paper; see logit_change_correlation",
        above=True,
    ),
)
