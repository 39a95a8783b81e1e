"""How variance spreads over principal components at every boundary, with massive activations and without (claim 1). Results; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from harness.findings import Findings, Shape
from harness.statistics import Array


class Spectra(Findings):
    """Variance along each principal component of every block's output, on calibration text.

    ``values (B, d)`` descending, over all tokens on ``paper`` and over typical ones on ``typical``; ``left_out (B)``: share of tokens that
    are not typical at the block.
    """

    SHAPES: ClassVar[Mapping[str, Shape]] = {"values": ("B", "d"), "left_out": ("B",)}

    def dimensions(self, share: float) -> Array:
        """Return the fewest PCs that hold a share of the variance, at every block's output: ``(B)``; NaN where nothing varies."""
        return np.array([_fewest(values, share) for values in self.arrays["values"]])


def _fewest(values: Array, share: float) -> float:
    held = np.cumsum(values)
    # The tolerance keeps the count from growing by rounding when the share asked for is exactly held.
    return float(min(np.sum(held < share * held[-1] * (1 - 1e-12)) + 1, len(held))) if held[-1] > 0 else np.nan
