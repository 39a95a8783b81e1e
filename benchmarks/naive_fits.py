"""The fits of all claims the plain way: BLAS moments in float64, eigenvectors and Cholesky solves, jackknives by refitting.

What a competent user would do: sums of products by group of windows, so that a fit without a group is a subtraction and not another pass
over the rows; one decomposition for all penalties; singular vectors of which few are wanted from the eigenvectors of MMᵀ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.naive_model import Array
from harness.protocol import Protocol


@dataclass
class Rows:
    """Sums over n rows of x ``(d)``, y ``(e)`` and their products, float64."""

    n: int
    x: Tensor
    y: Tensor
    xx: Tensor
    xy: Tensor
    yy: Tensor

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> Rows:
        """Sum over rows."""
        return cls(len(x), x.sum(0), y.sum(0), x.T @ x, x.T @ y, y.T @ y)

    def __add__(self, other: Rows) -> Rows:
        return Rows(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def __sub__(self, other: Rows) -> Rows:
        return Rows(*(a - b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def about(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the products of x − a and y − b: xx, xy, yy."""
        n, x, y = self.n, self.x, self.y
        xx = self.xx - torch.outer(x, a) - torch.outer(a, x - n * a)
        xy = self.xy - torch.outer(x, b) - torch.outer(a, y - n * b)
        yy = self.yy - torch.outer(y, b) - torch.outer(b, y - n * b)
        return xx, xy, yy

    @property
    def spread(self) -> float:
        """tr(XcᵀXc)/d."""
        return float((self.xx.diagonal() - self.x.square() / self.n).mean())

    @property
    def spread_y(self) -> float:
        """tr(YcᵀYc)/e."""
        return float((self.yy.diagonal() - self.y.square() / self.n).mean())


def total(parts: Sequence[Rows]) -> Rows:
    """Add sums of disjoint rows."""
    found = parts[0]
    for part in parts[1:]:
        found = found + part
    return found


def grouped(x: Tensor, y: Tensor, marked: Tensor | None, groups: int, difference: bool = False) -> list[Rows]:
    """Sum by contiguous group of windows over marked tokens; ``difference``: of y − x in the place of y."""
    group = np.arange(len(x)) * groups // len(x)
    found = []
    for g in range(groups):
        rows = np.flatnonzero(group == g).tolist()
        marks = torch.ones(x[rows].shape[:2], dtype=torch.bool, device=x.device) if marked is None else marked[rows]
        first, second = x[rows][marks].double(), y[rows][marks].double()
        found.append(Rows.of(first, second - first if difference else second))
    return found


@dataclass
class Pca:
    """Mean ``(d)``, eigenvalues of XcᵀXc ``(d)`` descending, eigenvectors ``(d, d)`` in columns, and the number of rows."""

    n: int
    mean: Tensor
    values: Tensor
    vectors: Tensor

    @classmethod
    def of(cls, n: int, x: Tensor, xx: Tensor) -> Pca:
        """Decompose from sums."""
        values, vectors = torch.linalg.eigh(xx - torch.outer(x, x) / n)
        return cls(n, x / n, values.flip(0).clamp_min(0), vectors.flip(1))

    def fewest(self, share: float) -> int:
        """Return how many PCs hold a share of the variance."""
        return fewest(self.values, share)


def fewest(values: Tensor, share: float) -> int:
    """Return how many of descending values hold a share of their sum, up to rounding."""
    held = values.clamp_min(0).cumsum(0) / values.clamp_min(0).sum()
    return int((held < share * (1 - 1e-12)).sum()) + 1


class Predictive:
    """Directions of x that predict y best, by CCA or reduced-rank regression, for any penalty from one decomposition of each side."""

    def __init__(self, rows: Rows, canonical: bool) -> None:
        self.x = Pca.of(rows.n, rows.x, rows.xx)
        self.y = Pca.of(rows.n, rows.y, rows.yy) if canonical else None
        cross = self.x.vectors.T @ (rows.xy - torch.outer(rows.x, rows.y) / rows.n)
        self._cross = cross if self.y is None else cross @ self.y.vectors

    def whitened(self, lam_x: float, lam_y: float, k: int) -> Tensor:
        """Return orthonormal directions ``(d, k)`` in ridge-whitened PC coordinates, best first."""
        matrix = self._cross / (self.x.values + lam_x).sqrt()[:, None]
        if self.y is not None:
            matrix = matrix / (self.y.values + lam_y).sqrt()
        return torch.linalg.eigh(matrix @ matrix.T)[1][:, -k:].flip(1)

    def weights(self, lam_x: float, lam_y: float, k: int) -> Tensor:
        """Return weights on x ``(d, k)``."""
        return self.x.vectors @ (self.whitened(lam_x, lam_y, k) / (self.x.values + lam_x).sqrt()[:, None])


