"""The cost of replacing every single block by its map, in the sweep that fits the maps (claims 2 and 4).

At each block the maps have just been fitted and the stream is at hand: what lies below is never run again, and what lies above once for
each variant. The fits are those of :mod:`harness.rank_linearity` and :mod:`harness.affine_linearity`, whose figures come with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from harness.affine_linearity import AffineLinearity
from harness.branches import GROUP, Variant, branch
from harness.language import Language
from harness.linearity import CALIBRATION, EVALUATION, flattened
from harness.maps import Constant, LinearMap
from harness.measurement import AFFINE, INTERVENTION, RANK
from harness.rank_linearity import RankLinearity
from harness.replaced import Replaced
from harness.statistics import Array
from harness.streams import final_streams
from harness.typical import typical
from harness.visits import Visit
from harness.work import Work


@contextmanager
def visit(work: Work) -> Iterator[Visit]:
    """Measure ``paper`` and ``typical``, or ``strict``, in one sweep; linearity comes with it."""
    sizes, make = (len(work.ids[CALIBRATION]), len(work.ids[EVALUATION])), AffineLinearity if work.strict else RankLinearity
    fits = make(*sizes, work.width, work.protocol, work.subject.device)
    visitor = EachReplaced(work, fits)

    def result() -> dict[str, Array]:
        work.also(AFFINE if work.strict else RANK, flattened(fits.result()))
        return visitor.result()

    yield Visit([visitor, fits], result)


class EachReplaced:
    """Visitor, to stand before the one that fits: at a block's end its maps are still at hand."""

    def __init__(self, work: Work, fits: RankLinearity | AffineLinearity) -> None:
        self._work, self._fits = work, fits
        self._split = INTERVENTION if INTERVENTION in work.ids else EVALUATION
        self._ids = work.ids[self._split]
        self._some = list(range(0, len(self._ids), work.protocol.replacement.refit_stride))
        clean = final_streams(work.anatomy, self._ids, work.subject.device)
        self._language = Language(work.anatomy, clean, self._ids)
        self._before, self._after = torch.empty_like(clean), torch.empty_like(clean)
        self._marked = torch.empty(clean.shape[:2], dtype=torch.bool, device=clean.device)
        self._one = [g % len(self._ids) for g in range(work.protocol.groups)]
        self._kinds = {f"{rung}/{kind}": len(self._ids) for rung in work.rungs for kind in ("nll", "kl")}
        self._kinds |= {f"{rung}/refit": len(self._one) for rung in work.rungs}
        self._kinds |= dict.fromkeys(["strict/half", "strict/skipped", "strict/mean"] if work.strict else [], len(self._some))
        self._found: dict[str, list[Array]] = {name: [] for name in (*self._kinds, "parameters")}
        self._waiting: dict[bool, list[tuple[str, Tensor]]] = {True: [], False: []}  # whether of all windows

    def see(self, split: str, first: int, before: Tensor, after: Tensor) -> None:
        """Hold the stream of the windows that are scored."""
        if split == self._split:
            rows = slice(first, first + len(before))
            self._before[rows], self._after[rows] = before, after
            self._marked[rows] = typical(before, after, self._work.protocol.typical_factor)

    def end_split(self, split: str) -> None:
        """Nothing to do."""

    def end_block(self, block: int) -> None:
        """Run every variant of this block to the end."""
        maps, refits = self._fits.maps, self._fits.refits
        self._branch(block, True, [f"{rung}/nll" for rung in self._work.rungs], [maps[rung] for rung in self._work.rungs])
        for rung in self._work.rungs:
            self._run_refits(block, rung, refits[rung])
        if isinstance(self._fits, AffineLinearity):
            mean = self._fits.mean
            names = ["strict/half", "strict/skipped", "strict/mean"]
            self._branch(block, False, names, [self._fits.half, Constant(torch.zeros_like(mean)), Constant(mean)])
        sizes = (*self._work.anatomy.parameters(block), *(maps[rung].parameters for rung in self._work.rungs))
        self._found["parameters"].append(np.array(sizes, dtype=np.float64))
        if block == self._work.blocks - 1:
            self._flush()

    def _variant(self, block: int, rung: str, each: LinearMap) -> Variant:
        positions, kept = (None, None) if rung == "paper" else (self._marked, self._after)
        return (Replaced(block, positions, (each,), kept),)

    def _branch(self, block: int, whole: bool, names: list[str], maps: Sequence[LinearMap]) -> None:
        """Run the variants of a block, and read their logits when there are enough: the clean ones are then computed once for all."""
        variants = [self._variant(block, name.split("/")[0], each) for name, each in zip(names, maps, strict=True)]
        windows = None if whole else self._some
        for first, final in branch(self._work.anatomy, self._before, block - 1, self._ids, variants, windows):
            self._waiting[whole] += [(names[first + i], stream) for i, stream in enumerate(final)]
        if len(self._waiting[whole]) * len(self._ids if whole else self._some) >= GROUP:
            self._flush(whole)

    def _run_refits(self, block: int, rung: str, refits: Sequence[LinearMap]) -> None:
        """Run each map fitted without a group of calibration windows on one evaluation window."""
        variants, nll = [self._variant(block, rung, each) for each in refits], list[Array]()
        for first, final in branch(self._work.anatomy, self._before, block - 1, self._ids, variants, self._one, one_each=True):
            nll.append(self._language.nll_nats(final[:, 0][None], self._one[first : first + len(final)])[0])
        self._found[f"{rung}/refit"].append(np.concatenate(nll))

    def _flush(self, *which: bool) -> None:
        for whole in which or (True, False):
            waiting, self._waiting[whole] = self._waiting[whole], []
            if not waiting:
                continue
            finals = torch.stack([stream for _, stream in waiting])
            if whole:
                nll, kl = self._language.costs_nats(finals)
            else:
                nll = self._language.nll_nats(finals, self._some)
            for i, (name, _) in enumerate(waiting):
                self._found[name].append(nll[i])
                if whole:
                    self._found[name.replace("nll", "kl")].append(kl[i])

    def state(self) -> dict[str, Array]:
        """Return what has been found so far, for a checkpoint."""
        self._flush()
        return {name: np.stack(arrays) for name, arrays in self._found.items()}

    def restore(self, state: Mapping[str, Array], blocks: int) -> None:
        """Take up what a checkpoint held of so many blocks; ValueError when it is not that."""
        expected = {**{name: (blocks, windows) for name, windows in self._kinds.items()}, "parameters": (blocks, 2 + len(self._work.rungs))}
        found = {name: array.shape for name, array in state.items() if array.dtype == np.float64}
        if blocks and (found != expected or len(state) != len(expected)):
            raise ValueError(f"arrays {found}, expected {expected}")
        self._found = {name: list(state[name]) if blocks else [] for name in expected}

    def result(self) -> dict[str, Array]:
        """Return the arrays that :class:`harness.replacement.Each` names, by rung."""
        clean = self._language.nll_nats(self._language.clean[None])[0]
        stacked = {name: np.stack(arrays) for name, arrays in self._found.items()}
        found: dict[str, Array] = {}
        for i, rung in enumerate(self._work.rungs):
            nothing = np.zeros((0, len(self._some)))
            found |= {
                f"{rung}/{name}": stacked.get(f"{rung}/{name}", nothing) for name in ("nll", "kl", "refit", "half", "skipped", "mean")
            }
            found[f"{rung}/clean"] = clean
            found[f"{rung}/some"] = np.array(self._some, dtype=np.float64)
            found[f"{rung}/refit_window"] = np.array(self._one, dtype=np.float64)
            found[f"{rung}/parameters"] = stacked["parameters"][:, [0, 1, 2 + i]]
        return found
