"""Which directions of mid predict the final stream, and how they lie to the principal components (claim 1: overlap and gain).

One fit serves both: PCA of x = h at mid, CCA and reduced-rank regression of y = h_B on it; refits without each group of calibration
windows; held-out R² of y from the first k directions of each kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness import affine, subspaces
from harness.concurrency import in_parallel
from harness.linearity import CALIBRATION, EVALUATION
from harness.moments import Moments, Sums
from harness.protocol import Protocol
from harness.solving import names_the_block
from harness.statistics import Array
from harness.streams import Streams, grouped
from harness.subspaces import Predictive, Principal
from harness.sweep import moment_device
from harness.variance import METHODS
from harness.work import Work


def measure(work: Work) -> dict[str, Array]:
    """Measure the rungs of one layout: ``paper``, ``held-out`` and ``typical``, or ``strict``."""
    streams, found = work.streams(), dict[str, dict[str, Array]]()
    if work.strict:
        found["strict"] = _rung(work, streams, only_typical=True)
        work.progress(1, 1)
    else:
        paper = _rung(work, streams, only_typical=False)
        work.progress(1, 2)
        held_out = {**paper, **{f"overlap{part}": paper[f"held_overlap{part}"] for part in ("", "_fit", "_score")}}
        typical = _rung(work, streams, only_typical=True)
        typical |= {f"overlap{part}": typical[f"held_overlap{part}"] for part in ("", "_fit", "_score")}
        found |= {"paper": paper, "held-out": held_out, "typical": typical}
        work.progress(2, 2)
    return {f"{rung}/{name}": a for rung, arrays in found.items() for name, a in arrays.items() if not name.startswith("held_")}


@dataclass(frozen=True)
class _Fit:
    """What is fitted to some rows: PCA of both sides, and predictive directions for every factor on λ."""

    x: Principal
    y: Principal
    rows: Sums
    cca: Mapping[float, Predictive]
    rrr: Mapping[float, Predictive]
    lam: float

    def basis(self, method: str, k: int) -> Tensor:
        """An orthonormal basis whose first j columns are the first j directions of a method."""
        return self.x.top(k) if method == "pca" else {"cca": self.cca, "rrr": self.rrr}[method][1.0].span(k)


def _rung(work: Work, streams: Streams, only_typical: bool) -> dict[str, Array]:
    """Fit, refit and score on all tokens or on typical ones."""
    p, v = work.protocol, work.protocol.variance
    mid, last, strict = v.mid(work.blocks), streams.last, work.strict
    x, y = streams.at[mid], streams.at[last]
    marks = {s: streams.typical_at(s, mid, last) if only_typical else None for s in (CALIBRATION, EVALUATION)}
    moments = grouped(x[CALIBRATION], y[CALIBRATION], marks[CALIBRATION], p.groups)
    windows = len(x[EVALUATION])
    scored = grouped(x[EVALUATION], y[EVALUATION], marks[EVALUATION], 1 if strict else windows)
    device, everything = moment_device(x[CALIBRATION].device), scored.total()
    total = moments.total()
    penalty = choose_ridge(moments, list(range(p.groups)), p, strict, device)
    k, ranks = v.overlap_rank(work.width), v.ranks(work.width, v.gain)
    most = max(k, *ranks)

    def fit(rows: Sums, unit: Sums, value: float = penalty.value) -> _Fit:
        with names_the_block(mid):
            return _fit(rows, value * affine.scale(unit), value * scale_y(unit), v.ridge_factors, most, strict)

    whole = fit(total, total)
    held = Principal.of(everything.n, everything.x, everything.xx)

    def refit(group: int) -> tuple[list[float], list[float], Array]:
        other = fit(total - moments.group(group), total)
        return _overlaps(other, other.x, k, strict), _overlaps(other, held, k, strict), _gains(other, everything, ranks)

    inside, outside, gains = zip(*in_parallel(refit, range(p.groups), device), strict=True)
    halves = [moments.total(list(range(start, p.groups, 2))) for start in (0, 1)]
    a, b = in_parallel(lambda half: fit(half, half), halves, device)
    found: dict[str, Any] = {
        "overlap": _overlaps(whole, whole.x, k, strict),
        "overlap_fit": inside,
        "overlap_score": np.zeros((0, len(v.ridge_factors))),
        "held_overlap": _overlaps(whole, held, k, strict),
        "held_overlap_fit": outside,
        "self": _reproduced(a, b, whole, k, strict),
        **_shown(whole, k, v.nulls, p.seed, strict),
        "strengths": (whole.rrr if strict else whole.cca)[1.0].strengths[:k].cpu(),
        "penalty": penalty.value,
        "edge": float(penalty.edge),
        "predicted": penalty.r2,
        "fitted": total.n,
        "left_out": 1 - everything.n / (windows * x[EVALUATION].shape[1]),
        "ranks": ranks,
        **_scored(whole, x[EVALUATION], y[EVALUATION], marks[EVALUATION], ranks),
        **{f"{method}_fit": [gain[i] for gain in gains] for i, method in enumerate(METHODS)},
    }
    if not strict:

        def without(window: int) -> list[float]:
            rest = everything - scored.group(window)
            return _overlaps(whole, Principal.of(rest.n, rest.x, rest.xx), k, strict)

        found["held_overlap_score"] = in_parallel(without, range(windows), device)
    half = fit(halves[0], halves[0], choose_ridge(moments, list(range(0, p.groups, 2)), p, strict, device).value) if strict else None
    found["overlap_half"] = np.full(len(v.ridge_factors), np.nan) if half is None else _overlaps(half, half.x, k, strict)
    on_half = np.full((len(METHODS), len(ranks)), np.nan) if half is None else _gains(half, everything, ranks)
    found |= {f"{method}_half": on_half[i] for i, method in enumerate(METHODS)}
    return {name: np.asarray(value, dtype=np.float64) for name, value in found.items()}


def choose_ridge(moments: Moments, groups: list[int], protocol: Protocol, strict: bool, device: torch.device) -> affine.Penalty:
    """λ over tr/d: the protocol's, or on ``strict`` by cross-validation.

    A large λ draws predictive directions towards high variance, whatever they predict. Where cross-validation finds that nothing is
    predicted, its λ runs to the end of the grid and would make noise look aligned with the PCs: then the least λ is taken.
    """
    if not strict:
        return affine.Penalty(protocol.ridge, False, float("nan"))
    chosen = affine.choose_penalty(moments, groups, protocol, device)
    return chosen if chosen.r2 > protocol.variance.least_r2 else affine.Penalty(protocol.penalties()[0], chosen.edge, chosen.r2)


# On every rung λ is in units of the centred trace: CCA and regression here are about the means.
def scale_y(sums: Sums) -> float:
    """tr(YcᵀYc)/e: the unit of λ on the other side."""
    return float((sums.yy.diagonal() - sums.y.square() / sums.n).mean())


def _fit(rows: Sums, lam_x: float, lam_y: float, factors: tuple[float, ...], k: int, strict: bool) -> _Fit:
    """Fit the judged kind (CCA, or on ``strict`` regression) for every factor on λ, the other for factor 1."""
    x, y, cross = subspaces.sides(rows)
    cca = {f: subspaces.cca(x, y, cross, f * lam_x, f * lam_y, k) for f in ((1.0,) if strict else factors)}
    rrr = {f: subspaces.rrr(x, cross, f * lam_x, k) for f in (factors if strict else (1.0,))}
    return _Fit(x, y, rows, cca, rrr, lam_x)


def _overlaps(fit: _Fit, pcs: Principal, k: int, strict: bool) -> list[float]:
    """The overlap as the rung defines it, for every factor on λ."""
    if strict:
        return [subspaces.within_top(found.whitened[:, :k]) for found in fit.rrr.values()]
    return [subspaces.overlap(pcs.top(k), found.span(k)) for found in fit.cca.values()]


def _reproduced(a: _Fit, b: _Fit, whole: _Fit, k: int, strict: bool) -> float:
    """Overlap of the directions fitted to the two halves, in the coordinates in which the rung judges."""
    if not strict:
        return subspaces.overlap(a.cca[1.0].span(k), b.cca[1.0].span(k))
    first, second = (Predictive(f.x, f.lam, f.rrr[1.0].whitened[:, :k], f.rrr[1.0].strengths[:k]) for f in (a, b))
    return subspaces.agreement(first, second, whole.x, whole.lam)


def _shown(fit: _Fit, k: int, nulls: int, seed: int, strict: bool) -> dict[str, Any]:
    """Overlap of weights, patterns and whitened coordinates with the top PCs, and of random whitened subspaces through the same maps."""
    judged = (fit.rrr if strict else fit.cca)[1.0]
    top, d = fit.x.top(k), len(fit.x.mean)

    def through(whitened: Tensor) -> tuple[float, float]:
        weights = subspaces.weights_of(fit.x, judged.lam, whitened)
        patterns = subspaces.patterns_of(fit.x, weights)
        return subspaces.overlap(top, subspaces.orthonormal(weights)), subspaces.overlap(top, subspaces.orthonormal(patterns))

    weights, patterns = through(judged.whitened[:, :k])
    device = fit.x.mean.device
    random = [through(subspaces.random_orthonormal(d, k, seed, i).to(device)) for i in range(nulls)]
    return {
        "weights": weights,
        "patterns": patterns,
        "whitened": subspaces.within_top(judged.whitened[:, :k]),
        "null_weights": [w for w, _ in random],
        "null_patterns": [a for _, a in random],
    }


def _maps(fit: _Fit, method: str, ranks: list[int]) -> tuple[Tensor, list[Tensor]]:
    """A basis S ``(d, k_max)`` and, for each k, the ridge regression of y on (x − μ)S_{1…k}, with the penalty λ‖β‖² of the whole."""
    basis = fit.basis(method, max(ranks))
    rows = fit.rows.about(fit.x.mean, fit.y.mean)
    system, right = basis.T @ rows.xx @ basis, basis.T @ rows.xy
    system.diagonal().add_(fit.lam)
    return basis, [torch.linalg.solve(system[:k, :k], right[:k]) for k in ranks]


def _gains(fit: _Fit, scored: Sums, ranks: list[int]) -> Array:
    """Centred R² on the rows behind ``scored``: ``(methods, ranks)``."""
    rows = scored.about(fit.x.mean, fit.y.mean)
    found = np.zeros((len(METHODS), len(ranks)))
    for i, method in enumerate(METHODS):
        basis, maps = _maps(fit, method, ranks)
        xx, xy = basis.T @ rows.xx @ basis, basis.T @ rows.xy
        for j, (k, coefficients) in enumerate(zip(ranks, maps, strict=True)):
            explained = (coefficients * (2 * xy[:k] - xx[:k, :k] @ coefficients)).sum()
            found[i, j] = float(explained) / rows.energy if rows.energy > 0 else np.nan
    return found


def _scored(fit: _Fit, x: Tensor, y: Tensor, marked: Tensor | None, ranks: list[int]) -> dict[str, Array]:
    """R² of each method and k on evaluation windows, and with each window left out."""
    device = fit.x.mean.device
    fitted = [_maps(fit, method, ranks) for method in METHODS]
    error, energy = np.zeros((len(METHODS), len(ranks), len(x))), np.zeros(len(x))
    for w in range(len(x)):
        rows = slice(None) if marked is None else marked[w]
        centred, target = x[w][rows].to(device).double() - fit.x.mean, y[w][rows].to(device).double() - fit.y.mean
        energy[w] = float(target.square().sum())
        for i, (basis, maps) in enumerate(fitted):
            scores = centred @ basis
            for j, (k, coefficients) in enumerate(zip(ranks, maps, strict=True)):
                error[i, j, w] = float((target - scores[:, :k] @ coefficients).square().sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        value = 1 - error.sum(-1) / energy.sum()
        rest = 1 - (error.sum(-1, keepdims=True) - error) / (energy.sum() - energy)
    found = {method: value[i] for i, method in enumerate(METHODS)}
    return found | {f"{method}_score": rest[i].T for i, method in enumerate(METHODS)}
