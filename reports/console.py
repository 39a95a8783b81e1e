"""What a terminal shows: progress, the verdict table, R² over depth, and the legend."""

from __future__ import annotations

import io
import textwrap
import time
from collections.abc import Callable, Iterable
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from claims import CLAIMS, Predicate, Verdict
from harness.protocol import RUNGS
from reports import stability_words
from reports.document import Document
from reports.escaped import escaped, escaped_ledger
from reports.evidence import print_evidence
from reports.ledger import UNRUN, ClaimVerdict, Ledger, Row, ladder, number, plus_minus
from reports.replication_shown import lines_of_run
from reports.stability import Sweep
from reports.transfer_evidence import print_transfer

_STYLES = {
    Verdict.HOLDS: "bold green",
    Verdict.FALSIFIED: "bold red",
    Verdict.ERROR: "bold red",
    Verdict.INCONCLUSIVE: "bold yellow",
    Verdict.UNTESTED: "dim",
    Verdict.NOT_APPLICABLE: "dim",
}
_PLOT_WIDTH = 41
_PLAIN_SECONDS = 10.0
_WIDEST = 140

_Justify = Literal["left", "right"]
_COLUMNS: tuple[tuple[str, int, _Justify], ...] = (
    ("  predicate", 29, "left"),
    ("rung", 8, "left"),
    ("verdict", 14, "left"),
    ("figure", 7, "right"),
    ("interval", 16, "left"),
    ("holds | falsified", 20, "left"),
    ("margin", 7, "right"),
)
_STABLE: tuple[str, int, _Justify] = ("stable", 6, "right")
_NARROWEST = 110


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


def render(ledger: Ledger, facts: dict[str, Any], width: int, colour: bool, file: str = "report.json") -> str:
    """Render everything below the progress lines as text; at least 110 columns wide, because the table needs them, 115 with a sweep.

    What models, texts and files call themselves and say is escaped: it cannot move the cursor, nor hide a line. ``file``: the report file,
    which the command named below figures of the paper's models reads.
    """
    text = io.StringIO()
    least = _NARROWEST + (_STABLE[1] - 1 if ledger.settings else 0)
    console = Console(
        file=text,
        width=min(max(width, least), _WIDEST),
        force_terminal=colour,
        no_color=not colour,
        highlight=False,
        markup=False,
        emoji=False,
    )
    ledger, facts = escaped_ledger(ledger), escaped(facts)
    rows, sweep = ledger.complete(), Sweep(ledger.settings, ledger.swept)
    verdicts = ledger.claims(rows)
    for model, corpus in ledger.pairs:
        here = [row for row in rows if (row.cell.model, row.cell.corpus) == (model, corpus)]
        if _failed_whole(here):
            continue  # The message at the end says it all.
        _print_subject(console, model, corpus, facts)
        mine = [c for c in verdicts if (c.model, c.corpus) == (model, corpus)]
        _print_claims(console, here, mine, ledger.pairs[model, corpus], sweep)
        _print_paragraphs(console, stability_words.unmeasured(sweep, here))
        _print_untested(console, here)
        _print_depth(console, here)
        print_evidence(console, facts.get("evidence", {}).get(f"{model}/{corpus}", {}), here)
    for model in dict.fromkeys(model for model, _ in ledger.pairs):
        print_transfer(console, model, facts.get("evidence", {}))
    _print_messages(console, rows)
    for line in lines_of_run(Document("", facts, tuple(rows), tuple(verdicts), ledger.pairs), file):
        console.print(f"\n{line}", soft_wrap=True)
    if any(row.value is not None for row in rows):
        console.print(Text(_legend(console.width), style="dim"))
        _print_settings(console, sweep)
    console.print(Text(_bounds(facts), style="dim"))
    return text.getvalue().strip("\n")


def _failed_whole(rows: list[Row]) -> bool:
    """Whether nothing came of a model on a corpus: every cell that ran failed, for one reason."""
    ran = [r for r in rows if r.verdict is not Verdict.UNTESTED or r.reason not in UNRUN]
    failed = all(r.verdict in (Verdict.ERROR, Verdict.UNTESTED) for r in ran)
    return bool(ran) and failed and len({r.reason for r in ran}) == 1


