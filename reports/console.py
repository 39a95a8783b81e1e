"""What a terminal shows: progress, the verdict table, R² over depth, and the legend."""

from __future__ import annotations

import io
import textwrap
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from claims import CLAIMS, Claim, Predicate, Verdict
from claims.declared import all_predicates
from harness.protocol import RUNGS
from reports.ledger import Ledger, Row, figure_text, number

_STYLES = {
    Verdict.HOLDS: "bold green",
    Verdict.FALSIFIED: "bold red",
    Verdict.ERROR: "bold red",
    Verdict.INCONCLUSIVE: "bold yellow",
    Verdict.UNTESTED: "dim",
    Verdict.NOT_APPLICABLE: "dim",
}
_PLOT_WIDTH = 40
_PLAIN_SECONDS = 10.0


def predicates() -> Iterator[tuple[Claim, Predicate]]:
    """Yield every claim with each of its predicates."""
    return all_predicates()


def progress(what: str, show: Callable[[str, bool], None], terminal: bool) -> Callable[[int, int], None]:
    """Return a callback for (done, total): a rewritten line with the time left, or a plain line every ten seconds."""
    start = last = time.monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        left = (now - start) / done * (total - done)
        finished = done == total
        if terminal:
            show(f"  {what}: {done}/{total}" + (f", done in {now - start:.0f} s\n" if finished else f", {left:.0f} s left"), True)
        elif finished or now - last >= _PLAIN_SECONDS:
            last = now
            show(f"  {what}: {done}/{total}" + (f", done in {now - start:.0f} s" if finished else f", about {left:.0f} s left"), False)

    return advance


def render(ledger: Ledger, facts: dict[str, Any], width: int, colour: bool) -> str:
    """Render everything below the progress lines as text."""
    console = Console(
        file=io.StringIO(), width=min(width, 140), force_terminal=colour, no_color=not colour, highlight=False, markup=False, emoji=False
    )
    rows = ledger.complete()
    for model, corpus in ledger.pairs:
        here = [row for row in rows if (row.cell.model, row.cell.corpus) == (model, corpus)]
        for line in _subject(model, corpus, facts):
            console.print(line, style="bold" if line.startswith(model) else None)
        _print_claims(console, here, [c for c in ledger.claims(rows) if (c.model, c.corpus) == (model, corpus)])
        _print_untested(console, here)
        _print_depth(console, here)
    _print_messages(console, rows)
    console.print(Text(_legend(console.width), style="dim"))
    return console.file.getvalue().rstrip()  # type: ignore[attr-defined]


def _subject(model: str, corpus: str, facts: dict[str, Any]) -> list[str]:
    m, c = facts.get("models", {}).get(model), facts.get("corpora", {}).get(corpus)
    lines = [
        f"{model}" + (f" · {m['about']} · {m['provenance']} · {m['dtype']} on {m['device']} · weights {m['weights'][:8]}" if m else "")
    ]
    if c:
        lines.append(f"{corpus} · {c['edition']} · {c['splitting']} · text {c['text'][:8]} · {c['chosen']}")
    return lines


def _print_claims(console: Console, rows: list[Row], verdicts: list[ClaimVerdict]) -> None:
    """Print each claim with its verdict on every judged rung, and below it one line a predicate and rung."""
    for claim in CLAIMS:
        heading = Text(f"\n{claim.label}: {claim.title}", style="bold")
        for c in verdicts:
            if c.claim == claim.key and not (claim.key == "appendix" and c.verdict is Verdict.MEASURED):
                heading.append(f"   {c.rung} ", style="not bold")
                heading.append(c.verdict.word, style=_STYLES.get(c.verdict, ""))
                heading.append(_why(c), style="not bold dim")
        console.print(heading, soft_wrap=True)
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(claim is LINEARITY))
        for name, width, justify in _COLUMNS:
            table.add_column(name, width=width, justify=justify, no_wrap=True, overflow="fold")
        for predicate in claim.predicates:
            _add_predicate(table, predicate, [r for r in rows if (r.cell.claim, r.cell.predicate) == (claim.key, predicate.name)])
        if table.row_count:
            table.show_header = True
            console.print(table)


def _why(claim: ClaimVerdict) -> str:
    if claim.verdict is Verdict.UNTESTED:
        return f" ({len(claim.decided_by)} core not run)"
    return f" ({', '.join(claim.decided_by)})" if claim.verdict in (Verdict.FALSIFIED, Verdict.INCONCLUSIVE, Verdict.ERROR) else ""


