"""What destroying blocks costs over depth, and their attention and MLP apart (claim 4, appendix)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.console import Console

from harness.easy_protocol import EasyProtocol
from harness.protocol import RUNGS
from reports.over_depth import over_depth
from reports.sections import (
    Evidence,
    Value,
    as_count,
    as_percent,
    as_short,
    finite,
    new_table,
    print_grouped,
    print_heading,
    print_legend,
    told,
)

_PARTS = {"both": "KL: both", "attention": "attention", "mlp": "MLP"}
_SIDES = {"attention": "attention", "mlp": "MLP", "neither": "neither"}


def print_profile(console: Console, rungs: Evidence) -> None:
    """Print KL of every block destroyed, whole and by part, and draw it over depth, with the middle that both ends are compared with."""
    found = {rung: e for rung, e in rungs.items() if any(finite(values) for values in _by_part(e).values())}
    if not found:
        return
    blocks = max(len(values) for e in found.values() for values in _by_part(e).values())
    groups = {
        label: {rung[0]: _written(values, blocks) for rung, e in found.items() if (values := _by_part(e)[part])}
        for part, label in _PARTS.items()
    }
    groups["2× the other"] = {rung[0]: [_side(_by_part(e), block) for block in range(blocks)] for rung, e in found.items()}
    groups["ΔPPL: both"] = {rung[0]: _written(added, blocks) for rung, e in found.items() if (added := e.get("added"))}
    groups = {label: columns for label, columns in groups.items() if any(set(cells) - {"–"} for cells in columns.values())}
    first, last = next((limits for e in found.values() if (limits := _middle(e))), (blocks, -1))
    print_heading(console, "Every block destroyed, alone")
    keys = [f"{block}{'│' if first <= block <= last else ' '}" for block in range(blocks)]
    print_grouped(console, "block ", keys, groups)
    letters = ", ".join(f"{rung[0]} {rung}" for rung in found)
    untouched = ", ".join(f"{rung} {told(e.get('baseline'))}" for rung, e in found.items())
    print_legend(
        console,
        f"{letters}. destroyed: weight matrices stored in four values a row (INT2), of the block, its attention or its MLP. KL: from the "
        f"clean model, nats per position. 2× the other: att or MLP where its KL is at least {EasyProtocol.dominates:g} times the other's."
        + (f" ΔPPL: over the untouched {untouched}." if "ΔPPL: both" in groups else "")
        + (" │ the middle." if first <= last else ""),
    )
    _print_ends(console, found)
    for rung in [rung for rung in found if RUNGS[rung].judged] or found:
        _draw(console, rung, _by_part(found[rung]), (first, last))


def _print_ends(console: Console, found: Evidence) -> None:
    """Print the first and the last block beside the median of the middle."""
    table = new_table("rung", "first block", "last block", "median of the middle", "blocks", "first/median", "last/median", "left out")
    for rung, e in found.items():
        both, median = _by_part(e)["both"], e.get("median")
        if not finite([median]):
            continue
        ends = [both[0], both[-1]] if both else [None, None]
        limits = "–".join(map(as_count, _middle(e) or ()))
        cells = [told(value, as_short) for value in (*ends, median)]
        over = [None if end is None or not median else end / median for end in ends]
        table.add_row(rung, *cells, limits or "–", *(told(ratio, as_short) for ratio in over), told(e.get("left_out"), as_percent))
    if table.row_count:
        print_heading(console, "Both ends beside the middle: KL of a block destroyed")
        console.print(table)
        print_legend(
            console,
            "The lesser of both ratios is the figure of importance_u_shape. left out: positions that keep their clean values, not typical.",
        )


def _draw(console: Console, rung: str, curves: Mapping[str, Sequence[Value]], middle: tuple[int, int]) -> None:
    """Draw KL over depth, where the blocks fit the width: a letter for each part, side by side where there is room."""
    depth = {part[0]: values for part, values in curves.items() if values}
    drawn, blocks = over_depth(depth), max(map(len, depth.values()), default=0)
    if drawn is None:
        return
    print_heading(console, f"KL over depth of destroyed blocks, {rung} (nats per position, log scale)")
    first, last = middle[0], min(middle[1], blocks - 1)
    console.print("\n".join((drawn.under(first, last, "─") if first <= last else drawn).lines))
    letters = ", ".join(
        f"{part[0]} {name}" for part, name in (("both", "both"), ("attention", "attention"), ("mlp", "MLP")) if part[0] in depth
    )
    print_legend(
        console,
        f"{letters}{'' if drawn.beside else ', = where two meet'}."
        + (" ─ the middle, whose median both ends are compared with." if first <= last else ""),
    )


def print_phases(console: Console, phases: Evidence, profiles: Evidence) -> None:
    """Print runs of blocks in which one part dominates; before them the profile, of rungs for which it is not printed above."""
    print_profile(console, {rung: e for rung, e in phases.items() if not (profiles.get(rung) or {}).get("kl")})
    table = new_table("rung", "blocks", "dominates", "KL: attention", "MLP", left=3)
    undecided = []
    for rung, e in phases.items():
        name, curves = rung, _by_part(e)
        for phase in filter(None, e.get("phases") or []):
            first, last = phase.get("first"), phase.get("last")
            side = _SIDES.get(phase.get("side") or "", "–")
            table.add_row(name, _run(first, last), side, *(_range(curves[part], first, last) for part in ("attention", "mlp")))
            name = ""
        if not name and (blocks := e.get("undecided")):
            undecided.append(f"{rung} {', '.join(map(as_count, blocks))}")
    if not table.row_count:
        return
    print_heading(console, "Phases: runs of blocks in which attention, MLP or neither dominates")
    console.print(table)
    print_legend(
        console,
        f"dominates: KL of destroying it is at least {EasyProtocol.dominates:g} times the other's; KL: nats per position, least–greatest "
        "of the run. For GPT-2 (12 blocks) the paper names four phases: context building (block 0, attention), feature construction (2–4, "
        "MLP), refinement (5–9), prediction assembly (11, attention)."
        + (f" Undecided, as the interval of the ratio reaches across the limit: {'; '.join(undecided)}." if undecided else ""),
    )


def print_last_mlp(console: Console, skips: Evidence, means: Evidence) -> None:
    """Print what the last block costs without its MLP, and with its mean output: two predicates hand over the same."""
    table = new_table("rung", "the last block's MLP", "perplexity", "ΔPPL", "KL", left=2)
    for rung in RUNGS:
        e = skips.get(rung) or means.get(rung) or {}
        base, name = e.get("baseline"), rung
        for label, key in (("skipped", "skipped"), ("its mean output", "mean")):
            after, kl = e.get(key), e.get(f"{key}_kl")
            if after is None and kl is None:
                continue
            if name:
                table.add_row(name, "untouched", told(base))
                name = ""
            added = None if after is None or base is None else after - base
            table.add_row("", label, told(after), told(added, as_short), told(kl, as_short))
    if not table.row_count:
        return
    print_heading(console, "The last block without its MLP, and with the MLP's mean output")
    console.print(table)
    print_legend(console, "ΔPPL: over untouched. KL: from the clean model, nats per position. mean output: over calibration text.")


def _by_part(e: Evidence) -> dict[str, list[Value]]:
    kl = e.get("kl") or {}
    return {part: kl.get(part) or [] for part in _PARTS}


def _written(values: Sequence[Value], size: int) -> list[str]:
    return [told(value, as_short) for value in (*values, *[None] * (size - len(values)))]


def _side(curves: Mapping[str, Sequence[Value]], block: int) -> str:
    """Which part costs at least twice the other."""
    attention, mlp = (values[block] if block < len(values) else None for values in (curves["attention"], curves["mlp"]))
    if attention is None or mlp is None or not math.isfinite(attention + mlp):
        return "–"
    if max(attention, mlp) <= 0:
        return "·"
    return "att" if attention >= EasyProtocol.dominates * mlp else "MLP" if mlp >= EasyProtocol.dominates * attention else "·"


def _middle(e: Evidence) -> tuple[int, int] | None:
    limits = finite(e.get("middle"))
    return (int(limits[0]), int(limits[1])) if len(limits) == 2 else None


def _run(first: Value, last: Value) -> str:
    return as_count(first) if first == last else f"{as_count(first)}–{as_count(last)}"


def _range(values: Sequence[Value], first: Value, last: Value) -> str:
    here = finite(values[int(first) : int(last) + 1]) if first is not None and last is not None else []
    return "–" if not here else "–".join(dict.fromkeys(as_short(value) for value in (min(here), max(here))))


def _positive(value: Value) -> bool:
    return value is not None and 0 < value < math.inf
