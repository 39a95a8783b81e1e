"""Intervals of ratios are taken on the log scale, where there is one; inequality and leave-one-out means are what they are defined as."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.statistics import Figure, gini, spearman, without_each

POSITIVE = arrays(np.float64, st.integers(2, 12), elements=st.floats(0, 100).map(lambda v: round(v, 3)))


def geometric(x, origin=0.0):
    """The ratio exp(mean) of logarithms, less one where its zero is −1, with its jackknife."""
    return Figure(np.exp(x.mean()) + origin, score=np.exp(without_each(x)) + origin, origin=origin)


@settings(max_examples=60)
@given(arrays(np.float64, st.integers(3, 20), elements=st.floats(-3, 3)), st.sampled_from([0.0, -1.0]))
def test_the_interval_of_a_geometric_mean_is_students_on_the_log_scale(x, origin):
    """Where logarithms are averaged, the limits are exp of SciPy's t interval, shifted to the ratio's zero."""
    found = geometric(x, origin).interval(0.95)
    half = scipy.stats.t.ppf(0.975, len(x) - 1) * scipy.stats.sem(x)
    expected = np.exp([x.mean() - half, x.mean() + half]) + origin
    np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-6, atol=1e-6)
    assert found.value == pytest.approx(np.exp(x.mean()) + origin)
    assert origin <= found.low <= found.value <= found.high


def test_errors_of_fit_and_score_add_as_logarithms():
    """SE² = SE²_fit + SE²_score of the logarithms."""
    draw = np.random.default_rng(1)
    a, b = draw.normal(size=8), draw.normal(size=20)
    found = Figure(2.0, np.exp(without_each(a)), np.exp(without_each(b)), origin=0.0).interval(0.95)
    half = scipy.stats.t.ppf(0.975, 7) * np.hypot(scipy.stats.sem(a), scipy.stats.sem(b))
    assert (found.low, found.high) == (pytest.approx(2 * np.exp(-half)), pytest.approx(2 * np.exp(half)))


def test_turning_a_ratio_over_turns_its_interval_over():
    """The interval of 1/r is that of r, inverted: no choice of numerator decides a verdict."""
    x = np.random.default_rng(2).normal(size=9)
    found, turned = geometric(x).interval(0.9), geometric(-x).interval(0.9)
    assert (turned.low, turned.high) == (pytest.approx(1 / found.high), pytest.approx(1 / found.low))


@pytest.mark.parametrize("origin", [0.0, -1.0])
@pytest.mark.parametrize("where", ["value", "fit", "score"])
@pytest.mark.parametrize("below", [0.0, -0.5])
def test_a_ratio_that_is_not_above_zero_has_a_linear_interval(origin, where, below):
    """The figure itself or one replicate at its zero or below: value ± t·SE, as for anything that is no ratio."""
    parts = {"value": 2.0, "fit": np.array([1.5, 2.5, 2.0]), "score": np.array([1.0, 2.0, 2.2, 3.0])}
    parts[where] = below if where == "value" else np.append(parts[where][1:], below)
    shifted = {name: part + origin for name, part in parts.items()}
    found, linear = Figure(**shifted, origin=origin).interval(0.95), Figure(**shifted).interval(0.95)
    assert (found.low, found.high, found.raw) == (linear.low, linear.high, linear.raw)
    assert found.value - found.low == pytest.approx(found.high - found.value)


def test_a_replicate_that_is_not_a_number_gives_no_limits():
    """Never an interval that leaves it out."""
    found = Figure(2.0, score=np.array([1.0, np.nan, 2.0]), origin=0.0).interval(0.95)
    assert np.isnan(found.low)
    assert np.isnan(found.high)


def test_what_is_not_asked_for_is_no_ratio():
    """Without an origin the interval is symmetric, and ``map`` gives a ratio its origin only when told."""
    pair = Figure(np.array([4.0, 2.0]), fit=np.array([[4.0, 1.0], [4.0, 2.0], [5.0, 2.0]]), half=np.array([4.0, 1.0]))
    plain, ratio = pair.map(lambda v: v[0] / v[1]), pair.map(lambda v: v[0] / v[1], 0.0)
    assert (plain.origin, ratio.origin) == (None, 0.0)
    assert plain.fit.tolist() == ratio.fit.tolist() == [4, 2, 2.5]
    a, b = plain.interval(0.9), ratio.interval(0.9)
    assert a.high - 2 == pytest.approx(2 - a.low)
    assert b.high / 2 == pytest.approx(2 / b.low)
    assert b.low > 0


@pytest.mark.parametrize(
    ("value", "half", "origin", "truth"),
    [
        (0.6, 0.55, None, 0.05),
        (0.6, 0.65, None, 0.05),
        (-2.0, 1.0, None, 3.0),
        (2.0, 1.0, 0.0, np.log(2)),
        (1.0, 2.0, 0.0, np.log(2)),
        (20.0, 21.0, 0.0, np.log(21 / 20)),
        (0.02, 0.05, 0.0, np.log(2.5)),
        (0.5, 0.2, -1.0, np.log(1.5 / 1.2)),
        (-0.5, 0.0, -1.0, np.log(2)),
        (0.02, -0.01, 0.0, np.inf),
        (0.5, -1.5, -1.0, np.inf),
        (-1.0, 2.0, 0.0, 3.0),
        (2.0, None, 0.0, None),
        (2.0, None, None, None),
    ],
)
def test_the_change_on_half_the_windows_is_a_difference_or_of_a_ratio_the_logarithm(value, half, origin, truth):
    """|half − value|, or of a ratio |log(half/value)| from its zero, infinite when the half is not above it."""
    found = Figure(value, fit=np.array([1.0, 1.2, 1.1]), half=half, origin=origin).change_on_half()
    assert found == (truth if truth is None else pytest.approx(truth))


def test_a_replicate_below_zero_makes_the_change_on_half_a_difference():
    """The same scale as the interval's."""
    assert Figure(2.0, fit=np.array([2.0, -1.0]), half=1.5, origin=0.0).change_on_half() == 0.5