def _add_predicate(table: Table, predicate: Predicate, rows: list[Row]) -> None:
    """Add one line a rung; of a predicate with a cell for every block, the last block's (the others stand in the depth plot)."""
    ran = [r for r in rows if r.verdict is not Verdict.UNTESTED or r.reason not in UNRUN]
    last = max((r.cell.block for r in ran if r.cell.block is not None), default=None)
    name = f"  {predicate.name}" + (f" {last}" if last is not None else "") + (" *" if any(r.core for r in ran) else "")
    remarks: dict[str, list[str]] = {}
    for row in (r for r in ran if r.cell.block == last):
        word = Text(row.verdict.word, style=_STYLES.get(row.verdict, ""))
        value = "" if row.value is None else number(row.value)
        interval = "" if row.low is None or row.high is None else f"[{number(row.low)}, {number(row.high)}]"
        bound = row.bound.short() if row.bound else ""
        margin = "" if row.margin is None else number(row.margin)
        table.add_row(name, row.cell.rung, word, value, interval, bound, margin)
        name = ""
        for remark in (*row.caveats, *([row.reason] if row.reason else [])):
            remarks.setdefault(remark, []).append(row.cell.rung)
    for remark, rungs in remarks.items():
        table.add_row("", "", Text(f"{', '.join(rungs)}: {remark}", style="dim"))


def _print_untested(console: Console, rows: list[Row]) -> None:
    missing = [r for r in rows if r.verdict is Verdict.UNTESTED]
    if not missing:
        return
    reasons: dict[str, dict[str, None]] = {}
    for row in missing:
        reasons.setdefault(row.reason or "", {})[
            f"{row.cell.predicate} ({row.cell.rung})" if row.reason == "not selected" else row.cell.predicate
        ] = None
    for reason, names in reasons.items():
        text = f"UNTESTED, {reason}: {', '.join(names)}"
        console.print(Text(textwrap.fill(text, console.width, subsequent_indent="  "), style="dim"))


def _print_depth(console: Console, rows: list[Row]) -> None:
    """Print R² of every block, with a plot in which each rung is its first letter."""
    r2 = [r for r in rows if r.cell.predicate == "r2" and r.value is not None]
    rungs = [name for name in RUNGS if any(r.cell.rung == name for r in r2)]
    if not rungs:
        return
    table = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), title="R² of every block, by depth", title_justify="left", title_style="bold"
    )
    table.add_column("block", justify="right")
    for rung in rungs:
        table.add_column(rung)
    table.add_column(f"0{'·' * (_PLOT_WIDTH // 2 - 2)}½{'·' * (_PLOT_WIDTH // 2 - 2)}1", no_wrap=True)
    for block in sorted({r.cell.block for r in r2 if r.cell.block is not None}):
        here = {r.cell.rung: r for r in r2 if r.cell.block == block}
        line = [" "] * _PLOT_WIDTH
        for rung in reversed(rungs):
            if rung in here:
                place = min(max(here[rung].value or 0.0, 0.0), 1.0)
                line[round(place * (_PLOT_WIDTH - 1))] = rung[0]
        table.add_row(str(block), *(figure_text(here[r]) if r in here else "" for r in rungs), "".join(line).rstrip())
    console.print()
    console.print(table)


def _print_messages(console: Console, rows: list[Row]) -> None:
    """One line for every falsified cell, and one for every reason why cells could not be measured."""
    lines = [row.message() for row in rows if row.verdict is Verdict.FALSIFIED]
    failed: dict[tuple[str, str, str], int] = {}
    for row in rows:
        if row.verdict is Verdict.ERROR:
            key = (row.cell.model, row.cell.corpus, row.reason or "")
            failed[key] = failed.get(key, 0) + 1
    lines += [
        f"ERROR: {reason} · {model} · {corpus} · {count} cell{'s'[: count != 1]}" for (model, corpus, reason), count in failed.items()
    ]
    if lines:
        console.print()
    for line in lines:
        console.print(Text(line))


def _legend(width: int) -> str:
    rungs = "; ".join(f"{rung.name}: {rung.summary}" for rung in RUNGS.values())
    return "\n" + textwrap.fill(
        f"Rungs, each with one control more: {rungs}. paper and strict carry verdicts, the others are measured so that a reader sees which "
        "control moves one. * core: the claim stands or falls with it. Intervals are delete-one jackknife, at 95% over all core cells of a "
        "claim on a rung (Bonferroni). HOLDS or FALSIFIED: the whole interval lies beyond that bound; INCONCLUSIVE: it does not; margin: how "
        "far it may move before the verdict changes (negative: how far to a verdict).",
        width,
    )
