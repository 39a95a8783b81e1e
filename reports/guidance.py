"""What the verdicts of a report mean for compressing a model: advice where a claim holds on ``strict``, and why there is none elsewhere.

Advice is worth what the strictest rung makes of its claim. A claim that is not shown to hold gives none, and none of the opposite
either: a falsified claim says that one statement failed on these weights and this text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from claims import CLAIMS, Verdict
from harness.errors import LongWorkError
from reports.document import Document
from reports.ladders import declared, moves, sentence
from reports.ledger import UNRUN, ClaimVerdict, Row, figure_text, judge_claim
from reports.recommendations import RECOMMENDATIONS, Premise, Recommendation

_STRICT = "strict"


@dataclass(frozen=True)
class Advice:
    """Advice on compressing a model, or that there is none. ``because``: the verdict it follows from; all are plain text."""

    title: str
    text: str
    given: bool
    because: str
    claim: int | str


def advice(document: Document, model: str, corpus: str) -> list[Advice]:
    """Return one piece for each claim, in their order, from what was measured on ``strict`` of a model on a text."""
    return [_Reading(document, model, corpus, one).advice() for one in RECOMMENDATIONS]


class _Reading:
    """One recommendation, read against the rows of a model on a text."""

    def __init__(self, document: Document, model: str, corpus: str, recommendation: Recommendation) -> None:
        self._document, self._model, self._corpus, self._advised = document, model, corpus, recommendation
        self._blocks = document.pairs[model, corpus]
        here = [row for row in document.of(model, corpus) if row.cell.block in (None, self._blocks - 1)]
        self._strict = {row.cell.predicate: row for row in here if row.cell.rung == _STRICT}
        self._own = [row for row in here if row.cell.claim == recommendation.claim]
        self._core = [row for row in self._own if row.core and row.cell.rung == _STRICT]
        self._told: set[str] = set()

    def advice(self) -> Advice:
        """Give the advice, or say why not."""
        one, verdict = self._advised, self._verdict(_STRICT)
        word = f"claim {one.claim} ({self._title()}) is {verdict.verdict.word} on strict"
        because = f"{word}: {', '.join(verdict.decided_by)}" if verdict.decided_by else word
        if verdict.verdict is Verdict.HOLDS and judge_claim(self._core)[0] is not Verdict.HOLDS:
            return self._none(f"the file says that {word}, but its rows do not", "It may have been changed by hand: measure it again.")
        if verdict.verdict is not Verdict.HOLDS:
            return self._none(word, self._why(verdict))
        if fatal := [p for p in one.premises if p.fatal and self._of(p) is Verdict.FALSIFIED]:
            failed = "; ".join(f"{p.says[Verdict.FALSIFIED]} ({p.predicate} {self._bounded(self._strict[p.predicate])})" for p in fatal)
            why = f"Although the claim holds, the step from it to advice fails where it was measured: {failed}."
            return self._none(f"{because}; but FALSIFIED: {', '.join(p.predicate for p in fatal)}", f"{why} {one.opposite}")
        parts = [one.text, self._figures("Measured on strict"), *self._limits(), one.scope, self._where()]
        return Advice(one.title, " ".join(filter(None, parts)), True, because, one.claim)

    def _none(self, because: str, why: str) -> Advice:
        one = self._advised
        start = f"This report gives no such advice for this model: {because}."
        figures = self._figures("Measured on strict all the same")
        where = self._where() if figures or self._told else ""
        parts = [start, why, self._on_paper(), figures, where]
        return Advice(f"No advice on {one.topic}", " ".join(filter(None, parts)), False, because, one.claim)

    def _why(self, verdict: ClaimVerdict) -> str:
        """Say what stands between a claim's verdict and HOLDS."""
        rows = [row for row in self._core if row.cell.predicate in verdict.decided_by]
        self._told |= {row.cell.predicate for row in rows if row.value is not None}
        if verdict.verdict is Verdict.FALSIFIED:
            caveats = dict.fromkeys(caveat for row in rows for caveat in row.caveats)
            return f"{_sentence('Falsified', map(self._reading, rows))}{_sentence('Caveats', caveats)}{self._advised.opposite}"
        if any(row.quick for row in self._core):
            return "The run was made with --quick, which measures at quarter sizes and judges nothing: run it without."
        if verdict.verdict is Verdict.UNTESTED:
            return self._to_run(rows)
        if verdict.verdict is Verdict.ERROR:
            failed = dict.fromkeys(f"{row.cell.predicate}: {row.reason or 'no reason given'}" for row in rows)
            return f"Could not be measured: {_listed(failed)}."
        if verdict.verdict is Verdict.INCONCLUSIVE and rows and all(row.verdict is Verdict.NOT_APPLICABLE for row in rows):
            reasons = dict.fromkeys(f"{row.cell.predicate}: {row.reason or 'not applicable'}" for row in rows)
            return f"The model cannot express it: {_listed(reasons)}."
        if verdict.verdict is Verdict.INCONCLUSIVE:
            return _sentence("Undecided", (f"{self._reading(row)}{_doubt(row)}" for row in rows)).strip()
        if verdict.verdict is Verdict.NOT_APPLICABLE:
            return "The model cannot express it."
        return "Its core predicates were measured without being judged."

    def _to_run(self, rows: list[Row]) -> str:
        """Say what has to be run, or why running does not help."""
        names = ", ".join(row.cell.predicate for row in rows) or "its core predicates"
        reasons = list(dict.fromkeys(row.reason for row in rows if row.reason))
        if others := [reason for reason in reasons if reason not in UNRUN]:
            return f"Not measured: {names} ({_listed(others)})."
        long = " --long, best on a GPU," if LongWorkError.REASON in reasons else ""
        command = f'pytest claims -m "claim{self._advised.claim} and strict"'
        return f"Not measured: {names}. Run {command}{long} with the same model and text."

    def _on_paper(self) -> str:
        """Say what the claim is on ``paper``, and which control took it away where it holds there."""
        paper, strict = self._verdict("paper"), self._verdict(_STRICT)
        if paper.verdict in (Verdict.UNTESTED, Verdict.MEASURED, strict.verdict):
            return ""
        if paper.verdict is not Verdict.HOLDS:
            return f"On paper it is {paper.verdict.word}."
        key = self._advised.claim
        ladders = {name: sentence(self._own, self._blocks, key, name) for name in strict.decided_by}
        moved = _listed(f"{name}: {said}" for name, said in ladders.items() if said and moves(said))
        return f"On paper, without the controls, it holds{f' ({moved})' if moved else ''}."

    def _limits(self) -> list[str]:
        """Say what the advice lacks: premises that fail or are not known, core predicates the model cannot express, caveats."""
        said, unknown = [], []
        for premise in self._advised.premises:
            verdict, row = self._of(premise), self._strict.get(premise.predicate)
            if row and verdict in premise.says:
                said.append(f"{premise.says[verdict]} ({premise.predicate} {self._bounded(row)})")
            elif premise.unknown and verdict is Verdict.INCONCLUSIVE and row:
                unknown.append(f"{premise.unknown} (undecided: {premise.predicate} {self._bounded(row)})")
            elif premise.unknown and (row is None or row.value is None):
                unknown.append(f"{premise.unknown} (not measured: {premise.predicate})")
        limits = [f"Limits: {_listed(said)}."] if said else []
        limits += [f"Not known here: {_listed(unknown)}."] if unknown else []
        missing = [f"{row.cell.predicate} ({row.reason})" for row in self._core if row.verdict is Verdict.NOT_APPLICABLE]
        limits += [f"The claim holds without what this model cannot express: {_listed(missing)}."] if missing else []
        for other, told in self._advised.leans_on.items():
            found = self._verdict(_STRICT, other).verdict
            limits += [] if found is Verdict.HOLDS else [f"{told} ({found.word})."]
        caveats = list(dict.fromkeys(caveat for row in self._core for caveat in row.caveats))
        return [*limits, _sentence("Caveats", caveats).strip()]

    def _figures(self, label: str) -> str:
        """List the figures on ``strict`` that are there and were not told yet, each with its interval."""
        rows = [(meaning, self._strict.get(name)) for name, meaning in self._advised.figures.items() if name not in self._told]
        told = [f"{meaning}: {figure_text(row)}" for meaning, row in rows if row is not None and row.value is not None]
        return f"{label}. {_listed(told)[:1].upper()}{_listed(told)[1:]}." if told else ""

    def _where(self) -> str:
        """Say on which text alone it was measured, what other texts of the report say, and whether bounds are as they were locked."""
        others = [(corpus, self._verdict(_STRICT, corpus=corpus).verdict) for model, corpus in self._document.pairs if model == self._model]
        told = [f"{corpus} {verdict.word}" for corpus, verdict in others if corpus != self._corpus and verdict is not Verdict.UNTESTED]
        beside = f"; on other texts of this report the claim is {_listed(told, ', ')}" if told else "; other texts and languages may differ"
        bounds = self._document.contents.get("bounds") or {}
        changed = " The bounds are not those that were locked before any model was measured." if bounds.get("locked") is False else ""
        return f"Measured on one text, {self._corpus}{beside}.{changed}"

    def _verdict(self, rung: str, claim: int | None = None, corpus: str | None = None) -> ClaimVerdict:
        """Return a claim's verdict as the file has it, UNTESTED where it has none."""
        key = (self._model, corpus or self._corpus, rung, claim or self._advised.claim)
        found = (c for c in self._document.claims if (c.model, c.corpus, c.rung, c.claim) == key)
        return next(found, ClaimVerdict(*key[:3], key[3], Verdict.UNTESTED))

    def _of(self, premise: Premise) -> Verdict:
        row = self._strict.get(premise.predicate)
        return row.verdict if row else Verdict.UNTESTED

    def _title(self) -> str:
        return next(claim.title for claim in CLAIMS if claim.key == self._advised.claim)

    def _reading(self, row: Row) -> str:
        predicate = declared(row.cell.claim, row.cell.predicate)
        meaning = f" ({predicate.meaning})" if predicate else ""
        return f"{row.cell.predicate}{meaning} is {self._bounded(row)}"

    def _bounded(self, row: Row) -> str:
        return figure_text(row) + (f", {row.bound.describe(row.verdict)}" if row.bound else "")


def _doubt(row: Row) -> str:
    """Say why a figure is in doubt, or what would decide it."""
    told = [*row.caveats] if row.margin is None else [(row.reason or "").split(";")[0]]
    said = "; ".join(filter(None, told))
    return f" ({said})" if said else ""


def _listed(parts: Iterable[str], between: str = "; ") -> str:
    return between.join(parts)


def _sentence(label: str, parts: Iterable[str]) -> str:
    """Write ``label: a; b. ``, nothing where there are no parts."""
    told = _listed(parts)
    return f"{label}: {told}. " if told else ""
