"""Reports in which the counterpart of a published figure is set to any number, by the place where it is looked for."""

from __future__ import annotations

import copy
from typing import Any

from claims.published_figure import (
    KINDS,
    RUNG,
    Difference,
    InEvidence,
    InModel,
    InProtocol,
    InRow,
    Matching,
    Place,
    Published,
    SumOfFirst,
    With,
)
from reports.document import Document, from_contents
from tests.stand_ins import TEXT


class Altered:
    """A report of a stand-in, of which only rows on ``paper`` are kept, to be set figure by figure."""

    def __init__(self, made: dict[str, Any], name: str) -> None:
        self.contents, self.name = copy.deepcopy(made), name
        self.contents["rows"] = [row for row in self.contents["rows"] if row["rung"] == RUNG and row["value"] is not None]

    def set_all(self, figures: list[Published], other: dict[str, float]) -> Document:
        """Set the counterpart of every figure to what the paper has, or of some to another number; return the report, read."""
        # What is added to a baseline comes after the baseline.
        for figure in sorted(figures, key=lambda one: isinstance(one.measured, Difference)):
            if not isinstance(figure.measured, str):
                self._put(figure.measured, other.get(figure.ident, as_published(figure)))
        return from_contents("altered.json", self.contents)

    def _put(self, place: Place, value: float) -> None:
        if isinstance(place, Difference):
            assert isinstance(place.second, InEvidence)
            holder, key = self._holder(place.second)
            self._put(place.first, value + holder[key])
        elif isinstance(place, InRow):
            row = self._row(place)
            row.update(value=value, low=value, high=value)
        elif isinstance(place, InModel):
            self.contents["models"][self.name][place.field] = int(value)
        elif isinstance(place, InProtocol):
            at = self.contents["protocol"]
            for step in place.path[:-1]:
                at = at[step]
            at[place.path[-1]] = value
        elif isinstance(place.path[-1], SumOfFirst):
            self._put_sum(place, place.path[-1].count, value)
        else:
            holder, key = self._holder(place)
            holder[key] = value

    def _row(self, place: InRow) -> dict[str, Any]:
        (row,) = [row for row in self.contents["rows"] if (row["predicate"], row["block"]) == (place.predicate, place.block)]
        return row

    def _evidence(self, place: InEvidence) -> Any:
        return self.contents["evidence"][f"{self.name}/{TEXT}"][f"{place.predicate}/{RUNG}"]

    def _holder(self, place: InEvidence) -> tuple[Any, Any]:
        """What holds the number, and under which key."""
        top = at = self._evidence(place)
        for step in place.path[:-1]:
            at = next(part for part in at if part[step.field] == step.value) if isinstance(step, With) else at[step]
        last = place.path[-1]
        return at, top[last.names].index(last.value) if isinstance(last, Matching) else last

    def _put_sum(self, place: InEvidence, count: int, value: float) -> None:
        """Set the sum of the first numbers, leaving longer and shorter sums as they are."""
        (name, _) = place.path
        held = self._evidence(place)
        held[name] += [0.0] * (768 - len(held[name]))
        change = value - sum(held[name][:count])
        held[name][count - 1] += change
        held[name][count] -= change


def as_published(figure: Published) -> float:
    """A number that a figure of the paper is: the middle of a range; of a bound, one beyond it."""
    low, high = figure.ends
    return low + 0.01 * max(abs(low), 1) if figure.above else (low + high) / 2


def edges(figure: Published) -> dict[str, tuple[float, float]]:
    """Numbers just inside and just outside the tolerance, on each side that there is."""
    low, high = figure.ends
    if figure.above:
        return {"low": (low + 1e-6, low - 1e-6)}
    kind = KINDS[figure.kind]
    # As the protocol of the suite has it, and not as the kind computes it.
    off = [kind.tolerance * (abs(end) if kind.relative else 1.0) for end in (low, high)]
    little = 1e-6 * max(abs(high), 1.0)
    above = {"high": (high + off[1] - little, high + off[1] + little)}
    below = {"low": (low - off[0] + little, low - off[0] - little)}
    if not kind.tolerance:  # An exact figure has no inside; blocks above those of a model are refused before.
        return {"high": (high, high + 1)}
    return above | below
