"""What a sceptical reader of claim 3 wants to see: every method by scale and metric, where the exceptions are, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console

from harness.protocol import RUNGS
from reports.method_names import METHOD_NAMES
from reports.sections import Evidence, as_count, as_percent, as_share, as_short, new_table, print_heading, print_legend, told

_STEPS = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
_SHADES = "▁▂▃▄▅▆▇█"
_BELOW = "×"
_WIDEST_LABEL = 24


def print_methods(console: Console, *found: Evidence) -> None:
    """Print method × scale × metric: geometric means over layers with their intervals, and how many layers are exceptions."""
    table = new_table("rung", "method", "scale", "output MSE [95%]", "layers", "below 1", "weights", "bits/direct's", left=3)
    for rung in RUNGS:
        name = rung
        for method, shown in _methods(found, rung):
            label = _label(method, shown)
            for grain in ("own", "grouped"):
                row = shown.get(grain)
                if not row or (grain == "grouped" and not RUNGS[rung].judged):
                    continue
                spread = f"{told(row.get('least'), as_short)}–{told(row.get('most'), as_short)}"
                first = (name, label, _scale(rung, grain))
                below = f"{as_count(row.get('below'))}/{as_count(row.get('layers'))}"
                weights = told(row.get("weight"), as_short)
                table.add_row(*first, _interval(row.get("output")), spread, below, weights, _bits(row))
                name = label = ""
    if not table.row_count:
        return
    print_heading(console, "Every layer stored: error over that of direct quantisation with as many bits (above 1: direct wins)")
    console.print(table)
    print_legend(
        console,
        "scale: shared by the tensor, a row, or 128 columns of a row. output MSE: tr(E S Eᵀ)/out, S the second moment of the "
        "layer's inputs; geometric mean over layers, the least and the most of a layer beside it. below 1: layers whose ratio "
        "is. weights: the same of the weights' own error, which may order methods otherwise. bits: stored for each weight; "
        "scales and, on strict, learned bases count. GPTQ on factors is compared with GPTQ on the weight, all others with "
        "direct quantisation.",
    )


def print_blocks(console: Console, *found: Evidence) -> None:
    """Print method × block: how much worse than direct quantisation the layers of each block are."""
    for rung in (rung for rung in RUNGS if RUNGS[rung].judged):
        rows = [(method, shown) for method, shown in _methods(found, rung) if shown.get("by_block")]
        if not rows:
            continue
        blocks = sorted({int(block) for _, shown in rows for block in shown["by_block"]})
        print_heading(console, f"Method × block, {rung}: output error over direct quantisation's")
        table = new_table("method", plot=_ruler(blocks))
        for method, shown in rows:
            table.add_row(_label(method, shown), "".join(_shade(shown["by_block"].get(str(block))) for block in blocks))
        console.print(table)
        steps = ", ".join(f"{shade} to {step:g}" for shade, step in zip(_SHADES, _STEPS, strict=False))
        print_legend(console, f"{_BELOW} below 1: direct loses; {steps}, {_SHADES[-1]} above. Geometric mean over the layers of a block.")


def print_cross_terms(console: Console, rungs: Evidence) -> None:
    """Print what the error of quantised factors is made of."""
    print_heading(console, "The error of quantised SVD factors, over that of direct quantisation")
    table = new_table("rung", "truncation", "cross-terms", "product", "all together", "cross-terms, groups")
    for rung, e in rungs.items():
        parts = e.get("parts") or {}
        names = ("truncation", "cross", "product", "total")
        table.add_row(rung, *(told(parts.get(name), as_short) for name in names), told(e.get("grouped"), as_short))
    console.print(table)
    print_legend(
        console,
        "(A + ε_A)(B + ε_B) − W = (A B − W) + (ε_A B + A ε_B) + ε_A ε_B: truncation, cross-terms, product (Eq. 4). Geometric means "
        "over layers; "
        "the errors may cancel or add, so that parts need not add up.",
    )


def print_downstream(console: Console, rungs: Evidence) -> None:
    """Print perplexity and KL with all layers stored by every method."""
    print_heading(console, "All linear layers of all blocks quantised")
    table = new_table("rung", "method", "bits", "perplexity [95%]", "over untouched", "KL", left=2)
    for rung, e in rungs.items():
        base = e.get("baseline")
        table.add_row(rung, "untouched", "", told(base, as_short), "", "")
        for method, row in (e.get("variants") or {}).items():
            if not row:
                continue
            value, low, high = row.get("perplexity"), row.get("low"), row.get("high")
            over = None if value is None or not base else value / base - 1
            bits, kl = told(row.get("bits"), "{:.2f}".format), told(row.get("kl"), as_short)
            table.add_row("", _label(method, row), bits, _interval((value, low, high)), told(over, as_short), kl)
    console.print(table)
    print_legend(
        console,
        "bits: stored for each weight, which differ; over untouched: ΔPPL/PPL. KL: from the untouched model, nats per position."
        " On typical and strict, positions that are not typical at a block keep their clean values there. Embeddings, head, "
        "norms, biases and routers are untouched. k-means and NF4: a codebook for the tensor, on strict for every 64 weights.",
    )


def print_codebooks(console: Console, kmeans: Evidence, nf4: Evidence) -> None:
    """Print what codebooks gain over uniform levels, by scale and metric."""
    table = new_table("rung", "codebook", "one for", "gain [95%]", "of weights", "bits/uniform's", left=3)
    for rung in RUNGS:
        name = rung
        for method, shown in _methods((kmeans, nf4), rung):
            label = _label(method, shown)
            for grain, scale in (("own", "tensor"), ("grouped", "64 weights")):
                row = shown.get(grain)
                if not row:
                    continue
                value, low, high = (_inverse(limit) for limit in row.get("output") or [None] * 3)
                first = (name, label, scale)
                table.add_row(*first, _interval((value, high, low)), told(_inverse(row.get("weight")), as_short), _bits(row))
                name = label = ""
    if not table.row_count:
        return
    print_heading(console, "Codebooks: what they gain over uniform levels of no fewer stored bits")
    console.print(table)
    print_legend(
        console,
        "gain: output MSE of uniform asymmetric levels over that of the codebook, geometric mean over layers; of weights: the same of the "
        "weights' own error. uniform's bits: as many as the codebook's, and 16 levels at least. symmetric: 15 uniform levels around 0, one "
        "number a scale, as NF4.",
    )


def print_concentration(console: Console, layers: Evidence, embeddings: Evidence) -> None:
    """Print how concentrated the cosine transform of weights is, beside the same weights shuffled."""
    table = new_table("matrices", "Gini", "shuffled", "excess", "least", "most", "energy in 25%", "shuffled")
    for name, rungs in (("layers", layers), ("embeddings", embeddings)):
        e = next(iter(rungs.values()), None)
        if e:
            of = {key: e.get(key) or [None] * 3 for key in ("gini", "shuffled", "excess", "energy", "energy_shuffled")}
            cells = (of["gini"][0], of["shuffled"][0], *of["excess"])
            energy = (told(of[key][0], as_percent) for key in ("energy", "energy_shuffled"))
            table.add_row(name, *(told(value, as_share) for value in cells), *energy)
    print_heading(console, "Concentration of the two-dimensional cosine transform of weights")
    console.print(table)
    print_legend(
        console,
        "Gini of squared coefficients, mean over matrices; of Gaussian coefficients it is 2/π ≈ 0.637, not 0.30. shuffled: the same "
        "entries in "
        "random order. energy in 25%: share of the sum of squares in the largest quarter of coefficients.",
    )


def _methods(found: tuple[Evidence, ...], rung: str) -> Iterator[tuple[str, Evidence]]:
    for rungs in found:
        yield from ((name, shown) for name, shown in ((rungs.get(rung) or {}).get("methods") or {}).items() if shown)


def _interval(limits: Sequence[float | None] | None) -> str:
    value, low, high = (told(limit, as_short) for limit in limits or [None] * 3)
    return f"{value} [{low}, {high}]"


def _bits(row: Evidence) -> str:
    return "/".join(told(bits, "{:.2f}".format) for bits in row.get("bits") or [None] * 2)


def _label(method: str, shown: Evidence) -> str:
    label = METHOD_NAMES.get(method) or str(shown.get("label") or method)
    return label if len(label) <= _WIDEST_LABEL else f"{label[: _WIDEST_LABEL - 1]}…"


def _scale(rung: str, grain: str) -> str:
    return ("row" if rung == "strict" else "tensor") if grain == "own" else "128"


def _shade(ratio: float | None) -> str:
    if ratio is None:
        return " "
    return _BELOW if ratio < 1 else _SHADES[sum(ratio > step for step in _STEPS)]


def _ruler(blocks: list[int]) -> str:
    """Write every fifth block's number above its place."""
    line = [" "] * (len(blocks) + 3)
    for place, block in enumerate(blocks):
        if block % 5 == 0:
            line[place : place + len(str(block))] = str(block)
    return "".join(line).rstrip()


def _inverse(value: float | None) -> float | None:
    return None if not value else 1 / value
