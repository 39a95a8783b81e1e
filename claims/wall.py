"""What claim 3 and the codebooks say beside a figure: of which layers, at how many bits, and what makes it doubtful."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from claims.everywhere import Everywhere
from claims.remarks import Remarks, of_sample
from harness.challengers import ENTERED
from harness.concentration import Concentration
from harness.laboratory import Laboratory
from harness.reconstruction import GROUPED, OWN, Reconstruction, by_block, geometric_mean
from harness.statistics import Array, Figure

WALL = ("dct", "svd", "random", "pca", "cca")
_FITTED = ("pca", "cca", "gptq", "gptq_factors")
_CODEBOOKS = ("kmeans", "nf4", "symmetric")
_NAMED = 3


def _in_sample(rung: str) -> bool:
    return rung == "paper"


def of_method(lab: Laboratory, rung: str, found: Reconstruction, name: str, others: tuple[str, ...] = ()) -> tuple[Figure, Remarks]:
    """Return the mean ratio of a method over all layers, and what is said of it; ``others`` are shown beside it, and not judged."""
    ratios = found.ratios(name, _in_sample(rung))
    everywhere = Everywhere(ratios, tuple(found.layers))
    doubts, caveats = _of_layers(lab, rung, found, fitted=name in _FITTED)
    caveats += _without_figure(found, ratios) + _capped(found, name)
    stored, beside = _bits(found, name)
    weights = geometric_mean(Figure(found.weight_ratios(name))).value
    note = f"{everywhere.count} layers, {stored:.2f} bits a weight against {beside:.2f}; error of the weights {_times(float(weights))}"
    note += _left_out(found) + ("; the interval takes bases and Hessians as given" if name in _FITTED else "")
    evidence = {"methods": {each: _evidence(found, each, rung) for each in (name, *others)}}
    remarks = Remarks(doubts=tuple(doubts), caveats=tuple(caveats), note=note, evidence=evidence, everywhere=everywhere, absent=_NOTHING)
    return geometric_mean(ratios), remarks


_NOTHING = "no figure: the method applies to no layer, direct quantisation is exact, or one group of windows is all there is"


def strictly(lab: Laboratory, rung: str) -> tuple[Figure, Remarks]:
    """Return the ratio of the layer and method that comes nearest to falsifying, and what is said of it."""
    found = lab.arena(rung)
    figures = [found.ratios(name, _in_sample(rung)) for name in WALL]
    rows = [figure.fit if _in_sample(rung) else figure.score for figure in figures]
    rest = np.concatenate([row for row in rows if row is not None], 1)
    value = np.concatenate([np.asarray(figure.value) for figure in figures])
    parts = Figure(value, rest if _in_sample(rung) else None, None if _in_sample(rung) else rest, None, 0.0)
    names = tuple(f"{layer} by {name}" for name in WALL for layer in found.layers)
    everywhere = Everywhere(parts, names, one_falsifies=True)
    if (place := everywhere.worst()) is None:
        return Figure(np.nan), Remarks(absent=_NOTHING)
    method, layer = WALL[place // len(found.layers)], place % len(found.layers)
    doubts, caveats = _of_layers(lab, rung, found, fitted=method in _FITTED)
    weights = found.weight_ratios(method)[layer]
    note = f"{names[place]}, of {everywhere.count} layers and methods; error of its weights {_times(weights)}{_left_out(found)}"
    worst, half = parts.at(place), figures[place // len(found.layers)].half
    if half is not None:
        worst = replace(worst, half=float(np.asarray(half)[layer]))
    return worst, Remarks(doubts=tuple(doubts), caveats=tuple(caveats), note=note, everywhere=everywhere)


def cross_terms(lab: Laboratory, rung: str) -> tuple[Figure, Remarks]:
    """Return the error of SVD's cross-terms over that of direct quantisation, mean of all layers."""
    found = lab.arena(rung)
    ratios = found.cross_terms(_in_sample(rung))
    values, parts = np.asarray(ratios.value), found.parts()
    shares = {
        "truncation": _mean(parts[:, 0]),
        "cross": float(geometric_mean(ratios).value),
        "product": _mean(parts[:, 1]),
        "total": float(geometric_mean(found.ratios("svd", _in_sample(rung))).value),
    }
    doubts, caveats = _of_layers(lab, rung, found, fitted=False)
    told = ", ".join(f"{name} {_times(value)}" for name, value in shares.items() if name != "cross")
    note = f"{(~np.isnan(values)).sum()} layers, {(values < 1).sum()} of them below 1; beside the cross-terms: {told}{_left_out(found)}"
    evidence = {"parts": shares, "grouped": float(geometric_mean(found.cross_terms(_in_sample(rung), GROUPED)).value)}
    remarks = Remarks(doubts=tuple(doubts), caveats=tuple(caveats), note=note, evidence=evidence, absent=_NOTHING)
    return geometric_mean(ratios), remarks


