"""From a figure to a row: doubts, quick sizes, power, and the sentence about the ladder."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from claims import CLAIMS, Bound, Verdict
from claims.claim import Measures
from claims.declared import DEPTH, LINEARITY
from claims.lock import LOCKED, bounds_hash, state
from harness.protocol import Protocol
from harness.statistics import Figure
from reports.judgement import judge
from reports.ledger import Cell, Row, judge_claim, ladder

SIZES = {"calibration": 32, "evaluation": 16}
GAIN = Measures(DEPTH, DEPTH.named("depth_gain"), ("paper",))


def lab(**changes):
    """What the judge needs of a laboratory."""
    return SimpleNamespace(protocol=Protocol(**changes), sizes=lambda rung: SIZES)


def judged(figure: Figure, rung: str = "strict", doubts: tuple[str, ...] = (), **changes) -> Row:
    """A row of depth_gain."""
    return judge(Cell("m", "c", 4, "depth_gain", rung), GAIN, 12, figure, doubts, (), None, lab(**changes))


def spread(value: float, error: float, half: float | None = None) -> Figure:
    """A figure over 16 windows with a given standard error."""
    z = np.array([1.0, -1.0] * 8)
    z *= error / math.sqrt(15 / 16 * (z**2).sum())
    return Figure(value, score=value + z, half=half)


def test_levels_reach_the_row():
    """A core cell of claim 4 is judged at 97.5%, with t of 15 degrees of freedom."""
    row = judged(spread(0.5, 0.01))
    assert row.level == 0.975
    assert row.high - row.value == pytest.approx(0.01 * 2.4899, rel=1e-3)
    assert (row.verdict, row.core) == (Verdict.HOLDS, True)


@pytest.mark.parametrize(("half", "doubtful"), [(0.5, False), (0.46, False), (0.44, True), (0.56, True), (math.nan, True)])
def test_a_figure_that_half_the_sample_changes_is_not_judged(half, doubtful):
    """A change above 0.05 is a caveat, and the verdict INCONCLUSIVE whatever the interval."""
    row = judged(spread(0.5, 0.001, half))
    assert row.verdict is (Verdict.INCONCLUSIVE if doubtful else Verdict.HOLDS)
    assert any("half the calibration windows" in c for c in row.caveats) is doubtful
    assert (row.margin is None) is doubtful


def test_a_doubt_is_not_judged_and_a_caveat_is():
    """Doubts decide, whichever way the figure points."""
    for value in (0.9, -0.9):
        row = judged(spread(value, 0.001), doubts=("too little text",))
        assert (row.verdict, row.caveats) == (Verdict.INCONCLUSIVE, ("too little text",))


def test_quick_sizes_are_never_judged():
    """MEASURED, marked, without bound or margin."""
    row = judged(spread(-0.9, 0.001), quick=True)
    assert (row.verdict, row.bound, row.margin, row.quick) == (Verdict.MEASURED, None, None, True)


def test_a_quick_claim_is_measured_whatever_else_it_holds():
    """Also where another core cell is not applicable."""
    quick = Row(Cell("m", "c", 4, "depth_gain", "paper"), Verdict.MEASURED, "", True, 0.9, quick=True)
    other = Row(Cell("m", "c", 4, "depth_trend", "paper"), Verdict.NOT_APPLICABLE, "", True, quick=True)
    assert judge_claim([quick, other]) == (Verdict.MEASURED, ())
    assert judge_claim([other]) == (Verdict.INCONCLUSIVE, ("depth_trend",))  # nothing was measured


def test_the_rungs_between_are_measured():
    """held-out and typical carry no verdict."""
    assert {judged(spread(-0.9, 0.001), rung).verdict for rung in ("held-out", "typical")} == {Verdict.MEASURED}


def test_a_figure_that_is_not_a_number_is_not_applicable():
    """NaN is no figure; a NaN replicate leaves the figure without an interval, and undecided."""
    assert judged(Figure(math.nan, score=np.ones(4))).verdict is Verdict.NOT_APPLICABLE
    row = judged(Figure(0.5, score=np.array([0.5, math.nan, 0.5])))
    assert row.verdict is Verdict.INCONCLUSIVE  # There is a figure, and no telling how sure it is: a core cell must not drop out.
    assert (row.value, row.low, row.high) == (0.5, None, None)
    assert "no interval" in row.reason


def test_power_says_how_many_windows_would_decide():
    """Half-widths fall with the root of the windows: 0.05 beyond the bound and 0.1 wide need four times as many."""
    row = judged(spread(0.35, 0.1 / 2.4899))
    assert row.verdict is Verdict.INCONCLUSIVE
    assert row.reason == "about 64 windows for evaluation, not 16, would decide if the figure stayed" or "65 windows" in row.reason
    # A correlation's limits are clipped to 1, its standard error is not: 0.6 ± 3 against 0.5 needs 30² times as much.
    trend = Measures(DEPTH, DEPTH.named("depth_trend"), ("paper",))
    cell = Cell("m", "c", 4, "depth_trend", "strict")
    wide = judge(cell, trend, 12, spread(0.6, 3 / 2.4899), (), (), None, lab())
    assert (wide.low, wide.high) == (-1, 1)
    assert "about 14,4" in wide.reason
    dead = judged(spread(0.2, 0.1))
    assert dead.reason == "the figure itself lies between the bounds: more windows will not decide"


@given(st.floats(-1, 2), st.floats(0.001, 2), st.floats(0.001, 2), st.sampled_from(["at_least", "at_most", "inside"]))
def test_an_interval_narrowed_so_far_decides(value, below, above, direction):
    """The factor is just enough: a hair less decides, a hair more does not; without one nothing would."""
    bound = (
        Bound((0.25, 0.35), (0.2, 0.4), "inside")
        if direction == "inside"
        else Bound(*((0.6, 0.3) if direction == "at_least" else (0.3, 0.6)), direction)
    )

    def verdict(factor):
        return bound.judge(value - factor * below, value + factor * above)[0]

    if verdict(1.0) is not Verdict.INCONCLUSIVE:
        return
    factor = bound.narrowing(value, value - below, value + above)
    if factor is None:
        assert verdict(1e-9) is Verdict.INCONCLUSIVE or min(abs(value - b) for b in (0.2, 0.25, 0.3, 0.35, 0.4, 0.6)) < 1e-6
    else:
        assert verdict(factor * 0.999) is not Verdict.INCONCLUSIVE
        assert verdict(min(1.0, factor * 1.001)) is Verdict.INCONCLUSIVE


def rung_row(rung: str, low: float, high: float) -> Row:
    """A row of depth_gain on a rung, judged as the suite would."""
    middle, half = (low + high) / 2, (high - low) / 2
    return judged(spread(middle, half / 2.4899), rung)


def test_one_sentence_says_which_control_moved_the_verdict():
    """Each change of verdict along the ladder is laid to the control that the rung adds."""
    gain = DEPTH.named("depth_gain")
    holds, open_, fails = (0.4, 0.5), (0.1, 0.2), (-0.3, -0.1)
    ladder_of = lambda *steps: ladder(gain, [rung_row(r, *s) for r, s in steps], 12)  # noqa: E731
    assert ladder_of(("paper", holds), ("held-out", holds), ("strict", holds)) == "no control moves it: HOLDS from paper to strict"
    assert ladder_of(("paper", holds), ("held-out", open_), ("typical", open_), ("strict", fails)) == (
        "HOLDS on paper; scoring on held-out text (held-out) makes it INCONCLUSIVE; centring, full rank and cross-validated ridge on "
        "larger samples (strict) makes it FALSIFIED"
    )
    assert ladder_of(("paper", holds)) is None
    assert ladder_of(("paper", holds), ("strict", fails)) == (
        "HOLDS on paper; scoring on held-out text or leaving out massive activations or centring, full rank and cross-validated ridge on "
        "larger samples (strict) makes it FALSIFIED"
    )
    doubtful = judged(spread(0.45, 0.01), doubts=("too little text",))
    assert ladder(gain, [rung_row("paper", *holds), rung_row("typical", *holds), doubtful], 12) == (
        "no control moves it: HOLDS from paper to typical; in doubt on strict"
    )


def test_the_bounds_are_locked():
    """A changed bound, core rung or minimal size changes the hash; nobody changed one without saying so."""
    assert bounds_hash() == LOCKED
    assert state()["locked"] is True
    assert LOCKED == "3fda06b9d298e1d5adb929a15eed4514b4c4c14e2d3a3c3718a1cf4f02ce96c2"


def test_the_bounds_are_the_protocols():
    """Every bound of the five claims, written out once more: holds, falsified, by predicate and judged rung."""
    table = {
        (c.key, p.name, rung): (b.holds, b.falsified, b.direction) for c in CLAIMS for p in c.predicates for rung, b in p.bounds.items()
    }
    up, down, inside = "at_least", "at_most", "inside"
    both = {
        (1, "subspace_overlap"): (0.10, 0.20, down),
        (1, "variance_ranks_importance"): (0.5, 0.8, down),
        (1, "predictive_gain"): (0.10, 0.02, up),
        (1, "sensitivity_gini"): (0.25, 0.40, down),
        (2, "r2"): (0.80, 0.50, up),
        (2, "r2_lost"): (0.05, 0.01, up),
        (2, "single_replacement"): (0.25, 0.50, down),
        (2, "compression"): (10, 2, up),
        (2, "multi_replacement"): (1.0, 0.25, up),
        (2, "shift_excess"): (1.1, 1.0, up),
        **{(3, f"wall_{name}"): (1, 1, up) for name in ("dct", "svd", "random", "pca", "cca")},
        (3, "strictly"): (1, 1, up),
        (3, "cross_terms"): (1, 1, up),
        (4, "depth_trend"): (0.5, 0, up),
        (4, "depth_gain"): (0.30, 0, up),
        (4, "monotonic"): (0.8, 0.4, up),
        (4, "importance_u_shape"): (2, 1, up),
        (4, "r2_guides"): (0.5, 0, up),
        (4, "late_is_cheap"): (0.5, 0, up),
        (5, "exit_agreement"): ((0.25, 0.35), (0.20, 0.40), inside),
        (5, "exit_excess"): (0.05, 0, up),
        (5, "kl_easy_share"): ((0.25, 0.35), (0.20, 0.40), inside),
        (5, "easy_sets_agree"): (1, 1, up),
        (5, "routing_cost"): (0.2, 0.05, up),
        (5, "head_gain"): (0.10, 0.02, up),
        (5, "supervision"): (0, 0, up),
        ("appendix", "spectral_gini_excess"): (0.05, 0.01, up),
        ("appendix", "spectral_gini_excess_embeddings"): (0.05, 0.01, up),
        ("appendix", "kmeans_gain"): (1.3, 1, up),
        ("appendix", "nf4_gain"): (1.1, 1, up),
    }
    expected = {(*key, rung): bound for key, bound in both.items() for rung in ("paper", "strict")}
    expected |= {
        (1, "projection_ppl_ratio", "paper"): (2, 1.1, up),
        (1, "projection_ppl_ratio", "strict"): (2, 1, up),
        (1, "logit_change_correlation", "paper"): (0.20, 0.20, down),
        (1, "logit_change_correlation", "strict"): (0, 0.05, down),
        **{(3, f"challenger_{name}", "strict"): (1, 1, up) for name in ("rotation", "hadamard", "gptq_factors")},
    }
    assert table == expected
    core = {(c.key, rung): [p.name for p in c.predicates if rung in p.core] for c in CLAIMS for rung in ("paper", "strict")}
    assert core == {
        (1, "paper"): ["projection_ppl_ratio", "subspace_overlap"],
        (1, "strict"): ["projection_ppl_ratio", "subspace_overlap", "variance_ranks_importance"],
        (2, "paper"): ["r2", "r2_lost", "single_replacement", "multi_replacement"],
        (2, "strict"): ["r2", "r2_lost", "single_replacement", "multi_replacement"],
        **{(3, rung): [f"wall_{name}" for name in ("dct", "svd", "random", "pca", "cca")] for rung in ("paper", "strict")},
        (4, "paper"): ["depth_trend", "depth_gain"],
        (4, "strict"): ["depth_trend", "depth_gain"],
        (5, "paper"): ["exit_agreement", "kl_easy_share"],
        (5, "strict"): ["exit_agreement", "exit_excess", "easy_sets_agree"],
        ("appendix", "paper"): [],
        ("appendix", "strict"): [],
    }
    assert LINEARITY.named("r2").fewest_blocks == 1


def test_the_sizes_are_the_protocols():
    """The paper's set-up, the strict sizes, and a quarter of each for a quick look."""
    p = Protocol()
    assert (p.window, p.calibration_windows, p.evaluation_windows, p.groups) == (256, 32, 16, 16)
    assert (p.energy, p.ridge, p.typical_factor, p.folds) == (0.95, 1e-4, 10, 8)
    assert [p.strict_calibration_windows(d) for d in (64, 576, 768, 4096)] == [32, 72, 96, 512]
    assert p.strict_evaluation_windows == 64
    grid = p.penalties()
    assert (len(grid), grid[0], grid[-1]) == (21, 1e-8, 1e2)
    assert grid[1] == pytest.approx(10**-7.5)
    quick = p.quickened()
    assert (quick.calibration_windows, quick.evaluation_windows, quick.strict_evaluation_windows) == (8, 4, 16)
    assert quick.strict_calibration_windows(576) == 18
    assert quick.groups <= quick.calibration_windows
