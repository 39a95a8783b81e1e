"""Tables of false verdicts and of power, in Markdown, from records of :mod:`tests.simulated`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from tests.false_verdicts import Record, Tally, claims_tallied, clopper_pearson, tallied


def percent(count: int, total: int) -> str:
    """Write a rate with its 95% interval: ``2% (0–5)``."""
    if not total:
        return "–"
    low, high = clopper_pearson(count, total)
    return f"{count / total:.1%} ({100 * low:.1f}–{100 * high:.1f})"


def written(rows: Iterable[Sequence[str]]) -> str:
    """Write a table; the first row is its head."""
    head, *rest = [list(row) for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rest))


def _number(values: Sequence[float]) -> str:
    shown = sorted({f"{value:.3g}".replace("-", "−") for value in (values[:1] if not values else (min(values), max(values)))})
    return " … ".join(shown) if shown else "none"


def cells(tallies: Iterable[Tally]) -> str:
    """Write what was counted of every cell."""
    rows = [("predicate", "rung", "null", "truth", "seeds", "holds", "falsified", "in doubt", "otherwise", "false (95%)")]
    rows[0] += ("level", "intervals", "above", "below", "undoubted", "above", "below")
    for t in sorted(tallies, key=lambda t: (t.predicate, t.rung, t.case)):
        holds, falsified = t.verdicts["holds"], t.verdicts["falsified"]
        rest = t.total - holds - falsified - t.doubted
        sides = [part for n, above, below in t.worst.values() for part in (str(n), _share(above, n), _share(below, n))]
        level = "–" if t.level is None else f"{t.level:.4g}"
        counts = [str(count) for count in (t.total, holds, falsified, t.doubted, rest)]
        rows.append((t.predicate, t.rung, t.case, _number(t.truths), *counts, percent(t.false, t.total), level, *sides))
    return written(rows)


def _share(count: int, total: int) -> str:
    return f"{count / total:.1%}" if total else "–"


def claims(records: Iterable[Record]) -> str:
    """Write the verdicts on whole claims."""
    rows = [("claim/rung", "null", "seeds", "holds", "falsified", "false (95%)")]
    for case, place, total, verdicts, false in sorted(claims_tallied(records), key=lambda each: each[1::-1]):
        rows.append((place, case, str(total), str(verdicts["holds"]), str(verdicts["falsified"]), percent(false, total)))
    return written(rows)


def brief(tallies: Iterable[Tally]) -> str:
    """Write for every predicate and rung the null with the most false verdicts, and the one whose intervals miss most."""
    by: dict[str, dict[str, list[Tally]]] = {}
    for t in tallies:
        by.setdefault(t.predicate, {}).setdefault(t.rung, []).append(t)
    rows = [("predicate", "paper: false verdicts", "misses on a side", "strict: false verdicts", "misses on a side")]
    for predicate, rungs in by.items():
        row = [f"`{predicate}`"]
        for rung in ("paper", "strict"):
            here = rungs.get(rung, [])
            if not here:
                row += ["–", "–"]
                continue
            worst = max(here, key=lambda t: t.false / t.total)
            row.append(f"{percent(worst.false, worst.total)}" + (f" {worst.case}" if worst.false else ""))
            missing = [t for t in here if not math.isnan(t.misses())]
            if missing:
                most = max(missing, key=lambda t: t.misses())
                total, *sides = most.worst["judged"]
                row.append(f"{percent(max(sides), total)}" + (f" {most.case}" if max(sides) else ""))
            else:
                row.append("–")
        rows.append(tuple(row))
    return written(rows)


def _outcomes(records: Iterable[Record]) -> dict[tuple[str, str, str, str], Counter[str]]:
    """Count outcomes by (predicate, rung, planted verdict, subject)."""
    found: dict[tuple[str, str, str, str], Counter[str]] = {}
    for record in records:
        for row in record["rows"] if record["kind"] == "plant" else []:
            got = found.setdefault((row["predicate"], row["rung"], row["expected"], record["case"]), Counter())
            got["seeds"] += 1
            got["doubted"] += row["doubted"]
            got["right" if row["verdict"] == row["expected"] else "wrong" if row["verdict"] in ("holds", "falsified") else "undecided"] += 1
    return found


def power_brief(records: Iterable[Record]) -> str:
    """Write one row a predicate: by rung and planted side, how often the verdict was right, and the opposite where it ever was."""
    by: dict[str, dict[tuple[str, str], str]] = {}
    for (predicate, rung, expected, _), got in _outcomes(records).items():
        wrong = f", opposite {got['wrong']}" if got["wrong"] else ""
        by.setdefault(predicate, {})[rung, expected] = f"{got['right']} of {got['seeds']}{wrong}"
    sides = [(rung, expected) for rung in ("paper", "strict") for expected in ("holds", "falsified")]
    rows = [("predicate", *(f"{rung}: {expected}" for rung, expected in sides))]
    rows += [(f"`{predicate}`", *(told.get(side, "–") for side in sides)) for predicate, told in by.items()]
    return written(rows)


def power(records: Iterable[Record]) -> str:
    """Write how often planted truths get the right verdict, and the opposite one."""
    found = _outcomes(records)
    rows = [("predicate", "rung", "planted", "subject", "seeds", "right (95%)", "opposite", "undecided", "of these in doubt")]
    for (predicate, rung, expected, case), got in sorted(found.items()):
        counts = [str(got[name]) for name in ("wrong", "undecided", "doubted")]
        rows.append((f"`{predicate}`", rung, expected, case, str(got["seeds"]), percent(got["right"], got["seeds"]), *counts))
    return written(rows)


def tables(records: Sequence[Any]) -> str:
    """Write all tables of a file of records."""
    parts = []
    if any(record["kind"] == "null" for record in records):
        counted = tallied(records)
        parts += [brief(counted), cells(counted), claims(records)]
    if any(record["kind"] == "plant" for record in records):
        parts += [power_brief(records), power(records)]
    return "\n\n".join(parts)
