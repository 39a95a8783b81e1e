"""A history as text: spells of verdicts with what changed at each flip, and the course of every figure."""

from __future__ import annotations

import textwrap
from datetime import datetime
from typing import TYPE_CHECKING, Any

from claims import Verdict
from fixtures.naming import did_you_mean, printable
from reports.document import ReportError
from reports.history_files import Folder
from reports.ledger import number
from reports.setup_changes import short, told
from reports.setups import differences
from reports.text_table import aligned

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_BARS = "▁▂▃▄▅▆▇█"
_LONGEST = 40
_WIDTH = 120
_NAMED = 5

_SERIES = """
SELECT claim, rung, list(verdict ORDER BY spell), list(runs ORDER BY spell), list(first ORDER BY spell), list(before ORDER BY spell)
FROM (SELECT *, lag(last) OVER (PARTITION BY model, corpus, claim, rung ORDER BY spell) AS before FROM claim_spells)
WHERE model = $m AND corpus = $c
GROUP BY claim, rung HAVING NOT $changed OR count(*) > 1
ORDER BY try_cast(claim AS INTEGER) NULLS LAST, claim, rung
"""
_COURSES = """
SELECT r.claim, r.predicate, r.rung, any_value(r.block),
       coalesce(list(r.value ORDER BY r.run) FILTER (r.value IS NOT NULL AND NOT r.quick),
                list(r.value ORDER BY r.run) FILTER (r.value IS NOT NULL)),
       arg_max(r.verdict, r.run), any_value(s.verdicts), any_value(s.counts)
FROM rows r JOIN runs u USING (run, model, corpus)
LEFT JOIN (SELECT model, corpus, cell, list(verdict ORDER BY spell) AS verdicts, list(runs ORDER BY spell) AS counts
           FROM cell_spells GROUP BY ALL) s USING (model, corpus, cell)
WHERE r.model = $m AND r.corpus = $c AND (r.block IS NULL OR r.block = u.n_blocks - 1)
GROUP BY r.claim, r.predicate, r.rung, r.cell
HAVING NOT $changed OR any_value(len(s.verdicts)) > 1
ORDER BY try_cast(r.claim AS INTEGER) NULLS LAST, r.claim, arg_max(r.position, r.run)
"""
_RUNS = """
SELECT r.run, u.finished, u.file, r.verdict, r.value, r.low, r.high, r.bound, u.weights, u.text, u.code, f.before, f.before_run
FROM rows r JOIN runs u USING (run, model, corpus) LEFT JOIN cell_flips f USING (run, model, corpus, cell)
WHERE r.model = $m AND r.corpus = $c AND r.cell = $cell ORDER BY r.run
"""
_MATCHING = """
SELECT model, corpus, cell FROM rows WHERE (cell GLOB $glob OR ident GLOB $glob)
  AND (NOT $changed OR cell IN (SELECT cell FROM cell_flips f WHERE f.model = rows.model AND f.corpus = rows.corpus))
GROUP BY ALL ORDER BY min(run), arg_max(position, run), cell
"""


def overview(database: DuckDBPyConnection, folder: Folder, changed: bool) -> str:
    """Write the whole history: for each model and text the verdicts on claims, then one line a cell; only what flipped if ``changed``."""
    lines = _heading(folder)
    pairs = database.execute("SELECT model, corpus, count(*) FROM runs GROUP BY ALL ORDER BY min(run), model, corpus").fetchall()
    shown = False
    for model, corpus, count in pairs:
        asked = {"m": model, "c": corpus, "changed": changed}
        claims, courses = (database.execute(query, asked).fetchall() for query in (_SERIES, _COURSES))
        if not claims and not courses and changed:
            continue
        shown = True
        lines += ["", f"{printable(model)} · {printable(corpus)}: {count} run{'s'[: count != 1]}"]
        table = aligned([(_label(claim), printable(rung), _spells(words, counts)) for claim, rung, words, counts, _, _ in claims] or [()])
        for line, (*_, words, _, firsts, before) in zip(table, claims, strict=False):
            lines += [f"  {line}", *_flips(database, (model, corpus), words, firsts, before)]
        if courses:
            lines += ["", *(f"  {line}" for line in aligned([_course(course) for course in courses], (5,)))]
    if changed and not shown:
        lines += ["", "No verdict ever flipped."]
    return "\n".join([*lines, "", *textwrap.wrap(_legend(), _WIDTH)])


def cells(database: DuckDBPyConnection, folder: Folder, glob: str, changed: bool) -> str:
    """Write cells in full, one line a run. Raises ReportError when none matches."""
    found = database.execute(_MATCHING, {"glob": glob, "changed": changed}).fetchall()
    if not found:
        every = [cell for (cell,) in database.execute("SELECT DISTINCT cell FROM rows ORDER BY cell").fetchall()]
        if changed and database.execute(_MATCHING, {"glob": glob, "changed": False}).fetchall():
            return "\n".join([*_heading(folder), "", f"No cell of {printable(glob)} ever flipped."])
        wild = "" if set(glob) & set("*?[") else f"; * stands for anything, as in '{printable(glob)}-*'"
        first = f"; the first of {len(every)}: {printable(every[0])}" if every else "; no cell was measured"
        raise ReportError(f"--cell {printable(glob)}: no such cell{printable(did_you_mean(glob, every))}{first}{wild}")
    lines = _heading(folder)
    header = ("run", "finished (UTC)", "verdict", "figure", "interval", "holds | falsified", "weights", "text", "code", "report")
    for model, corpus, cell in found:
        runs = database.execute(_RUNS, {"m": model, "c": corpus, "cell": cell}).fetchall()
        table = aligned([header, *(_run(line) for line in runs)], (0, 3))
        lines += ["", f"{printable(cell)}   {sparkline([line[4] for line in runs if line[4] is not None])}", f"  {table[0]}"]
        for text, line in zip(table[1:], runs, strict=True):
            lines.append(f"  {text}")
            if line[11] is not None:
                lines += _change(database, (model, corpus), line[12], line[0], line[11], line[3])
    return "\n".join(lines)


