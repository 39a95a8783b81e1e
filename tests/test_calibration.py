"""Reliability is what scikit-learn's curve says, and its error is small for calibrated heads alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.calibration import calibration_curve

from harness.calibration import reliability

MARKS = st.sampled_from([0.0, 1.0])


def test_a_worked_example():
    """Two of four bins: (3/5)·|0.9 − 2/3| + (2/5)·|0.3 − 1/2|, the sixth token not counted."""
    confidence = np.array([0.8, 0.9, 1.0, 0.25, 0.35, 0.5])
    found = reliability(confidence, np.array([1.0, 0, 1, 0, 1, 1]), np.array([1.0, 1, 1, 1, 1, 0]), 4)
    assert found.tokens.tolist() == [0, 2, 0, 3]
    np.testing.assert_allclose(found.confidence, [np.nan, 0.3, np.nan, 0.9])
    np.testing.assert_allclose(found.right, [np.nan, 0.5, np.nan, 2 / 3])
    assert found.calibration_error == pytest.approx(0.6 * (0.9 - 2 / 3) + 0.4 * 0.2)


@pytest.mark.parametrize("bins", [1, 7, 10])
def test_bins_are_those_of_scikit_learn(bins):
    """Mean confidence and share right, of the bins that are not empty; confidences that lie on no edge."""
    draw = np.random.default_rng(bins)
    confidence = draw.beta(4, 2, size=(8, 60))
    right, counted = (draw.random((2, 8, 60)) < 0.6).astype(float)
    found = reliability(confidence, right, counted, bins)
    share, mean = calibration_curve(right[counted > 0], confidence[counted > 0], n_bins=bins)
    some = found.tokens > 0
    np.testing.assert_allclose(found.right[some], share)
    np.testing.assert_allclose(found.confidence[some], mean)
    assert found.tokens.sum() == counted.sum()


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, (2, 7), elements=st.floats(0, 1)), arrays(np.float64, (2, 2, 7), elements=MARKS), st.integers(1, 12))
def test_the_error_is_that_of_a_loop_over_tokens(confidence, marks, bins):
    """Σ n_k/N |mean confidence − share right|, N and n_k counted one by one; NaN where nothing counts. Never above one."""
    right, counted = marks
    held = [[] for _ in range(bins)]
    for sure, hit, counts in zip(confidence.flat, right.flat, counted.flat, strict=True):
        if counts:
            held[min(int(sure * bins), bins - 1)].append((sure, hit))
    found = reliability(np.where(counted > 0, confidence, np.nan), right, counted, bins).calibration_error
    if not counted.any():
        assert np.isnan(found)
        return
    truth = sum(abs(sum(c for c, _ in bin) - sum(r for _, r in bin)) for bin in held) / counted.sum()
    assert found == pytest.approx(truth, abs=1e-12)
    assert found <= 1 + 1e-12


def test_a_calibrated_head_has_an_error_within_chance():
    """Right with the probability that it states: mean error of 50 heads within 15% of Σ √(2 p(1 − p) n_k/π)/N, and falls with tokens."""
    draw = np.random.default_rng(0)

    def error(tokens):
        confidence = draw.random(tokens)
        found = reliability(confidence, (draw.random(tokens) < confidence).astype(float), np.ones(tokens), 10)
        return found.calibration_error

    middle = (np.arange(10) + 0.5) / 10
    # p(1 − p) is averaged over a bin of width 0.1.
    expected = np.sqrt(2 * (middle * (1 - middle) - 0.01 / 12) / np.pi * 10 / 4000).mean()
    assert np.mean([error(4000) for _ in range(50)]) == pytest.approx(expected, rel=0.15)
    assert error(400_000) < expected / 3


def test_a_head_that_is_sure_and_wrong_has_an_error_of_one():
    """Confidence 1, the last bin closed; sure and right, none; unsure by half and right half of the time, none."""
    ones = np.ones(20)
    assert reliability(ones, np.zeros(20), ones, 10).calibration_error == 1
    assert reliability(ones, ones, ones, 10).calibration_error == 0
    assert reliability(ones / 2, np.arange(20.0) % 2, ones, 10).calibration_error == 0


def test_edges_belong_to_the_bin_above_and_ends_to_the_ends():
    """0.5 of two bins is in the second; rounding beyond [0, 1] loses no token."""
    assert reliability(np.array([0.0, 0.5, 1.0, 1 + 1e-7, -1e-7]), np.ones(5), np.ones(5), 2).tokens.tolist() == [2, 3]


def test_no_bins_are_refused():
    """A histogram without bins is a mistake."""
    with pytest.raises(ValueError, match="0 bins"):
        reliability(np.ones(2), np.ones(2), np.ones(2), 0)
