"""Plain columns of text: aligned, never cut, whatever the width of the terminal; and the same cells as a Markdown table."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Collection, Sequence

from fixtures.naming import printable

_GAP = "  "


def width(text: str) -> int:
    """Return how many places of a terminal a text takes: wide characters two, combining marks none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the widths of the columns of rows of equal length."""
    return [max(map(width, column)) for column in zip(*rows, strict=True)]


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = (), columns: Sequence[int] | None = None) -> list[str]:
    """Return rows as lines, columns aligned left or, where ``right`` names them, right; no blanks at the end of a line."""
    columns = widths(rows) if columns is None else columns
    lines = []
    for row in rows:
        cells = []
        for i, (text, size) in enumerate(zip(row, columns, strict=True)):
            blanks = " " * (size - width(text))
            cells.append(blanks + text if i in right else text + blanks)
        lines.append(_GAP.join(cells).rstrip())
    return lines


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Return a Markdown table; the cells are text, whatever markup they hold."""
    rule = ["---:" if i in right else "---" for i in range(len(header))]
    return [f"| {' | '.join(row)} |" for row in (map(literal, header), rule, *(map(literal, row) for row in rows))]


def literal(text: str) -> str:
    """Escape text for Markdown: one line, no HTML, no emphasis, links or columns."""
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", html.escape(printable(text), quote=False))
