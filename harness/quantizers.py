"""Quantisers of weight matrices that count every bit they store: uniform grids, and the normal quantiles of NF4.

A 16-bit number here has a sign, a significand of 11 bits and fp16's 30 exponents; lows and codebooks may be subnormal, as in fp16.
The largest exponent is that of the largest number stored for the tensor, and costs 8 bits a tensor (float32's range). So a tensor times
a power of two is quantised to the result times that power, which plain fp16 would overflow or flatten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import ceil, log2
from typing import Literal
from typing import Protocol as Interface

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

Per = Literal["tensor", "row"] | int
"""What has a grid of its own: the tensor, a row, or so many neighbouring columns of a row (the last of them may be fewer)."""

NUMBER, WIDE_NUMBER, EXPONENT = 16, 32, 8
"""Bits of a stored number, of one where grids are fine, and of the exponent that a tensor's numbers are relative to."""
DIGITS, WIDE_DIGITS = 11, 24
"""Bits of their significands: those of fp16 and of float32."""
FINE = 512
"""Levels beyond which low and step are float32: 16 bits would place a grid no better than within a step or so."""

NF4_OFFSET = 0.9677083
"""The outermost quantile of NF4, as published in the code of arXiv:2305.14314."""


class Quantizer(Interface):
    """What every quantiser can be asked."""

    def quantized(self, weight: Tensor) -> Tensor:
        """Return the values ``(out, in)`` float64 that are read back from what is stored of ``weight``."""

    def bits(self, rows: int, columns: int) -> float:
        """Count the bits stored for a matrix of this shape."""


