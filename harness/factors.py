"""Weight matrices as products of two thin ones."""

from __future__ import annotations

import torch
from torch import Tensor


def factors(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return A = U√Σ ``(m, r)`` and B = √ΣVᵀ ``(r, n)`` of W's truncated SVD: AB is nearest to W of all matrices of rank r.

    Float64 or float32, as W ``(m, n)``. Source: Eckart and Young (1936). Raises ValueError unless 1 ≤ rank ≤ min(m, n).
    """
    if not 1 <= rank <= min(weight.shape):
        raise ValueError(f"rank {rank} of a matrix {tuple(weight.shape)}")
    # Not from eigenvectors of WWᵀ: they halve the digits of all but the leading singular values.
    u, s, vt = torch.linalg.svd(weight, full_matrices=False)
    root = s[:rank].sqrt()
    return u[:, :rank] * root, root[:, None] * vt[:rank]


def budget_rank(m: int, n: int) -> int:
    """Return r = ⌊mn/(m + n)⌋: the largest rank at which two factors, r(m + n) numbers, take no more than the matrix; 0 where none does."""
    return m * n // (m + n)
