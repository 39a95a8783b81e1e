"""Bases are orthonormal and distributed as they should be, lie where directions were planted, and agree with SciPy's and scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cross_decomposition import CCA

from harness import rotations
from harness.moments import Sums
from harness.subspaces import overlap
from tests.test_moments import rows
from tests.test_subspaces import projector, related, same_columns, turn


def is_orthonormal(basis, size):
    """Columns are orthonormal to 1e-10, and as many as inputs."""
    torch.testing.assert_close(basis.T @ basis, torch.eye(size, dtype=torch.float64), rtol=0, atol=1e-10)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 96), st.integers(0, 10**6))
def test_drawn_bases_are_orthonormal_and_repeatable(size, seed):
    """Equal for equal seeds, others otherwise; a weight rotated and turned back is the weight."""
    for draw in (rotations.random_orthogonal, rotations.hadamard):
        basis, weight = draw(size, seed), rows(3, size, seed).double()
        is_orthonormal(basis, size)
        torch.testing.assert_close(weight @ basis @ basis.T, weight, rtol=0, atol=1e-10)
        rotations.random_orthogonal.cache_clear()
        assert torch.equal(draw(size, seed), basis)
        assert size < 16 or not torch.equal(draw(size, seed + 1), basis)


def test_random_bases_have_haars_moments():
    """Every entry has mean 0, E q² = 1/n and E q⁴ = 3/n(n + 2), and the trace E tr = 0 and E tr² = 1, which without signs are others."""
    n, count = 5, 4000
    drawn = np.array([rotations.random_orthogonal(n, seed).numpy() for seed in range(count)])
    np.testing.assert_allclose(drawn.mean(0), 0, atol=5 / np.sqrt(n * count))
    np.testing.assert_allclose((drawn**2).mean(0), 1 / n, atol=5 * np.sqrt(2) / n / np.sqrt(count))
    np.testing.assert_allclose((drawn**4).mean(0), 3 / (n * (n + 2)), rtol=0.25)
    trace = drawn.trace(axis1=1, axis2=2)
    assert trace.mean() == pytest.approx(0, abs=5 / np.sqrt(count))
    assert (trace**2).mean() == pytest.approx(1, abs=0.12)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(0, 10**6))
def test_hadamard_is_scipys_in_blocks_of_the_powers_of_two_that_make_the_size(size, seed):
    """Signs on the inputs, which the first column of each block shows, before scipy.linalg.hadamard of each order over its root."""
    orders = [2**i for i in range(8) if format(size, "08b")[7 - i] == "1"][::-1]
    truth = scipy.linalg.block_diag(*(scipy.linalg.hadamard(order) / np.sqrt(order) for order in orders))
    found = rotations.hadamard(size, seed).numpy()
    signs = np.sign(found[:, np.cumsum([0, *orders[:-1]])].sum(1))
    assert set(signs) <= {-1, 1}
    np.testing.assert_allclose(signs[:, None] * found, truth, atol=1e-12)


def test_hadamard_signs_are_evenly_drawn():
    """About half of 576 = 512 + 64 inputs are turned over; a lone large input is shared by all of its block."""
    found = rotations.hadamard(576, 0)
    assert abs(float(torch.cat([found[:512, 0], found[512:, 512]]).sign().sum())) < 5 * np.sqrt(576)
    assert 0 < int((found[:512, 0] < 0).sum()) < 512
    np.testing.assert_allclose(found[3].abs(), np.repeat([512**-0.5, 0], [512, 64]))


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 9), st.floats(-100, 100), st.integers(0, 10**6))
def test_principal_axes_are_those_planted(d, shift, seed):
    """A rotation of coordinates of falling spread is found again, strongest first, wherever the mean is."""
    basis, spreads = turn(d, seed), torch.logspace(0, -1, d, dtype=torch.float64)
    scores = rows(400, d, seed + 1).double()
    exact = torch.linalg.qr(scores - scores.mean(0))[0] * spreads
    x = exact @ basis.T + shift
    found = rotations.principal(Sums.of(x, x[:, :0]))
    is_orthonormal(found, d)
    same_columns(found, basis, rtol=1e-5)


def reference(x, y):
    """Canonical weights of x without a ridge, most correlated first, and the correlations: of QR factors (Björck and Golub 1973)."""
    (qx, rx), (qy, _) = (np.linalg.qr(side.numpy() - side.numpy().mean(0)) for side in (x, y))
    u, strengths, _ = np.linalg.svd(qx.T @ qy)
    return np.linalg.solve(rx, u), strengths


@pytest.mark.parametrize("massive", [False, True])
@pytest.mark.parametrize(("d", "e"), [(6, 4), (5, 5), (4, 7)])
def test_canonical_axes_span_the_canonical_weights_of_every_number(d, e, massive):
    """Without a ridge the first j columns span the first j weights, for every j; regression on them correlates as the reference says."""
    x, y = related(500, d, e, 0, decades=1, massive=massive)
    weights, strengths = reference(x, y)
    found = rotations.canonical(Sums.of(x, y), ridge=1e-13)
    is_orthonormal(found, d)
    for j in range(1, min(d, e) + 1):
        np.testing.assert_allclose(projector(found[:, :j]), projector(weights[:, :j]), atol=1e-5)
    scores, others = ((side - side.mean(0)).numpy() for side in (x @ found[:, :1], y))
    fitted = others @ np.linalg.lstsq(others, scores, rcond=None)[0]
    assert np.linalg.norm(fitted) / np.linalg.norm(scores) == pytest.approx(strengths[0], rel=1e-6)


def test_canonical_axes_span_scikit_learns():
    """The leading columns span the x_weights_ of scikit-learn's CCA."""
    x, y = related(500, 6, 4, 0, decades=1)
    found = rotations.canonical(Sums.of(x, y), ridge=1e-12)
    for k in (1, 2, 3):
        learn = CCA(n_components=k, scale=False, max_iter=20_000, tol=1e-12).fit(x.numpy(), y.numpy())
        np.testing.assert_allclose(projector(found[:, :k]), projector(learn.x_weights_), atol=1e-4)


