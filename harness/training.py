"""Training by AdamW, a step at a time: learning rates are tried first, and state can be kept between any two steps.

What is trained, and on what loss, is told from outside (:class:`Lessons`); schedule, batch and trials are those of
:class:`harness.easy_protocol.EasyProtocol`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from harness.easy_protocol import EasyProtocol
from harness.errors import MeasurementError
from harness.statistics import Array
from harness.sweep import State
from harness.windows import Ids

_SLOTS = ("value", "exp_avg", "exp_avg_sq")
Pupil = TypeVar("Pupil", bound=nn.Module)
Taught = TypeVar("Taught", bound=nn.Module, contravariant=True)


def permutation(seed: int, epoch: int, windows: int) -> Ids:
    """Return the order of the windows in an epoch: a run takes them one epoch after another."""
    return np.random.default_rng([seed, epoch]).permutation(windows)


class Lessons(Protocol[Taught]):
    """Windows that a pupil is trained on."""

    @property
    def ids(self) -> Ids:
        """Their tokens ``(windows, tokens)``."""

    @property
    def tokens(self) -> int:
        """How many positions count."""

    def part(self, windows: Sequence[int]) -> Lessons[Taught]:
        """Return the lessons of some windows."""

    def loss(self, pupil: Taught) -> Tensor:
        """Return the loss, mean over the positions that count; 0 of none."""


@dataclass(frozen=True)
class _Phase:
    """Steps at one learning rate, from a fresh pupil, on the first windows."""

    rate: float
    steps: int
    windows: int

    def factor(self, step: int, warmup: int) -> float:
        """Return the share of the rate at a step, from 0: linear up to 1, then half a cosine down to 0."""
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(self.steps - warmup, 1)))


class Training(Generic[Pupil]):
    """Trains one pupil, a step at a time, so that whoever calls can keep the state between steps.

    First each rate is tried on all but the last windows and scored on those; the one of least loss is then taken on all windows. With a
    ``rate`` nothing is tried. Windows come in random order, all of them before any comes again; ``seed`` and step decide which. Every
    trial and the run begin with what ``make`` returns; ``what`` it is called in messages.
    """

    def __init__(
        self,
        what: str,
        make: Callable[[], Pupil],
        lessons: Lessons[Pupil],
        easy: EasyProtocol,
        seed: int,
        device: torch.device,
        rate: float | None = None,
    ) -> None:
        self._what, self._make, self._lessons, self._easy, self._seed = what, make, lessons, easy, seed
        self.device = device
        self.batch = easy.batch_on(device.type == "cuda")
        self._fused = device.type in ("cpu", "cuda")
        rates, count = (easy.rates if rate is None else ()), len(lessons.ids)
        self._trials = [_Phase(each, easy.trial_steps, count - easy.trial_windows) for each in rates]
        if rates and count <= easy.trial_windows:
            raise MeasurementError(f"{count} windows to train on, {easy.trial_windows} of which score a trial: none is left")
        self.trials: list[float] = []
        self.rate = rate
        self.done = 0
        self.total = sum(phase.steps for phase in self._trials) + easy.steps
        self._begin()

    @property
    def step_of_run(self) -> int:
        """Steps done of the last, whole run; 0 while rates are tried."""
        return max(self.done - self.total + self._easy.steps, 0)

    @property
    def finished(self) -> bool:
        """Whether the pupil is trained."""
        return self.done == self.total

    def step(self) -> float | None:
        """Take one step; return its loss, None while rates are tried. MeasurementError where every rate diverges, or the run does."""
        phase, at = self._phase()
        warmup = self._easy.trial_warmup if phase in self._trials else self._easy.warmup
        for group in self.optimizer.param_groups:
            group["lr"] = phase.rate * phase.factor(at, warmup)
        loss = self._lessons.part(self._order(at, phase.windows)).loss(self.pupil)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.done += 1
        found = float(loss.detach())
        del loss, group  # They hold the pupil, which a new one may follow.
        if phase not in self._trials:
            if not math.isfinite(found):
                raise MeasurementError(f"{self._what} diverged at step {at + 1} of {phase.steps} (learning rate {phase.rate:g})")
            return found
        if at + 1 == phase.steps:
            self._end_trial()
        return None

    def _phase(self) -> tuple[_Phase, int]:
        """Return the phase that the next step belongs to, and its place there."""
        before = self.done
        for phase in self._trials:
            if before < phase.steps:
                return phase, before
            before -= phase.steps
        assert self.rate is not None
        return _Phase(self.rate, self._easy.steps, len(self._lessons.ids)), before

    def _end_trial(self) -> None:
        """Score a trial on the windows that it has not seen; after the last one choose."""
        held = range(len(self._lessons.ids) - self._easy.trial_windows, len(self._lessons.ids))
        with torch.no_grad():
            parts = [self._lessons.part([w]) for w in held]
            losses = [(float(part.loss(self.pupil)), part.tokens) for part in parts]
        self.trials.append(sum(loss * n for loss, n in losses) / max(sum(n for _, n in losses), 1))
        if len(self.trials) == len(self._trials):
            if not any(map(math.isfinite, self.trials)):
                raise MeasurementError(f"{self._what} diverges at every learning rate that is tried")
            self.rate = self._best()
        self._begin()

    def _best(self) -> float:
        """Return the rate of the trial of least loss; one that diverged is none."""
        return min((loss, phase.rate) for loss, phase in zip(self.trials, self._trials, strict=True) if math.isfinite(loss))[1]

    def _begin(self) -> None:
        for name in ("pupil", "optimizer"):  # Let go of the old ones first: two need not fit into memory.
            self.__dict__.pop(name, None)
        self.pupil = self._make()
        self.optimizer = torch.optim.AdamW(self.pupil.parameters(), lr=0.0, weight_decay=0.0, fused=self._fused)

    def _order(self, step: int, windows: int) -> list[int]:
        """Return the windows of a step."""
        places = range(step * self.batch, (step + 1) * self.batch)
        permutations = {epoch: permutation(self._seed, epoch, windows) for epoch in {place // windows for place in places}}
        return [int(permutations[place // windows][place % windows]) for place in places]

    def state(self) -> State:
        """Return pupil, optimiser and trials, for a checkpoint."""
        found: State = {"trials": np.array(self.trials), "done": np.array(self.done)}
        for name, parameter in self.pupil.named_parameters():
            held = self.optimizer.state.get(parameter, {})
            found[f"value/{name}"] = parameter.detach().cpu().numpy()
            found |= {f"{slot}/{name}": held[slot].cpu().numpy() for slot in _SLOTS[1:] if slot in held}
            found[f"step/{name}"] = np.array(float(held.get("step", 0.0)))
        return found

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take up what a checkpoint held; ValueError or KeyError, with nothing changed, when it is not that."""
        done, trials = int(state["done"]), [float(loss) for loss in state["trials"]]
        tried = sum(np.cumsum([phase.steps for phase in self._trials]) <= done)
        if not 0 <= done <= self.total or len(trials) != tried:
            raise ValueError(f"{len(trials)} trials after {done} of {self.total} steps")
        slots: dict[str, dict[str, Tensor]] = {}
        for name, parameter in self.pupil.named_parameters():
            steps = float(state[f"step/{name}"])
            slots[name] = {slot: torch.from_numpy(state[f"{slot}/{name}"].copy()) for slot in _SLOTS[: 3 if steps else 1]}
            if any(held.shape != parameter.shape or held.dtype != torch.float32 for held in slots[name].values()):
                raise ValueError(f"{self._what} of other sizes: {name}")
            slots[name]["step"] = torch.tensor(steps)
        self.done, self.trials = done, trials
        if self._trials and len(trials) == len(self._trials):
            self.rate = self._best()
        self._begin()
        for name, parameter in self.pupil.named_parameters():
            held = {slot: tensor.to(parameter.device) for slot, tensor in slots[name].items()}
            parameter.data.copy_(held.pop("value"))
            if len(held) > 1:
                self.optimizer.state[parameter] = held
