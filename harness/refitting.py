"""Replacing blocks one after another, each map fitted to the stream that the maps before it have shifted (claim 2).

It is what the paper calls sequential replacement. The target is what the *true* block adds to the shifted stream: a map is refitted to
its block, not to the clean run's next stream. λ and k are chosen anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.branches import run_block
from harness.kept_maps import fitted, marked_at
from harness.linearity import CALIBRATION, share
from harness.maps import LinearMap, sums_of_squares
from harness.measurement import INTERVENTION, Work
from harness.solving import names_the_block
from harness.streams import Streams, grouped
from harness.sweep import moment_device


@dataclass(frozen=True)
class Refitted:
    """One map a block, and its held-out R² on the shifted stream."""

    maps: list[LinearMap]
    r2: list[float]


@torch.inference_mode()
def refit_one_after_another(work: Work, streams: Streams, run: list[int], rung: str) -> Refitted:
    """Walk through a run of blocks on calibration and evaluation windows; on ``typical`` and ``strict`` atypical positions stay clean."""
    shifted = {split: streams.at[run[0] - 1][split] for split in (CALIBRATION, INTERVENTION)}
    marked = {split: marked_at(streams, rung, split, *run) for split in shifted}
    found, r2 = list[LinearMap](), list[float]()
    for block in run:
        after = {split: run_block(work.anatomy, block, h, streams.ids[split]) for split, h in shifted.items()}
        with names_the_block(block):
            moments = grouped(shifted[CALIBRATION], after[CALIBRATION], marked[CALIBRATION], work.protocol.groups, difference=True)
            one = fitted(moments, rung, work.protocol).whole
        found.append(one)
        x, y = (h[INTERVENTION].to(moment_device(work.subject.device)).double() for h in (shifted, after))
        error, energy = sums_of_squares(one, x, y - x, marked[INTERVENTION])
        r2.append(share(float(error.sum()), float(energy.sum())))
        shifted = {split: advanced(h, one, marked[split], streams.at[block][split]) for split, h in shifted.items()}
    return Refitted(found, r2)


def advanced(stream: Tensor, each: LinearMap, marked: Tensor | None, clean: Tensor) -> Tensor:
    """Return h + m(h) at the marked tokens and the clean next stream elsewhere, in the stream's own type."""
    x = stream.to(moment_device(stream.device)).double()
    after = (x + each(x)).to(stream.dtype).to(stream.device)
    return after if marked is None else torch.where(marked[..., None], after, clean)
