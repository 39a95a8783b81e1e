"""Affine ridge maps of full rank, with λ chosen by cross-validation (the ``strict`` rung)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.concurrency import in_parallel
from harness.moments import Moments, Sums
from harness.protocol import Protocol


@dataclass(frozen=True)
class AffineMap:
    """The map x ↦ ȳ + (x − x̄) W: ``weight (d, e)``, ``mean_x (d,)``, ``mean_y (e,)``, float64."""

    weight: Tensor
    mean_x: Tensor
    mean_y: Tensor

    @property
    def rank(self) -> int:
        """That of W, which is full."""
        return min(self.weight.shape)

    @property
    def parameters(self) -> int:
        """Numbers of W and, where there is one, of the intercept ȳ − x̄W: d·e + e."""
        return self.weight.numel() + self.mean_y.numel() * bool(self.mean_x.any() or self.mean_y.any())

    @property
    def centre(self) -> Tensor:
        """ȳ."""
        return self.mean_y

    def __call__(self, x: Tensor) -> Tensor:
        """Map rows ``(…, d)`` to ``(…, e)`` in float64."""
        return self.mean_y + (x.double() - self.mean_x) @ self.weight

    def squared_error(self, sums: Sums) -> float:
        """Σ‖y − ŷ‖² on the rows behind ``sums``, which need not be those the map was fitted to."""
        rest = sums.about(self.mean_x, self.mean_y)
        return rest.energy + float((self.weight * (rest.xx @ self.weight - 2 * rest.xy)).sum())

    def baseline(self, sums: Sums) -> float:
        """Σ‖y − ȳ‖² on the rows behind ``sums``, ȳ the mean of the rows the map was fitted to."""
        spread = sums.yy.diagonal().sum() - 2 * self.mean_y @ sums.y + sums.n * self.mean_y @ self.mean_y
        return float(spread)


def scale(sums: Sums) -> float:
    """tr(XcᵀXc)/d about the mean of the rows: what λ is measured in."""
    return float((sums.xx.diagonal() - sums.x.square() / sums.n).mean())


def fit(sums: Sums, lam: float) -> AffineMap:
    """Solve argmin_W ‖Yc − Xc W‖²_F + λ‖W‖²_F, X and Y centred on their means; the intercept is not penalised.

    Raises torch.linalg.LinAlgError when XcᵀXc + λI is not positive definite.
    """
    mean_x, mean_y = sums.x / sums.n, sums.y / sums.n
    centred = sums.about(mean_x, mean_y)
    system = centred.xx
    system.diagonal().add_(lam)
    return AffineMap(torch.cholesky_solve(centred.xy, torch.linalg.cholesky(system)), mean_x, mean_y)


def through_origin(sums: Sums, lam: float) -> AffineMap:
    """Solve argmin_W ‖Y − X W‖²_F + λ‖W‖²_F, without an intercept."""
    system = sums.xx.clone()
    system.diagonal().add_(lam)
    weight = torch.cholesky_solve(sums.xy, torch.linalg.cholesky(system))
    return AffineMap(weight, torch.zeros_like(sums.x), torch.zeros_like(sums.y))


@dataclass(frozen=True)
class Penalty:
    """λ over tr(XcᵀXc)/d as cross-validation chose it: ``edge`` when it stands at an end of the grid, ``r2`` of the held-out folds."""

    value: float
    edge: bool
    r2: float


def choose_penalty(moments: Moments, groups: Sequence[int], protocol: Protocol, device: torch.device) -> Penalty:
    """Choose the penalty of the protocol's grid with the least cross-validated error, over contiguous folds of the groups."""
    grid = protocol.penalties()
    folds = min(protocol.folds, len(groups))
    members = [[g for i, g in enumerate(groups) if i * folds // len(groups) == fold] for fold in range(folds)]
    parts = [moments.total(m) for m in members]
    errors = cross_validated_errors(parts, grid, device)
    best = int(errors.argmin())
    energy = 0.0
    for i, fold in enumerate(parts):
        train = moments.total([g for j, m in enumerate(members) if j != i for g in m])
        energy += fold.about(train.x / train.n, train.y / train.n).energy
    return Penalty(grid[best], best in (0, len(grid) - 1), 1 - float(errors[best]) / energy if energy > 0 else float("nan"))


def cross_validated_errors(folds: Sequence[Sums], penalties: Sequence[float], device: torch.device) -> Tensor:
    """Return the held-out squared error of every λ, summed over folds: ``(penalties,)`` float64.

    Each fold is left out in turn; λ = penalty · tr(XcᵀXc)/d of the rows that are left. One eigendecomposition a fold serves all λ: with
    XcᵀXc = QΛQᵀ and G = QᵀXcᵀYc, the error on the fold's rows (x, y about the training means) is
    ‖y‖² − 2 Σ_i D_i (GHᵀ)_ii + Σ_ik D_i D_k (GGᵀ)_ik (Qᵀ(xᵀx)Q)_ik, with D = 1/(Λ + λ), H = Qᵀxᵀy.
    """
    total = folds[0]
    for other in folds[1:]:
        total = total + other

    def errors(fold: Sums) -> Tensor:
        train = total - fold
        mean_x, mean_y = train.x / train.n, train.y / train.n
        centred, held = train.about(mean_x, mean_y), fold.about(mean_x, mean_y)
        values, q = torch.linalg.eigh(centred.xx)
        g, h = q.T @ centred.xy, q.T @ held.xy
        linear = (g * h).sum(1)
        quadratic = (q.T @ held.xx @ q) * (g @ g.T)
        unit = float(centred.xx.diagonal().mean())
        found = []
        for penalty in penalties:
            d = 1 / (values.clamp_min(0) + penalty * unit)
            found.append(held.yy.diagonal().sum() - 2 * d @ linear + d @ quadratic @ d)
        return torch.stack(found)

    return torch.stack(in_parallel(errors, folds, device)).sum(0)
