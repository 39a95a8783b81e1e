"""A report against a baseline: which verdicts stand, which flipped and why, which were not measured, which are new."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from claims import Verdict
from fixtures.naming import did_you_mean, printable
from reports.baseline import Baseline, Entry, Subject, claim_ident, ident_of, is_kept
from reports.baseline_causes import NOTHING, causes, freedom, moved, of_setups
from reports.baseline_subjects import Matches, match
from reports.document import Document
from reports.ledger import LEFT_OUT, ClaimVerdict, Row
from reports.pairing import Pair
from reports.setups import differences, setup_of

Kind = Literal["stands", "flipped", "lost", "left out", "new", "gone"]


@dataclass(frozen=True)
class Outcome:
    """One kept or new verdict. ``key``: the subject; ``ident``: its id there; ``now``: the verdict of this run.

    ``flipped``: another verdict; ``lost``: none any more, for a reason of input or code; ``left out``: not asked for; ``gone``: its id
    matches nothing. ``why``: what changed, or why there is no verdict. ``moved``: the figure did, by more than chance.
    """

    kind: Kind
    key: str
    ident: str
    entry: Entry | None = None
    row: Row | None = None
    claim: ClaimVerdict | None = None
    why: tuple[str, ...] = ()
    moved: bool = False

    @property
    def now(self) -> Verdict | None:
        """The verdict of this run."""
        return self.row.verdict if self.row else self.claim.verdict if self.claim else None

    @property
    def of_claim(self) -> bool:
        """Whether this is a claim's verdict, not a cell's."""
        return " · " in self.ident

    @property
    def unexpected(self) -> bool:
        """Whether it holds now and did not."""
        return self.kind == "flipped" and self.now is Verdict.HOLDS


@dataclass(frozen=True)
class Comparison:
    """All outcomes, and an error where the comparison as such cannot be trusted."""

    outcomes: tuple[Outcome, ...]
    matches: Matches
    error: str | None = None
    renamed: dict[str, str] = field(default_factory=dict)
    """What a baseline calls a model or text → what it is called now, where digits of content changed."""

    def of(self, *kinds: Kind) -> list[Outcome]:
        """Return the outcomes of these kinds."""
        return [outcome for outcome in self.outcomes if outcome.kind in kinds]

    @property
    def exit_code(self) -> int:
        """4 for ids that match nothing and where nothing of the baseline ran, 1 for a verdict that flipped or was lost, else 0."""
        return 4 if self.error else int(bool(self.of("flipped", "lost")))


def compare(baseline: Baseline, document: Document, pairs: Iterable[Pair] | None = None) -> Comparison:
    """Compare a report with a baseline. ``pairs``: models and texts that could have been selected, where the report has only some."""
    matches = match(baseline, document.pairs if pairs is None else pairs)
    outcomes: list[Outcome] = []
    renamed: dict[str, str] = {}
    for pair, key in matches.keys.items():
        subject = baseline.subjects[key]
        outcomes += _of_pair(baseline, key, document, pair) if pair in document.pairs else _absent(key, subject)
        renamed |= {was: now for was, now in zip((subject.model, subject.corpus), pair, strict=True) if was != now}
    wrong = matches.error(baseline)
    for key in matches.absent:
        outcomes += _absent(key, baseline.subjects[key], "gone" if wrong else "left out")
    for pair in matches.unknown:
        outcomes += _new(f"{pair[0]}/{pair[1]}", Subject(model=pair[0], corpus=pair[1]), document, pair)
    error = wrong or _gone(outcomes, document, matches)
    if error is None and not any(o.kind in ("stands", "flipped", "lost") and not o.of_claim for o in outcomes):
        error = "no cell of the baseline was measured in this run"
    return Comparison(tuple(outcomes), matches, error, renamed)


def _of_pair(baseline: Baseline, key: str, document: Document, pair: Pair) -> Iterator[Outcome]:
    subject = baseline.subjects[key]
    rows = {ident_of(key, row.cell): row for row in document.of(*pair)}
    setup = setup_of(document, *pair)
    for ident, entry in subject.cells.items():
        if ident in rows:
            yield _cell(key, ident, entry, rows[ident], baseline.setups[entry.setup], setup)
        else:  # Of a model that could not be had not even the blocks are known.
            yield Outcome("gone" if pair[0] in document.contents.get("models", {}) else "lost", key, ident, entry, why=("no such cell",))
    claims = {claim_ident(claim): claim for claim in _claims(document, pair)}
    changed = {e.setup: of_setups(differences(baseline.setups[e.setup], setup)) for e in subject.claims.values()}
    for ident, entry in subject.claims.items():
        if ident in claims:
            yield _claim(key, ident, entry, claims[ident], list(rows.values()), changed[entry.setup])
        else:
            yield Outcome("gone", key, ident, entry)
    yield from _new(key, subject, document, pair)


def _new(key: str, subject: Subject, document: Document, pair: Pair) -> Iterator[Outcome]:
    """What has a verdict that a build could keep, and is not kept."""
    for row in document.of(*pair):
        if is_kept(row, document.pairs[pair]) and (ident := ident_of(key, row.cell)) not in subject.cells:
            yield Outcome("new", key, ident, row=row)
    for claim in _claims(document, pair):
        decided = claim.verdict in (Verdict.HOLDS, Verdict.FALSIFIED, Verdict.INCONCLUSIVE)
        if decided and (ident := claim_ident(claim)) not in subject.claims:
            yield Outcome("new", key, ident, claim=claim)


def _claims(document: Document, pair: Pair) -> list[ClaimVerdict]:
    return [claim for claim in document.claims if (claim.model, claim.corpus) == pair]


def _cell(key: str, ident: str, entry: Entry, row: Row, was: dict[str, str], now: dict[str, str]) -> Outcome:
    if row.verdict is entry.judged:
        return Outcome("stands", key, ident, entry, row, moved=moved(entry, row, (freedom(was), freedom(now))))
    if row.verdict is Verdict.UNTESTED and row.reason in LEFT_OUT:
        return Outcome("left out", key, ident, entry, row, why=(row.reason or "",))
    if row.verdict in (Verdict.UNTESTED, Verdict.ERROR):
        return Outcome("lost", key, ident, entry, row, why=(row.reason or "no reason given",))
    return Outcome("flipped", key, ident, entry, row, why=tuple(causes(row.cell, entry, row, was, now)))


def _claim(key: str, ident: str, entry: Entry, claim: ClaimVerdict, rows: list[Row], changed: list[str]) -> Outcome:
    """A claim's verdict follows from its cells: one of which some were not asked for is left out."""
    if claim.verdict is entry.judged:
        return Outcome("stands", key, ident, entry, claim=claim)
    core = [row for row in rows if row.core and (row.cell.claim, row.cell.rung) == (claim.claim, claim.rung)]
    unrun = [row for row in core if row.verdict is Verdict.UNTESTED]
    if claim.verdict is Verdict.UNTESTED and all(row.reason in LEFT_OUT for row in unrun):
        return Outcome("left out", key, ident, entry, claim=claim, why=("some of its core cells are not selected",))
    if claim.verdict in (Verdict.UNTESTED, Verdict.ERROR):
        return Outcome("lost", key, ident, entry, claim=claim, why=tuple(_unmeasured(core)))
    decided = f"decided by {', '.join(dict.fromkeys(claim.decided_by))}"
    return Outcome("flipped", key, ident, entry, claim=claim, why=(printable(decided), *(changed or [NOTHING])))


