"""Figures with their jackknife replicates, and the intervals that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A figure with a two-sided confidence interval; ``level`` in (0, 1); ``half`` is t·SE, before the limits are clipped."""

    value: float
    low: float
    high: float
    level: float
    half: float


@dataclass(frozen=True)
class Figure:
    """A figure, or a vector of figures, with what it becomes when parts of the data are left out.

    ``value``: scalar or ``(m,)``. ``fit``: ``(G, …)``, one row for each group of calibration windows left out and the
    estimator refitted. ``score``: ``(W, …)``, one row for each evaluation window left out of the score. A figure
    that is fitted and scored on the same rows has ``fit`` alone. ``half``: the figure fitted anew on half the calibration windows.

    A smooth function of figures is again a figure: ``r2.map(f)`` applies f to the value and to every replicate, so that
    the interval of a Spearman correlation over blocks knows how the blocks move together.
    """

    value: Array | float
    fit: Array | None = None
    score: Array | None = None
    half: Array | float | None = None

    def map(self, function: Callable[[Array], float]) -> Figure:
        """Return the figure f(value), each replicate mapped likewise."""
        fit, score = (
            None if rows is None else np.array([function(row) for row in rows], dtype=np.float64) for rows in (self.fit, self.score)
        )
        half = None if self.half is None else float(function(np.asarray(self.half)))
        return Figure(float(function(np.asarray(self.value))), fit, score, half)

    def at(self, index: int) -> Figure:
        """Return one component of a vector of figures."""
        return self.map(lambda vector: float(vector[index]))

    def interval(self, level: float, inside: tuple[float, float] = (-np.inf, np.inf)) -> Interval:
        """Return value ± t·SE at ``level``, with SE² = SE²_fit + SE²_score and min(G, W) − 1 degrees of freedom.

        The two sources are independent (calibration and evaluation text do not overlap), so their variances add.
        ``inside`` is the range the figure cannot leave (−1 … 1 for a correlation); the limits are clipped to it.
        """
        from scipy.stats import t

        parts = [rows for rows in (self.fit, self.score) if rows is not None]
        if not parts:
            raise ValueError("a figure without replicates has no interval")
        error = float(np.sqrt(sum(jackknife_error(rows) ** 2 for rows in parts)))
        half = float(t.ppf((1 + level) / 2, min(len(rows) for rows in parts) - 1)) * error
        value = float(self.value)
        return Interval(value, max(value - half, min(inside[0], value)), min(value + half, max(inside[1], value)), level, half)


def jackknife_error(replicates: Array) -> float:
    """Return the delete-one jackknife's standard error: √((G−1)/G · Σ_g (θ_(−g) − θ̄)²), replicates ``(G,)``.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 11.
    """
    count = len(replicates)
    return float(np.sqrt((count - 1) / count * np.sum((replicates - replicates.mean()) ** 2)))


def spearman_with_depth(values: Array) -> float:
    """Spearman's ρ of ``values (blocks,)`` with the block's index: −1 … 1, positive when they rise with depth.

    NaN when the values are all equal (no order).
    """
    from scipy.stats import spearmanr

    return np.nan if np.ptp(values) == 0 else float(spearmanr(np.arange(len(values)), values).statistic)


def kendall_with_depth(values: Array) -> float:
    """Kendall's τ-b of ``values (blocks,)`` with the block's index: 1 when every deeper block is higher; NaN when all are equal."""
    from scipy.stats import kendalltau

    return np.nan if np.ptp(values) == 0 else float(kendalltau(np.arange(len(values)), values).statistic)
