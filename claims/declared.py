"""The claims of arXiv:2604.20682 and every predicate that tests them, with the bounds fixed before any model was measured.

A bound is never moved to change a verdict. An entry that no test measures yet is reported as UNTESTED.
"""

from __future__ import annotations

from collections.abc import Iterator

from claims.bounds import CORRELATION, at_least, at_most, both
from claims.claim import INTERVENTIONS, JUDGED, Claim, Predicate
from claims.declared_easy import EASY
from claims.declared_variance import VARIANCE
from claims.declared_wall import CODEBOOKS, WALL
from harness import measurement
from harness.settings import CORPORA, DTYPE, LAMBDA, WINDOWS

_LINEARITY = (measurement.RANK, measurement.AFFINE)
_CROSS_VALIDATED = {"strict": (LAMBDA,)}
"""Of what is judged by maps whose λ is cross-validated, beside maps whose λ is fixed."""

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
            unmoved=_CROSS_VALIDATED,
        ),
        Predicate(
            "compression",
            "parameters of the last block over those of its map",
            "ratio",
            both(at_least(10, 2)),
            (),
            INTERVENTIONS,
            measured_by=measurement.RUNS,
            # The rank of Eq. 2 is of Δ alone; a map of full rank has as many parameters whatever it was fitted to.
            unmoved={"paper": (LAMBDA,), "strict": (WINDOWS, LAMBDA, DTYPE, CORPORA)},
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
            unmoved=_CROSS_VALIDATED,
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
            unmoved=_CROSS_VALIDATED,
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
            measured_by=measurement.PROFILE,
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

APPENDIX = Claim(
    key="appendix",
    title="extended experiments",
    statement="Weights are spectrally concentrated, codebooks beat uniform levels, and blocks work in phases.",
    falsifier="Shuffled weights as concentrated, codebooks without gain at equal storage.",
    source="arXiv:2604.20682 §5, Tables 5–7",
    predicates=(
        *CODEBOOKS,
        Predicate(
            "phase_profile",
            "phases: runs of blocks in which attention, MLP or neither dominates",
            "phases",
            rungs=INTERVENTIONS,
            measured_by=measurement.PROFILE,
        ),
        Predicate(
            "mlp_skip", "perplexity cost of skipping the last block's MLP", "ΔPPL", rungs=INTERVENTIONS, measured_by=measurement.LAST_MLP
        ),
        Predicate(
            "mlp_mean", "perplexity cost of its mean output in its place", "ΔPPL", rungs=INTERVENTIONS, measured_by=measurement.LAST_MLP
        ),
        Predicate("kv_cache", "INT4 keys and values against rank reduction at equal bits", "PPL", rungs=INTERVENTIONS),
    ),
)

CLAIMS: tuple[Claim, ...] = (VARIANCE, LINEARITY, WALL, DEPTH, EASY, APPENDIX)


def all_predicates() -> Iterator[tuple[Claim, Predicate]]:
    """Yield every claim with each of its predicates."""
    return ((claim, predicate) for claim in CLAIMS for predicate in claim.predicates)
