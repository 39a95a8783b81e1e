"""What claim 5 asserts and says about early exit by confidence: what it costs, what it saves, how well calibrated the heads are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from claims.easy import of_heads
from claims.remarks import Remarks
from harness.calibration import Reliability, reliability
from harness.exits import Exit, Heads, share
from harness.laboratory import Laboratory
from harness.routing import Routing, routed, saved
from harness.statistics import Array, Figure

_FULL_STREAMS = "a token that leaves is still read in full by later ones: real routing lacks its keys and values, or computes them"


def routing_cost(lab: Laboratory, rung: str) -> tuple[Figure, Remarks]:
    """Return ΔPPL/PPL at the highest threshold; beside it the others, random routing of as many tokens, and calibration."""
    found, easy = lab.exit(rung), lab.protocol.easy
    a, exits = found.arrays, [int(block) for block in found.arrays["exits"]]
    later = lab.later_exits(rung) if len(exits) > 1 else None
    heads = _stacked(found, later)
    routes = [routed(heads["confidence"], heads["nll"], a["full_nll"], a["counted"], threshold) for threshold in easy.thresholds]
    doubts, caveats = of_heads(lab, rung, found, *([later] if later else []))
    active = a["active"]
    if np.isnan(active).any():
        active = np.ones(len(active))
        caveats.append("how many parameters a token uses is not known: blocks are counted as equal, heads not at all")
    head = found.number("head") if active is a["active"] else np.nan
    savings = [{with_heads: saved(route.shares, exits, active, head, with_heads) for with_heads in (False, True)} for route in routes]
    baseline = float(np.exp(share(a["full_nll"], a["counted"])))
    calibrated = [reliability(c, r, a["counted"], easy.bins) for c, r in zip(heads["confidence"], heads["right"], strict=True)]
    first, least = savings[0], easy.least_saved
    errors = ", ".join(f"{block}: {one.calibration_error:.3f}" for block, one in zip(exits, calibrated, strict=True))
    note = (
        f"threshold {easy.thresholds[0]:g}: perplexity {baseline:,.2f} becomes {routes[0].perplexity:,.2f}, with as many tokens at random "
        f"{routes[0].random_perplexity:,.2f}; saved {_percent(first[False])} of the blocks' operations, "
        f"{_percent(first[True])} with the heads' own; "
        f"calibration error of heads {errors}; {_FULL_STREAMS}; the interval takes the heads as given"
    )
    evidence = {
        "exits": exits,
        "baseline": baseline,
        "trained": {str(block): share(marks, a["counted"]) for block, marks in zip(exits, heads["agreed"], strict=True)},
        "rows": [_row(*each) for each in zip(easy.thresholds, routes, savings, strict=True)],
        "calibration": {
            str(block): {"error": one.calibration_error, "bins": _bins(one)} for block, one in zip(exits, calibrated, strict=True)
        },
    }
    enough = first[False] >= least
    absent = (
        f"no figure: threshold {easy.thresholds[0]:g} saves {_percent(first[False], 2)} of the blocks' operations, less than {least:.0%}"
    )
    cost = routes[0].cost
    if len(a["agreed"]) > 1:
        halves = _stacked(found, later, half=True)
        again = routed(halves["confidence"], halves["nll"], a["full_nll"], a["counted"], easy.thresholds[0])
        cost = replace(cost, half=float(again.cost.value))
    return (cost if enough else Figure(np.nan)), Remarks(
        doubts=tuple(doubts), caveats=tuple(caveats), note=note, absent=absent, evidence=evidence
    )


def _percent(part: float, digits: int = 1) -> str:
    """Write a share that may be below zero."""
    return "–" if np.isnan(part) else f"{part:.{digits}%}".replace("-", "−")


def _stacked(found: Exit, later: Heads | None, half: bool = False) -> dict[str, Array]:
    """Return what the heads at all exits say, the one at mid first; or those trained on half the calibration windows."""
    return {
        name: np.concatenate([_of(heads, name, half) for heads in (found, later) if heads is not None])
        for name in ("confidence", "nll", "right", "agreed")
    }


def _of(heads: Heads, name: str, half: bool) -> Array:
    return heads.arrays[name][heads.wholes :] if half else heads.arrays[name][: heads.wholes]


def _bins(found: Reliability) -> list[dict[str, float]]:
    count = len(found.tokens)
    columns = zip(range(count), found.tokens, found.confidence, found.right, strict=True)
    return [
        {"low": k / count, "high": (k + 1) / count, "tokens": int(n), "confidence": float(sure), "right": float(hit)}
        for k, n, sure, hit in columns
    ]


def _row(threshold: float, route: Routing, savings: dict[bool, float]) -> dict[str, Any]:
    return {
        "threshold": threshold,
        "perplexity": route.perplexity,
        "random": route.random_perplexity,
        "saved": savings[False],
        "saved_with_heads": savings[True],
        "shares": [float(part) for part in route.shares],
    }
