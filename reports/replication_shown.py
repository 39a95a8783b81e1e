"""Published figures beside measured ones, as a reader sees them: the cells of a table, the block of a claim, the line of a run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from claims.inconsistencies import HEADING, Inconsistency, inconsistencies_of
from claims.published_figure import KINDS, RUNG
from reports.document import Document
from reports.ledger import number
from reports.replication import Replicated, replicated, subjects_of, tally

COLUMNS = ("figure", "where", "paper", "measured", "difference", "tolerance", "within", "remarks")
NUMBERS = (2, 3, 4, 5)
"""Columns that are set to the right."""
_CORPUS = "WikiText-2"


@dataclass(frozen=True)
class Part:
    """What the figures of one claim are, for a block of a page: rows of :data:`COLUMNS`, and what does not add up in the paper."""

    rows: tuple[tuple[str, ...], ...]
    within: int
    of: int
    inconsistencies: tuple[Inconsistency, ...]
    heading: str = HEADING


def part_of(lines: Sequence[Replicated], model: str, claim: int | Literal["appendix"]) -> Part | None:
    """Return the block of a claim, None where the paper has nothing of it for this model."""
    mine = [line for line in lines if line.figure.claim == claim]
    against = tuple(one for one in inconsistencies_of(model) if one.claim == claim)
    return Part(tuple(map(cells, mine)), *tally(mine), against) if mine or against else None


def cells(line: Replicated) -> tuple[str, ...]:
    """Return the cells of a figure under :data:`COLUMNS`."""
    figure = line.figure
    within = "–" if line.within is None else "yes" if line.within else "no"
    tolerance = figure.tolerance if line.within is not None else "–"
    return figure.what, figure.where, _published(line), _measured(line), _difference(line), tolerance, within, line.why or figure.differs


def _published(line: Replicated) -> str:
    low, high = line.figure.ends
    if line.figure.above:
        return f"> {_given(low)}"
    return _given(low) if low == high else f"{_given(low)}–{_given(high)}"


def _given(value: float) -> str:
    """Write a number as the paper has it, with no digit that it does not have."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def _measured(line: Replicated) -> str:
    if line.measured is None:
        return "–"
    if line.measured == int(line.measured) and abs(line.measured) < 1e9:
        value = f"{line.measured:,.0f}".replace("-", "−")
    else:
        value = number(line.measured)
    return value if line.low is None or line.high is None else f"{value} [{number(line.low)}, {number(line.high)}]"


def _difference(line: Replicated) -> str:
    """Write how far a figure is off, in the terms of its tolerance: of the published figure, in points, or as it is."""
    off, kind = line.difference, KINDS[line.figure.kind]
    if off is None:
        return "–"
    if off == 0:
        return "0"
    end = line.figure.ends[0] if off < 0 else line.figure.ends[1]
    sign = "+" if off > 0 else ""
    if kind.relative and not line.figure.above:
        percent = 100 * off / end
        return f"{sign}{number(percent)}%" if abs(percent) < 10 else f"{sign}{percent:,.0f}%".replace("-", "−")
    return f"{sign}{number(100 * off)} points" if kind.name == "share" else f"{sign}{number(off)}"


def counted(lines: Sequence[Replicated]) -> str:
    """Say how many figures are within tolerance, and how many have no counterpart."""
    within, of = tally(lines)
    kinds = [line for line in lines if KINDS[line.figure.kind].counted]
    return f"{within} of {of} figures within tolerance, {len(kinds) - of} without a counterpart"


def on_text(document: Document, corpus: str) -> str:
    """Say on which text, and on which the paper's figures are: a figure of another text replicates nothing."""
    edition = (document.contents.get("corpora", {}).get(corpus) or {}).get("edition")
    return f"on {corpus}{f' ({edition})' if edition else ''}, rung {RUNG}; the paper's text is {_CORPUS}"


def lines_of_run(document: Document, file: str) -> list[str]:
    """Return a line for each model of the paper, for the end of a run; none where nothing has a counterpart."""
    found = []
    for model, corpus in subjects_of(document):
        within, of = tally(replicated(document, model, corpus))
        if of:
            where = f"{model} on {corpus}; the paper's text is {_CORPUS}"
            found.append(
                f"replication: {within} of {of} figures within tolerance ({where}); python -m reports replication {shlex.quote(file)}"
            )
    return found
