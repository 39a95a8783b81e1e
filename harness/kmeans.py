"""Codebooks of the weights themselves: one-dimensional k-means, run until no entry changes its centroid."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

import torch
from torch import Tensor

from harness.quantizers import EXPONENT, NUMBER, Per, check, checked, grids, grouped, nearest

LIMIT = 100_000
"""Iterations at most. Each lowers the squared error, so that none comes twice, except where rounding decides ties in turn."""


@dataclass(frozen=True)
class KMeans:
    """The nearest of ``levels`` centroids of each grid's entries, the centroids rounded to the nearest 16-bit numbers."""

    levels: int = 16
    per: Per = "tensor"

    def __post_init__(self) -> None:
        check(self.levels, self.per)

    def quantized(self, weight: Tensor) -> Tensor:
        """Round each entry to the nearest rounded centroid of its grid, ``(out, in)`` float64; ValueError when no finite matrix."""
        weight = checked(weight)
        codebook = nearest(centroids(weight, self.levels, self.per)).flatten(0, 1)
        entries = grouped(weight, self.per)
        index = torch.searchsorted(midpoints(codebook), entries.flatten(0, 1).contiguous())
        values = codebook.gather(1, index).reshape(weight.shape[0], -1)
        return values[:, : weight.shape[1]].contiguous()

    def bits(self, rows: int, columns: int) -> float:
        """Count log2(levels) bits an entry, 16 a centroid of each grid, 8 a tensor."""
        return rows * columns * log2(self.levels) + NUMBER * self.levels * grids(rows, columns, self.per) + EXPONENT


def centroids(weight: Tensor, levels: int = 16, per: Per = "tensor") -> Tensor:
    """Return the centroids ``(rows, groups, levels)`` float64, ascending and not rounded, that Lloyd's algorithm ends with.

    Centroid i starts at the distinct value of rank ⌊(i + ½)·D/levels⌋ of a grid's D distinct ones: no chance is involved, and where
    levels suffice, each value is a centroid. One that loses all its entries stays where it is (scikit-learn moves it elsewhere). The
    minimum found is a local one. Raises ValueError when ``weight`` is no finite matrix or the arguments describe no grids.
    """
    check(levels, per)
    weight = checked(weight)
    entries = grouped(weight, per)
    rows, groups, size = entries.shape
    count = torch.full((rows, groups), size, device=weight.device)
    if beyond := entries.numel() - weight.numel():
        count[:, -1] -= beyond // rows
        # Infinite entries are last in order and beyond every boundary: no centroid takes them.
        entries[:, -1, size - beyond // rows :] = torch.inf
    found = lloyd(entries.flatten(0, 1).sort(dim=1).values, count.flatten(), levels)
    return found.reshape(rows, groups, levels)


def lloyd(values: Tensor, count: Tensor, levels: int) -> Tensor:
    """Return the centroids ``(grids, levels)`` of the first ``count`` ``(grids)`` of ascending ``values`` ``(grids, size)``.

    The entries of a centroid lie side by side, so that an iteration needs only where they begin, and sums up to there.
    """
    sums = torch.nn.functional.pad(values.where(values.isfinite(), 0.0).cumsum(1), (1, 0))
    found = start(values, count, levels)
    first, last = torch.zeros_like(count)[:, None], count[:, None]
    left = torch.arange(len(values), device=values.device)
    before = torch.full((len(values), levels + 1), -1, device=values.device)
    for _ in range(LIMIT):
        cuts = torch.cat([first, torch.searchsorted(values, midpoints(found[left])), last], 1)
        moved = (cuts != before).any(1)
        if not moved.all():  # Grids without a change are done, and leave.
            left, values, sums, first, last, cuts = (x[moved] for x in (left, values, sums, first, last, cuts))
        if not len(left):
            break
        taken = cuts.diff(dim=1)
        means = sums.gather(1, cuts).diff(dim=1) / taken
        # Differences of sums are off by rounding, which must not carry a mean past the entries that it is of.
        smallest = values.gather(1, cuts[:, :-1].clamp_max(values.shape[1] - 1))
        largest = values.gather(1, (cuts[:, 1:] - 1).clamp_min(0))
        found[left] = torch.where(taken > 0, torch.minimum(torch.maximum(means, smallest), largest), found[left])
        before = cuts
    return found


def start(values: Tensor, count: Tensor, levels: int) -> Tensor:
    """Return the distinct values of rank ⌊(i + ½)·D/levels⌋, i = 0 … levels − 1, of each grid, ``(grids, levels)``."""
    new = torch.nn.functional.pad(values.diff(dim=1) > 0, (1, 0), value=True) & values.isfinite()
    # How many distinct values there are up to each place; the first place with more than r of them holds that of rank r.
    seen = new.cumsum(1)
    ranks = (2 * torch.arange(levels, device=values.device) + 1) * seen[:, -1:] // (2 * levels)
    return values.gather(1, torch.searchsorted(seen, ranks + 1))


def midpoints(ascending: Tensor) -> Tensor:
    """Return the midpoints ``(grids, levels − 1)`` of neighbouring centroids."""
    return (ascending[:, 1:] + ascending[:, :-1]) / 2
