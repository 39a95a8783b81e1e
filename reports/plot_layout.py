"""Where the parts of a drawing lie: both axes, the rows of the legend, and the labels of reference marks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from reports.plot_axes import Scale, scale_for
from reports.plot_text import SIZE, apart, line, rows_of_labels, width, wrapped
from reports.plot_values import Mark, Plot, drawable, drawn_points, interval_of

WIDTH = 640.0
_HEIGHT = 220.0  # of the plot area of an upright plot
_ROW, _EDGE, _GAP = 15.0, 10.0, 6.0
_SWATCH = 30.0
_REACH = 4.0  # Intervals may stretch an axis by so many times the span of the values; what lies beyond is cut.


@dataclass(frozen=True)
class Label:
    """A line of text at a place; ``anchor`` as in SVG; ``turned``: by 60 degrees, for long names below an axis."""

    x: float
    y: float
    text: str
    anchor: str = "start"
    turned: bool = False
    faint: bool = False


@dataclass(frozen=True)
class Layout:
    """A drawing of ``height``; ``along`` is the scale of x and ``across`` that of y, in pixels of whichever direction they run in.

    ``slots``: half the room of a category in pixels. ``swatches``: where each series' sample of the legend begins.
    """

    height: float
    along: Scale
    across: Scale
    slots: float
    labels: tuple[Label, ...]
    swatches: tuple[tuple[float, float], ...]
    mark_labels: tuple[Label | None, ...]
    frame: tuple[float, float, float, float]


def left_out(plot: Plot, index: int) -> int:
    """Count the points of a series that a logarithmic axis has no place for."""
    points = plot.series[index].points
    bad_y = [plot.y.log and p.y is not None and math.isfinite(p.y) and p.y <= 0 for p in points]
    bad_x = [plot.x.log and math.isfinite(p.x) and p.x <= 0 and p.y is not None for p in points]
    return sum(y or x for y, x in zip(bad_y, bad_x, strict=True))


def legend_text(plot: Plot, index: int) -> str:
    """Write the name of a series, and how many of its points a logarithmic axis has no place for."""
    missing = left_out(plot, index)
    return plot.series[index].name + (f" ({missing} not above 0)" if missing else "")


def layout(plot: Plot) -> Layout:
    """Lay a plot out: legend above, axis labels beside their axes, mark labels to the right of an upright plot or above a lying one."""
    swatches, legend, top = _legend(plot)
    room = 96.0 if plot.lying else 150.0
    across_marks = [i for i, mark in enumerate(plot.marks) if _is_across(plot, mark) and drawable(mark.at, _log(plot, mark))]
    beside = max((width(line(plot.marks[i].label, room, SIZE - 1), SIZE - 1) for i in across_marks), default=0.0)
    right = WIDTH - (beside + 2 * _GAP if beside else _EDGE + 4)
    values, xs = list(_values(plot)), list(_xs(plot))
    bars = any(series.kind == "bars" for series in plot.series)
    names = len(plot.x.names)
    labels: list[Label] = []
    if plot.lying:
        left = _EDGE + max((width(line(name, 210)) for name in plot.x.names), default=30.0) + _GAP
        across = scale_for(values, left, right, log=plot.y.log, each=64, from_zero=bars)
    else:
        across = scale_for(values, 0, _HEIGHT, log=plot.y.log, each=36, from_zero=bars)
        left = _EDGE + max((width(text) for _, text in across.ticks), default=10.0) + _GAP
        labels.append(Label(_EDGE, top + _ROW - 3, line(plot.y.label, WIDTH - 2 * _EDGE), faint=True))
        top += _ROW + 6
    vertical, used = _labels_above(plot, left, right, across if plot.lying else None, xs, top)
    top += used
    tall = (max(19.0, 12.0 * len(plot.series) + 6) * max(names, 1)) if plot.lying else _HEIGHT
    bottom = top + tall
    if plot.lying:
        along = _categories(plot, top, bottom) if names else scale_for(xs, top + 6, bottom - 6, log=plot.x.log, each=30)
        shown = [(at, line(text, 210)) for at, text in along.ticks]
        labels += [Label(left - _GAP, along.at(at) + 4, text, "end") for at, text in shown]
        ticks, below = across, plot.y.label
    else:
        across = Scale(across.low, across.high, bottom, top, across.log, across.ticks)
        along = _categories(plot, left, right) if names else scale_for(xs, left + 4, right - 4, log=plot.x.log, each=56)
        labels += [Label(left - _GAP, across.at(at) + 4, text, "end") for at, text in across.ticks]
        ticks, below = along, plot.x.label
    texts, depth = _below(ticks, left, right, bottom)
    labels += texts
    y = bottom + depth
    if below:
        labels.append(Label((left + right) / 2, y + 12, line(below, right - left + 80), "middle", faint=True))
        y += _ROW + 2
    for text in wrapped(plot.legend, WIDTH - 2 * _EDGE, SIZE - 1):
        y += 13
        labels.append(Label(_EDGE, y, text, faint=True))
    mark_labels = dict(vertical)
    places = apart([_scale(plot, plot.marks[i], along, across).at(plot.marks[i].at) for i in across_marks], 13, top + 4, bottom - 2)
    for i, place in zip(across_marks, places, strict=True):
        mark_labels[i] = Label(right + _GAP, place + 4, line(plot.marks[i].label, room, SIZE - 1))
    each = (bottom - top if plot.lying else right - left) / max(names, 1) / 2
    return Layout(
        height=math.ceil(y + 6),
        along=along,
        across=across,
        slots=each,
        labels=(*labels, *legend),
        swatches=tuple(swatches),
        mark_labels=tuple(mark_labels.get(i) for i in range(len(plot.marks))),
        frame=(left, top, right, bottom),
    )


def _legend(plot: Plot) -> tuple[list[tuple[float, float]], list[Label], float]:
    """Place a sample and a name for each series, in as many rows as they need."""
    swatches, labels, x, y = [], [], _EDGE, 16.0
    for i in range(len(plot.series)):
        text = line(legend_text(plot, i), 250)
        needed = _SWATCH + width(text) + 16
        if x > _EDGE and x + needed > WIDTH:
            x, y = _EDGE, y + 17
        swatches.append((x, y))
        labels.append(Label(x + _SWATCH, y, text))
        x += needed
    return swatches, labels, y + 6


def _is_across(plot: Plot, mark: Mark) -> bool:
    """Whether a mark runs from left to right."""
    return (mark.axis == "y") is not plot.lying


def _log(plot: Plot, mark: Mark) -> bool:
    return plot.y.log if mark.axis == "y" else plot.x.log


def _scale(plot: Plot, mark: Mark, along: Scale, across: Scale) -> Scale:
    return across if mark.axis == "y" else along


def _labels_above(
    plot: Plot, left: float, right: float, across: Scale | None, xs: list[float], top: float
) -> tuple[dict[int, Label], float]:
    """Place the labels of marks that run upwards above the plot, in rows; return them and the height that they take."""
    upright = [i for i, mark in enumerate(plot.marks) if not _is_across(plot, mark) and drawable(mark.at, _log(plot, mark))]
    if not upright:
        return {}, 4.0
    if across is None:
        across = _categories(plot, left, right) if plot.x.names else scale_for(xs, left + 4, right - 4, log=plot.x.log, each=56)
    texts = [line(plot.marks[i].label, 260, SIZE - 1) for i in upright]
    spans = []
    for i, text in zip(upright, texts, strict=True):
        half = width(text, SIZE - 1) / 2 + 4
        middle = min(max(across.at(plot.marks[i].at), half + 2), WIDTH - half - 2)
        spans.append((middle - half, middle + half))
    rows = rows_of_labels(spans)
    placed = {
        i: Label((a + b) / 2, top + 12 + 13 * row, text, "middle") for i, text, (a, b), row in zip(upright, texts, spans, rows, strict=True)
    }
    return placed, 13.0 * (max(rows) + 1) + 5


def _categories(plot: Plot, start: float, end: float) -> Scale:
    count = len(plot.x.names)
    return Scale(-0.5, count - 0.5, start, end, False, tuple((float(i), name) for i, name in enumerate(plot.x.names)))


def _below(scale: Scale, left: float, right: float, bottom: float) -> tuple[list[Label], float]:
    """Place the tick labels below the plot: upright where they fit, else turned, else every so-manieth turned; and their height."""
    texts = [(scale.at(at), line(text, 130)) for at, text in scale.ticks]
    if not texts:
        return [], 4.0
    each = (right - left) / len(texts)
    widest = max(width(text) for _, text in texts)
    if widest + 4 <= each or widest < 30:
        step = max(1, math.ceil((widest + 4) / each))
        return [Label(x, bottom + 16, text, "middle") for x, text in texts[::step]], 19.0
    step = max(1, math.ceil(14.5 / each))  # Lines of text turned by 60 degrees need 14.5 pixels beside one another.
    turned = [Label(x + 4, bottom + 12, line(text, 2 * (x - 4)), "end", turned=True) for x, text in texts[::step]]
    return turned, 14 + 0.87 * widest


def _values(plot: Plot) -> Iterator[float]:
    """Yield what the y axis must show: values, marks, and intervals as far as they do not squeeze the values."""
    values = [found[1] for series in plot.series for found in drawn_points(plot, series) if found]
    values += [mark.at for mark in plot.marks if mark.axis == "y" and drawable(mark.at, plot.y.log)]
    yield from values
    if not values:
        return
    forms = (math.log10, lambda e: 10.0 ** min(max(e, -300.0), 300.0)) if plot.y.log else (float, float)
    low, high = forms[0](min(values)), forms[0](max(values))
    reach = _REACH * (high - low)
    for series in plot.series:
        for found in drawn_points(plot, series):
            for limit in (found and interval_of(found[0])) or ():
                if drawable(limit, plot.y.log):
                    yield forms[1](min(max(forms[0](limit), low - reach), high + reach)) if reach else limit


def _xs(plot: Plot) -> Iterator[float]:
    yield from (found[0].x for series in plot.series for found in drawn_points(plot, series) if found)
    yield from (mark.at for mark in plot.marks if mark.axis == "x" and drawable(mark.at, plot.x.log))
