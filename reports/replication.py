"""Published figures beside measured ones: what a report holds of a model of the paper, figure by figure. Pure; reads no file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from claims.published import COMPARED, figures_of
from claims.published_figure import (
    KINDS,
    RUNG,
    InEvidence,
    InModel,
    InProtocol,
    InRow,
    Place,
    Published,
    Step,
    SumOfFirst,
    With,
)
from fixtures import MODELS, Hub
from harness.errors import LongWorkError
from reports.document import Document
from reports.ledger import Row


@dataclass(frozen=True)
class Replicated:
    """A published figure and its counterpart. ``measured`` is None where there is none, ``why`` then says why.

    ``low``, ``high``: the interval, where the counterpart is the figure of a row that has one.
    """

    figure: Published
    measured: float | None = None
    low: float | None = None
    high: float | None = None
    why: str = ""

    @property
    def within(self) -> bool | None:
        """Whether it is within tolerance; None where nothing is measured."""
        return None if self.measured is None else self.figure.within(self.measured)

    @property
    def difference(self) -> float | None:
        """Measured minus published; for a range, from its nearer end."""
        return None if self.measured is None else self.figure.difference(self.measured)

    @property
    def counts(self) -> bool:
        """Whether it counts as a figure that is replicated or not: what was chosen does not."""
        return self.measured is not None and KINDS[self.figure.kind].counted


class _AbsentError(Exception):
    """There is no such figure in a report; says why."""


def is_of_the_paper(name: str, source: object) -> bool:
    """Whether a model of a report is one of which a figure of the paper can be compared: by its registered name and its repository.

    A folder of that name is not taken for it, nor is another model that was registered under it.
    """
    if name not in COMPARED or name not in MODELS:
        return False
    registered = MODELS[name].source
    return isinstance(registered, Hub) and isinstance(source, str) and source.startswith(f"{registered.repo} at ")


def subjects_of(document: Document) -> list[tuple[str, str]]:
    """Return the models of the paper in a report, with the texts they were measured on."""
    models = document.contents.get("models", {})
    return [(model, corpus) for model, corpus in document.pairs if is_of_the_paper(model, (models.get(model) or {}).get("source"))]


def replicated(document: Document, model: str, corpus: str) -> list[Replicated]:
    """Return every published figure of a model beside what a report has measured of it on a text, in the order of the claims."""
    reading = _Reading(document, model, corpus)
    return [reading.of(figure) for figure in figures_of(model)]


def tally(lines: Sequence[Replicated]) -> tuple[int, int]:
    """Count figures within tolerance, and figures that have a counterpart."""
    counted = [line for line in lines if line.counts]
    return sum(bool(line.within) for line in counted), len(counted)


class _Reading:
    """A report, asked for places."""

    def __init__(self, document: Document, model: str, corpus: str) -> None:
        self._rows: dict[tuple[str, int | None], Row] = {
            (row.cell.predicate, row.cell.block): row for row in document.of(model, corpus) if row.cell.rung == RUNG
        }
        self._evidence = document.evidence(model, corpus)
        self._model = document.contents.get("models", {}).get(model)
        self._protocol = document.contents.get("protocol")

    def of(self, figure: Published) -> Replicated:
        """Return a figure with its counterpart, or why there is none."""
        if isinstance(figure.measured, str):
            return Replicated(figure, why=f"not measured: {figure.measured}")
        try:
            measured = self._at(figure.measured)
        except _AbsentError as absent:
            return Replicated(figure, why=f"not in this report: {absent}")
        row = self._rows[figure.measured.predicate, figure.measured.block] if isinstance(figure.measured, InRow) else None
        return Replicated(figure, measured, *((row.low, row.high) if row else (None, None)))

    def _at(self, place: Place) -> float:
        if isinstance(place, InRow):
            return _number(self._row(place.predicate, place.block).value, place.predicate)
        if isinstance(place, InEvidence):
            return self._in_evidence(place)
        if isinstance(place, InModel):
            return _number(_inside(self._model, (place.field,), self._model), place.field)
        if isinstance(place, InProtocol):
            return _number(_inside(self._protocol, place.path, self._protocol), str(place.path[-1]))
        return self._at(place.first) - self._at(place.second)

    def _row(self, predicate: str, block: int | None) -> Row:
        row = self._rows.get((predicate, block))
        if row is None:
            raise _AbsentError(f"no row of {predicate}{'' if block is None else f' at block {block}'}")
        if row.quick:
            raise _AbsentError("measured at quarter sizes (--quick)")
        if row.value is None:
            raise _AbsentError(_told(row))
        return row

    def _in_evidence(self, place: InEvidence) -> float:
        predicate = place.predicate
        mine = [row for (name, _), row in self._rows.items() if name == predicate]
        if any(row.quick for row in mine):
            raise _AbsentError("measured at quarter sizes (--quick)")
        held = self._evidence.get(f"{predicate}/{RUNG}")
        if held is None:
            # A row without a figure says why; one with a figure is of a report that is kept without evidence.
            without = next((row for row in mine if row.value is None), None)
            raise _AbsentError(_told(without) if without else f"it keeps no evidence of {predicate}" if mine else f"no row of {predicate}")
        return _number(_inside(held, place.path, held), predicate)


def _told(row: Row) -> str:
    """Say why a row has no figure."""
    reason = row.reason or "no reason given"
    if reason == LongWorkError.REASON:
        return f"{row.cell.predicate} takes --long"
    return f"{row.cell.predicate} is {row.verdict.word} ({reason})"


def _number(found: object, where: str) -> float:
    try:
        if isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found):
            return float(found)
    except OverflowError:  # A whole number beyond all floats.
        pass
    raise _AbsentError(f"no number where {where} has one")


def _inside(found: Any, path: Sequence[Step], top: Any) -> Any:
    """Follow a path; what it does not find, or finds in another form, is absent."""
    for step in path:
        found = _step(found, step, top)
    return found


def _step(found: Any, step: Step, top: Any) -> Any:
    if isinstance(step, str):
        if isinstance(found, Mapping) and step in found:
            return found[step]
        raise _AbsentError(f"no '{step}' where there should be one")
    if not isinstance(found, list) or not found:
        raise _AbsentError("no list where there should be one")
    if isinstance(step, With):
        chosen = [part for part in found if isinstance(part, Mapping) and part.get(step.field) == step.value]
        if len(chosen) == 1:
            return chosen[0]
        raise _AbsentError(f"no {step.field} of {step.value:g}")
    if isinstance(step, SumOfFirst):
        return math.fsum(_number(part, "a list of numbers") for part in found[: step.count])
    if isinstance(step, int):
        place = step
    else:
        values = top.get(step.names) if isinstance(top, Mapping) else None
        if not isinstance(values, list) or step.value not in values:
            raise _AbsentError(f"no {step.names} of {step.value:g}")
        place = values.index(step.value)
    if not 0 <= place < len(found):
        raise _AbsentError(f"a list of {len(found)} where there should be more")
    return found[place]
