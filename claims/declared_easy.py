"""Claim 5: easy tokens, with the bounds fixed before any model was measured."""

from __future__ import annotations

from claims.bounds import SHARE, at_least, both
from claims.claim import INTERVENTIONS, JUDGED, Claim, Predicate
from claims.verdicts import Bound
from harness import measurement
from harness.easy_protocol import FEWEST_BLOCKS

_EASY = Bound((0.25, 0.35), (0.20, 0.40), "inside")
_OF_HEADS = {
    "typical": "counting typical tokens alone",
    "strict": "heads trained on typical tokens of larger samples, and a check on half of them",
}
_OF_LORA = {**_OF_HEADS, "strict": "training on typical tokens of larger samples"}
_OF_BOTH = {
    "typical": "counting typical tokens alone, and changing no others",
    "strict": "heads trained on typical tokens of larger samples, windows from all over the text, and a check on half of it",
}
_OF_BLOCKS = {"typical": "counting typical tokens alone, and changing no others", "strict": "windows from all over the text"}


def _predicate(
    name: str,
    meaning: str,
    unit: str,
    bound: Bound | None,
    core: tuple[str, ...],
    *measured_by: tuple[measurement.Measurement, measurement.Measurement],
    inside: tuple[float, float] = (float("-inf"), float("inf")),
    fewest_blocks: int = 2,
    controls: dict[str, str] = _OF_HEADS,
) -> Predicate:
    """Declare a predicate of heads or destroyed blocks, by the measurements of both layouts that it rests on."""
    every = tuple(one for both_layouts in measured_by for one in both_layouts)
    bounds = {} if bound is None else both(bound)
    return Predicate(
        name, meaning, unit, bounds, core, INTERVENTIONS, None, fewest_blocks, inside=inside, controls=controls, measured_by=every
    )


_DIFFERENCE = (-1.0, 1.0)  # of shares


EASY = Claim(
    key=5,
    title="30% of tokens are easy",
    statement="About 30% of tokens are decided by the middle of the model.",
    falsifier="A share far from 30%, one that a bigram table reaches too, or two criteria that disagree about which tokens.",
    source="arXiv:2604.20682 §4.5, Tables 4 and 8",
    predicates=(
        _predicate("exit_agreement", "top-1 agreement of a trained mid-depth head", "share", _EASY, JUDGED, measurement.EXIT, inside=SHARE),
        _predicate(
            "exit_excess",
            "the same minus the better of a bigram table and a head on the embeddings",
            "share",
            at_least(0.05, 0),
            ("strict",),
            measurement.EXIT,
            measurement.LOWEST_EXIT,
            inside=_DIFFERENCE,
        ),
        _predicate(
            "kl_easy_share",
            "tokens whose KL is below the median for each late block destroyed",
            "share",
            _EASY,
            ("paper",),
            measurement.LATE_BLOCKS,
            inside=SHARE,
            fewest_blocks=FEWEST_BLOCKS,
            controls=_OF_BLOCKS,
        ),
        _predicate(
            "easy_sets_agree",
            "odds ratio of the two criteria at equal confidence",
            "odds ratio",
            Bound(1.0, 1.0, open_holds=True),
            ("strict",),
            measurement.EXIT,
            measurement.LATE_BLOCKS,
            fewest_blocks=FEWEST_BLOCKS,
            controls=_OF_BOTH,
        ),
        _predicate(
            "routing_cost",
            "relative perplexity cost of early exit at confidence 0.95",
            "ΔPPL/PPL",
            at_least(0.2, 0.05),
            (),
            measurement.EXIT,
            measurement.LATER_EXITS,
        ),
        _predicate(
            "head_gain",
            "agreement gained by training the exit head",
            "share",
            at_least(0.10, 0.02),
            (),
            measurement.EXIT,
            inside=_DIFFERENCE,
        ),
        _predicate(
            "supervision",
            "agreement gained by cross-entropy over distillation",
            "share",
            Bound(0.0, 0.0, open_holds=True, open_falsified=True),
            (),
            measurement.EXIT,
            measurement.DISTILLED_EXIT,
            inside=_DIFFERENCE,
        ),
        _predicate(
            "lora_gain",
            "agreement gained by a LoRA beside the head",
            "share",
            None,
            (),
            measurement.EXIT,
            measurement.LORA,
            inside=_DIFFERENCE,
            controls=_OF_LORA,
        ),
    ),
)