@pytest.mark.parametrize("ridge", [1e-4, 0.3])
def test_the_ridge_is_a_share_of_the_mean_variance_of_its_own_side(ridge):
    """Sxy (Syy + λy)⁻¹ Syx w = ρ² (Sxx + λx) w with λ = ridge·tr/d about the means; axes that are given change nothing."""
    x, y = related(300, 6, 4, 2, decades=1)
    a, b = (s.numpy() - s.numpy().mean(0) for s in (x, 30 * y))
    xx, yy = (m + ridge * np.trace(m) / len(m) * np.eye(len(m)) for m in (a.T @ a, b.T @ b))
    weights = scipy.linalg.eigh(a.T @ b @ np.linalg.solve(yy, b.T @ a), xx)[1][:, ::-1]
    sums = Sums.of(x, 30 * y)
    found = rotations.canonical(sums, ridge)
    for j in range(1, 5):
        np.testing.assert_allclose(projector(found[:, :j]), projector(weights[:, :j]), atol=1e-7)
    again = rotations.canonical(sums, ridge, rotations.principal(sums))
    same_columns(again[:, :4], found[:, :4])
    is_orthonormal(again, 6)


@pytest.mark.parametrize("first", [0, 3, 6])
def test_planted_predictive_directions_come_first(first):
    """Y that follows two whitened directions of x, whatever their variance: the first two columns span their weights, the PCs need not."""
    d, n = 8, 20_000
    spreads, basis, z = torch.logspace(0, -1.5, d, dtype=torch.float64), turn(d, 1), rows(n, d, 2).double()
    x = (z * spreads) @ basis.T + 3
    y = z[:, first : first + 2] @ rows(2, 5, 3).double() + 1e-3 * rows(n, 5, 4)
    found = rotations.canonical(Sums.of(x, y), ridge=1e-8)
    planted = basis[:, first : first + 2]
    assert overlap(found[:, :2], planted) == pytest.approx(1, abs=0.01)
    assert overlap(rotations.principal(Sums.of(x, y))[:, :2], planted) == pytest.approx(1 if first == 0 else 0, abs=0.05)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 7), st.integers(1, 7), st.floats(0.01, 100), st.integers(0, 10**6))
def test_bases_turn_with_their_inputs(d, e, scale, seed):
    """Q of x turned is Q turned, in any unit and wherever the means are: the rotated inputs are the same up to signs."""
    x, y = related(150, d, e, seed, decades=1)
    rotation, k = turn(d, seed + 9), min(d, e)
    before, after = Sums.of(x, y), Sums.of(x @ rotation * scale + 1, y @ turn(e, seed + 8) * scale - 2)
    for j in range(1, k + 1):
        ours, theirs = (rotations.canonical(sums)[:, :j] for sums in (before, after))
        np.testing.assert_allclose(projector(rotation @ theirs), projector(ours), atol=1e-5)
    same_columns(rotation @ rotations.principal(after), rotations.principal(before), rtol=1e-5)


def test_inputs_that_never_vary_are_no_obstacle_but_a_side_that_never_does_is():
    """With a ridge, constant, repeated and outnumbering inputs still give an orthonormal basis; nothing that varies, an error, not NaN."""
    x, y = related(6, 5, 4, 0)
    awkward = torch.cat([x, x, torch.full((6, 2), 7.0, dtype=torch.float64)], dim=1)
    is_orthonormal(rotations.canonical(Sums.of(awkward, y)), 12)
    is_orthonormal(rotations.canonical(Sums.of(awkward, torch.cat([y, 0 * y], dim=1))), 12)
    for sums in (Sums.of(0 * x, y), Sums.of(x, 0 * y)):
        with pytest.raises(torch.linalg.LinAlgError, match="no variance"):
            rotations.canonical(sums)