def test_log_intervals_cover_a_ratio_of_sums():
    """Nominal 95% of a skewed ratio of sums over 16 windows: within sampling error of 0.95 in 1,000 draws."""
    draw, hits = np.random.default_rng(2), 0
    for _ in range(1000):
        over, under = draw.gamma(4, 0.5, 16), draw.gamma(4, 0.25, 16)
        found = Figure(over.sum() / under.sum(), score=(over.sum() - over) / (under.sum() - under), origin=0.0).interval(0.95)
        hits += found.low <= 2 <= found.high
    assert 0.93 < hits / 1000 < 0.975


@settings(max_examples=100)
@given(POSITIVE)
def test_gini_is_the_mean_difference_over_twice_the_mean(values):
    """Σ_ij |v_i − v_j| / (2 n² v̄), by the double sum; NaN when all are zero."""
    if values.sum() == 0:
        assert np.isnan(gini(values))
        return
    n = len(values)
    truth = np.abs(values[:, None] - values[None]).sum() / (2 * n**2 * values.mean())
    assert gini(values) == pytest.approx(truth, abs=1e-12)
    assert -1e-12 <= gini(values) <= (n - 1) / n + 1e-12


@settings(max_examples=60)
@given(POSITIVE.filter(lambda values: values.sum() > 0), st.floats(1e-6, 1e6), st.randoms())
def test_gini_does_not_depend_on_units_order_or_copies(values, scale, random):
    """The same for scaled, shuffled and doubled values; what all have in common lowers it."""
    shuffled = values.copy()
    random.shuffle(shuffled)
    for same in (values * scale, shuffled, np.repeat(values, 2)):
        assert gini(same) == pytest.approx(gini(values), abs=1e-9)
    assert gini(values + 1) <= gini(values) + 1e-12


@pytest.mark.parametrize("n", [1, 2, 7])
def test_gini_is_zero_for_equal_values_and_largest_when_one_holds_everything(n):
    """0 and (n − 1)/n; no figure when there is nothing to hold."""
    assert gini(np.full(n, 3.0)) == pytest.approx(0)
    assert gini(np.eye(n)[0]) == pytest.approx((n - 1) / n)
    assert np.isnan(gini(np.zeros(n)))


@settings(max_examples=60)
@given(arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(2, 8)), elements=st.floats(-100, 100)))
def test_means_without_each_entry_are_those_of_the_others(values):
    """Along the last axis, whatever stands before it."""
    truth = np.stack([np.delete(values, i, axis=-1).mean(-1) for i in range(values.shape[-1])], axis=-1)
    np.testing.assert_allclose(without_each(values), truth, atol=1e-9)
    np.testing.assert_allclose(without_each(values[0]), truth[0], atol=1e-9)


def test_without_the_only_entry_there_is_no_mean():
    """NaN, not an error, in the shape given."""
    found = without_each(np.ones((3, 1)))
    assert found.shape == (3, 1)
    assert np.isnan(found).all()


@settings(max_examples=40)
@given(arrays(np.float64, (2, 6), elements=st.integers(-4, 4).map(float)))
def test_rank_correlation_is_pearsons_of_the_ranks(pair):
    """With ties at their mean rank; NaN when one list is all equal."""
    a, b = pair
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert np.isnan(spearman(a, b))
        return
    truth = np.corrcoef(scipy.stats.rankdata(a), scipy.stats.rankdata(b))[0, 1]
    assert spearman(a, b) == pytest.approx(truth, abs=1e-9)
    assert spearman(b, np.exp(a)) == pytest.approx(truth, abs=1e-9)
