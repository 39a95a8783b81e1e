"""What the figures of a claim rest on, as text: the sections that a terminal shows, each told which predicates it is of."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from rich.console import Console

from reports.evidence import sections
from reports.page_subjects import Subject
from reports.transfer_evidence import print_transfer
from reports.variance_evidence import print_dimensions

_WIDTH = 140
_DIMENSIONS = ("dimensions_90", "dimensions_95", "dimensions_99")
_UNREADABLE = (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError, ZeroDivisionError)
"""What the printing of evidence raises that a file has in another form than this version writes."""


@dataclass(frozen=True)
class Section:
    """A section: the predicates whose evidence it shows, its first line, and the lines below."""

    predicates: tuple[str, ...]
    heading: str
    text: str


def sections_of(subject: Subject) -> list[Section]:
    """Return the sections of a model on a text, in the order of the terminal.

    Evidence that a file has in another form becomes a section that says so: the verdicts stand without it.
    """
    found = []
    for predicates, show in _sources(subject):
        text = io.StringIO()
        try:
            show(Console(file=text, width=_WIDTH, highlight=False, markup=False, emoji=False, no_color=True))
        except _UNREADABLE:
            found.append(Section(predicates, "Evidence that cannot be shown", "The file has it in another form than this version reads."))
            continue
        # A section may print several, each after an empty line.
        for part in f"\n{text.getvalue().strip()}".split("\n\n"):
            heading, _, below = part.strip("\n").partition("\n")
            if heading:
                found.append(Section(predicates, heading.strip(), "\n".join(line.rstrip() for line in below.splitlines())))
    return found


def _sources(subject: Subject) -> Iterator[tuple[tuple[str, ...], Callable[[Console], None]]]:
    """Everything that prints a section."""
    yield _DIMENSIONS, lambda console: print_dimensions(console, subject.rows)
    yield from sections(subject.document.evidence(subject.model, subject.corpus))
    yield ("transfer",), partial(print_transfer, model=subject.model, evidence=subject.document.contents.get("evidence", {}))
