"""What plots of one model on one text are drawn from: evidence by rung, read without trusting it, and words for what it shows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from claims import Bound
from harness.protocol import RUNGS
from reports.document import Document
from reports.ledger import Row
from reports.plot_values import Axis, Kind, Mark, Plot, Point, Series, drawn_points, figure, is_number

Value = float | None
Found = Mapping[str, Any]
BLOCK = Axis("block")
NATS, PERPLEXITY = "nats per position (log scale)", "perplexity (log scale)"


@dataclass(frozen=True)
class Subject:
    """A model and a text of a report."""

    document: Document
    model: str
    corpus: str

    @property
    def rows(self) -> list[Row]:
        """Its rows."""
        return self.document.of(self.model, self.corpus)

    def rungs(self, *predicates: str) -> dict[str, Found]:
        """Return what the tests of predicates handed over, by rung in the order of the ladder; on each the first that did."""
        evidence = mapping(self.document.evidence(self.model, self.corpus))
        found: dict[str, Found] = {}
        for predicate in predicates:
            for key, value in evidence.items():
                name, _, rung = str(key).partition("/")
                if name == predicate and mapping(value) and rung not in found:
                    found[rung] = value
        return {rung: found[rung] for rung in sorted(found, key=place)}

    def rows_of(self, predicate: str) -> list[Row]:
        """Return the rows of a predicate, by rung and block."""
        mine = [row for row in self.rows if row.cell.predicate == predicate]
        return sorted(mine, key=lambda row: (place(row.cell.rung), row.cell.block or 0))

    def bounds(self, *predicates: str) -> tuple[Mark, ...]:
        """Return the bounds of predicates as marks; with their rungs, where not all judged rungs have the same."""
        at: dict[tuple[float, str], list[str]] = {}
        rungs: list[str] = []
        for row in (row for predicate in predicates for row in self.rows_of(predicate)):
            if row.bound is not None and row.cell.rung in JUDGED:
                rungs += [row.cell.rung] * (row.cell.rung not in rungs)
                for mark in bound_marks(row.bound):
                    at.setdefault((mark.at, mark.label), []).append(row.cell.rung)
        return tuple(
            Mark("y", value, label if set(on) == set(rungs) else f"{label} ({', '.join(dict.fromkeys(on))})")
            for (value, label), on in at.items()
        )

    def plot(
        self,
        what: str,
        title: str,
        x: Axis,
        y: Axis,
        series: Iterable[Series],
        sentence: Sequence[str],
        marks: Iterable[Mark] = (),
        legend: str = "",
        lying: bool = False,
    ) -> Plot | None:
        """Return a plot, or None where no series has a point that can be drawn; series without one are left out."""
        plot = Plot(f"{what} {self.model} {self.corpus}", title, x, y, tuple(series), " ".join(sentence), tuple(marks), legend, lying)
        kept = tuple(one for one in plot.series if any(drawn_points(plot, one)))
        if not kept:
            return None
        said = plot.sentence or " ".join(filter(None, map(_between, kept)))
        return Plot(plot.name, title, x, y, kept, said, plot.marks, legend, lying)


JUDGED = tuple(rung.name for rung in RUNGS.values() if rung.judged)
_ORDER = list(RUNGS)


def place(rung: str) -> int:
    """Return where a rung stands on the ladder; one that is not known stands last."""
    return _ORDER.index(rung) if rung in RUNGS else len(_ORDER)


def bound_marks(bound: Bound) -> tuple[Mark, ...]:
    """Return the sides of a bound, in one mark where both are one number."""
    if isinstance(bound.holds, tuple) and isinstance(bound.falsified, tuple):
        pairs = zip(bound.holds, bound.falsified, ("from", "to"), ("below", "above"), strict=True)
        return tuple(
            mark
            for a, b, inner, outer in pairs
            for mark in (Mark("y", a, f"holds {inner} {a:g}"), Mark("y", b, f"falsified {outer} {b:g}"))
        )
    if isinstance(bound.holds, tuple) or isinstance(bound.falsified, tuple):
        return ()
    good, bad = bound.sides()
    if bound.holds == bound.falsified:
        return (Mark("y", bound.holds, f"holds {good}, falsified {bad}"),)
    return (Mark("y", bound.holds, f"holds {good}"), Mark("y", bound.falsified, f"falsified {bad}"))


def mapping(value: Any) -> Found:
    """Return a mapping, or an empty one in place of anything else."""
    return value if isinstance(value, Mapping) else {}


def text(value: Any, otherwise: str) -> str:
    """Return a text that is not empty, or another in place of anything else."""
    return value if isinstance(value, str) and value else otherwise


def num(value: Any) -> Value:
    """Return a finite number, or None in place of anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < 1e300 and math.isfinite(value) else None


