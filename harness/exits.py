"""What exit heads say about the next token, position by position, beside the whole model. Results of claim 5; no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from harness.findings import Findings, Shape
from harness.labels import decode_names
from harness.statistics import Array, Figure

EMBEDDINGS = -1
"""Where a head reads the embeddings h_0, and not the output of a block."""


class Heads(Findings):
    """Trained heads, H of them, at positions 0 … T − 2 of W scored windows, P a window; NLL in nats.

    On ``strict`` the second half of them is the first half trained anew, on half the calibration windows (but for :class:`Adapted`).

    - ``at (H)``: the block whose output a head reads, −1 for the embeddings
    - ``agreed (H, W, P)``: 1 where its top-1 token is the full model's; ``right``: where it is the next token of the text;
      ``confidence``: probability of its top-1 token; ``nll``: of the next token
    - ``counted (W, P)``: 1 where the position counts: everywhere on ``paper``, else where the token is typical at all exits and late blocks
    - ``rate (H)``: the learning rate taken; ``trials (H, R)``: loss of each rate on the last calibration windows
    - ``steps (C)``, ``train``, ``held_nll``, ``held_agreed (H, C)``: after so many steps, mean loss since the look before
      (NaN at 0 steps), negative log-likelihood and agreement on some evaluation windows
    - ``fitted``: tokens trained on; ``batch``: windows a step; ``left_out``: share of positions that do not count
    """

    SHAPES: ClassVar[Mapping[str, Shape]] = {
        "at": ("H",),
        **dict.fromkeys(("agreed", "right", "confidence", "nll"), ("H", "W", "P")),
        "counted": ("W", "P"),
        "rate": ("H",),
        "trials": ("H", "R"),
        "steps": ("C",),
        **dict.fromkeys(("train", "held_nll", "held_agreed"), ("H", "C")),
        **dict.fromkeys(("fitted", "batch", "left_out"), ()),
    }

    @property
    def wholes(self) -> int:
        """How many heads are trained on all calibration windows: those before their checks on half of them."""
        return len(set(self.arrays["at"].tolist()))


class Exit(Heads):
    """The head at mid, and what it is compared with.

    - ``full_right``, ``full_confidence``, ``full_nll (W, P)``: of the whole model
    - ``exits (E)``; ``naive (E, W, P)``: 1 where the model's own norm and head agree, put on the output of each exit
    - ``bigram (H, W, P)``: 1 where a table of the model's most frequent top-1 token after each token agrees; the second is of half the text
    - ``active (B)``: parameters that a token uses in each block; ``head``: those of norm and head
    - ``pieces``, ``said``: the text of each token of the windows (W·T of them), and of the full model's top-1 token at each position (W·P)
    """

    SHAPES: ClassVar[Mapping[str, Shape]] = {
        **Heads.SHAPES,
        **dict.fromkeys(("full_right", "full_confidence", "full_nll"), ("W", "P")),
        "bigram": ("H", "W", "P"),
        "exits": ("E",),
        "naive": ("E", "W", "P"),
        "active": ("B",),
        "head": (),
        "pieces": ("bytes of pieces",),
        "said": ("bytes of said",),
    }

    def texts(self, name: str) -> list[list[str]]:
        """Return ``pieces`` or ``said`` by window."""
        found: list[str] = json.loads(decode_names(self.arrays[name])[0])
        windows = len(self.arrays["counted"])
        each = len(found) // windows
        return [found[w * each : (w + 1) * each] for w in range(windows)]


class Adapted(Heads):
    """One head at mid, trained together with a LoRA in the blocks; ``agreed`` is with the model as it was, without the LoRA.

    ``train`` and ``trials`` are of the joint loss: the adapted model's own plus a share of the head's.

    - ``own_agreed (W, P)``: 1 where the head's top-1 token is the adapted model's; ``final_agreed``: where the adapted model's is the full
      model's; ``final_nll``: of the next token, by the adapted model
    - ``rank``: of each adapter; ``adapters``: layers that have one; ``unadapted``: weight matrices of blocks that have none, routers' and
      experts' mostly; ``adapter_parameters``: of all adapters
    """

    SHAPES: ClassVar[Mapping[str, Shape]] = {
        **Heads.SHAPES,
        **dict.fromkeys(("own_agreed", "final_agreed", "final_nll"), ("W", "P")),
        **dict.fromkeys(("rank", "adapters", "unadapted", "adapter_parameters"), ()),
    }


def share(marks: Array, counted: Array) -> float:
    """Return the share of counted positions that are marked; NaN where none counts."""
    total = counted.sum()
    return float((marks * counted).sum() / total) if total > 0 else float("nan")


def agreement(marks: Array, counted: Array, half: float | None = None) -> Figure:
    """Return the share of counted positions that are marked, both ``(W, P)``, with a replicate for each window left out.

    ``half``: the same of a head trained on half the calibration windows. NaN, a replicate too, where no position is left that counts.
    """
    return _mean_over(marks, counted, half)


def difference(first: Array, second: Array, counted: Array, half: float | None = None) -> Figure:
    """Return the mean of first − second over counted positions, all ``(W, P)``, paired; replicates and ``half`` as in :func:`agreement`."""
    return _mean_over(first - second, counted, half)


def _mean_over(values: Array, counted: Array, half: float | None) -> Figure:
    """Σ values / number of positions: windows weigh by the positions that count, and one with none changes nothing when left out."""
    marked = counted > 0
    sums, sizes = np.where(marked, values, 0).sum(1), marked.sum(1)
    left = sizes.sum() - sizes
    score = np.where(left > 0, (sums.sum() - sums) / np.maximum(left, 1), np.nan)
    value = float(sums.sum() / sizes.sum()) if sizes.sum() else np.nan
    return Figure(value, None, score, half)