def codebook(lab: Laboratory, rung: str, name: str) -> tuple[Figure, Remarks]:
    """Return what a codebook gains over uniform levels of as many bits: of the whole tensor on ``paper``, of groups on ``strict``."""
    found, grain = lab.arena(rung), GROUPED if rung == "strict" else OWN
    figure = found.gain(name, _in_sample(rung), grain)
    doubts, caveats = _of_layers(lab, rung, found, fitted=False)
    caveats += _without_figure(found, found.ratios(name, _in_sample(rung), grain))
    stored, beside = _bits(found, name, grain)
    weights = 1 / _mean(found.weight_ratios(name, grain))
    where = f"groups of {lab.protocol.reconstruction.codebook_groups}" if grain else "the whole tensor"
    note = f"{where}; {stored:.2f} bits a weight against {beside:.2f}; of the weights' own error {weights:.3g}{_left_out(found)}"
    others = ("symmetric",) if name == "nf4" else ()
    evidence = {"methods": {each: _evidence(found, each, rung) for each in (name, *others)}}
    return figure, Remarks(doubts=tuple(doubts), caveats=tuple(caveats), note=note, evidence=evidence, absent=_NOTHING)


def downstream(lab: Laboratory, rung: str) -> tuple[Figure, Remarks]:
    """Return the perplexity with all layers quantised directly, and that of every other method beside it."""
    found = lab.quantised(rung)
    bits = _bits_of_variants(lab, rung)
    variants: dict[str, dict[str, float]] = {}
    for name in found.variants:
        interval = found.perplexity(name).interval(0.95)
        figures = {"perplexity": interval.value, "low": interval.low, "high": interval.high, "kl": found.kl(name)}
        variants[name] = {**figures, "bits": bits.get(name, np.nan)}
    direct, left_out = found.variants[0], found.number("left_out")
    others = {name: row["perplexity"] for name, row in variants.items() if name != direct}
    least, most = (pick(others, key=others.__getitem__) for pick in (min, max))
    told = " to ".join(f"{others[name]:,.4g} ({name}, {bits.get(name, np.nan):.2f} bits a weight)" for name in (least, most))
    note = (
        f"perplexity {found.baseline:,.2f} as it is; {variants[direct]['bits']:.2f} bits a weight; by other methods, of other bits, {told}"
    )
    note += f"; {left_out:.2%} of positions left as they were" if left_out else ""
    _, caveats = of_sample(lab, rung, np.inf, lab.facts.width)
    caveats += _quantised_before(lab)
    return found.perplexity(direct), Remarks(caveats=tuple(caveats), note=note, evidence={"baseline": found.baseline, "variants": variants})


def _bits_of_variants(lab: Laboratory, rung: str) -> dict[str, float]:
    """Stored bits a weight of what is run, which the arena that came with it has counted."""
    arena = lab.arena(rung)
    grains = {name: GROUPED if rung == "strict" and name in _CODEBOOKS else OWN for name in arena.methods}
    bits = {name: _bits(arena, name, grain)[0] for name, grain in grains.items()}
    bits |= {"direct": _bits(arena, "dct")[1]}  # The DCT stores as many.
    if rung == "strict":
        challenged = lab.challenged(rung)
        bits |= {name: _bits(challenged, name)[0] for name in challenged.methods}
    return bits


def concentration(lab: Laboratory, rung: str, embeddings: bool) -> tuple[Figure, Remarks]:
    """Return how much more concentrated weights are than the same weights shuffled."""
    found: Concentration = lab.concentration(rung)
    prefix, figure = ("embedding_", found.embedding_excess) if embeddings else ("", found.excess)
    gini, energy = found.arrays[f"{prefix}gini"], found.arrays[f"{prefix}energy"]
    shuffled, energy_shuffled = (found.arrays[f"{prefix}{name}_shuffled"].mean(1) for name in ("gini", "energy"))
    excess = gini - shuffled
    evidence: dict[str, Any] = {
        name: [float(values.mean()), float(values.min()), float(values.max())]
        for name, values in {
            "gini": gini,
            "shuffled": shuffled,
            "excess": excess,
            "energy": energy,
            "energy_shuffled": energy_shuffled,
        }.items()
    }
    what = "1 matrix" if len(gini) == 1 else f"{len(gini)} matrices"
    note = (
        f"{what}: Gini {gini.mean():.3f}, shuffled {shuffled.mean():.3f}; the largest 25% of coefficients hold "
        f"{energy.mean():.0%} of the energy, shuffled {energy_shuffled.mean():.0%}"
    )
    if not embeddings:
        note += f"; excess of {excess.min():.3f} to {excess.max():.3f} by layer".replace("-", "−")
        block = found.arrays["block"]
        evidence["by_block"] = {str(b): float(excess[block == b].mean()) for b in np.unique(block).astype(int)}
    return figure, Remarks(caveats=tuple(_quantised_before(lab)), note=f"{note}; no text is run", evidence=evidence)


