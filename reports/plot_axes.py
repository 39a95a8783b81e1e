"""Axes of a plot: where a value lies in pixels, and which ticks are labelled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_HUGE = 1e300  # Beyond it a span overflows; below its inverse digits are lost.
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_MOST_LABELS = 9

Tick = tuple[float, str]


@dataclass(frozen=True)
class Scale:
    """An axis from ``low`` to ``high``, which lie at the pixels ``start`` and ``end``; logarithmic or not."""

    low: float
    high: float
    start: float
    end: float
    log: bool
    ticks: tuple[Tick, ...]

    def at(self, value: float) -> float:
        """Return the pixel of a value; what lies outside stands at the end of the axis."""
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, max(min(value, self.high), self.low)))
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def scale_for(values: Iterable[float], start: float, end: float, *, log: bool, each: float, from_zero: bool = False) -> Scale:
    """Return an axis that shows all ``values``, with a tick about every ``each`` pixels; ``from_zero``: linear axes begin at 0 for bars."""
    shown = [max(min(v, _HUGE), -_HUGE) for v in values if math.isfinite(v) and (v > 0 or not log)]
    if log:
        low, high = _padded([math.log10(max(v, 1 / _HUGE)) for v in shown] or [0.0, 1.0], 0.04, 0.3)
        edges = 10.0 ** max(low, -307.0), 10.0 ** min(high, 307.0)
        return Scale(*edges, start, end, True, _log_ticks(*edges, max(int(abs(end - start) / each), 2)))
    if from_zero:
        shown.append(0.0)
    low, high = _padded(shown or [0.0, 1.0], 0.04, 0.0)
    if from_zero:
        low, high = (0.0 if min(shown) == 0 else low), (0.0 if max(shown) == 0 and min(shown) < 0 else high)
    whole = all(v == int(v) for v in shown)
    return Scale(low, high, start, end, False, linear_ticks(low, high, max(int(abs(end - start) / each), 2), whole))


def _padded(values: Sequence[float], share: float, least: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    size = max(abs(low), abs(high))
    if high - low <= max(least, 1e-9 * size, 1e-290):
        pad = max(least / 2, 0.05 * size, 1e-9) if size else 1.0
        return low - pad, high + pad
    return low - share * (high - low), high + share * (high - low)


def linear_ticks(low: float, high: float, most: int, whole: bool = False) -> tuple[Tick, ...]:
    """Return ticks at multiples of 1, 2 or 5 times a power of ten, as many as fit and no more than ``most``."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((factor * power for factor in (1, 2, 5) if factor * power >= rough * (1 - 1e-9)), 10 * power)
    if whole:
        step = max(step, 1.0)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple((i * step, _label(i * step, step)) for i in range(first, last + 1)) if last - first <= 2 * most else ()


def _label(value: float, step: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 1e6 or step < 1e-4:
        mantissa, exponent = f"{value:.2e}".split("e")
        short = mantissa.rstrip("0").rstrip(".")
        return f"{short}·{power_of_ten(int(exponent), plain=False)}".replace("-", "−")
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{decimals}f}".replace("-", "−").replace(",", " ")


def power_of_ten(exponent: int, plain: bool = True) -> str:
    """``10⁻³``, ``1``, ``10``."""
    if plain and exponent in (0, 1):
        return "10"[: exponent + 1]
    return "10" + str(exponent).translate(_RAISED)


def _log_ticks(low: float, high: float, most: int) -> tuple[Tick, ...]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    decades, most = last - first + 1, min(most, _MOST_LABELS)
    if decades >= 3:
        every = math.ceil(decades / most)
        return tuple((10.0**e, power_of_ten(e)) for e in range(first, last + 1) if e % every == 0)
    for factors in ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 5), (1, 3), (1,)):
        ticks = [(f * 10.0**e, _short(f, e)) for e in range(first - 1, last + 1) for f in factors if low <= f * 10.0**e <= high]
        if 2 <= len(ticks) <= most:
            return tuple(ticks)
    return linear_ticks(low, high, most) if high / low < 1e3 else ()


def _short(factor: int, exponent: int) -> str:
    if -3 <= exponent <= 3:
        return f"{factor * 10**exponent:,d}".replace(",", " ") if exponent >= 0 else f"{factor * 10.0**exponent:.{-exponent}f}"
    return power_of_ten(exponent) if factor == 1 else f"{factor}·{power_of_ten(exponent)}"
