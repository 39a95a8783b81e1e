"""Values over depth, drawn upright on a logarithmic axis: a letter for each curve, blocks from left to right."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.sections import LogScale, Value

_WIDEST_PLOT, _PLOT_HEIGHT, _EVERY = 104, 12, 5


@dataclass(frozen=True)
class OverDepth:
    """Lines of a drawing, the block numbers last; ``each``: columns of a block; ``start``: width of the labels in front.

    ``beside``: whether letters of a block stand side by side; else they share a column, and ``=`` is where two meet.
    """

    lines: list[str]
    each: int
    start: int
    beside: bool

    def under(self, first: int, last: int, mark: str) -> OverDepth:
        """Return the same with a line of marks under some blocks, above their numbers."""
        marked = f"{'':{self.start + first * self.each}}{mark * ((last - first + 1) * self.each)}"
        return OverDepth([*self.lines[:-1], marked, self.lines[-1]], self.each, self.start, self.beside)


def over_depth(curves: Mapping[str, Sequence[Value]]) -> OverDepth | None:
    """Draw curves by their letters; None where the blocks do not fit the width, or nothing has a logarithm."""
    depth = {
        letter: [value if value is not None and 0 < value < math.inf else 0.0 for value in values] for letter, values in curves.items()
    }
    blocks, positive = max(map(len, depth.values()), default=0), [value for values in depth.values() for value in values if value > 0]
    if blocks > _WIDEST_PLOT or not positive:
        return None
    marks = [{letter: values[b] for letter, values in depth.items() if b < len(values)} for b in range(blocks)]
    beside = blocks * len(depth) <= _WIDEST_PLOT
    each = len(depth) if beside else 1
    columns = [{letter: mark.get(letter, 0.0)} for mark in marks for letter in depth] if beside else marks
    most, least = max(positive), min(positive)
    top = math.ceil(math.log10(most))
    span, decades = max(math.log10(most / least), 1.0), top - math.floor(math.log10(least))
    scale = LogScale(columns, top=top, fewest=1, width=1 + round(decades * _PLOT_HEIGHT / span))
    below = "".join(str(block).ljust(_EVERY * each) for block in range(0, blocks, _EVERY))
    lines = scale.upright(columns, below)
    return OverDepth(lines, each, lines[-1].index("0"), beside)
