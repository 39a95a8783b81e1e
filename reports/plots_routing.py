"""Plots of early exit: what it costs and saves beside exits at random, and whether the heads' confidence is what it says (claim 5)."""

from __future__ import annotations

from reports.plot_subject import PERPLEXITY, Subject, dicts, mapping, num
from reports.plot_values import Axis, Mark, Plot, Point, Series, figure


def routing(subject: Subject) -> list[Plot | None]:
    """Perplexity over the compute that early exit saves, by confidence and at random."""
    plots = []
    for rung, e in subject.rungs("routing_cost").items():
        rows = [(saved, row) for row in dicts(e.get("rows")) if (saved := num(row.get("saved"))) is not None]
        rows.sort(key=lambda pair: pair[0])
        base = num(e.get("baseline"))
        by, told = {"perplexity": "by confidence", "random": "at random"}, []
        series = [
            Series(label, tuple(Point(saved, num(row.get(key)), told=_told(label, row, num(row.get(key)))) for saved, row in rows))
            for key, label in by.items()
        ]
        for saved, row in rows:
            ours, theirs, at = (num(row.get(key)) for key in ("perplexity", "random", "threshold"))
            if ours is not None:
                beside = "" if theirs is None else f", at random {figure(theirs)}"
                what = f"{_saves(saved, row)}, at perplexity {figure(ours)}{beside}"
                told.append(f"At confidence {'–' if at is None else figure(at)}, exits save {what}.")
        marks = [Mark("y", base, f"untouched {figure(base)}")] if base is not None else []
        title = f"Perplexity over the share of the blocks' operations that early exit saves ({rung})"
        legend = "A point for each threshold of confidence. Saved: of the blocks' operations, without what the heads themselves cost."
        x, y = Axis("share saved"), Axis(PERPLEXITY, log=True)
        plots.append(subject.plot(f"routing-{rung}", title, x, y, series, told, marks, legend))
    return plots


def _told(label: str, row: object, value: float | None) -> str:
    threshold, saved = num(mapping(row).get("threshold")), num(mapping(row).get("saved"))
    at = "" if threshold is None else f", confidence {threshold:g}"
    return f"{label}{at}: perplexity {'–' if value is None else figure(value)}, saves {_saves(saved or 0.0, row)}"


def _saves(saved: float, row: object) -> str:
    """Say what is saved, and what is left of it when the heads' own operations are counted, which may be more than all."""
    whole = num(mapping(row).get("saved_with_heads"))
    if whole is None:
        return f"{figure(100 * saved)}%"
    rest = f"save {figure(100 * whole)}%" if whole >= 0 else f"cost {figure(-100 * whole)}% more"
    return f"{figure(100 * saved)}% (with the heads' own operations they {rest})"


def reliability(subject: Subject) -> Plot | None:
    """How often heads are right by how confident they are, on the strictest rung that was measured."""
    for rung, e in reversed(subject.rungs("routing_cost").items()):
        series, told = [], []
        for at, head in mapping(e.get("calibration")).items():
            points = []
            for part in dicts(mapping(head).get("bins")):
                confidence, right, tokens = (num(part.get(key)) for key in ("confidence", "right", "tokens"))
                if confidence is not None and right is not None and tokens != 0:
                    said = f"block {at}: confidence {figure(confidence)}, right {figure(right)}"
                    points.append(Point(confidence, right, told=f"{said}, {tokens:.0f} tokens" if tokens is not None else said))
            series.append(Series(f"head at block {at}", tuple(points)))
            error = num(mapping(head).get("error"))
            if points:
                over = sum((p.y or 0.0) < p.x for p in points)
                said = "" if error is None else f", expected calibration error {figure(error)}"
                told.append(f"The head at block {at} is surer than right in {over} of {len(points)} bins{said}.")
        if any(one.points for one in series):
            series.append(Series("as right as sure", (Point(0.0, 0.0), Point(1.0, 1.0)), tone=7))
            title = f"Are heads as often right as they are confident? ({rung})"
            legend = "Right: the head's top-1 token is the text's next one. Below the diagonal: too much confidence."
            x, y = Axis("mean confidence of the bin"), Axis("share right")
            return subject.plot("reliability", title, x, y, series, told, legend=legend)
    return None
