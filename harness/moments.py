"""First and second moments of the rows of two streams, kept by group so that groups can be left out again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sums:
    """Sums over n rows of x ``(d)`` and y ``(e)``: Σx, Σy, Σxxᵀ, Σxyᵀ, Σyyᵀ, uncentred, float64.

    Sums of disjoint rows add, and a part can be taken away again.
    """

    n: int
    x: Tensor
    y: Tensor
    xx: Tensor
    xy: Tensor
    yy: Tensor

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> Sums:
        """Sum over rows ``x (n, d)``, ``y (n, e)``, widened to float64 first."""
        x, y = x.double(), y.double()
        return cls(x.shape[0], x.sum(0), y.sum(0), x.T @ x, x.T @ y, y.T @ y)

    @property
    def energy(self) -> float:
        """‖Y‖²_F."""
        return float(self.yy.diagonal().sum())

    def about(self, a: Tensor, b: Tensor) -> Sums:
        """Return the sums over x − a and y − b.

        Centring takes differences of sums: it loses log10(‖mean‖²/variance) digits of float64's sixteen, so that means
        10⁴ times the spread still leave eight.
        """
        n, x, y = self.n, self.x, self.y
        return Sums(
            n,
            x - n * a,
            y - n * b,
            self.xx - torch.outer(x, a) - torch.outer(a, x) + n * torch.outer(a, a),
            self.xy - torch.outer(x, b) - torch.outer(a, y) + n * torch.outer(a, b),
            self.yy - torch.outer(y, b) - torch.outer(b, y) + n * torch.outer(b, b),
        )

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.n + other.n,
            self.x + other.x,
            self.y + other.y,
            self.xx + other.xx,
            self.xy + other.xy,
            self.yy + other.yy,
        )

    def __sub__(self, other: Sums) -> Sums:
        return Sums(
            self.n - other.n,
            self.x - other.x,
            self.y - other.y,
            self.xx - other.xx,
            self.xy - other.xy,
            self.yy - other.yy,
        )


class Moments:
    """Accumulate sums apart for each of ``groups`` groups.

    Rows come in any floating dtype and are widened to float64 before they are multiplied: float32 accumulation
    loses whole digits of the small directions when one direction is 10⁴ times the others.
    Memory: 8·groups·(d² + de + e²) bytes.
    """

    def __init__(self, groups: int, d: int, e: int, device: torch.device | str = "cpu") -> None:
        self._n = [0] * groups
        self._x, self._y, self._xx, self._xy, self._yy = (
            torch.zeros(groups, *shape, dtype=torch.float64, device=device) for shape in ((d,), (e,), (d, d), (d, e), (e, e))
        )

    @staticmethod
    def bytes_of(groups: int, d: int, e: int) -> int:
        """Return the bytes that moments of these sizes take, but for sums of single columns."""
        return 8 * groups * (d * d + d * e + e * e)

    @property
    def groups(self) -> int:
        """The number of groups."""
        return len(self._n)

    def add(self, group: int, x: Tensor, y: Tensor) -> None:
        """Add rows ``x (n, d)`` and ``y (n, e)`` to a group."""
        x, y = x.double(), y.double()
        self._n[group] += x.shape[0]
        self._x[group] += x.sum(0)
        self._y[group] += y.sum(0)
        self._xx[group].addmm_(x.T, x)
        self._xy[group].addmm_(x.T, y)
        self._yy[group].addmm_(y.T, y)

    def seconds(self) -> Tensor:
        """Return Σxxᵀ of every group ``(groups, d, d)`` (a view: valid until rows are added)."""
        return self._xx

    def group(self, group: int) -> Sums:
        """Return the sums of one group (views: valid until rows are added)."""
        return Sums(self._n[group], self._x[group], self._y[group], self._xx[group], self._xy[group], self._yy[group])

    def total(self, groups: list[int] | None = None) -> Sums:
        """Sum over all groups, or over those given."""
        index = list(range(self.groups)) if groups is None else groups
        n = sum(self._n[g] for g in index)
        parts = (self._x, self._y, self._xx, self._xy, self._yy)
        return Sums(n, *(p.sum(0) if groups is None else p[index].sum(0) for p in parts))
