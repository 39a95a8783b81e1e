"""Plots as inline SVG and as the table that says the same: no script, no style sheet, readable in light, dark and print.

Colours are CSS custom properties ``--s1`` … ``--s8`` with colours of Okabe and Ito (2008) as fallbacks; all else is ``currentColor``.
Series differ in dash and shape as well. Every datum is an element with a ``<title>`` and ``data-told``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

from markupsafe import Markup

from fixtures.naming import printable, slug
from reports.plot_layout import WIDTH, Layout, layout
from reports.plot_text import SIZE
from reports.plot_values import Axis, Mark, Plot, Point, Series, drawn_points, figure_text, interval_of, is_number, told_of, x_text

__all__ = ["Axis", "Mark", "Plot", "Point", "Series", "svg", "table"]

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#808080")
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4", "4 2 1 2 1 2", "1 4", "14 3 4 3")
_SHAPES = (
    "h.01",
    "m-2.5-2.5h5v5h-5z",
    "m0-4l4 4-4 4-4-4z",
    "m0-4l4 7h-8z",
    "m0 4l4-7h-8z",
    "m-4 0h8m-4-4v8",
    "m-3-3l6 6m0-6l-6 6",
    "m-3-3v6h6v-6z",
)
_OPEN = {5, 6, 7}  # Shapes that are lines; the others are filled.


def svg(plot: Plot) -> Markup:
    """Draw a plot, 640 wide: axes, reference marks, intervals as bands or whiskers, lines, and every datum with what hovering says."""
    made, ident = layout(plot), ident_of(plot)
    parts = [*_axes(plot, made), *_marks(plot, made)]
    for i, series in enumerate(plot.series):
        parts += _series(plot, made, series, i)
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w:.0f} {h:.0f}" width="100%" role="img" aria-labelledby="{id}-t {id}-d" '
        'fill="currentColor" font-family="system-ui,sans-serif" font-size="{size:.0f}"><title id="{id}-t">{title}</title>'
        '<desc id="{id}-d">{sentence}</desc>{body}</svg>'
    ).format(
        w=WIDTH,
        h=made.height,
        id=ident,
        size=SIZE,
        title=printable(plot.title),
        sentence=printable(plot.sentence),
        body=Markup("").join(parts),
    )


def ident_of(plot: Plot) -> str:
    """Return an id that is valid in HTML and as unique as the plot's name."""
    return f"plot-{slug(plot.name).replace('.', '-')}-{hashlib.sha256(plot.name.encode(errors='replace')).hexdigest()[:8]}"


def table(plot: Plot) -> Markup:
    """Write the data as a table: a row for each x, a column for each series with values and, where there are any, one with intervals."""
    names = [printable(series.name) for series in plot.series]
    wide = [any(interval_of(point) for point in series.points) for series in plot.series]
    heads = [head for name, has in zip(names, wide, strict=True) for head in (name, f"{name}: interval")[: 1 + has]]
    by_place: dict[tuple[float, int], dict[int, Point]] = {}
    for i, series in enumerate(plot.series):
        seen: dict[float, int] = {}
        for point in filter(lambda p: is_number(p.x), series.points):
            again = seen[point.x] = seen.get(point.x, -1) + 1
            by_place.setdefault((point.x, again), {})[i] = point
    rows = []
    for (x, _), points in sorted(by_place.items(), key=lambda item: item[0]):
        cells = list[str]()
        for i, has in enumerate(wide):
            point = points.get(i, Point(x, None))
            limits = interval_of(point)
            cells.append(figure_text(Point(x, point.y)))
            cells += [figure_text(point).partition(" ")[2] if limits and is_number(point.y) else "–"] * has
        row = Markup("").join(Markup("<td>{}</td>").format(cell) for cell in cells)
        rows.append(Markup('<tr><th scope="row">{}</th>{}</tr>').format(printable(x_text(plot.x, x)), row))
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(name) for name in (printable(plot.x.label), *heads))
    return Markup("<table><caption>{}</caption><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(
        printable(f"{plot.title} ({plot.y.label})"), head, Markup("").join(rows)
    )


