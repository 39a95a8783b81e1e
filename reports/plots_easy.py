"""Plots of claim 5: agreement beside its controls, how heads are trained, and two criteria of easy tokens."""

from __future__ import annotations

from typing import Any

from reports.plot_subject import Subject, Value, at_places, by_rung, compared, course, dicts, known, mapping, num, nums, place
from reports.plot_values import Axis, Mark, Plot, Point, Series, figure

_HANDED = ("exit_agreement", "exit_excess", "supervision", "routing_cost", "lora_gain")
_AT_MID = {"half": "half the text", "distilled": "distilled", "lora": "beside a LoRA"}
_CURVES = {"train": "training loss", "nll": "held-out NLL"}


def agreement(subject: Subject) -> list[Plot | None]:
    """Agreement of heads at every exit with the full model, beside naive heads, a bigram table and a head on the embeddings."""
    together: dict[str, dict[str, Any]] = {}
    for predicate in _HANDED:
        for rung, e in subject.rungs(predicate).items():
            before = together.get(rung, {})
            together[rung] = {**e, **before, "trained": {**mapping(before.get("trained")), **mapping(e.get("trained"))}}
    plots = []
    for rung, e in sorted(together.items(), key=lambda item: place(item[0])):
        exits, trained = nums(e.get("exits")), e["trained"]
        by_exit = {num_of(at): num(value) for at, value in trained.items()}
        points = tuple(Point(at, value) for at, value in sorted((at, value) for at, value in by_exit.items() if at is not None))
        mid = min([at for at in (*exits, *(p.x for p in points)) if at is not None], default=None)
        series = [Series("trained head", points), Series("naive head", at_places(exits, nums(e.get("naive"))))]
        values: dict[str, Value] = {one.name: dict(known(one)).get(mid) if mid is not None else None for one in series}
        for key, label in _AT_MID.items():
            values[label] = num(e.get(key))
            series.append(Series(f"trained: {label}", (Point(mid or 0.0, values[label]),), "points"))
        marks = []
        for key, label in (("bigram", "bigram table"), ("lowest", "head on the embeddings")):
            values[label] = num(e.get(key))
            if (at := values[label]) is not None:
                marks.append(Mark("y", at, label))
        told = [compared(rung, values, "" if mid is None else f", agreement at block {mid:g}")]
        title = f"Agreement with the full model's top-1 token, by the block that is read ({rung})"
        legend = "The bigram table and the head on the embeddings see no context."
        x = Axis("block whose output is read")
        plots.append(subject.plot(f"agreement-{rung}", title, x, Axis("share of positions"), series, told, marks, legend))
    return plots


def num_of(text: object) -> Value:
    """Return the number that a key of JSON stands for, or None."""
    try:
        return num(float(str(text)))
    except ValueError:
        return None


def training(subject: Subject) -> Plot | None:
    """Loss of the head at mid on the text that it learns and on other text, by steps of training."""
    series, told = [], []
    for i, (rung, e) in enumerate(subject.rungs("exit_agreement").items()):
        curve = mapping(e.get("curve"))
        for j, (key, label) in enumerate(_CURVES.items()):
            series.append(Series(f"{rung}: {label}", at_places(nums(curve.get("steps")), nums(curve.get(key))), tone=2 * i + j))
        points = known(series[-1])
        if points:
            told.append(
                f"On {rung}, held-out NLL is {figure(points[-1][1])} after {points[-1][0]:.0f} steps, "
                f"least {figure(min(y for _, y in points))} after {min(points, key=lambda p: p[1])[0]:.0f}."
            )
    title = "Training of the exit head at mid: loss by step"
    told = told or ["There is no held-out loss."]
    return subject.plot("training", title, Axis("steps"), Axis("nats per position"), series, told)


