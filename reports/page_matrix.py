"""The first thing on a page: claims × models, each cell with its verdicts and what decided them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from claims import Verdict
from claims.claim import JUDGED
from reports.ledger import ClaimVerdict, Row
from reports.page_stability import sweep_of
from reports.page_subjects import Heading, Subject, ran
from reports.stability import Stability

MOST_COLUMNS = 4
"""With more models on texts than that, they are the rows: columns would be too narrow to say what decided a verdict."""


@dataclass(frozen=True)
class MatrixCell:
    """A claim on a subject. ``measured`` of ``predicates`` have an outcome."""

    subject: Subject
    heading: Heading
    verdicts: tuple[ClaimVerdict, ...]
    measured: int
    predicates: int

    @property
    def link(self) -> str:
        """The fragment that opens it."""
        return f"{self.subject.link}/{self.heading.marker}"

    def badge(self, verdict: ClaimVerdict) -> Verdict | None:
        """Return the verdict to show: of a claim that no core predicate can judge UNTESTED where nothing ran there, else none."""
        rows = self._rows(verdict.rung)
        if verdict.verdict is not Verdict.MEASURED or any(row.core for row in rows):
            return verdict.verdict
        return None if any(ran(row) for row in rows) else Verdict.UNTESTED

    def stable(self, verdict: ClaimVerdict) -> Stability | None:
        """Return in how many settings of a sweep a verdict stands; None where none says something of it."""
        found = sweep_of(self.subject).of_claim(verdict, self.subject.rows)
        return found if found and found.counted else None

    def because(self, verdict: ClaimVerdict) -> str:
        """Say what a verdict rests on; of a claim without core predicates, what became of those it has on that rung."""
        if verdict.verdict is not Verdict.MEASURED:
            return because(verdict)
        found = Counter(row.verdict for row in self._rows(verdict.rung))
        return ", ".join(f"{found[v]} {v.word.lower()}" for v in Verdict if found[v])

    def found(self) -> list[Verdict]:
        """Return, for the filter, the verdicts on the claim and on all its predicates on judged rungs."""
        shown = {self.badge(c) for c in self.verdicts} | {row.verdict for rung in JUDGED for row in self._rows(rung)}
        return [verdict for verdict in Verdict if verdict in shown]

    @cached_property
    def _last_rows(self) -> dict[str, list[Row]]:
        """The rows of the claim by rung; of a predicate with one for each block that of the last, which alone has a bound."""
        by_rung: dict[str, list[Row]] = {}
        for row in self.subject.rows:
            if row.cell.claim == self.heading.key and row.cell.block in (None, self.subject.n_blocks - 1):
                by_rung.setdefault(row.cell.rung, []).append(row)
        return by_rung

    def _rows(self, rung: str) -> list[Row]:
        return self._last_rows.get(rung, [])


def because(verdict: ClaimVerdict) -> str:
    """Say in a few words what a verdict rests on."""
    names = ", ".join(verdict.decided_by)
    if verdict.verdict is Verdict.UNTESTED:
        return f"{len(verdict.decided_by)} core predicates not run" if len(verdict.decided_by) != 1 else f"{names} not run"
    if verdict.verdict is Verdict.HOLDS:
        return f"all {len(verdict.decided_by)} core predicates hold" if len(verdict.decided_by) > 1 else f"{names} holds"
    lead = {Verdict.FALSIFIED: "by", Verdict.INCONCLUSIVE: "undecided:", Verdict.ERROR: "not measured:"}.get(verdict.verdict, "")
    return f"{lead} {names}".strip() if names else ""


def cell_of(subject: Subject, heading: Heading) -> MatrixCell | None:
    """Return the cell, None where the file says nothing of the claim."""
    mine = [row for row in subject.rows if row.cell.claim == heading.key]
    verdicts = tuple(subject.verdicts.get(heading.key, ()))
    if not mine and not verdicts:
        return None
    outcome = {row.cell.predicate for row in mine if ran(row)}
    return MatrixCell(subject, heading, verdicts, len(outcome), len({row.cell.predicate for row in mine}))


@dataclass(frozen=True)
class Matrix:
    """All cells, by (subject, claim); ``turned``: whether the subjects are the rows."""

    subjects: Sequence[Subject]
    headings: Sequence[Heading]
    cells: dict[tuple[int, str], MatrixCell]

    @property
    def turned(self) -> bool:
        """Whether there are more subjects than columns can be."""
        return len(self.subjects) > MOST_COLUMNS

    def verdicts(self) -> list[Verdict]:
        """Return the verdicts that occur, in the order of the words' definition."""
        found = {verdict for cell in self.cells.values() for verdict in cell.found()}
        return [verdict for verdict in Verdict if verdict in found]


def matrix_of(subjects: Sequence[Subject], headings: Sequence[Heading]) -> Matrix:
    """Return the matrix of all claims and subjects."""
    made = {(s.number, h.marker): cell_of(s, h) for s in subjects for h in headings}
    return Matrix(subjects, headings, {key: cell for key, cell in made.items() if cell is not None})
