"""Which control moves a verdict, read from a report file: it may hold predicates, and rungs, that this version does not declare."""

from __future__ import annotations

from collections.abc import Iterable

from claims import Predicate
from claims.declared import all_predicates
from harness.protocol import RUNGS
from reports.ledger import Row, ladder

_UNMOVED = ("no control moves it", "in doubt")


def declared(claim: int | str, name: str) -> Predicate | None:
    """Return a declared predicate by its claim and name, None where this version has none."""
    return next((predicate for owner, predicate in all_predicates() if (owner.key, predicate.name) == (claim, name)), None)


def sentence(rows: Iterable[Row], n_blocks: int, claim: int | str, name: str) -> str | None:
    """Say which control moves a predicate, from the rows of a model on a text; None where too few rungs have a figure.

    Of a predicate with a cell for every block, the last block's.
    """
    predicate = declared(claim, name)
    if predicate is None:
        return None
    mine = [
        row
        for row in rows
        if (row.cell.claim, row.cell.predicate) == (claim, name) and row.cell.block in (None, n_blocks - 1) and row.cell.rung in RUNGS
    ]
    return ladder(predicate, mine, n_blocks)


def moves(said: str) -> bool:
    """Whether a sentence names a control that moves the verdict."""
    return not said.startswith(_UNMOVED)
