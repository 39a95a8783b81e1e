"""Quantisers keep what they promise on any matrix, count the bits of what they use, and agree with bitsandbytes and torch."""

from __future__ import annotations

import math

import bitsandbytes.functional
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from harness.quantizers import NormalFloat, Uniform, normal_levels, onto
from tests.test_moments import rows

PUBLISHED = """-1.0 -0.6961928009986877 -0.5250730514526367 -0.39491748809814453 -0.28444138169288635 -0.18477343022823334
-0.09105003625154495 0.0 0.07958029955625534 0.16093020141124725 0.24611230194568634 0.33791524171829224 0.44070982933044434
0.5626170039176941 0.7229568362236023 1.0"""

PERS = st.sampled_from(["tensor", "row", 1, 2, 3, 5, 64])
ENTRIES = st.one_of(
    st.floats(-1, 1, width=32),
    st.floats(-(2.0**60), 2.0**60, width=32),
    st.integers(-40, 40).map(float),
    # Near a power of two, where numbers change their exponent, and near one another, where 11 bits do not tell them apart.
    st.builds(lambda e, d, s: s * 2.0**e * (1 + d * 2.0**-13), st.integers(-45, 5), st.integers(-9, 9), st.sampled_from([-1, 1])),
)


@st.composite
def matrices(draw):
    """Small matrices of any mixture of sizes, some of them with rows that hardly vary."""
    shape = draw(array_shapes(min_dims=2, max_dims=2, max_side=8))
    matrix = draw(arrays(np.float64, shape, elements=ENTRIES))
    if draw(st.booleans()):
        matrix = draw(ENTRIES) * (1 + matrix / max(1.0, np.abs(matrix).max()) * 2.0 ** -draw(st.integers(0, 15)))
    return torch.from_numpy(matrix)


