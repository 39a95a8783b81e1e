"""Subspaces equal those of NumPy, SciPy, scikit-learn and statsmodels, whatever the basis and the scale."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA
from statsmodels.multivariate.cancorr import CanCorr

from harness import affine, subspaces
from harness.moments import Sums
from harness.subspaces import Principal
from tests.test_moments import rows


def turn(d, seed):
    """A random rotation."""
    return torch.linalg.qr(rows(d, d, seed).double())[0]


def related(n, d, e, seed, decades=0.0, massive=False):
    """Rows x of a given spread of standard deviations, turned and offset, and y that follows them with noise."""
    x = rows(n, d, seed).double() * torch.logspace(0, -decades / 2, d, dtype=torch.float64)
    y = x @ torch.linalg.inv(torch.diag(x.std(0))) @ rows(d, e, seed + 1).double() * torch.logspace(0, -1, e) + 2 * rows(n, e, seed + 2)
    x = x @ turn(d, seed + 3) + 5
    return x + (rows(n, d, seed + 4, massive) if massive else 0), y - 3


def pca(x):
    """The PCA of rows."""
    found = Sums.of(x, x[:, :0])
    return Principal.of(found.n, found.x, found.xx)


def projector(a):
    """The projection onto the columns of a, which says what they span."""
    basis = np.linalg.qr(np.asarray(a, dtype=np.float64))[0]
    return basis @ basis.T


def same_columns(ours, theirs, rtol=1e-6):
    """Columns agree up to their signs."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    theirs = theirs * np.sign((ours * theirs).sum(0))
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * np.abs(theirs).max())


@pytest.mark.parametrize("massive", [False, True])
def test_pca_equals_numpy_and_scikit_learn(massive):
    """Means, variances and components agree to 1e-6, beside a massive direction too."""
    x, _ = related(400, 7, 3, 0, decades=2, massive=massive)
    ours, theirs = pca(x), PCA(svd_solver="full").fit(x.numpy())
    covariance = np.cov(x.numpy().T, bias=True)
    truth = np.linalg.eigvalsh(covariance)[::-1]
    np.testing.assert_allclose(ours.mean, theirs.mean_, rtol=1e-12)
    np.testing.assert_allclose(ours.variance, truth, rtol=1e-6)
    np.testing.assert_allclose(ours.variance * 400 / 399, theirs.explained_variance_, rtol=1e-6)
    same_columns(ours.vectors, theirs.components_.T)
    same_columns(ours.top(3), np.linalg.eigh(covariance)[1][:, ::-1][:, :3])
    torch.testing.assert_close(subspaces.variances(400, x.sum(0), x.T @ x), ours.variance)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=8), st.floats(0.05, 1.0))
def test_the_rank_is_the_fewest_pcs_that_hold_the_share(spectrum, share):
    """K PCs hold the share, k − 1 do not; nine equal ones of ten hold 90%, whatever the rounding of their sum."""
    values = torch.tensor(sorted(spectrum, reverse=True), dtype=torch.float64)
    k = Principal(5, values, values, torch.eye(len(values))).rank_for(share)
    held = np.cumsum(values.numpy()) / float(values.sum())
    assert held[k - 1] >= share * (1 - 1e-9)
    assert k == 1 or held[k - 2] < share
    equal = torch.full((10,), spectrum[0], dtype=torch.float64)
    assert Principal(1, equal, equal, torch.eye(10)).rank_for(0.9) == 9


@pytest.mark.parametrize("k", [1, 3, 4])
def test_cca_without_ridge_equals_scikit_learn_and_statsmodels(k):
    """Canonical correlations agree to 1e-6 and weights span the same subspace."""
    x, y = related(500, 6, 4, 0, decades=1)
    ours = subspaces.cca(*subspaces.sides(Sums.of(x, y)), 1e-10, 1e-10, k)
    learn = CCA(n_components=k, scale=False, max_iter=20_000, tol=1e-12).fit(x.numpy(), y.numpy())
    scores = learn.transform(x.numpy(), y.numpy())
    correlations = [np.corrcoef(a, b)[0, 1] for a, b in zip(*(s.T for s in scores), strict=True)]
    np.testing.assert_allclose(ours.strengths, correlations, rtol=1e-5)
    np.testing.assert_allclose(projector(ours.weights), projector(learn.x_weights_), atol=1e-4)
    models = CanCorr(y.numpy(), x.numpy())
    np.testing.assert_allclose(ours.strengths, models.cancorr[:k], rtol=1e-6)
    np.testing.assert_allclose(projector(ours.weights), projector(models.x_cancoef[:, :k]), atol=1e-6)


