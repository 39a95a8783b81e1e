"""How linear a block stays when the blocks before it are replaced by their maps (claim 2): R² lost.

The block's map is fitted to the clean run. The j blocks before it are replaced by their maps, and the map is scored against what the
*true* block adds to the stream that results, over that Δ's own ‖Δ‖². ``paper`` scores on the calibration windows, in sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.branches import run_block
from harness.kept_maps import fitted_at, marked_at
from harness.linearity import CALIBRATION, EVALUATION, contiguous_groups, share
from harness.maps import Fitted, LinearMap
from harness.refitting import advanced, scored
from harness.statistics import Array
from harness.streams import Streams
from harness.sweep import moment_device
from harness.work import Work


def measure(work: Work) -> dict[str, Array]:
    """Measure ``paper``, ``held-out`` and ``typical``, or ``strict``."""
    streams, found = work.streams(), dict[str, Array]()
    for i, rung in enumerate(work.rungs):
        for name, array in _Rung(work, streams, rung).measure().items():
            found[f"{rung}/{name}"] = np.asarray(array, dtype=np.float64)
        work.progress(i + 1, len(work.rungs))
    return found


@dataclass(frozen=True)
class _Scored:
    """A map against the true block on one stream, by window: sums of squares, and how far the stream has moved."""

    error: Array
    energy: Array
    moved: float = 0.0

    def r2(self, windows: Array | slice = slice(None)) -> float:
        return share(float(self.error[windows].sum()), float(self.energy[windows].sum()))


class _Rung:
    """One choice of maps, tokens and scored windows."""

    def __init__(self, work: Work, streams: Streams, rung: str) -> None:
        self._work, self._streams, self._rung = work, streams, rung
        self._in_sample, self._strict = rung == "paper", rung == "strict"
        self._split = CALIBRATION if self._in_sample else EVALUATION
        self._protocol = work.protocol.replacement

    @torch.inference_mode()
    def measure(self) -> dict[str, object]:
        """Return the arrays that :class:`harness.replacement.Shift` names."""
        targets, run, groups = self._protocol.shifted(self._work.blocks), self._protocol.run, self._work.protocol.groups
        clean = [self._clean(t, self._fitted(t).whole) for t in targets]
        shifted = [[self._shifted(t, self._wholes(t, j), self._fitted(t).whole) for j in range(1, run + 1)] for t in targets]
        last, upstream = self._fitted(targets[0]), [self._fitted(b) for b in self._protocol.upstream(targets[0])]
        group = np.array(contiguous_groups(len(self._streams.ids[CALIBRATION]), groups))
        fit = np.zeros((2, groups))
        for g in range(groups):
            # In sample a group that is left out of the fit is left out of the score.
            windows = group != g if self._in_sample else slice(None)
            fit[0, g] = self._clean(targets[0], last.refits[g]).r2(windows)
            fit[1, g] = self._shifted(targets[0], [f.refits[g] for f in upstream], last.refits[g]).r2(windows)
        marked = marked_at(self._streams, self._rung, self._split, targets[0])
        return {
            "targets": targets,
            "clean_error": np.stack([s.error for s in clean]),
            "clean_energy": np.stack([s.energy for s in clean]),
            "error": np.stack([[s.error for s in by_count] for by_count in shifted]),
            "energy": np.stack([[s.energy for s in by_count] for by_count in shifted]),
            "moved": [[s.moved for s in by_count] for by_count in shifted],
            "fit": fit,
            "half": self._half(targets[0], last, upstream) if self._strict else [np.nan, np.nan],
            "fitted": min(f.count for f in (last, *upstream)),
            "left_out": 0.0 if marked is None else 1 - float(marked.float().mean()),
            "edges": sum(f.edge for f in (last, *upstream)),
        }

    def _half(self, target: int, last: Fitted, upstream: list[Fitted]) -> list[float]:
        own, before = last.half, [f.half for f in upstream if f.half is not None]
        assert own is not None
        return [self._clean(target, own).r2(), self._shifted(target, before, own).r2()]

    def _fitted(self, block: int) -> Fitted:
        return fitted_at(self._work, self._streams, self._rung, block)

    def _wholes(self, target: int, count: int) -> list[LinearMap]:
        """The maps of the ``count`` blocks before a block."""
        return [self._fitted(b).whole for b in range(target - count, target)]

    def _clean(self, target: int, own: LinearMap) -> _Scored:
        x, after = (self._streams.at[b][self._split] for b in (target - 1, target))
        return self._score(target, own, x, after)

    def _shifted(self, target: int, before: list[LinearMap], own: LinearMap) -> _Scored:
        """Replace the blocks before by maps, and score a map against the true block on what results."""
        first, streams = target - len(before), self._streams
        marked = marked_at(streams, self._rung, self._split, *range(first, target))
        stream = streams.at[first - 1][self._split]
        for block, each in enumerate(before, first):
            stream = advanced(stream, each, marked, streams.at[block][self._split])
        after = run_block(self._work.anatomy, target, stream, streams.ids[self._split])
        return self._score(target, own, stream, after, self._moved(target, stream))

    def _score(self, target: int, own: LinearMap, x: Tensor, after: Tensor, moved: float = 0.0) -> _Scored:
        error, energy = scored(own, x, after, marked_at(self._streams, self._rung, self._split, target))
        return _Scored(error.cpu().numpy(), energy.cpu().numpy(), moved)

    def _moved(self, target: int, stream: Tensor) -> float:
        """Mean ‖h̃ − h‖² over the variance of h, at the scored tokens."""
        marked = marked_at(self._streams, self._rung, self._split, target)
        clean, device = self._streams.at[target - 1][self._split], moment_device(stream.device)
        count, total, squares, moved = 0, torch.zeros(clean.shape[-1], dtype=torch.float64, device=device), 0.0, 0.0
        for w in range(len(clean)):  # One window at a time is widened to float64.
            rows = slice(None) if marked is None else marked[w]
            x, y = (h[w][rows].to(device).double() for h in (clean, stream))
            count, total = count + len(x), total + x.sum(0)
            squares, moved = squares + float(x.square().sum()), moved + float((y - x).square().sum())
        return moved / (squares - float(total @ total) / count)
