"""What a sweep says, in Markdown: a share beside a verdict, and folded away the settings that flip it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reports.document import Document
from reports.gfm import Section, folded, plain
from reports.ledger import ClaimVerdict, Row
from reports.stability import Sweep
from reports.stability_words import MEANING, described, of_cells, of_claims, unmeasured


def sweep_of(document: Document) -> Sweep:
    """Return the sweep of a report; an empty one where it has none."""
    return Sweep(document.settings, document.swept)


def beside_claim(document: Document, claim: ClaimVerdict, rows: Sequence[Row]) -> str:
    """Return what stands behind the verdict on a claim: ``; stable in 7 of 9 settings``; nothing where no sweep says something of it."""
    found = sweep_of(document).of_claim(claim, rows)
    return f"; stable in {found.told}" if found and found.counted else ""


def of_row(document: Document, row: Row) -> str:
    """Return the cell of a column ``stable``."""
    found = sweep_of(document).of_cell(row)
    return found.share if found else "–"


def any_sweep(documents: Sequence[Document]) -> bool:
    """Whether one of the reports has a sweep, so that there is a column."""
    return any(document.settings for document in documents)


def flips(pairs: Sequence[tuple[Document, str, str]], places: Sequence[str]) -> list[Section]:
    """Return which setting flips which verdict, of every model on a text, each named by its place; nothing where there was no sweep."""
    lines = [
        f"{where}: {plain(said)}"
        for (document, model, corpus), where in zip(pairs, places, strict=True)
        for said in _said(document, model, corpus)
    ]
    if not any_sweep([document for document, _, _ in pairs]):
        return []
    settings = dict.fromkeys(line for document, _, _ in pairs for line in described(sweep_of(document)))
    meant = [f"Stable: {plain(MEANING)}", f"The settings: {'; '.join(map(plain, settings))}."]
    return [folded("the flips", f"Which setting flips which verdict, or says nothing of it ({len(lines)})", [*lines, *meant])]


def _said(document: Document, model: str, corpus: str) -> Iterator[str]:
    sweep, rows = sweep_of(document), document.of(model, corpus)
    yield from of_claims(sweep, (c for c in document.claims if (c.model, c.corpus) == (model, corpus)), rows)
    yield from of_cells(sweep, rows)
    yield from unmeasured(sweep, rows)
