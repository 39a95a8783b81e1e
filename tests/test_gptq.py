"""GPTQ equals least squares column by column, as written out in NumPy, and stays on its grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import MeasurementError
from harness.gptq import gptq, inverse_factor
from harness.quantizers import Uniform
from tests.test_moments import rows

QUANTIZERS = [Uniform(16, "row"), Uniform(4, "tensor"), Uniform(8, 5), Uniform(4, "row", symmetric=True)]


def correlated(columns: int, seed: int, count: int = 400) -> torch.Tensor:
    """XᵀX of rows whose entries are correlated, of very different sizes."""
    mixed = rows(count, columns, seed).double() @ (rows(columns, columns, seed + 1).double() + 2)
    mixed = mixed * torch.logspace(-1, 1, columns, dtype=torch.float64)
    return mixed.T @ mixed


def one_by_one(weight: torch.Tensor, hessian: np.ndarray, quantizer: Uniform) -> np.ndarray:
    """Optimal brain quantisation in the order of the columns, the inverse of what remains of the Hessian taken anew each time."""
    low, step = (x.numpy() for x in quantizer.grid(weight))
    work = weight.double().numpy().copy()
    most = quantizer.levels - 1 - quantizer.symmetric
    for j in range(work.shape[1]):
        rounded = low[:, j] + np.clip(np.round((work[:, j] - low[:, j]) / step[:, j]), 0, most) * step[:, j]
        inverse = np.linalg.inv(hessian[j:, j:])
        error = (work[:, j] - rounded) / inverse[0, 0]
        work[:, j:] -= np.outer(error, inverse[0])
        work[:, j] = rounded
    return work


def loss(weight: torch.Tensor, found: torch.Tensor, hessian: torch.Tensor) -> float:
    """Compute tr(E H Eᵀ)."""
    error = found - weight
    return float(((error @ hessian) * error).sum())


def damped(hessian: torch.Tensor, damping: float) -> np.ndarray:
    """H + damping · mean diagonal."""
    return (hessian + damping * hessian.diagonal().mean() * torch.eye(len(hessian), dtype=torch.float64)).numpy()


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("damping", [0.01, 0.1, 0.0])
def test_columns_are_those_of_optimal_brain_quantisation(quantizer, damping):
    """The result agrees to 1e-8 with inverting the remaining Hessian at every column."""
    weight, hessian = rows(12, 32, 1).double(), correlated(32, 2)
    theirs = one_by_one(weight, damped(hessian, damping), quantizer)
    np.testing.assert_allclose(gptq(weight, hessian, quantizer, damping, block=8), theirs, rtol=0, atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(QUANTIZERS), st.integers(1, 40), st.integers(-30, 30), st.integers(0, 10**6))
def test_neither_blocks_nor_the_scale_of_moments_matter(quantizer, block, power, seed):
    """Any block size gives what one block gives, and a second moment times 2ᵏ what it gives itself."""
    weight, hessian = rows(6, 21, seed), correlated(21, seed + 5)
    whole = gptq(weight, hessian, quantizer)
    torch.testing.assert_close(gptq(weight, hessian * 2.0**power, quantizer, block=block), whole, rtol=0, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(QUANTIZERS), st.integers(1, 30), st.integers(0, 10**6))
def test_the_result_is_on_the_grid(quantizer, columns, seed):
    """Every entry is one of its grid's values, the grid being that of the weight before anything was moved."""
    weight = rows(5, columns, seed).double()
    before = weight.clone()
    found = gptq(weight, correlated(columns, seed + 1), quantizer)
    low, step = quantizer.grid(weight)
    index = torch.where(step > 0, (found - low) / step, 0.0)
    assert torch.equal(low + index.round() * step, found)
    assert index.min() >= 0
    assert index.max() < quantizer.values
    assert torch.equal(weight, before)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("moment", [torch.eye(21).double(), torch.diag(torch.arange(1, 22).double()), torch.zeros(21, 21).double()])
def test_without_correlation_it_is_plain_rounding(quantizer, moment):
    """A diagonal second moment, or one of zeros, leaves nothing to make up for."""
    weight = rows(7, 21, 3)
    assert torch.equal(gptq(weight, moment, quantizer), quantizer.quantized(weight))


@pytest.mark.parametrize("seed", range(5))
def test_correlated_inputs_lose_less_than_by_plain_rounding(seed):
    """On planted inputs of few directions, tr(E H Eᵀ) is under half of plain rounding's."""
    weight = rows(24, 48, seed).double()
    inputs = rows(500, 8, seed + 1).double() @ rows(8, 48, seed + 2).double() + 0.1 * rows(500, 48, seed + 3).double()
    hessian, quantizer = inputs.T @ inputs, Uniform(16, 16)
    assert loss(weight, gptq(weight, hessian, quantizer), hessian) < 0.5 * loss(weight, quantizer.quantized(weight), hessian)