def _print_subject(console: Console, model: str, corpus: str, facts: dict[str, Any]) -> None:
    """Say what was measured on what: provenance of the weights and of the text, with fingerprints."""
    m, c = facts.get("models", {}).get(model), facts.get("corpora", {}).get(corpus)
    console.print()
    console.print(Text(model, style="bold"), Text(f"· {m['about']}" if m else "· not loaded"))
    if m:
        console.print(f"  weights {m['weights'][:8]}, {m['provenance']}; {m['dtype']} on {m['device']}, {m['attention']} attention")
    if c:
        console.print(f"  text {c['text'][:8]}, {corpus}: {c['edition']}, {c['splitting']}", soft_wrap=True)
        console.print(f"  corpus {c['chosen']}", soft_wrap=True)
    for what, timing in facts.get("timings", {}).get(f"{model}/{corpus}", {}).items():
        windows = " + ".join(str(count) for count in timing["windows"].values())
        console.print(f"  {what}: {_source(timing)}, {f'{windows} windows' if windows else 'weights alone'}")


def _source(timing: dict[str, Any]) -> str:
    """Say where a measurement comes from."""
    if timing["stored"]:
        return "from the store"
    return f"came with {timing['with']}" if "with" in timing else f"measured in {timing['seconds']:.0f} s"


def _print_claims(console: Console, rows: list[Row], verdicts: list[ClaimVerdict], n_blocks: int, sweep: Sweep) -> None:
    """Print each claim with its verdict on every judged rung, and below it one line a predicate and rung."""
    columns = (*_COLUMNS, _STABLE) if sweep else _COLUMNS
    for claim in CLAIMS:
        here = [r for r in rows if r.cell.claim == claim.key]
        heading = Text(f"\n{claim.label}: {claim.title}", style="bold")
        for c in verdicts:
            if c.claim == claim.key and c.verdict is not Verdict.MEASURED:
                heading.append(f"   {c.rung} ", style="not bold")
                heading.append(c.verdict.word, style=_STYLES.get(c.verdict, ""))
                stable = sweep.of_claim(c, here)
                heading.append(f"{_why(c)}{f' · {stable.share}' if stable else ''}", style="not bold dim")
        console.print(heading, soft_wrap=True)
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
        for name, width, justify in columns:
            table.add_column(name, width=width, justify=justify, no_wrap=True)
        remarks = [*stability_words.of_claims(sweep, (c for c in verdicts if c.claim == claim.key), here)]
        remarks += stability_words.of_cells(sweep, here)
        for predicate in claim.predicates:
            remarks += _add_predicate(table, predicate, [r for r in here if r.cell.predicate == predicate.name], n_blocks, sweep)
        if table.row_count:
            console.print(table)
        for remark in remarks:
            console.print(Text(textwrap.fill(f"  {remark}", console.width, subsequent_indent="    "), style="dim"))


def _why(claim: ClaimVerdict) -> str:
    if claim.verdict is Verdict.UNTESTED:
        return f" ({len(claim.decided_by)} core not run)"
    return f" ({', '.join(claim.decided_by)})" if claim.verdict in (Verdict.FALSIFIED, Verdict.INCONCLUSIVE, Verdict.ERROR) else ""


def _add_predicate(table: Table, predicate: Predicate, rows: list[Row], n_blocks: int, sweep: Sweep) -> list[str]:
    """Add one line a rung; of a predicate with a cell for every block, the last block's (the depth plot shows the others).

    Returns the remarks to print below, each with its rungs.
    """
    ran = [r for r in rows if r.verdict is not Verdict.UNTESTED or r.reason not in UNRUN]
    last = max((r.cell.block for r in ran if r.cell.block is not None), default=None)
    label = f"{predicate.name}{'' if last is None else f', block {last}'}"
    name = f"  {label}{' *' if any(r.core for r in ran) else ''}"
    remarks: dict[str, list[str]] = {}
    shown = [r for r in ran if r.cell.block == last]
    for row in shown:
        word = Text(row.verdict.word, style=_STYLES.get(row.verdict, ""))
        value = "" if row.value is None else number(row.value)
        interval = "" if row.low is None or row.high is None else f"[{number(row.low)}, {number(row.high)}]"
        margin = "" if row.margin is None else number(row.margin)
        stable = [found.share if (found := sweep.of_cell(row)) else ""] if sweep else []
        table.add_row(name, row.cell.rung, word, value, interval, row.bound.short() if row.bound else "", margin, *stable)
        name = ""
        for remark in (*row.caveats, *filter(None, [row.reason])):
            remarks.setdefault(remark, []).append(row.cell.rung)
    sentence = ladder(predicate, shown, n_blocks)
    moved = [f"{label}: {sentence}"] if sentence else []
    return moved + [f"{label} · {', '.join(rungs)}: {remark}" for remark, rungs in remarks.items()]


