"""Affine ridge maps equal scikit-learn's, and one eigendecomposition a fold gives the errors of refitting for every λ."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from harness import affine
from harness.moments import Sums
from tests.test_moments import rows

CPU = torch.device("cpu")


@pytest.mark.parametrize("massive", [False, True])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_maps_equal_scikit_learn(massive, offset):
    """Predictions, squared error and baseline agree to 1e-6, on fitted and on fresh rows."""
    x, fresh = (rows(n, 9, seed, massive).double() + offset for n, seed in ((1500, 0), (300, 50)))
    planted = rows(9, 7, 5).double()
    y, fresh_y = x @ planted * 0.3 + rows(1500, 7, 9) + offset, fresh @ planted * 0.3 + rows(300, 7, 10) + offset
    sums, other = Sums.of(x, y), Sums.of(fresh, fresh_y)
    xc = x - x.mean(0)
    assert affine.scale(sums) == pytest.approx(float((xc**2).sum() / 9), rel=1e-9)
    lam = 1e-5 * affine.scale(sums)
    ours = affine.fit(sums, lam)
    theirs = Ridge(alpha=lam, solver="svd").fit(x.numpy(), y.numpy())
    for points, targets, its in ((x, y, sums), (fresh, fresh_y, other)):
        predicted = theirs.predict(points.numpy())
        np.testing.assert_allclose(ours(points), predicted, rtol=1e-6, atol=1e-6 * np.abs(predicted).max())
        assert ours.squared_error(its) == pytest.approx(((targets.numpy() - predicted) ** 2).sum(), rel=1e-6)
        assert ours.baseline(its) == pytest.approx(float(((targets - y.mean(0)) ** 2).sum()), rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(2, 5), st.integers(0, 10**6))
def test_cross_validation_equals_refitting_every_fold_for_every_penalty(d, folds, seed):
    """The shortcut is exact."""
    parts = [(rows(20 + 3 * i, d, seed + i).double() + 1, rows(20 + 3 * i, 3, seed + 50 + i).double()) for i in range(folds)]
    penalties = [1e-6, 1e-2, 1.0, 30.0]
    ours = affine.cross_validated_errors([Sums.of(x, y) for x, y in parts], penalties, CPU)
    for penalty, found in zip(penalties, ours.tolist(), strict=True):
        truth = 0.0
        for held in range(folds):
            x = torch.cat([p[0] for i, p in enumerate(parts) if i != held])
            y = torch.cat([p[1] for i, p in enumerate(parts) if i != held])
            lam = penalty * float(((x - x.mean(0)) ** 2).sum() / d)
            model = Ridge(alpha=lam, solver="svd").fit(x.numpy(), y.numpy())
            truth += ((parts[held][1].numpy() - model.predict(parts[held][0].numpy())) ** 2).sum()
        assert found == pytest.approx(truth, rel=1e-7)


def test_more_noise_asks_for_more_ridge():
    """With few rows and pure noise the largest penalty wins; with a clean map the least does."""
    penalties = [1e-6, 1e-3, 1.0, 1e3]

    def best(noise, signal):
        parts = []
        for i in range(4):
            x = rows(12, 8, i).double()
            parts.append(Sums.of(x, signal * (x @ rows(8, 4, 99).double()) + noise * rows(12, 4, i + 10)))
        return penalties[int(affine.cross_validated_errors(parts, penalties, CPU).argmin())]

    assert best(noise=1.0, signal=0.0) == 1e3
    assert best(noise=0.0, signal=1.0) == 1e-6
