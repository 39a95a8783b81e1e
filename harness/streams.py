"""Streams kept from one sweep, so that interventions start from them and fits need no second forward pass.

A fixed number of boundaries is kept whatever the depth of the model: those a claim names, and the final one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from harness.anatomy import Anatomy
from harness.linearity import EVALUATION, contiguous_groups
from harness.measurement import INTERVENTION
from harness.moments import Moments
from harness.protocol import Protocol
from harness.spectra_sweep import SpectraVisitor
from harness.statistics import Array
from harness.sweep import Progress, Visitor, moment_device, sweep
from harness.typical import typical
from harness.windows import Ids


@dataclass
class Streams:
    """Residual streams of the clean run: ``at[block][split]`` is h_{block+1} ``(windows, tokens, d)`` in the model's own type.

    ``marked[block][split]``: typical tokens at the block, ``(windows, tokens) bool``. ``spectra``: what was measured in the same sweep.
    """

    ids: dict[str, Ids]
    at: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    marked: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    spectra: dict[str, Array] | None = None

    @property
    def last(self) -> int:
        """The last block: ``at[last]`` holds the final streams h_B."""
        return max(self.at)

    def typical_at(self, split: str, *blocks: int) -> Tensor:
        """Mark the tokens that are typical at all of these blocks: ``(windows, tokens) bool``."""
        return torch.stack([self.marked[block][split] for block in blocks]).all(0)


class Keeper:
    """Visitor that keeps the outputs of ``blocks``, and which tokens are typical there.

    It cannot be resumed: the sweep that keeps streams takes seconds, and what they are for takes minutes.
    """

    def __init__(self, streams: Streams, blocks: Sequence[int], factor: float) -> None:
        self._streams, self._factor, self._block = streams, factor, 0
        self._wanted = set(blocks)

    def see(self, split: str, first: int, before: Tensor, after: Tensor) -> None:
        """Copy a batch's stream when its block is wanted."""
        if self._block not in self._wanted:
            return
        kept, marks = self._streams.at.setdefault(self._block, {}), self._streams.marked.setdefault(self._block, {})
        if split not in kept:
            windows = len(self._streams.ids[split])
            kept[split] = after.new_empty((windows, *after.shape[1:]))
            marks[split] = torch.empty((windows, after.shape[1]), dtype=torch.bool, device=after.device)
        kept[split][first : first + len(after)] = after
        marks[split][first : first + len(after)] = typical(before, after, self._factor)

    def end_split(self, split: str) -> None:
        """Nothing to do."""

    def end_block(self, block: int) -> None:
        """Go on to the next block."""
        self._block = block + 1


def keep(
    anatomy: Anatomy,
    ids: dict[str, Ids],
    protocol: Protocol,
    spectra: SpectraVisitor | None,
    device: torch.device,
    progress: Progress,
) -> Streams:
    """Sweep once and keep what claim 1 starts from: mid, the last boundary and, without windows of their own for interventions, the range.

    ``spectra`` watches the same sweep.
    """
    blocks, v = len(anatomy.blocks), protocol.variance
    own = INTERVENTION in ids
    streams = Streams(dict(ids))
    wanted = {v.mid(blocks), blocks - 1} | (set() if own else set(v.range(blocks)))
    visitors: list[Visitor] = [Keeper(streams, sorted(wanted), protocol.typical_factor)]
    if spectra:
        visitors.append(spectra)
    sweep(anatomy, ids, visitors, device, progress)
    if not own:
        for kept in (streams.ids, *streams.at.values(), *streams.marked.values()):
            kept[INTERVENTION] = kept[EVALUATION]  # type: ignore[index]
    streams.spectra = spectra.result() if spectra else None
    return streams


def grouped(x: Tensor, y: Tensor, marked: Tensor | None, groups: int) -> Moments:
    """Moments of two streams ``(windows, tokens, d)`` over the marked tokens, by contiguous group of windows."""
    device = moment_device(x.device)
    moments = Moments(groups, x.shape[-1], y.shape[-1], device)
    for w, group in enumerate(contiguous_groups(len(x), groups)):
        rows = slice(None) if marked is None else marked[w]
        moments.add(group, x[w][rows].to(device), y[w][rows].to(device))
    return moments