@pytest.mark.parametrize("massive", [False, True])
@pytest.mark.parametrize(("lam_x", "lam_y"), [(1e-6, 1e-6), (0.5, 20.0), (300.0, 0.1)])
def test_cca_with_ridge_solves_the_generalised_eigenproblem(lam_x, lam_y, massive):
    """Sxy (Syy + λy)⁻¹ Syx w = ρ² (Sxx + λx) w, with wᵀ(Sxx + λx)w = 1."""
    x, y = related(300, 6, 5, 2, decades=1, massive=massive)
    ours = subspaces.cca(*subspaces.sides(Sums.of(x, y)), lam_x, lam_y, 4)
    a, b = (s.numpy() - s.numpy().mean(0) for s in (x, y))
    inner = a.T @ b @ np.linalg.solve(b.T @ b + lam_y * np.eye(5), b.T @ a)
    squares, weights = scipy.linalg.eigh(inner, a.T @ a + lam_x * np.eye(6))
    np.testing.assert_allclose(ours.strengths, np.sqrt(squares[::-1][:4]), rtol=1e-6)
    same_columns(ours.weights, weights[:, ::-1][:, :4])


@pytest.mark.parametrize("massive", [False, True])
@pytest.mark.parametrize("lam", [1e-3, 40.0, 5000.0])
def test_reduced_rank_ridge_equals_least_squares_on_augmented_rows(lam, massive):
    """Weights span B̂V_k: ridge is least squares with rows √λ I added, whose fitted values' SVD gives V and the strengths."""
    x, y = related(300, 6, 5, 2, decades=1, massive=massive)
    found, d = subspaces.sides(Sums.of(x, y)), 6
    a, b = (s.numpy() - s.numpy().mean(0) for s in (x, y))
    more, zeros = np.vstack([a, np.sqrt(lam) * np.eye(d)]), np.vstack([b, np.zeros((d, 5))])
    full = np.linalg.lstsq(more, zeros, rcond=None)[0]
    _, strengths, v = np.linalg.svd(more @ full, full_matrices=False)
    for k in (1, 2, 4):
        ours = subspaces.rrr(found[0], found[2], lam, k)
        np.testing.assert_allclose(ours.strengths, strengths[:k], rtol=1e-6)
        np.testing.assert_allclose(projector(ours.weights), projector(full @ v[:k].T), atol=1e-6)
        np.testing.assert_allclose(ours.whitened.T @ ours.whitened, np.eye(k), atol=1e-10)
        np.testing.assert_allclose(projector(ours.span(4)[:, :k]), projector(ours.weights), atol=1e-9)
        whitened = a @ found[0].vectors.numpy() / np.sqrt(found[0].values.numpy() + lam)
        same_columns(ours.whitened, np.linalg.svd(whitened.T @ b)[0][:, :k])


def test_without_ridge_its_predictions_are_the_best_of_rank_k():
    """Regression on k scores leaves what the truncated SVD of the least-squares fit leaves (Eckart and Young), which no other k do."""
    x, y = related(400, 6, 5, 7)
    side, _, cross = subspaces.sides(Sums.of(x, y))
    a, b = (s.numpy() - s.numpy().mean(0) for s in (x, y))
    fitted = a @ np.linalg.lstsq(a, b, rcond=None)[0]
    u, s, vt = np.linalg.svd(fitted, full_matrices=False)
    for k in (1, 2, 3):
        scores = a @ subspaces.rrr(side, cross, 1e-9, k).weights.numpy()
        ours = scores @ np.linalg.lstsq(scores, b, rcond=None)[0]
        np.testing.assert_allclose(ours, u[:, :k] * s[:k] @ vt[:k], atol=1e-6)
        others = a @ side.top(k).numpy()
        assert ((b - ours) ** 2).sum() < ((b - others @ np.linalg.lstsq(others, b, rcond=None)[0]) ** 2).sum()


