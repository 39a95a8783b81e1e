"""Claim 1 the plain way: projections, predictive directions, PCs ablated one by one; every one of them a forward pass of the whole model.

``paper`` and ``strict`` are what is compared; ``typical`` is run too, for the harness measures it beside ``paper``.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from benchmarks.naive_fits import Pca, Predictive, Rows, choose, grouped, jackknife, total, without_each
from benchmarks.naive_model import Array, Change, NaiveRun, Variant, edited

Figures = dict[str, float]


@torch.inference_mode()
def figures(run: NaiveRun) -> Figures:
    """Return value, standard error (``/se``) and, where fits are repeated on half the text, ``/half`` of every figure."""
    found: Figures = {}
    for rung in ("paper", "typical", "strict"):
        found |= _overlap(run, rung)
        found |= _projection(run, rung)
    return found | _ablation(run)


def _penalty(run: NaiveRun, rows: list[Rows], strict: bool) -> float:
    """λ over tr/d of predictive directions; the least of the grid where mid predicts nothing."""
    if not strict:
        return run.protocol.ridge
    value, r2 = choose(rows, run.protocol)
    return value if r2 > run.protocol.variance.least_r2 else run.protocol.penalties()[0]


def _overlap(run: NaiveRun, rung: str) -> Figures:
    """Overlap of predictive directions of mid with its PCs for three factors on λ; on ``strict`` beyond chance."""
    p, v, clean, strict = run.protocol, run.protocol.variance, run.clean(rung), rung == "strict"
    mid, k, d = v.mid(len(run.blocks)), v.overlap_rank(run.width), run.width
    sides = {s: (clean.after(mid, s), clean.after(run.last, s)) for s in ("calibration", "evaluation")}
    marks = {s: None if rung == "paper" else clean.typical(s, mid, run.last) for s in sides}
    rows = grouped(*sides["calibration"], marks["calibration"], p.groups)
    windows = len(sides["evaluation"][0])
    scored = grouped(*sides["evaluation"], marks["evaluation"], windows) if rung == "typical" else []

    def pca_of(held: Rows) -> Tensor:
        return Pca.of(held.n, held.x, held.xx).vectors[:, :k]

    def spans(part: Rows, unit: Rows, penalty: float) -> tuple[Tensor, list[Tensor]]:
        fit, found = Predictive(part, canonical=not strict), []
        for factor in v.ridge_factors:
            lams = factor * penalty * unit.spread, factor * penalty * unit.spread_y
            found.append(fit.whitened(*lams, k) if strict else torch.linalg.qr(fit.weights(*lams, k))[0])
        return fit.x.vectors[:, :k], found

    def overlaps(pcs: Tensor, directions: list[Tensor]) -> Array:
        shares = [(u[:k] if strict else pcs.T @ u).square().sum() / k for u in directions]
        values = torch.stack(shares).cpu().numpy()
        return (values - k / d) / (1 - k / d) if strict else values

    whole, penalty = total(rows), _penalty(run, rows, strict)
    pcs, directions = spans(whole, whole, penalty)
    half = None
    if strict:
        part = total(rows[::2])
        half = overlaps(*spans(part, part, _penalty(run, rows[::2], strict)))
    score = None
    if rung == "typical":  # The PCs are those of other text.
        held = total(scored)
        pcs = pca_of(held)
        score = np.stack([overlaps(pca_of(held - one), directions) for one in scored])
    fits = [spans(whole - part, whole, penalty) for part in rows]
    fit = np.stack([overlaps(pcs if rung == "typical" else own, others) for own, others in fits])
    value, found = overlaps(pcs, directions), Figures()
    for i, factor in enumerate(v.ridge_factors):
        name = f"1/subspace_overlap/{rung}" if factor == 1 else f"1/subspace_overlap at {factor:g} λ/{rung}"
        found |= {name: float(value[i]), f"{name}/se": jackknife(value[i], fit[:, i], None if score is None else score[:, i])}
        if half is not None:
            found[f"{name}/half"] = float(half[i])
    return found


class _Boundary:
    """A block whose output is projected: its PCA on some groups of calibration windows, and what predicts h_B there."""

    def __init__(self, run: NaiveRun, rung: str, block: int) -> None:
        p, v, clean = run.protocol, run.protocol.variance, run.clean(rung)
        self.block, self._strict = block, rung == "strict"
        x, y = clean.after(block, "calibration"), clean.after(run.last, "calibration")
        typical = rung != "paper"
        self.marked = clean.typical("intervention", block) if typical else None
        self.rows = grouped(x, x[..., :0], clean.typical("calibration", block) if typical else None, p.groups)
        self.whole, self.pca = total(self.rows), self.of(total(self.rows))
        self.k = self.pca.fewest(v.share)
        joint = grouped(x, y, clean.typical("calibration", block, run.last) if typical else None, p.groups if self._strict else 1)
        sums, penalty = total(joint), _penalty(run, joint, self._strict)
        most = max(v.ranks(run.width, v.curve))
        self.weights = Predictive(sums, not self._strict).weights(penalty * sums.spread, penalty * sums.spread_y, most)

    def of(self, rows: Rows) -> Pca:
        """The PCA of some rows."""
        return Pca.of(rows.n, rows.x, rows.xx)

    def without(self, group: int) -> Pca:
        """The PCA without a group."""
        return self.of(self.whole - self.rows[group])

    def half(self) -> Pca:
        """The PCA of every second group."""
        return self.of(total(self.rows[::2]))

    def onto(self, mean: Tensor, write: Tensor, read: Tensor) -> Change:
        """Project about the mean."""
        return edited(lambda given, after, windows: mean + ((after - mean) @ read) @ write.T, self.marked)

    def projected(self, pca: Pca, k: int) -> Change:
        """Project onto PCs."""
        basis = pca.vectors[:, :k]
        return self.onto(pca.mean, basis, basis)

    def along(self, kind: str, k: int, seed: int) -> Change:
        """Project onto k PCs, random directions, or the scores of predictive ones with the rest at its expectation."""
        if kind == "pca":
            return self.projected(self.pca, k)
        if kind == "random":
            generator = torch.Generator().manual_seed(seed * 1_000_003 + self.block)
            drawn = torch.randn(len(self.pca.mean), k, generator=generator, dtype=torch.float64)
            basis = torch.linalg.qr(drawn)[0].to(self.pca.mean.device)
            return self.onto(self.pca.mean, basis, basis)
        w = self.weights[:, :k]
        sw = self.pca.vectors @ (self.pca.values[:, None] * (self.pca.vectors.T @ w))
        return self.onto(self.pca.mean, torch.linalg.solve(w.T @ sw, sw, left=False), w)

    def noised(self, pca: Pca, k: int, seed: int) -> Change:
        """Add noise of the covariance times the share of variance that k PCs leave out."""
        dropped = 1 - pca.values[:k].sum() / pca.values.sum()
        root = (pca.vectors * (dropped * pca.values / pca.n).sqrt()) @ pca.vectors.T

        def noise(window: int, shape: torch.Size) -> Tensor:
            generator = torch.Generator().manual_seed(seed * 1_000_003 + window)
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        return edited(
            lambda given, after, windows: after + torch.stack([noise(w, after.shape[1:]) for w in windows]).to(root.device) @ root,
            self.marked,
        )


def _projection(run: NaiveRun, rung: str) -> Figures:
    """Perplexity after projection over before; on ``strict`` its cost over that of noise of the dropped variance."""
    p, v, clean, strict = run.protocol, run.protocol.variance, run.clean(rung), rung == "strict"
    ids = clean.ids["intervention"]
    bounds = [_Boundary(run, rung, b) for b in ([v.mid(len(run.blocks))] if strict else v.range(len(run.blocks)))]
    first, groups, kinds, ranks = bounds[0], range(p.groups), ("pca", "random", "predictive"), v.ranks(run.width, v.curve)
    some = list(range(0, len(ids), v.refit_stride))
    seeds = [p.seed * v.noise_seeds + i for i in range(v.noise_seeds)] if strict else []
    variants: list[Variant] = [{b.block: b.projected(b.pca, b.k) for b in bounds}]
    variants += [{b.block: b.along(kind, k, p.seed) for b in bounds} for kind in kinds for k in ranks]
    variants += [{first.block: first.noised(first.pca, first.k, seed)} for seed in seeds]
    if strict:
        half = first.half()
        k = half.fewest(v.share)
        variants += [{first.block: change} for change in (first.projected(half, k), *(first.noised(half, k, s) for s in seeds))]
    refits = [[b.without(g) for b in bounds] for g in groups]
    again: list[Variant] = [{b.block: b.projected(pca, b.k) for b, pca in zip(bounds, pcas, strict=True)} for pcas in refits]
    if strict:
        again += [{first.block: first.noised(refits[g][0], first.k, seeds[g % len(seeds)])} for g in groups]
    base = run.nll(rung, clean.after(run.last, "intervention")[None])[0]
    cost = run.nll_of(rung, variants) - base
    refitted = run.nll_of(rung, again, some) - base[some]
    projected, curve, noise = cost[0], cost[1 : 1 + len(kinds) * len(ranks)], cost[1 + len(kinds) * len(ranks) :][: len(seeds)]
    above = projected.mean() + (refitted[: p.groups] - projected[some]).mean(1)
    name, found = f"1/projection_ppl_ratio/{rung}", Figures()
    for i, each in enumerate(curve):
        found[f"1/log perplexity onto {ranks[i % len(ranks)]} {kinds[i // len(ranks)]}/{rung}"] = float((base + each).mean())
    if not strict:
        value = float(np.exp(projected.mean()))
        found[name], found[f"{name}/se"] = value, jackknife(value, np.exp(above), np.exp(without_each(projected)), origin=0)
        return found
    value = projected.mean() / noise.mean()
    below = noise.mean() + (refitted[p.groups :] - noise[np.arange(p.groups) % len(seeds)][:, some]).mean(1)
    score = without_each(projected) / without_each(noise.mean(0))
    others = np.stack([np.delete(noise, i, 0).mean() for i in range(len(seeds))]) if len(seeds) > 1 else None
    further = None if others is None else projected.mean() / others
    halved = cost[-1 - len(seeds) :]
    found |= {name: float(value), f"{name}/se": jackknife(value, above / below, score, further, 0)}
    return found | {f"{name}/half": float(halved[0].mean() / halved[1:].mean())}


def _ablation(run: NaiveRun) -> Figures:
    """Spearman's correlation of variance with KL of mean-ablating PCs at mid one by one, on ``strict``."""
    p, v, clean = run.protocol, run.protocol.variance, run.clean("strict")
    mid = v.mid(len(run.blocks))
    x, typical, marked = clean.after(mid, "calibration"), clean.typical("calibration", mid), clean.typical("intervention", mid)
    rows = grouped(x, x[..., :0], typical, p.groups)
    whole = total(rows)
    pca, ranks = Pca.of(whole.n, whole.x, whole.xx), v.chosen(run.width)
    along = pca.vectors[:, ranks]

    def ablated(u: Tensor) -> Change:
        return edited(lambda given, after, windows: after - ((after - pca.mean) @ u)[..., None] * u, marked)

    def rounding(given: Tensor, after: Tensor, windows: list[int]) -> Tensor:
        """Noise as small as the stream's rounding, beside which a KL is read."""
        size = torch.finfo(x.dtype).eps / 2 * float(x[typical].float().norm(dim=-1).median()) / run.width**0.5
        drawn = [torch.randn(after.shape[1:], generator=torch.Generator().manual_seed(w), dtype=torch.float64) for w in windows]
        return after + size * torch.stack(drawn).to(after.device)

    variants: list[Variant] = [{mid: ablated(u)} for u in along.T] + [{mid: edited(rounding, marked)}]
    kl = run.kl_of("strict", variants).mean(-1)[:-1]

    def variance(part: Rows) -> Array:
        centred = part.xx - torch.outer(part.x, part.x) / part.n
        return ((along * (centred @ along)).sum(0) / part.n).cpu().numpy()

    def rho(variances: Array, importance: Array) -> float:
        return float(spearmanr(variances, importance).statistic)

    own, importance = variance(whole), kl.mean(1)
    fit = np.array([rho(variance(whole - part), importance) for part in rows])
    score = np.array([rho(own, rest) for rest in without_each(kl).T])
    value, name = rho(own, importance), "1/variance_ranks_importance/strict"
    return {name: value, f"{name}/se": jackknife(value, fit, score), f"{name}/half": rho(variance(total(rows[::2])), importance)}
