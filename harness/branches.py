"""Branches: from a stream that is at hand, intervene and run only the blocks above.

Nothing upstream of the intervention runs again, and variants share batches: a batch holds as many (variant, window) rows as the sweep's,
whichever variants they belong to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from fixtures.naming import printable
from harness.anatomy import Anatomy
from harness.errors import MeasurementError
from harness.interventions import Intervention, check_block
from harness.sweep import BATCH, check_finite
from harness.windows import Ids

Variant = tuple[Intervention, ...]
"""Interventions applied together."""

GROUP = 128
"""Rows whose final streams are held together, so that a group of variants shares the clean run's distributions."""


@torch.inference_mode()
def branch(
    anatomy: Anatomy, clean: Tensor, block: int, ids: Ids, variants: Sequence[Variant], windows: Sequence[int] | None = None
) -> Iterator[tuple[int, Tensor]]:
    """Run variants from the output of a block; yield (index of the first variant, final streams) for groups of variants, in order.

    ``clean (windows, tokens, d)``: h_{block+1} of the clean run on ``ids (windows, tokens)``; no intervention may lie before it.
    ``windows``: which of them are run, all when None. Final streams are ``(variants, windows, tokens, d)``. Raises ValueError for an
    intervention that lies before the stream, MeasurementError for a stream that stops being finite.
    """
    chosen = list(range(len(clean))) if windows is None else list(windows)
    if not chosen:
        raise ValueError("no windows to run")
    for variant in variants:
        for intervention in variant:
            check_block(intervention.block, len(anatomy.blocks))
        if any(intervention.block < block for intervention in variant):
            raise ValueError(f"the stream after block {block} is too late for an intervention at {min(i.block for i in variant)}")
    together = max(1, GROUP // len(chosen))
    for first in range(0, len(variants), together):
        group = variants[first : first + together]
        rows = [(v, w) for v in range(len(group)) for w in chosen]
        done = [_run(anatomy, clean, block, ids, group, rows[i : i + BATCH]) for i in range(0, len(rows), BATCH)]
        final = torch.cat(done)
        yield first, final.reshape(len(group), len(chosen), *final.shape[1:])


def _run(anatomy: Anatomy, clean: Tensor, block: int, ids: Ids, variants: Sequence[Variant], rows: Sequence[tuple[int, int]]) -> Tensor:
    """Run a batch of (variant, window) rows to the end."""
    windows = [w for _, w in rows]
    stream = clean[windows]
    # What a model gives its blocks may depend on the tokens; entering costs an embedding and no block.
    _, calls = anatomy.enter(torch.from_numpy(ids[windows]).to(stream.device))
    for b in range(block, len(anatomy.blocks)):
        if b > block:
            try:
                stream = anatomy.run(b, stream, calls[b])
            except (KeyError, IndexError, AttributeError, TypeError) as error:  # Blocks that read what lower blocks left behind.
                why = f"block {b} cannot run without the blocks below ({type(error).__name__}: {printable(error)})"
                raise MeasurementError(f"{why}; interventions need blocks that pass on nothing but the stream") from error
        stream = _intervene(stream, b, variants, rows)
    check_finite(stream, f"an intervention after block {block}")
    return stream


def _intervene(stream: Tensor, block: int, variants: Sequence[Variant], rows: Sequence[tuple[int, int]]) -> Tensor:
    """Apply to each variant's rows what it does at a block."""
    for v in sorted({v for v, _ in rows}):
        for intervention in variants[v]:
            if intervention.block == block:
                mine = [i for i, row in enumerate(rows) if row[0] == v]
                changed = intervention.apply(stream[mine], [rows[i][1] for i in mine])
                stream = stream.index_copy(0, torch.tensor(mine, device=stream.device), changed)
    return stream
