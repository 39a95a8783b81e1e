"""What a comparison with a baseline says on a terminal: a paragraph for each verdict that changed, and one line of counts."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator

from claims import Verdict
from fixtures.naming import printable
from reports.baseline_causes import bound_text, figures
from reports.baseline_check import Comparison, Outcome
from reports.ledger import claim_of

_MOST_NAMED = 8
_WIDTH = 140


def lines(comparison: Comparison, file: str, report: str) -> Iterator[str]:
    """Yield the lines of a comparison. ``file`` and ``report``: as the command that accepts a change names them."""
    for was, now in comparison.renamed.items():
        yield printable(f"{now} is compared with what was kept of {was}")
    for outcome in comparison.of("flipped", "lost"):
        yield from _changed(outcome)
    if comparison.error:
        yield f"ERROR: {comparison.error}"
    if moved := [outcome for outcome in comparison.of("stands") if outcome.moved]:
        yield f"{count(len(moved), 'figure')} moved by more than the combined standard error; the verdict stands:"
        for outcome in moved[:_MOST_NAMED]:
            if outcome.entry and outcome.row:
                yield f"  {printable(outcome.ident)}: {outcome.entry.judged.word}, {figures(outcome.entry, outcome.row)}"
        if len(moved) > _MOST_NAMED:
            yield f"  and {len(moved) - _MOST_NAMED} more"
    amend = f"python -m reports baseline {shlex.quote(report)} --amend --to {shlex.quote(file)} --reason"
    if new := comparison.of("new"):
        named = ", ".join(outcome.ident for outcome in new[:_MOST_NAMED]) + (" …" if len(new) > _MOST_NAMED else "")
        yield from _wrapped(f"new, not in the baseline: {printable(named)}")
    yield summary(comparison, file)
    if comparison.of("flipped"):
        yield printable(f"to accept: {amend} 'why this is right now' [--only ID]")
    elif comparison.error and comparison.matches.absent:
        named = " ".join(f"--only {shlex.quote(key)}" for key in comparison.matches.absent)
        yield printable(f"to take out all that was kept of what is not in this run: {amend} 'why it is gone' {named}")
    elif comparison.of("gone"):
        yield printable(f"to take ids out that match nothing: {amend} 'why they are gone'")
    elif new:
        yield printable(f"to keep what is new: {amend} 'why'")


def _changed(outcome: Outcome) -> Iterator[str]:
    """Say what became of a verdict: figure, bound, what changed, why it was kept."""
    entry = outcome.entry
    assert entry is not None
    now = outcome.now.word if outcome.now else "no such cell"
    title = "NOT MEASURED" if outcome.kind == "lost" else "UNEXPECTED HOLDS" if outcome.unexpected else "FLIPPED"
    yield printable(f"{title}: {name_of(outcome)}: {entry.judged.word} → {now}")
    row = outcome.row
    if row is not None and outcome.kind == "flipped":
        yield f"  figure {figures(entry, row)}{bound_text(row)}"
    label = "because" if outcome.kind == "lost" else "changed"
    yield from _wrapped(f"  {label}: {printable('; '.join(outcome.why))}")
    if row is not None and row.verdict is Verdict.INCONCLUSIVE and row.margin is None and row.caveats:
        yield from _wrapped(f"  in doubt: {printable('; '.join(row.caveats))}")
    if outcome.unexpected:
        yield "  good news still has to be recorded: the file says otherwise"
    yield from _wrapped(f"  {entry.judged.word} was kept since {entry.since}: {printable(entry.reason)}")


def name_of(outcome: Outcome) -> str:
    """Say which verdict it is: of a cell, or of a claim."""
    if outcome.of_claim:
        return f"{outcome.ident} · {outcome.key.replace('/', ' · ')}"
    if outcome.row is None:
        return outcome.ident
    cell = outcome.row.cell
    try:
        label = claim_of(cell.claim).label
    except StopIteration:  # A claim of another version.
        label = f"claim {cell.claim}"
    return f"{label} · {cell.predicate} · {cell.place()}"


def summary(comparison: Comparison, file: str) -> str:
    """Count outcomes in one line: ``baseline FILE: 37 cells and 3 claims stand, 1 cell flipped, 2 not selected, 4 new``."""
    stands = comparison.of("stands")
    parts = [f"{_both(stands)} stand{'s'[: len(stands) == 1]}" if stands else "nothing stands"]
    parts += [f"{_both(flipped)} flipped"] if (flipped := comparison.of("flipped")) else []
    parts += [f"{_both(lost)} not measured any more"] if (lost := comparison.of("lost")) else []
    parts += [f"{_both(gone)} matched by nothing"] if (gone := comparison.of("gone")) else []
    parts += [f"{_both(left)} not selected"] if (left := comparison.of("left out")) else []
    parts += [f"{_both(new)} new"] if (new := comparison.of("new")) else []
    return f"baseline {printable(file)}: {', '.join(parts)}"


def _both(outcomes: list[Outcome]) -> str:
    claims = sum(outcome.of_claim for outcome in outcomes)
    counts = [(len(outcomes) - claims, "cell"), (claims, "claim")]
    return " and ".join(count(number, what) for number, what in counts if number)


def count(number: int, what: str) -> str:
    """Write a number of things: ``1 cell``, ``2 cells``."""
    return f"{number} {what}{'s'[: number != 1]}"


def _wrapped(line: str) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(line, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