def test_patterns_are_how_scores_show_in_x():
    """A = ΣW is the covariance of x with the scores (Haufe et al.), up to 1/n."""
    x, y = related(300, 6, 5, 2, decades=1)
    side, _, cross = subspaces.sides(Sums.of(x, y))
    ours = subspaces.rrr(side, cross, 3.0, 2)
    a = x - x.mean(0)
    torch.testing.assert_close(subspaces.patterns_of(ours.x, ours.weights), a.T @ (a @ ours.weights))
    torch.testing.assert_close(subspaces.weights_of(side, 3.0, ours.whitened), ours.weights)


def test_a_side_without_variance_needs_a_ridge():
    """With λ = 0 a direction without variance is an error, never infinity; with a ridge it is no obstacle."""
    x, y = related(50, 4, 3, 0)
    a, b, cross = subspaces.sides(Sums.of(x, y))
    flat = Principal(a.n, a.mean, torch.tensor([3.0, 2.0, 1.0, 0.0], dtype=torch.float64), a.vectors)
    for fit in (lambda: subspaces.cca(flat, b, cross, 0.0, 1.0, 1), lambda: subspaces.cca(b, flat, cross.T, 1.0, 0.0, 1)):
        with pytest.raises(torch.linalg.LinAlgError, match="no variance"):
            fit()
    assert bool(torch.isfinite(subspaces.rrr(flat, cross, 1e-6, 2).weights).all())


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 10), st.data(), st.integers(0, 10**6))
def test_overlap_is_that_of_subspaces_and_not_of_bases(d, data, seed):
    """1 for one subspace in two bases, symmetric, between 0 and 1, the mean squared cosine of SciPy's principal angles."""
    k = data.draw(st.integers(1, d))
    a, b = (subspaces.random_orthonormal(d, k, seed, i) for i in range(2))
    found = subspaces.overlap(a, b)
    assert subspaces.overlap(a @ turn(k, seed), a) == pytest.approx(1)
    assert subspaces.overlap(b, a) == pytest.approx(found)
    assert subspaces.overlap(a @ turn(k, seed), b @ turn(k, seed + 1)) == pytest.approx(found)
    assert subspaces.overlap(turn(d, seed) @ a, turn(d, seed) @ b) == pytest.approx(found)
    assert found == pytest.approx(np.mean(np.cos(scipy.linalg.subspace_angles(a.numpy(), b.numpy())) ** 2), abs=1e-9)
    assert subspaces.within_top(a) == pytest.approx(subspaces.overlap(a, torch.eye(d, dtype=torch.float64)[:, :k]))


def test_random_subspaces_are_orthonormal_repeatable_and_overlap_by_chance():
    """Equal for equal seed and index, others otherwise; k/d on average."""
    a = subspaces.random_orthonormal(24, 6, 3, 5)
    torch.testing.assert_close(a.T @ a, torch.eye(6, dtype=torch.float64))
    assert torch.equal(a, subspaces.random_orthonormal(24, 6, 3, 5))
    assert all(not torch.equal(a, subspaces.random_orthonormal(24, 6, *other)) for other in ((4, 5), (3, 6)))
    drawn = [subspaces.random_orthonormal(24, 6, 0, i) for i in range(200)]
    assert np.mean([subspaces.overlap(a, b) for b in drawn]) == pytest.approx(6 / 24, abs=0.02)


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 7), st.floats(0.01, 100), st.integers(0, 10**6))
def test_rotating_or_rescaling_changes_nothing(d, scale, seed):
    """Whitened overlap, canonical correlations and overlaps of spans are the same in any orthonormal basis and unit: λ follows tr/d."""
    x, y = related(150, d, 4, seed, decades=2)
    k = d // 2

    def seen(x, y):
        found = Sums.of(x, y)
        a, b, cross = subspaces.sides(found)
        lam = 1e-3 * affine.scale(found)
        first, second = subspaces.cca(a, b, cross, lam, 1e-3 * float(b.values.mean()), k), subspaces.rrr(a, cross, lam, k)
        strengths = [*first.strengths.tolist(), *(second.strengths / second.strengths.sum()).tolist()]
        return (
            [subspaces.within_top(fit.whitened) for fit in (first, second)]
            + [
                subspaces.overlap(a.top(k), subspaces.orthonormal(m))
                for fit in (first, second)
                for m in (fit.weights, subspaces.patterns_of(fit.x, fit.weights))
            ]
            + strengths
        )

    np.testing.assert_allclose(seen(x @ turn(d, seed + 9) * scale, y @ turn(4, seed + 8) * scale), seen(x, y), atol=1e-6)
