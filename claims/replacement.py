"""What claims 2 and 4 assert and say about replaced blocks: figures picked from measurements, what they rest on, what a control did."""

from __future__ import annotations

from typing import Any

import numpy as np

from claims.linearity import order_caveat
from claims.remarks import Remarks, of_sample
from fixtures.naming import printable
from harness.laboratory import Laboratory
from harness.protocol import RUNGS
from harness.replacement import MIDDLE, VARIANTS, Each, Runs, rank_agreement
from harness.statistics import Array, Figure, spearman_with_depth

_LAST, _RUN = 0, 1
_FREE = "no figure: the maps at true inputs cost nothing ({cost:.1e} nats), so that there is nothing to compare with"
_NAMES = {
    "free": "maps",
    "forced": "the same maps at true inputs",
    "refitted": "refitted one after another",
    "skipped": "skipped",
    "mean": "mean outputs",
}


def of_single(lab: Laboratory, rung: str) -> Remarks:
    """Say what replaces the last block, and what the other kind of map, skipping it and its mean output cost; where maps are kept."""
    found = lab.runs(rung)
    doubts, caveats = _of_sample(lab, rung, found)
    after = _perplexities(found)
    last = int(found.arrays["run"][-1])
    note = (
        f"block {last} by {_kind(lab, rung, found)}: perplexity {_clean(found):,.2f} becomes {after['last']:,.2f}; "
        f"by {_other(rung)} {after['other']:,.2f}; skipped {after['last skipped']:,.2f}; by its mean output {after['last mean']:,.2f}"
    )
    evidence: dict[str, Any] = {
        "block": last,
        "baseline": _clean(found),
        "perplexity": {name: after[name] for name in ("last", "other", "last skipped", "last mean")},
        "kl": {name: float(found.arrays["kl"][VARIANTS.index(name)].mean()) for name in ("last", "other", "last skipped", "last mean")},
        "map": _kind(lab, rung, found),
        "other": _other(rung),
    }
    note += _left_out(found, _LAST)
    if (saved := lab.saved_maps(rung)) is not None:
        note += f"; maps in {saved}; with block {saved.block}'s loaded from there perplexity is {saved.perplexity:,.2f} at all positions"
        note += "" if rung == "paper" else ", where the figure is of typical ones alone"
        evidence["saved"] = {
            "file": printable(saved.file),
            "bytes": saved.size,
            "map_bytes": saved.map_size,
            "perplexity": saved.perplexity,
            "positions": "all",
        }
    return Remarks(doubts=doubts, caveats=caveats, note=note, evidence=evidence)


def of_compression(lab: Laboratory, rung: str) -> Remarks:
    """Say how many parameters stand against how many."""
    found = lab.runs(rung)
    total, active = int(found.arrays["parameters"][0]), float(found.arrays["parameters"][1])
    own, other = int(found.number("map_parameters")), int(found.number("other_parameters"))
    note = f"{total:,} parameters of block {int(found.arrays['run'][-1])} over {own:,} of {_kind(lab, rung, found)}"
    if np.isnan(active):
        note += "; how many of them a token uses is not known"
    elif active != total:
        note += f"; of those that a token uses, {active:,.0f}: {active / own:.3g}"
    note += f"; over {other:,} of {_other(rung)}: {total / other:.3g}"
    evidence = {"total": total, "active": active, "map": own, "other": other}
    return Remarks(note=note, evidence=evidence)


def of_multiple(lab: Laboratory, rung: str) -> Remarks:
    """Say what the run's maps cost refitted, at true inputs, and against skipping; and the same after mid."""
    found = lab.runs(rung)
    doubts, caveats = _of_sample(lab, rung, found)
    after = _perplexities(found)
    note = f"{_blocks(found.arrays['run'])}: perplexity {_clean(found):,.2f} becomes {after['free']:,.2f}; " + "; ".join(
        f"{_NAMES[name]} {after[name]:,.2f}" for name in ("refitted", "skipped", "mean")
    )
    kl = dict(zip(VARIANTS, map(float, found.arrays["kl"].mean(1)), strict=True))
    runs = {"last": _run_evidence(found, found.arrays["run"], found.arrays["refitted_r2"], after, kl)}
    if len(found.arrays["middle"]):
        middle = dict(zip(MIDDLE, np.exp(found.arrays["middle_nll"].mean(1)), strict=True))
        kl = dict(zip(MIDDLE, map(float, found.arrays["middle_kl"].mean(1)), strict=True))
        runs["middle"] = _run_evidence(found, found.arrays["middle"], found.arrays["middle_refitted_r2"], middle, kl)
        note += f"; {_blocks(found.arrays['middle'])}: {middle['free']:,.2f}, refitted {middle['refitted']:,.2f}"
    evidence = {"baseline": _clean(found), "runs": runs}
    return Remarks(doubts=doubts, caveats=caveats, note=f"{note}{_left_out(found, _RUN)}", evidence=evidence)


