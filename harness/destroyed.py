"""What destroying blocks costs: KL from the clean run, by position, block and part (claims 4, 5 and appendix). Results; no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.findings import Findings, Shape
from harness.statistics import Array, Figure, spearman, without_each

BOTH, ATTENTION, MLP = "both", "attention", "mlp"
PARTS = (BOTH, ATTENTION, MLP)
"""What of a block is destroyed."""
NEITHER = "neither"
Marks = NDArray[np.bool_]


@dataclass(frozen=True)
class Phase:
    """Neighbouring blocks, ``first`` to ``last``, in which the same side dominates: attention, MLP or neither."""

    first: int
    last: int
    side: str


class LateBlocks(Findings):
    """KL(clean ‖ destroyed) in nats at positions 0 … T − 2 of the scored windows, P a window, with weight matrices stored as INT2.

    - ``blocks (L)``: the late blocks; ``kl (L, W, P)``: each of them destroyed alone
    - ``together (W, P)``: all blocks from 2B/3 on destroyed
    - ``counted (W, P)``: 1 where the position counts, as in :class:`harness.exits.Heads`; ``left_out``: share of those that do not
    """

    SHAPES: ClassVar[Mapping[str, Shape]] = {
        "blocks": ("L",),
        "kl": ("L", "W", "P"),
        "together": ("W", "P"),
        "counted": ("W", "P"),
        "left_out": (),
    }

    @property
    def blocks(self) -> list[int]:
        """The late blocks."""
        return [int(b) for b in self.arrays["blocks"]]

    def of_windows(self, kept: Marks) -> LateBlocks:
        """Return the same of some windows, ``kept (W) bool``."""
        a = self.arrays
        part = {"kl": a["kl"][:, kept], "together": a["together"][kept], "counted": a["counted"][kept]}
        return LateBlocks({**a, **part})

    @property
    def medians(self) -> Array:
        """The median KL of each late block over the counted positions: ``(L)``; NaN where none counts."""
        return _medians(self.arrays["kl"], self._counts)

    @property
    def easy(self) -> Array:
        """1 where a position counts and its KL is below the block's median for each late block: ``(W, P)``."""
        below = (self.arrays["kl"] < self.medians[:, None, None]).all(0)
        found: Array = (below & self._counts).astype(np.float64)
        return found

    @property
    def share(self) -> Figure:
        """The share of counted positions that are easy; replicates without each window, medians taken anew."""
        kl, counts = self.arrays["kl"], self._counts
        windows = np.arange(len(counts))
        score = np.array([_share(kl[:, windows != w], counts[windows != w]) for w in windows])
        return Figure(_share(kl, counts), score=score)

    @property
    def observed(self) -> float:
        """The mean of Spearman's ρ between late blocks, two at a time, of KL at the counted positions; NaN for one block."""
        kl = self.arrays["kl"][:, self._counts]
        found = [spearman(a, b) for a, b in combinations(kl, 2)] if kl.shape[1] > 1 else []
        return float(np.mean(found)) if found else np.nan

    def curve(self, taus: Sequence[float]) -> list[float]:
        """Return the share of counted positions whose KL with all late blocks destroyed is at most each τ, in nats."""
        together = self.arrays["together"][self._counts]
        return [float((together <= tau).mean()) if len(together) else np.nan for tau in taus]

    @property
    def together_median(self) -> float:
        """The median of that KL over the counted positions."""
        return float(_medians(self.arrays["together"][None], self._counts)[0])

    @property
    def _counts(self) -> Marks:
        found: Marks = self.arrays["counted"] > 0
        return found


def _medians(kl: Array, counts: Marks) -> Array:
    found: Array = np.median(kl[:, counts], axis=1) if counts.any() else np.full(len(kl), np.nan)
    return found


def _share(kl: Array, counts: Marks) -> float:
    """The share of counted positions whose KL is below the median for each block.

    NaN where none counts, or a block changes nothing for half of them: no KL is below a median of 0.
    """
    if not counts.any() or not (medians := _medians(kl, counts)).all():
        return np.nan
    return float((kl[:, counts] < medians[:, None]).all(0).mean())


