"""Plots of claim 1: how variance is spread over directions, what predicts, and what removing directions costs."""

from __future__ import annotations

from collections.abc import Mapping

from reports.ledger import Row
from reports.plot_subject import (
    BLOCK,
    PERPLEXITY,
    Subject,
    Value,
    at_places,
    by_rung,
    compared,
    course,
    known,
    mapping,
    num,
    nums,
    place,
    row_point,
    spread_of,
)
from reports.plot_values import Axis, Mark, Plot, Point, Series, figure

_TOKENS = {"paper": "all tokens", "typical": "typical tokens"}
_CURVES = {"pca": "PCs", "random": "a random subspace", "predictive": "the most predictive"}
_WHOLE = {"baseline": "untouched", "projected": "onto the PCs with 90% of variance"}
_METHODS = {"pca": "PCs", "cca": "CCA", "rrr": "regression"}


def dimensions(subject: Subject, *shares: int) -> Plot | None:
    """How many PCs hold some shares of the variance of every block's output."""
    series: list[Series] = []
    for rung, tokens in _TOKENS.items():
        for share in shares:
            rows: list[Row] = [
                row for row in subject.rows_of(f"dimensions_{share}") if row.cell.rung == rung and row.cell.block is not None
            ]
            series.append(Series(f"{share}%, {tokens}", tuple(row_point(float(row.cell.block or 0), row) for row in rows)))
    told = [course(one, "the number of PCs") for one in series if known(one)]
    title = f"How many PCs hold {', '.join(map(str, shares))}% of the variance of every block's output"
    return subject.plot("dimensions", title, BLOCK, Axis("PCs (log scale)", log=True), series, told)


def scree(subject: Subject) -> Plot | None:
    """Share of variance of single PCs at mid, by rank; ranks are thinned out evenly on the logarithmic axis."""
    series, told, blocks = [], [], []
    for rung, e in subject.rungs("dimensions_90").items():
        shares = nums(e.get("shares"))
        ranks = sorted({min(round(2 ** (i / 4)), len(shares)) for i in range(4 * len(shares).bit_length() + 1)}) if shares else []
        name = _TOKENS.get(rung, rung)
        series.append(Series(name, tuple(Point(float(k), shares[k - 1]) for k in ranks), tone=place(rung)))
        blocks += [f"{block:g}" for block in [num(e.get("block"))] if block is not None]
        top, first = [share for share in shares[:10] if share is not None], shares[0] if shares else None
        if first is not None and len(top) == len(shares[:10]):
            ten = f"the first {len(top)} hold {figure(100 * sum(top))}%"
            told.append(f"Of {name}, the first PC holds {figure(100 * first)}% of the variance, {ten}.")
    where = f" (the output of block {blocks[0]})" if blocks else ""
    title = f"Share of variance by rank of the PC at mid{where}"
    return subject.plot("scree", title, Axis("rank (log scale)", log=True), Axis("share of variance (log scale)", log=True), series, told)


def overlap(subject: Subject) -> Plot | None:
    """Overlap of top PCs with predictive directions for every λ, beside chance, random subspaces and two halves of the text."""
    found = subject.rungs("subspace_overlap")
    factors = list(dict.fromkeys(str(name) for e in found.values() for name in mapping(e.get("ridge"))))
    random = ("random, by weights", "random, by patterns")
    names = ("chance", *factors, "by weights", "by patterns", "whitened", *random, "two halves of the text")
    curves: dict[str, list[Point]] = {}
    told = []
    for rung, e in found.items():
        ridge = {str(name): num(value) for name, value in mapping(e.get("ridge")).items()}
        nulls = mapping(e.get("random"))
        values: dict[str, tuple[Value, Value, Value]] = {
            "chance": (num(e.get("chance")), None, None),
            **{name: (value, None, None) for name, value in ridge.items()},
            **{f"by {name}": (num(e.get(name)), None, None) for name in ("weights", "patterns")},
            "whitened": (num(e.get("whitened")), None, None),
            "two halves of the text": (num(e.get("self_overlap")), None, None),
        }
        for name in ("weights", "patterns"):
            mean, low, high = (*nums(nulls.get(name)), None, None, None)[:3]
            values[f"random, by {name}"] = mean, low, high
        curves[rung] = [Point(float(i), *values.get(name, (None, None, None))) for i, name in enumerate(names)]
        told.append(compared(rung, {name: values[name][0] for name in ("chance", "1 λ", "two halves of the text") if name in values}))
    legend = "Whiskers: least to greatest of random subspaces. On strict the overlap by λ is whitened, with chance taken off: 0 by chance."
    return subject.plot(
        "overlap",
        "Overlap of the top PCs at mid with the directions that predict the final stream",
        Axis("directions", names=names),
        Axis("overlap"),
        by_rung(curves, "points"),
        told,
        subject.bounds("subspace_overlap"),
        legend,
        lying=True,
    )


