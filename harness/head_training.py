"""Training an exit head: a norm and an untied linear, from the model's own final ones, on streams that are at hand.

Nothing is run or differentiated but the head. The recipe is arXiv:2604.20682's, where it says one: 500 steps from the final head; it names
neither optimiser, rate, schedule nor batch, which are fields of :class:`harness.easy_protocol.EasyProtocol`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from harness.anatomy import Anatomy, finish
from harness.easy_protocol import EasyProtocol
from harness.errors import MeasurementError
from harness.language import Logits
from harness.statistics import Array
from harness.sweep import State
from harness.windows import Ids

_SLOTS = ("value", "exp_avg", "exp_avg_sq")


class ExitHead(nn.Module):
    """The model's final norm and head with parameters of their own, in float32; soft-caps and logit scales are the model's.

    Raises MeasurementError for a head that is no plain linear, or whose weights are kept elsewhere until used.
    """

    def __init__(self, anatomy: Anatomy, device: torch.device) -> None:
        super().__init__()
        head, parts = anatomy.head, [*anatomy.norm.parameters(), *anatomy.head.parameters()]
        if not isinstance(head, nn.Linear) or any(part.device.type == "meta" for part in parts):
            why = "its weights are kept elsewhere until used" if isinstance(head, nn.Linear) else f"it is a {type(head).__name__}"
            raise MeasurementError(f"an exit head starts from the model's own linear head, and from this one it cannot: {why}")
        self._model = [anatomy.model]  # In a list, so that its parameters are not this head's.
        self.norm = _own(anatomy.norm, device)
        self.weight = _parameter(head.weight, device)
        self.bias = None if head.bias is None else _parameter(head.bias, device)
        self.train(False)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map streams ``(…, d)`` to logits ``(…, vocabulary)`` float32."""
        with torch.autocast(hidden.device.type, torch.bfloat16, enabled=hidden.device.type == "cuda" and torch.is_grad_enabled()):
            logits = nn.functional.linear(self.norm(hidden.float()), self.weight, self.bias)
        found: Tensor = finish(logits.float(), self._model[0])
        return found


def _parameter(held: Tensor, device: torch.device) -> nn.Parameter:
    return nn.Parameter(held.detach().clone().to(device, torch.float32))


