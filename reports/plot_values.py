"""What a plot is: points, series, axes, reference marks, and the sentence that a reader must be able to say from it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from reports.ledger import number

Kind = Literal["line", "points", "bars"]


@dataclass(frozen=True)
class Point:
    """A datum. ``y`` is None where there is no figure: a gap, never a zero. ``told``: what hovering says; "" is made from the numbers."""

    x: float
    y: float | None
    low: float | None = None
    high: float | None = None
    told: str = ""


@dataclass(frozen=True)
class Series:
    """Points that belong together. ``tone``: which colour, dash and shape, where it should be the same in many plots; else its place."""

    name: str
    points: tuple[Point, ...]
    kind: Kind = "line"
    tone: int | None = None


@dataclass(frozen=True)
class Axis:
    """An axis; with ``names`` it is categorical, and a point's x is the place of its name."""

    label: str
    log: bool = False
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mark:
    """A reference across the whole plot: a bound, chance, the untouched model."""

    axis: Literal["x", "y"]
    at: float
    label: str


@dataclass(frozen=True)
class Plot:
    """A plot. ``name`` is unique on a page. ``lying``: the x axis runs downwards and y to the right, for long names.

    ``legend``: what the drawing means beyond its labels, printed below it.
    """

    name: str
    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    sentence: str
    marks: tuple[Mark, ...] = ()
    legend: str = ""
    lying: bool = False


def is_number(value: float | None) -> bool:
    """Whether there is a number that can be drawn somewhere."""
    return value is not None and math.isfinite(value)


def drawable(value: float | None, log: bool) -> bool:
    """Whether a value has a place on an axis."""
    return value is not None and math.isfinite(value) and (value > 0 or not log)


def drawn_points(plot: Plot, series: Series) -> Iterator[tuple[Point, float] | None]:
    """Yield each point with its value, and None for a gap."""
    for point in series.points:
        value = point.y
        if value is not None and drawable(value, plot.y.log) and drawable(point.x, plot.x.log) and named(plot.x, point.x):
            yield point, value
        else:
            yield None


def named(axis: Axis, x: float) -> bool:
    """Whether a categorical axis has a name at ``x``; any other axis has every number."""
    return not axis.names or (x == int(x) and 0 <= x < len(axis.names))


def x_text(axis: Axis, x: float) -> str:
    """Write a place on the x axis: its name, or the number, after the label where that is one short word."""
    if axis.names:
        return axis.names[int(x)] if is_number(x) and named(axis, x) else "–"
    text = f"{x:g}".replace("-", "−") if is_number(x) else "–"
    return f"{axis.label} {text}" if len(axis.label) <= 6 and " " not in axis.label else text


def figure(value: float) -> str:
    """Write a number to three digits, a count as one: ``0.926``, ``105``."""
    return f"{value:.0f}".replace("-", "−") if abs(value) < 1e6 and value == int(value) else number(value)


def figure_text(point: Point) -> str:
    """Write a value with its interval: ``0.926 [0.914, 0.938]``; a dash where there is none."""
    if point.y is None or not math.isfinite(point.y):
        return "–"
    limits = interval_of(point)
    return figure(point.y) + ("" if limits is None else f" [{figure(limits[0])}, {figure(limits[1])}]")


def interval_of(point: Point) -> tuple[float, float] | None:
    """Return the limits of a point that has both."""
    low, high = point.low, point.high
    return (low, high) if low is not None and high is not None and math.isfinite(low) and math.isfinite(high) else None


def told_of(plot: Plot, series: Series, point: Point) -> str:
    """Say what hovering over a point says."""
    return point.told or f"{series.name}, {x_text(plot.x, point.x)}: {figure_text(point)}"