def training_agreement(subject: Subject) -> Plot | None:
    """Agreement of the head at mid on held-out text, by steps of training."""
    curves = {rung: mapping(e.get("curve")) for rung, e in subject.rungs("exit_agreement").items()}
    series = by_rung({rung: at_places(nums(curve.get("steps")), nums(curve.get("agreed"))) for rung, curve in curves.items()})
    told = [course(one, "held-out agreement", "step") for one in series if known(one)]
    title = "Training of the exit head at mid: agreement with the full model by step"
    return subject.plot("training-agreement", title, Axis("steps"), Axis("share of positions"), series, told)


def easy_by_tau(subject: Subject) -> Plot | None:
    """Reading B: share of tokens whose KL is at most τ with all late blocks destroyed together."""
    found = subject.rungs("kl_easy_share")
    series = by_rung({rung: at_places(nums(e.get("taus")), nums(e.get("curve"))) for rung, e in found.items()})
    told = [course(one, "the share with KL up to τ", "τ =") for one in series if known(one)]
    title = "Easy tokens, reading B: share with KL up to τ when all late blocks are destroyed together"
    return subject.plot("taus", title, Axis("τ, nats (log scale)", log=True), Axis("share of tokens"), series, told)


def easy_by_block(subject: Subject) -> Plot | None:
    """Reading A: median KL of each late block destroyed alone."""
    found = subject.rungs("kl_easy_share")
    series = by_rung({rung: at_places(nums(e.get("blocks")), nums(e.get("medians"))) for rung, e in found.items()}, "points")
    told = [course(one, "the median KL") for one in series if known(one)]
    title = "Easy tokens, reading A: median KL of each late block destroyed alone"
    return subject.plot("medians", title, Axis("block destroyed"), Axis("nats (log scale)", log=True), series, told)


def easy_beside_chance(subject: Subject) -> Plot | None:
    """Reading A: the share of tokens below the median for every late block, beside chance, with the bounds."""
    found = subject.rungs("kl_easy_share")
    names = ("by chance", "below every median")
    curves, told = {}, []
    for rung, e in found.items():
        values = {"by chance": num(e.get("chance")), "below every median": num(e.get("share"))}
        curves[rung] = [Point(float(i), values[name]) for i, name in enumerate(names)]
        told.append(compared(rung, values))
    title = "Easy tokens, reading A: share below the median KL for every late block"
    legend = "By chance: where blocks do not agree about which tokens need them; a half at most, where they agree wholly."
    x, marks = Axis("share", names=names), subject.bounds("kl_easy_share")
    return subject.plot("easy-share", title, x, Axis("share of tokens"), by_rung(curves, "points"), told, marks, legend, lying=True)


def odds_by_confidence(subject: Subject) -> Plot | None:
    """Odds ratio of the two criteria within each decile of the full model's confidence."""
    curves, told, marks = {}, [], [Mark("y", 1.0, "unrelated")]
    for rung, e in subject.rungs("easy_sets_agree").items():
        points = []
        for stratum in dicts(e.get("strata")):
            low, high, odds = (num(stratum.get(key)) for key in ("low", "high", "odds"))
            if low is not None and high is not None:
                said = "–" if odds is None else figure(odds)
                points.append(Point((low + high) / 2, odds, told=f"{rung}, confidence {figure(low)} to {figure(high)}: odds ratio {said}"))
        curves[rung] = points
        above = [p for p in points if p.y is not None]
        overall = {"at equal confidence": num(e.get("odds")), "whatever the confidence": num(e.get("crude"))}
        told.append(compared(rung, overall, ", odds ratio"))
        if above:
            told.append(f"It is above 1 in {sum((p.y or 0) > 1 for p in above)} of {len(above)} strata.")
    title = "Do the two criteria choose the same tokens? Odds ratio by the full model's confidence"
    legend = "Strata are deciles of confidence, drawn at their middle."
    x, y = Axis("confidence of the full model"), Axis("odds ratio (log scale)", log=True)
    return subject.plot("odds", title, x, y, by_rung(curves), told, marks, legend)
