"""Branches: from a stream that is at hand, intervene and run only the blocks above.

Nothing upstream of the intervention runs again, and variants share batches of (variant, window) rows, whichever variants they belong
to. All rows of a group pass a block before any passes the next: a block that has to be brought to the device comes once for the group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from fixtures.naming import printable
from harness.anatomy import Anatomy, Call
from harness.errors import MeasurementError
from harness.interventions import Intervention, check_block
from harness.sweep import check_finite
from harness.windows import Ids

Variant = tuple[Intervention, ...]
"""Interventions applied together."""

BRANCH = "branch"
"""What runs of blocks on changed streams are called, where the number of rows run together is kept."""
GROUP = 256
"""Rows whose final streams are held together, so that a group of variants shares the clean run's distributions."""


@torch.inference_mode()
def branch(
    anatomy: Anatomy,
    clean: Tensor,
    block: int,
    ids: Ids,
    variants: Sequence[Variant],
    windows: Sequence[int] | None = None,
    one_each: bool = False,
) -> Iterator[tuple[int, Tensor]]:
    """Run variants from the output of a block; yield (index of the first variant, final streams) for groups of variants, in order.

    ``clean (windows, tokens, d)``: h_{block+1} of the clean run on ``ids (windows, tokens)``, for ``block`` −1 the embeddings; no
    intervention may start before it. Blocks that an intervention replaces are not run for its variant. ``windows``: which of them are run,
    all when None; with ``one_each`` the i-th variant on the i-th of them alone. Final streams are ``(variants, windows, tokens, d)``.

    Raises ValueError for an intervention that starts before the stream or inside a run of replaced blocks, MeasurementError for a stream
    that stops being finite.
    """
    chosen = list(range(len(clean))) if windows is None else list(windows)
    if not chosen:
        raise ValueError("no windows to run")
    for variant in variants:
        _check(variant, block, len(anatomy.blocks))
    if one_each and len(chosen) != len(variants):
        raise ValueError(f"{len(chosen)} windows for {len(variants)} variants of one window each")
    together = GROUP if one_each else max(1, GROUP // len(chosen))
    for first in range(0, len(variants), together):
        group = variants[first : first + together]
        rows = [(v, w) for v in range(len(group)) for w in (chosen[first + v :][:1] if one_each else chosen)]
        final = _run(anatomy, clean, block, ids, group, rows)
        yield first, final.reshape(len(group), -1, *final.shape[1:])


@torch.inference_mode()
def run_block(anatomy: Anatomy, block: int, stream: Tensor, ids: Ids) -> Tensor:
    """Run one block on a stream ``(windows, tokens, d)`` that may differ from the clean one; returns its output."""
    after = torch.empty_like(stream)

    def run(rows: slice) -> Tensor:
        calls = anatomy.enter(torch.from_numpy(ids[rows]).to(stream.device))[1]
        return _step(anatomy, block, stream[rows], calls[block])

    for rows, done in anatomy.batching.each(BRANCH, len(stream), run):
        after[rows] = done
    check_finite(after, f"block {block} on a changed stream")
    return after


def _check(variant: Variant, block: int, blocks: int) -> None:
    """Refuse what a branch cannot do, or would leave undone."""
    for intervention in variant:
        check_block(intervention.block, blocks)
        if intervention.reads < block:
            raise ValueError(f"the stream after block {block} is too late for an intervention that starts after block {intervention.reads}")
        inside = [other.block for other in variant if intervention.reads < other.reads < intervention.block]
        if inside:
            raise ValueError(f"an intervention at block {inside[0]} starts inside the blocks that another one replaces")


def _run(anatomy: Anatomy, clean: Tensor, block: int, ids: Ids, variants: Sequence[Variant], rows: Sequence[tuple[int, int]]) -> Tensor:
    """Run a group of (variant, window) rows to the end, block by block."""
    final = clean[[w for _, w in rows]]
    calls: dict[tuple[int, ...], list[Call]] = {}

    def past(b: int, batch: slice) -> Tensor:
        """Return a batch's stream past block b, and what starts there."""
        mine, stream = rows[batch], final[batch]
        running = [i for i, (v, _) in enumerate(mine) if b > block and not _replaced(variants[v], b)]
        if running:
            part = tuple(mine[i][1] for i in running)
            if part not in calls:
                # What a model gives its blocks may depend on the tokens; entering costs an embedding and no block.
                calls[part] = anatomy.enter(torch.from_numpy(ids[list(part)]).to(stream.device))[1]
            whole = len(running) == len(mine)
            after = _step(anatomy, b, stream if whole else stream[running], calls[part][b])
            stream = after if whole else stream.index_copy(0, torch.tensor(running, device=stream.device), after)
        return _intervene(stream, b, variants, mine)

    for b in range(block, len(anatomy.blocks)):
        for batch, stream in anatomy.batching.each(BRANCH, len(rows), partial(past, b)):
            final[batch] = stream
    check_finite(final, f"an intervention after block {block}")
    return final


def _replaced(variant: Variant, block: int) -> bool:
    return any(intervention.reads < block <= intervention.block for intervention in variant)


def _step(anatomy: Anatomy, block: int, stream: Tensor, call: Call) -> Tensor:
    """Run one block."""
    try:
        return anatomy.run(block, stream, call)
    except (KeyError, IndexError, AttributeError, TypeError) as error:  # Blocks that read what lower blocks left behind.
        why = f"block {block} cannot run without the blocks below ({type(error).__name__}: {printable(error)})"
        raise MeasurementError(f"{why}; interventions need blocks that pass on nothing but the stream") from error


def _intervene(stream: Tensor, block: int, variants: Sequence[Variant], rows: Sequence[tuple[int, int]]) -> Tensor:
    """Apply to each variant's rows what starts at a block's output."""
    for v in sorted({v for v, _ in rows}):
        for intervention in variants[v]:
            if intervention.reads == block:
                mine = [i for i, row in enumerate(rows) if row[0] == v]
                changed = intervention.apply(stream[mine], [rows[i][1] for i in mine])
                stream = stream.index_copy(0, torch.tensor(mine, device=stream.device), changed)
    return stream