def sparkline(values: list[float]) -> str:
    """Draw the last 40 values, the least as ▁ and the greatest as █; equal values in the middle."""
    values = values[-_LONGEST:]
    if not values:
        return ""
    low, high = min(values), max(values)
    # Halved first: the difference of two finite numbers need not be finite.
    span = high / 2 - low / 2
    return "".join(_BARS[3] if span <= 0 else _BARS[min(int((value / 2 - low / 2) / span * len(_BARS)), 7)] for value in values)


def _heading(folder: Folder) -> list[str]:
    """Say what was read, how its times are known, and what was left out."""
    count, files = len(folder.reports), [one for one in folder.reports if not one.stated]
    first, last = folder.reports[0].finished, folder.reports[-1].finished
    lines = [f"{count} report{'s'[: count != 1]}, {_time(first)} … {_time(last)} UTC"]
    if files:
        some = "1 report does not say" if len(files) == 1 else f"{len(files)} reports do not say"
        which = "no report says" if len(files) == count else some
        lines.append(f"{which} when it was made: the time of the file is taken, which copying may have changed")
    for what, names in (("no report", [f"{name} ({why})" for name, why in folder.skipped]), ("a copy of another", list(folder.copies))):
        if names:
            more = f", {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            said = f"{len(names)} file{'s'[: len(names) != 1]} left out, {what}: {', '.join(names[:_NAMED])}{more}"
            lines += textwrap.wrap(said, _WIDTH, subsequent_indent="  ")
    return lines


def _flips(database: DuckDBPyConnection, pair: tuple[str, str], words: list[str], firsts: list[int], before: list[int]) -> list[str]:
    lines = []
    for i in range(1, len(words)):
        lines += _change(database, pair, before[i], firsts[i], words[i - 1], words[i])
    return lines


def _change(database: DuckDBPyConnection, pair: tuple[str, str], before: int, after: int, was: str, now: str) -> list[str]:
    """Say when a verdict flipped, in which report, and what differs in set-up from the last run that judged."""
    query = "SELECT what, value FROM setups WHERE run = $run AND model = $m AND corpus = $c"
    asked = ({"run": run, "m": pair[0], "c": pair[1]} for run in (before, after))
    earlier, later = (dict(database.execute(query, parameters).fetchall()) for parameters in asked)
    query = "SELECT finished, file FROM runs WHERE run = ? AND model = ? AND corpus = ?"
    when = database.execute(query, [after, *pair]).fetchall()[0]
    changes = "; ".join(told(differences(earlier, later), "the earlier", "the later")) or "the stated set-up is the same"
    said = f"◄ {_time(when[0])} {_word(was)} → {_word(now)} in {printable(when[1])}: {changes}"
    return textwrap.wrap(said, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 8)


def _course(course: tuple[Any, ...]) -> tuple[str, ...]:
    claim, predicate, rung, block, values, last, words, counts = course
    values = values or []
    ends = [number(values[0]), number(values[-1])] if values else []
    figures = ends[0] if ends and len(set(values)) == 1 else " → ".join(ends)
    bars, times = (sparkline(values), f"{len(values)}×") if len(values) > 1 else ("", "")
    name = printable(predicate) + ("" if block is None else f", block {block}")
    return _label(claim), name, printable(rung), bars, figures, times, _spells(words, counts) if words else _word(last)


def _run(line: tuple[Any, ...]) -> tuple[str, ...]:
    run, finished, file, verdict, value, low, high, bound, weights, text, code, *_ = line
    interval = "" if low is None or high is None else f"[{number(low)}, {number(high)}]"
    hashes = [short(one or "") for one in (weights, text, code)]
    figure = "" if value is None else number(value)
    return str(run), _time(finished), _word(verdict), figure, interval, printable(bound or ""), *hashes, printable(file)


def _spells(words: list[str], counts: list[int]) -> str:
    """Write spells of one verdict: ``HOLDS ×3 → INCONCLUSIVE``."""
    return " → ".join(_word(word) + (f" ×{count}" if count > 1 else "") for word, count in zip(words, counts, strict=True))


def _legend() -> str:
    return (
        "HOLDS ×3 → FALSIFIED: three runs, then one; runs that did not judge (not selected, quarter sizes) are left out. Bars: the figure "
        "from run to run, between its least and greatest; n×: runs that measured it, at whole sizes where any did. Of predicates of every "
        "block the last is shown; --cell 'r2-*' shows others, with each run's interval, bound, weights and code. ◄: what differs in set-up "
        "from the run before that judged."
    )


def _word(verdict: str) -> str:
    return Verdict(verdict).word


def _label(claim: str) -> str:
    return f"claim {claim}" if claim.isdigit() else printable(claim)


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M}"
