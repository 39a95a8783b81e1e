"""Second moments of the rows of two streams, kept by group so that groups can be left out again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sums:
    """Uncentred sums over n rows of x and y: XᵀX ``(d, d)``, XᵀY ``(d, e)``, YᵀY ``(e, e)``, all float64."""

    n: int
    xx: Tensor
    xy: Tensor
    yy: Tensor

    @property
    def energy(self) -> float:
        """‖Y‖²_F."""
        return float(self.yy.diagonal().sum())


class Moments:
    """Accumulate Σ xxᵀ, Σ xyᵀ, Σ yyᵀ over rows, apart for each of ``groups`` groups.

    Rows come in any floating dtype and are widened to float64 before they are multiplied: float32 accumulation
    loses whole digits of the small directions when one direction is 10⁴ times the others.
    Memory: 8·groups·(d² + de + e²) bytes.
    """

    def __init__(self, groups: int, d: int, e: int, device: torch.device | str = "cpu") -> None:
        self._n = [0] * groups
        self._xx, self._xy, self._yy = (
            torch.zeros(groups, rows, columns, dtype=torch.float64, device=device) for rows, columns in ((d, d), (d, e), (e, e))
        )

    @property
    def groups(self) -> int:
        """The number of groups."""
        return len(self._n)

    def add(self, group: int, x: Tensor, y: Tensor) -> None:
        """Add rows ``x (n, d)`` and ``y (n, e)`` to a group."""
        x, y = x.double(), y.double()
        self._n[group] += x.shape[0]
        self._xx[group].addmm_(x.T, x)
        self._xy[group].addmm_(x.T, y)
        self._yy[group].addmm_(y.T, y)

    def total(self) -> Sums:
        """Sum over all groups."""
        return Sums(sum(self._n), self._xx.sum(0), self._xy.sum(0), self._yy.sum(0))

    def without(self, group: int, total: Sums) -> Sums:
        """Sum over all groups but one, given the total."""
        return Sums(
            total.n - self._n[group],
            total.xx - self._xx[group],
            total.xy - self._xy[group],
            total.yy - self._yy[group],
        )
