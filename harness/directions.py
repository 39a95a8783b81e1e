"""What single directions matter: the KL of ablating each PC, and of a push along it (claim 1: ranks of importance, sensitivity)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from harness.branches import Variant, branch
from harness.interventions import Added, MeanAblated, Noised
from harness.language import Language
from harness.linearity import CALIBRATION
from harness.measurement import INTERVENTION
from harness.moments import Sums
from harness.solving import names_the_block
from harness.statistics import Array
from harness.streams import Streams, grouped
from harness.subspaces import Principal, random_orthonormal
from harness.work import Work


def measure_ablation(work: Work) -> dict[str, Array]:
    """KL(clean ‖ ablated) in nats when one PC at a time takes its mean at typical positions, by evaluation window.

    The directions are taken as given: refits without a group of calibration windows, and on half of them, measure the variance along the
    same directions anew, and not the KL.
    """
    streams, rungs = work.streams(), dict[str, _Directions]()
    for rung in work.rungs:
        rungs[rung] = _Directions(work, streams, rung != "paper")
    variants: list[Variant] = [(d.ablated(i),) for d in rungs.values() for i in range(len(d.ranks))]
    kl, floor = _kl(work, streams, variants, next(iter(rungs.values())))
    found: dict[str, Array] = {}
    for i, (rung, d) in enumerate(rungs.items()):
        mine = slice(i * len(d.ranks), (i + 1) * len(d.ranks))
        found |= {f"{rung}/{name}": a for name, a in {**d.described(), **d.variances(), "kl": kl[mine], "floor": floor}.items()}
    return found


def measure_sensitivity(work: Work) -> dict[str, Array]:
    """KL(clean ‖ pushed) in nats for a vector of fixed norm along each PC and its opposite, and along random directions."""
    streams, rungs = work.streams(), dict[str, _Directions]()
    for rung in work.rungs:
        rungs[rung] = _Directions(work, streams, rung != "paper")
    some = next(iter(rungs.values()))
    count, norm = len(some.ranks), some.push()
    generator = range(count)
    random = [random_orthonormal(work.width, 1, work.protocol.seed, i)[:, 0].to(some.device) for i in generator]
    along = [*random, *(d.direction(i) for d in rungs.values() for i in range(count))]
    variants: list[Variant] = [(some.pushed(sign * norm * direction),) for direction in along for sign in (1, -1)]
    flat, floor = _kl(work, streams, variants, some)
    kl = flat.reshape(1 + len(rungs), count, 2, -1)
    found: dict[str, Array] = {}
    for i, (rung, d) in enumerate(rungs.items()):
        arrays = {**d.described(), "norm": np.array(norm), "floor": floor, "kl": kl[i + 1], "random": kl[0]}
        found |= {f"{rung}/{name}": a for name, a in arrays.items()}
    return found


class _Directions:
    """The PCs at mid that are looked at, evenly spaced in rank, from all calibration tokens or from typical ones."""

    def __init__(self, work: Work, streams: Streams, only_typical: bool) -> None:
        p = work.protocol
        self._mid = p.variance.mid(work.blocks)
        self._push, self._stream = p.variance.push, streams.at[self._mid][CALIBRATION]
        self._marked = streams.typical_at(CALIBRATION, self._mid)
        self.positions = streams.typical_at(INTERVENTION, self._mid)
        moments = grouped(self._stream, self._stream[..., :0], self._marked if only_typical else None, p.groups)
        with names_the_block(self._mid):
            sums = moments.total()
            self._pca = Principal.of(sums.n, sums.x, sums.xx)
        self.ranks = p.variance.chosen(work.width)
        self.device = self._pca.mean.device
        self._moments = moments

    def direction(self, i: int) -> Tensor:
        """The unit vector of the i-th direction."""
        return self._pca.vectors[:, self.ranks[i]]

    def ablated(self, i: int) -> MeanAblated:
        """The ablation of the i-th direction."""
        return MeanAblated(self._mid, self.positions, self._pca.mean, self.direction(i)[:, None])

    def pushed(self, vector: Tensor) -> Added:
        """The addition of a vector."""
        return Added(self._mid, self.positions, vector)

    def push(self) -> float:
        """Norm of the push: a share of the median norm of typical calibration tokens at mid."""
        return self._push * self._norm()

    def rounding(self, seed: int) -> Noised:
        """Noise of half a unit in the last place of the stream's type: below its KL, a KL says nothing of what was done."""
        size = torch.finfo(self._stream.dtype).eps / 2 * self._norm()
        identity = torch.eye(len(self._pca.mean), dtype=torch.float64, device=self.device)
        return Noised(self._mid, self.positions, identity * (size / len(self._pca.mean) ** 0.5), seed)

    def _norm(self) -> float:
        return float(self._stream[self._marked].float().norm(dim=-1).median())

    def described(self) -> dict[str, Array]:
        """Ranks and variances, and what they rest on."""
        found = {
            "ranks": np.array(self.ranks),
            "variance": self._pca.variance[self.ranks].cpu().numpy(),
            "fitted": np.array(self._pca.n),
            "left_out": np.array(1 - float(self.positions.float().mean())),
        }
        return {name: array.astype(np.float64) for name, array in found.items()}

    def variances(self) -> dict[str, Array]:
        """Variance along the same directions without each group of calibration windows, and on half the groups."""
        total, groups = self._moments.total(), range(self._moments.groups)
        along = self._pca.vectors[:, self.ranks]

        def of(sums: Sums) -> Array:
            rest = sums.about(sums.x / sums.n, sums.y / sums.n).xx
            found: Array = ((along * (rest @ along)).sum(0) / sums.n).cpu().numpy()
            return found

        return {
            "variance_fit": np.stack([of(total - self._moments.group(g)) for g in groups]),
            "variance_half": of(self._moments.total(list(groups[::2]))),
        }


def _kl(work: Work, streams: Streams, given: Sequence[Variant], directions: _Directions) -> tuple[Array, Array]:
    """KL of every variant by window ``(variants, windows)``, and that of a change as small as the stream's rounding ``(windows)``.

    Kept from time to time, so that an interrupted run goes on.
    """
    variants = [*given, (directions.rounding(work.protocol.seed),)]
    mid = work.protocol.variance.mid(work.blocks)
    clean, windows = streams.at[mid][INTERVENTION], len(streams.ids[INTERVENTION])
    language = Language(work.anatomy, streams.at[streams.last][INTERVENTION], streams.ids[INTERVENTION])
    found = np.full((len(variants), windows), np.nan)

    def take_up(done: int, state: dict[str, Array]) -> None:
        kept = state["kl"]
        if not 0 < done < len(variants) or kept.shape != (done, windows) or kept.dtype != np.float64 or not np.isfinite(kept).all():
            raise ValueError(f"KL of {done} of {len(variants)} variants in an array {kept.dtype} of shape {kept.shape}")
        found[:done] = kept

    first = work.bookmark.load(take_up)
    for start, final in _from(first, branch(work.anatomy, clean, mid, streams.ids[INTERVENTION], variants[first:])):
        done = start + len(final)
        found[start:done] = language.kl_from_clean_nats(final)
        if done < len(variants):
            work.bookmark.save(done, lambda done=done: {"kl": found[:done]})  # type: ignore[misc]
        work.progress(done, len(variants))
    return found[:-1], found[-1]


def _from(first: int, groups: Iterator[tuple[int, torch.Tensor]]) -> Iterator[tuple[int, torch.Tensor]]:
    """Count from the first variant that was not kept."""
    for start, final in groups:
        yield first + start, final
