"""Intervals equal the textbook's where there is a closed form, and cover what they should."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.statistics import Figure, jackknife_error, kendall_with_depth, spearman_with_depth


def leave_one_out(x: np.ndarray) -> np.ndarray:
    """Means with each value left out."""
    return (x.sum() - x) / (len(x) - 1)


@given(arrays(np.float64, st.integers(3, 30), elements=st.floats(-100, 100)))
def test_the_jackknife_of_a_mean_is_its_standard_error(x):
    """For the mean the jackknife equals s/√n exactly."""
    assert jackknife_error(leave_one_out(x)) == pytest.approx(scipy.stats.sem(x), abs=1e-9)


def test_the_interval_of_a_mean_is_students():
    """θ ± t_{n−1}·SE is SciPy's t interval."""
    x = np.random.default_rng(0).normal(size=16)
    found = Figure(x.mean(), score=leave_one_out(x)).interval(0.99)
    low, high = scipy.stats.t.interval(0.99, 15, loc=x.mean(), scale=scipy.stats.sem(x))
    assert (found.low, found.high, found.level) == (pytest.approx(low), pytest.approx(high), 0.99)


def test_variances_of_fit_and_score_add_and_the_smaller_sample_sets_the_degrees_of_freedom():
    """SE² = SE²_fit + SE²_score, t with min(G, W) − 1."""
    draw = np.random.default_rng(1)
    a, b = draw.normal(size=8), draw.normal(size=20)
    found = Figure(0.0, fit=leave_one_out(a), score=leave_one_out(b)).interval(0.95)
    half = scipy.stats.t.ppf(0.975, 7) * np.hypot(scipy.stats.sem(a), scipy.stats.sem(b))
    assert found.high == pytest.approx(half)
    assert found.low == pytest.approx(-half)


def test_intervals_cover_the_truth_at_their_level():
    """Nominal 95% of a ratio of sums over 16 windows: within sampling error of 0.95 in 2,000 draws."""
    draw, hits = np.random.default_rng(2), 0
    for _ in range(2000):
        sse, energy = draw.gamma(20, 0.05, 16), draw.gamma(20, 0.1, 16)
        score = 1 - (sse.sum() - sse) / (energy.sum() - energy)
        found = Figure(1 - sse.sum() / energy.sum(), score=score).interval(0.95)
        hits += found.low <= 0.5 <= found.high
    assert 0.93 < hits / 2000 < 0.97


def test_a_mapped_figure_maps_its_replicates():
    """Each replicate goes through the function, and a component is one of them."""
    figure = Figure(np.array([1.0, 2.0]), fit=np.array([[1.0, 3.0], [0.0, 2.0]]))
    difference = figure.map(lambda v: v[1] - v[0])
    assert difference.value == 1
    assert difference.fit.tolist() == [2, 2]
    assert difference.score is None
    assert figure.at(0).fit.tolist() == [1, 0]


def test_limits_stay_inside_the_range_of_the_figure():
    """A correlation's interval does not leave −1 … 1."""
    found = Figure(0.99, score=np.array([-0.9, 0.99, 0.2])).interval(0.99, (-1, 1))
    assert found.high == 1
    assert found.low == -1


def test_a_figure_without_replicates_has_no_interval():
    """An interval is never made up."""
    with pytest.raises(ValueError, match="no interval"):
        Figure(1.0).interval(0.95)


@settings(max_examples=60)
@given(arrays(np.float64, st.integers(3, 20), elements=st.floats(-5, 5), unique=True))
def test_trends_are_rank_correlations_with_depth(values):
    """Monotone rescaling changes nothing, reversing flips the sign, order gives ±1."""
    for trend in (spearman_with_depth, kendall_with_depth):
        assert trend(np.sort(values)) == pytest.approx(1)
        assert trend(np.sort(values)[::-1]) == pytest.approx(-1)
        # A power of two rescales without rounding, so no two ranks merge.
        assert trend(values * 4) == pytest.approx(trend(values))
        assert trend(-values) == pytest.approx(-trend(values))
    ranks = scipy.stats.rankdata(values)
    depth = np.arange(len(values))
    assert spearman_with_depth(values) == pytest.approx(np.corrcoef(ranks, depth)[0, 1])
    pairs = [np.sign(values[j] - values[i]) for i in depth for j in depth if j > i]
    assert kendall_with_depth(values) == pytest.approx(np.mean(pairs))


def test_equal_values_have_no_trend():
    """No order, no figure."""
    assert np.isnan(spearman_with_depth(np.ones(5)))
    assert np.isnan(kendall_with_depth(np.ones(5)))