def _run_evidence(found: Runs, blocks: Array, r2: Array, after: dict[str, float], kl: dict[str, float]) -> dict[str, object]:
    base = np.log(_clean(found))
    return {
        "kl": {_NAMES[name]: kl[name] for name in MIDDLE},
        "blocks": [int(b) for b in blocks],
        "perplexity": {_NAMES[name]: float(after[name]) for name in MIDDLE},
        "cost": {_NAMES[name]: float(np.log(after[name]) - base) for name in MIDDLE},
        "refitted_r2": [float(value) for value in r2],
    }


def of_shift_excess(lab: Laboratory, rung: str) -> Remarks:
    """Say what the maps cost on their own stream and at true inputs, in nats, and each alone."""
    found = lab.runs(rung)
    doubts, caveats = _of_sample(lab, rung, found)
    free, forced = (found.cost(found.arrays["nll"][VARIANTS.index(name)]) for name in ("free", "forced"))
    alone = [found.cost(nll) for nll in found.arrays["alone"]]
    note = f"{_blocks(found.arrays['run'])}: {free:.3f} nats on the stream that they shift, {forced:.3f} at true inputs"
    evidence = {"free": free, "forced": forced, "alone": alone, "blocks": [int(b) for b in found.arrays["run"]]}
    return Remarks(
        doubts=doubts, caveats=caveats, note=f"{note}{_left_out(found, _RUN)}", absent=_FREE.format(cost=forced), evidence=evidence
    )


def of_compounding(lab: Laboratory, rung: str) -> Remarks:
    """Say what each map alone costs, in nats."""
    found = lab.runs(rung)
    alone = [found.cost(nll) for nll in found.arrays["alone"]]
    each = ", ".join(f"{cost:.3f}" for cost in alone)
    forced = found.cost(found.arrays["nll"][VARIANTS.index("forced")])
    note = f"{forced:.3f} nats at true inputs over {sum(alone):.3f}, the sum of each alone: {each}"
    absent = f"no figure: the costs of each map alone do not sum to more than zero ({sum(alone):.1e} nats)"
    return Remarks(caveats=_of_sample(lab, rung, found)[1], note=note, absent=absent)


def of_shift(lab: Laboratory, rung: str) -> Remarks:
    """Say what R² was and became, block by block that is replaced before; the same of a block after mid."""
    found, width = lab.shift(rung), lab.facts.width
    doubts, caveats = of_sample(lab, rung, found.number("fitted"), width)
    caveats += _edges(found.number("edges"))
    targets = [int(b) for b in found.arrays["targets"]]
    curves: dict[str, dict[str, Any]] = {}
    for i, target in enumerate(targets):
        moved = found.arrays["moved"][i]
        curves[str(target)] = {"clean": found.clean(i), "shifted": list(map(float, found.shifted(i))), "moved": list(map(float, moved))}
    told = [
        f"block {t}: R² {c['clean']:.3f} becomes {_listed(c['shifted'])} after 1 … {len(c['shifted'])} blocks" for t, c in curves.items()
    ]
    note = "; ".join(told)
    if found.number("left_out"):
        note += f"; {found.number('left_out'):.2%} of tokens left out as atypical"
    return Remarks(doubts=tuple(doubts), caveats=tuple(caveats), note=note, evidence={"curves": curves})


def guides(lab: Laboratory, rung: str) -> Figure:
    """Return the rank correlation, over blocks, of R² with how cheap a block is to replace."""
    return rank_agreement(lab.linearity(rung).r2, lab.each(rung).cheapness, same_windows=rung != "strict")


def late_is_cheap(lab: Laboratory, rung: str) -> Figure:
    """Return the rank correlation of depth with how cheap a block is to replace."""
    return lab.each(rung).cheapness.map(spearman_with_depth)


