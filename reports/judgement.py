"""From a figure to a row: interval, bound, doubts, and how much more text would decide."""

from __future__ import annotations

import math
from typing import Protocol as Interface

from claims.claim import Measures
from claims.verdicts import Bound, Verdict
from harness.linearity import CALIBRATION, EVALUATION
from harness.protocol import RUNGS, Protocol
from harness.statistics import Figure, Interval
from reports.ledger import Cell, Row


class Sizes(Interface):
    """What is needed of a laboratory here."""

    protocol: Protocol

    def sizes(self, rung: str) -> dict[str, int]:
        """Windows of each split on a rung."""


def judge(
    cell: Cell,
    measures: Measures,
    n_blocks: int,
    figure: Figure,
    doubts: tuple[str, ...],
    caveats: tuple[str, ...],
    note: str | None,
    lab: Sizes,
) -> Row:
    """Judge a figure against its cell's bound.

    Only judged rungs and whole sizes carry verdicts; on the others the row is MEASURED. On ``strict`` a figure that changes by more than
    0.05 when it is fitted on half the calibration windows is doubtful, and a doubtful figure is INCONCLUSIVE whatever its interval.
    """
    claim, predicate, quick = measures.claim, measures.predicate, lab.protocol.quick
    core = predicate.is_core(cell.rung, cell.block, n_blocks)
    value = float(figure.value)
    if math.isnan(value):
        why = "no figure: the block adds nothing, or all values are equal"
        return Row(cell, Verdict.NOT_APPLICABLE, predicate.unit, core, caveats=caveats, reason=why, quick=quick)
    if figure.half is not None and not abs(float(figure.half) - value) <= lab.protocol.half_sample_change:
        doubts = (
            *doubts,
            f"fitted on half the calibration windows it is {float(figure.half):.3f}, a change above {lab.protocol.half_sample_change}",
        )
    interval = figure.interval(claim.level(predicate, cell.rung, cell.block, n_blocks), predicate.inside)
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        why = "no interval: with some group or window left out there is nothing to explain"
        return Row(cell, Verdict.NOT_APPLICABLE, predicate.unit, core, caveats=caveats, reason=why, quick=quick)
    row = Row(
        cell,
        Verdict.MEASURED,
        predicate.unit,
        core,
        interval.value,
        interval.low,
        interval.high,
        interval.level,
        caveats=(*doubts, *caveats),
        reason=note,
        quick=quick,
    )
    bound = predicate.judged(cell.rung, cell.block, n_blocks) if RUNGS[cell.rung].judged and not quick else None
    if bound is None:
        return row
    verdict, margin = bound.judge(interval.low, interval.high)
    reasons = [note] if note else []
    if doubts:
        return row.judged(Verdict.INCONCLUSIVE, bound, None, "; ".join(["in doubt, so not judged", *reasons]))
    if verdict is Verdict.INCONCLUSIVE:
        reasons.insert(0, _more_windows(bound, interval, figure, lab.sizes(cell.rung)))
    return row.judged(verdict, bound, margin, "; ".join(reasons) or None)


def _more_windows(bound: Bound, interval: Interval, figure: Figure, sizes: dict[str, int]) -> str:
    """Say about how many windows would decide, a standard error falling with the root of their number and the figure staying."""
    factor = bound.narrowing(interval.value, interval.value - interval.half, interval.value + interval.half)
    if factor is None:
        return "the figure itself lies between the bounds: more windows will not decide"
    times = 1 / factor**2
    parts = {CALIBRATION: figure.fit, EVALUATION: figure.score}
    more = [
        f"{math.ceil(sizes[split] * times):,} windows for {split}, not {sizes[split]}" for split, rows in parts.items() if rows is not None
    ]
    return f"about {' and '.join(more)}, would decide if the figure stayed"