@dataclass(frozen=True)
class Uniform:
    """Evenly spaced values, nearest first: low + k·step, k = 0 … levels − 1, from the smallest entry of a grid to its largest.

    low is rounded down and step up to 16-bit numbers, so that the grid covers its entries, and no entry moves by more than step/2. step is
    at least twice the spacing of 16-bit numbers at low, and a normal number: the smallest entry then always goes to low, which makes
    quantising idempotent (exactly, up to 512 levels); only grids narrower than about levels/500 of their distance from 0 are coarser
    for it. Where all entries equal low, step is 0. Beyond 512 levels low and step are float32 numbers, and counted as such: the error then
    falls with the square of the levels as far as 2²² of them.

    ``symmetric``: k·step for |k| ≤ levels/2 − 1, one value fewer than levels, step the largest magnitude over levels/2 − 1, rounded up.
    """

    levels: int = 16
    per: Per = "row"
    symmetric: bool = False

    def __post_init__(self) -> None:
        check(self.levels, self.per)
        if self.symmetric and (self.levels % 2 or self.levels < 4):
            raise ValueError(f"levels of a symmetric grid are {self.levels}; expected an even number of at least 4")

    @property
    def values(self) -> int:
        """How many values a grid has: ``levels``, or one fewer where it is symmetric."""
        return self.levels - self.symmetric

    def grid(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return low and step of each entry's grid, both ``(out, in)`` float64 (expanded, not to be written to).

        Raises ValueError when ``weight`` is no finite matrix.
        """
        weight = checked(weight)
        entries = grouped(weight, self.per)
        if self.symmetric:
            reach = self.levels // 2 - 1
            step = covering(entries.abs().amax(-1) / reach)
            low = -reach * step
        else:
            low, step = between(entries.amin(-1), entries.amax(-1), self.levels - 1, WIDE_DIGITS if self._fine else DIGITS)
        return spread(low, weight, self.per), spread(step, weight, self.per)

    def quantized(self, weight: Tensor) -> Tensor:
        """Round each entry to the nearest value of its grid, ``(out, in)`` float64; ValueError when ``weight`` is no finite matrix."""
        return onto(weight.double(), *self.grid(weight), self.values)

    def bits(self, rows: int, columns: int) -> float:
        """Count log2(levels) bits an entry (entries are packed), 16 each for low and step a grid (step alone if symmetric), 8 a tensor.

        32 each, and no exponent, beyond 512 levels.
        """
        numbers = grids(rows, columns, self.per) * (1 if self.symmetric else 2)
        return rows * columns * log2(self.levels) + (WIDE_NUMBER * numbers if self._fine else NUMBER * numbers + EXPONENT)

    @property
    def _fine(self) -> bool:
        return self.levels > FINE and not self.symmetric


@dataclass(frozen=True)
class NormalFloat:
    """NF4 of QLoRA (arXiv:2305.14314): 16 quantiles of the normal distribution times the largest magnitude of a grid.

    The paper's scales are float32, or 8 bits and a second scale; here they are one 16-bit number, rounded up.
    """

    per: Per = 64

    def __post_init__(self) -> None:
        check(16, self.per)

    def quantized(self, weight: Tensor) -> Tensor:
        """Round each entry to the nearest of scale·level, ``(out, in)`` float64; ValueError when ``weight`` is no finite matrix."""
        weight = checked(weight)
        scale = spread(covering(grouped(weight, self.per).abs().amax(-1)), weight, self.per)
        levels = weight.new_tensor(normal_levels())
        shares = torch.where(scale > 0, weight / scale, 0.0)
        return levels[torch.bucketize(shares, (levels[1:] + levels[:-1]) / 2)] * scale

    def bits(self, rows: int, columns: int) -> float:
        """Count 4 bits an entry, 16 a grid, 8 a tensor; the levels are constants."""
        return 4.0 * rows * columns + NUMBER * grids(rows, columns, self.per) + EXPONENT


@cache
def normal_levels() -> tuple[float, ...]:
    """Return NF4's 16 levels, ascending in [−1, 1]: 7 negative quantiles, 0 and 8 positive ones, over the largest."""
    positive = norm.ppf(np.linspace(NF4_OFFSET, 0.5, 9)[:-1])
    negative = -norm.ppf(np.linspace(NF4_OFFSET, 0.5, 8)[:-1])
    levels = np.sort(np.concatenate([negative, [0.0], positive]))
    return tuple((levels / levels[-1]).tolist())


def onto(values: Tensor, low: Tensor, step: Tensor, levels: int) -> Tensor:
    """Return the nearest of low + k·step, k = 0 … levels − 1, for each of ``values``; low where step is 0. All broadcast."""
    # Where step is 0, whatever k is, k·step is 0. In place: a matrix of this size takes longer to allocate than to add to.
    index = ((values - low) / torch.where(step > 0, step, 1.0)).round_().clamp_(0, levels - 1)
    return index.mul_(step).add_(low)


def between(lowest: Tensor, highest: Tensor, steps: int, digits: int = DIGITS) -> tuple[Tensor, Tensor]:
    """Return low ≤ ``lowest`` and step, 16-bit numbers with low + steps·step ≥ ``highest``, as :class:`Uniform` says.

    With ``digits`` of 24 they are float32 numbers, of which none here is subnormal.
    """
    floor = lowest.new_zeros(())
    if digits == WIDE_DIGITS:
        low = to_spacing(lowest, spacing(lowest, None, digits), torch.floor)
        width = (highest - low) / steps
        step = torch.maximum(to_spacing(width, spacing(width, None, digits), torch.ceil), 2 * spacing(low, None, digits))
        return low, torch.where(highest > low, step, 0.0)
    # The first pass finds the largest number. Lows below the smallest normal one are rounded further in the second, which can push that
    # largest number over a power of two; the third has the exponents that the result itself would be given.
    for _ in range(3):
        low = down(lowest, floor)
        step = torch.maximum(torch.maximum(up((highest - low) / steps), 2 * spacing(low, floor)), floor)
        step = torch.where(highest > low, step, 0.0)
        floor = smallest_normal(torch.maximum(low.abs(), step))
    return low, step


def covering(scales: Tensor) -> Tensor:
    """Return the next normal 16-bit number at or above each of ``scales`` ≥ 0; 0 for 0."""
    rounded = up(scales)
    return torch.where(scales > 0, torch.maximum(rounded, smallest_normal(rounded)), 0.0)


def nearest(numbers: Tensor) -> Tensor:
    """Return the nearest 16-bit numbers, subnormal ones included, with one exponent for all of ``numbers``."""
    floor = smallest_normal(to_spacing(numbers, spacing(numbers), torch.round))
    return to_spacing(numbers, spacing(numbers, floor), torch.round)


def down(numbers: Tensor, floor: Tensor) -> Tensor:
    """Return the next 16-bit number at or below each, of those whose smallest normal one is ``floor``."""
    return to_spacing(numbers, spacing(numbers, floor), torch.floor)


def up(numbers: Tensor) -> Tensor:
    """Return the next number with a significand of 11 bits at or above each."""
    return to_spacing(numbers, spacing(numbers), torch.ceil)


def to_spacing(numbers: Tensor, space: Tensor, rounding: Callable[[Tensor], Tensor]) -> Tensor:
    """Round to multiples of ``space``, powers of two: exactly, as dividing by them is; 0 where ``space`` is 0."""
    return torch.where(space > 0, rounding(numbers / space) * space, 0.0)


def spacing(numbers: Tensor, floor: Tensor | None = None, digits: int = DIGITS) -> Tensor:
    """Return the value of the last of 11 bits (``digits``) of each significand, not below that of ``floor``; 0 for 0."""
    # x over its fraction is the power of two that frexp splits off; taking 2 to its exponent is not exact on every device.
    power = torch.where(numbers != 0, numbers / numbers.frexp().mantissa, 0.0)
    return power * 2.0**-digits if floor is None else torch.maximum(power * 2.0**-11, floor * 2.0**-10)


def smallest_normal(numbers: Tensor) -> Tensor:
    """Return the smallest of 30 powers of two of which the largest is at or below the largest magnitude of ``numbers``; 0 for 0."""
    return spacing(numbers.abs().amax()) * 2.0**-19


def check(levels: int, per: Per) -> None:
    """Raise ValueError unless these describe grids."""
    if not isinstance(levels, int) or levels < 2:
        raise ValueError(f"levels are {levels!r}; expected a whole number of at least 2")
    if per not in ("tensor", "row") and (not isinstance(per, int) or per < 1):
        raise ValueError(f"per is {per!r}; expected 'tensor', 'row', or a number of columns of at least 1")


def checked(weight: Tensor) -> Tensor:
    """Return ``weight`` in float64; ValueError unless it is a matrix with entries, all of them finite."""
    if weight.dim() != 2 or not weight.numel():
        raise ValueError(f"weight has shape {tuple(weight.shape)}; expected a matrix (out, in) with entries")
    weight = weight.double()
    if not torch.stack(weight.aminmax()).isfinite().all():
        raise ValueError(f"weight has {int((~weight.isfinite()).sum())} entries that are not finite; expected none")
    return weight


def grids(rows: int, columns: int, per: Per) -> int:
    """Count the grids of a matrix."""
    if isinstance(per, int):
        return rows * ceil(columns / per)
    return rows if per == "row" else 1


def grouped(weight: Tensor, per: Per) -> Tensor:
    """Return the entries ``(rows, groups, size)`` of each grid; a last group that is shorter repeats the last column."""
    if per == "tensor":
        return weight.reshape(1, 1, -1)
    rows, columns = weight.shape
    size = columns if per == "row" else min(int(per), columns)
    if columns % size == 0:
        return weight.reshape(rows, -1, size)
    index = torch.arange(ceil(columns / size) * size, device=weight.device)
    return weight[:, index.clamp_max(columns - 1)].reshape(rows, -1, size)


def spread(numbers: Tensor, weight: Tensor, per: Per) -> Tensor:
    """Return the number of each entry's grid ``(out, in)``, of ``numbers`` ``(rows, groups)``."""
    if isinstance(per, str):
        return numbers.expand(weight.shape)
    if weight.shape[1] == numbers.shape[1] * per:
        return numbers[:, :, None].expand(-1, -1, per).reshape(weight.shape)
    return numbers[:, torch.arange(weight.shape[1], device=weight.device) // per]
