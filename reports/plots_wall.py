"""Plots of claim 3 and of codebooks: every method beside direct quantisation, over blocks, by kind of layer, and downstream."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from reports.method_names import METHOD_NAMES
from reports.plot_subject import (
    BLOCK,
    PERPLEXITY,
    Found,
    Subject,
    Value,
    bars_or_points,
    by_rung,
    compared,
    extremes,
    mapping,
    num,
    nums,
    place,
    text,
)
from reports.plot_values import Axis, Mark, Plot, Point, Series, figure

METHODS = (
    *(f"wall_{name}" for name in ("dct", "svd", "random", "pca", "cca")),
    *(f"challenger_{name}" for name in ("rotation", "hadamard", "gptq_factors")),
)
_RATIO = Axis("output error over that of direct quantisation (log scale)", log=True)
_ONE = Mark("y", 1.0, "as good as direct")
_PARTS = {"truncation": "truncation", "cross": "cross-terms", "product": "product", "total": "all together"}


def methods(subject: Subject) -> Plot | None:
    """Error of every method over that of direct quantisation with as many bits: geometric mean over layers with its interval."""
    found: dict[str, dict[str, Found]] = {}
    for predicate in METHODS:
        for rung, e in subject.rungs(predicate).items():
            for name, shown in mapping(e.get("methods")).items():
                found.setdefault(rung, {}).setdefault(_label(str(name), shown), mapping(mapping(shown).get("own")))
    labels = tuple(dict.fromkeys(label for of in found.values() for label in of))
    curves = {}
    told = []
    for rung in sorted(found, key=place):
        curves[rung] = [Point(float(labels.index(label)), *_three(own.get("output"))) for label, own in found[rung].items()]
        below = [labels[int(p.x)] for p in curves[rung] if p.y is not None and p.y < 1]
        some = sum(p.y is not None for p in curves[rung])
        if some:
            told.append(f"On {rung}, {len(below)} of {some} methods lie below direct quantisation{': ' * bool(below)}{', '.join(below)}.")
    title = "Error of every method over direct quantisation with as many bits, mean over all layers"
    legend = "Whiskers: 95%. Below 1 direct quantisation loses. GPTQ on factors is compared with GPTQ on the weight."
    x = Axis("method", names=labels)
    return subject.plot("methods", title, x, _RATIO, by_rung(curves, "points"), told, [_ONE], legend, lying=True)


def over_depth(subject: Subject, predicate: str) -> Plot | None:
    """How much worse than direct quantisation the layers of each block are, by one method."""
    curves: dict[str, list[Point]] = {}
    told, title = [], ""
    for rung, e in subject.rungs(predicate).items():
        name, shown = next(iter(mapping(e.get("methods")).items()), ("", None))
        blocks = {int(block): num(value) for block, value in mapping(mapping(shown).get("by_block")).items() if _is_count(block)}
        curves[rung] = [Point(float(block), value) for block, value in sorted(blocks.items())]
        title = title or f"{_label(str(name), shown)} over direct quantisation, by block: geometric mean over its layers"
        values = [value for value in blocks.values() if value is not None]
        if values:
            told.append(f"On {rung} direct quantisation loses in {sum(value < 1 for value in values)} of {len(values)} blocks.")
    return subject.plot(f"{predicate}-blocks", title, BLOCK, _RATIO, by_rung(curves), told, [_ONE])


def exceptions(subject: Subject, predicate: str) -> Plot | None:
    """How many layers of each kind do better than direct quantisation, by one method."""
    counts: dict[str, dict[str, Value]] = {}
    told, label = [], ""
    for rung, e in subject.rungs(predicate).items():
        name, shown = next(iter(mapping(e.get("methods")).items()), ("", None))
        label = label or _label(str(name), shown)
        if not isinstance(mapping(shown).get("exceptions"), Mapping):
            continue  # Nothing is known, which is not none.
        of: dict[str, Value] = {}
        for layer in mapping(mapping(shown).get("exceptions")):
            kind = re.sub(r"^block \d+ ", "", re.sub(r"\.\d+\.", ".", re.sub(r"\[\d+\]", "", str(layer))))
            of[kind] = (of.get(kind) or 0.0) + 1
        counts[rung] = of
        layers = num(mapping(mapping(shown).get("own")).get("layers"))
        total = sum(count or 0.0 for count in of.values())
        told.append(f"On {rung}, {total:.0f}{'' if layers is None else f' of {layers:.0f}'} layers do better than direct quantisation.")
    kinds = tuple(
        sorted(
            dict.fromkeys(kind for of in counts.values() for kind in of), key=lambda kind: -max(of.get(kind) or 0 for of in counts.values())
        )
    )
    kinds = kinds[:20]
    series = by_rung({rung: [Point(float(i), of.get(kind, 0.0)) for i, kind in enumerate(kinds)] for rung, of in counts.items()}, "bars")
    title = f"Layers on which direct quantisation loses to {label}, by kind"
    return subject.plot(f"{predicate}-kinds", title, Axis("kind of layer", names=kinds), Axis("layers below 1"), series, told, lying=True)


def cross_terms(subject: Subject) -> Plot | None:
    """What the error of quantised SVD factors is made of, over that of direct quantisation."""
    values = {}
    for rung, e in subject.rungs("cross_terms").items():
        parts = mapping(e.get("parts"))
        values[rung] = {label: num(parts.get(key)) for key, label in _PARTS.items()}
    names = tuple(_PARTS.values())
    told = [compared(rung, of, ", over direct quantisation") for rung, of in values.items()]
    title = "The error of quantised SVD factors, by part, over that of direct quantisation"
    legend = "(A + ε_A)(B + ε_B) − W = (A B − W) + (ε_A B + A ε_B) + ε_A ε_B: truncation, cross-terms, product (Eq. 4)."
    x = Axis("part", names=names)
    return subject.plot("parts", title, x, _RATIO, bars_or_points(names, values), told, [_ONE], legend, lying=True)


def downstream(subject: Subject) -> Plot | None:
    """Perplexity with all layers stored by every method."""
    found = subject.rungs("downstream")
    labels: dict[str, str] = {}
    for e in found.values():
        for name, row in mapping(e.get("variants")).items():
            labels.setdefault(str(name), _label(str(name), row))
    curves, told = {}, []
    marks: dict[str, list[tuple[float, str]]] = {}
    for rung, e in found.items():
        base, variants = num(e.get("baseline")), mapping(e.get("variants"))
        rows = {name: mapping(variants.get(name)) for name in labels}
        curves[rung] = [
            Point(float(i), num(rows[name].get("perplexity")), num(rows[name].get("low")), num(rows[name].get("high")))
            for i, name in enumerate(labels)
        ]
        told.append(extremes(rung, {labels[name]: num(row.get("perplexity")) for name, row in rows.items()}, "perplexity"))
        if base is not None:
            marks.setdefault(f"{base:.4g}", []).append((base, rung))
    bases = [Mark("y", at[0][0], f"untouched {shown} ({', '.join(rung for _, rung in at)})") for shown, at in marks.items()]
    title = "All linear layers of all blocks quantised: perplexity by method"
    x = Axis("method", names=tuple(labels.values()))
    legend = "Whiskers: 95%. Methods store different numbers of bits a weight."
    y = Axis(PERPLEXITY, log=True)
    return subject.plot("downstream", title, x, y, by_rung(curves, "points"), told, bases, legend, lying=True)


def codebooks(subject: Subject) -> Plot | None:
    """What codebooks gain over uniform levels of no fewer stored bits, by scale."""
    curves: dict[str, dict[str, Point]] = {}
    for predicate in ("kmeans_gain", "nf4_gain"):
        for rung, e in subject.rungs(predicate).items():
            for name, shown in mapping(e.get("methods")).items():
                for grain, scale in (("own", "one for a tensor"), ("grouped", "one for 64 weights")):
                    value, low, high = (1 / limit if limit else None for limit in _three(mapping(mapping(shown).get(grain)).get("output")))
                    if value is not None:
                        curves.setdefault(rung, {})[f"{_label(str(name), shown)}, {scale}"] = Point(0.0, value, high, low)
    names = tuple(dict.fromkeys(name for of in curves.values() for name in of))
    points = {
        rung: [Point(float(i), p.y, p.low, p.high) for i, name in enumerate(names) if (p := of.get(name))]
        for rung, of in sorted(curves.items(), key=lambda item: place(item[0]))
    }
    told = [extremes(rung, {name: p.y for name, p in of.items()}, "the gain") for rung, of in curves.items()]
    title = "Codebooks: what they gain over uniform levels of no fewer stored bits"
    legend = "Gain: output error of uniform levels over that of the codebook; whiskers 95%."
    x, y = Axis("codebook", names=names), Axis("gain (log scale)", log=True)
    marks = [Mark("y", 1.0, "as good as uniform levels")]
    return subject.plot("codebooks", title, x, y, by_rung(points, "points"), told, marks, legend, lying=True)


def spectral(subject: Subject, predicate: str, what: str) -> Plot | None:
    """How concentrated the cosine transform of weights is, beside the same weights shuffled."""
    names = {"gini": "Gini", "shuffled": "Gini, shuffled", "energy": "energy in 25%", "energy_shuffled": "energy in 25%, shuffled"}
    # It is of weights alone: every rung has the same.
    e = next(iter(subject.rungs(predicate).values()), {})
    points = tuple(Point(float(i), *_three(e.get(key))) for i, key in enumerate(names))
    excess = _three(e.get("excess"))[0]
    told = [
        "There is no figure." if excess is None else f"The Gini of {what} exceeds that of shuffled ones by {figure(excess)} in the mean."
    ]
    title = f"Concentration of the cosine transform of {what}"
    legend = "Mean over matrices; whiskers: the least and the greatest."
    x = Axis("of squared coefficients", names=tuple(names.values()))
    return subject.plot(predicate, title, x, Axis("share"), [Series(what, points, "points")], told, legend=legend, lying=True)


def spectral_over_depth(subject: Subject) -> Plot | None:
    """How far the Gini of each block's weights exceeds that of shuffled ones."""
    e = next(iter(subject.rungs("spectral_gini_excess").values()), {})
    blocks = {int(block): num(value) for block, value in mapping(e.get("by_block")).items() if _is_count(block)}
    points = tuple(Point(float(block), value) for block, value in sorted(blocks.items()))
    told = [extremes("all blocks", {f"block {block}": value for block, value in sorted(blocks.items())}, "the excess")]
    title = "Gini of the cosine transform over that of shuffled weights, by block"
    marks = subject.bounds("spectral_gini_excess")
    return subject.plot("gini-blocks", title, BLOCK, Axis("excess of the Gini"), [Series("excess", points)], told, marks)


def of_method(what: Callable[[Subject, str], Plot | None], predicate: str) -> Callable[[Subject], Plot | None]:
    """Bind what draws any method to one."""
    return lambda subject: what(subject, predicate)


def _three(value: object) -> tuple[Value, Value, Value]:
    of = [*nums(value), None, None, None]
    return of[0], of[1], of[2]


def _label(method: str, shown: object) -> str:
    return METHOD_NAMES.get(method) or text(mapping(shown).get("label"), method)


def _is_count(text: object) -> bool:
    return isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 6
