"""Training an exit head: a norm and an untied linear, from the model's own final ones, on streams that are at hand.

Nothing is run or differentiated but the head. The recipe is arXiv:2604.20682's, where it says one: 500 steps from the final head; it names
neither optimiser, rate, schedule nor batch, which are fields of :class:`harness.easy_protocol.EasyProtocol`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.anatomy import Anatomy, finish
from harness.easy_protocol import EasyProtocol
from harness.errors import MeasurementError
from harness.language import Logits
from harness.training import Training
from harness.windows import Ids


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
    if any(hasattr(part, "_hf_hook") for part in own.modules()):  # It would send what it is given to the device of the model's own.
        from accelerate.hooks import remove_hook_from_module  # type: ignore[import-untyped]

        remove_hook_from_module(own, recurse=True)
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


class HeadTraining(Training[ExitHead]):
    """Trains one head, from the model's own, on a lesson."""

    def __init__(self, anatomy: Anatomy, lesson: Lesson, easy: EasyProtocol, seed: int, rate: float | None = None) -> None:
        device = lesson.hidden.device
        super().__init__("an exit head", lambda: ExitHead(anatomy, device), lesson, easy, seed, device, rate)
