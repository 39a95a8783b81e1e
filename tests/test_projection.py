"""What a projection and its noise are made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from harness.projection import _Fitted
from harness.subspaces import Principal


def principal(seed: int = 0, d: int = 12, n: int = 400) -> Principal:
    """The PCA of correlated rows with a mean, two of whose variances are nearly equal."""
    draw = np.random.default_rng(seed)
    scales = np.geomspace(1, 30, d)
    scales[5] = scales[4] * 1.001
    x = torch.from_numpy(draw.normal(size=(n, d)) * scales + 5)
    return Principal.of(n, x.sum(0), x.T @ x)


def test_noise_has_the_covariance_of_the_text_times_the_share_dropped():
    """FFᵀ = fΣ, with f what the first k PCs leave."""
    pca = principal()
    fitted = _Fitted.of(pca, 3, noise=True)
    covariance = (pca.vectors * pca.variance) @ pca.vectors.T
    dropped = float(pca.variance[3:].sum() / pca.variance.sum())
    np.testing.assert_allclose(fitted.factor @ fitted.factor.T, dropped * covariance, atol=1e-9 * float(covariance.max()))
    np.testing.assert_allclose(fitted.basis, pca.vectors[:, :3])
    assert _Fitted.of(pca, 3, noise=False).factor is None


def test_refits_draw_the_same_noise_whatever_the_signs_and_order_of_eigenvectors():
    """Signs are arbitrary, and near-equal variances swap their PCs: neither turns the noise."""
    pca = principal()
    signs = torch.tensor([1.0, -1.0] * 6, dtype=torch.float64)
    swapped = pca.vectors.clone()
    order = torch.argsort((pca.values[:-1] / pca.values[1:]).log())[0]
    swapped[:, [order, order + 1]] = swapped[:, [order + 1, order]]
    factor = _Fitted.of(pca, 3, noise=True).factor
    for vectors, tolerance in ((pca.vectors * signs, 1e-12), (swapped, 0.1)):
        other = _Fitted.of(replace(pca, vectors=vectors), 3, noise=True).factor
        assert float((other - factor).norm() / factor.norm()) < tolerance
