"""The cosine transform is that of the explicit matrices, and loses nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cosine import dct2, inverse_dct2
from tests.test_moments import rows


def cosines(n):
    """C[k, j] = √(2/n) cos(π(2j + 1)k / 2n), its first row divided by √2."""
    k, j = np.arange(n)[:, None], np.arange(n)
    found = np.sqrt(2 / n) * np.cos(np.pi * (2 * j + 1) * k / (2 * n))
    found[0] /= np.sqrt(2)
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 24), st.integers(1, 24), st.integers(0, 10**6))
def test_the_transform_is_that_of_the_explicit_matrices(m, n, seed):
    """C_m W C_nᵀ and its inverse, both orthogonal, for matrices that are laid out by rows or by columns."""
    weight = rows(m, n, seed).double()
    truth = cosines(m) @ weight.numpy() @ cosines(n).T
    for same in (weight, weight.T.contiguous().T):
        np.testing.assert_allclose(dct2(same), truth, atol=1e-12)
    np.testing.assert_allclose(inverse_dct2(weight), cosines(m).T @ weight.numpy() @ cosines(n), atol=1e-12)
    torch.testing.assert_close(inverse_dct2(dct2(weight)), weight, rtol=0, atol=1e-12)
    assert float(dct2(weight).norm()) == pytest.approx(float(weight.norm()))


@pytest.mark.parametrize(
    ("given_as", "found_as"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
    ],
)
def test_types_stay_or_widen(given_as, found_as):
    """Float64 and float32 stay, halves become float32; parameters that want gradients are no obstacle and are not changed."""
    weight = torch.nn.Parameter(rows(6, 4, 0).to(given_as))
    before = weight.detach().clone()
    found = dct2(weight)
    assert (found.dtype, inverse_dct2(weight).dtype, found.requires_grad) == (found_as, found_as, False)
    np.testing.assert_allclose(found, cosines(6) @ before.double().numpy() @ cosines(4).T, atol=1e-5)
    assert torch.equal(weight, before)
