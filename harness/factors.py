"""Weight matrices as products of two thin ones."""

from __future__ import annotations

import torch
from torch import Tensor


def factors(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return A = U√Σ ``(m, r)`` and B = √ΣVᵀ ``(r, n)`` of W's truncated SVD: AB is nearest to W of all matrices of rank r.

    Float64 or float32, as W ``(m, n)``; the sign of a pair of columns is that of :func:`signs`. Source: Eckart and Young (1936). Raises
    ValueError unless 1 ≤ rank ≤ min(m, n).
    """
    if not 1 <= rank <= min(weight.shape):
        raise ValueError(f"rank {rank} of a matrix {tuple(weight.shape)}")
    # Not from eigenvectors of WWᵀ: they halve the digits of all but the leading singular values.
    u, s, vt = torch.linalg.svd(weight, full_matrices=False)
    root, sign = s[:rank].sqrt(), signs(u[:, :rank])
    return u[:, :rank] * (sign * root), (sign * root)[:, None] * vt[:rank]


def signs(columns: Tensor) -> Tensor:
    """Return 1 or −1 for each column ``(n, k)``: what makes its largest entry positive.

    Singular vectors and eigenvectors have no sign of their own, and libraries and devices choose differently; grids from the least to the
    greatest entry depend on it, and so would errors.
    """
    largest = columns.gather(0, columns.abs().argmax(0, keepdim=True))[0]
    return torch.where(largest < 0, -1.0, 1.0).to(columns)


def budget_rank(m: int, n: int) -> int:
    """Return r = ⌊mn/(m + n)⌋: the largest rank at which two factors, r(m + n) numbers, take no more than the matrix; 0 where none does."""
    return m * n // (m + n)
