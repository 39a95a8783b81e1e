"""What a sceptical reader of claim 1 wants to see: spectra, chance, λ, curves, and single directions by rank."""

from __future__ import annotations

from rich.console import Console

from claims import Verdict
from harness.protocol import RUNGS, VarianceProtocol
from reports.ledger import Row
from reports.sections import (
    Evidence,
    LogScale,
    as_count,
    as_percent,
    as_scientific,
    as_share,
    finite,
    new_table,
    print_heading,
    print_legend,
    rows_of,
    spread,
    told,
)

_LINES = 16
_TOKENS = {"paper": "all tokens", "typical": "typical tokens"}


def print_dimensions(console: Console, rows: list[Row]) -> None:
    """Print how many PCs hold most of the variance at every boundary, with massive activations and without."""
    found: dict[int, dict[tuple[str, str], float | None]] = {}
    for row in rows:
        name, _, share = row.cell.predicate.partition("_")
        if name == "dimensions" and row.cell.block is not None and row.verdict is not Verdict.UNTESTED:
            found.setdefault(row.cell.block, {})[row.cell.rung, share] = row.value
    rungs = [rung for rung in _TOKENS if any(key[0] == rung and n is not None for here in found.values() for key, n in here.items())]
    if not rungs:
        return
    print_heading(console, "How many PCs hold 90, 95 and 99% of the variance of every block's output")
    table = new_table("block", *(name for rung in rungs for name in (f"{_TOKENS[rung]}: 90%", "95%", "99%")), left=0)
    for block, here in sorted(found.items()):
        table.add_row(str(block), *(as_count(here.get((rung, share))) for rung in rungs for share in ("90", "95", "99")))
    console.print(table)


def print_scree(console: Console, rungs: Evidence) -> None:
    """Print the share of variance of single PCs at mid, with massive activations and without."""
    shares = {rung: [share or 0.0 for share in rungs[rung].get("shares") or []] for rung in _TOKENS if rung in rungs}
    shares = {rung: values for rung, values in shares.items() if values}
    if not shares:
        return
    block, width = as_count(rungs[next(iter(shares))].get("block")), max(map(len, shares.values()))
    ranks = [2**i for i in range(width.bit_length())]
    marks = [{_TOKENS[rung][0]: values[k - 1] for rung, values in shares.items() if k <= len(values)} for k in ranks]
    scale = LogScale(marks)
    print_heading(console, f"Share of variance by rank of the PC, and cumulated, at mid (the output of block {block})")
    table = new_table("rank", *(name for rung in shares for name in (_TOKENS[rung], "cumulated")), left=0, plot=scale.axis)
    for k, mark in zip(ranks, marks, strict=True):
        cells = [(values[k - 1], sum(values[:k])) if k <= len(values) else (None, None) for values in shares.values()]
        table.add_row(str(k), *(told(share, as_percent) for cell in cells for share in cell), scale.line(mark))
    console.print(table)
    left_out = told(rungs.get("typical", {}).get("left_out"), as_percent)
    both = f", t typical (without {left_out}: first ones, massive activations), = both" if "typical" in shares else ""
    print_legend(console, f"Of {width} PCs; a all tokens{both}; log scale.")


def print_overlap(console: Console, rungs: Evidence) -> None:
    """Print the overlap for every λ, and beside it what chance, random subspaces and two halves of the text give."""
    factors = list(dict.fromkeys(factor for e in rungs.values() for factor in e.get("ridge") or {}))
    sizes = dict.fromkeys(f"{as_count(e.get('k'))} of d = {as_count(e.get('width'))}" for e in rungs.values())
    print_heading(console, f"Overlap o of the top k PCs at mid with the k directions that predict the final stream, k = {', '.join(sizes)}")
    names = ["rung", "chance", *(factor if i else f"o: {factor}" for i, factor in enumerate(factors))]
    table = new_table(*names, "weights (random)", "patterns (random)", "whitened", "self", gap=1)
    for rung, e in rungs.items():
        cells = [told(e.get("chance"), as_share), *(told((e.get("ridge") or {}).get(factor), as_share) for factor in factors)]
        for name in ("weights", "patterns"):
            mean, low, high = (told(value, as_share) for value in ((e.get("random") or {}).get(name) or (None, None, None)))
            cells.append(f"{told(e.get(name), as_share)} ({mean}, {low}–{high})")
        table.add_row(rung, *cells, told(e.get("whitened"), as_share), told(e.get("self_overlap"), as_share))
    console.print(table)
    print_legend(
        console,
        "chance: k/d; on strict o is in whitened coordinates and given as (o − k/d)/(1 − k/d), 0 by chance. weights, patterns: with "
        "the PCs of calibration text; in brackets random whitened subspaces through the same maps: mean, min–max. self: o of the "
        "directions fitted to two halves of the calibration text.",
    )


