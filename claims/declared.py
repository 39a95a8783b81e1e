"""The claims of arXiv:2604.20682 and every predicate that tests them, with the bounds fixed before any model was measured.

A bound is never moved to change a verdict. An entry that no test measures yet is reported as UNTESTED.
"""

from __future__ import annotations

from collections.abc import Iterator

from claims.bounds import CORRELATION, SHARE, at_least, at_most, both
from claims.claim import INTERVENTIONS, JUDGED, Claim, Predicate
from claims.declared_variance import VARIANCE
from claims.declared_wall import CODEBOOKS, WALL
from claims.verdicts import Bound
from harness import measurement

_EASY = Bound((0.25, 0.35), (0.20, 0.40), "inside")
_LINEARITY = (measurement.RANK, measurement.AFFINE)

LINEARITY = Claim(
    key=2,
    title="block linearity is conditional",
    statement="A block is a linear map of its input until an earlier block changes.",
    falsifier="A last block that no linear map fits, or a fit that survives upstream change.",
    source="arXiv:2604.20682 §4.2, Table 2",
    predicates=(
        Predicate(
            "r2",
            "R² of the best linear map of what a block adds",
            "R²",
            both(at_least(0.80, 0.50)),
            core=JUDGED,
            blocks="each",
            inside=(float("-inf"), 1.0),
            measured_by=_LINEARITY,
        ),
        Predicate(
            "r2_lost",
            "R² lost when the five blocks before are replaced",
            "R²",
            both(at_least(0.05, 0.01)),
            JUDGED,
            fewest_blocks=6,
            measured_by=measurement.SHIFT,
        ),
        Predicate(
            "single_replacement",
            "relative perplexity cost of replacing the last block by its map",
            "ΔPPL/PPL",
            both(at_most(0.25, 0.50)),
            JUDGED,
            INTERVENTIONS,
            measured_by=measurement.RUNS,
        ),
        Predicate(
            "compression",
            "parameters of the last block over those of its map",
            "ratio",
            both(at_least(10, 2)),
            (),
            INTERVENTIONS,
            measured_by=measurement.RUNS,
        ),
        Predicate(
            "multi_replacement",
            "relative perplexity cost of replacing the last five blocks",
            "ΔPPL/PPL",
            both(at_least(1.0, 0.25)),
            JUDGED,
            INTERVENTIONS,
            fewest_blocks=6,
            measured_by=measurement.RUNS,
        ),
        Predicate(
            "shift_excess",
            "cost of five maps on the shifted stream over their cost at true inputs",
            "ratio",
            both(at_least(1.1, 1.0)),
            (),
            INTERVENTIONS,
            fewest_blocks=6,
            measured_by=measurement.RUNS,
        ),
        Predicate(
            "compounding",
            "cost of five maps at true inputs over the sum of each alone",
            "ratio",
            {},
            (),
            INTERVENTIONS,
            fewest_blocks=6,
            measured_by=measurement.RUNS,
        ),
        Predicate(
            "transfer",
            "R² of the last block's map fitted to another text, the least of them",
            "R²",
            rungs=INTERVENTIONS,
            inside=(float("-inf"), 1.0),
            measured_by=measurement.TRANSFER,
            fewest_texts=2,
        ),
    ),
)

