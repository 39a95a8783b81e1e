"""Plots of claim 2: what maps cost in the place of blocks, beside what doing less costs, and on a stream that has moved."""

from __future__ import annotations

from reports.plot_subject import (
    PERPLEXITY,
    Subject,
    Value,
    bars_or_points,
    by_rung,
    compared,
    course,
    extremes,
    mapping,
    num,
    nums,
    place,
    range_text,
    text,
)
from reports.plot_values import Axis, Mark, Plot, Point, Series, figure

_IN_ITS_PLACE = {"last": "its map", "other": "the other kind of map", "last mean": "its mean output", "last skipped": "nothing: skipped"}
_WAYS = ("maps", "the same maps at true inputs", "refitted one after another", "mean outputs", "skipped")
_SIZES = {"total": "the block itself", "active": "of these, used by a token", "map": "its map", "other": "the other kind of map"}


def last_block(subject: Subject) -> Plot | None:
    """Perplexity with the last block replaced: by its map, by the other kind of map, by its mean output, by nothing."""
    values: dict[str, dict[str, Value]] = {}
    for rung, e in subject.rungs("single_replacement").items():
        perplexity = mapping(e.get("perplexity"))
        values[rung] = {"the block itself": num(e.get("baseline"))}
        values[rung] |= {label: num(perplexity.get(key)) for key, label in _IN_ITS_PLACE.items()}
    names = ("the block itself", *_IN_ITS_PLACE.values())
    told = [compared(rung, of, ", perplexity") for rung, of in values.items()]
    series = bars_or_points(names, values)
    legend = "On paper and typical the map has rank k and the other kind full rank; on strict it is the other way round."
    title = "The last block replaced: perplexity by what stands in its place"
    return subject.plot(
        "last", title, Axis("in its place", names=names), Axis(PERPLEXITY, log=True), series, told, legend=legend, lying=True
    )


def parameters(subject: Subject) -> Plot | None:
    """Parameters of the last block, of its map and of the other kind of map."""
    found = subject.rungs("compression")
    values = {rung: {label: num(e.get(key)) for key, label in _SIZES.items()} for rung, e in found.items()}
    names, told = tuple(_SIZES.values()), []
    for rung, of in values.items():
        block, own = of["the block itself"], of["its map"]
        if block is not None and own:
            told.append(f"On {rung} the block has {figure(block / own)} times the parameters of its map ({block:,.0f} over {own:,.0f}).")
    title = "Parameters of the last block and of what replaces it"
    x, y = Axis("what", names=names), Axis("parameters (log scale)", log=True)
    return subject.plot("parameters", title, x, y, bars_or_points(names, values), told, lying=True)


def runs(subject: Subject) -> list[Plot | None]:
    """Perplexity with five blocks replaced together, at the end and after mid, in every way that they are."""
    found = subject.rungs("multi_replacement")
    plots = []
    for name in ("last", "middle"):
        values: dict[str, dict[str, Value]] = {}
        where = ""
        for rung, e in found.items():
            run = mapping(mapping(e.get("runs")).get(name))
            perplexity = mapping(run.get("perplexity"))
            if run:
                values[rung] = {"untouched": num(e.get("baseline")), **{way: num(perplexity.get(way)) for way in _WAYS}}
                where = where or range_text(nums(run.get("blocks")))
        names = ("untouched", *_WAYS)
        told = [compared(rung, of, ", perplexity") for rung, of in values.items()]
        title = f"{where[:1].upper()}{where[1:]} replaced: perplexity by way"
        x, y = Axis("in what way", names=names), Axis(PERPLEXITY, log=True)
        plots.append(subject.plot(f"run-{name}", title, x, y, bars_or_points(names, values), told, lying=True))
    return plots


