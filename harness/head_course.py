"""A course of training: heads one after another, how they do on the way, and what they say at the end, position by position.

The head of ``paper`` is trained on all tokens, and ``typical`` counts the same head's typical ones; on ``strict`` it is trained on tokens
that are typical at all exits and late blocks, and those count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from harness.errors import MeasurementError
from harness.exits import share
from harness.head_training import HeadTraining, Lesson
from harness.language import precise_logits
from harness.linearity import CALIBRATION, contiguous_groups
from harness.measurement import INTERVENTION
from harness.next_token import Said, said
from harness.statistics import Array
from harness.streams import Streams
from harness.sweep import State
from harness.training import Training, permutation
from harness.work import Work

_TOGETHER = 10  # steps between two offers to save
_OF_HEADS = ("agreed", "right", "confidence", "nll", "rate", "trials", "train", "held_nll", "held_agreed")


@dataclass(frozen=True)
class Plan:
    """A head to be trained: where it reads; to the model's distribution or the text; on half the windows, at the rate of its whole."""

    at: int
    distilled: bool = False
    half: bool = False


def checked(plans: list[Plan], strict: bool) -> list[Plan]:
    """Return plans, and after them, on ``strict``, the same on half the windows."""
    return [*plans, *(replace(plan, half=True) for plan in plans)] if strict else plans


