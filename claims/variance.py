"""What claim 1 asserts and says: figures picked from its measurements, what they rest on, and what a control did."""

from __future__ import annotations

import numpy as np

from claims.declared import VARIANCE
from claims.remarks import Remarks, of_sample
from harness.laboratory import Laboratory
from harness.statistics import Array, Figure
from harness.variance import CURVES, METHODS, Subspaces

_GIVEN = "the interval takes the directions as given"
_EDGE = "λ stands at an end of the cross-validation's grid"
_MECHANICAL = "mechanically above 0.2: the change is a function of the scores"


def of_projection(lab: Laboratory, rung: str) -> Remarks:
    """Say where the projection acts, how much it keeps, and what it costs beside noise, random and predictive subspaces."""
    found = lab.projection(rung)
    a, strict, width = found.arrays, rung == "strict", lab.facts.width
    blocks, ranks = ([int(i) for i in a[name]] for name in ("blocks", "ranks"))
    cost, noise = found.costs
    before, after = float(np.exp(a["clean"].mean())), float(np.exp(a["projected"].mean()))
    where = f"block {blocks[0]}" if len(blocks) == 1 else f"blocks {', '.join(map(str, blocks))}"
    note = f"k = {', '.join(map(str, ranks))} of {width} at {where}: perplexity {before:,.2f} becomes {after:,.2f}"
    if strict:
        note = f"k = {ranks[0]} of {width} at {where}: the projection costs {cost:.3f} nats, noise of the dropped variance {noise:.3f}"
    doubts, caveats = of_sample(lab, rung, found.number("fitted"), width)
    note += f"; {_left_out(found.number('left_out'))}".rstrip("; ")
    curve = np.exp(a["curve"].mean(-1))
    evidence = {
        "blocks": blocks,
        "ranks": ranks,
        "held": _list(a["held"]),
        "width": width,
        "baseline": before,
        "projected": after,
        "cost": cost,
        "noise_cost": noise if strict else None,
        "k": [int(k) for k in a["curve_ranks"]],
        "perplexity": {kind: _list(curve[i]) for i, kind in enumerate(CURVES)},
    }
    absent = f"noise of the dropped variance costs nothing ({noise:.4f} nats), so that there is nothing to compare with"
    return Remarks(doubts=tuple(doubts), caveats=tuple(caveats), note=note, absent=absent, evidence=evidence)


def overlap(lab: Laboratory, rung: str, factor: int | None = None) -> Figure:
    """Return the overlap that a rung judges, for a factor on λ (by its place; the one of λ itself when None)."""
    found = lab.subspaces(rung)
    place = lab.protocol.variance.ridge_factors.index(1.0) if factor is None else factor
    return found.beyond_chance(place, lab.facts.width) if rung == "strict" else found.overlap(place)


def of_overlap(lab: Laboratory, rung: str) -> Remarks:
    """Say what chance gives, how the verdict depends on λ, whether the directions come out again, and what weights and patterns say."""
    found, v, width = lab.subspaces(rung), lab.protocol.variance, lab.facts.width
    a, strict, k, own = found.arrays, rung == "strict", found.k, found.number("self")
    doubts, caveats = of_sample(lab, rung, found.number("fitted"), width)
    if not own >= v.least_self_overlap:
        doubts.append(f"directions fitted to two halves of the calibration text overlap by {own:.2f}, below {v.least_self_overlap:g}")
    if strict and not found.number("predicted") > v.least_r2:
        doubts.append(f"mid predicts nothing of the final stream linearly (cross-validated R² {found.number('predicted'):.3f})")
    if rung == "paper" and (depends := _depends_on_ridge(lab, rung)):
        doubts.append(depends)
    if strict and a["edge"]:
        caveats.append(_EDGE)
    random = {name: [float(f(a[f"null_{name}"])) for f in (np.mean, np.min, np.max)] for name in ("weights", "patterns")}
    beside = ", ".join(
        f"{name} {found.number(name):.3f} (random {random[name][0]:.3f}, {random[name][1]:.3f}–{random[name][2]:.3f})" for name in random
    )
    judged = "whitened coordinates" if strict else "weights"
    note = f"k = {k} of {width}, {k / width:.1%} by chance; {_left_out(found.number('left_out'))}judged by {judged}; "
    note += f"overlaps of the kinds of directions: {beside}, whitened {found.number('whitened'):.3f}"
    evidence = {
        "k": k,
        "width": width,
        "chance": k / width,
        "self_overlap": own,
        "ridge": {f"{f:g} λ": float(overlap(lab, rung, i).value) for i, f in enumerate(v.ridge_factors)},
        "penalty": found.number("penalty"),
        "predicted": found.number("predicted") if strict else None,
        "weights": found.number("weights"),
        "patterns": found.number("patterns"),
        "whitened": found.number("whitened"),
        "random": random,
        "strengths": _list(a["strengths"]),
    }
    return Remarks(doubts=tuple(doubts), caveats=tuple(caveats), note=note, absent="no figure: nothing varies", evidence=evidence)