def nums(value: Any) -> list[Value]:
    """Return the numbers of a list, None for what is none; an empty list in place of anything else."""
    return [num(part) for part in value] if isinstance(value, (list, tuple)) else []


def dicts(value: Any) -> list[Found]:
    """Return the mappings of a list."""
    return [part for part in value if isinstance(part, Mapping)] if isinstance(value, (list, tuple)) else []


def at_places(xs: Sequence[Value], ys: Sequence[Value]) -> tuple[Point, ...]:
    """Pair places with values, as far as both go."""
    return tuple(Point(x, y) for x, y in zip(xs, ys, strict=False) if x is not None)


def over_blocks(values: Sequence[Value]) -> tuple[Point, ...]:
    """Place values at block 0, 1, …."""
    return tuple(Point(float(block), value) for block, value in enumerate(values))


def row_point(x: float, row: Row) -> Point:
    """Place a row's figure with its interval."""
    return Point(x, num(row.value), num(row.low), num(row.high))


def known(series: Series) -> list[tuple[float, float]]:
    """Return the points that have a figure, by x."""
    return sorted((p.x, p.y) for p in series.points if p.y is not None and is_number(p.y) and is_number(p.x))


def by_rung(curves: Mapping[str, Sequence[Point]], kind: Kind = "line") -> tuple[Series, ...]:
    """Make one series a rung, each rung always in the same colour."""
    return tuple(Series(rung, tuple(points), kind, place(rung)) for rung, points in curves.items())


def course(series: Series, what: str, where: str = "block") -> str:
    """Say how a curve goes from its first to its last point, and where it is least and greatest."""
    points, said = known(series), f"{'On' if series.name in RUNGS else 'For'} {series.name}"
    if not points:
        return f"{said} there is no figure."
    (first, a), (last, b) = points[0], points[-1]
    if len(points) == 1:
        return f"{said}, {what} is {figure(a)} at {where} {first:g}."
    way = "rises" if b > a else "falls" if b < a else "goes"
    least, most = min(points, key=lambda p: p[1]), max(points, key=lambda p: p[1])
    between = [f"{word} {figure(p[1])} at {where} {p[0]:g}" for word, p in (("least", least), ("most", most)) if p[1] not in (a, b)]
    rest = f" ({', '.join(between)})" if between else ""
    return f"{said}, {what} {way} from {figure(a)} at {where} {first:g} to {figure(b)} at {where} {last:g}{rest}."


def _between(series: Series) -> str:
    """Say between which values the points of a series lie."""
    values = [value for _, value in known(series)]
    return f"Points of {series.name} lie between {figure(min(values))} and {figure(max(values))}." if values else ""


def compared(name: str, values: Mapping[str, Value], unit: str = "") -> str:
    """Say all values of a group, least first: ``On strict: map 37.2, skipped 383``."""
    some = sorted(((value, label) for label, value in values.items() if value is not None), key=lambda pair: pair[0])
    if not some:
        return f"On {name} there is no figure."
    return f"On {name}{unit}: {', '.join(f'{label} {figure(value)}' for value, label in some)}."


def extremes(name: str, values: Mapping[str, Value], what: str) -> str:
    """Say what is least and what is greatest of a group."""
    some = {label: value for label, value in values.items() if value is not None}
    if not some:
        return f"On {name} there is no figure."
    least, most = min(some, key=lambda k: some[k]), max(some, key=lambda k: some[k])
    if len(some) == 1:
        return f"On {name}, {what} is {figure(some[least])} for {least}."
    return f"On {name}, {what} is least for {least} ({figure(some[least])}) and most for {most} ({figure(some[most])})."


def spread_of(values: Sequence[Value]) -> tuple[float, float, float] | None:
    """Return mean, least and greatest of the numbers of a list."""
    some = [value for value in values if value is not None]
    return (math.fsum(some) / len(some), min(some), max(some)) if some else None


def range_text(blocks: Sequence[Value]) -> str:
    """Name a run of blocks: ``blocks 25 to 29``."""
    some = [block for block in blocks if block is not None]
    if not some:
        return "blocks"
    return f"blocks {some[0]:g} to {some[-1]:g}" if len(some) > 1 else f"block {some[0]:g}"


def bars_or_points(names: Sequence[str], values: Mapping[str, Mapping[str, Value]]) -> tuple[Series, ...]:
    """Make one series of points a rung over named categories."""
    return by_rung({rung: [Point(float(i), of.get(name)) for i, name in enumerate(names)] for rung, of in values.items()}, "points")