class Course:
    """Trains heads one after another, and reads them on the scored windows; an interrupted course goes on where it was."""

    def __init__(self, work: Work, streams: Streams, plans: list[Plan]) -> None:
        self._work, self._plans, self._easy = work, plans, work.protocol.easy
        self._read = precise_logits(work.anatomy)
        self._ids, self._learned = streams.ids[INTERVENTION], streams.ids[CALIBRATION]
        self._streams = streams
        self._full = said(self._read, streams.at[work.blocks - 1][INTERVENTION], self._ids)
        self._some = list(range(0, len(self._ids), self._easy.look_stride))
        self._steps = sorted({round(self._easy.steps * i / self._easy.looks) for i in range(self._easy.looks + 1)})
        self._found: list[dict[str, Array]] = []
        self._curve: list[list[float]] = []
        self._losses: list[float] = []
        if self.learned_marks is not None and not bool(self.learned_marks[:, :-1].any()):
            raise MeasurementError("no calibration token is typical at all exits and late blocks, so that there is nothing to learn from")
        tried = len(self._easy.rates) * self._easy.trial_steps
        self._done, self._total = 0, sum(self._easy.steps + (0 if plan.half else tried) for plan in plans)

    def _lesson(self, plan: Plan) -> Lesson:
        hidden, ids = self._streams.at[plan.at][CALIBRATION], self._learned
        marked = self.learned_marks
        last = self._work.blocks - 1
        teacher = self._streams.at[last][CALIBRATION] if plan.distilled else None
        lesson = Lesson(hidden, ids, marked, teacher, self._read if plan.distilled else None)
        return lesson.part(self.half) if plan.half else lesson

    @property
    def half(self) -> list[int]:
        """Every second group of the windows that are learned from."""
        groups = contiguous_groups(len(self._learned), min(self._work.protocol.groups, len(self._learned)))
        return [w for w, group in enumerate(groups) if group % 2 == 0]

    @property
    def learned_marks(self) -> Tensor | None:
        """Which positions are learned from: those that are typical on ``strict``, else all, None."""
        return self._marked(CALIBRATION) if self._work.strict else None

    def _marked(self, split: str) -> Tensor:
        return self._streams.typical_at(split, *self._easy.looked_at(self._work.blocks))

    def training(self, plan: Plan) -> Training[Any]:
        """Return the training of a plan, before its first step."""
        rate = float(self._found[self._plans.index(replace(plan, half=False))]["rate"]) if plan.half else None
        return HeadTraining(self._work.anatomy, self._lesson(plan), self._easy, self._work.protocol.seed, rate)

    def hear(self, plan: Plan, training: Training[Any], windows: list[int]) -> Said:
        """Return what a head says, as it is, on some of the scored windows."""
        return said(training.pupil, self._streams.at[plan.at][INTERVENTION][windows], self._ids[windows])

    def run(self) -> Self:
        """Train every head that is not trained yet, and read it."""
        held: list[Training[Any]] = []
        self._work.bookmark.load(lambda block, state: held.append(self._take_up(block, state)))
        with torch.inference_mode(False), torch.enable_grad():
            for plan in self._plans[len(self._found) :]:
                training = held.pop() if held else self.training(plan)
                self._learn(plan, training)
                self._found.append(self._heard(plan, training))
                self._curve, self._losses = [], []
                del training  # The next head need not find room beside it.
        return self

    def _learn(self, plan: Plan, training: Training[Any]) -> None:
        while not training.finished:
            if training.step_of_run == 0 and training.rate is not None and not self._curve:
                self._look(plan, training)
            loss = training.step()
            self._done += 1
            if loss is not None:
                self._losses.append(loss)
                if training.step_of_run in self._steps:
                    self._look(plan, training)
            if training.done % _TOGETHER == 0 or training.finished:
                self._work.bookmark.save(self._done, lambda: self._state(training))
                self._work.progress(self._done, self._total)

    def _look(self, plan: Plan, training: Training[Any]) -> None:
        """Score the head as it is on some of the scored windows."""
        heard = self.hear(plan, training, self._some)
        marks = self._counted(self._work.strict)[self._some]
        agreed = (heard.top == self._full.top[self._some]).astype(np.float64)
        train = float(np.mean(self._losses)) if self._losses else np.nan
        self._curve.append([train, share(heard.nll, marks), share(agreed, marks)])
        self._losses = []

    def _heard(self, plan: Plan, training: Training[Any]) -> dict[str, Array]:
        """Return what a trained head says, and how its training went."""
        heard = self.hear(plan, training, list(range(len(self._ids))))
        train, nll, agreed = np.array(self._curve).T
        trials = np.array(training.trials) if training.trials else np.full(len(self._easy.rates), np.nan)
        assert training.rate is not None
        return {
            "agreed": (heard.top == self._full.top).astype(np.float64),
            "right": heard.right,
            "confidence": heard.confidence,
            "nll": heard.nll,
            "rate": np.array(training.rate),
            "trials": trials,
            "train": train,
            "held_nll": nll,
            "held_agreed": agreed,
        }

    def _counted(self, typical: bool) -> Array:
        shape = (len(self._ids), self._ids.shape[1] - 1)
        return self._marked(INTERVENTION)[:, :-1].cpu().numpy().astype(np.float64) if typical else np.ones(shape)

    def _state(self, training: Training[Any]) -> State:
        """Return what is trained and read so far, for a checkpoint."""
        state: State = {f"head{i}/{name}": array for i, found in enumerate(self._found) for name, array in found.items()}
        state |= {f"training/{name}": array for name, array in training.state().items()}
        return state | {"curve": np.array(self._curve).reshape(-1, 3), "losses": np.array(self._losses)}

    def _take_up(self, done: int, state: Mapping[str, Array]) -> Training[Any]:
        """Take up what a checkpoint held; ValueError or KeyError, having changed nothing, when it is not that."""
        heads = len({name.split("/")[0] for name in state if name.startswith("head")})
        if heads >= len(self._plans):
            raise ValueError(f"{heads} heads are trained of {len(self._plans)}, and one is in training")
        found = [{name: state[f"head{i}/{name}"] for name in _OF_HEADS} for i in range(heads)]
        curve, losses = state["curve"], state["losses"]
        if curve.ndim != 2 or curve.shape[1] != 3 or losses.ndim != 1:
            raise ValueError(f"a curve of {curve.shape}")
        before, self._found = self._found, found  # The rate of one head may be the next one's.
        try:
            training = self.training(self._plans[heads])
            training.restore({name.removeprefix("training/"): array for name, array in state.items() if name.startswith("training/")})
        except (ValueError, KeyError):
            self._found = before
            raise
        self._done, self._curve, self._losses = done, [list(map(float, row)) for row in curve], [float(loss) for loss in losses]
        return training

    def findings(self, also: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """Return the arrays that :class:`harness.exits.Heads` names, by rung, and others beside them."""
        stacked = {name: np.stack([found[name] for found in self._found]) for name in _OF_HEADS}
        count, places = len(self._learned), self._batch() * self._easy.steps
        seen = permutation(self._work.protocol.seed, 0, count)[:places].tolist()  # All of them, unless steps end before.
        marks = self.learned_marks
        fitted = self._learned[seen, 1:].size if marks is None else int(marks[seen][:, :-1].sum())
        about = {"at": [p.at for p in self._plans], "steps": self._steps, "fitted": fitted, "batch": self._batch()}
        arrays = {**stacked, **{name: np.array(value, dtype=np.float64) for name, value in about.items()}, **(also or {})}
        found: dict[str, Array] = {}
        for rung in self._work.rungs:
            counted = self._counted(rung != "paper")
            found |= {f"{rung}/{name}": array for name, array in {**arrays, "counted": counted, "left_out": 1 - counted.mean()}.items()}
        return {name: np.asarray(array, dtype=np.float64, order="C") for name, array in found.items()}

    def _batch(self) -> int:
        return self._easy.batch_on(self._work.subject.device.type == "cuda")
