"""What a sceptical reader of claim 2 wants to see: what maps cost in the place of blocks, beside what doing less costs."""

from __future__ import annotations

from rich.console import Console

from harness.protocol import RUNGS
from reports.sections import Evidence, Value, as_count, as_share, as_short, finite, new_table, print_heading, print_legend, told

_RUN = {
    "maps": "maps",
    "the same maps at true inputs": "true inputs",
    "refitted one after another": "refitted",
    "skipped": "skipped",
    "mean outputs": "mean",
}
"""Heading of each way to replace a run, by the name under which it is handed over."""
_IN_ITS_PLACE = (
    ("the block itself", "", "total"),
    ("its map", "last", "map"),
    ("the other kind of map", "other", "other"),
    ("nothing: skipped", "last skipped", ""),
    ("its mean output", "last mean", ""),
)
"""What stands where the last block was, where evidence does not say it better; its perplexity; its parameters."""


def print_last_block(console: Console, single: Evidence, compression: Evidence) -> None:
    """Print perplexity, KL and parameters of the last block's map, beside the other kind of map, skipping and the mean output."""
    table = new_table("rung", "in its place", "perplexity", "over untouched", "KL", "parameters", "block's over these", left=2)
    active = []
    for rung in (rung for rung in RUNGS if rung in single or rung in compression):
        e, parameters = single.get(rung, {}), compression.get(rung, {})
        perplexity, kl, base, total = e.get("perplexity") or {}, e.get("kl") or {}, e.get("baseline"), parameters.get("total")
        name = rung
        for what, key, of in _IN_ITS_PLACE:
            after, size = (perplexity.get(key), parameters.get(of)) if key else (base, total)
            if after is None and size is None:
                continue
            beside = (told(_relative(after, base)), told(kl.get(key), as_short)) if key else ("", "")
            sizes = (told(size, _grouped), told(_over(total, size)) if key else "") if of else ("", "")
            table.add_row(name, e.get(of) if isinstance(e.get(of), str) else what, told(after), *beside, *sizes)
            name = ""
        uses = parameters.get("active")
        if uses is not None and uses != total:
            active.append(f"{rung} {told(uses, _grouped)}, {told(_over(uses, parameters.get('map')))} times the first map's")
    if not table.row_count:
        return
    block = next((f" ({as_count(e['block'])})" for e in single.values() if e.get("block") is not None), "")
    print_heading(console, f"The last block{block} replaced")
    console.print(table)
    print_legend(
        console,
        "over untouched: ΔPPL/PPL, by the first map of a rung the figure of single_replacement. KL: from the untouched model, nats per "
        "position. On typical and strict, positions that are not typical stay as they were, here and below."
        + (f" Of the block's parameters a token uses: {'; '.join(active)}." if active else ""),
    )


def print_runs(console: Console, rungs: Evidence) -> None:
    """Print perplexity with five blocks replaced, at the end and after mid, in every way that they are."""
    found = [
        (rung, e.get("baseline"), run)
        for name in ("last", "middle")
        for rung, e in rungs.items()
        if (run := (e.get("runs") or {}).get(name))
    ]
    if not found:
        return
    print_heading(console, "Blocks replaced together: perplexity")
    table = new_table("blocks", "rung", "untouched", *_RUN.values(), left=2, plot="R² of refitted maps")
    above = None
    for rung, base, run in found:
        perplexity, blocks = run.get("perplexity") or {}, _range(run.get("blocks"))
        r2 = " ".join(told(value, as_share) for value in run.get("refitted_r2") or [])
        table.add_row(
            "" if blocks == above else blocks, rung, told(base, as_short), *(told(perplexity.get(name), as_short) for name in _RUN), r2
        )
        above = blocks
    console.print(table)
    print_legend(
        console,
        "maps: fitted to the untouched model, each on the stream that those before have shifted. true inputs: the same maps, each given "
        "what its block reads in the untouched model (teacher forcing). refitted: one after another, each to its true block on the "
        "shifted stream; their R² is held out, and in the order of depth. mean: each block adds its mean output.",
    )


