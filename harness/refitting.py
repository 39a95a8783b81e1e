"""Replacing blocks one after another, each map fitted to the stream that the maps before it have shifted (claim 2).

It is what the paper calls sequential replacement. The target is what the *true* block adds to the shifted stream: a map is refitted to
its block, not to the clean run's next stream. λ and k are chosen anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.batching import BATCH
from harness.branches import run_block
from harness.kept_maps import fitted_to, marked_at
from harness.linearity import CALIBRATION, share
from harness.maps import LinearMap, sums_of_squares
from harness.measurement import INTERVENTION
from harness.solving import names_the_block
from harness.streams import Streams
from harness.sweep import moment_device
from harness.work import Work


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
            one = fitted_to(shifted[CALIBRATION], after[CALIBRATION], marked[CALIBRATION], rung, work.protocol).whole
        found.append(one)
        error, energy = scored(one, shifted[INTERVENTION], after[INTERVENTION], marked[INTERVENTION])
        r2.append(share(float(error.sum()), float(energy.sum())))
        shifted = {split: advanced(h, one, marked[split], streams.at[block][split]) for split, h in shifted.items()}
    return Refitted(found, r2)


def advanced(stream: Tensor, each: LinearMap, marked: Tensor | None, clean: Tensor) -> Tensor:
    """Return h + m(h) at the marked tokens and the clean next stream elsewhere, in the stream's own type."""
    after = torch.empty_like(stream)
    for start in range(0, len(stream), BATCH):  # Some windows at a time are widened to float64.
        rows = slice(start, start + BATCH)
        x = stream[rows].to(moment_device(stream.device)).double()
        moved = (x + each(x)).to(stream.dtype).to(stream.device)
        after[rows] = moved if marked is None else torch.where(marked[rows][..., None], moved, clean[rows])
    return after


def scored(each: LinearMap, x: Tensor, after: Tensor, marked: Tensor | None) -> tuple[Tensor, Tensor]:
    """Sums of squares of a map against what a block adds, after − x, by window (:func:`harness.maps.sums_of_squares`)."""
    device, parts = moment_device(x.device), []
    for start in range(0, len(x), BATCH):
        rows = slice(start, start + BATCH)
        before, behind = (stream[rows].to(device).double() for stream in (x, after))
        parts.append(sums_of_squares(each, before, behind - before, None if marked is None else marked[rows]))
    error, energy = (torch.cat(part) for part in zip(*parts, strict=True))
    return error, energy
