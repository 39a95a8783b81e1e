"""What all sections below the verdict tables are made of: tables, a logarithmic axis, and how numbers are written."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports.ledger import number

_WIDEST, _PLOT_WIDTH = 110, 41
_MOST_DECADES = 10
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

Evidence = Mapping[str, Any]
"""What tests handed over: of a model and corpus by ``predicate/rung``, of a predicate by rung, of a test by name; null where nothing is."""
Value = float | None


class LogScale:
    """A logarithmic axis that ends at 10^``top``, over as many decades as the marks need and no fewer than ``fewest``."""

    def __init__(self, marks: Sequence[Mapping[str, float]], top: int = 0, fewest: int = 4, width: int = _PLOT_WIDTH) -> None:
        least = min((value for line in marks for value in line.values() if value > 0), default=1.0)
        self._decades = min(max(math.ceil(top - math.log10(least)), fewest), _MOST_DECADES)
        self._top, self._each = top, max((width - 1) // self._decades, 1)

    @property
    def axis(self) -> str:
        """The axis as a line of text: a label begins at its place."""
        every = 1 if self._each > 4 else 2
        labels = [_power(self._top - i) if i % every == 0 else "" for i in range(self._decades, 0, -1)]
        return "".join(label.ljust(self._each, "·") for label in labels) + _power(self._top)

    def line(self, mark: Mapping[str, float]) -> str:
        """Place letters at their values; ``=`` where two meet, ``<`` for what lies below the axis; nothing for what is not above 0."""
        cells = [" "] * (self._decades * self._each + 1)
        for letter, value in mark.items():
            if 0 < value < math.inf:
                place = round((math.log10(value) - self._top + self._decades) * self._each)
                at = min(max(place, 0), len(cells) - 1)
                cells[at] = "=" if cells[at] != " " else letter if place >= 0 else "<"
        return "".join(cells).rstrip()

    def upright(self, marks: Sequence[Mapping[str, float]], below: str) -> list[str]:
        """Draw marks from left to right, the greatest values above, and a line below them; a label stands in front of its line.

        Lines without marks are left out at both ends, as long as a label is left.
        """
        size = self._decades * self._each + 1
        columns = [self.line(mark).ljust(size) for mark in marks]
        labels = {i * self._each: _power(self._top - self._decades + i) for i in range(self._decades + 1)}
        lines = [(labels.get(at, ""), "".join(column[at] for column in columns).rstrip()) for at in range(size - 1, -1, -1)]
        while not lines[0][1] and any(label for label, _ in lines[1:]):
            del lines[0]
        while not lines[-1][1] and any(label for label, _ in lines[:-1]):
            del lines[-1]
        wide = max(len(label) for label, _ in lines)
        return [f"{label or '·':>{wide}} {drawn}".rstrip() for label, drawn in lines] + [f"{'':{wide}} {below}".rstrip()]


def _power(exponent: int) -> str:
    """``10⁻³``, ``1``, ``10``."""
    if exponent in (0, 1):
        return "10"[: exponent + 1]
    return f"10{'⁻' * (exponent < 0)}{str(abs(exponent)).translate(_RAISED)}"


def new_table(*names: str, left: int = 1, plot: str = "", gap: int = 2) -> Table:
    """A table in the style of the others: the first columns and the plot, which comes last, to the left, numbers to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")
    for i, name in enumerate((*names, *filter(None, [plot]))):
        table.add_column(name, justify="left" if i < left or i == len(names) else "right", no_wrap=True)
    return table


def print_grouped(console: Console, name: str, keys: Sequence[str], groups: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
    """Print groups of columns beside their keys, as label → name → cells, in as few tables as fit the width."""
    start = max(map(len, (name, *keys)))
    tables, used = list[list[tuple[str, list[str]]]](), console.width + 1
    for label, columns in groups.items():
        # A space before the first column of a group sets it apart.
        made = [
            (f" {label}\n {title}", [f" {cell}" for cell in cells]) if i == 0 else (f"\n{title}", list(cells))
            for i, (title, cells) in enumerate(columns.items())
        ]
        needed = sum(1 + max(map(len, (*title.split("\n"), *cells))) for title, cells in made)
        if used + needed > console.width:
            tables.append([])
            used = start
        tables[-1] += made
        used += needed
    for made in tables:
        table = new_table(f"\n{name}", *(title for title, _ in made), left=0, gap=1)
        for row in zip(keys, *(cells for _, cells in made), strict=True):
            table.add_row(*row)
        console.print(table)


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


def as_short(value: float) -> str:
    """``0.012``, ``1.23``, ``1.2e5``: seven characters at most."""
    if value and not 0.001 <= abs(value) < 99_999.5:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}".replace("-", "−")
    return f"{value:#.2g}".replace("-", "−") if 0 < abs(value) < 0.0995 else number(value)


def as_scientific(value: float) -> str:
    """``1.23e−04``."""
    return f"{value:.2e}".replace("-", "−")


def print_heading(console: Console, text: str) -> None:
    """Begin a section, after an empty line."""
    console.print(Text(f"\n{text}", style="bold"))


def print_legend(console: Console, text: str) -> None:
    """Say what the numbers above are, in lines that can be read."""
    console.print(Text(textwrap.fill(text, min(console.width, _WIDEST)), style="dim"))
