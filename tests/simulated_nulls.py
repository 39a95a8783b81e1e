"""The null subjects of the simulation: which predicates each is asked, and what is true of it by construction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from claims import claim_1_variance_is_not_importance as claim_1
from claims import claim_2_linearity_is_conditional as claim_2
from claims import claim_3_the_reconstruction_wall as claim_3
from claims import claim_4_linearity_grows_with_depth as claim_4
from claims import claim_5_a_third_of_tokens_is_easy as claim_5
from claims import claim_appendix_extended_experiments as appendix
from harness.easy_protocol import EasyProtocol
from harness.protocol import Protocol, VarianceProtocol
from tests import null_subjects, planted_easy, planted_sets
from tests.planted_laboratory import JUDGED, measured_in

TESTED: dict[str, Any] = {
    name: tested for claim in (claim_1, claim_2, claim_3, claim_4, claim_5, appendix) for name, tested in measured_in(claim).items()
}
"""Every claim's tests by predicate."""
WINDOW = 32
SMALL = Protocol(
    window=WINDOW,
    variance=VarianceProtocol(overlap_fewest=2, nulls=20, sketch=48, sketch_kept=16, null_subspaces=10),
    easy=EasyProtocol(steps=120, warmup=12, trial_steps=12, trial_warmup=1),
)
"""What makes verdicts is the protocol's: 16 groups, 16 and 64 windows, every judging rule. Windows, heads and null subspaces are small."""
UNDEFINED = "undefined"
"""The truth of a ratio of two costs that are both zero: whatever verdict it gets is false."""
MODELS = 4
RISE = 0.002  # of R² from block to block where it barely rises


def bounded(*claims: ModuleType) -> tuple[str, ...]:
    """Return the predicates of claims that have a bound on a judged rung."""
    return tuple(name for claim in claims for name, tested in measured_in(claim).items() if tested.measures.predicate.bounds)


@dataclass(frozen=True)
class Null:
    """A null subject: ``save(folder, weights)``, ``text(count, seed)``, and the predicates it is asked on which rungs.

    ``truths``: what is true by construction, by predicate, or by (predicate, rung); of any other predicate it is the mean of its figure.
    ``models``: how many draws of the weights share the seeds, None where every seed draws its own: the mean is then one over models, and
    an interval, which is of one model, need not cover it. ``alike``: predicates whose truth is the same for all draws nevertheless.
    """

    what: str
    save: Callable[[Path, int], Path]
    text: Callable[[int, int], str]
    predicates: tuple[str, ...]
    truths: Mapping[Any, float | str] = field(default_factory=dict)
    models: int | None = None
    alike: tuple[str, ...] = ()
    rungs: tuple[str, ...] = tuple(JUDGED)
    protocol: Protocol = SMALL
    windows: tuple[int, int] = (32, 64)
    same_draws: bool = False

    def weights(self, seed: int) -> int:
        """Return the number of the draw of the weights."""
        return seed if self.models is None else seed % self.models

    def of(self, seed: int) -> Protocol:
        """Return the protocol, whose own draws (noise, subspaces, shuffles) are others for each seed unless they are part of a method."""
        return self.protocol if self.same_draws else replace(self.protocol, seed=seed)

    def truth(self, predicate: str, rung: str) -> float | str | None:
        """Return what is true by construction, None where it is the mean."""
        return self.truths.get((predicate, rung), self.truths.get(predicate))


def _null(**settings: Any) -> Callable[[Path, int], Path]:
    return lambda folder, weights: null_subjects.save(folder, seed=weights, **settings)


def _random(**settings: Any) -> Callable[[Path, int], Path]:
    return lambda folder, weights: null_subjects.save_random(folder, weights, **settings)


def _any(words: int, repeated: float = 0.0) -> Callable[[int, int], str]:
    return lambda count, seed: null_subjects.text(count, seed, words, repeated)


_TRENDS = ("depth_trend", "depth_gain", "monotonic")
_NO_TREND: dict[Any, float | str] = dict.fromkeys(_TRENDS, 0.0)
_NOTHING_LINEAR: dict[Any, float | str] = {("r2", "strict"): 0.0, ("r2_lost", "strict"): 0.0}

