"""Ridge maps of rank k equal scikit-learn's on projected targets, and recover planted maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from harness import affine, ridge
from harness.moments import Moments, Sums
from tests.test_moments import rows


def sums(x: torch.Tensor, y: torch.Tensor) -> Sums:
    """Moments of one group."""
    moments = Moments(1, x.shape[1], y.shape[1])
    moments.add(0, x, y)
    return moments.total()


@pytest.mark.parametrize("massive", [False, True])
@pytest.mark.parametrize("rank", [1, 3, 8])
def test_maps_equal_scikit_learn(massive, rank):
    """Weights, predictions and squared error agree to 1e-6, with and without a 10⁴ direction."""
    x = rows(2000, 12, 0, massive)
    y = (x[:, :8] @ rows(8, 8, 5) * 0.3 + rows(2000, 8, 9)).double()
    found = sums(x, y)
    lam = ridge.penalty(found, 1e-4)
    fitted = ridge.fit(found, ridge.output_basis(found, rank=rank), lam)
    x64, y64 = x.double().numpy(), y.numpy()
    assert lam == pytest.approx(1e-4 * (x64**2).sum() / 12, rel=1e-12)
    basis = np.linalg.svd(y64, full_matrices=False)[2][:rank].T
    oracle = Ridge(alpha=lam, fit_intercept=False, solver="svd").fit(x64, y64 @ basis)
    theirs = x64 @ np.atleast_2d(oracle.coef_).T @ basis.T
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(fitted(x), theirs, rtol=1e-6, atol=1e-6 * scale)
    assert fitted.squared_error(found) == pytest.approx(((y64 - theirs) ** 2).sum(), rel=1e-6)
    fresh_x, fresh_y = rows(500, 12, 77, massive), rows(500, 8, 78)
    direct = float(((fresh_y.double() - fitted(fresh_x)) ** 2).sum())
    assert fitted.squared_error(sums(fresh_x, fresh_y)) == pytest.approx(direct, rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 10), st.integers(1, 6), st.integers(0, 10**6))
def test_a_planted_map_is_recovered(d, e, seed):
    """With no noise and next to no penalty, XA gives A back."""
    x, planted = rows(200, d, seed).double(), rows(d, e, seed + 1).double()
    found = sums(x, x @ planted)
    fitted = ridge.fit(found, ridge.output_basis(found, energy=1.0), 1e-12)
    torch.testing.assert_close(fitted.weight @ fitted.basis.T, planted, rtol=1e-6, atol=1e-7)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 8), st.floats(0.01, 100), st.integers(0, 10**6))
def test_rotating_or_rescaling_changes_no_share(d, scale, seed):
    """R² is the same in any orthonormal basis and any unit, because λ follows tr(XᵀX)."""
    x, y = rows(120, d, seed).double(), rows(120, d, seed + 1).double() + rows(120, d, seed)
    turn = torch.linalg.qr(rows(d, d, seed + 2).double())[0] * scale

    def share(x, y):
        found = sums(x, y)
        fitted = ridge.fit(found, ridge.output_basis(found, rank=max(1, d // 2)), ridge.penalty(found, 1e-4))
        return 1 - fitted.squared_error(found) / found.energy

    assert share(x @ turn, y @ turn) == pytest.approx(share(x, y), abs=1e-8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=8), st.floats(0.05, 1.0))
def test_the_rank_is_the_fewest_directions_that_hold_the_energy(spectrum, energy):
    """K directions hold the share, k − 1 do not."""
    d = len(spectrum)
    turn = torch.linalg.qr(rows(d, d, 3).double())[0]
    yy = turn @ torch.diag(torch.tensor(spectrum, dtype=torch.float64)) @ turn.T
    empty = torch.zeros(d, d, dtype=torch.float64)
    k = ridge.output_basis(Sums(1, empty[0], empty[0], empty, empty, yy), energy=energy).shape[1]
    held = np.cumsum(sorted(spectrum, reverse=True)) / sum(spectrum)
    assert held[k - 1] >= energy * (1 - 1e-9)
    assert k == 1 or held[k - 2] < energy * (1 + 1e-9)


def test_the_basis_is_orthonormal_and_ordered():
    """V_k has orthonormal columns, strongest first."""
    found = sums(rows(300, 6, 0), rows(300, 6, 1) * torch.arange(1, 7))
    basis = ridge.output_basis(found, rank=4)
    torch.testing.assert_close(basis.T @ basis, torch.eye(4, dtype=torch.float64))
    energies = (basis * (found.yy @ basis)).sum(0)
    assert (energies.diff() < 0).all()


@pytest.mark.parametrize(("rank", "count"), [(2, 2 * (7 + 5)), (3, 7 * 5)])
def test_a_map_is_stored_as_factors_or_as_their_product(rank, count):
    """Whichever is less: of rank 3 the product of (7, 5) has 35 numbers and the factors 36."""
    assert ridge.RankMap(torch.zeros(7, rank), torch.zeros(5, rank)).parameters == count


def test_an_affine_map_counts_its_intercept_where_it_has_one():
    """d·e numbers, and e more."""
    found = Sums.of(rows(50, 4, 0), rows(50, 3, 1))
    assert affine.fit(found, 1.0).parameters == 4 * 3 + 3
    assert affine.through_origin(found, 1.0).parameters == 4 * 3
