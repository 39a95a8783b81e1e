"""A comparison as text, Markdown and JSON."""

from __future__ import annotations

import math
import textwrap
from typing import Any

from fixtures.naming import printable
from reports.comparison import Compared, Comparison, Side
from reports.comparison_words import difference_of, error_of, flip, heading, judged, legend, only, other_blocks, summary, verdicts, z_of
from reports.ledger import Row, figure_text
from reports.setup_changes import told
from reports.text_table import aligned, literal, markdown, widths

_HEADER = ("predicate", "rung", "verdict", "A", "B", "difference", "its SE", "z")
_RIGHT = (5, 6, 7)
_WIDTH = 120


def as_text(comparison: Comparison) -> str:
    """Write a comparison for a terminal."""
    lines = [_subject("A", comparison.a), _subject("B", comparison.b), ""]
    lines += ["Set-up:", *(_filled(f"  {line}") for line in _setup(comparison)), ""]
    lines += [_filled(sentence) for sentence in summary(comparison)]
    tables = {claim: [_cells(c) for c in comparison.of(claim) if _shown(c)] for claim in comparison.claims()}
    columns = widths([_HEADER, *(row for rows in tables.values() for row in rows)])
    for claim, rows in tables.items():
        lines += ["", heading(claim)]
        lines += [f"  {line}" for line in verdicts(comparison, claim)]
        lines += [f"  {line}" for line in aligned([_HEADER, *rows], _RIGHT, columns)] if rows else []
        further = [*other_blocks(comparison, claim), *only(comparison, claim)]
        lines += [_filled(f"  {line}") for line in further]
    lines += ["", *map(_filled, legend(comparison))]
    return "\n".join(lines)


def as_markdown(comparison: Comparison) -> str:
    """Write a comparison as Markdown: names and values are escaped."""
    lines = [f"**{side}** {literal(_subject('', of).strip())}  " for side, of in (("A", comparison.a), ("B", comparison.b))]
    lines += ["", "Set-up:", "", *(f"- {literal(line)}" for line in _setup(comparison)), ""]
    lines += ["  \n".join(literal(line) for line in summary(comparison))]
    for claim in comparison.claims():
        lines += ["", f"### {literal(heading(claim))}", "", *(f"{literal(line)}  " for line in verdicts(comparison, claim))]
        if rows := [_cells(c) for c in comparison.of(claim) if _shown(c)]:
            lines += ["", *markdown(_HEADER, rows, _RIGHT)]
        lines += ["", *(f"- {literal(line)}" for line in (*other_blocks(comparison, claim), *only(comparison, claim)))]
    return "\n".join([*lines, "", *(f"{literal(line)}  " for line in legend(comparison))])


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as data; numbers beyond float64 are null, and z where a figure has no interval, or both have no spread."""
    return {
        "a": _side(comparison.a),
        "b": _side(comparison.b),
        "setup": [{"what": d.what, "a": d.before or None, "b": d.after or None} for d in comparison.setup],
        "expected_equal": comparison.same_measurement,
        "same_text": comparison.same_text,
        "same_weights": comparison.same_weights,
        "claims": [
            {"claim": claim, "rung": rung, "a": None if a is None else str(a), "b": None if b is None else str(b), "flipped": flip(a, b)}
            for claim in comparison.claims()
            for rung, a, b in judged(comparison, claim)
        ],
        "rows": [_compared(c) for c in comparison.compared],
        "only_a": [row.cell.ident for row in comparison.only_a],
        "only_b": [row.cell.ident for row in comparison.only_b],
    }


def _filled(line: str) -> str:
    return textwrap.fill(line, _WIDTH, subsequent_indent="    ")


def _subject(letter: str, side: Side) -> str:
    about = side.document.contents.get("models", {}).get(side.model, {}).get("about") or ""
    said = f"{letter}  {printable(side.model)} · {printable(side.corpus)}, from {side.document.name}"
    return f"{said} ({printable(about)})" if about else said


def _setup(comparison: Comparison) -> list[str]:
    """Say what differs in set-up; older reports do not state the code, which may then differ unseen."""
    lines = told(comparison.setup) or ["no difference"]
    silent = "code" not in comparison.a.setup and "code" not in comparison.b.setup
    return [*lines, "neither report states the code that measured it"] if silent else lines


def _shown(compared: Compared) -> bool:
    return compared.a.cell.block is None or compared.last


def _cells(compared: Compared) -> tuple[str, ...]:
    a, b, found = compared.a, compared.b, compared.gap
    words = a.verdict.word if a.verdict is b.verdict else f"{a.verdict.word} → {b.verdict.word}{' ◄' if compared.flipped else ''}"
    blocks = "" if not compared.last else f", block {a.cell.block}" + (f" | {b.cell.block}" if a.cell.block != b.cell.block else "")
    star = " *" if a.core or b.core else ""
    figures = ("", "", "") if found is None else (difference_of(found), error_of(found), "" if found.z is None else z_of(found.z))
    return f"{printable(a.cell.predicate)}{blocks}{star}", printable(a.cell.rung), words, figure_text(a), figure_text(b), *figures


def _side(side: Side) -> dict[str, Any]:
    return {"file": side.document.name, "model": side.model, "corpus": side.corpus, "setup": side.setup}


def _compared(compared: Compared) -> dict[str, Any]:
    found, cell = compared.gap, compared.a.cell
    figures = {"a": _figure(compared.a), "b": _figure(compared.b)}
    z = None if found is None else found.z
    return {
        "claim": cell.claim,
        "predicate": cell.predicate,
        "rung": cell.rung,
        "unit": compared.a.unit,
        **figures,
        "flipped": compared.flipped,
        "difference": None if found is None else _finite(found.step),
        "log_origin": None if found is None else found.origin,
        "standard_error": None if found is None else _finite(found.error),
        "exact": None if found is None else found.exact,
        "z": _finite(z),
    }


def _finite(value: float | None) -> float | None:
    """JSON has no infinities."""
    return value if value is not None and math.isfinite(value) else None


def _figure(row: Row) -> dict[str, Any]:
    figures = {name: getattr(row, name) for name in ("value", "low", "high", "level")}
    return {"cell": row.cell.ident, "verdict": str(row.verdict), **figures}
