"""The share of tokens below all medians is SciPy's orthant probability, and gives its correlation back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm, spearmanr

from harness.orthants import implied_correlation, share_below_all


@pytest.mark.parametrize("correlation", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_share_is_the_distribution_function_of_the_multivariate_normal(correlation, count):
    """As SciPy integrates it over all variables, to its error."""
    covariance = np.full((count, count), correlation) + (1 - correlation) * np.eye(count)
    truth = multivariate_normal(cov=covariance, seed=0, abseps=1e-7, releps=1e-7, maxpts=10**6).cdf(np.zeros(count))
    assert share_below_all(correlation, count) == pytest.approx(truth, abs=1e-6)


@pytest.mark.parametrize("correlation", [0, 1e-9, 1e-3, 0.3, 0.7, 0.99, 0.999999, 1 - 1e-12, 1])
def test_the_share_has_a_closed_form_for_two_and_three(correlation):
    """1/4 + asin(r)/2π and 1/8 + 3 asin(r)/4π; for one always a half. Up to both ends."""
    assert share_below_all(correlation, 1) == pytest.approx(0.5, abs=1e-13)
    assert share_below_all(correlation, 2) == pytest.approx(0.25 + np.arcsin(correlation) / (2 * np.pi), abs=1e-13)
    assert share_below_all(correlation, 3) == pytest.approx(0.125 + 3 * np.arcsin(correlation) / (4 * np.pi), abs=1e-13)


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 0.999), st.integers(1, 40))
def test_the_share_is_its_defining_integral(correlation, count):
    """∫ Φ(−√r z / √(1 − r))^count φ(z) dz by adaptive quadrature."""
    slope = np.sqrt(correlation / (1 - correlation))
    halves = [
        quad(lambda z: norm.cdf(-slope * z) ** count * norm.pdf(z), *ends, epsabs=1e-12, limit=200)[0] for ends in ((-12, 0), (0, 12))
    ]
    assert share_below_all(correlation, count) == pytest.approx(sum(halves), abs=1e-10)


@pytest.mark.parametrize("count", [2, 4, 12])
def test_without_correlation_the_share_is_chance_and_with_all_of_it_a_half(count):
    """0.5^count and 0.5."""
    assert share_below_all(0, count) == pytest.approx(0.5**count, rel=1e-9)
    assert share_below_all(1, count) == 0.5


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 0.999), st.floats(0.001, 1), st.integers(2, 8))
def test_the_share_rises_with_correlation_and_falls_with_how_many(correlation, step, count):
    """Strictly, within rounding's reach."""
    more = min(correlation + step, 1)
    assert share_below_all(more, count) > share_below_all(correlation, count)
    assert share_below_all(correlation, count + 1) < share_below_all(correlation, count)


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1), st.integers(2, 6))
def test_a_correlation_is_given_back_as_that_of_the_ranks(correlation, count):
    """ρ_s = (6/π) asin(r/2) of the r behind the share."""
    found = implied_correlation(share_below_all(correlation, count), count)
    assert found == pytest.approx(6 / np.pi * np.arcsin(correlation / 2), abs=1e-9)
    assert 0 <= found <= 1


@pytest.mark.parametrize(("correlation", "count"), [(0.3, 4), (0.8, 4), (0.6, 2)])
def test_the_rank_correlation_of_drawn_tokens_is_recovered(correlation, count):
    """Ranks alone matter: skewed marginals, medians of the sample, within three hundredths of the Spearman correlation drawn."""
    draw = np.random.default_rng(0)
    z = np.sqrt(correlation) * draw.normal(size=200_000) + np.sqrt(1 - correlation) * draw.normal(size=(count, 200_000))
    values = np.exp(2 * z)
    easy = (values < np.median(values, axis=1, keepdims=True)).all(0).mean()
    assert easy == pytest.approx(share_below_all(correlation, count), abs=0.004)
    assert implied_correlation(easy, count) == pytest.approx(spearmanr(values[0], values[1]).statistic, abs=0.03)


@pytest.mark.parametrize("count", [2, 4, 7])
def test_at_chance_nothing_is_implied_and_below_it_there_is_no_correlation(count):
    """0 at 0.5^count, rounding included, and NaN below; 1 from a half on; NaN for NaN."""
    chance = 0.5**count
    assert implied_correlation(chance, count) == 0
    assert implied_correlation(chance * (1 - 1e-15), count) == 0
    assert 0 < implied_correlation(chance + 1e-6, count) < 1e-3
    assert np.isnan(implied_correlation(chance - 1e-6, count))
    assert np.isnan(implied_correlation(0.0, count))
    assert implied_correlation(0.5, count) == implied_correlation(0.5 - 1e-14, count) == implied_correlation(0.51, count) == 1
    assert 0.99 < implied_correlation(0.499, count) < 1
    assert np.isnan(implied_correlation(np.nan, count))


@pytest.mark.parametrize(("correlation", "count"), [(-0.1, 2), (1.1, 2), (np.nan, 2), (0.5, 0)])
def test_what_is_no_correlation_is_refused(correlation, count):
    """Outside [0, 1], not a number, or of nothing."""
    with pytest.raises(ValueError, match="no "):
        share_below_all(correlation, count)


def test_one_quantity_implies_no_correlation():
    """It is below its median half of the time whatever the model."""
    with pytest.raises(ValueError, match="no correlation"):
        implied_correlation(0.5, 1)
