"""Claim 5: easy tokens, with the bounds fixed before any model was measured."""

from __future__ import annotations

from claims.bounds import SHARE, at_least, both
from claims.claim import INTERVENTIONS, JUDGED, Claim, Predicate
from claims.verdicts import Bound
from harness import measurement

_EASY = Bound((0.25, 0.35), (0.20, 0.40), "inside")
_CONTROLS = {
    "typical": "counting typical tokens alone, and changing no others",
    "strict": "heads trained on typical tokens of larger samples, and a check on half of them",
}

EASY = Claim(
    key=5,
    title="30% of tokens are easy",
    statement="About 30% of tokens are decided by the middle of the model.",
    falsifier="A share far from 30%, one that a bigram table reaches too, or two criteria that disagree about which tokens.",
    source="arXiv:2604.20682 §4.5, Tables 4 and 8",
    predicates=(
        Predicate(
            "exit_agreement",
            "top-1 agreement of a trained mid-depth head",
            "share",
            both(_EASY),
            JUDGED,
            INTERVENTIONS,
            fewest_blocks=2,
            inside=SHARE,
            controls=_CONTROLS,
            measured_by=measurement.EXIT,
        ),
        Predicate(
            "exit_excess",
            "the same minus the better of a bigram table and a head on the embeddings",
            "share",
            both(at_least(0.05, 0)),
            ("strict",),
            INTERVENTIONS,
            fewest_blocks=2,
            inside=(-1.0, 1.0),
            controls=_CONTROLS,
            measured_by=(*measurement.EXIT, *measurement.LOWEST_EXIT),
        ),
        Predicate(
            "kl_easy_share",
            "tokens whose KL is below the median for each late block destroyed",
            "share",
            both(_EASY),
            ("paper",),
            INTERVENTIONS,
            fewest_blocks=10,
            inside=SHARE,
            controls=_CONTROLS,
            measured_by=measurement.LATE_BLOCKS,
        ),
        Predicate(
            "easy_sets_agree",
            "odds ratio of the two criteria at equal confidence",
            "odds ratio",
            both(Bound(1.0, 1.0, open_holds=True)),
            ("strict",),
            INTERVENTIONS,
            fewest_blocks=10,
            controls=_CONTROLS,
            measured_by=(*measurement.EXIT, *measurement.LATE_BLOCKS),
        ),
        Predicate(
            "routing_cost",
            "relative perplexity cost of early exit at confidence 0.95",
            "ΔPPL/PPL",
            both(at_least(0.2, 0.05)),
            (),
            INTERVENTIONS,
            fewest_blocks=2,
            controls=_CONTROLS,
            measured_by=(*measurement.EXIT, *measurement.LATER_EXITS),
        ),
        Predicate(
            "head_gain",
            "agreement gained by training the exit head",
            "share",
            both(at_least(0.10, 0.02)),
            (),
            INTERVENTIONS,
            fewest_blocks=2,
            inside=(-1.0, 1.0),
            controls=_CONTROLS,
            measured_by=measurement.EXIT,
        ),
        Predicate(
            "supervision",
            "agreement gained by cross-entropy over distillation",
            "share",
            both(Bound(0.0, 0.0, open_holds=True, open_falsified=True)),
            (),
            INTERVENTIONS,
            fewest_blocks=2,
            inside=(-1.0, 1.0),
            controls=_CONTROLS,
            measured_by=(*measurement.EXIT, *measurement.DISTILLED_EXIT),
        ),
        Predicate(
            "lora_gain",
            "agreement gained by a LoRA beside the head",
            "share",
            {},
            (),
            INTERVENTIONS,
            fewest_blocks=2,
            inside=(-1.0, 1.0),
            controls=_CONTROLS,
            measured_by=(*measurement.EXIT, *measurement.LORA),
        ),
    ),
)
