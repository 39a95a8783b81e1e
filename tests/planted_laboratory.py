"""Laboratories of planted subjects, and the rows that a claim's own tests make of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from claims.claim import Measures
from fixtures.described import model_at
from fixtures.text_files import corpus_at
from harness.bench import Bench
from harness.laboratory import Laboratory
from harness.protocol import RUNGS, Protocol
from harness.store import Store
from harness.subject import Placement
from reports.judgement import judge
from reports.ledger import Cell, Row

JUDGED = [rung.name for rung in RUNGS.values() if rung.judged]


class Planted:
    """Makes laboratories by what is planted; each subject is saved and measured once. ``save(folder, **settings)`` writes it."""

    def __init__(self, folder: Path, text: Path, save: Callable[..., Path], subjects: dict[str, dict[str, Any]]) -> None:
        self.folder, self.text, self._save, self._subjects = folder, text, save, subjects
        self._made: dict[str, Laboratory] = {}

    def __call__(self, subject: str | dict[str, Any], **changes: Any) -> Laboratory:
        """Return the laboratory of a subject, by name or by what is planted, with changes."""
        settings = {**(self._subjects[subject] if isinstance(subject, str) else subject), **changes}
        key = repr(sorted(settings.items()))
        if key not in self._made:
            folder = self._save(self.folder / f"subject-{len(self._made)}", **settings)
            bench = Bench(Placement("cpu"), Protocol(), Store(None), lambda name: lambda done, total: None, long=True)
            self._made[key] = bench.laboratory(model_at(str(folder)), corpus_at(str(self.text)))
        return self._made[key]


def measured_in(claim: ModuleType) -> dict[str, Any]:
    """Return a claim's tests by predicate."""
    return {f.measures.predicate.name: f for f in vars(claim).values() if hasattr(f, "measures")}


def judged(tested: Any, lab: Laboratory, rung: str, block: int | None = None) -> Row:
    """Return the row that a claim's own test makes of a laboratory."""
    return judged_with_evidence(tested, lab, rung, block)[0]


def judged_with_evidence(tested: Any, lab: Laboratory, rung: str, block: int | None = None) -> tuple[Row, dict[str, Any]]:
    """Return the one row that a claim's own test makes of a laboratory, and the evidence that it hands over."""
    measures: Measures = tested.measures
    found: list[tuple[Row, dict[str, Any]]] = []

    def verdict(figure, doubts=(), caveats=(), note=None, absent="absent", evidence=None, everywhere=None):  # type: ignore[no-untyped-def]
        cell = Cell(lab.model.name, lab.corpus.name, measures.claim.key, measures.predicate.name, rung, block)
        row = judge(cell, measures, lab.model.n_blocks, figure, doubts, caveats, note, lab, absent, everywhere)
        found.append((row, evidence or {}))

    tested(**({} if block is None else {"block": block}), rung=rung, lab=lab, verdict=verdict)
    assert len(found) == 1, f"{measures.predicate.name} on {rung} was judged {len(found)} times"
    return found[0]


def table(truths: dict[str, dict[str, str]]) -> list[tuple[str, str, str, str]]:
    """Return (predicate, rung, subject, verdict) of every judged rung for predicate → verdict → subject."""
    return [(name, rung, subject, verdict) for name, sides in truths.items() for rung in JUDGED for verdict, subject in sides.items()]
