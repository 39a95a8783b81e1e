"""What destroying blocks costs: KL from the clean run, by position, block and part (claims 4, 5 and appendix). Results; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from harness.findings import Findings, Shape

BOTH, ATTENTION, MLP = "both", "attention", "mlp"
PARTS = (BOTH, ATTENTION, MLP)
"""What of a block is destroyed."""


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


class LastMlp(Findings):
    """The last block without what its MLP writes, and with its mean output instead; by scored window, nats per position.

    - ``clean``, ``skipped``, ``mean (W)``: negative log-likelihood; ``skipped_kl``, ``mean_kl (W)``: KL from the clean run
    - ``fitted``: calibration tokens behind the mean; ``left_out``: share of positions that are left as they are
    """

    SHAPES: ClassVar[Mapping[str, Shape]] = {
        **dict.fromkeys(("clean", "skipped", "mean", "skipped_kl", "mean_kl"), ("W",)),
        **dict.fromkeys(("fitted", "left_out"), ()),
    }