UNIFORM = st.one_of(
    st.builds(Uniform, levels=st.integers(2, 20) | st.sampled_from([256, 511, 512]), per=PERS),
    st.builds(Uniform, levels=st.integers(2, 10).map(lambda half: 2 * half) | st.just(256), per=PERS, symmetric=st.just(True)),
)
ANY = UNIFORM | st.builds(NormalFloat, per=PERS)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors are equal in every bit that counts (0 is −0)."""
    return a.dtype == b.dtype == torch.float64 and torch.equal(a, b)


def is_stored(numbers: torch.Tensor) -> bool:
    """Whether numbers are those of 16 bits: significands of 11 bits, 30 exponents and subnormals below the largest."""
    top = 2.0 ** math.floor(math.log2(float(numbers.abs().max()) or 1.0))
    units = numbers.numpy() / (top * 2.0**-39)
    odd = [int(u) // (int(u) & -int(u)) if u else 0 for u in np.abs(units.ravel())]
    return bool((units == np.round(units)).all()) and max(odd) < 2**11


@settings(max_examples=200, deadline=None)
@given(ANY, matrices())
def test_quantising_twice_is_quantising_once(quantizer, weight):
    """What has been quantised is on its grid: it comes back exactly."""
    once = quantizer.quantized(weight)
    assert once.shape == weight.shape
    assert same(quantizer.quantized(once), once)


@settings(max_examples=150, deadline=None)
@given(UNIFORM, matrices())
def test_grids_cover_their_entries(quantizer, weight):
    """Every entry lies in its grid and moves by half a step at most, to a value low + k·step; a grid has no more values than levels."""
    low, step = quantizer.grid(weight)
    found = quantizer.quantized(weight)
    slack = 1e-12 * (weight.abs() + step)
    assert (low <= weight + slack).all()
    assert (weight <= low + (quantizer.values - 1) * step + slack).all()
    assert ((found - weight).abs() <= step / 2 + slack).all()
    k = torch.where(step > 0, (found - low) / step, 0.0)
    assert same(k, k.round())
    assert k.min() >= 0
    assert k.max() < quantizer.values <= quantizer.levels
    assert same(found, low + k * step)


@settings(max_examples=100, deadline=None)
@given(UNIFORM, matrices())
def test_what_is_used_is_what_is_counted(quantizer, weight):
    """Of a grid, low and step are 16-bit numbers, relative to one exponent; a symmetric grid is its step alone."""
    low, step = quantizer.grid(weight)
    if quantizer.symmetric:
        assert same(low, -(quantizer.levels // 2 - 1) * step)
        assert is_stored(step)
    else:
        assert is_stored(torch.stack([low, step]))
    grids = {(float(a), float(b)) for a, b in zip(low.ravel(), step.ravel(), strict=True)}
    stored = quantizer.bits(*weight.shape) - 8 - weight.numel() * math.log2(quantizer.levels)
    assert len(grids) * (16 if quantizer.symmetric else 32) <= stored + 1e-9


@settings(max_examples=100, deadline=None)
@given(ANY, matrices(), st.integers(-40, 40))
def test_a_power_of_two_passes_through(quantizer, weight, power):
    """A tensor times 2ᵏ is quantised to the result times 2ᵏ, exactly."""
    assert same(quantizer.quantized(weight * 2.0**power), quantizer.quantized(weight) * 2.0**power)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["tensor", "row"]), st.booleans(), matrices(), st.randoms())
def test_the_order_of_columns_is_nothing_to_a_row(per, symmetric, weight, random):
    """With a grid a row or a tensor, permuting columns permutes the result."""
    order = random.sample(range(weight.shape[1]), weight.shape[1])
    quantizer = Uniform(per=per, symmetric=symmetric)
    assert same(quantizer.quantized(weight[:, order]), quantizer.quantized(weight)[:, order])


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 40), st.integers(-1023, 1023), st.integers(1, 1023), st.integers(-20, 20), st.integers(0, 10**6))
def test_a_grid_that_16_bits_hold_is_exact(levels, low, step, power, seed):
    """Entries on such a grid, both its ends among them, come back exactly; steps at least twice the spacing of numbers at low."""
    k = np.random.default_rng(seed).integers(0, levels, (3, 6))
    k[:, 0], k[:, 1] = 0, levels - 1
    weight = torch.from_numpy((low + k * max(step, 2)) * 2.0**power)
    assert same(Uniform(levels).quantized(weight), weight)


def test_grids_are_as_tight_as_16_bits_allow():
    """Both low and step are within a share of 2⁻¹⁰ of the smallest entry and of a step that needs no room for rounding low."""
    weight = rows(40, 30, 3).double()
    low, step = (x[:, 0] for x in Uniform(levels=16).grid(weight))
    lowest, highest = weight.amin(1), weight.amax(1)
    assert (low >= lowest - lowest.abs() * 2.0**-10).all()
    assert (step <= (highest - low) / 15 * (1 + 2.0**-10)).all()
    scale = Uniform(levels=16, symmetric=True).grid(weight)[1][:, 0]
    assert (scale <= weight.abs().amax(1) / 7 * (1 + 2.0**-10)).all()


def test_a_step_that_rounding_carries_over_a_power_of_two():
    """The low of the first row is rounded to 0, its step so to 2; what is stored has the exponents of that 2, and comes back."""
    weight = torch.tensor([[2.0**-45, 2047 / 1024 + 2.0**-45], [2.0**-39, 1.0]], dtype=torch.float64)
    once = Uniform(levels=2).quantized(weight)
    assert once[0].tolist() == [0.0, 2.0]
    assert same(Uniform(levels=2).quantized(once), once)


def test_small_rows_beside_large_ones_have_grids_of_their_own():
    """Down to 2⁻²⁴ of the largest number, rows have grids as tight as alone; far below, steps end at the smallest of 30 exponents."""
    weight = rows(50, 30, 3).double()
    weight = weight / weight.abs().amax(1, keepdim=True)
    sizes = 2.0 ** -torch.arange(50, dtype=torch.float64)[:, None]
    for quantizer in (Uniform(per="row"), Uniform(per="row", symmetric=True)):
        alone = torch.cat([quantizer.grid(row[None] * size)[1] for row, size in zip(weight, sizes, strict=True)])
        low, step = quantizer.grid(weight * sizes)
        assert same(step[:25], alone[:25])
        assert is_stored(torch.stack([low, step]) if not quantizer.symmetric else step)
        top = 2.0 ** math.floor(math.log2(float(low.abs().max() if not quantizer.symmetric else step.max())))
        assert float(step.min()) == top * 2.0**-29
        found = quantizer.quantized(weight * sizes)
        assert ((found - weight * sizes).abs() <= step / 2).all()
        assert same(quantizer.quantized(found), found)


@settings(max_examples=60, deadline=None)
@given(st.lists(ENTRIES, min_size=1, max_size=5), st.integers(1, 5), st.integers(2, 16))
def test_a_constant_row_gives_low(constants, columns, levels):
    """It has one value, low; step is 0 where 16 bits hold the constant."""
    weight = torch.tensor(constants, dtype=torch.float64)[:, None].expand(-1, columns)
    quantizer = Uniform(levels)
    low, step = quantizer.grid(weight)
    assert same(quantizer.quantized(weight), low.contiguous())
    assert ((step == 0) == (low == weight)).all()


@pytest.mark.parametrize("quantizer", [Uniform(), Uniform(symmetric=True), Uniform(per=3), NormalFloat(per="tensor")])
def test_zeros_stay_zeros(quantizer):
    """A tensor of zeros has no scale, and comes back."""
    assert same(quantizer.quantized(torch.zeros(2, 4)), torch.zeros(2, 4, dtype=torch.float64))


@settings(max_examples=60, deadline=None)
@given(matrices(), st.integers(1, 9), st.sampled_from([Uniform, NormalFloat]))
def test_a_group_is_quantised_as_a_matrix_of_its_own(weight, per, kind):
    """Groups of columns, the last with fewer, give what each gives alone, up to the exponent that a tensor's numbers share."""
    weight = weight.clamp(-(2.0**60), 2.0**60)
    weight = torch.where(weight.abs() < 2.0**-3, 1.0, weight).clamp(-(2.0**10), 2.0**10)  # One exponent serves all.
    parts = [kind(per="row").quantized(part) for part in weight.split(per, dim=1)]
    found = kind(per=per).quantized(weight)
    assert same(found, torch.cat(parts, 1))