def _depends_on_ridge(lab: Laboratory, rung: str) -> str | None:
    """Say how the verdict changes between 0.01 λ and 100 λ, when it does."""
    predicate, n_blocks = VARIANCE.named("subspace_overlap"), lab.model.n_blocks
    level, factors = VARIANCE.level(predicate, rung, None, n_blocks), lab.protocol.variance.ridge_factors
    verdicts = []
    for i in range(len(factors)):
        interval = overlap(lab, rung, i).interval(level)
        verdicts.append((predicate.bounds[rung].judge(interval.low, interval.high)[0], interval.value))
    if len({verdict for verdict, _ in verdicts}) == 1:
        return None
    told = ", ".join(f"{verdict.word} at {f:g} λ ({value:.3f})" for f, (verdict, value) in zip(factors, verdicts, strict=True))
    return f"the verdict depends on λ: {told}"


def of_ablation(lab: Laboratory, rung: str) -> Remarks:
    """Say what was ablated, and the range of what it cost."""
    found, width = lab.ablation(rung), lab.facts.width
    a = found.arrays
    kl = a["kl"].mean(1)
    doubts, caveats = of_sample(lab, rung, found.number("fitted"), width)
    most = int(np.argmax(kl))
    doubts += _lost_in_rounding(lab, kl, a["floor"])
    if not found.reliability >= (least := lab.protocol.variance.least_reliability):
        doubts.append(
            "KL on every second window ranks the PCs unlike KL on the others "
            f"(ρ = {_signed(found.reliability)}, below {least:g}), and noise pulls the correlation towards 0"
        )
    note = f"{len(kl)} of {width} PCs, one at a time; KL {kl.min():.1e} to {kl.max():.2g} nats, most at rank {int(a['ranks'][most]) + 1}"
    note += f"; {_left_out(found.number('left_out'))}{_GIVEN}"
    evidence = {"rank": [int(i) for i in a["ranks"]], "variance": _list(a["variance"]), "kl": _list(kl)}
    return Remarks(doubts=tuple(doubts), caveats=tuple(caveats), note=note, evidence=evidence)


def _lost_in_rounding(lab: Laboratory, kl: Array, floor: Array) -> list[str]:
    """Doubt figures of which a good part is rounding: noise levels them, which looks like indifference."""
    v = lab.protocol.variance
    share = float(np.mean(kl < v.above_rounding * floor.mean()))
    if share <= v.most_rounding:
        return []
    lost = f"the KL of {share:.0%} of directions is lost in the rounding of {lab.facts.dtype} ({floor.mean():.1e} nats)"
    return [lost if lab.facts.dtype == "float32" else f"{lost}; try --dtype float32"]


def gain(lab: Laboratory, rung: str) -> Figure:
    """Return the least gain over the k that are looked at."""
    return lab.subspaces(rung).gain(lab.protocol.variance.least_r2)[0]


def of_gain(lab: Laboratory, rung: str) -> Remarks:
    """Say at which k the gain is least, and R² of every method at every k."""
    found, v, width = lab.subspaces(rung), lab.protocol.variance, lab.facts.width
    doubts, caveats = of_sample(lab, rung, found.number("fitted"), width)
    if rung == "strict" and found.arrays["edge"]:
        caveats.append(_EDGE)
    k = found.gain(v.least_r2)[1]
    note = f"least at k = {k}; R² of PCs | CCA | regression: {_by_rank(found)}"
    absent = f"no figure: as many PCs predict less than {v.least_r2:g} of the final stream at every k: {_by_rank(found)}"
    evidence = {"k": [int(i) for i in found.arrays["ranks"]], **{method: _list(found.arrays[method]) for method in METHODS}}
    return Remarks(doubts=tuple(doubts), caveats=tuple(caveats), note=note, absent=absent, evidence=evidence)


