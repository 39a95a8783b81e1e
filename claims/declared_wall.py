"""Claim 3, and the codebooks and spectra of the appendix, with the bounds fixed before any model was measured."""

from __future__ import annotations

from claims.bounds import at_least, both
from claims.claim import INTERVENTIONS, JUDGED, Claim, Predicate
from claims.verdicts import Bound
from harness import measurement
from harness.settings import SEEDS

_WALL = Bound(1.0, 1.0, open_holds=True, open_falsified=True)
_CONTROLS = {
    "typical": "scoring, and fitting bases, on typical tokens",
    "strict": "a scale for every row, learned bases counted as stored, larger samples",
}
_METHODS = {
    "dct": "its cosine transform",
    "svd": "two SVD factors with as many entries",
    "random": "INT8 and INT2 in a random basis",
    "pca": "INT8 and INT2 in the PCs of the inputs",
    "cca": "INT8 and INT2 in the canonical basis of inputs and Δ",
}
_DRAWN = ("random", "rotation", "hadamard")
_UNDRAWN = dict.fromkeys(JUDGED, (SEEDS,))
"""Of what is measured in one pass with the methods that are drawn, and is not drawn. What ``strictly`` names may be one of them."""
_CHALLENGERS = {
    "rotation": ("a random rotation and INT4", measurement.ARENA),
    "hadamard": ("a Hadamard rotation and INT4", measurement.ARENA),
    "gptq_factors": ("GPTQ on SVD factors, over GPTQ on the weight", (measurement.CHALLENGED,)),
}

WALL = Claim(
    key=3,
    title="the reconstruction wall",
    statement="Quantising a factored or transformed weight matrix loses to quantising the matrix itself.",
    falsifier="A factored or transformed method that beats direct quantisation at the same number of stored bits.",
    source="arXiv:2604.20682 §4.3, Table 3, Eq. 4",
    predicates=(
        *(
            Predicate(
                f"wall_{name}",
                f"output error of {meaning} over direct INT4, mean of all layers",
                "ratio",
                both(_WALL),
                core=JUDGED,
                controls=_CONTROLS,
                measured_by=measurement.ARENA,
                unmoved={} if name in _DRAWN else _UNDRAWN,
            )
            for name, meaning in _METHODS.items()
        ),
        Predicate(
            "strictly",
            "the least such ratio of any layer and method",
            "ratio",
            both(_WALL),
            controls=_CONTROLS,
            measured_by=measurement.ARENA,
        ),
        Predicate(
            "cross_terms",
            "output error of SVD's cross-terms over direct INT4",
            "ratio",
            both(Bound(1.0, 1.0, open_falsified=True)),
            controls=_CONTROLS,
            measured_by=measurement.ARENA,
            unmoved=_UNDRAWN,
        ),
        *(
            Predicate(
                f"challenger_{name}",
                f"output error of {meaning}" + ("" if "over" in meaning else " over direct INT4"),
                "ratio",
                {"strict": _WALL},
                rungs=("strict",),
                measured_by=measured_by,
                unmoved={} if name in _DRAWN else {"strict": (SEEDS,)},
            )
            for name, (meaning, measured_by) in _CHALLENGERS.items()
        ),
        Predicate(
            "downstream",
            "perplexity with all layers quantised directly",
            "PPL",
            rungs=INTERVENTIONS,
            controls=_CONTROLS,
            measured_by=measurement.QUANTISED,
        ),
    ),
)

CODEBOOKS = (
    *(
        Predicate(
            f"spectral_gini_excess{suffix}",
            f"DCT concentration of {what} over that of shuffled weights",
            "Gini",
            both(at_least(0.05, 0.01)),
            rungs=JUDGED,
            controls={"strict": "nothing: it is of weights alone"},
            measured_by=(measurement.CONCENTRATION,),
        )
        for suffix, what in (("", "layers"), ("_embeddings", "embeddings"))
    ),
    *(
        Predicate(
            name,
            f"output error of uniform levels over {what}, mean of all layers",
            "ratio",
            both(at_least(holds, 1)),
            rungs=JUDGED,
            controls={"strict": "a codebook for every 64 weights, stored with them"},
            measured_by=measurement.ARENA,
            unmoved=_UNDRAWN,
        )
        for name, what, holds in (("kmeans_gain", "k-means with 16 levels", 1.3), ("nf4_gain", "NF4", 1.1))
    ),
)
"""Of the appendix."""
