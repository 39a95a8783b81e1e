"""A summary of reports for a pull request or a step of a workflow: verdicts, what is falsified and by how much, what follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from claims import Verdict
from reports.document import Document
from reports.gfm import Section, code, fit, folded, plain, table
from reports.ladders import declared, moves, sentence
from reports.ledger import UNRUN, Row, figure_text
from reports.markdown_sections import (
    guidance,
    matrix,
    pairs,
    place,
    provenance,
    replication,
    stability,
    subject,
    subject_names,
    warnings,
    word,
)
from reports.markdown_stability import any_sweep, of_row


@dataclass(frozen=True)
class Change:
    """A verdict that is not the one that was kept: where, both verdicts with figures, and what else changed. Plain text."""

    place: str
    before: str
    after: str
    because: str = ""


def summary(documents: Sequence[Document], limit: int, changes: Sequence[Change] | None = None) -> str:
    """Write the summary in at most ``limit`` bytes; ``changes``: against a baseline, None where there is none."""
    sections = [
        Section("the summary", f"## Transformer Assay\n\n{_counts(documents)}\n"),
        *warnings(documents),
        matrix(documents, "### Verdicts on claims"),
        *([] if changes is None else [_changed(changes)]),
        *_falsified(documents),
        *_failed(documents),
        provenance(documents, "### What was measured on what"),
        *guidance(documents, "### What it means for compression"),
        *stability(documents),
        *replication(documents),
        *_ladders(documents),
        *_caveats(documents),
    ]
    return fit(sections, limit)


def _counts(documents: Sequence[Document]) -> str:
    """Say in one line how many cells came out how."""
    rows = [row for document in documents for row in document.rows]
    counts = {verdict: sum(row.verdict is verdict for row in rows) for verdict in Verdict}
    told = ", ".join(f"{count} {word(verdict)}" for verdict, count in counts.items() if count)
    return f"{len(rows):,} cells: {told}."


def _changed(changes: Sequence[Change]) -> Section:
    heading = "### Against the baseline"
    if not changes:
        return Section("changes", f"{heading}\n\nEvery verdict is the one that was kept.\n")
    rows = [[plain(c.place), plain(c.before), plain(c.after), plain(c.because)] for c in changes]
    return table("changes", heading, ["where", "kept", "now", "what else changed"], rows)


def _falsified(documents: Sequence[Document]) -> list[Section]:
    """Return a table of every falsified cell, core ones first; none where nothing is falsified.

    Where there was a sweep, a column says in how many settings it is that.
    """
    stable = any_sweep(documents)
    found = [
        (not row.core, document, row)
        for document, model, corpus in pairs(documents)
        for row in document.of(model, corpus)
        if row.verdict is Verdict.FALSIFIED
    ]
    rows = [
        [
            plain(row.cell.claim),
            code(row.cell.predicate) + (r" \*" if row.core else "") + _meaning(row),
            *subject(document, row.cell.model, row.cell.corpus, documents),
            plain(row.cell.rung),
            plain(figure_text(row)),
            plain(row.bound.sides()[1]) if row.bound else "–",
            *([of_row(document, row)] if stable else []),
        ]
        for _, document, row in sorted(found, key=lambda entry: entry[0])
    ]
    names = [
        "claim",
        "predicate (\\* core)",
        *subject_names(documents),
        "rung",
        "figure [interval]",
        "falsified at",
        *(["stable"] if stable else []),
    ]
    return [table("the falsified cells", f"### Falsified cells ({len(rows)})", names, rows)] if rows else []


def _meaning(row: Row) -> str:
    predicate = declared(row.cell.claim, row.cell.predicate)
    block = "" if row.cell.block is None else f", block {row.cell.block}"
    return f"{block}: {plain(predicate.meaning)}" if predicate else block


def _failed(documents: Sequence[Document]) -> list[Section]:
    """Return a table of what could not be measured, a line a reason."""
    failed: dict[tuple[str, ...], int] = {}
    for document, model, corpus in pairs(documents):
        for row in document.of(model, corpus):
            if row.verdict is Verdict.ERROR or (row.verdict is Verdict.UNTESTED and row.reason not in UNRUN):
                key = (*subject(document, model, corpus, documents), word(row.verdict), plain(row.reason or "no reason given"))
                failed[key] = failed.get(key, 0) + 1
    rows = [[*key, str(count)] for key, count in failed.items()]
    names = [*subject_names(documents), "verdict", "reason", "cells"]
    return [table("what could not be measured", "### Could not be measured", names, rows)] if rows else []


def _ladders(documents: Sequence[Document]) -> list[Section]:
    """Return which control moves which verdict, and which no control moves."""
    lines = []
    for document, model, corpus in pairs(documents):
        rows, blocks = document.of(model, corpus), document.pairs[model, corpus]
        names = dict.fromkeys((row.cell.claim, row.cell.predicate) for row in rows)
        said = {name: told for claim, name in names if (told := sentence(rows, blocks, claim, name))}
        where = f"{place(document, model, corpus, documents)}: "
        lines += [f"{where}{code(name)} {plain(told)}" for name, told in said.items() if moves(told)]
        unmoved = [code(name) for name, told in said.items() if not moves(told)]
        lines += [f"{where}no control moves {', '.join(unmoved)}"] if unmoved else []
    return [folded("controls", f"Which control moves which verdict ({len(lines)})", lines)] if lines else []


def _caveats(documents: Sequence[Document]) -> list[Section]:
    """Return every caveat once, with the cells that carry it."""
    carried: dict[tuple[str, str], dict[str, list[str]]] = {}
    for document, model, corpus in pairs(documents):
        for row in document.of(model, corpus):
            for caveat in row.caveats:
                rungs = carried.setdefault((place(document, model, corpus, documents), caveat), {}).setdefault(row.cell.predicate, [])
                if row.cell.rung not in rungs:
                    rungs.append(row.cell.rung)
    lines = []
    for (where, caveat), cells in carried.items():
        named = "; ".join(f"{code(name)} on {plain(', '.join(rungs))}" for name, rungs in cells.items())
        lines.append(f"{where}: {plain(caveat)} ({named})")
    return [folded("the caveats", f"Caveats ({len(lines)})", lines)] if lines else []