def gain(subject: Subject) -> list[Plot | None]:
    """Held-out R² of the final stream from k directions: PCs, canonical directions, directions of a regression."""
    plots = []
    for rung, e in subject.rungs("predictive_gain").items():
        series = [Series(label, at_places(nums(e.get("k")), nums(e.get(name)))) for name, label in _METHODS.items()]
        title = f"Held-out R² of the final stream from k directions at mid ({rung})"
        plots.append(subject.plot(f"gain-{rung}", title, Axis("k (log scale)", log=True), Axis("R²"), series, _at_ends(rung, series, "R²")))
    return plots


def projection(subject: Subject) -> list[Plot | None]:
    """Perplexity after projection onto k directions of three kinds."""
    plots = []
    for rung, e in subject.rungs("projection_ppl_ratio").items():
        curves = mapping(e.get("perplexity"))
        series = [Series(label, at_places(nums(e.get("k")), nums(curves.get(name)))) for name, label in _CURVES.items()]
        marks = [Mark("y", value, f"{label} {figure(value)}") for key, label in _WHOLE.items() if (value := num(e.get(key))) is not None]
        told = [
            compared(rung, {label: num(e.get(key)) for key, label in _WHOLE.items()}, ", perplexity"),
            *_at_ends(rung, series, "perplexity"),
        ]
        title = f"Perplexity after projection onto k directions ({rung})"
        x, y = Axis("k (log scale)", log=True), Axis(PERPLEXITY, log=True)
        plots.append(subject.plot(f"projection-{rung}", title, x, y, series, told, marks))
    return plots


def _at_ends(rung: str, series: list[Series], what: str) -> list[str]:
    """Say what each curve has at the least and the greatest k."""
    places = sorted({x for one in series for x, _ in known(one)})
    return [
        compared(rung, {one.name: dict(known(one)).get(k) for one in series}, f", {what} at k = {k:g}")
        for k in dict.fromkeys(places[:1] + places[-1:])
    ]


def ablation_by_rank(subject: Subject) -> list[Plot | None]:
    """Variance of single PCs and the KL of ablating them, by rank, each over its greatest."""
    return _by_rank(subject, "variance_ranks_importance", "kl", "KL of ablating it")


def sensitivity_by_rank(subject: Subject) -> list[Plot | None]:
    """Variance of single PCs and the KL of a push of fixed norm along them, by rank, each over its greatest."""
    return _by_rank(subject, "sensitivity_gini", "sensitivity", "KL of a push along it")


def _by_rank(subject: Subject, predicate: str, key: str, label: str) -> list[Plot | None]:
    plots = []
    for rung, e in subject.rungs(predicate).items():
        ranks = [None if rank is None else rank + 1 for rank in nums(e.get("rank"))]
        series, most = [], {}
        for name, shown in (("variance", "variance"), (key, label)):
            values = nums(e.get(name))
            most[name] = max((value for value in values if value is not None), default=0.0)
            if most[name] > 0:
                over = [None if value is None else value / most[name] for value in values]
                series.append(Series(shown, at_places(ranks, over), "points"))
        marks, told = [], [_greatest(rung, one) for one in series]
        if (beside := spread_of(nums(e.get("random")))) is not None and most[key] > 0:
            marks.append(Mark("y", beside[0] / most[key], "random directions, mean"))
            told.append(f"Random directions: {figure(beside[0])} nats in the mean, the PCs {figure(most[key])} at most.")
        row = next((row for row in subject.rows_of(predicate) if row.cell.rung == rung and row.value is not None), None)
        if row is not None:
            told.append(f"{row.unit}: {figure(row.value or 0.0)}, {row.verdict.word}.")
        title = f"Variance of single PCs at mid and {label}, each over its greatest ({rung})"
        x, y = Axis("rank of the PC (log scale)", log=True), Axis("share of the greatest (log scale)", log=True)
        plots.append(subject.plot(f"{predicate}-{rung}", title, x, y, series, told, marks, f"The greatest KL is {figure(most[key])} nats."))
    return plots


def _greatest(rung: str, series: Series) -> str:
    points = known(series)
    if not points:
        return f"On {rung} there is no {series.name}."
    rank = max(points, key=lambda p: p[1])[0]
    return f"On {rung}, {series.name} is greatest at rank {rank:g}."


def logit_change(subject: Subject) -> Plot | None:
    """First canonical correlation of scores with the change of logits: of PCs, beside random subspaces of equal dimension."""
    found = subject.rungs("logit_change_correlation")
    series, told = [], []
    names = tuple(found)
    beside: dict[str, tuple[float, float, float] | None] = {rung: spread_of(nums(e.get("random"))) for rung, e in found.items()}
    own: Mapping[str, Value] = {rung: num(e.get("correlation")) for rung, e in found.items()}
    series.append(Series("PCs", tuple(Point(float(i), own[rung]) for i, rung in enumerate(names)), "points"))
    random = tuple(Point(float(i), *of) for i, rung in enumerate(names) if (of := beside[rung]))
    series.append(Series("random subspaces: mean, least to greatest", random, "points"))
    for rung in names:
        of = beside[rung]
        told.append(compared(rung, {"PCs": own[rung], "random subspaces in the mean": of and of[0]}))
    title = "First canonical correlation of scores on directions ablated together with the change of logits"
    return subject.plot("logits", title, Axis("rung", names=names), Axis("correlation"), series, told, lying=True)