NULLS: dict[str, Null] = {
    "chaotic": Null(
        "what blocks add has nothing linear to do with what they are given, and costs nothing to replace; weights are Gaussian",
        _null(),
        _any(32),
        (*bounded(claim_2, claim_4), "spectral_gini_excess", "spectral_gini_excess_embeddings"),
        {
            **_NO_TREND,
            **_NOTHING_LINEAR,
            "single_replacement": 0.0,
            "multi_replacement": 0.0,
            "shift_excess": UNDEFINED,
            "r2_guides": 0.0,
            "late_is_cheap": 0.0,
            "spectral_gini_excess": 0.0,
            "spectral_gini_excess_embeddings": 0.0,
        },
        alike=("r2", "r2_lost", "compression"),
    ),
    "sunk": Null(
        "the same with a massive activation of first tokens, written by the second block and erased by the last",
        _null(sink=300.0),
        _any(32),
        ("r2", "r2_lost", *_TRENDS),
        {**_NO_TREND, **_NOTHING_LINEAR},
        rungs=("strict",),
    ),
    "starved": Null(
        "the same in a wide stream, of which the calibration text has 8 tokens a dimension, 32 on strict",
        _null(width=64, words=64),
        _any(64),
        ("r2", *_TRENDS),
        {**_NO_TREND, **_NOTHING_LINEAR},
        alike=("r2",),
        protocol=replace(SMALL, window=16),
        windows=(128, 64),
    ),
    "barely": Null(
        "every block is more linear than the one before, by less than R² is known to: no null, but a truth that noise can hide",
        _null(shares=[0.5 + RISE * block for block in range(10)], words=64),
        _any(64),
        _TRENDS,
        {"depth_trend": 1.0, "monotonic": 1.0, "depth_gain": 9 * RISE},
        protocol=replace(SMALL, window=16),
    ),
    "scrambled": Null(
        "the final stream and the answers have nothing to do with mid, whose variance lies in few directions, nor with the text",
        _null(scrambled=True, spread=5.0),
        _any(32),
        bounded(claim_1, claim_5),
        {
            ("projection_ppl_ratio", "paper"): 1.0,
            ("projection_ppl_ratio", "strict"): UNDEFINED,
            ("subspace_overlap", "strict"): 0.0,
            "variance_ranks_importance": 0.0,
            "predictive_gain": UNDEFINED,
            "logit_change_correlation": 0.0,
            "exit_agreement": 1 / 32,
            "easy_sets_agree": 1.0,
            "head_gain": 0.0,
            "supervision": 0.0,
        },
        alike=("exit_excess",),  # A little below 0: a few of the contexts of a word return, and the bigram table knows those.
    ),
    "unrelated": Null(
        "mid tells words that late blocks matter to as often as others",
        lambda folder, weights: planted_sets.save(folder, **planted_sets.SUBJECTS["unrelated"]),
        lambda count, seed: planted_easy.text(count, seed, "pair"),
        ("easy_sets_agree",),
        models=1,
    ),
    "confounded": Null(
        "the same at equal confidence, with which both go: without regard to it the odds ratio is 3",
        lambda folder, weights: planted_sets.save(folder, **planted_sets.SUBJECTS["confounded"]),
        lambda count, seed: planted_easy.text(count, seed, "pair"),
        ("easy_sets_agree",),
        models=1,
    ),
    "random": Null(
        "a Llama of random weights whose head is its embedding, on text in which every second word is repeated",
        _random(),
        _any(64, 0.5),
        (*bounded(claim_1, claim_2, claim_4, claim_5), "spectral_gini_excess", "spectral_gini_excess_embeddings"),
        models=MODELS,
    ),
    "gaussian": Null(
        "a wider one of two blocks: Gaussian matrices",
        _random(blocks=2, width=32, inner=2),
        _any(64, 0.5),
        (*bounded(claim_3), "kmeans_gain", "nf4_gain"),
        models=MODELS,
        same_draws=True,
    ),
}
