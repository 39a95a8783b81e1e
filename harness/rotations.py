"""Orthonormal bases Q ``(in, in)`` of a layer's inputs, columns being the new axes: W Q is the rotated weight, W = (W Q)Qᵀ.

Float64. Those that are drawn are the same on every device, and lie on the host.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from harness import subspaces
from harness.factors import signs
from harness.moments import Sums
from harness.subspaces import Principal


@functools.lru_cache(maxsize=4)
def random_orthogonal(size: int, seed: int) -> Tensor:
    """Draw a basis of Haar's distribution: Q sign(diag R) of a Gaussian matrix QR. The tensor is shared between calls: not to be changed.

    Without the signs the distribution would be that of LAPACK's convention for R. Source: Mezzadri, arXiv:math-ph/0609050.
    """
    generator = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64, device="cpu"))
    basis: Tensor = q * r.diagonal().sign()
    return basis


@functools.lru_cache(maxsize=4)
def hadamard(size: int, seed: int) -> Tensor:
    """Return D·diag(H_p/√p, …), shared between calls as well: random signs D on the inputs, then Sylvester's Hadamard matrices.

    The orders p are the powers of two that add up to ``size``, largest first: 576 = 512 + 64.
    Source: QuaRot, arXiv:2404.00456, and QuIP#, arXiv:2402.04396, which for sizes that are no power of two take Hadamard matrices of other
    orders as well, so that all inputs mix; here those of one block do.
    """
    powers = [1 << bit for bit in reversed(range(size.bit_length())) if size >> bit & 1]
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(2, (size,), generator=generator, device="cpu").double() * 2 - 1
    mixing: Tensor = torch.block_diag(*(_sylvester(order) / order**0.5 for order in powers))  # type: ignore[no-untyped-call]
    return signs[:, None] * mixing


def _sylvester(order: int) -> Tensor:
    found = torch.ones(1, 1, dtype=torch.float64, device="cpu")
    step = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64, device="cpu")
    while len(found) < order:
        found = torch.kron(step, found)
    return found


def principal(sums: Sums) -> Tensor:
    """Return the principal axes of the inputs x: eigenvectors of their covariance about the mean, descending by eigenvalue.

    The largest entry of each is positive (:func:`harness.factors.signs`); so it is of :func:`canonical`.
    """
    axes = Principal.of(sums.n, sums.x, sums.xx).vectors
    return axes * signs(axes)


def canonical(sums: Sums, ridge: float = 1e-4, axes: Tensor | None = None) -> Tensor:
    """Return a basis whose first j columns span the j canonical weights of x ``(d)`` most correlated with y ``(e)``, for every j ≤ e.

    Canonical correlation analysis about the means, with a ridge λ = ridge·tr/d on either side (:func:`harness.subspaces.cca`). Its
    weights A are orthogonal only after whitening, so the basis is Q of A = QR. Where e < d further columns complete it, in no particular
    order. ``axes``: what :func:`principal` returns for these sums, where it is at hand.

    The ridge makes constant inputs harmless. Raises torch.linalg.LinAlgError when a side does not vary at all, or, with ridge = 0, does not
    in some direction.
    """
    x, y = _principal(sums, axes), Principal.of(sums.n, sums.y, sums.yy)
    cross = x.vectors.T @ (sums.xy - sums.n * torch.outer(x.mean, y.mean)) @ y.vectors
    lam_x, lam_y = (ridge * float(side.values.mean()) for side in (x, y))
    # Solved for y, which is mostly the smaller side: the weights of x are, up to their lengths, the ridge regression of y's scores on x.
    # Rounding mixes leading weights into trailing ones, which QR takes out again.
    of_y = subspaces.cca(y, x, cross.T, lam_y, lam_x, min(len(x.mean), len(y.mean))).weights
    weights = x.vectors @ (cross @ (y.vectors.T @ of_y) / (x.values + lam_x)[:, None])
    basis: Tensor = torch.linalg.qr(weights, mode="complete")[0]
    return basis * signs(basis)


def _principal(sums: Sums, axes: Tensor | None) -> Principal:
    if axes is None:
        return Principal.of(sums.n, sums.x, sums.xx)
    mean = sums.x / sums.n
    values = (axes * (sums.xx @ axes)).sum(0) - sums.n * (mean @ axes).square()
    return Principal(sums.n, mean, values.clamp_min(0), axes)
