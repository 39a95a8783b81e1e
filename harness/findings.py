"""Named arrays of known shapes: what a measurement found, as the store keeps it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from harness.statistics import Array

Shape = tuple[str | int, ...]


@dataclass(frozen=True)
class Findings:
    """Float64 arrays; ``SHAPES``: name → dimensions, each a number or a name. NaN and empty arrays where a rung has no such thing.

    Dimensions whose names are given from outside: G groups of calibration windows, W evaluation windows for interventions, S windows that
    moments are scored on, d width, B blocks; others are particular to a measurement.
    """

    arrays: Mapping[str, Array]
    SHAPES: ClassVar[Mapping[str, Shape]] = {}

    @classmethod
    def of(cls, arrays: Mapping[str, Array], sizes: Mapping[str, int]) -> Self:
        """Check names, types and shapes, dimensions of one name being equal; ValueError when they are not these."""
        if set(arrays) != set(cls.SHAPES):
            raise ValueError(f"expected arrays {sorted(cls.SHAPES)}, found {sorted(arrays)}")
        known = dict(sizes)
        for name, array in arrays.items():
            shape = cls.SHAPES[name]
            if array.dtype != np.float64 or array.ndim != len(shape):
                raise ValueError(f"array '{name}': {array.dtype} of shape {array.shape}, expected {shape}")
            for size, dimension in zip(array.shape, shape, strict=True):
                if size != (dimension if isinstance(dimension, int) else known.setdefault(dimension, size)):
                    raise ValueError(f"array '{name}' of shape {array.shape} does not fit {shape} with {known}")
        return cls(arrays)

    def number(self, name: str) -> float:
        """Return a single number."""
        return float(self.arrays[name])