def entered(found: Reconstruction) -> tuple[str, ...]:
    """Return the challengers that were entered from outside."""
    return tuple(name for name in found.methods if name in ENTERED)


def _of_layers(lab: Laboratory, rung: str, found: Reconstruction, fitted: bool) -> tuple[list[str], list[str]]:
    """Return doubts and caveats about sample, weights and layers."""
    a, fewest = found.arrays, lab.protocol.reconstruction.expert_tokens
    # An expert has its own tokens, and a caveat of its own.
    dense = [n for name, n in zip(found.layers, a["tokens"], strict=True) if not name.endswith("]") and ".experts." not in name]
    doubts, caveats = of_sample(lab, rung, min(dense, default=np.inf) if fitted else np.inf, lab.facts.width)
    caveats += _quantised_before(lab)
    starved = [name for name, tokens, inputs in zip(found.layers, a["tokens"], a["inputs"], strict=True) if tokens < fewest * inputs]
    if starved:
        caveats.append(f"{_named(starved)}: read by fewer than {fewest} calibration tokens for each input dimension")
    if unseen := found.unseen:
        caveats.append(f"{_named(unseen)}: left as they are")
    return doubts, caveats


def _quantised_before(lab: Laboratory) -> list[str]:
    provenance = lab.facts.provenance
    return [f"weights are {provenance}: levels that were theirs before help whatever finds them again"] if "quantised" in provenance else []


def _capped(found: Reconstruction, name: str) -> list[str]:
    a, m = found.arrays, found.methods.index(name)
    fewer = (a["base_bits"][m, :, OWN] < a["bits"][m, :, OWN] - 0.01).sum()
    if not fewer:
        return []
    return [
        f"on {fewer} layers the method stores more than the 2²⁰ levels that direct quantisation is given: ratios are lower bounds there"
    ]


def _left_out(found: Reconstruction) -> str:
    share = found.number("left_out")
    return f"; {share:.2%} of tokens left out as atypical" if share else ""


def _without_figure(found: Reconstruction, ratios: Figure) -> list[str]:
    missing = [name for name, value in zip(found.layers, np.asarray(ratios.value), strict=True) if np.isnan(value)]
    return [f"{_named(missing)}: without a figure"] if 0 < len(missing) < len(found.layers) else []


def _named(names: list[str]) -> str:
    return f"{len(names)} layers ({', '.join(names[:_NAMED])}{', …' if len(names) > _NAMED else ''})"


def _bits(found: Reconstruction, name: str, grain: int = OWN) -> tuple[float, float]:
    """Stored bits a weight over all layers, of the method and of what it is compared with."""
    a, m = found.arrays, found.methods.index(name)
    here = ~np.isnan(a["bits"][m, :, grain])
    if not here.any():
        return np.nan, np.nan
    entries = a["entries"][here]
    return tuple(float((a[bits][m, here, grain] * entries).sum() / entries.sum()) for bits in ("bits", "base_bits"))  # type: ignore[return-value]


def _evidence(found: Reconstruction, name: str, rung: str) -> dict[str, Any]:
    """Return what a report shows of a method: geometric means with intervals, exceptions, bits, and the mean of every block."""
    shown: dict[str, Any] = {"label": ENTERED[name].label} if name in ENTERED else {}
    for label, grain in (("own", OWN), ("grouped", GROUPED)):
        ratios = found.ratios(name, _in_sample(rung), grain)
        mean, values = geometric_mean(ratios), np.asarray(ratios.value)
        known = values[~np.isnan(values)]
        if not len(known):
            continue
        interval, weights = mean.interval(0.95), found.weight_ratios(name, grain)
        stored, beside = _bits(found, name, grain)
        shown[label] = {
            "output": [interval.value, interval.low, interval.high],
            "least": float(known.min()),
            "most": float(known.max()),
            "below": int((known < 1).sum()),
            "layers": len(known),
            "weight": _mean(weights),
            "weight_below": int((weights < 1).sum()),
            "bits": [stored, beside],
        }
        if label == "own":
            shown["exceptions"] = {found.layers[i]: float(values[i]) for i in np.argsort(values) if values[i] < 1}
            shown["by_block"] = {str(b): value for b, value in by_block(values, found.arrays["block"]).items()}
    return shown


def _mean(values: Array) -> float:
    return float(geometric_mean(Figure(values)).value)


def _times(value: float) -> str:
    return f"{value:.3g}×"
