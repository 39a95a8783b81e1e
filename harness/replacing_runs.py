"""What it costs to put linear maps in the place of the last block, and of five blocks together (claim 2).

Everything starts from streams that are kept, and runs only what lies above. Maps are fitted to the clean run, at its typical tokens on
``typical`` and ``strict``, where they also act at typical positions alone: those that are typical at every block of the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from harness import affine, ridge
from harness.branches import Variant, branch
from harness.kept_maps import fitted_at, moments_at
from harness.language import Language
from harness.maps import Constant, Fitted, LinearMap
from harness.measurement import INTERVENTION, LAST_MAP, on
from harness.refitting import Refitted, refit_one_after_another
from harness.replaced import Replaced, TeacherForced
from harness.replacement import MIDDLE, REFITTED, VARIANTS
from harness.statistics import Array
from harness.streams import Streams
from harness.transferring import measure_map
from harness.work import Work


def measure(work: Work) -> dict[str, Array]:
    """Measure ``paper`` and ``typical``, or ``strict``."""
    streams, found = work.streams(), dict[str, Array]()
    for rung in work.rungs:
        for name, array in _Rung(work, streams, rung).measure().items():
            found[f"{rung}/{name}"] = np.asarray(array, dtype=np.float64)
    work.also(on(LAST_MAP, work.rungs[0]), measure_map(work))
    return found


class _Rung:
    """The variants of one rung, and what they cost."""

    def __init__(self, work: Work, streams: Streams, rung: str) -> None:
        self._work, self._streams, self._rung, self._typical, self._strict = work, streams, rung, rung != "paper", rung == "strict"
        p = work.protocol.replacement
        self._run, self._middle, self._last = p.last_run(work.blocks), p.mid_run(work.blocks), work.blocks - 1
        self._ids = streams.ids[INTERVENTION]
        self._clean = streams.at[self._last][INTERVENTION]
        self._language = Language(work.anatomy, self._clean, self._ids)
        self._some = list(range(0, len(self._clean), p.refit_stride))
        kinds = len(p.last_run(work.blocks)) + len(VARIANTS) + len(MIDDLE) * bool(self._middle)
        self._done, self._total = 0, kinds + len(REFITTED) * (work.protocol.groups + self._strict)

    def measure(self) -> dict[str, object]:
        """Return the arrays that :class:`harness.replacement.Runs` names."""
        groups, windows, run, middle, width = self._work.protocol.groups, len(self._clean), self._run, self._middle, self._work.width
        fits = {b: self._fitted(b) for b in (*run, *middle)}
        last = fits[self._last]
        other = self._other_kind()
        refitted = self._refitted(run)
        single: list[LinearMap] = [last.whole, other, Constant(torch.zeros_like(last.mean)), Constant(last.mean)]
        costs = self._costs([self._replaced([self._last], [m]) for m in single])
        costs = _joined(costs, self._costs(self._of_run(run, [fits[b] for b in run], refitted)))
        alone = [self._nll([self._replaced([b], [fits[b].whole], at=run)]) for b in run]
        nothing = np.zeros((0, windows))
        found: dict[str, object] = {
            "clean": self._language.nll_nats(self._clean[None])[0],
            "nll": costs[0],
            "kl": costs[1],
            "middle_nll": nothing,
            "middle_kl": nothing,
            "alone": np.concatenate(alone),
            **self._refits(fits, groups),
            "refit_windows": self._some,
            "half": self._half(fits)[None] if self._strict else np.zeros((0, len(REFITTED), windows)),
            "run": run,
            "middle": middle,
            "ranks": [fits[b].whole.rank for b in run],
            "refitted_r2": refitted.r2,
            "middle_refitted_r2": [],
            "parameters": self._work.anatomy.parameters(self._last),
            "map_parameters": last.whole.parameters,
            "map_parameters_fit": [min(2 * k, width) * width for k in last.ranks] if not self._strict else [last.whole.parameters] * groups,
            "other_parameters": other.parameters,
            "fitted": min(fits[b].count for b in run),
            "left_out": [self._left_out(blocks) for blocks in ([self._last], run, middle)],
            "edges": sum(fits[b].edge for b in run),
        }
        if middle:
            refitted = self._refitted(middle)
            nll, kl = self._costs(self._of_run(middle, [fits[b] for b in middle], refitted))
            found |= {"middle_nll": nll, "middle_kl": kl, "middle_refitted_r2": refitted.r2}
        return found

    def _of_run(self, run: list[int], fits: list[Fitted], refitted: Refitted) -> list[Variant]:
        """The variants of a run, in the order of :data:`harness.replacement.MIDDLE`."""
        whole = [f.whole for f in fits]
        by_nothing, by_mean = ([Constant(f.mean * share) for f in fits] for share in (0, 1))
        return [
            self._replaced(run, whole),
            self._replaced(run, whole, forced=True),
            self._replaced(run, refitted.maps),
            self._replaced(run, by_nothing),
            self._replaced(run, by_mean),
        ]

    def _fitted(self, block: int) -> Fitted:
        return fitted_at(self._work, self._streams, self._rung, block)

    def _other_kind(self) -> LinearMap:
        """The last block's map of the other kind: of full rank beside that of Eq. 2, and the other way round."""
        p = self._work.protocol
        sums = moments_at(self._streams, self._last, self._rung, p.groups).total()
        if self._strict:
            return ridge.fit(sums, ridge.output_basis(sums, energy=p.energy), ridge.penalty(sums, p.ridge))
        return affine.through_origin(sums, ridge.penalty(sums, p.ridge))

    def _refitted(self, run: list[int]) -> Refitted:
        return refit_one_after_another(self._work, self._streams, run, self._rung)

    def _marked(self, run: list[int]) -> Tensor:
        return self._streams.typical_at(INTERVENTION, *run)

    def _left_out(self, run: list[int]) -> float:
        """Share of positions that replacing a run leaves as they are."""
        return 1 - float(self._marked(run).float().mean()) if self._typical and run else 0.0

    def _replaced(self, run: list[int], whole: Sequence[LinearMap], forced: bool = False, at: list[int] | None = None) -> Variant:
        """Replace a run at the positions that are typical at all of its blocks, or at all of others, ``at``."""
        last = run[-1]
        positions, kept = (self._marked(at or run), self._streams.at[last][INTERVENTION]) if self._typical else (None, None)
        if forced:
            inputs = tuple(self._streams.at[b - 1][INTERVENTION] for b in run)
            return (TeacherForced(last, positions, tuple(whole), kept, inputs),)
        return (Replaced(last, positions, tuple(whole), kept),)

    def _refits(self, fits: dict[int, Fitted], groups: int) -> dict[str, Array]:
        """Negative log-likelihoods, on some windows, of maps fitted without each group of calibration windows."""
        without = [self._refitted_variants([fits[b].refits[g] for b in self._run]) for g in range(groups)]
        kinds = zip(*without, strict=True)
        return {f"{name}_refit": self._nll(variants, self._some) for name, variants in zip(REFITTED, kinds, strict=True)}

    def _half(self, fits: dict[int, Fitted]) -> Array:
        """Negative log-likelihoods of maps fitted to half the calibration windows."""
        half = [m for b in self._run if (m := fits[b].half) is not None]
        return np.concatenate([self._nll([variant]) for variant in self._refitted_variants(half)])

    def _refitted_variants(self, run: list[LinearMap]) -> list[Variant]:
        """The variants of :data:`harness.replacement.REFITTED`."""
        return [self._replaced([self._last], run[-1:]), self._replaced(self._run, run), self._replaced(self._run, run, forced=True)]

    def _nll(self, variants: Sequence[Variant], windows: list[int] | None = None) -> Array:
        """Run variants that start at one boundary; negative log-likelihoods ``(variants, windows)``."""
        return np.concatenate([self._language.nll_nats(final, windows) for final in self._finals(variants, windows)])

    def _costs(self, variants: Sequence[Variant]) -> tuple[Array, Array]:
        """Run variants that start at one boundary; negative log-likelihoods and divergences ``(variants, windows)``."""
        nll, kl = zip(*(self._language.costs_nats(final) for final in self._finals(variants, None)), strict=True)
        return np.concatenate(nll), np.concatenate(kl)

    def _finals(self, variants: Sequence[Variant], windows: list[int] | None) -> Iterator[Tensor]:
        """Run variants that start at one boundary to the end."""
        start = variants[0][0].reads
        clean = self._streams.at[start][INTERVENTION]
        for _, final in branch(self._work.anatomy, clean, start, self._ids, variants, windows):
            yield final
            self._done += len(final)
            before, rungs = self._work.rungs.index(self._rung), len(self._work.rungs)
            self._work.progress(before * self._total + self._done, rungs * self._total)


def _joined(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
    return np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]])
