"""What early exit costs and saves, beside exits at random, and whether the heads' confidence is what it says (claim 5)."""

from __future__ import annotations

import math

from rich.console import Console

from reports.sections import (
    Evidence,
    LogScale,
    Value,
    as_count,
    as_percent,
    as_share,
    as_short,
    finite,
    new_table,
    print_heading,
    print_legend,
    told,
)
from reports.unit_scale import unit_axis, unit_line

_SCALARS = ("threshold", "perplexity", "random", "saved", "saved_with_heads")
_LOG_WIDTH = 61


def print_routing(console: Console, rungs: Evidence) -> None:
    """Print what early exit costs and saves at every threshold, draw it, and show how far the confidence behind it can be trusted."""
    found = {rung: rows for rung, e in rungs.items() if (rows := [row for row in e.get("rows") or [] if row and _says(row)])}
    if found:
        _print_thresholds(console, rungs, found)
        _draw_curve(console, rungs, found)
    _print_calibration(console, rungs)


def _print_thresholds(console: Console, rungs: Evidence, found: dict[str, list[Evidence]]) -> None:
    exits = max(([as_count(at) for at in rungs[rung].get("exits") or []] for rung in found), key=len)
    most = max(len(exits), *(len(row.get("shares") or []) - 1 for rows in found.values() for row in rows))
    exits += ["–"] * (most - len(exits))
    leaving = [f"leave: {at}" if i == 0 else at for i, at in enumerate(exits)]
    table = new_table("rung", "confidence", "perplexity", "ΔPPL/PPL", "random", "ΔPPL/PPL", "saved", "with heads", *leaving, "never", gap=1)
    table.columns[0].min_width = len("untouched")
    for rung, rows in found.items():
        base = rungs[rung].get("baseline")
        table.add_row(rung, "untouched", told(base, as_short))
        for row in rows:
            threshold, perplexity, random, *saved = (row.get(name) for name in _SCALARS)
            costs = [told(cost, as_short) for after in (perplexity, random) for cost in (after, _over(after, base))]
            shares = [*(row.get("shares") or []), *[None] * (most + 1)][: most + 1]
            percents = (told(share, as_percent) for share in (*saved, *shares))
            table.add_row("", told(threshold, "{:.2f}".format), *costs, *percents)
    print_heading(console, "Early exit: a token leaves at the first exit whose head is confident enough")
    console.print(table)
    print_legend(
        console,
        "confidence: the head's top-1 probability from which a token leaves. perplexity: of the text, read at each token's exit. "
        "ΔPPL/PPL: over untouched. random: as many tokens leave at each exit, drawn at random; what confidence is worth is the difference. "
        "saved: of the blocks' operations, counted by parameters that a token uses; with heads: less what the heads themselves cost, "
        "below zero where they cost more than they save. leave: share of tokens that leave at the output of each "
        "block; never: through all blocks.",
    )


def _draw_curve(console: Console, rungs: Evidence, found: dict[str, list[Evidence]]) -> None:
    """Draw perplexity over the compute saved: a line for every threshold, least saved first."""
    lines = {
        rung: [
            (0.0, {"u": rungs[rung].get("baseline")}),
            *((row["saved"], {"c": row.get("perplexity"), "r": row.get("random")}) for row in _by_saving(rows)),
        ]
        for rung, rows in found.items()
    }
    values = finite(value for drawn in lines.values() for _, mark in drawn for letter, value in mark.items() if letter != "u")
    if not any(value > 0 for value in values):
        return
    marks = {rung: [(saved, _positive(mark)) for saved, mark in drawn] for rung, drawn in lines.items()}
    every = [mark for drawn in marks.values() for _, mark in drawn]
    scale = LogScale(every, top=math.ceil(math.log10(max(max(mark.values(), default=0.0) for mark in every))), fewest=1, width=_LOG_WIDTH)
    print_heading(console, "Perplexity over the compute that early exit saves (log scale)")
    table = new_table("rung", "saved", plot=scale.axis)
    for rung, drawn in marks.items():
        for i, (saved, mark) in enumerate(drawn):
            table.add_row("" if i else rung, told(saved, as_percent), scale.line(mark))
    console.print(table)
    print_legend(console, "u untouched, c by confidence, r at random, = where two meet. saved: of the blocks' operations, without heads.")


def _print_calibration(console: Console, rungs: Evidence) -> None:
    """Print the expected calibration error of every head, and for the strictest rung how often each is right by confidence."""
    heads = {rung: {at: head for at, head in (e.get("calibration") or {}).items() if head and _tells(head)} for rung, e in rungs.items()}
    heads = {rung: by_exit for rung, by_exit in heads.items() if by_exit}
    if not heads:
        return
    exits = list(dict.fromkeys(at for by_exit in heads.values() for at in by_exit))
    print_heading(console, "Are heads as often right as they are confident? Expected calibration error")
    table = new_table("rung", *(f"block {at}" for at in exits))
    for rung, by_exit in heads.items():
        table.add_row(rung, *(told((by_exit.get(at) or {}).get("error"), as_share) for at in exits))
    console.print(table)
    print_legend(
        console,
        "Mean |confidence − share right| over bins of confidence, by tokens. right: the head's top-1 token is the text's next one, not the "
        "full model's. 0: confidence is what it says.",
    )
    last = [rung for rung, by_exit in heads.items() if any(map(_bins, by_exit.values()))][-1:]
    for rung in last:
        _draw_reliability(console, rung, heads[rung])


def _draw_reliability(console: Console, rung: str, heads: dict[str, Evidence]) -> None:
    print_heading(console, f"Reliability of the heads' confidence ({rung})")
    table = new_table("exit", "confidence", "tokens", "mean", "right", left=2, plot=unit_axis())
    for at, head in heads.items():
        for i, part in enumerate(_bins(head)):
            limits = "–".join(told(part.get(name), "{:.1f}".format) for name in ("low", "high"))
            confidence, right = part.get("confidence"), part.get("right")
            cells = as_count(part.get("tokens")), told(confidence, as_share), told(right, as_share)
            table.add_row("" if i else f"block {at}", limits, *cells, unit_line({"c": confidence, "r": right}))
    console.print(table)
    print_legend(console, "c mean confidence of the bin's tokens, r share of them right, = both: r left of c is too much confidence.")


def _bins(head: Evidence) -> list[Evidence]:
    """The bins of confidence that hold tokens, or may."""
    return [part for part in head.get("bins") or [] if part and part.get("tokens") != 0]


def _tells(head: Evidence) -> bool:
    return _some(head.get("error")) or bool(_bins(head))


def _says(row: Evidence) -> bool:
    return bool(finite(row.get(name) for name in _SCALARS))


def _some(value: Value) -> bool:
    return bool(finite([value]))


def _positive(mark: dict[str, Value]) -> dict[str, float]:
    return {letter: value for letter, value in mark.items() if value is not None and 0 < value < math.inf}


def _by_saving(rows: list[Evidence]) -> list[Evidence]:
    return sorted((row for row in rows if _some(row.get("saved"))), key=lambda row: float(row["saved"]))


def _over(after: Value, base: Value) -> Value:
    return None if after is None or not base else after / base - 1