def print_teacher_forcing(console: Console, rungs: Evidence) -> None:
    """Print what each map costs alone, what all cost at true inputs, and what they cost free: errors that add up against the shift."""
    blocks = next((found for e in rungs.values() if (found := e.get("blocks"))), None) or []
    most = max(len(blocks), *(len(e.get("alone") or []) for e in rungs.values()))
    print_heading(console, "What maps cost one by one and together (nats per position): errors that add up, and the shift")
    names = [as_count(block) for block in blocks] + ["–"] * (most - len(blocks))
    each = [f"alone: {name}" if i == 0 else name for i, name in enumerate(names)]
    table = new_table("rung", *each, "sum", "+ together", "= true inputs", "+ shift", "= free")
    for rung, e in rungs.items():
        alone: list[Value] = list(e.get("alone") or [])
        total = sum(finite(alone)) if alone and len(finite(alone)) == len(alone) else None
        forced, free = e.get("forced"), e.get("free")
        parts = (total, _less(forced, total), forced, _less(free, forced), free)
        table.add_row(rung, *(told(value, as_share) for value in (*alone, *[None] * (most - len(alone)), *parts)))
    console.print(table)
    print_legend(
        console,
        "ΔNLL. alone: that block replaced by its map and no other, so that the true blocks above read its error. true inputs: all maps, "
        "each given what its block reads in the untouched model: errors add up, and nothing in the run reads them. free: the same maps, "
        "one after another. together: what joint errors add to the sum, without what true blocks make of each; shift: what it "
        "costs that the maps' inputs have moved, below zero what it saves.",
    )


def print_shift(console: Console, rungs: Evidence) -> None:
    """Print R² of a block's map by the number of blocks replaced before it, and how far the stream has moved."""
    curves = {rung: {t: c for t, c in (e.get("curves") or {}).items() if c} for rung, e in rungs.items()}
    targets = dict.fromkeys(target for by_target in curves.values() for target in by_target)
    most = max((len(c.get(name) or []) for of in curves.values() for c in of.values() for name in ("shifted", "moved")), default=0)
    if not targets:
        return
    print_heading(console, "R² of a block's map when the j blocks before it are replaced by theirs, and how far that moves its input")
    counts = [str(j) for j in range(1, most + 1)]
    moved = [f" moved: {j}" if j == "1" else j for j in counts]
    table = new_table("block", "rung", "R²: j = 0", *counts, *moved, left=2, gap=1)
    for target in targets:
        name = target
        for rung, by_target in curves.items():
            if target in by_target:
                c = by_target[target]
                shifted, distance = ([*(c.get(key) or []), *[None] * most][:most] for key in ("shifted", "moved"))
                table.add_row(
                    name, rung, *(told(r2, as_share) for r2 in (c.get("clean"), *shifted)), *(told(d, as_short) for d in distance)
                )
                name = ""
    console.print(table)
    print_legend(
        console,
        "The map is fitted to the untouched model and scored against what the true block adds to the moved stream (on paper in sample). "
        "moved: mean ‖h̃ − h‖² over the variance of h, the block's input, of which massive activations are a part on paper and held-out.",
    )


def _over(above: Value, below: Value) -> Value:
    return above / below if above is not None and below else None


def _relative(after: Value, base: Value) -> Value:
    ratio = _over(after, base)
    return None if ratio is None else ratio - 1


def _less(a: Value, b: Value) -> Value:
    return None if a is None or b is None else a - b


def _range(blocks: list[Value] | None) -> str:
    if not blocks:
        return "–"
    return f"{as_count(blocks[0])}–{as_count(blocks[-1])}" if len(blocks) > 1 else as_count(blocks[0])


def _grouped(count: float) -> str:
    return f"{count:,.0f}"
