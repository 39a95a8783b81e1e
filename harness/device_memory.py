"""A device's memory: what is free, whether an error says that it ran out, and how many windows fit.

Shares are of what is free when it is asked for: the rest is left to what cannot be foreseen (kernels' workspaces, fragments).
"""

from __future__ import annotations

import gc
import math

import torch
from torch import nn

WEIGHTS_SHARE = 0.7
"""Of free memory that weights may take whole; beyond it blocks are brought in one at a time."""
MOMENTS_SHARE = 0.8
"""Likewise moments; beyond it they are accumulated on the host."""
BATCH_SHARE = 0.25
"""Likewise what a block makes of the windows that run together."""
MOST = 64
"""Windows run together at most: beyond 16,384 tokens products gain nothing."""

_SIGNS = (
    *("DefaultCPUAllocator: can't allocate memory", "MPS backend out of memory", "CUDA error: out of memory"),
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUSOLVER_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"),
)


def free_bytes(device: torch.device) -> int | None:
    """Return the bytes that can be had on a CUDA device, torch's own cache and limit counted; None where that is not known."""
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    held = torch.cuda.memory_allocated(device)
    cached = torch.cuda.memory_reserved(device) - held
    limit = math.floor(torch.cuda.get_per_process_memory_fraction(device) * total)
    return max(0, min(free + cached, limit - held))


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of a device or of the host."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def release() -> None:
    """Give memory back that is cached, and that lies in reference cycles."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def bytes_of(module: nn.Module) -> int:
    """Return the bytes of a module's parameters and buffers, each counted once."""
    held = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return sum(tensor.numel() * tensor.element_size() for tensor in held.values())


def window_bytes(block: nn.Module, width: int, heads: int, tokens: int) -> int:
    """Estimate the bytes that a block's run on one window takes, visitors' float64 copies of the stream among them.

    Every weight matrix's larger side stands for its output, all experts' counted; two tables of attention scores for each head, one of
    them in float32; six streams in float64.
    """
    matrices = [parameter for parameter in block.parameters() if parameter.ndim >= 2]
    size = max((parameter.element_size() for parameter in matrices), default=4)
    outputs = sum(max(parameter.shape[-2:]) for parameter in matrices)
    return tokens * (outputs * size + 6 * 8 * width) + heads * tokens**2 * (size + 4)


def windows_that_fit(free: int, each: int) -> int:
    """Return the largest power of two of windows of ``each`` bytes that fits into its share of ``free``: from 1 to :data:`MOST`."""
    fit = int(BATCH_SHARE * free) // max(each, 1)
    return min(MOST, 1 << max(fit.bit_length() - 1, 0))
