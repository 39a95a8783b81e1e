"""Subspaces of the residual stream: principal, predictive (CCA, reduced-rank regression), their overlaps, and chance.

Everything follows from the moments of two streams about their means, in float64: XᵀX, XᵀY, YᵀY as sums over n rows. The ridge λ is in
the units of those sums. *Ridge-whitened PC coordinates* of x are z = (Λ + λ)^(−1/2) Qᵀ(x − μ), with XᵀX = QΛQᵀ.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.moments import Sums


@dataclass(frozen=True)
class Principal:
    """The PCA of one stream: ``mean (d)``, ``values (d)`` eigenvalues of XᵀX about the mean, descending, ``vectors (d, d)`` columns."""

    n: int
    mean: Tensor
    values: Tensor
    vectors: Tensor

    @classmethod
    def of(cls, n: int, total: Tensor, products: Tensor) -> Principal:
        """Decompose from Σx ``(d)`` and Σxxᵀ ``(d, d)`` over n rows."""
        values, vectors = torch.linalg.eigh(_centred(n, total, products))
        return cls(n, total / n, values.flip(0).clamp_min(0), vectors.flip(1))

    @property
    def variance(self) -> Tensor:
        """Variance along each PC ``(d)``."""
        return self.values / self.n

    def rank_for(self, share: float) -> int:
        """Return the fewest PCs that hold a share of the variance."""
        held = self.values.cumsum(0)
        # The tolerance keeps k from growing by rounding when the share asked for is exactly held.
        return min(int((held < share * held[-1] * (1 - 1e-12)).sum()) + 1, len(held))

    def top(self, k: int) -> Tensor:
        """Return the first k PCs ``(d, k)``."""
        return self.vectors[:, :k]


def _centred(n: int, total: Tensor, products: Tensor) -> Tensor:
    return products - torch.outer(total, total) / n


def variances(n: int, total: Tensor, products: Tensor) -> Tensor:
    """Return the variance along each PC, descending, without the PCs ``(d)``."""
    found: Tensor = torch.linalg.eigvalsh(_centred(n, total, products)).flip(0).clamp_min(0) / n
    return found


@dataclass(frozen=True)
class Predictive:
    """The directions of x that predict y best, in ridge-whitened PC coordinates: ``whitened (d, k)``, orthonormal columns, best first.

    ``strengths (k)``: of CCA the canonical correlations, of reduced-rank regression the roots of what each direction explains.
    """

    x: Principal
    lam: float
    whitened: Tensor
    strengths: Tensor

    @property
    def weights(self) -> Tensor:
        """W = Q(Λ + λ)^(−1/2)U ``(d, k)``: the scores are (x − μ)W. Shrinks along high-variance directions by construction."""
        return weights_of(self.x, self.lam, self.whitened)

    def span(self, k: int) -> Tensor:
        """Return an orthonormal basis ``(d, k)`` of the first k weights; the first j columns span the first j weights."""
        return orthonormal(self.weights[:, :k])


def weights_of(x: Principal, lam: float, whitened: Tensor) -> Tensor:
    """Take directions in ridge-whitened PC coordinates ``(d, k)`` to weights on x."""
    return x.vectors @ (whitened / (x.values + lam).sqrt()[:, None])


def patterns_of(x: Principal, weights: Tensor) -> Tensor:
    """Take weights ``(d, k)`` to patterns A = ΣW, up to 1/n: how each score shows in x (Haufe et al. 2014).

    They grow along high-variance directions by construction.
    """
    return x.vectors @ (x.values[:, None] * (x.vectors.T @ weights))


def sides(sums: Sums) -> tuple[Principal, Principal, Tensor]:
    """Return the PCA of x, that of y, and XᵀY about the means in PC coordinates of both ``(d, e)``."""
    x, y = Principal.of(sums.n, sums.x, sums.xx), Principal.of(sums.n, sums.y, sums.yy)
    cross = sums.xy - sums.n * torch.outer(x.mean, y.mean)
    return x, y, x.vectors.T @ cross @ y.vectors


def cca(x: Principal, y: Principal, cross: Tensor, lam_x: float, lam_y: float, k: int) -> Predictive:
    """Canonical correlation analysis with a ridge on both sides; ``cross`` as :func:`sides` returns it.

    U: the top left singular vectors of (Λx + λx)^(−1/2) Qxᵀ XᵀY Qy (Λy + λy)^(−1/2). Raises torch.linalg.LinAlgError when a side with
    λ = 0 has a direction without variance.
    """
    return _leading(x, lam_x, _scaled(cross, x, lam_x) * _inverse_root(y, lam_y), k)


def rrr(x: Principal, cross: Tensor, lam: float, k: int) -> Predictive:
    """Reduced-rank ridge regression of y on x.

    U: the top left singular vectors of (Λ + λ)^(−1/2) QᵀXᵀY, the ridge regression of y on ridge-whitened x (Mukherjee and Zhu 2011).
    """
    return _leading(x, lam, _scaled(cross, x, lam), k)


def _inverse_root(side: Principal, lam: float) -> Tensor:
    spread = side.values + lam
    if not bool((spread > 0).all()):
        raise torch.linalg.LinAlgError("a direction has no variance")  # type: ignore[attr-defined]
    return 1 / spread.sqrt()


def _scaled(cross: Tensor, x: Principal, lam: float) -> Tensor:
    return cross * _inverse_root(x, lam)[:, None]


def _leading(x: Principal, lam: float, matrix: Tensor, k: int) -> Predictive:
    # Eigenvectors of MMᵀ are the left singular vectors; only the leading ones are used, which squaring leaves precise.
    values, vectors = torch.linalg.eigh(matrix @ matrix.T)
    return Predictive(x, lam, vectors[:, -k:].flip(1), values[-k:].flip(0).clamp_min(0).sqrt())


def overlap(a: Tensor, b: Tensor) -> float:
    """‖AᵀB‖²_F/k of two orthonormal bases ``(d, k)``: 1 for the same subspace, k/d by chance."""
    return float((a.T @ b).square().sum()) / min(a.shape[1], b.shape[1])


def orthonormal(a: Tensor) -> Tensor:
    """Return an orthonormal basis of the columns of a ``(d, k)``."""
    basis: Tensor = torch.linalg.qr(a)[0]
    return basis


def within_top(whitened: Tensor) -> float:
    """‖U_{1…k}‖²_F/k: the share of k whitened directions ``(d, k)`` inside the top-k PCs; k/d for directions that ignore variance."""
    k = whitened.shape[1]
    return float(whitened[:k].square().sum()) / k


def random_orthonormal(d: int, k: int, seed: int, index: int = 0) -> Tensor:
    """Draw a subspace of uniform distribution: an orthonormal basis ``(d, k)`` float64, the same on every device."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
    return orthonormal(torch.randn(d, k, generator=generator, dtype=torch.float64))


def agreement(a: Predictive, b: Predictive, reference: Principal, lam: float) -> float:
    """Overlap of the directions of two fits, both taken to the ridge-whitened PC coordinates of a third: their reproducibility."""
    root = (reference.values + lam).sqrt()[:, None]
    return overlap(*(orthonormal(root * (reference.vectors.T @ fit.weights)) for fit in (a, b)))
