"""How large tensors get their memory on a CPU: pages that were paid for are kept, and taken in large pieces.

A pass writes tens of megabytes of activations and logits, frees them, and asks for as much again. By default glibc hands whatever is
larger than 32 MB back to the system each time, and the system gives it out anew in zeroed pages of 4 KB: a fifth to a third of the time of
training a head, and of reading logits. Threads would get heaps of their own, of 64 MB at most, that go back whenever they are empty: solves
that run side by side take from the common one instead. Figures do not depend on any of this.
"""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Parameters of mallopt(3)."""
KEPT = 256 << 20
"""Blocks up to this size, in bytes, are cut from the heap and go back to it. Weights are larger, or come mapped from a file."""


def prepare() -> None:
    """Have memory kept, where the C library can be told; call it before torch is imported, which reads its part once."""
    # Torch then asks the system for huge pages for tensors of 2 MB and more.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none.
    # Older glibc refuses so large a threshold; to set the other one alone would turn off the one that it adapts by itself.
    if mallopt is not None and mallopt(_M_MMAP_THRESHOLD, KEPT):
        mallopt(_M_TRIM_THRESHOLD, 2 * KEPT)
        mallopt(_M_ARENA_MAX, 1)