def _by_rank(found: Subspaces) -> str:
    columns = zip(found.arrays["ranks"], *(found.arrays[method] for method in METHODS), strict=True)
    return "; ".join(f"k {k:.0f}: {pca:.3f} | {cca:.3f} | {rrr:.3f}" for k, pca, cca, rrr in columns)


def of_sensitivity(lab: Laboratory, rung: str) -> Remarks:
    """Say how unequal random directions and variances are, and how sensitivity goes with variance."""
    found = lab.sensitivity(rung)
    a, beside = found.arrays, found.beside
    doubts, caveats = of_sample(lab, rung, found.number("fitted"), lab.facts.width)
    doubts += _lost_in_rounding(lab, a["kl"].mean((1, 2)), a["floor"])
    note = (
        f"random directions {beside['random']:.3f}, variance {beside['variance']:.3f}; Spearman of variance with sensitivity "
        f"{_signed(beside['spearman'])}; uniform sensitivity does not support the claim: importance = variance × sensitivity (Eq. 3)"
    )
    note += f"; {_left_out(found.number('left_out'))}{_GIVEN}"
    evidence = {
        "rank": [int(i) for i in a["ranks"]],
        "variance": _list(a["variance"]),
        "sensitivity": _list(a["kl"].mean((1, 2))),
        "random": _list(a["random"].mean((1, 2))),
        "norm": found.number("norm"),
        **{f"gini_{name}" if name != "spearman" else name: value for name, value in beside.items()},
    }
    return Remarks(doubts=tuple(doubts), caveats=tuple(caveats), note=note, evidence=evidence)


def of_logit_change(lab: Laboratory, rung: str) -> Remarks:
    """Say what was ablated together, and on ``strict`` what random subspaces give."""
    found = lab.logit_change(rung)
    a = found.arrays
    doubts, caveats = of_sample(lab, rung, found.number("fitted"), lab.facts.width)
    if rung == "paper":
        caveats.append(_MECHANICAL)
    ablated, rank, own = int(found.number("ablated")), int(found.number("rank")), float(a["correlation"][0])
    note = f"{ablated} PC{'s ablated together' if ablated > 1 else ' ablated'}, {found.number('held'):.0%} of variance" + (
        f"; 90% would take {rank}" if rank > ablated else ""
    )
    random = a["correlation"][1:]
    if len(random):
        note += f"; PCs {own:.3f}, {len(random)} random subspaces {random.mean():.3f} ({random.min():.3f}–{random.max():.3f})"
    note += f"; {_left_out(found.number('left_out'))}{_GIVEN}"
    evidence = {"ablated": ablated, "held": found.number("held"), "correlation": own, "random": _list(random)}
    return Remarks(
        doubts=tuple(doubts), caveats=tuple(caveats), note=note, absent="no figure: the ablation changes nothing", evidence=evidence
    )


def dimensions(lab: Laboratory, rung: str, block: int, share: float) -> Figure:
    """Return how many PCs hold a share of the variance of a block's output: a count, which has no jackknife."""
    return Figure(float(lab.spectra(rung).dimensions(share)[block]))


def of_dimensions(lab: Laboratory, rung: str, block: int) -> Remarks:
    """At mid, hand over the spectrum, as shares of the whole."""
    remarks = Remarks(absent="no figure: nothing varies")
    if block == lab.protocol.variance.mid(lab.model.n_blocks):
        spectra = lab.spectra(rung)
        values = spectra.arrays["values"][block]
        left_out = float(spectra.arrays["left_out"][block]) if rung == "typical" else 0.0
        if values.sum() > 0:
            remarks["evidence"] = {"block": block, "shares": _list(values / values.sum()), "left_out": left_out}
    return remarks


def _list(array: Array) -> list[float]:
    return [float(value) for value in array]


def _left_out(share: float) -> str:
    """Say which share of tokens was left alone, where some were."""
    return f"{share:.2%} of tokens left out as atypical; " if share > 0 else ""


def _signed(value: float) -> str:
    """Write a correlation with a true minus sign."""
    return f"{value:.2f}".replace("-", "−")
