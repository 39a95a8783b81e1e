"""The sweep: one walk over the blocks in order, holding one residual stream.

Block b runs on all windows, a batch at a time (:mod:`harness.batching`); every visitor sees (h_b, h_{b+1}) of each batch; the batch's
h_{b+1} then takes the place of its h_b. So one pass serves all blocks and all visitors, nothing upstream of a block runs twice, and memory
does not grow with the number of blocks. At a block's end stream and findings can be kept, so that an interrupted sweep goes on there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from harness.anatomy import Anatomy, Call
from harness.batching import described
from harness.device_memory import MOMENTS_SHARE, free_bytes, out_of_memory
from harness.errors import MeasurementError, TooManyTogetherError
from harness.windows import Ids

SWEEP = "sweep"
"""What runs of blocks for visitors are called, where the number of windows run together is kept."""

Progress = Callable[[int, int], None]
"""Called with (blocks done, blocks in all)."""

State = dict[str, np.ndarray[Any, Any]]


class Visitor(Protocol):
    """Something that watches the stream pass. Splits come in the order given to :func:`sweep`, at every block."""

    def see(self, split: str, first: int, before: Tensor, after: Tensor) -> None:
        """Take a batch at the current block: ``before`` h_b and ``after`` h_{b+1}, ``(windows, tokens, d)``.

        ``first`` is the index of the batch's first window in its split. The tensors are reused: keep no reference.
        """

    def end_split(self, split: str) -> None:
        """All windows of a split have passed the current block."""

    def end_block(self, block: int) -> None:
        """All splits have passed this block."""


@runtime_checkable
class Resumable(Visitor, Protocol):
    """A visitor whose findings can be kept when a sweep is interrupted."""

    def state(self) -> State:
        """Return what has been found up to a block's end, as named arrays."""

    def restore(self, state: State, blocks: int) -> None:
        """Take up what :meth:`state` returned after so many blocks, exactly; ValueError when it is not that. Nothing, after 0 blocks."""


class Bookmark(Protocol):
    """Where an unfinished sweep is kept."""

    def load(self, take_up: Callable[[int, State], None]) -> int:
        """Hand over the block to go on at and the state before it; return that block, or 0 when there is none.

        ``take_up`` raises ValueError or KeyError, having changed nothing, for a state that does not fit.
        """

    def save(self, block: int, state: Callable[[], State]) -> None:
        """Offer the state before ``block``; it is asked for only when it is to be kept."""


@torch.inference_mode()
def sweep(
    anatomy: Anatomy,
    windows: Mapping[str, Ids],
    visitors: Sequence[Visitor],
    device: torch.device | str = "cpu",
    progress: Progress = lambda done, total: None,
    bookmark: Bookmark | None = None,
    passengers: Sequence[Visitor] = (),
    kind: str = SWEEP,
) -> int:
    """Walk all blocks over ``windows``, split name → ``(windows, tokens) int64``; return the block it began at, 0 but for one taken up.

    With a ``bookmark`` every visitor must be Resumable, else TypeError. ``passengers``: visitors that need not be, and that see nothing of
    a sweep that is taken up. ``kind``: what it is called where the number of windows run together is kept. Raises MeasurementError, naming
    the block, when the stream stops being finite. Memory that runs out in a block's run is a matter of that batch; in a visitor it raises
    TooManyTogetherError, or MemoryShortageError (:mod:`harness.batching`).
    """
    resumable = [visitor for visitor in visitors if isinstance(visitor, Resumable)]
    if bookmark and len(resumable) < len(visitors):
        raise TypeError("a visitor that cannot be resumed takes no bookmark")
    streams: dict[str, Tensor] = {}
    calls: dict[tuple[str, int, int], list[Call]] = {}

    def enter(split: str, rows: slice) -> Tensor:
        ids = torch.from_numpy(windows[split][rows]).to(device)
        stream, calls[split, rows.start, rows.stop] = anatomy.enter(ids)
        return stream

    def run(block: int, split: str, rows: slice) -> Tensor:
        if (split, rows.start, rows.stop) not in calls:  # Fewer run together than were entered together.
            enter(split, rows)
        return anatomy.run(block, streams[split][rows], calls[split, rows.start, rows.stop][block])

    for split, ids in windows.items():
        for rows, stream in anatomy.batching.each(kind, len(ids), partial(enter, split)):
            check_finite(stream, "the embedding")
            if split not in streams:
                streams[split] = stream.new_empty((len(ids), *stream.shape[1:]))
            streams[split][rows] = stream
    total, first = len(anatomy.blocks), 0
    if bookmark:
        first = bookmark.load(lambda block, state: _take_up(block, total, state, streams, resumable))
    every = [*visitors, *(passengers if first == 0 else ())]
    for block in range(first, total):
        for split, ids in windows.items():
            for rows, after in anatomy.batching.each(kind, len(ids), partial(run, block, split)):
                check_finite(after, f"block {block}")
                with _all_or_nothing(anatomy, kind, len(after)):
                    for visitor in every:
                        visitor.see(split, rows.start, streams[split][rows], after)
                streams[split][rows] = after
            for visitor in every:
                visitor.end_split(split)
        for visitor in every:
            visitor.end_block(block)
        if bookmark and block + 1 < total:
            bookmark.save(block + 1, lambda: _put_down(streams, resumable))
        progress(block + 1, total)
    return first