def _axes(plot: Plot, made: Layout) -> Iterator[Markup]:
    left, top, right, bottom = made.frame
    upright = [made.across.at(at) for at, _ in made.across.ticks]
    lines = "".join(f"M{_n(x)} {_n(top)}V{_n(bottom)}" if plot.lying else f"M{_n(left)} {_n(x)}H{_n(right)}" for x in upright)
    if plot.lying and plot.x.names:
        between = "".join(f"M{_n(left)} {_n(made.along.at(i + 0.5))}H{_n(right)}" for i in range(len(plot.x.names) - 1))
        yield Markup('<path d="{}" stroke="currentColor" stroke-opacity=".1"/>').format(between)
    axis = f"M{_n(left)} {_n(top)}V{_n(bottom)}H{_n(right)}"
    yield Markup('<path d="{}" stroke="currentColor" stroke-opacity=".15"/>').format(lines)
    yield Markup('<path d="{}" fill="none" stroke="currentColor" stroke-opacity=".5"/>').format(axis)
    for label in made.labels:
        turn = Markup(' transform="rotate(-60 {} {})"').format(_n(label.x), _n(label.y)) if label.turned else ""
        faint = Markup(' fill-opacity=".75"') if label.faint else ""
        anchor = Markup(' text-anchor="{}"').format(label.anchor) if label.anchor != "start" else ""
        yield Markup('<text x="{}" y="{}"{}{}{}>{}</text>').format(_n(label.x), _n(label.y), anchor, turn, faint, label.text)


def _marks(plot: Plot, made: Layout) -> Iterator[Markup]:
    left, top, right, bottom = made.frame
    for mark, label in zip(plot.marks, made.mark_labels, strict=True):
        if label is None:
            continue
        scale = made.across if mark.axis == "y" else made.along
        at = _n(scale.at(mark.at))
        if (mark.axis == "y") is plot.lying:
            line = f"M{at} {_n(top)}V{_n(bottom)}"
        else:
            line = f"M{_n(left)} {at}H{_n(right)}L{_n(label.x - 2)} {_n(label.y - 4)}"
        yield Markup(
            '<g data-told="{told}"><title>{told}</title><path d="{d}" fill="none" stroke="currentColor" stroke-opacity=".7" '
            'stroke-dasharray="3 2"/><text x="{x}" y="{y}" font-size="11" text-anchor="{anchor}">{text}</text></g>'
        ).format(told=printable(mark.label), d=line, x=_n(label.x), y=_n(label.y), anchor=label.anchor, text=label.text)


def _series(plot: Plot, made: Layout, series: Series, index: int) -> Iterator[Markup]:
    tone = (index if series.tone is None else series.tone) % len(_COLOURS)
    colour = f"var(--s{tone + 1},{_COLOURS[tone]})"
    shift = _shift(plot, made, index)
    found = [None if p is None else (p[0], *_place(plot, made, p[0].x, p[1], shift)) for p in drawn_points(plot, series)]
    x, y = made.swatches[index]
    yield Markup('<g stroke="{}" fill="{}">').format(colour, colour)
    if series.kind == "line":
        yield from _intervals(plot, made, found, shift)
        run, d = False, ""
        for point in found:
            d += "" if point is None else f"{'L' if run else 'M'}{_n(point[1])} {_n(point[2])}"
            run = point is not None
        d += f"M{_n(x)} {_n(y - 4)}h24"
        yield Markup('<path d="{}" fill="none" stroke-width="1.8"{}/>').format(d, _dash(tone))
    else:
        for point in found:
            if point is not None and (whisker := _whisker(plot, made, point[0], shift)):
                yield Markup('<path d="{}" fill="none" stroke-width="1.4"/>').format(whisker)
    style = Markup(' fill-opacity=".3" stroke-width="1.2"{}').format(_dash(tone)) if series.kind == "bars" else _shape_style(tone)
    yield Markup("<g{}>").format(style)
    for point in found:
        if point is not None:
            d = f"M{_n(point[1])} {_n(point[2])}" + (_bar(plot, made, point) if series.kind == "bars" else _SHAPES[tone])
            told = printable(told_of(plot, series, point[0]))
            yield Markup('<path d="{d}" data-told="{told}"><title>{told}</title></path>').format(d=d, told=told)
    sample = f"M{_n(x + 4)} {_n(y - 9)}h16v10h-16z" if series.kind == "bars" else f"M{_n(x + 12)} {_n(y - 4)}{_SHAPES[tone]}"
    yield Markup('<path d="{}"/></g></g>').format(sample)