def _print_untested(console: Console, rows: list[Row]) -> None:
    """Name what did not run and why, so that an empty place is never taken for a pass."""
    missing: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        if row.verdict is Verdict.UNTESTED and row.reason in UNRUN:
            rungs = missing.setdefault(row.reason, {}).setdefault(row.cell.predicate, [])
            if row.cell.rung not in rungs:
                rungs.append(row.cell.rung)
    ran = {row.cell.predicate for row in rows if row.verdict is not Verdict.UNTESTED or row.reason not in UNRUN}
    for reason, predicates in missing.items():
        names = ", ".join(f"{p} on {' and '.join(rungs)}" if p in ran else p for p, rungs in predicates.items())
        console.print()
        console.print(Text(textwrap.fill(f"UNTESTED, {reason}: {names}", console.width, subsequent_indent="  "), style="dim"))


def _print_depth(console: Console, rows: list[Row]) -> None:
    """Print R² of every block, with a plot in which each rung is its first letter."""
    r2 = [r for r in rows if r.cell.predicate == "r2" and r.value is not None]
    rungs = [name for name in RUNGS if any(r.cell.rung == name for r in r2)]
    if not rungs:
        return
    console.print(
        Text("\nR² of every block ± half its interval (p paper, h held-out, t typical, s strict; a letter hides later ones)", style="bold")
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("block", justify="right")
    for rung in rungs:
        table.add_column(rung, no_wrap=True)
    half = "·" * (_PLOT_WIDTH // 2 - 1)
    table.add_column(f"0{half}½{half}1", no_wrap=True)
    for block in sorted({r.cell.block for r in r2 if r.cell.block is not None}):
        here = {r.cell.rung: r for r in r2 if r.cell.block == block}
        line = [" "] * _PLOT_WIDTH
        for rung in reversed(rungs):
            if rung in here:
                place = min(max(here[rung].value or 0.0, 0.0), 1.0)
                line[round(place * (_PLOT_WIDTH - 1))] = rung[0]
        table.add_row(str(block), *(plus_minus(here[r]) if r in here else "" for r in rungs), "".join(line).rstrip())
    console.print(table)


def _print_paragraphs(console: Console, paragraphs: Iterable[str]) -> None:
    for paragraph in paragraphs:
        console.print(Text(textwrap.fill(paragraph, console.width, subsequent_indent="  "), style="dim"))


def _print_settings(console: Console, sweep: Sweep) -> None:
    """Say what the column is that a sweep adds, and what each of its settings changes."""
    if sweep:
        _print_paragraphs(console, [f"Stable: {stability_words.MEANING}", *(f"  {line}" for line in stability_words.described(sweep))])


def _print_messages(console: Console, rows: list[Row]) -> None:
    """One line for every falsified cell, and one for every reason why cells could not be measured."""
    lines = [row.message() for row in rows if row.verdict is Verdict.FALSIFIED]
    failed: dict[tuple[str, str, str, str], int] = {}
    for row in rows:
        if row.verdict is Verdict.ERROR or (row.verdict is Verdict.UNTESTED and row.reason not in UNRUN):
            key = (row.verdict.word, row.reason or "", row.cell.model, row.cell.corpus)
            failed[key] = failed.get(key, 0) + 1
    lines += [f"{word}: {model} · {corpus} · {n} cell{'s'[: n != 1]}: {reason}" for (word, reason, model, corpus), n in failed.items()]
    if lines:
        console.print()
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _legend(width: int) -> str:
    rungs = "; ".join(f"{rung.name}: {rung.summary}" for rung in RUNGS.values())
    return "\n" + textwrap.fill(
        f"Rungs, each with one control more: {rungs}. paper and strict carry verdicts; the others are measured, so that a reader sees "
        "which control moves one. * core: the claim stands or falls with it. Intervals: delete-one jackknife, at 95% for all core cells "
        "of a claim on a rung together, at 95% for the rows of all blocks together, at 95% for each of the rest. HOLDS, FALSIFIED: the "
        "whole interval lies beyond that bound; INCONCLUSIVE: it does not. Margin: how far the interval may move before the verdict "
        "changes; negative: how far to a verdict.",
        width,
    )


def _bounds(facts: dict[str, Any]) -> str:
    """Say whether the bounds are those that were fixed before any model was measured."""
    bounds = facts["bounds"]
    amended = f"; amended: {'; '.join(bounds['amendments'])}" if bounds["amendments"] else ""
    return f"Bounds {bounds['sha256'][:8]}, {'as locked' if bounds['locked'] else 'NOT as locked: changed without an amendment'}{amended}."
