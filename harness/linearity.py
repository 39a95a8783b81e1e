"""How linear each block is: R² of the best map from its input to what it adds (claims 2 and 4). Results; no torch.

Measured by :mod:`harness.rank_linearity` (``paper``, ``held-out``, ``typical``) and :mod:`harness.affine_linearity` (``strict``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.statistics import Array, Figure

CALIBRATION, EVALUATION = "calibration", "evaluation"


@dataclass(frozen=True)
class Linearity:
    """R² of every block on one rung, with what it rests on. Arrays are float64 with blocks last.

    R² = 1 − ‖Δ − Δ̂‖²_F / ‖Δ‖²_F with Δ_b = h_{b+1} − h_b; at most 1, negative where the map does worse than predicting zero (on
    ``strict``: than predicting the calibration mean, about which its ‖Δ‖² is taken).

    - ``value (B)``
    - ``fit (G, B)``: refitted without each group of calibration windows
    - ``score (W, B)``: scored without each evaluation window
    - ``half (B)``: refitted on every second group
    - ``rank (B)``: k
    - ``cap (B)``: share of ‖Δ‖² inside span(V_k), the most that R² can be in sample
    - ``penalty (B)``: λ over tr/d
    - ``edge (B)``: 1 where cross-validation chose an end of its grid
    - ``fitted (B)``: calibration tokens used
    - ``left_out (B)``: share of the scoring tokens that are not typical

    NaN where a rung has no such thing.
    """

    arrays: Mapping[str, Array]

    NAMES = ("value", "fit", "score", "half", "rank", "cap", "penalty", "edge", "fitted", "left_out")

    def __post_init__(self) -> None:
        """Reject arrays of wrong names, shapes or types: a stored result is only as good as this check."""
        if set(self.arrays) != set(self.NAMES):
            raise ValueError(f"expected arrays {sorted(self.NAMES)}, found {sorted(self.arrays)}")
        blocks = self.arrays["value"].shape
        for name, array in self.arrays.items():
            ndim = 2 if name in ("fit", "score") else 1
            if array.dtype != np.float64 or array.ndim != ndim or array.shape[-1:] != blocks or not blocks[0]:
                raise ValueError(f"array '{name}': {array.dtype} of shape {array.shape} does not fit {blocks} blocks")

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return len(self.arrays["value"])

    @property
    def r2(self) -> Figure:
        """R² over blocks, with its replicates."""
        a = self.arrays
        score = a["score"] if len(a["score"]) else None
        half = None if np.isnan(a["half"]).all() else a["half"]
        return Figure(a["value"], a["fit"], score, half)

    def check(self, blocks: int, groups: int, windows: int) -> None:
        """Raise ValueError unless this is of so many blocks, groups of calibration windows and scored windows."""
        found = (self.blocks, len(self.arrays["fit"]), len(self.arrays["score"]))
        if found != (blocks, groups, windows):
            raise ValueError(f"blocks, groups and windows are {found}, expected {(blocks, groups, windows)}")


def unstack(state: Mapping[str, Array], count: int, groups: int, windows: int) -> list[dict[str, Array]]:
    """Rebuild the findings of ``count`` blocks from arrays named ``block/name``; ValueError unless they are exactly that."""
    shapes = {"fit": (groups,), "score": (windows,)}
    blocks = [{name: state.get(f"{b}/{name}", np.zeros(0)) for name in Linearity.NAMES} for b in range(count)]
    if len(state) != count * len(Linearity.NAMES):
        raise ValueError(f"{len(state)} arrays, expected {len(Linearity.NAMES)} for each of {count} blocks")
    for arrays in blocks:
        for name, array in arrays.items():
            if array.dtype != np.float64 or array.shape != shapes.get(name, ()):
                raise ValueError(f"array '{name}': {array.dtype} of shape {array.shape}")
    return blocks


def stack(blocks: list[dict[str, Array]]) -> Linearity:
    """Stack what visitors found, block by block."""
    return Linearity({name: np.stack([np.asarray(b[name], dtype=np.float64) for b in blocks], axis=-1) for name in Linearity.NAMES})


def flattened(found: Mapping[str, Linearity]) -> dict[str, Array]:
    """Return the arrays of all rungs, named ``rung/name``."""
    return {f"{rung}/{name}": array for rung, linearity in found.items() for name, array in linearity.arrays.items()}


def share(error: float, energy: float) -> float:
    """R² = 1 − error/energy; NaN when there is no energy to explain."""
    return 1 - error / energy if energy > 0 else float("nan")


def scored_without(error: Array, energy: Array) -> Array:
    """R² with each window left out of the sums: ``(W,)`` from per-window sums ``(W,)``."""
    return np.array([share(error.sum() - e, energy.sum() - t) for e, t in zip(error, energy, strict=True)])


def contiguous_groups(windows: int, groups: int) -> list[int]:
    """Assign windows, in order, to groups of equal size (±1): the group of each window."""
    if groups > windows:
        raise ValueError(f"{groups} groups need as many calibration windows, not {windows}")
    return [window * groups // windows for window in range(windows)]