def _dash(tone: int) -> Markup:
    return Markup(' stroke-dasharray="{}"').format(_DASHES[tone]) if _DASHES[tone] else Markup("")


def _shape_style(tone: int) -> Markup:
    if tone == 0:
        return Markup(' stroke-width="6.5" stroke-linecap="round"')
    return Markup(' fill="none" stroke-width="1.8"') if tone in _OPEN else Markup(' stroke-width="1"')


def _place(plot: Plot, made: Layout, x: float, y: float, shift: float) -> tuple[float, float]:
    a, b = made.along.at(x) + shift, made.across.at(y)
    return (b, a) if plot.lying else (a, b)


def _shift(plot: Plot, made: Layout, index: int) -> float:
    """Move the series of a category side by side, lines excepted."""
    if not plot.x.names or plot.series[index].kind == "line":
        return 0.0
    return made.slots * 1.6 * ((index + 0.5) / len(plot.series) - 0.5)


def _bar(plot: Plot, made: Layout, point: tuple[Point, float, float]) -> str:
    """Return the outline of a bar from its end to the axis, relative to the middle of its end."""
    base = made.across.start if plot.y.log else made.across.at(0.0)
    thick = min(made.slots * 1.6 / len(plot.series), 26.0) * 0.85 if plot.x.names else 6.0
    if plot.lying:
        return f"m0 {_n(-thick / 2)}v{_n(thick)}H{_n(base)}v{_n(-thick)}z"
    return f"m{_n(-thick / 2)} 0h{_n(thick)}V{_n(base)}h{_n(-thick)}z"


def _whisker(plot: Plot, made: Layout, point: Point, shift: float) -> str:
    limits = interval_of(point)
    if limits is None:
        return ""
    (ax, ay), (bx, by) = (_place(plot, made, point.x, _logged(plot, made, limit), shift) for limit in limits)
    if plot.lying:
        return f"M{_n(ax)} {_n(ay)}H{_n(bx)}m0-3v6M{_n(ax)} {_n(ay)}m0-3v6"
    return f"M{_n(ax)} {_n(ay)}V{_n(by)}m-3 0h6M{_n(ax)} {_n(ay)}m-3 0h6"


def _logged(plot: Plot, made: Layout, limit: float) -> float:
    return made.across.low if plot.y.log and limit <= 0 else limit


def _intervals(plot: Plot, made: Layout, found: list[tuple[Point, float, float] | None], shift: float) -> Iterator[Markup]:
    """Draw a band along each run of points that have intervals, and a whisker where one stands alone."""
    runs: list[list[Point]] = [[]]
    for point in found:
        if point is None or interval_of(point[0]) is None:
            runs.append([])
        else:
            runs[-1].append(point[0])
    for run in runs:
        if len(run) == 1:
            yield Markup('<path d="{}" fill="none" stroke-width="1.4"/>').format(_whisker(plot, made, run[0], shift))
        elif run:
            limits = [interval_of(point) or (math.nan, math.nan) for point in run]
            edge = [(p.x, low) for p, (low, _) in zip(run, limits, strict=True)]
            edge += [(p.x, high) for p, (_, high) in zip(reversed(run), reversed(limits), strict=True)]
            d = " ".join(f"{_n(a)} {_n(b)}" for a, b in (_place(plot, made, x, _logged(plot, made, v), shift) for x, v in edge))
            yield Markup('<path d="M{}z" stroke="none" fill-opacity=".16"/>').format(d)


def _n(value: float) -> str:
    """Write a coordinate with one decimal at most."""
    text = f"{value:.1f}"
    return "0" if text == "-0.0" else text.removesuffix(".0")
