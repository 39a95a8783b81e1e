"""What projecting the stream onto its high-variance directions costs (claim 1: perplexity after projection, and the curve over k)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from harness import affine, subspaces
from harness.branches import Variant, branch
from harness.concurrency import in_parallel
from harness.interventions import Intervention, Noised, obliquely, onto
from harness.language import Language
from harness.linearity import CALIBRATION
from harness.measurement import INTERVENTION
from harness.moments import Sums
from harness.predictive import choose_ridge, scale_y
from harness.solving import names_the_block
from harness.statistics import Array
from harness.streams import Streams, grouped
from harness.subspaces import Principal
from harness.sweep import moment_device
from harness.variance import CURVES
from harness.work import Work


def measure(work: Work) -> dict[str, Array]:
    """Measure ``paper`` and ``typical``, or ``strict``: negative log-likelihoods in nats, by evaluation window."""
    streams, found = work.streams(), dict[str, Array]()
    for rung in work.rungs:
        for name, array in _Rung(work, streams, rung).measure().items():
            found[f"{rung}/{name}"] = np.asarray(array, dtype=np.float64)
    return found


@dataclass(frozen=True)
class _Fitted:
    """What a projection and its noise are made of, fitted to some rows: ``basis (d, k)``, ``factor`` F with FFᵀ = fΣ or None."""

    mean: Tensor
    basis: Tensor
    factor: Tensor | None

    @classmethod
    def of(cls, pca: Principal, k: int, noise: bool) -> _Fitted:
        if not noise:
            return cls(pca.mean, pca.top(k).clone(), None)
        dropped = 1 - pca.values[:k].sum() / pca.values.sum()
        # The symmetric root: it hardly moves between refits, where QΛ^½ turns with every sign and swap of eigenvectors.
        return cls(pca.mean, pca.top(k).clone(), (pca.vectors * (dropped * pca.variance).sqrt()) @ pca.vectors.T)


@dataclass(frozen=True)
class _Boundary:
    """One boundary: the PCA of its calibration tokens, refits without each group and on half of them, and what predicts h_B."""

    block: int
    positions: Tensor | None
    pca: Principal
    k: int
    whole: _Fitted
    refits: list[_Fitted]
    half: _Fitted
    weights: Tensor

    def projected(self, fitted: _Fitted) -> Intervention:
        return onto(self.block, self.positions, fitted.mean, fitted.basis)

    def noised(self, fitted: _Fitted, seed: int) -> Variant:
        assert fitted.factor is not None
        return (Noised(self.block, self.positions, fitted.factor, seed),)

    def onto_curve(self, kind: str, k: int, seed: int) -> Intervention:
        if kind == "predictive":
            weights = self.weights[:, :k]
            return obliquely(self.block, self.positions, self.pca.mean, subspaces.patterns_of(self.pca, weights), weights)
        random = subspaces.random_orthonormal(len(self.pca.mean), k, seed, self.block).to(self.pca.mean.device)
        return onto(self.block, self.positions, self.pca.mean, self.pca.top(k) if kind == "pca" else random)


class _Rung:
    """The variants of one rung, and what they cost."""

    def __init__(self, work: Work, streams: Streams, rung: str) -> None:
        self._work, self._streams, self._rung, self._typical, self._strict = work, streams, rung, rung != "paper", rung == "strict"
        v = work.protocol.variance
        self._blocks = [v.mid(work.blocks)] if self._strict else v.range(work.blocks)
        self._clean = streams.at[streams.last][INTERVENTION]
        self._language = Language(work.anatomy, self._clean, streams.ids[INTERVENTION])

    def measure(self) -> dict[str, object]:
        """Return the arrays that :class:`harness.variance.Projection` names."""
        p, v, strict = self._work.protocol, self._work.protocol.variance, self._strict
        bounds = [self._boundary(block) for block in self._blocks]
        first, windows = bounds[0], len(self._clean)
        some, ranks = list(range(0, windows, v.refit_stride)), v.ranks(self._work.width, v.curve)
        seeds = [p.seed * v.noise_seeds + i for i in range(v.noise_seeds)] if strict else []

        def projected(pick: Callable[[_Boundary], _Fitted]) -> Variant:
            return tuple(b.projected(pick(b)) for b in bounds)

        curve: list[Variant] = [tuple(b.onto_curve(kind, k, p.seed) for b in bounds) for kind in CURVES for k in ranks]
        noise = [first.noised(first.whole, seed) for seed in seeds]
        half = [projected(lambda b: b.half), *(first.noised(first.half, seed) for seed in seeds)] if strict else []
        refits = [projected(lambda b, g=g: b.refits[g]) for g in range(p.groups)]  # type: ignore[misc]
        # Each refit is compared with the noise of one seed: differences to the same seed's noise are what the jackknife needs.
        refit_noise = [first.noised(first.refits[g], seeds[g % len(seeds)]) for g in range(p.groups)] if strict else []
        everywhere, elsewhere = [projected(lambda b: b.whole), *curve, *noise, *half], [*refits, *refit_noise]
        total = len(everywhere) + len(elsewhere)
        cost = self._nll(everywhere, None, lambda done: self._progress(done, total))
        again = self._nll(elsewhere, some, lambda done: self._progress(len(everywhere) + done, total))
        whole, along, noised, halved = np.split(cost, np.cumsum([1, len(curve), len(noise)]))
        nothing = np.zeros((0, windows))
        return {
            "clean": self._language.nll_nats(self._clean[None])[0],
            "projected": whole[0],
            "noise": noised,
            "half_projected": halved[:1] if strict else nothing,
            "half_noise": halved[1:] if strict else nothing,
            "refit": again[: len(refits)],
            "refit_noise": again[len(refits) :],
            "refit_windows": some,
            "curve": along.reshape(len(CURVES), len(ranks), windows),
            "curve_ranks": ranks,
            "blocks": self._blocks,
            "ranks": [b.k for b in bounds],
            "held": [float(b.pca.values[: b.k].sum() / b.pca.values.sum()) for b in bounds],
            "fitted": min(b.pca.n for b in bounds),
            "left_out": 0.0 if first.positions is None else 1 - float(first.positions.float().mean()),
        }

    def _boundary(self, block: int) -> _Boundary:
        p, v, streams = self._work.protocol, self._work.protocol.variance, self._streams
        x, y = streams.at[block][CALIBRATION], streams.at[streams.last][CALIBRATION]
        moments = grouped(x, x[..., :0], streams.typical_at(CALIBRATION, block) if self._typical else None, p.groups)
        everything = list(range(p.groups))

        def pca(sums: Sums) -> Principal:
            return Principal.of(sums.n, sums.x, sums.xx)

        total = moments.total()
        with names_the_block(block):
            device = moment_device(x.device)
            whole, half = in_parallel(pca, [total, moments.total(everything[::2])], device)
            k = whole.rank_for(v.share)

            def refit(out: int) -> _Fitted:
                return _Fitted.of(pca(total - moments.group(out)), k, self._strict)

            refits = in_parallel(refit, everything, device)
            marked = streams.typical_at(CALIBRATION, block, streams.last) if self._typical else None
            joint = grouped(x, y, marked, p.groups if self._strict else 1)
            sums, most = joint.total(), max(v.ranks(self._work.width, v.curve))
            unit = choose_ridge(joint, everything, p, self._strict, device).value
            side, other, cross = subspaces.sides(sums)
            if self._strict:
                predictive = subspaces.rrr(side, cross, unit * affine.scale(sums), most)
            else:
                predictive = subspaces.cca(side, other, cross, unit * affine.scale(sums), unit * scale_y(sums), most)
        positions = streams.typical_at(INTERVENTION, block) if self._typical else None
        on_half = _Fitted.of(half, half.rank_for(v.share), self._strict)
        return _Boundary(block, positions, whole, k, _Fitted.of(whole, k, self._strict), refits, on_half, predictive.weights)

    def _progress(self, done: int, total: int) -> None:
        before, rungs = self._work.rungs.index(self._rung), len(self._work.rungs)
        self._work.progress(before * total + done, rungs * total)

    def _nll(self, variants: Sequence[Variant], windows: list[int] | None, progress: Callable[[int], None]) -> Array:
        """Run variants from the first boundary: ``(variants, windows)``."""
        start = self._blocks[0]
        clean, parts = self._streams.at[start][INTERVENTION], []
        for done, final in branch(self._work.anatomy, clean, start, self._streams.ids[INTERVENTION], variants, windows):
            parts.append(self._language.nll_nats(final, windows))
            progress(done + len(final))
        return np.concatenate(parts)
