"""What destroying blocks costs: late ones position by position (claim 5), and every block, its attention and its MLP (claim 4, appendix).

Nothing below a destroyed block is run again. On ``paper`` all positions change; on other rungs those that are typical at a destroyed
block, and the others keep their clean values at its output.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from harness.branches import GROUP, run_block
from harness.destroyed import BOTH, PARTS
from harness.destroyed_block import Destroyer, at_marked, to_the_end
from harness.language import Language
from harness.statistics import Array
from harness.streams import final_streams, keep_some
from harness.sweep import sweep
from harness.typical import typical
from harness.work import Work


def measure_late(work: Work) -> dict[str, Array]:
    """Measure ``paper`` and ``typical``, or ``strict``: arrays of :class:`harness.destroyed.LateBlocks`.

    One sweep keeps where the late blocks start and the end. From there the clean stream goes on a second time, block by block, beside the
    streams on which all blocks so far are destroyed: what is held does not grow with the number of blocks.
    """
    easy, anatomy, (split, ids) = work.protocol.easy, work.anatomy, *work.ids.items()
    first, last, late = easy.destroyed_from(work.blocks), work.blocks - 1, easy.late_of(work.blocks)
    steps = work.blocks + last - first + 1
    marked_at = [*easy.looked_at(work.blocks), *range(first, last + 1)]
    kept = keep_some(
        anatomy,
        work.ids,
        [first - 1, last],
        work.protocol.typical_factor,
        work.subject.device,
        lambda done, total: work.progress(done, steps),
        marked=marked_at,
    )
    clean, final = kept.at[first - 1][split], kept.at[last][split]
    destroyer, together = Destroyer(anatomy, easy.levels), dict.fromkeys(work.rungs, clean)
    finals: dict[str, list[Tensor]] = {rung: [] for rung in work.rungs}
    for block in range(first, last + 1):
        destroyed, marks = destroyer(block, clean, ids), kept.marked[block][split]
        after = final if block == last else run_block(anatomy, block, clean, ids)
        changed = destroyed.run(BOTH, clean, ids) if block in late else None
        for rung in work.rungs:
            marked = None if rung == "paper" else marks
            if changed is not None:
                finals[rung].append(to_the_end(anatomy, at_marked(marked, changed, after), block, ids))
            together[rung] = at_marked(marked, destroyed.run(BOTH, together[rung], ids), after)
        clean = after
        work.progress(work.blocks + block - first + 1, steps)
    language, found = Language(anatomy, final, ids), dict[str, Array]()
    counted = kept.typical_at(split, *easy.looked_at(work.blocks))[:, :-1].cpu().double().numpy()
    for rung in work.rungs:
        kl = language.kl_by_position_nats(torch.stack([*finals[rung], together[rung]]))
        counts = np.ones_like(counted) if rung == "paper" else counted
        arrays = {"blocks": np.array(late, dtype=np.float64), "kl": kl[:-1], "together": kl[-1], "counted": counts}
        arrays["left_out"] = np.array(1 - counts.mean())
        found |= {f"{rung}/{name}": array for name, array in arrays.items()}
    return found


def measure_profile(work: Work) -> dict[str, Array]:
    """Measure ``paper`` and ``typical``, or ``strict``: arrays of :class:`harness.destroyed.Profile`.

    An interrupted sweep is taken up where it was.
    """
    visitor = ProfileVisitor(work)
    sweep(work.anatomy, work.ids, [visitor], work.subject.device, work.progress, work.bookmark)
    return visitor.result()


class ProfileVisitor:
    """Visitor: at a block's end its parts are destroyed one after another, and what lies above is run once for each and each rung."""

    def __init__(self, work: Work) -> None:
        self._work = work
        (self._ids,) = work.ids.values()
        clean = final_streams(work.anatomy, self._ids, work.subject.device)
        self._language = Language(work.anatomy, clean, self._ids)
        self._destroyer = Destroyer(work.anatomy, work.protocol.easy.levels)
        self._before, self._after = torch.empty_like(clean), torch.empty_like(clean)
        self._marked = torch.empty(clean.shape[:2], dtype=torch.bool, device=clean.device)
        self._waiting: list[tuple[str, int, list[str], Tensor]] = []
        self._begin(0)

    def _begin(self, blocks: int) -> None:
        """Make room for what is found of the first blocks."""
        self._found = {name: np.full((blocks, len(PARTS), len(self._ids)), np.nan) for name in self._kinds()}
        self._left_out: list[float] = []

    def _kinds(self) -> list[str]:
        return [f"{rung}/{kind}" for rung in self._work.rungs for kind in ("nll", "kl")]

    def see(self, split: str, first: int, before: Tensor, after: Tensor) -> None:
        """Hold the stream."""
        rows = slice(first, first + len(before))
        self._before[rows], self._after[rows] = before, after
        self._marked[rows] = typical(before, after, self._work.protocol.typical_factor)

    def end_split(self, split: str) -> None:
        """Nothing to do."""

    def end_block(self, block: int) -> None:
        """Run every part of this block to the end."""
        self._found = {name: np.concatenate([array, np.full((1, *array.shape[1:]), np.nan)]) for name, array in self._found.items()}
        self._left_out.append(float((~self._marked).double().mean()))
        destroyed = self._destroyer(block, self._before, self._ids)
        for part, alike in destroyed.apart():
            changed = destroyed.run(part, self._before, self._ids)
            for rung in self._work.rungs:
                stream = at_marked(None if rung == "paper" else self._marked, changed, self._after)
                self._waiting.append((rung, block, alike, to_the_end(self._work.anatomy, stream, block, self._ids)))
                if len(self._waiting) * len(self._ids) >= GROUP:
                    self._flush()
        if block == self._work.blocks - 1:
            self._flush()

    def _flush(self) -> None:
        """Read the logits of what waits: the clean ones are computed once for all."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        nll, kl = self._language.costs_nats(torch.stack([final for *_, final in waiting]))
        for i, (rung, block, alike, _) in enumerate(waiting):
            for part in alike:
                self._found[f"{rung}/nll"][block, PARTS.index(part)] = nll[i]
                self._found[f"{rung}/kl"][block, PARTS.index(part)] = kl[i]

    def state(self) -> dict[str, Array]:
        """Return what has been found so far, for a checkpoint."""
        self._flush()
        return {**self._found, "left_out": np.array(self._left_out)}

    def restore(self, state: Mapping[str, Array], blocks: int) -> None:
        """Take up what a checkpoint held of so many blocks; ValueError when it is not that."""
        expected = {**dict.fromkeys(self._kinds(), (blocks, len(PARTS), len(self._ids))), "left_out": (blocks,)}
        found = {name: array.shape for name, array in state.items() if array.dtype == np.float64}
        if blocks and (found != expected or len(state) != len(expected)):
            raise ValueError(f"arrays {found}, expected {expected}")
        self._begin(blocks)
        if blocks:
            self._found = {name: state[name].copy() for name in self._kinds()}
            self._left_out = [float(share) for share in state["left_out"]]

    def result(self) -> dict[str, Array]:
        """Return the arrays that :class:`harness.destroyed.Profile` names, by rung."""
        clean, found = self._language.nll_nats(self._language.clean[None])[0], dict[str, Array]()
        for rung in self._work.rungs:
            found |= {f"{rung}/{kind}": np.ascontiguousarray(self._found[f"{rung}/{kind}"].swapaxes(0, 1)) for kind in ("nll", "kl")}
            found[f"{rung}/clean"] = clean
            found[f"{rung}/left_out"] = np.array(self._left_out) * (rung != "paper")
        return found
