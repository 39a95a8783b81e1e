"""The last block without what its MLP writes, and with the mean of it in its place (appendix)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from harness.anatomy import Anatomy
from harness.branches import run_block
from harness.destroyed_block import at_marked
from harness.errors import MeasurementError, SubjectError
from harness.language import Language
from harness.linearity import CALIBRATION
from harness.measurement import INTERVENTION
from harness.statistics import Array
from harness.sweep import moment_device
from harness.windows import Ids
from harness.work import Work


def measure(work: Work) -> dict[str, Array]:
    """Measure ``paper`` and ``typical``, or ``strict``: arrays of :class:`harness.destroyed.LastMlp`.

    What the MLP writes is what the block's output lacks when the MLP yields zeros, after any norm that follows it. Its mean is over all
    calibration tokens on ``paper``, over those that are typical at the block on other rungs, where the scored positions that are not keep
    their clean final stream.
    """
    anatomy, last, streams = work.anatomy, work.blocks - 1, work.streams()
    before, after, marked, ids = streams.at[last - 1], streams.at[last], streams.marked[last], streams.ids
    writer = _writer(anatomy, last, before[CALIBRATION], ids[CALIBRATION])

    def without(split: str) -> Tensor:
        with _silent(writer):
            return run_block(anatomy, last, before[split], ids[split])

    device, lacking = moment_device(before[CALIBRATION].device), without(CALIBRATION)
    final, skipped = after[INTERVENTION], without(INTERVENTION)
    language, found = Language(anatomy, final, ids[INTERVENTION]), dict[str, Array]()
    clean = language.nll_nats(final[None])[0]
    for rung in work.rungs:
        marks = None if rung == "paper" else marked[INTERVENTION]
        total, count = torch.zeros(anatomy.width, dtype=torch.float64, device=device), 0
        for w, rows in enumerate(marked[CALIBRATION]):
            taken = slice(None) if rung == "paper" else rows
            written = after[CALIBRATION][w][taken].to(device).double() - lacking[w][taken].to(device).double()
            total, count = total + written.sum(0), count + len(written)
        if not count:
            raise MeasurementError(f"block {last}: no calibration token is typical, so that its MLP has no mean output")
        mean = (skipped.to(device).double() + total / count).to(final.dtype).to(final.device)
        nll, kl = language.costs_nats(torch.stack([at_marked(marks, changed, final) for changed in (skipped, mean)]))
        left_out = 0.0 if marks is None else float((~marks).double().mean())
        arrays = {"clean": clean, "skipped": nll[0], "mean": nll[1], "skipped_kl": kl[0], "mean_kl": kl[1]}
        arrays |= {"fitted": np.array(float(count)), "left_out": np.array(left_out)}
        found |= {f"{rung}/{name}": array for name, array in arrays.items()}
    return found


def _writer(anatomy: Anatomy, block: int, stream: Tensor, ids: Ids) -> nn.Module:
    """Return the module whose output is the MLP's: the MLP, or where it is several bare matrices the one that runs last.

    Raises MeasurementError where its output cannot be told.
    """
    try:
        modules, ran = anatomy.mlp(block), list[tuple[nn.Module, int]]()
    except SubjectError as error:
        raise MeasurementError(str(error)) from error
    whole = len(modules) == 1 or not any(list(module.children()) for module in modules)

    def note(module: nn.Module, args: object, out: object) -> None:
        written = out[0] if isinstance(out, tuple) else out
        ran.append((module, written.shape[-1] if isinstance(written, Tensor) else 0))

    with contextlib.ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_hook(note).remove)
        run_block(anatomy, block, stream[:1], ids[:1])
    if not whole or not ran or ran[-1][1] != anatomy.width or [module for module, _ in ran].count(ran[-1][0]) > 1:
        names = ", ".join(name for name, child in anatomy.blocks[block].named_children() if any(child is module for module in modules))
        raise MeasurementError(f"block {block}: what its MLP ({names}) writes is the output of no one module")
    return ran[-1][0]


@contextlib.contextmanager
def _silent(writer: nn.Module) -> Iterator[None]:
    """Have a module yield zeros for as long as the context lasts; of a tuple its first entry."""

    def hook(module: nn.Module, args: object, out: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        return (torch.zeros_like(out[0]), *out[1:]) if isinstance(out, tuple) else torch.zeros_like(out)

    handle = writer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
