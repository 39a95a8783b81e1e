"""The last block without what its MLP writes, and with the mean of it in its place (appendix)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from harness.anatomy import Anatomy
from harness.branches import run_block
from harness.destroyed_block import at_marked
from harness.errors import MeasurementError, SubjectError
from harness.language import Language
from harness.linearity import CALIBRATION
from harness.measurement import INTERVENTION, Work
from harness.statistics import Array
from harness.sweep import BATCH, moment_device
from harness.windows import Ids


def measure(work: Work) -> dict[str, Array]:
    """Measure ``paper`` and ``typical``, or ``strict``: arrays of :class:`harness.destroyed.LastMlp`.

    The mean is over all calibration tokens on ``paper``, over those that are typical at the block on other rungs, where the scored
    positions that are not keep their clean final stream.
    """
    anatomy, last, streams = work.anatomy, work.blocks - 1, work.streams()
    before, final, marked = streams.at[last - 1], streams.at[last][INTERVENTION], streams.marked[last]
    ids, found = streams.ids[INTERVENTION], dict[str, Array]()
    writer = _writer(anatomy, last, before[CALIBRATION], streams.ids[CALIBRATION])
    means = _means(anatomy, last, writer, before[CALIBRATION], streams.ids[CALIBRATION], marked[CALIBRATION], work.rungs)

    def without(value: Tensor) -> Tensor:
        with _written(writer, lambda out: value.to(out.device, out.dtype).expand_as(out).clone()):
            return run_block(anatomy, last, before[INTERVENTION], ids)

    language, skipped = Language(anatomy, final, ids), without(torch.zeros(anatomy.width))
    clean = language.nll_nats(final[None])[0]
    for rung, (mean, fitted) in means.items():
        marks = None if rung == "paper" else marked[INTERVENTION]
        variants = [at_marked(marks, changed, final) for changed in (skipped, without(mean))]
        nll, kl = language.costs_nats(torch.stack(variants))
        left_out = 0.0 if marks is None else float((~marks).double().mean())
        arrays = {"clean": clean, "skipped": nll[0], "mean": nll[1], "skipped_kl": kl[0], "mean_kl": kl[1]}
        arrays |= {"fitted": np.array(float(fitted)), "left_out": np.array(left_out)}
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


def _means(
    anatomy: Anatomy, block: int, writer: nn.Module, stream: Tensor, ids: Ids, marked: Tensor, rungs: tuple[str, ...]
) -> dict[str, tuple[Tensor, int]]:
    """Return the MLP's mean output ``(d) float64`` over the tokens that each rung takes, and their number."""
    device = moment_device(stream.device)
    sums = {rung: (torch.zeros(anatomy.width, dtype=torch.float64, device=device), 0) for rung in rungs}
    seen: list[Tensor] = []

    def keep(out: Tensor) -> Tensor:
        seen.append(out)
        return out

    for start in range(0, len(stream), BATCH):
        rows = slice(start, start + BATCH)
        with _written(writer, keep):
            run_block(anatomy, block, stream[rows], ids[rows])
        marks = marked[rows].flatten().to(device)
        written = seen.pop().reshape(len(marks), -1).to(device).double()  # Some flatten windows and tokens.
        for rung, (total, count) in sums.items():
            taken = written if rung == "paper" else written[marks]
            sums[rung] = total + taken.sum(0), count + len(taken)
    if not all(count for _, count in sums.values()):
        raise MeasurementError(f"block {block}: no calibration token is typical, so that its MLP has no mean output")
    return {rung: (total / count, count) for rung, (total, count) in sums.items()}


@contextlib.contextmanager
def _written(writer: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Have a module yield ``change(output)`` for as long as the context lasts; of a tuple its first entry."""

    def hook(module: nn.Module, args: object, out: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        return (change(out[0]), *out[1:]) if isinstance(out, tuple) else change(out)

    handle = writer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
