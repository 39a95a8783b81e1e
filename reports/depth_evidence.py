"""What a sceptical reader of claim 4 wants to see: what replacing every single block costs, over depth, beside what doing less costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.console import Console

from harness.protocol import RUNGS
from reports.over_depth import over_depth
from reports.sections import Evidence, Value, as_count, as_share, as_short, print_grouped, print_heading, print_legend, told

_CURVES = {"r2": "R²", "added": "ΔPPL", "kl": "KL", "compression": "compr.", "active": "active"}
_CONTROLS = {"cost_map": "map", "cost_skipped": "skipped", "cost_mean": "mean"}


def print_depth(console: Console, guides: Evidence, late: Evidence) -> None:
    """Print what every block costs when it alone is replaced, beside R² and, where it was measured, what doing less costs.

    Two predicates hand over the same: a rung is taken from the one that ran.
    """
    rungs = {rung: e for rung in RUNGS if (e := guides.get(rung) or late.get(rung))}
    groups = {label: {rung[0]: values for rung, e in rungs.items() if (values := e.get(key))} for key, label in _CURVES.items()}
    if groups["active"] == groups["compr."]:
        del groups["active"]
    controlled: Evidence = next((e for e in rungs.values() if e.get("cost_map")), {})
    groups["ΔNLL"] = {label: values for key, label in _CONTROLS.items() if (values := controlled.get(key))}
    groups = {label: columns for label, columns in groups.items() if columns}
    if not groups:
        return
    blocks = max(len(values) for columns in groups.values() for values in columns.values())
    print_heading(console, "Every block replaced by its map, alone")
    forms = {"R²": as_share}
    written = {
        label: {name: _written(values, blocks, forms.get(label, as_short)) for name, values in columns.items()}
        for label, columns in groups.items()
    }
    print_grouped(console, "block", [str(block) for block in range(blocks)], written)
    untouched = ", ".join(f"{rung} {told(e.get('baseline'))}" for rung, e in rungs.items())
    letters = ", ".join(f"{rung[0]} {rung}" for rung in rungs)
    active = "; active: those that a token uses" if "active" in groups else ""
    print_legend(
        console,
        f"{letters}. R²: of the map (on paper in sample, on strict about the mean). ΔPPL: over the untouched {untouched}. KL: from the "
        f"untouched model, nats per position. compr.: parameters of the block over its map's{active}." + _against_controls(controlled),
    )
    _draw_over_depth(console, groups.get("KL", {}))


def _against_controls(e: Evidence) -> str:
    """Say what the controls are, and how often the map costs less than they do."""
    told_of = []
    for key, label in (("cost_skipped", "skipping"), ("cost_mean", "the mean output")):
        pairs = [(a, b) for a, b in zip(e.get("cost_map") or [], e.get(key) or [], strict=False) if a is not None and b is not None]
        if pairs:
            told_of.append(f"less than {label} in {sum(a < b for a, b in pairs)} of {len(pairs)} blocks")
    if not told_of:
        return ""
    return (
        f" ΔNLL: nats per position on {as_count(e.get('control_windows'))} windows of strict, the same for the map, skipping and the mean "
        f"output; there the map costs {', '.join(told_of)}."
    )


def _draw_over_depth(console: Console, curves: Mapping[str, list[Value]]) -> None:
    """Draw KL over depth, where the blocks fit the width: a letter for each rung, side by side where there is room."""
    drawn = over_depth(curves)
    if drawn is not None:
        print_heading(console, f"KL over depth (nats per position, log scale{'' if drawn.beside else ', = where two rungs meet'})")
        console.print("\n".join(drawn.lines))


def _written(values: Sequence[Value], size: int, form: Callable[[float], str]) -> list[str]:
    return [told(value, form) for value in (*values, *[None] * (size - len(values)))]