def of_each(lab: Laboratory, rung: str, ordered: bool = False) -> Remarks:
    """Say which blocks cost least and most, and hand over the curve over depth; ``ordered``: the figure ranks the blocks by R²."""
    found, width = lab.each(rung), lab.facts.width
    a, cost, linearity = found.arrays, found.cost, lab.linearity(rung)
    doubts, caveats = of_sample(lab, rung, float(linearity.arrays["fitted"].min()), width)
    caveats += _edges(np.nansum(linearity.arrays["edge"]))
    if ordered and RUNGS[rung].judged and (caveat := order_caveat(linearity)):
        caveats.append(caveat)
    clean = float(np.exp(a["clean"].mean()))
    added = np.exp(a["nll"].mean(1)) - clean
    least, most = int(np.argmin(cost)), int(np.argmax(cost))
    adds = f"{_signed(added[least])} (block {least}) to {_signed(added[most])} (block {most})"
    note = f"perplexity {clean:,.2f}; replacing one block adds {adds}"
    total, active, own = a["parameters"].T
    evidence = {
        "baseline": clean,
        "added": [float(value) for value in added],
        "kl": [float(value) for value in a["kl"].mean(1)],
        "r2": [float(value) for value in np.asarray(linearity.r2.value)],
        "compression": [float(value) for value in total / own],
        "active": [float(value) for value in active / own],
        **_controls(found),
    }
    return Remarks(doubts=tuple(doubts), caveats=tuple(caveats), note=note, evidence=evidence)


def transfer(lab: Laboratory, rung: str) -> Figure:
    """Return R² here of the map of the other text that does worst."""
    found = lab.transfer(rung)
    return found.least[0] if found else Figure(np.nan)


def of_transfer(lab: Laboratory, rung: str) -> Remarks:
    """Say how the maps of all texts do on this one."""
    found = lab.transfer(rung)
    if found is None:
        return Remarks(absent="no figure: the map of no other text can be had")
    told = [
        f"{name}: R² {_listed([r2])}, perplexity {_signed(added, '+')}"
        for name, r2, added in zip(found.sources, found.r2, found.added, strict=True)
    ]
    told[0] += " (its own)"
    note = f"maps fitted to {'; '.join(told)}"
    kl = [float(value) for value in found.scores.arrays["kl"].mean(1)]
    evidence = {"sources": list(found.sources), "r2": found.r2, "added": found.added, "kl": kl, "least": found.least[1]}
    caveats = of_sample(lab, rung, np.inf, lab.facts.width)[1]
    if left_out := found.scores.number("left_out"):
        note += f"; {left_out:.2%} of tokens left out as atypical"
    return Remarks(caveats=tuple(caveats), note=f"{note}; the interval takes the maps as given", evidence=evidence)


def _controls(found: Each) -> dict[str, list[float] | int]:
    """ΔNLL of the map, of skipping and of the mean output on the windows that the controls are run on."""
    a = found.arrays
    if not len(a["skipped"]):
        return {}
    some = a["some"].astype(int)
    clean = a["clean"][some]
    costs = {"map": a["nll"][:, some], "skipped": a["skipped"], "mean": a["mean"]}
    return {"control_windows": len(some), **{f"cost_{name}": [float(v) for v in (nll - clean).mean(1)] for name, nll in costs.items()}}


def _of_sample(lab: Laboratory, rung: str, found: Runs) -> tuple[tuple[str, ...], tuple[str, ...]]:
    doubts, caveats = of_sample(lab, rung, found.number("fitted"), lab.facts.width)
    return tuple(doubts), (*caveats, *_edges(found.number("edges")))


def _edges(count: float) -> list[str]:
    """Say of how many maps λ stands at an end of its grid, where there are some."""
    return [f"λ of {count:.0f} of the maps stands at an end of the cross-validation's grid"] if count else []


def _perplexities(found: Runs) -> dict[str, float]:
    return {name: float(value) for name, value in zip(VARIANTS, np.exp(found.arrays["nll"].mean(1)), strict=True)}


def _clean(found: Runs) -> float:
    return float(np.exp(found.arrays["clean"].mean()))


def _kind(lab: Laboratory, rung: str, found: Runs) -> str:
    """Name the map that a rung takes."""
    if rung == "strict":
        return "its affine map of full rank"
    return f"its map of rank {found.arrays['ranks'][-1]:.0f} of {lab.facts.width}"


def _other(rung: str) -> str:
    return "the rank-k map of Eq. 2" if rung == "strict" else "a map of full rank"


def _blocks(run: Array) -> str:
    return f"blocks {run[0]:.0f} to {run[-1]:.0f}" if len(run) > 1 else f"block {run[0]:.0f}"


def _listed(values: list[float]) -> str:
    return ", ".join(f"{value:.3f}".replace("-", "−") for value in values)


def _signed(value: float, plus: str = "") -> str:
    """Write a difference of perplexities with a true minus sign."""
    return f"{value:{plus},.2f}".replace("-", "−")


def _left_out(found: Runs, which: int) -> str:
    share = found.arrays["left_out"][which]
    return f"; {share:.2%} of positions left as they were" if share else ""
