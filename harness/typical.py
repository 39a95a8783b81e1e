"""Which tokens are typical: neither the first of their window nor carriers of massive activations.

A first token or a delimiter can carry a residual norm hundreds of times the median (Sun et al., "Massive Activations in Large
Language Models", arXiv:2402.17762). One direction then holds nearly all variance, and a block that only writes or erases it looks linear.
"""

from __future__ import annotations

import torch
from torch import Tensor


def typical(before: Tensor, after: Tensor, factor: float) -> Tensor:
    """Mark the typical tokens at a block, on the clean run.

    ``before`` h_b and ``after`` h_{b+1}: ``(windows, tokens, d)``. A token is typical when it is not the first of its window and, at both
    boundaries, its norm is at most ``factor`` times the median norm of its own window there. Returns ``(windows, tokens) bool``.
    """
    mask = torch.ones(before.shape[:2], dtype=torch.bool, device=before.device)
    for stream in (before, after):
        # Norms of half-precision streams overflow in their own type.
        norm = stream.float().norm(dim=-1)
        mask &= norm <= factor * norm.median(dim=1, keepdim=True).values
    mask[:, 0] = False
    return mask
