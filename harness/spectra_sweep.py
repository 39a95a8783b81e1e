"""The visitor that measures :class:`harness.spectra.Spectra`: one covariance at a time, for all blocks in one sweep."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from harness.concurrency import in_parallel
from harness.linearity import CALIBRATION
from harness.moments import Moments
from harness.statistics import Array
from harness.subspaces import variances
from harness.sweep import moment_device
from harness.typical import typical
from harness.work import Work


def measure(work: Work) -> dict[str, Array]:
    """Take the spectra from the sweep that also keeps streams."""
    found = work.streams().spectra
    assert found is not None
    return found


class SpectraVisitor:
    """Accumulate Σh and Σhhᵀ of each block's output over calibration tokens: of typical ones, and of the others apart."""

    def __init__(self, width: int, factor: float, device: torch.device | str) -> None:
        self._width, self._factor, self._device = width, factor, moment_device(device, Moments.bytes_of(2, width, 0))
        self.found: dict[str, list[Array]] = {"all": [], "typical": [], "left_out": []}
        self._reset()

    def _reset(self) -> None:
        self._n = [0, 0]
        self._sum = torch.zeros(2, self._width, dtype=torch.float64, device=self._device)
        self._products = torch.zeros(2, self._width, self._width, dtype=torch.float64, device=self._device)

    def see(self, split: str, first: int, before: Tensor, after: Tensor) -> None:
        """Add a batch of calibration windows."""
        if split != CALIBRATION:
            return
        marked = typical(before, after, self._factor)
        for i, rows in enumerate((after[marked], after[~marked])):
            rows = rows.to(self._device).double()
            self._n[i] += len(rows)
            self._sum[i] += rows.sum(0)
            self._products[i].addmm_(rows.T, rows)

    def end_split(self, split: str) -> None:
        """Nothing to do."""

    def end_block(self, block: int) -> None:
        """Decompose, and drop the sums."""
        n = sum(self._n)
        parts = (n, self._sum.sum(0), self._products.sum(0)), (max(self._n[0], 1), self._sum[0], self._products[0])
        everything, ordinary = in_parallel(lambda part: variances(*part).cpu().numpy(), parts, self._device)
        self.found["all"].append(everything)
        self.found["typical"].append(ordinary)
        self.found["left_out"].append(np.array(1 - self._n[0] / n))
        self._reset()

    def result(self) -> dict[str, Array]:
        """Return the spectra by rung, blocks first."""
        stacked = {name: np.stack(arrays) for name, arrays in self.found.items()}
        of = {"paper": stacked["all"], "typical": stacked["typical"]}
        values = {f"{rung}/values": array for rung, array in of.items()}
        return values | {f"{rung}/left_out": stacked["left_out"] for rung in of}
