"""The held-out canonical correlation is that of directions fitted elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cross_decomposition import CCA

from harness.logit_change import _correlation
from harness.moments import Sums


def drawn(count: int, seed: int, shared: float = 0.6):
    """Scores ``(count, 3)`` and changes ``(count, 5)`` that share one latent factor, with means and scales of their own."""
    draw = np.random.default_rng(seed)
    x, y, factor = draw.normal(size=(count, 3)), draw.normal(size=(count, 5)), draw.normal(size=(count, 1))
    x[:, :1] += shared * factor
    y[:, 2:3] += 2 * factor
    return x * [1, 5, 0.2] + [3, 0, -40], y * [1, 2, 1, 0.5, 3] + 7


def sums(pair) -> Sums:
    """The moments of a pair of arrays."""
    return Sums.of(*(torch.from_numpy(part) for part in pair))


def test_directions_come_from_one_sample_and_the_correlation_from_another():
    """scikit-learn's CCA fitted to the one, NumPy's correlation of its scores on the other."""
    fitted, scored = drawn(2000, 0), drawn(1500, 1)
    model = CCA(n_components=1, scale=False, max_iter=10_000, tol=1e-12).fit(*fitted)
    a, b = model.transform(*scored)
    expected = np.corrcoef(a[:, 0], b[:, 0])[0, 1]
    assert _correlation(sums(fitted), sums(scored), 1e-9, 5) == pytest.approx(expected, abs=1e-4)


def test_what_correlates_by_chance_does_not_do_so_elsewhere():
    """Noise on 40 rows correlates in sample, and not on other rows: the figure is the other."""
    inside, outside = [], []
    for seed in range(20):
        fitted, scored = (drawn(count, 100 * seed + i, shared=0.0) for i, count in enumerate((40, 2000)))
        inside.append(_correlation(sums(fitted), sums(fitted), 1e-9, 5))
        outside.append(_correlation(sums(fitted), sums(scored), 1e-9, 5))
    assert np.mean(inside) > 0.4
    assert abs(np.mean(outside)) < 0.05


def test_the_pair_correlates_positively_where_it_is_fitted():
    """Directions are found up to their signs; the correlation of what is truly shared is above zero on any text."""
    assert all(_correlation(sums(drawn(500, i)), sums(drawn(500, i + 50)), 1e-4, 5) > 0.4 for i in range(10))


def test_only_the_leading_changes_are_looked_at():
    """With one PC of the changes kept, one that carries nothing shared, nothing correlates."""
    x, y = drawn(3000, 5)
    y[:, 4] *= 100
    assert abs(_correlation(sums((x, y)), sums((x, y)), 1e-9, 1)) < 0.1
    assert _correlation(sums((x, y)), sums((x, y)), 1e-9, 5) > 0.4


def test_nothing_varying_is_no_figure():
    """NaN where the scored changes do not vary."""
    x, y = drawn(200, 3)
    assert np.isnan(_correlation(sums((x, y)), sums((x[:1], y[:1])), 1e-4, 5))