@contextlib.contextmanager
def _all_or_nothing(anatomy: Anatomy, kind: str, windows: int) -> Iterator[None]:
    """Where memory runs out in here, have the measurement begin anew with fewer windows: a visitor may have added half of a batch."""
    try:
        yield
    except Exception as error:
        if not out_of_memory(error):
            raise
        anatomy.batching.halve(kind, windows, described(error))
        raise TooManyTogetherError(described(error)) from None


def moment_device(device: torch.device | str, need: int = 0) -> torch.device:
    """Where moments of ``need`` bytes are accumulated: beside the stream; on the host where they do not fit there, and for MPS.

    MPS has no float64. Where nothing is needed, what is free is not asked for.
    """
    asked = torch.device(device)
    free = free_bytes(asked) if need else None
    short = free is not None and need > MOMENTS_SHARE * free
    return torch.device("cpu") if short or asked.type == "mps" else asked


def _put_down(streams: dict[str, Tensor], visitors: Sequence[Resumable]) -> State:
    """Return streams, byte for byte in their own type, and what every visitor has found."""
    state: State = {f"stream/{split}": stream.cpu().view(torch.uint8).numpy() for split, stream in streams.items()}
    for i, visitor in enumerate(visitors):
        state |= {f"visitor{i}/{name}": array for name, array in visitor.state().items()}
    return state


def _take_up(block: int, total: int, state: State, streams: dict[str, Tensor], visitors: Sequence[Resumable]) -> None:
    """Put a kept state in the place of the embeddings', when all of it fits."""
    if not 0 < block < total:
        raise ValueError(f"block {block} of {total}")
    kept = {}
    for split, stream in streams.items():
        array = state.get(f"stream/{split}", np.empty(0))
        if array.dtype != np.uint8 or array.size != stream.numel() * stream.element_size():
            raise ValueError(f"stream {split}: {array.size} bytes of {array.dtype}")
        kept[split] = torch.from_numpy(array.reshape(-1).copy()).view(stream.dtype).view(stream.shape).to(stream.device)
    parts = [{n.removeprefix(f"visitor{i}/"): a for n, a in state.items() if n.startswith(f"visitor{i}/")} for i in range(len(visitors))]
    if len(state) != len(kept) + sum(len(part) for part in parts):
        raise ValueError("it holds more than streams and findings")
    try:
        for visitor, part in zip(visitors, parts, strict=True):
            visitor.restore(part, block)
    except (ValueError, KeyError):
        for visitor in visitors:  # One may have taken up its part before another one refused.
            visitor.restore({}, 0)
        raise
    streams.update(kept)


def check_finite(stream: Tensor, where: str) -> None:
    """Raise MeasurementError when a stream is not finite, saying where it comes from."""
    if not bool(torch.isfinite(stream).all()):
        raise MeasurementError(
            f"{where} yields NaN or infinity ({stream.dtype} weights: damaged, or out of this type's range; try --dtype float32)"
        )