DEPTH = Claim(
    key=4,
    title="linearity increases with depth",
    statement="The deeper a block, the better a linear map of its input explains what it adds.",
    falsifier="R² that does not rise from the first block to the last.",
    source="arXiv:2604.20682 §4.4, Table 2",
    predicates=(
        Predicate(
            "depth_trend",
            "rank correlation of R² with depth",
            "Spearman ρ",
            both(at_least(0.5, 0)),
            core=JUDGED,
            fewest_blocks=8,
            inside=CORRELATION,
            measured_by=_LINEARITY,
        ),
        Predicate(
            "depth_gain",
            "R² of the last block minus R² of the first",
            "R²",
            both(at_least(0.30, 0)),
            core=JUDGED,
            fewest_blocks=2,
            measured_by=_LINEARITY,
        ),
        Predicate(
            "monotonic",
            "agreement of R² with the order of depth",
            "Kendall τ",
            both(at_least(0.8, 0.4)),
            fewest_blocks=8,
            inside=CORRELATION,
            measured_by=_LINEARITY,
        ),
        Predicate(
            "importance_u_shape",
            "KL of destroying the first or last block over the median of the middle",
            "ratio",
            both(at_least(2, 1)),
            rungs=INTERVENTIONS,
            fewest_blocks=8,
        ),
        *(
            Predicate(
                name,
                meaning,
                "Spearman ρ",
                both(at_least(0.5, 0)),
                rungs=INTERVENTIONS,
                fewest_blocks=8,
                inside=CORRELATION,
                measured_by=measurement.EACH,
            )
            for name, meaning in (
                ("r2_guides", "rank correlation of R² with how cheap a block is to replace"),
                ("late_is_cheap", "rank correlation of depth with how cheap a block is to replace"),
            )
        ),
    ),
)

EASY = Claim(
    key=5,
    title="30% of tokens are easy",
    statement="About 30% of tokens are decided by the middle of the model.",
    falsifier="A share far from 30%, one that a bigram table reaches too, or two criteria that disagree about which tokens.",
    source="arXiv:2604.20682 §4.5, Tables 4 and 8",
    predicates=(
        Predicate(
            "exit_agreement", "top-1 agreement of a trained mid-depth head", "share", both(_EASY), JUDGED, INTERVENTIONS, inside=SHARE
        ),
        Predicate("exit_excess", "the same minus a bigram table's", "share", both(at_least(0.05, 0)), ("strict",), INTERVENTIONS),
        Predicate(
            "kl_easy_share",
            "tokens whose KL is below the median for each late block destroyed",
            "share",
            both(_EASY),
            ("paper",),
            INTERVENTIONS,
            fewest_blocks=10,
            inside=SHARE,
        ),
        Predicate(
            "easy_sets_agree",
            "odds ratio of the two criteria at equal confidence",
            "odds ratio",
            both(Bound(1.0, 1.0, open_holds=True)),
            ("strict",),
            INTERVENTIONS,
            fewest_blocks=10,
        ),
        Predicate(
            "routing_cost",
            "relative perplexity cost of early exit at confidence 0.95",
            "ΔPPL/PPL",
            both(at_least(0.2, 0.05)),
            (),
            INTERVENTIONS,
        ),
        Predicate("head_gain", "agreement gained by training the exit head", "share", both(at_least(0.10, 0.02)), (), INTERVENTIONS),
        Predicate(
            "supervision",
            "agreement gained by cross-entropy over distillation",
            "share",
            both(Bound(0.0, 0.0, open_holds=True, open_falsified=True)),
            (),
            INTERVENTIONS,
        ),
        Predicate("lora_gain", "agreement gained by a LoRA beside the head", "share", {}, (), INTERVENTIONS),
    ),
)

APPENDIX = Claim(
    key="appendix",
    title="extended experiments",
    statement="Weights are spectrally concentrated, codebooks beat uniform levels, and blocks work in phases.",
    falsifier="Shuffled weights as concentrated, codebooks without gain at equal storage.",
    source="arXiv:2604.20682 §5, Tables 5–7",
    predicates=(
        *CODEBOOKS,
        Predicate("phase_profile", "which of attention and MLP dominates, by depth", "KL", rungs=INTERVENTIONS),
        Predicate("mlp_skip", "perplexity cost of skipping the last block's MLP", "ΔPPL", rungs=INTERVENTIONS),
        Predicate("mlp_mean", "perplexity cost of its mean output in its place", "ΔPPL", rungs=INTERVENTIONS),
        Predicate("kv_cache", "INT4 keys and values against rank reduction at equal bits", "PPL", rungs=INTERVENTIONS),
    ),
)

CLAIMS: tuple[Claim, ...] = (VARIANCE, LINEARITY, WALL, DEPTH, EASY, APPENDIX)


def all_predicates() -> Iterator[tuple[Claim, Predicate]]:
    """Yield every claim with each of its predicates."""
    return ((claim, predicate) for claim in CLAIMS for predicate in claim.predicates)
