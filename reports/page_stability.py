"""What a sweep says of a claim on a model and text, as the page shows it: for each rung a table of settings by predicates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from claims import Verdict
from claims.claim import JUDGED
from reports.ledger import ClaimVerdict, Row
from reports.page_subjects import Heading, Subject
from reports.stability import Kind, Stability, Sweep
from reports.stability_words import unmeasured


@dataclass(frozen=True)
class Outcome:
    """What a verdict is under a setting; ``flipped``: another than the run's, ``reversed``: the opposite; ``told``: on what it rests.

    ``lifted``: that of the run no longer, and no other.
    """

    verdict: Verdict
    flipped: bool = False
    reversed: bool = False
    told: str = ""
    lifted: bool = False


@dataclass(frozen=True)
class Column:
    """A verdict of the run, on the claim where ``name`` is empty, else on a predicate; ``under``: by setting, where that can change it."""

    name: str
    verdict: Verdict
    share: str
    under: dict[str, Outcome]


@dataclass(frozen=True)
class StabilityTable:
    """A claim on a rung: its columns, and name and meaning of the settings that can change one of them."""

    rung: str
    columns: tuple[Column, ...]
    settings: tuple[tuple[str, str], ...]


def sweep_of(subject: Subject) -> Sweep:
    """Return the sweep of the report that a subject is of; an empty one where it has none."""
    return Sweep(subject.document.settings, subject.document.swept)


def tables_of(subject: Subject, heading: Heading) -> list[StabilityTable]:
    """Return a table for every judged rung on which some setting can change the claim or one of its predicates."""
    sweep, found = sweep_of(subject), []
    if not sweep:
        return []
    rows = [row for row in subject.rows if row.cell.claim == heading.key]
    for rung in JUDGED:
        claims = [claim for claim in subject.verdicts.get(heading.key, ()) if claim.rung == rung]
        columns = tuple(_columns(sweep, claims, [row for row in rows if row.cell.rung == rung]))
        settings = tuple((s.name, s.about) for s in sweep.settings if any(s.name in column.under for column in columns))
        if columns:
            found.append(StabilityTable(rung, columns, settings))
    return found


def reasons_of(subject: Subject, heading: Heading) -> list[str]:
    """Return why settings do not count for predicates of a claim."""
    return list(unmeasured(sweep_of(subject), [row for row in subject.rows if row.cell.claim == heading.key]))


def _columns(sweep: Sweep, claims: Sequence[ClaimVerdict], rows: Sequence[Row]) -> Iterator[Column]:
    for claim in claims:
        if found := sweep.of_claim(claim, rows):
            yield _column("", found)
    for row in rows:
        if found := sweep.of_cell(row):
            yield _column(row.cell.predicate, found)


def _column(name: str, found: Stability) -> Column:
    under = {setting: Outcome(found.verdict) for setting in found.stands}
    under |= {
        flip.setting: Outcome(flip.verdict, True, flip.kind is Kind.REVERSED, flip.told, flip.kind is Kind.LIFTED) for flip in found.flips
    }
    under |= {setting: Outcome(Verdict.UNTESTED, told=reason) for setting, reason in found.unmeasured}
    return Column(name, found.verdict, found.standing, under)
