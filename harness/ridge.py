"""Ridge maps of rank k from a block's input to what the block adds (arXiv:2604.20682, Eq. 2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.moments import Sums


@dataclass(frozen=True)
class RankMap:
    """The map x ↦ x A V_kᵀ: ``weight`` A ``(d, k)``, ``basis`` V_k ``(e, k)`` with orthonormal columns, float64."""

    weight: Tensor
    basis: Tensor
    centre = 0.0

    @property
    def rank(self) -> int:
        """K."""
        return self.basis.shape[1]

    @property
    def parameters(self) -> int:
        """Numbers of A and V_k, k (d + e), or of their product, d·e, where these are fewer."""
        return min(self.weight.numel() + self.basis.numel(), len(self.weight) * len(self.basis))

    def __call__(self, x: Tensor) -> Tensor:
        """Map rows ``(…, d)`` to ``(…, e)`` in float64."""
        return (x.double() @ self.weight) @ self.basis.T

    def squared_error(self, sums: Sums) -> float:
        """‖Y − X A V_kᵀ‖²_F on the rows behind ``sums``: tr(YᵀY) − 2 tr(Aᵀ XᵀY V_k) + tr(Aᵀ XᵀX A).

        The moments of any rows serve, not only those the map was fitted to. Rounding is about 1e-16·‖Y‖², so
        a residual share (1 − R²) below 1e-12 reads as zero or slightly negative.
        """
        fitted = (self.weight * (sums.xy @ self.basis)).sum()
        size = (self.weight * (sums.xx @ self.weight)).sum()
        return float(sums.yy.diagonal().sum() - 2 * fitted + size)


def penalty(sums: Sums, scale: float) -> float:
    """λ = scale · tr(XᵀX)/d. The paper does not state its λ; this rule follows the scale of the input."""
    return scale * float(sums.xx.diagonal().mean())


def output_basis(sums: Sums, *, energy: float | None = None, rank: int | None = None) -> Tensor:
    """Return V_k ``(e, k)``: the top right singular vectors of Y.

    k is ``rank``, or else the fewest directions that hold the share ``energy`` of ‖Y‖²_F.
    """
    values, vectors = output_directions(sums)
    if rank is None:
        if energy is None:
            raise ValueError("output_basis needs energy or rank")
        rank = rank_for(values, energy)
    return vectors[:, :rank].clone()  # Not a view: it would keep all directions in memory.


def output_directions(sums: Sums) -> tuple[Tensor, Tensor]:
    """Return the energy ``(e)``, descending, of Y along its right singular vectors, and these ``(e, e)``: eigenvectors of YᵀY."""
    values, vectors = torch.linalg.eigh(sums.yy)
    return values.flip(0), vectors.flip(1)


def rank_for(values: Tensor, energy: float) -> int:
    """Return the fewest directions of descending ``values`` that hold the share ``energy`` of their sum."""
    held = values.clamp_min(0).cumsum(0)
    # The tolerance keeps k from growing by rounding when the energy asked for is exactly held.
    return min(int((held < energy * held[-1] * (1 - 1e-12)).sum()) + 1, len(values))


def fit(sums: Sums, basis: Tensor, lam: float) -> RankMap:
    """Solve A* = argmin ‖Y − X A V_kᵀ‖²_F + λ‖A‖²_F, which is (XᵀX + λI)⁻¹ XᵀY V_k.

    The part of Y outside span(V_k) does not depend on A, so it drops out. λ > 0 keeps the system positive definite.
    Raises torch.linalg.LinAlgError when it is not (λ = 0 and fewer rows than columns).
    """
    system = sums.xx.clone()
    system.diagonal().add_(lam)
    return RankMap(torch.cholesky_solve(sums.xy @ basis, torch.linalg.cholesky(system)), basis)
