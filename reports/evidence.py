"""What a sceptical reader of claim 1 wants to see below the tables: spectra, chance, λ, curves, and single directions by rank."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from claims import Verdict
from harness.protocol import RUNGS, VarianceProtocol
from reports.ledger import Row, number

_WIDEST, _PLOT_WIDTH, _LINES = 110, 41, 16
_FEWEST_DECADES, _MOST_DECADES = 4, 10
_TOKENS = {"paper": "all tokens", "typical": "typical tokens"}
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

Evidence = Mapping[str, Any]
"""What tests handed over: of a model and corpus by ``predicate/rung``, of a predicate by rung, of a test by name; null where nothing is."""


def print_evidence(console: Console, evidence: Evidence, rows: list[Row]) -> None:
    """Print what claim 1 rests on for one model and corpus, each section only when there is something to show."""
    _print_dimensions(console, rows)
    for predicate, show in _SECTIONS.items():
        rungs = {rung: evidence[f"{predicate}/{rung}"] for rung in RUNGS if evidence.get(f"{predicate}/{rung}")}
        if rungs:
            show(console, rungs)


def _print_dimensions(console: Console, rows: list[Row]) -> None:
    """Print how many PCs hold most of the variance at every boundary, with massive activations and without."""
    found: dict[int, dict[tuple[str, str], float | None]] = {}
    for row in rows:
        name, _, share = row.cell.predicate.partition("_")
        if name == "dimensions" and row.cell.block is not None and row.verdict is not Verdict.UNTESTED:
            found.setdefault(row.cell.block, {})[row.cell.rung, share] = row.value
    rungs = [rung for rung in _TOKENS if any(key[0] == rung and n is not None for here in found.values() for key, n in here.items())]
    if not rungs:
        return
    _heading(console, "How many PCs hold 90, 95 and 99% of the variance of every block's output")
    table = _table("block", *(name for rung in rungs for name in (f"{_TOKENS[rung]}: 90%", "95%", "99%")), left=0)
    for block, here in sorted(found.items()):
        table.add_row(str(block), *(_count(here.get((rung, share))) for rung in rungs for share in ("90", "95", "99")))
    console.print(table)


def _print_scree(console: Console, rungs: Evidence) -> None:
    """Print the share of variance of single PCs at mid, with massive activations and without."""
    shares = {rung: [share or 0.0 for share in rungs[rung].get("shares") or []] for rung in _TOKENS if rung in rungs}
    shares = {rung: values for rung, values in shares.items() if values}
    if not shares:
        return
    block, width = _count(rungs[next(iter(shares))].get("block")), max(map(len, shares.values()))
    ranks = [2**i for i in range(width.bit_length())]
    marks = [{_TOKENS[rung][0]: values[k - 1] for rung, values in shares.items() if k <= len(values)} for k in ranks]
    scale = _LogScale(marks)
    _heading(console, f"Share of variance by rank of the PC, and cumulated, at mid (the output of block {block})")
    table = _table("rank", *(name for rung in shares for name in (_TOKENS[rung], "cumulated")), left=0, plot=scale.axis)
    for k, mark in zip(ranks, marks, strict=True):
        cells = [(values[k - 1], sum(values[:k])) if k <= len(values) else (None, None) for values in shares.values()]
        table.add_row(str(k), *(_told(share, _percent) for cell in cells for share in cell), scale.line(mark))
    console.print(table)
    left_out = _told(rungs.get("typical", {}).get("left_out"), _percent)
    both = f", t typical (without {left_out}: first ones, massive activations), = both" if "typical" in shares else ""
    _legend(console, f"Of {width} PCs; a all tokens{both}; log scale.")


def _print_overlap(console: Console, rungs: Evidence) -> None:
    """Print the overlap for every λ, and beside it what chance, random subspaces and two halves of the text give."""
    factors = list(dict.fromkeys(factor for e in rungs.values() for factor in e.get("ridge") or {}))
    sizes = dict.fromkeys(f"{_count(e.get('k'))} of d = {_count(e.get('width'))}" for e in rungs.values())
    _heading(console, f"Overlap o of the top k PCs at mid with the k directions that predict the final stream, k = {', '.join(sizes)}")
    names = ["rung", "chance", *(factor if i else f"o: {factor}" for i, factor in enumerate(factors))]
    table = _table(*names, "weights (random)", "patterns (random)", "whitened", "self", gap=1)
    for rung, e in rungs.items():
        told = [_told(e.get("chance"), _share), *(_told((e.get("ridge") or {}).get(factor), _share) for factor in factors)]
        for name in ("weights", "patterns"):
            mean, low, high = (_told(value, _share) for value in ((e.get("random") or {}).get(name) or (None, None, None)))
            told.append(f"{_told(e.get(name), _share)} ({mean}, {low}–{high})")
        table.add_row(rung, *told, _told(e.get("whitened"), _share), _told(e.get("self_overlap"), _share))
    console.print(table)
    _legend(
        console,
        "chance: k/d; on strict o is in whitened coordinates and given as (o − k/d)/(1 − k/d), 0 by chance. weights, patterns: with "
        "the PCs of calibration text; in brackets random whitened subspaces through the same maps: mean, min–max. self: o of the "
        "directions fitted to two halves of the calibration text.",
    )


def _print_gain(console: Console, rungs: Evidence) -> None:
    """Print what as many PCs, canonical directions and directions of a regression predict."""
    least = VarianceProtocol.least_r2
    _heading(console, "Held-out R² of the final stream from k directions at mid")
    table = _table("rung", "k", "PCs", "CCA", "regression", "CCA/PCs − 1")
    for rung, e in rungs.items():
        for i, (k, pca, cca, rrr) in enumerate(_lines(e, "k", "pca", "cca", "rrr")):
            ratio = cca / pca - 1 if pca is not None and cca is not None and pca >= least else None
            table.add_row("" if i else rung, _count(k), *(_told(r2, _share) for r2 in (pca, cca, rrr, ratio)))
    console.print(table)
    _legend(console, f"–: PCs predict less than {least:g}, so that there is no ratio.")


def _print_projection(console: Console, rungs: Evidence) -> None:
    """Print perplexity by the number of dimensions kept, for three kinds of them."""
    untouched, places = ", ".join(f"{rung} {_told(e.get('baseline'))}" for rung, e in rungs.items()), dict[str, list[str]]()
    _heading(console, f"Perplexity after projection onto k directions (untouched: {untouched})")
    table = _table("rung", "k", "PCs", "a random subspace", "the most predictive", left=2)
    for rung, e in rungs.items():
        curves = _lines({"k": e.get("k"), **(e.get("perplexity") or {})}, "k", "pca", "random", "predictive")
        for i, (k, *perplexities) in enumerate(curves):
            table.add_row("" if i else rung, _count(k), *map(_told, perplexities))
        ninety = f"90%: {', '.join(map(_count, e.get('ranks') or [None]))}"
        table.add_row("" if curves else rung, ninety, _told(e.get("projected")))
        places.setdefault(", ".join(map(_count, e.get("blocks") or [None])), []).append(rung)
    console.print(table)
    where = "; ".join(f"{' and '.join(names)}: after block {blocks}" for blocks, names in places.items())
    _legend(console, f"{where}. 90%: as many PCs as hold 90% of the variance after each.")


def _print_by_rank(console: Console, rungs: Evidence, key: str, label: str, what: str) -> None:
    """Print variance and another quantity of PCs that are evenly chosen, draw each over its greatest; beside it random directions."""
    shown = {rung: [line for line in _lines(e, "rank", "variance", key) if line[0] is not None] for rung, e in rungs.items()}
    if not any(shown.values()):
        return
    _heading(console, f"Variance of single PCs at mid, and {what} (nats per position), by rank")
    for rung, lines in shown.items():
        if not lines:
            continue
        lines = [lines[i] for i in sorted({round(i * (len(lines) - 1) / (_LINES - 1)) for i in range(_LINES)})]
        most = {name: max(_finite(rungs[rung].get(name)), default=0.0) for name in ("variance", key)}
        marks = [
            {name[0]: value / most[name] for name, value in zip(most, values, strict=True) if value is not None and most[name] > 0}
            for _, *values in lines
        ]
        scale = _LogScale(marks)
        table = _table(rung, "rank", "variance", label, plot=scale.axis)
        table.columns[0].min_width = max(map(len, RUNGS))
        for (rank, variance, other), mark in zip(lines, marks, strict=True):
            table.add_row("", f"{rank + 1:.0f}", _told(variance, _scientific), _told(other, _scientific), scale.line(mark))
        console.print(table)
        if random := _finite(rungs[rung].get("random")):
            own, beside = (_spread(values, _scientific) for values in (_finite(rungs[rung].get(key)), random))
            _legend(console, f"mean (range): PCs {own}, random directions {beside}; norm {_told(rungs[rung].get('norm'))}")
    more = "Spearman's ρ of the two is in the table above." if key == "kl" else "norm: of the push."
    _legend(console, f"v variance, {key[0]} {label}, each over its greatest; = both; log scale. {more}")


def _print_logit_change(console: Console, rungs: Evidence) -> None:
    """Print the correlation that random subspaces give beside that of the PCs, where they were ablated too."""
    beside = {rung: random for rung, e in rungs.items() if (random := _finite(e.get("random")))}
    if beside:
        _heading(console, "First canonical correlation of scores on directions ablated together with the change of logits: mean (range)")
    for rung, random in beside.items():
        own = f"{_count(rungs[rung].get('ablated'))} PCs {_told(rungs[rung].get('correlation'), _share)}"
        console.print(f"{rung}: {own}; {len(random)} random subspaces of equal dimension {_spread(random, _share)}")


class _LogScale:
    """A logarithmic axis that ends at 1, over as many decades as the marks need."""

    def __init__(self, marks: list[dict[str, float]]) -> None:
        least = min((share for line in marks for share in line.values() if share > 0), default=1.0)
        self._decades = min(max(math.ceil(-math.log10(least)), _FEWEST_DECADES), _MOST_DECADES)
        self._each = (_PLOT_WIDTH - 1) // self._decades

    @property
    def axis(self) -> str:
        """The axis as a line of text: a label begins at its place."""
        every = 1 if self._each > 4 else 2
        labels = [f"10⁻{str(i).translate(_RAISED)}" if i % every == 0 else "" for i in range(self._decades, 0, -1)]
        return "".join(label.ljust(self._each, "·") for label in labels) + "1"

    def line(self, mark: Mapping[str, float]) -> str:
        """Place letters at their shares; ``=`` where two meet, ``<`` for what lies below the axis; nothing for what is not above 0."""
        cells = [" "] * (self._decades * self._each + 1)
        for letter, share in mark.items():
            if 0 < share < math.inf:
                place = round((math.log10(share) + self._decades) * self._each)
                at = min(max(place, 0), len(cells) - 1)
                cells[at] = "=" if cells[at] != " " else letter if place >= 0 else "<"
        return "".join(cells).rstrip()


def _table(*names: str, left: int = 1, plot: str = "", gap: int = 2) -> Table:
    """A table in the style of the others: the first columns and the plot to the left, numbers to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")
    for i, name in enumerate((*names, *filter(None, [plot]))):
        table.add_column(name, justify="left" if i < left or i == len(names) else "right", no_wrap=True)
    return table