def _unmeasured(core: Iterable[Row]) -> Iterator[str]:
    """Name the core cells that have no verdict, and why: what differs in the set-up is not the cause."""
    by_reason: dict[str, list[str]] = {}
    for row in core:
        if row.verdict in (Verdict.UNTESTED, Verdict.ERROR):
            by_reason.setdefault(row.reason or "no reason given", []).append(row.cell.predicate)
    for reason, predicates in by_reason.items():
        yield printable(f"{', '.join(predicates)}: {reason}")


def _absent(key: str, subject: Subject, kind: Kind = "left out") -> Iterator[Outcome]:
    for ident, entry in (*subject.cells.items(), *subject.claims.items()):
        yield Outcome(kind, key, ident, entry, why=("the model or text is not in this run",))


def _gone(outcomes: Iterable[Outcome], document: Document, matches: Matches) -> str | None:
    """Name an id that matches no cell of the run, with what may have been meant."""
    if not (gone := [outcome for outcome in outcomes if outcome.kind == "gone"]):
        return None
    key = gone[0].key
    pair = next(pair for pair, k in matches.keys.items() if k == key)
    known = [claim_ident(c) for c in _claims(document, pair)] if gone[0].of_claim else [ident_of(key, r.cell) for r in document.of(*pair)]
    return unmatched([outcome.ident for outcome in gone], known)


def unmatched(idents: list[str], known: Iterable[str]) -> str:
    """Say which ids match nothing. ``known``: those of the cells, or claims, that there are."""
    meant, what = did_you_mean(idents[0], known), "claim" if " · " in idents[0] else "cell"
    more = f", and {len(idents) - 1} more" if len(idents) > 1 else ""
    return f"{printable(idents[0])} matches no {what} of this run{printable(meant)}{more}"


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Return what a report keeps of a comparison."""
    told = {kind: [f"{o.key}: {o.ident}" if o.of_claim else o.ident for o in comparison.of(kind)] for kind in ("new", "left out", "gone")}
    return {
        "exit_code": comparison.exit_code,
        "error": comparison.error,
        "stand": len(comparison.of("stands")),
        "moved": [o.ident for o in comparison.of("stands") if o.moved],
        **{
            kind: [
                {
                    "subject": o.key,
                    "id": o.ident,
                    "before": o.entry.verdict if o.entry else None,
                    "now": None if o.now is None else str(o.now),
                    "why": list(o.why),
                }
                for o in comparison.of(kind)
            ]
            for kind in ("flipped", "lost")
        },
        **{kind.replace(" ", "_"): idents for kind, idents in told.items()},
    }