@dataclass
class Map:
    """The map x ↦ ȳ + (x − x̄) W Vᵀ: ``weight (d, k)``, ``basis (e, k)`` or none, means zero where there is no intercept."""

    weight: Tensor
    basis: Tensor | None
    mean_x: Tensor
    mean_y: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Map rows in float64."""
        found = (x - self.mean_x) @ self.weight
        return self.mean_y + (found if self.basis is None else found @ self.basis.T)

    def r2(self, rows: Rows) -> float:
        """Return 1 − SSE/Σ‖y − ȳ‖² on other rows, from their sums."""
        xx, xy, yy = rows.about(self.mean_x, self.mean_y)
        right = xy if self.basis is None else xy @ self.basis
        energy = float(yy.diagonal().sum())
        return float((self.weight * (2 * right - xx @ self.weight)).sum()) / energy if energy > 0 else float("nan")


@dataclass
class Fits:
    """A block's maps: of all calibration windows, without each group, and of every second group where the rung asks for it."""

    whole: Map
    refits: list[Map]
    half: Map | None
    mean: Tensor
    rows: list[Rows]


def by_rank(rows: Rows, lam: float, k: int | None, energy: float) -> Map:
    """Fit Eq. 2: ridge regression on the top k right singular vectors of Y, k for the share ``energy`` where it is not given."""
    values, vectors = torch.linalg.eigh(rows.yy)
    k = fewest(values.flip(0), energy) if k is None else k
    basis = vectors.flip(1)[:, :k]
    return Map(_solved(rows.xx, lam, rows.xy @ basis), basis, torch.zeros_like(rows.x), torch.zeros_like(rows.y))


def affinely(rows: Rows, lam: float) -> Map:
    """Fit the affine map of full rank."""
    mean_x, mean_y = rows.x / rows.n, rows.y / rows.n
    xx, xy, _ = rows.about(mean_x, mean_y)
    return Map(_solved(xx, lam, xy), None, mean_x, mean_y)


def through_origin(rows: Rows, lam: float) -> Map:
    """Fit the map of full rank without an intercept."""
    return Map(_solved(rows.xx, lam, rows.xy), None, torch.zeros_like(rows.x), torch.zeros_like(rows.y))


def _solved(xx: Tensor, lam: float, right: Tensor) -> Tensor:
    system = xx + lam * torch.eye(len(xx), dtype=xx.dtype, device=xx.device)
    return torch.cholesky_solve(right, torch.linalg.cholesky(system))


def fit_block(rows: list[Rows], protocol: Protocol, strict: bool, refits: bool = True) -> Fits:
    """Fit a block's maps as its rung does: λ and, of maps by rank, k of the whole in all refits."""
    whole = total(rows)
    mean = whole.y / whole.n
    if not strict:
        lam = protocol.ridge * float(whole.xx.diagonal().mean())
        first = by_rank(whole, lam, None, protocol.energy)
        k = first.weight.shape[1]
        return Fits(first, [by_rank(whole - part, lam, k, 0) for part in rows if refits], None, mean, rows)
    lam = choose(rows, protocol)[0] * whole.spread
    half = None
    if refits:
        every_second = rows[::2]
        half = affinely(total(every_second), choose(every_second, protocol)[0] * total(every_second).spread)
    return Fits(affinely(whole, lam), [affinely(whole - part, lam) for part in rows if refits], half, mean, rows)


def choose(rows: Sequence[Rows], protocol: Protocol) -> tuple[float, float]:
    """Return the penalty over tr(XcᵀXc)/d of the least error over contiguous folds of the groups, and the R² it has there.

    With XcᵀXc = QΛQᵀ of the rows that are left, W = Q D G for every λ, D = 1/(Λ + λ), G = QᵀXcᵀYc.
    """
    grid = protocol.penalties()
    folds = min(protocol.folds, len(rows))
    members = [[part for i, part in enumerate(rows) if i * folds // len(rows) == fold] for fold in range(folds)]
    errors, energy, everything = np.zeros(len(grid)), 0.0, total(rows)
    for member in members:
        held = total(member)
        train = everything - held
        mean_x, mean_y = train.x / train.n, train.y / train.n
        (xx, xy, _), (held_xx, held_xy, held_yy) = train.about(mean_x, mean_y), held.about(mean_x, mean_y)
        values, q = torch.linalg.eigh(xx)
        g = q.T @ xy
        linear, quadratic = (g * (q.T @ held_xy)).sum(1), (q.T @ held_xx @ q) * (g @ g.T)
        inverse = 1 / (values.clamp_min(0)[None] + torch.tensor(grid, dtype=xx.dtype, device=xx.device)[:, None] * train.spread)
        own = float(held_yy.diagonal().sum())
        errors += (own - 2 * inverse @ linear + ((inverse @ quadratic) * inverse).sum(1)).cpu().numpy()
        energy += own
    best = int(errors.argmin())
    return grid[best], 1 - errors[best] / energy if energy > 0 else float("nan")


def jackknife(
    value: float, fit: Array | None = None, score: Array | None = None, further: Array | None = None, origin: float | None = None
) -> float:
    """Return the delete-one standard error, sources in quadrature; of ratios (``origin`` given) that of ln(value − origin)."""
    parts = [np.asarray(rows, dtype=np.float64) for rows in (fit, score, further) if rows is not None]
    if origin is not None and value > origin and all((rows > origin).all() for rows in parts):
        parts = [np.log(rows - origin) for rows in parts]
    return float(np.sqrt(sum((len(rows) - 1) / len(rows) * np.square(rows - rows.mean()).sum() for rows in parts)))


def without_each(values: Array) -> Array:
    """Return means along the last axis with each entry left out in turn."""
    return np.stack([np.delete(values, i, -1).mean(-1) for i in range(values.shape[-1])], -1)
