"""Claim 1 and its predicates, with the bounds fixed before any model was measured."""

from __future__ import annotations

from claims.bounds import CORRELATION, SHARE, at_least, at_most, both
from claims.claim import INTERVENTIONS, JUDGED, Claim, Predicate
from claims.verdicts import Bound
from harness import measurement
from harness.settings import LAMBDA, SEEDS

_LARGER = "larger samples, spread over the text"

VARIANCE = Claim(
    key=1,
    title="variance is not importance",
    statement="The directions in which activations vary most are not those that predict the output.",
    falsifier="Keeping only the high-variance directions costs little, they overlap the predictive ones, or variance ranks importance.",
    source="arXiv:2604.20682 §4.1, Table 1",
    predicates=(
        Predicate(
            "projection_ppl_ratio",
            "perplexity after projecting onto the PCs with 90% of variance, over baseline",
            "ratio",
            {"paper": at_least(2, 1.1), "strict": at_least(2, 1)},
            core=JUDGED,
            rungs=INTERVENTIONS,
            fewest_blocks=2,
            controls={
                "typical": "leaving first tokens and massive activations as they are",
                "strict": "comparing, at mid alone, with noise of the dropped variance",
            },
            measured_by=measurement.PROJECTION,
            unmoved={"paper": (SEEDS, LAMBDA)},  # The curve beside it is of random and of regularised directions.
        ),
        Predicate(
            "subspace_overlap",
            "overlap of top PCs and predictive directions",
            "share",
            both(at_most(0.10, 0.20)),
            core=JUDGED,
            fewest_blocks=2,
            controls={
                "held-out": "taking the PCs of held-out text",
                "strict": "judging in whitened coordinates, chance taken off",
            },
            measured_by=measurement.SUBSPACES,
            unmoved=dict.fromkeys(JUDGED, (SEEDS,)),  # Random subspaces stand beside it; halves are by turns.
        ),
        Predicate(
            "variance_ranks_importance",
            "rank correlation of a PC's variance with the KL of ablating it",
            "Spearman ρ",
            both(at_most(0.5, 0.8)),
            core=("strict",),
            rungs=INTERVENTIONS,
            fewest_blocks=2,
            inside=CORRELATION,
            controls={"typical": "taking the PCs of typical tokens", "strict": _LARGER},
            measured_by=measurement.ABLATION,
        ),
        Predicate(
            "predictive_gain",
            "held-out R² gained by predictive directions over as many PCs",
            "ratio − 1",
            both(at_least(0.10, 0.02)),
            fewest_blocks=2,
            controls={"held-out": "nothing: it is held out on paper too", "strict": f"cross-validated ridge and {_LARGER}"},
            measured_by=measurement.SUBSPACES,
            unmoved=dict.fromkeys(JUDGED, (SEEDS,)),
        ),
        Predicate(
            "sensitivity_gini",
            "inequality of sensitivity over directions",
            "Gini",
            both(at_most(0.25, 0.40)),
            rungs=INTERVENTIONS,
            fewest_blocks=2,
            inside=SHARE,
            controls={"typical": "taking the PCs of typical tokens", "strict": _LARGER},
            measured_by=measurement.SENSITIVITY,
        ),
        Predicate(
            "logit_change_correlation",
            "first canonical correlation of PC scores with the change in logits on their ablation",
            "correlation",
            {"paper": Bound(0.20, 0.20, "at_most", open_falsified=True), "strict": at_most(0, 0.05)},
            rungs=INTERVENTIONS,
            fewest_blocks=2,
            inside=CORRELATION,
            controls={"strict": "taking off what random subspaces of equal dimension give"},
            measured_by=measurement.LOGIT_CHANGE,
        ),
        *(
            Predicate(
                f"dimensions_{share}",
                f"PCs that hold {share}% of variance",
                "PCs",
                blocks="each",
                rungs=("paper", "typical"),
                measured_by=(measurement.SPECTRA,),
            )
            for share in (90, 95, 99)
        ),
    ),
)
