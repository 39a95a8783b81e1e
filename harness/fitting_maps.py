"""Fitting the maps of all blocks in one sweep over calibration text, to be kept in a file (:mod:`harness.map_file`)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.errors import MeasurementError
from harness.kept_maps import fitted
from harness.linearity import CALIBRATION, contiguous_groups
from harness.loading import Subject
from harness.maps import parts_of
from harness.moments import Moments
from harness.protocol import Protocol
from harness.solving import names_the_block
from harness.sweep import Progress, moment_device, sweep
from harness.typical import typical
from harness.windows import Ids

Parts = dict[str, NDArray[np.float32]]
"""What one map consists of: ``weight (d, k)``, ``basis (d, k)`` by rank; ``weight (d, d)``, ``mean_x (d)``, ``mean_y (d)`` affine."""


def fit_all(subject: Subject, ids: Ids, rung: str, protocol: Protocol, progress: Progress) -> list[Parts]:
    """Fit every block's map by a rung's rule to its calibration windows ``(windows, tokens)``: the maps that the rung replaces blocks by.

    Held at a time are the moments of one block, 8 · groups · 3d² bytes, and the maps so far, at most 4d² bytes a block: with 16 groups, of
    a hundred blocks as much as the moments. Raises MeasurementError for a block that no map can be fitted to.
    """
    visitor = EveryBlock(len(ids), subject.anatomy.width, rung, protocol, subject.device)
    sweep(subject.anatomy, {CALIBRATION: ids}, [visitor], subject.device, progress)
    return visitor.maps


class EveryBlock:
    """Visitor: one block's moments, its map without refits; then the next block. It cannot be resumed: what it takes is one sweep."""

    def __init__(self, windows: int, width: int, rung: str, protocol: Protocol, device: torch.device | str) -> None:
        self._width, self._rung, self._protocol = width, rung, protocol
        self._device = moment_device(device, Moments.bytes_of(protocol.groups, width, width))
        self._group = contiguous_groups(windows, protocol.groups)
        self.maps: list[Parts] = []
        self._reset()

    def _reset(self) -> None:
        self._moments = Moments(self._protocol.groups, self._width, self._width, self._device)

    def see(self, split: str, first: int, before: Tensor, after: Tensor) -> None:
        """Accumulate the tokens of a batch that the rung fits to."""
        marked = None if self._rung == "paper" else typical(before, after, self._protocol.typical_factor)
        for i in range(len(before)):
            rows = slice(None) if marked is None else marked[i]
            x, y = (stream[i][rows].to(self._device).double() for stream in (before, after))
            self._moments.add(self._group[first + i], x, y - x)  # in float64, or what is added to a large stream would be lost

    def end_split(self, split: str) -> None:
        """Nothing to do."""

    def end_block(self, block: int) -> None:
        """Fit, and drop the moments."""
        with names_the_block(block):
            whole = fitted(self._moments, self._rung, self._protocol).whole
        parts = {name: part.float().cpu().numpy() for name, part in parts_of(whole).items()}
        if not all(np.isfinite(part).all() for part in parts.values()):
            raise MeasurementError(f"block {block}: its map is beyond the range of float32")
        self.maps.append(parts)
        self._reset()