@pytest.mark.parametrize("per", ["row", 16, 8])
def test_affine_grids_equal_fake_quantisation(per):
    """Where zero is a value of the grid and the scale needs no rounding, the results are those of torch's affine quantisation."""
    generator = np.random.default_rng(5)
    size = 48 if per == "row" else per
    zero, scale = generator.integers(0, 16, (20, 48 // size, 1)), generator.integers(1, 128, (20, 48 // size, 1)) / 512
    k = generator.uniform(0, 15, (20, 48 // size, size))
    k[..., 0], k[..., -1] = 0, 15
    weight = torch.from_numpy(((k - zero) * scale).reshape(20, 48)).float()
    scales, zeros = torch.from_numpy(scale.ravel()).float(), torch.from_numpy(zero.ravel()).int()
    oracle = torch.fake_quantize_per_channel_affine(weight.view(-1, size), scales, zeros, 0, 0, 15)
    assert same(Uniform(per=per).quantized(weight), oracle.view_as(weight).double())


def test_levels_are_those_of_nf4():
    """The 16 normal quantiles are the published table; it was made of quantiles' float32 probabilities, which moves it by 1.1e-7."""
    np.testing.assert_allclose(normal_levels(), [float(x) for x in PUBLISHED.split()], rtol=0, atol=2e-7)


def test_nf4_equals_bitsandbytes():
    """With largest magnitudes that 16 bits hold, the results are bitsandbytes' to float32; otherwise within the rounding of the scale."""
    weight = rows(32, 256, 11) * torch.logspace(-3, 3, 32)[:, None]
    groups = weight.view(-1, 64)
    groups[:, 5] = (groups.abs().amax(1) * 1.01).half().float()
    theirs = bitsandbytes.functional.dequantize_4bit(*bitsandbytes.functional.quantize_4bit(weight, blocksize=64, quant_type="nf4"))
    scale = groups.abs().amax(1, keepdim=True).expand(-1, 64).reshape(weight.shape)
    np.testing.assert_allclose(NormalFloat().quantized(weight) / scale, theirs / scale, rtol=0, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(matrices(), PERS)
def test_nf4_gives_the_nearest_level(weight, per):
    """No level times the scale is nearer to an entry than the one it gets; the largest magnitude of a grid gets the scale itself."""
    weight = (weight.clamp(-1, 1) * 2**20).round() / 2**20  # No scale below the 30 exponents.
    found = NormalFloat(per).quantized(weight)
    parts = [weight.reshape(1, -1)] if per == "tensor" else weight.split(weight.shape[1] if per == "row" else per, dim=1)
    results = [found.reshape(1, -1)] if per == "tensor" else found.split(weight.shape[1] if per == "row" else per, dim=1)
    for part, result in zip(parts, results, strict=True):
        scale = result.abs().amax(1, keepdim=True)
        assert (scale >= part.abs().amax(1, keepdim=True)).all()
        choices = scale[..., None] * torch.tensor(normal_levels(), dtype=torch.float64)
        best = (choices - part[..., None]).abs().amin(-1)
        assert ((result - part).abs() <= best + 1e-12 * scale).all()


def test_rounding_onto_a_grid_clamps():
    """Values beyond a grid go to its ends, others to the nearest; where step is 0, to low."""
    values = torch.tensor([-9.0, 0.9, 1.6, 99.0, 5.0], dtype=torch.float64)
    low, step = torch.tensor([-1.0, -1, -1, -1, 3]).double(), torch.tensor([0.5, 0.5, 0.5, 0.5, 0]).double()
    assert onto(values, low, step, 8).tolist() == [-1.0, 1.0, 1.5, 2.5, 3.0]


@pytest.mark.parametrize(
    ("quantizer", "bits"),
    [
        (Uniform(16, "row"), 4 * 700 + 7 * 32 + 8),
        (Uniform(16, "tensor"), 4 * 700 + 32 + 8),
        (Uniform(16, 64), 4 * 700 + 7 * 2 * 32 + 8),
        (Uniform(16, 50), 4 * 700 + 7 * 2 * 32 + 8),
        (Uniform(3, "row"), math.log2(3) * 700 + 7 * 32 + 8),
        (Uniform(256, "row", symmetric=True), 8 * 700 + 7 * 16 + 8),
        (NormalFloat(), 4 * 700 + 7 * 2 * 16 + 8),
        (NormalFloat("tensor"), 4 * 700 + 16 + 8),
    ],
)
def test_every_bit_is_counted(quantizer, bits):
    """Of 7 × 100 entries: the packed entries, the numbers of each grid, one exponent."""
    assert quantizer.bits(7, 100) == pytest.approx(bits, rel=1e-14)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(1), "levels are 1; expected"),
        (lambda: Uniform(2.5), r"levels are 2\.5; expected"),
        (lambda: Uniform(per=0), "per is 0; expected"),
        (lambda: Uniform(per="column"), "per is 'column'; expected"),
        (lambda: Uniform(15, symmetric=True), "symmetric grid are 15; expected an even number"),
        (lambda: Uniform(2, symmetric=True), "symmetric grid are 2; expected an even number of at least 4"),
        (lambda: NormalFloat(-64), "per is -64; expected"),
        (lambda: Uniform().quantized(torch.tensor([[1.0, math.nan, math.inf]])), "weight has 2 entries that are not finite"),
        (lambda: NormalFloat().quantized(torch.tensor([[-math.inf]])), "weight has 1 entries that are not finite"),
        (lambda: Uniform().quantized(torch.ones(3)), r"weight has shape \(3,\); expected a matrix"),
        (lambda: Uniform().quantized(torch.ones(3, 0)), r"weight has shape \(3, 0\); expected a matrix"),
    ],
)
def test_what_cannot_be_quantised_is_refused(make, message):
    """Bad arguments are one ValueError that says what was given and what is expected."""
    with pytest.raises(ValueError, match=message):
        make()
