"""Writing a baseline from a report, and amending one: what is taken over, and that nothing is forgotten."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from fixtures.naming import did_you_mean, printable
from reports.baseline import FIGURE, KEPT, VERSION, Baseline, Entry, Subject, ident_of, rounded, setup_name
from reports.baseline_check import Comparison, Outcome, compare
from reports.baseline_subjects import key_for
from reports.document import Document, ReportError
from reports.pairing import Pair
from reports.schema import BoundPart
from reports.setups import setup_of


@dataclass
class Draft:
    """A baseline in the making. ``changes``: what was done, a line each."""

    document: Document
    reason: str
    today: str
    subjects: dict[str, Subject]
    setups: dict[str, dict[str, str]]
    keys: dict[Pair, str]
    changes: list[str] = field(default_factory=list)

    def take(self, outcome: Outcome) -> None:
        """Enter a verdict of the report; what stood before goes into its history."""
        pair, table, entry = _pair(outcome), _table(outcome), self._entry(outcome)
        if pair not in self.keys:
            self.keys[pair] = key_for(self.subjects, pair, self.document.pairs)
        key = self.keys[pair]
        ident = ident_of(key, outcome.row.cell) if outcome.row else outcome.ident
        subject = self.subjects.get(key) or Subject(model=pair[0], corpus=pair[1])
        kept: dict[str, Entry] = getattr(subject, table)
        before = kept.get(ident) or subject.removed.get(ident)
        entries = {**kept, ident: before.succeeded_by(entry) if before else entry}
        removed = {name: e for name, e in subject.removed.items() if name != ident}
        names = {"model": pair[0], "corpus": pair[1]}
        self.subjects[key] = subject.model_copy(update={**names, table: entries, "removed": removed})
        self.changes.append(f"{ident}: {f'{kept[ident].judged.word} → ' if ident in kept else 'new, '}{entry.judged.word}")

    def remove(self, outcome: Outcome) -> None:
        """Take an entry out, and remember it with the reason."""
        subject, entry, table = self.subjects[outcome.key], outcome.entry, _table(outcome)
        assert entry is not None
        kept = {name: e for name, e in getattr(subject, table).items() if name != outcome.ident}
        gone = entry.succeeded_by(entry.model_copy(update={"reason": self.reason, "since": self.today}))
        self.subjects[outcome.key] = subject.model_copy(update={table: kept, "removed": {**subject.removed, outcome.ident: gone}})
        self.changes.append(f"{outcome.ident}: {entry.judged.word} → taken out")

    def _entry(self, outcome: Outcome) -> Entry:
        setup = setup_of(self.document, *_pair(outcome))
        name = setup_name(setup)
        self.setups[name] = setup
        row, fields = outcome.row, {"verdict": str(outcome.now), "reason": self.reason, "since": self.today, "setup": name}
        figure = {part: rounded(getattr(row, part)) for part in FIGURE} if row else {}
        bound = BoundPart(**row.bound.__dict__) if row and row.bound else None
        return Entry.model_validate({**fields, **figure, "bound": bound})

    def finished(self) -> Baseline:
        """Return the baseline."""
        return Baseline(baseline=VERSION, subjects=self.subjects, setups=self.setups)


def new(document: Document, reason: str, today: str) -> Baseline:
    """Make a baseline of all verdicts of a report. Raises ReportError for one that has none."""
    draft = Draft(document, reason, today, {}, {}, {})
    for outcome in compare(draft.finished(), document).of("new"):
        draft.take(outcome)
    if not draft.changes:
        raise ReportError(f"{document.name}: no verdict in it that could be kept")
    return draft.finished()


def amended(baseline: Baseline, document: Document, only: Sequence[str], reason: str, today: str) -> tuple[Baseline, list[str]]:
    """Take over what changed: verdicts that flipped, those that are new, and out go ids that match nothing. Returns also what was done.

    A model or text that the report does not have keeps its entries: the report says nothing of them. With ``only``, patterns of ids or of
    ``model/corpus``, exactly what these name, whether it changed or not; a verdict that could not be measured is then taken out, and so is
    a whole ``model/corpus`` that the report does not have. A claim's verdict follows its cells, when none of its core cells is left that
    flipped; it goes where too few were selected to give one. Raises ReportError for a pattern that names nothing which the report has
    measured.
    """
    comparison = compare(baseline, document)
    draft = Draft(document, reason, today, dict(baseline.subjects), dict(baseline.setups), dict(comparison.matches.keys))
    absent = comparison.matches.absent
    taken = _named(comparison, only) if only else [o for o in comparison.of("flipped", "new", "gone") if o.key not in absent]
    cells = [outcome for outcome in taken if not outcome.of_claim]
    left = [o for o in comparison.of("flipped") if not o.of_claim and o not in cells]
    flipped = [outcome for outcome in cells if outcome.kind == "flipped"]
    claims = [outcome for outcome in comparison.of("flipped", "new", "left out") if outcome.of_claim and outcome not in taken]
    follow = [claim for claim in claims if _follows(claim, flipped if claim.kind == "left out" else cells, left)]
    for outcome in (*taken, *follow):
        if outcome.kind in ("gone", "lost", "left out") or outcome.now not in KEPT:
            draft.remove(outcome)
        else:
            draft.take(outcome)
    return draft.finished(), draft.changes


def _named(comparison: Comparison, only: Sequence[str]) -> list[Outcome]:
    """The outcomes that patterns name, by id, by the id of a test, by claim, or by model and text."""
    found: list[Outcome] = []
    absent = comparison.matches.absent
    for pattern in only:
        # A pattern like '*' names all that was measured: what is to go unmeasured has to be named as such.
        whole = [key for key in absent if "/" in pattern and fnmatchcase(key, pattern)]
        found += [o for o in comparison.outcomes if o.key in whole and o not in found]
        here = [o for o in comparison.outcomes if any(fnmatchcase(name, pattern) for name in _names(o)) and o.key not in whole]
        if whole and not here:
            continue
        if not here:
            known = [name for o in comparison.outcomes for name in _names(o)]
            raise ReportError(
                f"--only {printable(pattern)}: names nothing in the baseline or the report{printable(did_you_mean(pattern, known))}"
            )
        measured = [o for o in here if o.kind != "left out" and o.key not in absent]
        if not measured:
            out = f", or take out all of it: --only {shlex.quote(here[0].key)}" if here[0].key in absent else ""
            raise ReportError(f"--only {printable(pattern)}: the report has not measured it; measure it first{printable(out)}")
        found += [o for o in measured if o not in found]
    return found


def _names(outcome: Outcome) -> list[str]:
    if outcome.of_claim:
        return [outcome.ident, f"{outcome.ident} · {outcome.key}", outcome.key]
    return [outcome.ident, outcome.key, *([outcome.row.cell.ident] if outcome.row else [])]


def _follows(claim: Outcome, taken: list[Outcome], left: list[Outcome]) -> bool:
    """Whether a claim's verdict is accepted with its cells: some of them are taken over, and no core cell of it is left."""

    def of_it(cells: list[Outcome]) -> bool:
        mine = [o.row for o in cells if o.row and o.key == claim.key and o.row.core]
        return any(claim.claim and (row.cell.claim, row.cell.rung) == (claim.claim.claim, claim.claim.rung) for row in mine)

    return of_it(taken) and not of_it(left)


def _table(outcome: Outcome) -> str:
    return "claims" if outcome.of_claim else "cells"


def _pair(outcome: Outcome) -> Pair:
    of = outcome.row.cell if outcome.row else outcome.claim
    assert of is not None
    return of.model, of.corpus
