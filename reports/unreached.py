"""Cells under a setting that a session set out to measure and did not come to: they must not pass for cells that it cannot change."""

from __future__ import annotations

from collections.abc import Collection

from claims import Verdict
from reports.ledger import STOPPED, Cell, Ledger, Row, claim_of
from reports.stability import JUDGED


def settled(ledger: Ledger, idents: Collection[str]) -> dict[tuple[Cell, str], Row]:
    """Return the rows under settings as a report has them: of cells that carry a verdict in the run, there being none else to stand.

    A cell under a setting that has no row yet and whose id, ``cell@setting``, is among these has one UNTESTED.
    """
    found = {place: row for place, row in ledger.swept.items() if _is_judged(ledger, place[0])}
    for cell in ledger.cells() if idents else ():
        for setting in ledger.settings if _is_judged(ledger, cell) else ():
            if f"{cell.ident}@{setting.ident}" in idents and (cell, setting.name) not in found:
                found[cell, setting.name] = without_outcome(ledger, cell, Verdict.UNTESTED, STOPPED)
    return found


def without_outcome(ledger: Ledger, cell: Cell, verdict: Verdict, reason: str) -> Row:
    """Return the row of a cell that nothing was measured of, for a reason."""
    predicate, n_blocks = claim_of(cell.claim).named(cell.predicate), ledger.pairs[cell.model, cell.corpus]
    core, bound = predicate.is_core(cell.rung, cell.block, n_blocks), predicate.judged(cell.rung, cell.block, n_blocks)
    return Row(cell, verdict, predicate.unit, core, bound=bound, reason=reason)


def _is_judged(ledger: Ledger, cell: Cell) -> bool:
    return cell in ledger.rows and ledger.rows[cell].verdict in JUDGED
