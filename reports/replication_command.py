"""``python -m reports replication``: the paper's figures of GPT-2 and Mistral beside those of a report."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from claims import CLAIMS
from claims.inconsistencies import HEADING, inconsistencies_of
from claims.published import COMPARED
from claims.published_figure import KINDS
from fixtures import MODELS, Hub
from fixtures.naming import printable
from reports.document import Document, ReportError, read
from reports.replication import Replicated, replicated, subjects_of, tally
from reports.replication_shown import COLUMNS, NUMBERS, cells, counted, on_text
from reports.text_table import aligned, widths


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.add_argument("report", metavar="REPORT", help="a report file of gpt2 or mistral, as 'pytest claims --report FILE' writes it")
    parser.add_argument("--json", action="store_true", help="print JSON: every figure, and what does not add up in the paper")


def run(options: argparse.Namespace) -> int:
    """Print the table of every model of the paper. Raises ReportError when there is none."""
    document = read(options.report)
    found = subjects_of(document)
    if not found:
        raise ReportError(f"{document.name}: {_none(document)}")
    if options.json:
        print(json.dumps([_as_json(document, *pair) for pair in found], indent=1, ensure_ascii=False, allow_nan=False))
        return 0
    print("\n\n".join("\n".join(map(printable, _lines(document, *pair))) for pair in found))
    return 0


def _none(document: Document) -> str:
    """Say which models the report has, and which were expected."""
    models = document.contents.get("models", {})
    held = ", ".join(
        f"{printable(name)} from {printable((about or {}).get('source') or 'nowhere stated')}" for name, about in models.items()
    )
    sources = {name: MODELS[name].source for name in COMPARED if name in MODELS}
    wanted = ", ".join(f"{name} ({source.repo})" for name, source in sources.items() if isinstance(source, Hub))
    return f"no model whose figures can be compared; expected one of {wanted}, found {held or 'none'}; measure one: pytest claims -m gpt2"


def _lines(document: Document, model: str, corpus: str) -> Iterator[str]:
    lines = replicated(document, model, corpus)
    yield f"{model} {on_text(document, corpus)}"
    yield f"{counted(lines)}; set-up figures are not counted"
    rows = [cells(line) for line in lines]
    columns = widths([COLUMNS, *rows])
    (head,) = aligned([COLUMNS], NUMBERS, columns)
    for claim in CLAIMS:
        mine = [line for line in lines if line.figure.claim == claim.key]
        against = [one for one in inconsistencies_of(model) if one.claim == claim.key]
        if not mine and not against:
            continue
        yield ""
        yield f"{claim.label}: {claim.title}"
        if mine:
            yield head
            yield from aligned([cells(line) for line in mine], NUMBERS, columns)
        if against:
            yield f"{HEADING}:"
        for one in against:
            yield f"  {one.told}"
    kinds = dict.fromkeys(line.figure.kind for line in lines if line.within is not None)
    if kinds:
        yield ""
        yield "Tolerances by kind of figure:"
    for kind in kinds:
        yield f"  {kind}: {KINDS[kind].describe()}, {KINDS[kind].reason}"


def _as_json(document: Document, model: str, corpus: str) -> dict[str, Any]:
    lines = replicated(document, model, corpus)
    within, of = tally(lines)
    return {
        "model": model,
        "corpus": corpus,
        "within": within,
        "of": of,
        "figures": [_figure(line) for line in lines],
        "inconsistencies": [
            {"claim": one.claim, "kind": one.kind, "says": one.says, "against": one.against} for one in inconsistencies_of(model)
        ],
    }


def _figure(line: Replicated) -> dict[str, Any]:
    figure = line.figure
    return {
        "id": figure.ident,
        "claim": figure.claim,
        "what": figure.what,
        "where": figure.where,
        "kind": figure.kind,
        "paper": list(figure.value) if isinstance(figure.value, tuple) else figure.value,
        "above": figure.above,
        "measured": line.measured,
        "low": line.low,
        "high": line.high,
        "difference": line.difference,
        "tolerance": figure.tolerance,
        "within": line.within,
        "counts": line.counts,
        "why": line.why,
        "differs": figure.differs,
    }