def print_gain(console: Console, rungs: Evidence) -> None:
    """Print what as many PCs, canonical directions and directions of a regression predict."""
    least = VarianceProtocol.least_r2
    print_heading(console, "Held-out R² of the final stream from k directions at mid")
    table = new_table("rung", "k", "PCs", "CCA", "regression", "CCA/PCs − 1")
    for rung, e in rungs.items():
        for i, (k, pca, cca, rrr) in enumerate(rows_of(e, "k", "pca", "cca", "rrr")):
            ratio = cca / pca - 1 if pca is not None and cca is not None and pca >= least else None
            table.add_row("" if i else rung, as_count(k), *(told(r2, as_share) for r2 in (pca, cca, rrr, ratio)))
    console.print(table)
    print_legend(console, f"–: PCs predict less than {least:g}, so that there is no ratio.")


def print_projection(console: Console, rungs: Evidence) -> None:
    """Print perplexity by the number of dimensions kept, for three kinds of them."""
    untouched, places = ", ".join(f"{rung} {told(e.get('baseline'))}" for rung, e in rungs.items()), dict[str, list[str]]()
    print_heading(console, f"Perplexity after projection onto k directions (untouched: {untouched})")
    table = new_table("rung", "k", "PCs", "a random subspace", "the most predictive", left=2)
    for rung, e in rungs.items():
        curves = rows_of({"k": e.get("k"), **(e.get("perplexity") or {})}, "k", "pca", "random", "predictive")
        for i, (k, *perplexities) in enumerate(curves):
            table.add_row("" if i else rung, as_count(k), *map(told, perplexities))
        ninety = f"90%: {', '.join(map(as_count, e.get('ranks') or [None]))}"
        table.add_row("" if curves else rung, ninety, told(e.get("projected")))
        places.setdefault(", ".join(map(as_count, e.get("blocks") or [None])), []).append(rung)
    console.print(table)
    where = "; ".join(f"{' and '.join(names)}: after block {blocks}" for blocks, names in places.items())
    print_legend(console, f"{where}. 90%: as many PCs as hold 90% of the variance after each.")


def print_by_rank(console: Console, rungs: Evidence, key: str, label: str, what: str) -> None:
    """Print variance and another quantity of PCs that are evenly chosen, draw each over its greatest; beside it random directions."""
    shown = {rung: [line for line in rows_of(e, "rank", "variance", key) if line[0] is not None] for rung, e in rungs.items()}
    if not any(shown.values()):
        return
    print_heading(console, f"Variance of single PCs at mid, and {what} (nats per position), by rank")
    for rung, lines in shown.items():
        if not lines:
            continue
        lines = [lines[i] for i in sorted({round(i * (len(lines) - 1) / (_LINES - 1)) for i in range(_LINES)})]
        most = {name: max(finite(rungs[rung].get(name)), default=0.0) for name in ("variance", key)}
        marks = [
            {name[0]: value / most[name] for name, value in zip(most, values, strict=True) if value is not None and most[name] > 0}
            for _, *values in lines
        ]
        scale = LogScale(marks)
        table = new_table(rung, "rank", "variance", label, plot=scale.axis)
        table.columns[0].min_width = max(map(len, RUNGS))
        for (rank, variance, other), mark in zip(lines, marks, strict=True):
            table.add_row("", f"{rank + 1:.0f}", told(variance, as_scientific), told(other, as_scientific), scale.line(mark))
        console.print(table)
        if random := finite(rungs[rung].get("random")):
            own, beside = (spread(values, as_scientific) for values in (finite(rungs[rung].get(key)), random))
            print_legend(console, f"mean (range): PCs {own}, random directions {beside}; norm {told(rungs[rung].get('norm'))}")
    more = "Spearman's ρ of the two is in the table above." if key == "kl" else "norm: of the push."
    print_legend(console, f"v variance, {key[0]} {label}, each over its greatest; = both; log scale. {more}")


def print_logit_change(console: Console, rungs: Evidence) -> None:
    """Print the correlation that random subspaces give beside that of the PCs, where they were ablated too."""
    beside = {rung: random for rung, e in rungs.items() if (random := finite(e.get("random")))}
    if beside:
        print_heading(
            console, "First canonical correlation of scores on directions ablated together with the change of logits: mean (range)"
        )
    for rung, random in beside.items():
        own = f"{as_count(rungs[rung].get('ablated'))} PCs {told(rungs[rung].get('correlation'), as_share)}"
        console.print(f"{rung}: {own}; {len(random)} random subspaces of equal dimension {spread(random, as_share)}")