def test_dead_columns_are_rounded_plainly_and_apart():
    """Columns of inputs that are always zero get their nearest values; the others are what they are without them."""
    weight, hessian = rows(10, 24, 4).double(), correlated(24, 6)
    dead = torch.tensor([0, 5, 6, 23])
    living = torch.tensor([i for i in range(24) if i not in dead.tolist()])
    hessian[dead], hessian[:, dead] = 0.0, 0.0
    quantizer = Uniform(256, "tensor")
    weight[0, living[0]], weight[0, living[1]] = 9.0, -9.0  # The grid of the whole and of the living columns.
    found = gptq(weight, hessian, quantizer, damping=0.5, block=7)
    assert torch.equal(found[:, dead], quantizer.quantized(weight)[:, dead])
    alone = gptq(weight[:, living], hessian[living][:, living], quantizer, damping=0.5)
    torch.testing.assert_close(found[:, living], alone, rtol=0, atol=1e-12)
    factor = inverse_factor(hessian, 0.5)[living][:, living]
    torch.testing.assert_close(factor, inverse_factor(hessian[living][:, living], 0.5), rtol=1e-9, atol=0)


def test_what_is_moved_beyond_the_grid_goes_to_its_end():
    """Inputs of 3 and 1: the 0.4 that the first column loses would be 1.2 more of the second, which has no more than its largest value."""
    moment = torch.tensor([[9.0, 3.0], [3.0, 1.0]])
    for sign in (1.0, -1.0):
        weight = sign * torch.tensor([[0.4, 1.0]])
        assert gptq(weight, moment, Uniform(4, symmetric=True), damping=1e-4).tolist() == [[0.0, sign]]


def test_pivots_that_are_rounding_are_damped():
    """A column that is the sum of two others: whatever sign rounding gives its pivot, no damping is damping by 1e-8."""
    for seed in range(40):
        inputs = rows(100, 8, seed).double()
        inputs[:, 0] = inputs[:, 3] + inputs[:, 4]
        hessian = inputs.T @ inputs
        assert torch.equal(inverse_factor(hessian, 0.0), inverse_factor(hessian, 1e-8))


@pytest.mark.parametrize("rank", [1, 5, 20])
def test_a_singular_moment_is_damped_until_it_can_be_inverted(rank):
    """Fewer rows than columns and no damping: the result is that of damping by 1e-8, and with damping that suffices as ever."""
    inputs = rows(rank, 32, 7).double()
    weight, hessian, quantizer = rows(6, 32, 8).double(), inputs.T @ inputs, Uniform(16)
    assert torch.equal(gptq(weight, hessian, quantizer, damping=0.0), gptq(weight, hessian, quantizer, damping=1e-8))
    theirs = one_by_one(weight, damped(hessian, 0.01), quantizer)
    np.testing.assert_allclose(gptq(weight, hessian, quantizer), theirs, rtol=0, atol=1e-8)


def test_damping_rises_tenfold():
    """With a smallest eigenvalue of −0.05 of the mean diagonal, 0.0001, 0.001 and 0.01 do not serve and 0.1 does."""
    vectors = torch.linalg.qr(rows(12, 12, 9).double()).Q
    values = torch.linspace(-0.05, 2, 12, dtype=torch.float64)
    hessian = vectors @ torch.diag(values) @ vectors.T
    hessian = hessian / hessian.diagonal().mean()
    weight, quantizer = rows(6, 12, 10).double(), Uniform(16)
    assert torch.equal(gptq(weight, hessian, quantizer, damping=0.0001), gptq(weight, hessian, quantizer, damping=0.1))


def test_no_second_moment_at_all_is_one_clear_error():
    """Far from positive definite is a MeasurementError; wrong shapes, numbers and arguments are ValueErrors."""
    weight, quantizer = rows(3, 4, 0), Uniform()
    wild = torch.tensor([[1.0, 9, 0, 0], [9, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]).double()
    with pytest.raises(MeasurementError, match="not positive definite"):
        gptq(weight, wild, quantizer)
    for moment in (torch.eye(3), torch.eye(4) * torch.nan, torch.ones(4)):
        with pytest.raises(ValueError, match=r"second_moment is .* expected finite numbers \(4, 4\)"):
            gptq(weight, moment, quantizer)
    with pytest.raises(ValueError, match="weight has 12 entries that are not finite"):
        gptq(weight * torch.inf, torch.eye(4), quantizer)
    for bad in ({"damping": -0.1}, {"damping": float("nan")}, {"block": 0}):
        with pytest.raises(ValueError, match=r"damping is .* and block .*; expected"):
            gptq(weight, torch.eye(4), quantizer, **bad)
