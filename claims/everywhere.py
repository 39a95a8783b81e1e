"""A figure that stands for many parts, each with an interval of its own: what is said of every layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from claims.verdicts import Bound
from harness.statistics import Array, Figure

_NAMED = 3


@dataclass(frozen=True, eq=False)
class Everywhere:
    """The parts behind a figure, by name; NaN for a part without a figure.

    HOLDS when the lower limit of every part does, FALSIFIED when the upper limit of the figure is. With ``one_falsifies`` the figure is the
    :meth:`worst` part, so that one is enough; limits are then those of a level of 1 − 0.05/n for n parts, as one in twenty would be
    falsified by chance.
    """

    parts: Figure
    names: tuple[str, ...]
    one_falsifies: bool = False

    def level(self, level: float) -> float:
        """Return the level at which parts are judged."""
        return 1 - 0.05 / max(self.count, 1) if self.one_falsifies else level

    @property
    def count(self) -> int:
        """How many parts have a figure."""
        return int((~np.isnan(np.asarray(self.parts.value))).sum())

    def worst(self) -> int | None:
        """Return the place of the part whose upper limit is least, which falsifies if any does; None without figures."""
        return int(np.nanargmin(self.limits(self.level(0.95))[1])) if self.count else None

    def limits(self, level: float) -> tuple[Array, Array]:
        """Lower and upper limits of every part, NaN where there is no figure."""
        return _limits(self, level)

    def lowest(self, level: float) -> float:
        """Return the least of the lower limits: what has to hold."""
        return float(np.nanmin(self.limits(self.level(level))[0]))

    def exceptions(self, bound: Bound, level: float) -> str:
        """Name the parts that do not hold, those that are falsified first."""
        assert not isinstance(bound.holds, tuple)
        lows, highs = self.limits(self.level(level))
        values = np.asarray(self.parts.value)
        below = [i for i in np.argsort(values) if highs[i] < bound.holds]
        undecided = int(((lows <= bound.holds) & (highs >= bound.holds)).sum())
        told = []
        if below:
            named = ", ".join(f"{self.names[i]} {values[i]:.3g}" for i in below[:_NAMED])
            told.append(f"{len(below)} of {self.count} wholly below {bound.holds:g} ({named}{', …' if len(below) > _NAMED else ''})")
        if undecided:
            told.append(f"{undecided} of {self.count} undecided")
        return "; ".join(told)


@lru_cache(maxsize=16)
def _limits(everywhere: Everywhere, level: float) -> tuple[Array, Array]:
    known = ~np.isnan(np.asarray(everywhere.parts.value))
    limits = np.full((2, len(known)), np.nan)
    for i in np.flatnonzero(known):
        interval = everywhere.parts.at(int(i)).interval(level)
        limits[:, i] = interval.low, interval.high
    return limits[0], limits[1]
