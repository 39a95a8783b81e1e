"""A ledger and the facts beside it with every foreign string made safe for a terminal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fixtures.naming import printable
from harness.settings import Setting
from reports.ledger import Cell, Ledger, Row


def escaped(value: Any) -> Any:
    """Return data of a report, as parsed, with control and format characters of all strings and names escaped."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {escaped(name): escaped(part) for name, part in value.items()}
    return [escaped(part) for part in value] if isinstance(value, list | tuple) else value


def escaped_ledger(ledger: Ledger) -> Ledger:
    """Return the ledger with the names of its cells, and whatever its rows say, escaped."""
    pairs = {(printable(model), printable(corpus)): n_blocks for (model, corpus), n_blocks in ledger.pairs.items()}
    settings = tuple(Setting(printable(one.name), printable(one.axis), printable(one.about)) for one in ledger.settings)
    made = Ledger(pairs, {printable(ident) for ident in ledger.selected}, quick=ledger.quick, settings=settings)
    for row in ledger.rows.values():
        made.add(_escaped_row(row))
    for (_, name), row in ledger.swept.items():
        safe = _escaped_row(row)
        made.swept[safe.cell, printable(name)] = safe
    return made


def _escaped_row(row: Row) -> Row:
    cell = row.cell
    safe = Cell(*map(escaped, (cell.model, cell.corpus, cell.claim, cell.predicate, cell.rung, cell.block)))
    return replace(row, cell=safe, unit=printable(row.unit), caveats=tuple(map(printable, row.caveats)), reason=escaped(row.reason))
