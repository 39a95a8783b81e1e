"""A LoRA trained together with an exit head at mid (claim 5): does the model say more, earlier, when its blocks may change for it?

arXiv:2604.20682 says rank 64, loss = final + 0.5 · early, 500 steps on the calibration samples. It names neither the layers, nor α, nor
the learning rate, nor whether its head goes on training. Ours: every dense linear layer of every block, α = r; a fresh head from the
model's own is trained jointly, by the recipe of the head alone (steps, schedule, order of windows, rates tried), so that the two differ in
the LoRA; both losses are cross-entropies of the text over the same positions. The final head is frozen. Gradients of the blocks are those
of one step's windows, one on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fixtures.naming import printable
from harness.adapters import AdaptedBlocks
from harness.arithmetic import ordered_attention
from harness.device_memory import out_of_memory
from harness.errors import MeasurementError
from harness.exit_head import kept
from harness.head_course import Course, Plan
from harness.head_training import ExitHead, Lesson
from harness.next_token import Said, said
from harness.statistics import Array
from harness.streams import Streams
from harness.training import Training
from harness.windows import Ids
from harness.work import Work


@torch.inference_mode(False)
def measure(work: Work) -> dict[str, Array]:
    """Train head and LoRA, and read both exits of the adapted model: arrays of :class:`harness.exits.Adapted`, by rung."""
    course = _Course(work, kept(work, []), work.protocol.easy.exits_of(work.blocks)[0])
    return course.run().findings(course.beside())


class Adaptation(nn.Module):
    """What is trained: a head, and adapters of the blocks."""

    def __init__(self, head: ExitHead, adapters: nn.ModuleList) -> None:
        super().__init__()
        self.head, self.adapters = head, adapters


@dataclass(frozen=True, eq=False)
class JointLesson:
    """What both are trained on: windows ``(windows, tokens)``, and which positions count, all when None.

    ``at``: the block whose output the head reads; ``final``: the model's own head, frozen; ``early``: weight of the head's loss.
    """

    blocks: AdaptedBlocks
    final: ExitHead
    at: int
    early: float
    ids: Ids
    marked: Tensor | None

    def part(self, windows: Sequence[int]) -> JointLesson:
        """Return the lesson of some windows."""
        rows = list(windows)
        marked = None if self.marked is None else self.marked[rows]
        return JointLesson(self.blocks, self.final, self.at, self.early, self.ids[rows], marked)

    @property
    def tokens(self) -> int:
        """How many positions count."""
        return self.ids[:, 1:].size if self.marked is None else int(self.marked[:, :-1].sum())

    def loss(self, pupil: Adaptation) -> Tensor:
        """Return the cross-entropy of the adapted model plus ``early`` times the head's, means over counted positions in nats."""
        early, final = self.blocks.streams(pupil.adapters, self.ids, self.at)
        return Lesson(final, self.ids, self.marked).loss(self.final) + self.early * Lesson(early, self.ids, self.marked).loss(pupil.head)


class LoraTraining(Training[Adaptation]):
    """Trains head and LoRA together, as a head is trained alone."""

    def step(self) -> float | None:
        """Take one step, as :meth:`harness.training.Training.step`; MeasurementError too where the blocks cannot be differentiated.

        That shows in the first step of all; what fails later is a fault of the machine, and what is kept of the training stays.
        """
        try:
            with ordered_attention(self.device):
                return super().step()
        except RuntimeError as error:  # Of autograd, or of kernels that have no way back.
            if self.done or out_of_memory(error):
                raise
            raise MeasurementError(f"the blocks cannot be trained through ({type(error).__name__}: {printable(error)})") from error


class _Course(Course):
    """The course of one head and its LoRA."""

    def __init__(self, work: Work, streams: Streams, at: int) -> None:
        super().__init__(work, streams, [Plan(at)])
        self._blocks = AdaptedBlocks(work.anatomy, self._learned[:1])
        self._rank = self._easy.lora_rank_of(work.width)
        self._device = work.subject.device
        self._own = ExitHead(work.anatomy, self._device).requires_grad_(False)
        self._last: tuple[Said, Said] | None = None

    def training(self, plan: Plan) -> Training[Any]:
        """Return the training, before its first step."""
        seed, anatomy = self._work.protocol.seed, self._work.anatomy
        lesson = JointLesson(self._blocks, self._own, plan.at, self._easy.lora_early, self._learned, self.learned_marks)

        def fresh() -> Adaptation:
            return Adaptation(ExitHead(anatomy, self._device), self._blocks.adapters(self._rank, seed))

        return LoraTraining("a LoRA with its exit head", fresh, lesson, self._easy, seed, self._device)

    def hear(self, plan: Plan, training: Training[Any], windows: list[int]) -> Said:
        """Return what the head says of the adapted stream; what the adapted model says is at hand then too."""
        ids, adapters = self._ids[windows], training.pupil.adapters
        with torch.inference_mode():
            run = self._work.anatomy.batching.each("adapted", len(ids), lambda rows: self._blocks.streams(adapters, ids[rows], plan.at))
            parts = [streams for _, streams in run]
        early, final = (torch.cat(streams) for streams in zip(*parts, strict=True))
        heard = said(training.pupil.head, early, ids)
        self._last = heard, said(self._read, final, ids)
        return heard

    def beside(self) -> dict[str, Array]:
        """Return what :class:`harness.exits.Adapted` holds beyond heads, once all is trained: all scored windows were heard last."""
        assert self._last is not None
        early, final = self._last
        sizes = [sum(layer.shape) for layer in self._blocks.layers]
        return {
            "own_agreed": (early.top == final.top).astype(np.float64),
            "final_agreed": (final.top == self._full.top).astype(np.float64),
            "final_nll": final.nll,
            "rank": np.array(float(self._rank)),
            "adapters": np.array(float(len(sizes))),
            "unadapted": np.array(float(self._blocks.left)),
            "adapter_parameters": np.array(float(self._rank * sum(sizes))),
        }
