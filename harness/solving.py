"""Linear systems that cannot be solved, reported by block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from harness.errors import MeasurementError


@contextmanager
def names_the_block(block: int, then: str = "no ridge map can be fitted") -> Iterator[None]:
    """Turn a failed factorisation into a MeasurementError that names the block, and says what it prevents."""
    try:
        yield
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        raise MeasurementError(f"block {block}: its input is zero or degenerate; {then}") from None
