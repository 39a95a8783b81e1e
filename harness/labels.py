"""Names kept among float64 arrays, as a store of measurements wants them. No torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.statistics import Array


def encode_names(names: Sequence[str]) -> Array:
    """Return the UTF-8 bytes of names joined by newlines, ``(bytes)`` float64; ValueError for a name that is empty or has a newline."""
    for name in names:
        if not name or "\n" in name:
            raise ValueError(f"{name!r} is no name")
    return np.frombuffer("\n".join(names).encode(), dtype=np.uint8).astype(np.float64)


def decode_names(array: Array) -> list[str]:
    """Return the names; ValueError for what is no UTF-8."""
    if not np.isin(array, np.arange(256)).all():
        raise ValueError("names are bytes")
    return array.astype(np.uint8).tobytes().decode().split("\n") if len(array) else []
