"""Figures with their jackknife replicates, and the intervals that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A figure with a two-sided confidence interval; ``level`` in (0, 1); ``raw`` are the limits before they are clipped.

    ``error``: the standard error, of the figure in its unit, or of ln(value − ``origin``) where ``origin`` is given and the interval was
    taken on the log scale.
    """

    value: float
    low: float
    high: float
    level: float
    raw: tuple[float, float]
    error: float
    origin: float | None = None


@dataclass(frozen=True)
class Figure:
    """A figure, or a vector of figures, with what it becomes when parts of the data are left out.

    ``value``: scalar or ``(m,)``. ``fit``: ``(G, …)``, one row for each group of calibration windows left out and the
    estimator refitted. ``score``: ``(W, …)``, one row for each evaluation window left out of the score. A figure
    that is fitted and scored on the same rows has ``fit`` alone. ``half``: the figure fitted anew on half the calibration windows.
    ``further``: ``(n, …)``, replicates over another independent source: without each of few random draws,
    or of a second set of windows.
    ``origin``: where a ratio has its zero (0; −1 for a ratio minus 1), None for anything else: intervals of ratios are taken on
    the log scale, unless the ratio or a replicate is not above zero, where there is no logarithm.

    A smooth function of figures is again a figure: ``r2.map(f)`` applies f to the value and to every replicate, so that
    the interval of a Spearman correlation over blocks knows how the blocks move together.
    """

    value: Array | float
    fit: Array | None = None
    score: Array | None = None
    half: Array | float | None = None
    origin: float | None = None
    further: Array | None = None

    def map(self, function: Callable[[Array], float], origin: float | None = None) -> Figure:
        """Return the figure f(value), each replicate mapped likewise; ``origin`` when f is a ratio."""
        parts = (self.fit, self.score, self.further)
        fit, score, further = (None if rows is None else np.array([function(row) for row in rows], dtype=np.float64) for rows in parts)
        half = None if self.half is None else float(function(np.asarray(self.half)))
        return Figure(float(function(np.asarray(self.value))), fit, score, half, origin, further)

    def at(self, index: int) -> Figure:
        """Return one component of a vector of figures."""
        return self.map(lambda vector: float(vector[index]), self.origin)

    def interval(self, level: float, inside: tuple[float, float] = (-np.inf, np.inf)) -> Interval:
        """Return value ± t·SE at ``level``, with SE² = SE²_fit + SE²_score and min(G, W) − 1 degrees of freedom.

        The two sources are independent (calibration and evaluation text do not overlap), so their variances add.
        ``inside`` is the range the figure cannot leave (−1 … 1 for a correlation); the limits are clipped to it.
        """
        parts = [rows for rows in (self.fit, self.score, self.further) if rows is not None]
        if not parts:
            raise ValueError("a figure without replicates has no interval")
        value, freedom, zero = float(self.value), min(len(rows) for rows in parts) - 1, self._zero()
        error = _error(parts if zero is None else [np.log(rows - zero) for rows in parts])
        half = _quantile(level, freedom) * error
        if zero is None:
            raw = value - half, value + half
        else:
            raw = zero + (value - zero) * float(np.exp(-half)), zero + (value - zero) * float(np.exp(half))
        return Interval(value, max(raw[0], min(inside[0], value)), min(raw[1], max(inside[1], value)), level, raw, error, zero)

    def change_on_half(self) -> float | None:
        """How far the figure moves when it is fitted on half the calibration windows, of a ratio its logarithm; None where it was not.

        A ratio near zero moves by much on that scale: a projection that costs next to nothing stays in doubt rather than falsified.
        """
        if self.half is None:
            return None
        value, half, zero = float(self.value), float(self.half), self._zero()
        if zero is None:
            return abs(half - value)
        return abs(float(np.log((half - zero) / (value - zero)))) if half > zero else np.inf

    def _zero(self) -> float | None:
        """Where the log scale starts, or None when the figure is no ratio or is not positive throughout."""
        parts = [np.atleast_1d(np.asarray(rows)) for rows in (self.value, self.fit, self.score, self.further) if rows is not None]
        return self.origin if self.origin is not None and all((rows > self.origin).all() for rows in parts) else None


def _quantile(level: float, freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, freedom))


def _error(parts: list[Array]) -> float:
    return float(np.sqrt(sum(jackknife_error(rows) ** 2 for rows in parts)))


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
    return spearman(np.arange(len(values), dtype=np.float64), values)


def kendall_with_depth(values: Array) -> float:
    """Kendall's τ-b of ``values (blocks,)`` with the block's index: 1 when every deeper block is higher; NaN when all are equal."""
    from scipy.stats import kendalltau

    return np.nan if np.ptp(values) == 0 else float(kendalltau(np.arange(len(values)), values).statistic)


def spearman(a: Array, b: Array) -> float:
    """Spearman's ρ of two lists of equal length; NaN when either is all equal."""
    from scipy.stats import spearmanr

    return np.nan if np.ptp(a) == 0 or np.ptp(b) == 0 else float(spearmanr(a, b).statistic)


def gini(values: Array) -> float:
    """Gini coefficient of n values ≥ 0: Σ_ij |v_i − v_j| / (2 n² v̄); 0 when all are equal, (n − 1)/n when one holds everything.

    NaN when their sum is not above zero.
    """
    ascending, n = np.sort(values), len(values)
    total = ascending.sum()
    return float(((2 * np.arange(1, n + 1) - n - 1) * ascending).sum() / (n * total)) if total > 0 else np.nan


def without_each(values: Array) -> Array:
    """Means with each entry of the last axis left out in turn: ``(…, n)`` to ``(…, n)``; of one entry, NaN."""
    n = values.shape[-1]
    return (values.sum(-1, keepdims=True) - values) / (n - 1) if n > 1 else np.full_like(values, np.nan)
