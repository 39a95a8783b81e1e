"""Streams kept from one sweep, so that interventions start from them and fits need no second forward pass.

A fixed number of boundaries is kept whatever the depth of the model: those a claim names, and the final one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from harness.anatomy import Anatomy
from harness.layouts import boundaries
from harness.linearity import EVALUATION, contiguous_groups
from harness.maps import Fitted
from harness.measurement import INTERVENTION, PAPER, STRICT
from harness.moments import Moments
from harness.protocol import Protocol
from harness.spectra_sweep import SpectraVisitor
from harness.statistics import Array
from harness.sweep import Progress, Visitor, moment_device, sweep
from harness.typical import typical
from harness.windows import Ids

DEPENDS = ("typical_factor", "variance", "replacement")
"""The fields of the protocol that say which boundaries are kept, and which tokens are typical there."""
EASY = ("exits", "late")
"""Of claim 5's, those that say where else typical tokens are marked."""


@dataclass
class Streams:
    """Residual streams of the clean run: ``at[block][split]`` is h_{block+1} ``(windows, tokens, d)`` in the model's own type.

    ``at[−1]`` holds the embeddings h_0. ``marked[block][split]``: typical tokens at the block, ``(windows, tokens) bool``. ``spectra``:
    what was measured in the same sweep. ``fitted``: maps that were fitted to them, by rung, block and rule, so that measurements share
    them.
    """

    ids: dict[str, Ids]
    at: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    marked: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    spectra: dict[str, Array] | None = None
    fitted: dict[tuple[object, ...], Fitted] = field(default_factory=dict)

    @property
    def last(self) -> int:
        """The last block: ``at[last]`` holds the final streams h_B."""
        return max(self.at)

    def name_interventions(self) -> None:
        """Have the windows of interventions by their name too where they are those for evaluation."""
        for kept in (self.ids, *self.at.values(), *self.marked.values()):
            if INTERVENTION not in kept:  # type: ignore[operator]
                kept[INTERVENTION] = kept[EVALUATION]  # type: ignore[index]

    def typical_at(self, split: str, *blocks: int) -> Tensor:
        """Mark the tokens that are typical at all of these blocks: ``(windows, tokens) bool``."""
        return torch.stack([self.marked[block][split] for block in blocks]).all(0)


class Keeper:
    """Visitor that keeps the outputs of ``blocks``, and which tokens are typical there and at ``marked``.

    It cannot be resumed: the sweep that keeps streams takes seconds, and what they are for takes minutes.
    """

    def __init__(self, streams: Streams, blocks: Sequence[int], factor: float, marked: Sequence[int] = ()) -> None:
        self._streams, self._factor, self._block = streams, factor, 0
        self._wanted, self._marked = set(blocks), {*blocks, *marked}

    def see(self, split: str, first: int, before: Tensor, after: Tensor) -> None:
        """Copy a batch's stream when its block is wanted."""
        if self._block == 0 and -1 in self._wanted:
            self._keep(-1, split, first, before)
        if self._block in self._wanted:
            self._keep(self._block, split, first, after)
        if self._block in self._marked:
            marks = self._streams.marked.setdefault(self._block, {})
            if split not in marks:
                marks[split] = torch.empty((len(self._streams.ids[split]), after.shape[1]), dtype=torch.bool, device=after.device)
            marks[split][first : first + len(after)] = typical(before, after, self._factor)

    def _keep(self, block: int, split: str, first: int, stream: Tensor) -> None:
        kept = self._streams.at.setdefault(block, {})
        if split not in kept:
            kept[split] = stream.new_empty((len(self._streams.ids[split]), *stream.shape[1:]))
        kept[split][first : first + len(stream)] = stream

    def end_split(self, split: str) -> None:
        """Nothing to do."""

    def end_block(self, block: int) -> None:
        """Go on to the next block."""
        self._block = block + 1


class Keeping:
    """Streams in the making: ``visitors`` for a sweep over a layout's windows, and what it has kept once it has ended.

    Kept are :func:`harness.layouts.boundaries`. ``spectra`` watches the same sweep.
    """

    def __init__(self, anatomy: Anatomy, ids: dict[str, Ids], protocol: Protocol, spectra: SpectraVisitor | None) -> None:
        blocks, self._spectra = len(anatomy.blocks), spectra
        self._streams, wanted = Streams(dict(ids)), boundaries(STRICT if INTERVENTION in ids else PAPER, protocol, blocks)
        keeper = Keeper(self._streams, wanted, protocol.typical_factor, protocol.easy.looked_at(blocks))
        self.visitors: list[Visitor] = [keeper, *([spectra] if spectra else [])]

    def kept(self) -> Streams:
        """Return what was kept."""
        self._streams.name_interventions()
        self._streams.spectra = self._spectra.result() if self._spectra else None
        return self._streams


def keep_some(
    anatomy: Anatomy,
    ids: dict[str, Ids],
    blocks: Sequence[int],
    factor: float,
    device: torch.device,
    progress: Progress,
    marked: Sequence[int] = (),
) -> Streams:
    """Sweep once and keep the outputs of some blocks, and no more; ``marked``: blocks at which typical tokens are marked too."""
    streams = Streams(dict(ids))
    sweep(anatomy, ids, [Keeper(streams, blocks, factor, marked)], device, progress)
    return streams


def final_streams(anatomy: Anatomy, ids: Ids, device: torch.device) -> Tensor:
    """Return h_B of some windows ``(windows, tokens)``, and keep nothing else: ``(windows, tokens, d)``."""
    last = len(anatomy.blocks) - 1
    return keep_some(anatomy, {EVALUATION: ids}, [last], float("inf"), device, lambda done, total: None).at[last][EVALUATION]


def grouped(
    x: Tensor, y: Tensor, marked: Tensor | None, groups: int, difference: bool = False, device: torch.device | None = None
) -> Moments:
    """Moments of two streams ``(windows, tokens, d)`` over the marked tokens, by contiguous group of windows.

    ``difference``: of x and y − x, taken in float64: in float32 it would lose what a block adds to a massive activation. ``device``: where
    they are accumulated, beside the streams when None.
    """
    device = device or moment_device(x.device)
    moments = Moments(groups, x.shape[-1], y.shape[-1], device)
    for w, group in enumerate(contiguous_groups(len(x), groups)):
        rows = slice(None) if marked is None else marked[w]
        first, second = x[w][rows].to(device), y[w][rows].to(device)
        moments.add(group, first, second.double() - first.double() if difference else second)
    return moments
