"""The map of every text on every other, as one matrix a rung for all texts of a model (claim 2)."""

from __future__ import annotations

from rich.console import Console

from harness.protocol import RUNGS
from reports.sections import Evidence, as_share, as_short, new_table, print_heading, print_legend, told


def print_transfer(console: Console, model: str, evidence: Evidence) -> None:
    """Print the matrices of a model from the ``evidence`` of a whole report; nothing without texts that were compared."""
    scored: dict[str, dict[str, Evidence]] = {}
    for pair, parts in evidence.items():
        if pair.startswith(f"{model}/"):
            for rung in RUNGS:
                if parts.get(f"transfer/{rung}"):
                    scored.setdefault(rung, {})[pair.removeprefix(f"{model}/")] = parts[f"transfer/{rung}"]
    if not scored:
        return
    print_heading(console, f"{model}: the last block's map of every text on every other, R² and perplexity added")
    for rung, texts in scored.items():
        sources = dict.fromkeys(source for e in texts.values() for source in e.get("sources") or ())
        table = new_table(rung, *(f"on {text}" for text in texts), gap=2)
        for source in sources:
            table.add_row(f"of {source}", *(_cell(e, source, text) for text, e in texts.items()))
        console.print(table)
    print_legend(
        console,
        "Rows: the text that the map was fitted to (its calibration windows); columns: the text on which it takes the last block's place "
        "(evaluation windows). R² is over the same ‖Δ‖² down a column; after it ΔPPL, over the untouched model on that text. =: a text's "
        "own map.",
    )


def _cell(e: Evidence, source: str, text: str) -> str:
    """R² and perplexity added of one text's map on another text."""
    sources = list(e.get("sources") or ())
    if source not in sources:
        return "–"
    r2, added = ((e.get(name) or [None] * len(sources))[sources.index(source)] for name in ("r2", "added"))
    return f"{'= ' if source == text else ''}{told(r2, as_share)} {told(added, as_short):>7}"
