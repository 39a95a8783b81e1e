"""The core figures of all claims as the harness gives them, under the names of :mod:`benchmarks.naive`, so that the two can be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.naive_claim3 import METHODS
from claims import easy, easy_sets, variance
from harness import measurement as m
from harness.laboratory import Laboratory
from harness.reconstruction import geometric_mean
from harness.replacement import MIDDLE
from harness.statistics import spearman_with_depth
from harness.variance import CURVES

Figures = dict[str, float]
INTERVENED, FITTED = ("paper", "typical", "strict"), ("paper", "held-out", "typical", "strict")
MEASURED = {
    1: (*m.PROJECTION, *m.SUBSPACES, m.ABLATION[1]),
    2: (*m.RUNS, *m.SHIFT, m.RANK, m.AFFINE),
    3: m.ARENA,
    4: (m.RANK, m.AFFINE),
    5: (*m.EXIT, *m.LATE_BLOCKS),
}
"""Claim → the measurements that its core predicates rest on."""


def wanted(claims: Iterable[int]) -> tuple[m.Measurement, ...]:
    """Return what some claims rest on, each measurement once."""
    return tuple(dict.fromkeys(measurement for claim in claims for measurement in MEASURED[claim]))


def listed(figure: Any) -> Figures:
    """Value, standard error and the figure of half the text, as both sides name them."""
    interval = figure.interval(0.95)
    return {"": interval.value, "/se": interval.error} | ({} if figure.half is None else {"/half": float(figure.half)})


def of_claim_1(lab: Laboratory) -> dict[str, Any]:
    """Projections with all that is run beside them, overlaps for every factor on λ, ranks of importance."""
    found: dict[str, Any] = {}
    for rung in INTERVENED:
        projection = lab.projection(rung)
        found[f"1/projection_ppl_ratio/{rung}"] = projection.over_noise if rung == "strict" else projection.perplexity_ratio
        for i, factor in enumerate(lab.protocol.variance.ridge_factors):
            name = "1/subspace_overlap" if factor == 1 else f"1/subspace_overlap at {factor:g} λ"
            found[f"{name}/{rung}"] = variance.overlap(lab, rung, i)
        found |= {
            f"1/log perplexity onto {k:g} {kind}/{rung}": float(projection.arrays["curve"][i, j].mean())
            for i, kind in enumerate(CURVES)
            for j, k in enumerate(projection.arrays["curve_ranks"])
        }
    return found | {"1/variance_ranks_importance/strict": lab.ablation("strict").rank_correlation}


def of_claim_2(lab: Laboratory) -> dict[str, Any]:
    """R² of the last block, what it loses, and what every variant of a replacement costs."""
    found: dict[str, Any] = {}
    for rung in FITTED:
        linearity, shift = lab.linearity(rung), lab.shift(rung)
        found |= {f"2/r2/{rung}": linearity.r2.at(linearity.blocks - 1), f"2/r2_lost/{rung}": shift.lost(rung == "paper")}
        for i, target in enumerate(shift.arrays["targets"]):
            curve = [shift.clean(i), *shift.shifted(i)]
            found |= {f"2/r2 of block {target:g} after {j}/{rung}": float(value) for j, value in enumerate(curve)}
    for rung in INTERVENED:
        runs = lab.runs(rung)
        a = runs.arrays
        found |= {f"2/single_replacement/{rung}": runs.single, f"2/multi_replacement/{rung}": runs.multiple}
        names = ["last", "last, other kind", "last skipped", "last mean", *(f"run {kind}" for kind in MIDDLE)]
        named = [*zip(names, a["nll"], strict=True), *zip([f"middle {kind}" for kind in MIDDLE], a["middle_nll"], strict=True)]
        named += [(f"block {b:g} alone", nll) for b, nll in zip(a["run"], a["alone"], strict=True)]
        found |= {f"2/cost of {name}/{rung}": runs.cost(nll) for name, nll in named}
        for part in ("", "middle_"):
            blocks = a["run" if not part else "middle"]
            found |= {f"2/r2 of block {b:g} refitted/{rung}": float(r2) for b, r2 in zip(blocks, a[f"{part}refitted_r2"], strict=True)}
    return found


def of_claim_3(lab: Laboratory) -> dict[str, Any]:
    """Every method of the wall, with what shares a scale on the rung and with groups of columns."""
    return {
        f"3/wall_{method}{name}/{rung}": geometric_mean(lab.arena(rung).ratios(method, rung == "paper", grain))
        for rung in FITTED
        for method in METHODS
        for grain, name in enumerate(("", " in groups"))
    }


def of_claim_4(lab: Laboratory) -> dict[str, Any]:
    """R² of every block, and its trend."""
    found: dict[str, Any] = {}
    for rung in FITTED:
        r2 = lab.linearity(rung).r2
        found |= {f"4/r2 of block {block}/{rung}": r2.at(block) for block in range(lab.model.n_blocks)}
        found |= {f"4/depth_trend/{rung}": r2.map(spearman_with_depth), f"4/depth_gain/{rung}": r2.map(lambda v: float(v[-1] - v[0]))}
    return found


def of_claim_5(lab: Laboratory) -> dict[str, Any]:
    """What the head at mid says, which tokens are easy, and whether they are the same."""
    found: dict[str, Any] = {}
    for rung in INTERVENED:
        found |= {f"5/exit_agreement/{rung}": easy.exit_agreement(lab, rung)[0], f"5/exit_excess/{rung}": easy.exit_excess(lab, rung)[0]}
        found |= {f"5/kl_easy_share/{rung}": lab.late_blocks(rung).share}
        found |= {f"5/easy_sets_agree/{rung}": easy_sets.easy_sets_agree(lab, rung)[0]}
    for rung in ("paper", "strict"):
        a = lab.exit(rung).arrays
        for name, curve in (("nll", a["held_nll"][0]), ("agreement", a["held_agreed"][0])):
            found |= {f"5/{name} after {step:g} steps/{rung}": float(value) for step, value in zip(a["steps"], curve, strict=True)}
    return found


HARNESS: dict[int, Callable[[Laboratory], dict[str, Any]]] = {1: of_claim_1, 2: of_claim_2, 3: of_claim_3, 4: of_claim_4, 5: of_claim_5}


def figures(lab: Laboratory, claim: int) -> Figures:
    """Measure what the core predicates of a claim rest on; return its figures by name, with ``/se`` and ``/half`` as naive has them."""
    found: Figures = {}
    for name, figure in HARNESS[claim](lab).items():
        parts = {"": figure} if isinstance(figure, float) else listed(figure)
        found |= {f"{name}{part}": value for part, value in parts.items()}
    return found
