"""Moments equal NumPy's in float64, whatever the scale of one direction and however rows are grouped."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.moments import Moments, Sums


def rows(n: int, d: int, seed: int, massive: bool = False) -> torch.Tensor:
    """Random float32 rows; ``massive`` makes one direction 10⁴ times the others."""
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    if massive:
        direction = torch.nn.functional.normalize(torch.ones(d), dim=0)
        x = x + 1e4 * torch.randn(n, 1, generator=torch.Generator().manual_seed(seed + 1)) * direction
    return x


@pytest.mark.parametrize("massive", [False, True])
def test_sums_equal_numpy(massive):
    """Every sum agrees with float64 NumPy to 1e-12 of its own scale; float32 accumulation would miss the 1e-6 asked for."""
    x, y = rows(3000, 24, 0, massive), rows(3000, 10, 7)
    moments = Moments(3, 24, 10)
    for group in range(3):
        part = slice(1000 * group, 1000 * (group + 1))
        moments.add(group, x[part][:300], y[part][:300])
        moments.add(group, x[part][300:], y[part][300:])
    total = moments.total()
    x64, y64 = x.double().numpy(), y.double().numpy()
    assert total.n == 3000
    for ours, theirs in ((total.xx, x64.T @ x64), (total.xy, x64.T @ y64), (total.yy, y64.T @ y64)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12 * np.abs(theirs).max())
    assert total.energy == pytest.approx((y64**2).sum(), rel=1e-12)


def test_small_directions_survive_a_massive_one():
    """The variance orthogonal to a 10⁴ direction is right to 1e-6; summed in float32 it is not."""
    x = rows(4096, 16, 3, massive=True)
    direction = torch.nn.functional.normalize(torch.ones(16), dim=0).double()
    across = torch.eye(16, dtype=torch.float64) - torch.outer(direction, direction)
    truth = ((x.double() @ across) ** 2).sum()
    moments = Moments(1, 16, 16)
    moments.add(0, x, x)
    ours = (across @ moments.total().xx @ across).trace()
    naive = (across @ (x.T @ x).double() @ across).trace()
    assert float(abs(ours / truth - 1)) < 1e-6
    assert float(abs(naive / truth - 1)) > 1e-4


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=6), st.integers(0, 10**6))
def test_leaving_a_group_out_equals_never_adding_it(sizes, seed):
    """Sums of disjoint rows add and can be taken away: group by group, or by choosing groups."""
    moments = Moments(len(sizes), 5, 4)
    parts = [(rows(n, 5, seed + i), rows(n, 4, seed + 100 + i)) for i, n in enumerate(sizes)]
    for group, (x, y) in enumerate(parts):
        moments.add(group, x, y)
    total = moments.total()
    for left_out in range(len(sizes)):
        rest = total - moments.group(left_out)
        x = torch.cat([p[0] for i, p in enumerate(parts) if i != left_out]).double()
        y = torch.cat([p[1] for i, p in enumerate(parts) if i != left_out]).double()
        chosen = moments.total([g for g in range(len(sizes)) if g != left_out])
        torch.testing.assert_close(chosen.xy, rest.xy, rtol=1e-10, atol=1e-10)
        assert rest.n == chosen.n == len(x)
        for ours, theirs in ((rest.x, x.sum(0)), (rest.y, y.sum(0)), (rest.xx, x.T @ x), (rest.xy, x.T @ y), (rest.yy, y.T @ y)):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 60), st.floats(-1e4, 1e4), st.integers(0, 10**6))
def test_sums_about_any_point_equal_numpy(n, shift, seed):
    """``about(a, b)`` sums over x − a and y − b, to 1e-6 even when means are 10⁴ times the spread."""
    x, y = rows(n, 5, seed).double() + shift, rows(n, 4, seed + 1).double() - shift
    ours = Sums.of(x, y).about(x.mean(0), y.mean(0))
    xc, yc = (x - x.mean(0)).numpy(), (y - y.mean(0)).numpy()
    for found, truth in ((ours.xx, xc.T @ xc), (ours.xy, xc.T @ yc), (ours.yy, yc.T @ yc)):
        np.testing.assert_allclose(found, truth, rtol=1e-6, atol=1e-6 * max(1, np.abs(truth).max()))
    np.testing.assert_allclose(ours.x, 0, atol=1e-7)