def _own(module: nn.Module, device: torch.device) -> nn.Module:
    """Copy a module, with parameters that are trained, whatever the model's are made of."""
    own = copy.deepcopy(module)
    for part in own.modules():
        for name, held in list(part.named_parameters(recurse=False)):
            part._parameters[name] = _parameter(held, device)
    return own


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a head is trained on: streams ``hidden (windows, tokens, d)``, their tokens, and which positions count, all when None.

    ``teacher``: final streams of the model, and ``read``, which maps them to logits, where the head is trained to the model's distribution
    and not to the next token.
    """

    hidden: Tensor
    ids: Ids
    marked: Tensor | None
    teacher: Tensor | None = None
    read: Logits | None = None

    def part(self, windows: Sequence[int]) -> Lesson:
        """Return the lesson of some windows."""
        rows = list(windows)
        marked, teacher = (None if t is None else t[rows] for t in (self.marked, self.teacher))
        return Lesson(self.hidden[rows], self.ids[rows], marked, teacher, self.read)

    @property
    def tokens(self) -> int:
        """How many positions count."""
        return int(self._counted().sum())

    def _counted(self) -> Tensor:
        shape = (len(self.ids), self.ids.shape[1] - 1)
        return torch.ones(shape, dtype=torch.bool, device=self.hidden.device) if self.marked is None else self.marked[:, :-1]

    def loss(self, head: ExitHead) -> Tensor:
        """Return the mean over counted positions of −log p(next token), or of KL(model ‖ head) with a teacher, in nats; 0 of none."""
        counted = self._counted()
        logits: Tensor = head(self.hidden[:, :-1][counted].clone())  # A copy: what a sweep made cannot be differentiated through.
        if not len(logits):
            return logits.sum()
        if self.teacher is None or self.read is None:
            targets = torch.from_numpy(self.ids[:, 1:].copy()).to(counted.device)[counted]
            return nn.functional.cross_entropy(logits, targets)
        with torch.inference_mode():
            said = torch.log_softmax(self.read(self.teacher[:, :-1][counted]), -1)
        return nn.functional.kl_div(torch.log_softmax(logits, -1), said.clone(), log_target=True, reduction="batchmean")


@dataclass(frozen=True)
class _Phase:
    """Steps at one learning rate, from a fresh head, on the first windows."""

    rate: float
    steps: int
    windows: int

    def factor(self, step: int, warmup: int) -> float:
        """Return the share of the rate at a step, from 0: linear up to 1, then half a cosine down to 0."""
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(self.steps - warmup, 1)))


class HeadTraining:
    """Trains one head, a step at a time, so that whoever calls can keep the state between steps.

    First each rate is tried on all but the last windows and scored on those; the one of least loss is then taken on all windows. With a
    ``rate`` nothing is tried. Windows come in random order, all of them before any comes again; ``seed`` and step decide which.
    """

    def __init__(self, anatomy: Anatomy, lesson: Lesson, easy: EasyProtocol, seed: int, rate: float | None = None) -> None:
        self._anatomy, self._lesson, self._easy, self._seed = anatomy, lesson, easy, seed
        self.device = lesson.hidden.device
        self.batch = easy.gpu_batch if self.device.type == "cuda" else easy.batch
        rates, count = (easy.rates if rate is None else ()), len(lesson.ids)
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
        """Whether the head is trained."""
        return self.done == self.total

    def step(self) -> float | None:
        """Take one step; return its loss, None while rates are tried. MeasurementError where every rate diverges, or the run does."""
        phase, at = self._phase()
        warmup = max(1, round(self._easy.warmup * phase.steps / self._easy.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = phase.rate * phase.factor(at, warmup)
        loss = self._lesson.part(self._order(at, phase.windows)).loss(self.head)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.done += 1
        if phase not in self._trials:
            if not bool(torch.isfinite(loss)):
                raise MeasurementError(f"an exit head diverged at step {at + 1} of {phase.steps} (learning rate {phase.rate:g})")
            return float(loss.detach())
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
        return _Phase(self.rate, self._easy.steps, len(self._lesson.ids)), before

    def _end_trial(self) -> None:
        """Score a trial on the windows that it has not seen; after the last one choose."""
        held = range(len(self._lesson.ids) - self._easy.trial_windows, len(self._lesson.ids))
        with torch.no_grad():
            parts = [self._lesson.part([w]) for w in held]
            losses = [(float(part.loss(self.head)), part.tokens) for part in parts]
        self.trials.append(sum(loss * n for loss, n in losses) / max(sum(n for _, n in losses), 1))
        if len(self.trials) == len(self._trials):
            if not any(map(math.isfinite, self.trials)):
                raise MeasurementError("an exit head diverges at every learning rate that is tried")
            self.rate = self._best()
        self._begin()

    def _best(self) -> float:
        """Return the rate of the trial of least loss; one that diverged is none."""
        return min((loss, phase.rate) for loss, phase in zip(self.trials, self._trials, strict=True) if math.isfinite(loss))[1]

    def _begin(self) -> None:
        self.head = ExitHead(self._anatomy, self.device)
        fused = self.device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.AdamW(self.head.parameters(), lr=0.0, weight_decay=0.0, fused=fused)

    def _order(self, step: int, windows: int) -> list[int]:
        """Return the windows of a step: places of an endless sequence of permutations."""
        chosen, permutations = list[int](), dict[int, Ids]()
        for place in range(step * self.batch, (step + 1) * self.batch):
            epoch = place // windows
            if epoch not in permutations:
                permutations[epoch] = np.random.default_rng([self._seed, epoch]).permutation(windows)
            chosen.append(int(permutations[epoch][place % windows]))
        return chosen

    def state(self) -> State:
        """Return head, optimiser and trials, for a checkpoint."""
        found: State = {"trials": np.array(self.trials), "done": np.array(self.done)}
        for name, parameter in self.head.named_parameters():
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
        for name, parameter in self.head.named_parameters():
            steps = float(state[f"step/{name}"])
            slots[name] = {slot: torch.from_numpy(state[f"{slot}/{name}"].copy()) for slot in _SLOTS[: 3 if steps else 1]}
            if any(held.shape != parameter.shape or held.dtype != torch.float32 for held in slots[name].values()):
                raise ValueError(f"a head of other sizes: {name}")
            slots[name]["step"] = torch.tensor(steps)
        self.done, self.trials = done, trials
        if self._trials and len(trials) == len(self._trials):
            self.rate = self._best()
        self._begin()
        for name, parameter in self.head.named_parameters():
            held = {slot: tensor.to(self.device) for slot, tensor in slots[name].items()}
            parameter.data.copy_(held.pop("value"))
            if len(held) > 1:
                self.optimizer.state[parameter] = held
