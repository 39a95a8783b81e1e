"""What all sections below the verdict tables are made of: tables, a logarithmic axis, and how numbers are written."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports.ledger import number

_WIDEST, _PLOT_WIDTH = 110, 41
_FEWEST_DECADES, _MOST_DECADES = 4, 10
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

Evidence = Mapping[str, Any]
"""What tests handed over: of a model and corpus by ``predicate/rung``, of a predicate by rung, of a test by name; null where nothing is."""


class LogScale:
    """A logarithmic axis that ends at 1, over as many decades as the marks need."""

    def __init__(self, marks: list[dict[str, float]]) -> None:
        least = min((share for line in marks for share in line.values() if share > 0), default=1.0)
        self._decades = min(max(math.ceil(-math.log10(least)), _FEWEST_DECADES), _MOST_DECADES)
        self._each = (_PLOT_WIDTH - 1) // self._decades

    @property
    def axis(self) -> str:
        """The axis as a line of text: a label begins at its place."""
        every = 1 if self._each > 4 else 2
        labels = [f"10⁻{str(i).translate(_RAISED)}" if i % every == 0 else "" for i in range(self._decades, 0, -1)]
        return "".join(label.ljust(self._each, "·") for label in labels) + "1"

    def line(self, mark: Mapping[str, float]) -> str:
        """Place letters at their shares; ``=`` where two meet, ``<`` for what lies below the axis; nothing for what is not above 0."""
        cells = [" "] * (self._decades * self._each + 1)
        for letter, share in mark.items():
            if 0 < share < math.inf:
                place = round((math.log10(share) + self._decades) * self._each)
                at = min(max(place, 0), len(cells) - 1)
                cells[at] = "=" if cells[at] != " " else letter if place >= 0 else "<"
        return "".join(cells).rstrip()


def new_table(*names: str, left: int = 1, plot: str = "", gap: int = 2) -> Table:
    """A table in the style of the others: the first columns and the plot to the left, numbers to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")
    for i, name in enumerate((*names, *filter(None, [plot]))):
        table.add_column(name, justify="left" if i < left or i == len(names) else "right", no_wrap=True)
    return table


def rows_of(columns: Evidence, *names: str) -> list[tuple[Any, ...]]:
    """Rows of lists of one length, the first one's; one that is not there is a list of nothing."""
    nothing = [None] * len(columns.get(names[0]) or ())
    return list(zip(*(columns.get(name) or nothing for name in names), strict=False))


def finite(values: Iterable[float | None] | None) -> list[float]:
    """Those of the numbers that are some."""
    return [value for value in values or () if value is not None and math.isfinite(value)]


def spread(values: list[float], form: Callable[[float], str]) -> str:
    """``mean (least–greatest)``."""
    return f"{form(sum(values) / len(values))} ({form(min(values))}–{form(max(values))})" if values else "–"


def told(value: float | None, form: Callable[[float], str] = number) -> str:
    """A number in some form, and a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else form(value)


def as_count(value: float | None) -> str:
    """``1024``."""
    return told(value, "{:.0f}".format)


def as_share(value: float) -> str:
    """``0.123``: correlations, R², overlaps."""
    return f"{value:.3f}".replace("-", "−")


def as_percent(share: float) -> str:
    """``12.30%`` of 0.123."""
    return f"{number(100 * share)}%"


def as_scientific(value: float) -> str:
    """``1.23e−04``."""
    return f"{value:.2e}".replace("-", "−")


def print_heading(console: Console, text: str) -> None:
    """Begin a section, after an empty line."""
    console.print(Text(f"\n{text}", style="bold"))


def print_legend(console: Console, text: str) -> None:
    """Say what the numbers above are, in lines that can be read."""
    console.print(Text(textwrap.fill(text, min(console.width, _WIDEST)), style="dim"))
