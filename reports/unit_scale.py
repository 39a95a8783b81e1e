"""A linear axis from 0 to 1, for shares: agreement, confidence."""

from __future__ import annotations

import math
from collections.abc import Mapping

from reports.sections import Value

_LABELS = ("0", "0.25", "0.5", "0.75", "1")
_EACH = 8


def unit_axis() -> str:
    """The axis as a line of text: a label begins at its place."""
    return "".join(label.ljust(_EACH, "·") for label in _LABELS[:-1]) + _LABELS[-1]


def unit_line(mark: Mapping[str, Value]) -> str:
    """Place letters at their values; ``=`` where two meet; what lies outside stands at the end of the axis, what is no number nowhere."""
    cells = [" "] * ((len(_LABELS) - 1) * _EACH + 1)
    for letter, value in mark.items():
        if value is not None and math.isfinite(value):
            at = round(min(max(value, 0.0), 1.0) * (len(cells) - 1))
            cells[at] = letter if cells[at] == " " else "="
    return "".join(cells).rstrip()
