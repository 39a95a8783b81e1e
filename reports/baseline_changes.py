"""What changed against a baseline, as Markdown and annotations tell it."""

from __future__ import annotations

from reports.baseline_check import Comparison
from reports.baseline_text import name_of
from reports.ledger import Cell
from reports.pull_request import Change


def changes(comparison: Comparison) -> list[Change]:
    """Return every verdict that flipped or was not measured any more."""
    found = []
    for outcome in comparison.of("flipped", "lost"):
        before = "" if outcome.entry is None else outcome.entry.judged.word
        now = "not measured" if outcome.kind == "lost" or outcome.now is None else outcome.now.word
        found.append(Change(name_of(outcome), before, now, "; ".join(outcome.why)))
    return found


def flipped(comparison: Comparison) -> frozenset[Cell]:
    """Return the cells whose verdict flipped or was lost: those that fail a build."""
    return frozenset(outcome.row.cell for outcome in comparison.of("flipped", "lost") if outcome.row is not None)
