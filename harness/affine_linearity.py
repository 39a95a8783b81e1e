"""Linearity by affine full-rank maps with cross-validated ridge, on typical tokens: the rung ``strict``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from harness import affine
from harness.concurrency import in_parallel
from harness.linearity import CALIBRATION, EVALUATION, Linearity, contiguous_groups, flattened, scored_without, share, stack, unstack
from harness.moments import Moments, Sums
from harness.protocol import Protocol
from harness.solving import names_the_block
from harness.statistics import Array
from harness.sweep import moment_device
from harness.typical import typical
from harness.visits import Visit
from harness.work import Work


@contextmanager
def visit(work: Work) -> Iterator[Visit]:
    """Measure the rung in one sweep."""
    visitor = AffineLinearity(len(work.ids[CALIBRATION]), len(work.ids[EVALUATION]), work.width, work.protocol, work.subject.device)
    yield Visit([visitor], lambda: flattened(visitor.result()))


class AffineLinearity:
    """Visitor: λ by cross-validation, the map, its refits without each group and on half the groups; scored on typical tokens."""

    def __init__(self, calibration: int, evaluation: int, width: int, protocol: Protocol, device: torch.device | str) -> None:
        self._protocol, self._width = protocol, width
        self._device = moment_device(device, Moments.bytes_of(protocol.groups + 1, width, width))
        self._group = contiguous_groups(calibration, protocol.groups)
        self._evaluation = evaluation
        self.blocks: list[dict[str, Array]] = []
        self._reset()

    def _reset(self) -> None:
        d = self._width
        self._fitted, self._scored = Moments(self._protocol.groups, d, d, self._device), Moments(1, d, d, self._device)
        self._error, self._energy = np.zeros(self._evaluation), np.zeros(self._evaluation)
        self._tokens = 0
        self._refits: list[affine.AffineMap] = []

    def see(self, split: str, first: int, before: Tensor, after: Tensor) -> None:
        """Accumulate the typical tokens of a batch; evaluation windows are also scored one by one. Other splits pass by."""
        if split not in (CALIBRATION, EVALUATION):
            return
        mask = typical(before, after, self._protocol.typical_factor).to(self._device)
        x = before.to(self._device).double()
        y = after.to(self._device).double() - x  # in float64, or what is added to a large stream would be lost
        if split == CALIBRATION:
            for i in range(len(x)):
                self._fitted.add(self._group[first + i], x[i][mask[i]], y[i][mask[i]])
            return
        self._tokens += mask.numel()
        self._scored.add(0, x[mask], y[mask])
        windows = slice(first, first + len(x))
        self._error[windows] = ((y - self._map(x)).square().sum(-1) * mask).sum(1).cpu()
        self._energy[windows] = ((y - self._map.mean_y).square().sum(-1) * mask).sum(1).cpu()

    def end_split(self, split: str) -> None:
        """Choose λ and fit once the calibration windows have passed: on all groups, and anew on every second one."""
        if split == CALIBRATION:
            every_second = list(range(0, self._fitted.groups, 2))
            with names_the_block(len(self.blocks)):
                self._penalty, self._edge = self._choose(list(range(self._fitted.groups)))
                total, half = self._fitted.total(), self._fitted.total(every_second)
                self._lam = self._penalty * affine.scale(total)
                self._map, self._count = affine.fit(total, self._lam), total.n
                self.half = affine.fit(half, self._choose(every_second)[0] * affine.scale(half))

    def end_block(self, block: int) -> None:
        """Score, the refits too, and drop the moments."""
        scored = self._scored.total()
        fit = np.array([_r2(each, scored) for each in self.refits["strict"]])
        single = {
            "value": share(self._error.sum(), self._energy.sum()),
            "half": _r2(self.half, scored),
            "rank": self._width,
            "cap": 1.0,
            "penalty": self._penalty,
            "edge": float(self._edge),
            "fitted": self._count,
            "left_out": 1 - scored.n / self._tokens,
        }
        found = {name: np.array(value, dtype=np.float64) for name, value in single.items()}
        self.blocks.append({**found, "fit": fit, "score": scored_without(self._error, self._energy)})
        self._reset()

    def _choose(self, groups: list[int]) -> tuple[float, bool]:
        """Return the penalty with the least cross-validated error, and whether it stands at an end of the grid."""
        chosen = affine.choose_penalty(self._fitted, groups, self._protocol, self._device)
        return chosen.value, chosen.edge

    @property
    def maps(self) -> dict[str, affine.AffineMap]:
        """The map of the block at which the sweep stands, by rung: from the end of its calibration windows to the block's end."""
        return {"strict": self._map}

    @property
    def refits(self) -> dict[str, list[affine.AffineMap]]:
        """The maps refitted without each group, λ frozen, by rung, of that block; once a block."""
        if not self._refits:
            total, block = self._fitted.total(), len(self.blocks)

            def refit(group: int) -> affine.AffineMap:
                with names_the_block(block):
                    return affine.fit(total - self._fitted.group(group), self._lam)

            self._refits = in_parallel(refit, range(self._fitted.groups), self._device)
        return {"strict": self._refits}

    @property
    def mean(self) -> Tensor:
        """The mean of Δ over the calibration tokens of that block."""
        return self._map.mean_y

    def state(self) -> dict[str, Array]:
        """Return what has been found so far, for a checkpoint."""
        return {f"{b}/{name}": array for b, arrays in enumerate(self.blocks) for name, array in arrays.items()}

    def restore(self, state: dict[str, Array], blocks: int) -> None:
        """Take up what a checkpoint held of so many blocks; ValueError when it is not that."""
        self.blocks = unstack(state, blocks, self._protocol.groups, self._evaluation)

    def result(self) -> dict[str, Linearity]:
        """Return the linearity of the one rung."""
        return {"strict": stack(self.blocks)}


def _r2(fitted: affine.AffineMap, scored: Sums) -> float:
    return share(fitted.squared_error(scored), fitted.baseline(scored))
