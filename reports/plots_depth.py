"""Plots over depth of claims 2 and 4: R² of every block, and what replacing every block alone costs."""

from __future__ import annotations

from reports.ledger import Row, figure_text
from reports.plot_subject import (
    BLOCK,
    JUDGED,
    NATS,
    Subject,
    at_places,
    by_rung,
    course,
    nums,
    over_blocks,
    row_point,
)
from reports.plot_values import Axis, Plot, Series, figure

_CONTROLS = {"cost_map": "its map", "cost_skipped": "skipped", "cost_mean": "its mean output"}


def r2_over_depth(subject: Subject) -> Plot | None:
    """R² of the best linear map of every block, by rung, with intervals and the bounds of the last block."""
    by: dict[str, list[Row]] = {}
    for row in subject.rows_of("r2"):
        if row.cell.block is not None:
            by.setdefault(row.cell.rung, []).append(row)
    series = by_rung({rung: [row_point(float(row.cell.block or 0), row) for row in rows] for rung, rows in by.items()})
    told = []
    for one in series:
        if any(p.y is not None for p in one.points):
            told.append(course(one, "R²"))
            told += [_last(row) for row in by[one.name][-1:] if row.cell.rung in JUDGED and row.bound and row.value is not None]
    legend = "Bands: intervals at 95% for all blocks together. The bounds judge the last block alone."
    return subject.plot(
        "r2", "R² of the best linear map of what each block adds", BLOCK, Axis("R²"), series, told, subject.bounds("r2"), legend
    )


def _last(row: Row) -> str:
    bound = f" ({row.bound.describe()})" if row.bound else ""
    return f"The last block, {figure_text(row)}: {row.verdict.word}{bound}."


def replaced_alone(subject: Subject) -> Plot | None:
    """KL of replacing every block alone by its map, over depth."""
    found = subject.rungs("r2_guides", "late_is_cheap")
    series = by_rung({rung: over_blocks(nums(e.get("kl"))) for rung, e in found.items()})
    told = [course(one, "KL") for one in series if one.points]
    title = "Each block replaced by its map, alone: KL from the untouched model"
    return subject.plot("alone", title, BLOCK, Axis(NATS, log=True), series, told)


def replaced_beside_controls(subject: Subject) -> Plot | None:
    """Cost of replacing every block alone, beside skipping it and its mean output."""
    for rung, e in reversed(subject.rungs("r2_guides", "late_is_cheap").items()):
        curves = {label: nums(e.get(key)) for key, label in _CONTROLS.items()}
        if not any(curves["its map"]):
            continue
        told = []
        for label in ("skipped", "its mean output"):
            pairs = [(a, b) for a, b in zip(curves["its map"], curves[label], strict=False) if a is not None and b is not None]
            if pairs:
                told.append(f"On {rung} the map costs less than {label} in {sum(a < b for a, b in pairs)} of {len(pairs)} blocks.")
        series = [Series(label, over_blocks(values)) for label, values in curves.items()]
        title = f"Each block replaced alone, beside doing less ({rung}): ΔNLL"
        return subject.plot("controls", title, BLOCK, Axis(NATS, log=True), series, told or [f"On {rung} there is nothing beside the map."])
    return None


def r2_against_cost(subject: Subject) -> Plot | None:
    """R² of every block's map against the KL of putting it in the block's place: does R² say what is cheap?"""
    found = subject.rungs("r2_guides", "late_is_cheap")
    series = by_rung({rung: at_places(nums(e.get("r2")), nums(e.get("kl"))) for rung, e in found.items()}, "points")
    told = [
        f"On {row.cell.rung} the rank correlation of R² with cheapness is {figure(row.value)}, {row.verdict.word}."
        for row in subject.rows_of("r2_guides")
        if row.value is not None
    ]
    told = told or ["The rank correlation of R² with cheapness has no figure."]
    title = "Does R² say which block is cheap to replace? A point for each block"
    return subject.plot("guides", title, Axis("R² of the map"), Axis(f"KL, {NATS}", log=True), series, told)
