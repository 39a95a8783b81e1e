"""From a figure to a row: interval, bound, doubts, and how much more text would decide."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Protocol as Interface

from claims.claim import Measures
from claims.everywhere import Everywhere
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
    absent: str = "no figure: the block adds nothing, or all values are equal",
    everywhere: Everywhere | None = None,
) -> Row:
    """Judge a figure against its cell's bound; ``absent`` says why there is none when it is NaN.

    A figure that stands for many parts is judged by theirs (:class:`claims.everywhere.Everywhere`).

    Only judged rungs and whole sizes carry verdicts; on the others the row is MEASURED. On ``strict`` a figure that changes by more than
    0.05 when it is fitted on half the calibration windows is doubtful, and a doubtful figure is INCONCLUSIVE whatever its interval.
    """
    claim, predicate, quick = measures.claim, measures.predicate, lab.protocol.quick
    core = predicate.is_core(cell.rung, cell.block, n_blocks)
    value = float(figure.value)
    if math.isnan(value):
        return Row(cell, Verdict.NOT_APPLICABLE, predicate.unit, core, caveats=caveats, reason=absent, quick=quick)
    if figure.fit is None and figure.score is None and figure.further is None:  # A count, say: the jackknife needs a smooth figure.
        return Row(cell, Verdict.MEASURED, predicate.unit, core, value, caveats=caveats, reason=note, quick=quick)
    change, most = figure.change_on_half() if cell.rung == "strict" else None, lab.protocol.half_sample_change
    if change is not None and not change <= most:
        scale = "" if figure.origin is None else " on the log scale"
        half = float(figure.half or 0)
        told = f"fitted on half the calibration windows it is {half:.3f}, a change above {most}{scale}"
        doubts = (*doubts, "fitted on half the calibration windows there is no figure" if math.isnan(half) else told)
    bound = predicate.judged(cell.rung, cell.block, n_blocks) if RUNGS[cell.rung].judged and not quick else None
    level = claim.level(predicate, cell.rung, cell.block, n_blocks)
    interval = figure.interval(everywhere.level(level) if everywhere else level, predicate.inside)
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        why = "no interval: with some group or window left out there is nothing to compare with"
        verdict = Verdict.MEASURED if bound is None else Verdict.INCONCLUSIVE
        return Row(cell, verdict, predicate.unit, core, value, bound=bound, caveats=caveats, reason=why, quick=quick)
    row = Row(
        cell,
        Verdict.MEASURED,
        predicate.unit,
        core,
        interval.value,
        interval.low,
        interval.high,
        interval.level,
        standard_error=interval.error,
        origin=interval.origin,
        caveats=(*doubts, *caveats),
        reason=note,
        quick=quick,
    )
    if bound is None:
        said = predicate.bounds.get("strict")
        return replace(row, would=said.judge(everywhere.lowest(level), interval.high)[0]) if everywhere and said and not quick else row
    verdict, margin = bound.judge(everywhere.lowest(level) if everywhere else interval.low, interval.high)
    reasons = [note] if note else []
    if everywhere and (exceptions := everywhere.exceptions(bound, level)):
        reasons.insert(0, exceptions)
    if doubts:
        return row.judged(Verdict.INCONCLUSIVE, bound, None, "; ".join(["in doubt, so not judged", *reasons]))
    if verdict is Verdict.INCONCLUSIVE and not everywhere:
        reasons.insert(0, _more_windows(bound, interval, figure, lab.sizes(cell.rung)))
    return row.judged(verdict, bound, margin, "; ".join(reasons) or None)


def _more_windows(bound: Bound, interval: Interval, figure: Figure, sizes: dict[str, int]) -> str:
    """Say about how many windows would decide, a standard error falling with the root of their number and the figure staying."""
    factor = bound.narrowing(interval.value, *interval.raw)
    if factor is None:
        return "the figure itself lies between the bounds: more windows will not decide"
    times = 1 / factor**2
    counts = {CALIBRATION: sizes[CALIBRATION]} if figure.fit is not None else {}
    counts |= {EVALUATION: len(figure.score)} if figure.score is not None else {}
    more = [f"{math.ceil(count * times):,} windows for {split}, not {count}" for split, count in counts.items()]
    return f"about {' and '.join(more)}, would decide if the figure stayed"