class Profile(Findings):
    """Every block destroyed alone: both parts, its attention, its MLP, in the order of :data:`PARTS`; by scored window, nats per position.

    - ``clean (W)``: negative log-likelihood of the clean run; ``nll``, ``kl (3, B, W)``; NaN where a block has no such part
    - ``left_out (B)``: share of positions that are left as they are
    """

    SHAPES: ClassVar[Mapping[str, Shape]] = {
        "clean": ("W",),
        "nll": (len(PARTS), "B", "W"),
        "kl": (len(PARTS), "B", "W"),
        "left_out": ("B",),
    }

    def kl(self, part: str) -> Array:
        """KL in nats with a part of each block destroyed: ``(B)``; NaN where a block has no such part."""
        found: Array = self.arrays["kl"][PARTS.index(part)].mean(1)
        return found

    @property
    def baseline(self) -> float:
        """Perplexity of the clean run."""
        return float(np.exp(self.arrays["clean"].mean()))

    @property
    def added(self) -> Array:
        """What destroying each block adds to it: ``(B)``."""
        found: Array = np.exp(self.arrays["nll"][PARTS.index(BOTH)].mean(1)) - self.baseline
        return found

    def u_shape(self, middle: range) -> Figure:
        """KL of destroying the first or the last block, whichever is less, over the median of the middle ones; NaN where that is 0."""

        def ratio(kl: Array) -> float:
            centre = float(np.median(kl[middle.start : middle.stop]))
            return float(min(kl[0], kl[-1])) / centre if centre > 0 else np.nan

        kl = self.arrays["kl"][PARTS.index(BOTH)]
        return Figure(ratio(kl.mean(1)), score=np.array([ratio(rest) for rest in without_each(kl).T]), origin=0.0)

    def sides(self, dominates: float) -> list[str]:
        """Return which side of each block dominates: its KL is above 0 and at least so many times the other's. What is absent has none."""
        attention, mlp = (np.nan_to_num(self.kl(part)) for part in (ATTENTION, MLP))
        return [
            ATTENTION if a > 0 and a >= dominates * m else MLP if m > 0 and m >= dominates * a else NEITHER
            for a, m in zip(attention, mlp, strict=True)
        ]

    def phases(self, dominates: float) -> list[Phase]:
        """Return the longest runs of blocks in which the same side dominates, or neither does."""
        found: list[Phase] = []
        for block, side in enumerate(self.sides(dominates)):
            if found and found[-1].side == side:
                found[-1] = Phase(found[-1].first, block, side)
            else:
                found.append(Phase(block, block, side))
        return found

    def undecided(self, dominates: float, level: float = 0.95) -> list[int]:
        """Return the blocks whose ratio of attention to MLP has an interval that holds an edge of the rule: other text may differ."""
        kl = self.arrays["kl"][[PARTS.index(ATTENTION), PARTS.index(MLP)]]
        rest, found = without_each(kl), []
        for block in np.flatnonzero((kl.mean(2) > 0).all(0)):
            each = rest[:, block]
            if (each > 0).all():
                ratio = Figure(float(kl[0, block].mean() / kl[1, block].mean()), score=each[0] / each[1], origin=0.0)
                interval = ratio.interval(level)
                if not any(interval.low < edge < interval.high for edge in (dominates, 1 / dominates)):
                    continue
            found.append(int(block))
        return found


class LastMlp(Findings):
    """The last block without what its MLP writes, and with its mean output instead; by scored window, nats per position.

    - ``clean``, ``skipped``, ``mean (W)``: negative log-likelihood; ``skipped_kl``, ``mean_kl (W)``: KL from the clean run
    - ``fitted``: calibration tokens behind the mean; ``left_out``: share of positions that are left as they are
    """

    SHAPES: ClassVar[Mapping[str, Shape]] = {
        **dict.fromkeys(("clean", "skipped", "mean", "skipped_kl", "mean_kl"), ("W",)),
        **dict.fromkeys(("fitted", "left_out"), ()),
    }

    @property
    def baseline(self) -> float:
        """Perplexity of the clean run."""
        return self.perplexity("clean")

    def perplexity(self, name: str) -> float:
        """Perplexity of the clean run, or with the MLP's output ``skipped`` or replaced by its ``mean``."""
        return float(np.exp(self.arrays[name].mean()))

    def cost(self, name: str) -> Figure:
        """ΔPPL of that; replicates without each window."""
        score = np.exp(without_each(self.arrays[name])) - np.exp(without_each(self.arrays["clean"]))
        return Figure(self.perplexity(name) - self.baseline, score=score)