def _lines(columns: Evidence, *names: str) -> list[tuple[Any, ...]]:
    """Rows of lists of one length, the first one's; one that is not there is a list of nothing."""
    nothing = [None] * len(columns.get(names[0]) or ())
    return list(zip(*(columns.get(name) or nothing for name in names), strict=False))


def _finite(values: Iterable[float | None] | None) -> list[float]:
    return [value for value in values or () if value is not None and math.isfinite(value)]


def _spread(values: list[float], form: Callable[[float], str]) -> str:
    return f"{form(sum(values) / len(values))} ({form(min(values))}–{form(max(values))})" if values else "–"


def _told(value: float | None, form: Callable[[float], str] = number) -> str:
    return "–" if value is None or not math.isfinite(value) else form(value)


def _count(value: float | None) -> str:
    return _told(value, "{:.0f}".format)


def _share(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


def _percent(share: float) -> str:
    return f"{number(100 * share)}%"


def _scientific(value: float) -> str:
    return f"{value:.2e}".replace("-", "−")


def _heading(console: Console, text: str) -> None:
    console.print(Text(f"\n{text}", style="bold"))


def _legend(console: Console, text: str) -> None:
    console.print(Text(textwrap.fill(text, min(console.width, _WIDEST)), style="dim"))


_SECTIONS: dict[str, Callable[[Console, Evidence], None]] = {
    "dimensions_90": _print_scree,
    "subspace_overlap": _print_overlap,
    "predictive_gain": _print_gain,
    "projection_ppl_ratio": _print_projection,
    "variance_ranks_importance": partial(_print_by_rank, key="kl", label="KL", what="KL of ablating them"),
    "sensitivity_gini": partial(_print_by_rank, key="sensitivity", label="sensitivity", what="sensitivity: KL of a push of fixed norm"),
    "logit_change_correlation": _print_logit_change,
}