def teacher_forcing(subject: Subject) -> Plot | None:
    """What maps cost one by one, in sum, together at true inputs, and on the stream that they shift."""
    found = subject.rungs("shift_excess")
    most = max((max(len(nums(e.get("alone"))), len(nums(e.get("blocks")))) for e in found.values()), default=0)
    blocks = next((nums(e.get("blocks")) for e in found.values() if nums(e.get("blocks"))), [])
    each = [f"block {block:g} alone" if block is not None else "one alone" for block in [*blocks, *[None] * most][:most]]
    names = (*each, "sum of these", "together, at true inputs", "together, on their own stream")
    curves, told = {}, []
    for rung, e in found.items():
        alone = ([*nums(e.get("alone")), *[None] * most])[:most]
        costs = [value for value in alone if value is not None]
        total = sum(costs) if costs and len(costs) == len(nums(e.get("alone"))) else None
        forced, free = num(e.get("forced")), num(e.get("free"))
        curves[rung] = [Point(float(i), value) for i, value in enumerate([*alone, total, forced, free])]
        parts = {"the sum of each alone": total, "together at true inputs": forced, "on their own stream": free}
        told.append(compared(rung, parts, ", nats per position"))
        if forced is not None and free is not None:
            does = "costs" if free > forced else "saves" if free < forced else "changes"
            told.append(f"The shift of the stream {does} {figure(abs(free - forced))}.")
    title = "What maps cost one by one and together: errors that add up, and the shift"
    legend = "ΔNLL. At true inputs nothing reads the errors; on their own stream each map reads what those before it have shifted."
    x, y = Axis("which maps", names=names), Axis("nats per position")
    return subject.plot("forcing", title, x, y, by_rung(curves, "bars"), told, legend=legend, lying=True)


def after_upstream_change(subject: Subject) -> list[Plot | None]:
    """R² of a block's map when the j blocks before it are replaced by theirs."""
    found = {rung: mapping(e.get("curves")) for rung, e in subject.rungs("r2_lost").items()}
    plots = []
    for target in dict.fromkeys(str(target) for curves in found.values() for target in curves):
        points = {}
        for rung, curves in found.items():
            curve = mapping(curves.get(target))
            points[rung] = [Point(float(j), r2) for j, r2 in enumerate([num(curve.get("clean")), *nums(curve.get("shifted"))])]
        series = by_rung(points)
        told = [course(one, "R²", "j =") for one in series if any(p.y is not None for p in one.points)]
        title = f"R² of the map of block {target} when the j blocks before it are replaced by theirs"
        x = Axis("j, blocks replaced before it")
        plots.append(subject.plot(f"shift-{target}", title, x, Axis("R²"), series, told))
    return plots


def transfer(subject: Subject) -> list[Plot | None]:
    """R² of the last block's map of every text on every text of the run, a plot for each rung."""
    document, model = subject.document, subject.model
    texts = [corpus for of, corpus in document.pairs if of == model]
    found = {corpus: Subject(document, model, corpus).rungs("transfer") for corpus in texts}
    texts = [corpus for corpus in texts if found[corpus]]
    plots = []
    for rung in sorted({rung for of in found.values() for rung in of}, key=place):
        curves: dict[str, list[Point]] = {}
        told = []
        for i, corpus in enumerate(texts):
            e = found[corpus].get(rung, {})
            sources = e.get("sources")
            names = [text(source, "a text without a name") for source in sources] if isinstance(sources, (list, tuple)) else []
            r2 = dict(zip(names, nums(e.get("r2")), strict=False))
            for source, value in r2.items():
                curves.setdefault(source, []).append(Point(float(i), value))
            told.append(extremes(corpus, r2, "R² of maps"))
        series = [Series(f"map of {source}", tuple(points), "points") for source, points in curves.items()]
        title = f"The last block's map of every text on every other: R² ({rung})"
        x = Axis("text on which it is scored", names=tuple(texts))
        plots.append(subject.plot(f"transfer-{rung}", title, x, Axis("R²"), series, told, _zero(curves), lying=True))
    return plots


def _zero(curves: dict[str, list[Point]]) -> list[Mark]:
    """Mark 0 where some R² lies below it: such a map does worse than none."""
    return [Mark("y", 0.0, "as good as none")] * any(p.y is not None and p.y < 0 for points in curves.values() for p in points)
