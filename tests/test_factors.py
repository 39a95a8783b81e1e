"""Factors are the nearest of their rank, whatever the spread of singular values, and take no more room than the matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.factors import budget_rank, factors
from tests.test_moments import rows


def spread(m, n, decades, seed):
    """A matrix ``(m, n)`` whose singular values fall over so many decades, and these values."""
    k = min(m, n)
    u, v = (torch.linalg.qr(rows(size, k, seed + i).double())[0] for i, size in enumerate((m, n)))
    values = torch.logspace(0, -decades, k, dtype=torch.float64)
    return (u * values) @ v.T, values


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 6), st.data())
def test_no_matrix_of_the_rank_is_nearer(m, n, decades, data):
    """‖W − AB‖_F is the root of the sum of the squares of the singular values left out (Eckart and Young), and AᵀA = BBᵀ = Σ."""
    rank = data.draw(st.integers(1, min(m, n)))
    weight, values = spread(m, n, decades, data.draw(st.integers(0, 10**6)))
    a, b = factors(weight, rank)
    assert (a.shape, b.shape, a.dtype) == ((m, rank), (rank, n), torch.float64)
    assert float((weight - a @ b).norm()) == pytest.approx(float(values[rank:].norm()), rel=1e-6, abs=1e-13)
    for gram in (a.T @ a, b @ b.T):
        np.testing.assert_allclose(gram, torch.diag(values[:rank]), rtol=1e-8, atol=1e-13)


def test_small_singular_values_are_kept_to_ten_digits():
    """At a condition of 10⁶ the product of all factors but one, taken from W, leaves the last direction alone."""
    weight, values = spread(40, 24, 6, 0)
    a, b = factors(weight, 23)
    np.testing.assert_allclose(np.linalg.svd((weight - a @ b).numpy())[1][0], float(values[-1]), rtol=1e-9)
    torch.testing.assert_close(b.square().sum(1), values[:23], rtol=1e-9, atol=0)


@given(st.integers(1, 10**5), st.integers(1, 10**5))
def test_the_budget_is_the_most_that_fits(m, n):
    """Factors of rank r have no more numbers than the matrix, those of r + 1 have; and r is a rank that a matrix can have, or none."""
    rank = budget_rank(m, n)
    assert rank * (m + n) <= m * n < (rank + 1) * (m + n)
    assert rank < min(m, n)
    assert budget_rank(1, n) == 0


@pytest.mark.parametrize("rank", [-1, 0, 5])
def test_a_rank_that_no_factors_have_is_refused(rank):
    """Neither none nor more than the matrix has, rather than an empty product or one of a smaller rank."""
    with pytest.raises(ValueError, match=f"rank {rank} of a matrix"):
        factors(rows(4, 6, 0), rank)
