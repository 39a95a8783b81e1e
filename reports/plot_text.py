"""Text within a drawing: how wide it is, where it is cut, and where labels stand that must not overlap."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence

from fixtures.naming import printable

SIZE = 12.0
"""Font size in pixels of a drawing that is 640 wide."""
_EACH, _WIDE = 0.56, 1.0


def width(text: str, size: float = SIZE) -> float:
    """Estimate the width of a line in pixels: on average a little over half the font size a character, East Asian ones all of it."""
    return size * sum(_WIDE if unicodedata.east_asian_width(c) in "WF" else _EACH for c in text)


def line(text: object, most: float = float("inf"), size: float = SIZE) -> str:
    """Make foreign text one line that XML may hold, cut with an ellipsis where it is wider than ``most`` pixels."""
    shown = printable(text)
    if width(shown, size) <= most:
        return shown
    while shown and width(shown + "…", size) > most:
        shown = shown[:-1]
    return f"{shown.rstrip()}…"


def wrapped(text: str, most: float, size: float = SIZE) -> list[str]:
    """Break running text into lines of at most ``most`` pixels."""
    return textwrap.wrap(printable(text), int(most / (_EACH * size))) if text else []


def apart(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move places as little as need be so that neighbours lie ``gap`` apart within ``low`` and ``high``; nearer where they do not fit."""
    gap = min(gap, (high - low) / max(len(places) - 1, 1))
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = list(places)
    for before, i in zip([None, *order], order, strict=False):
        moved[i] = max(places[i], low if before is None else moved[before] + gap)
    limit = high
    for i in reversed(order):
        moved[i] = min(moved[i], limit)
        limit = moved[i] - gap
    return moved


def rows_of_labels(spans: Sequence[tuple[float, float]]) -> list[int]:
    """Give each label, from pixel to pixel, the first row in which it overlaps no other."""
    rows: list[list[tuple[float, float]]] = []
    chosen = []
    for start, end in spans:
        row = next((i for i, taken in enumerate(rows) if all(end < a or start > b for a, b in taken)), len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append((start, end))
        chosen.append(row)
    return chosen
