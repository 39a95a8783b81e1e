"""The anatomy of a transformer: embedding → blocks → final norm → head, found from the model's own modules.

Nothing here knows a family by name: :mod:`harness.admission` finds the parts by running the model once.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from harness.batching import Batching
from harness.errors import SubjectError
from harness.onloading import Onloader

_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)


# What configurations call the number of experts, and of those that a token is sent to.
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_ONE_EXPERT = re.compile(r"(^|\.)experts\.\d+\.")
_CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "top_k_experts", "moe_top_k", "moe_topk", "moe_k")


class _SeenEnoughError(Exception):
    """Stops a forward pass once everything asked of it has been seen."""


@dataclass(frozen=True)
class Call:
    """How the model calls one block: everything but the hidden states (masks, rotary tables, positions)."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    keyword: str | None


@dataclass
class Anatomy:
    """The parts of an admitted model.

    ``blocks[b]`` maps the residual stream h_b to h_{b+1}, both ``(windows, tokens, d)``. ``norm`` is the final norm
    and ``head`` the linear that follows it; soft-caps and logit scales that the config states are part of :meth:`logits`.
    ``batching`` says how many windows run together. ``onloader``: what brings blocks to the device where they do not fit there together.
    """

    model: nn.Module
    embedding: nn.Module
    blocks: list[nn.Module]
    blocks_name: str
    norm: nn.Module
    head: nn.Module
    width: int
    _yields_tuple: list[bool]
    _in_place: bool = False
    batching: Batching = field(default_factory=Batching)
    onloader: Onloader | None = None
    _calls: dict[tuple[int, ...], list[Call]] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the model is entered, and the stream is held."""
        return entry_device(self.embedding)

    @property
    def vocabulary(self) -> int:
        """Rows of the token embedding."""
        weight: Any = self.embedding.weight
        return int(weight.shape[0])

    def yields_tuple(self, block: int) -> bool:
        """Whether a block returns a tuple that begins with the stream, and not the stream itself."""
        return self._yields_tuple[block]

    def attention(self, block: int) -> nn.Module:
        """Return the attention of a block: its one child that is named attention and holds weight matrices."""
        found = [part for part in _parts(self.blocks[block]) if _is_attention(*part)]
        if len(found) != 1:
            raise SubjectError(f"block {block}: expected one attention module, found {[name for name, _ in found] or 'none'}")
        return found[0][1]

    def mlp(self, block: int) -> list[nn.Module]:
        """Return the MLP of a block: its other children that hold weight matrices (several where they are bare)."""
        found = [module for name, module in _parts(self.blocks[block]) if not _is_attention(name, module)]
        if not found:
            raise SubjectError(f"block {block}: no MLP found beside the attention")
        return found

    def parameters(self, block: int) -> tuple[int, float]:
        """Return the parameters of a block: all, and those that one token uses (of routed experts, as many as it is sent to).

        NaN for the latter where the configuration names experts and it cannot be told which parameters are theirs, or how many are used.
        """
        config = self.model.config.get_text_config()  # type: ignore[union-attr, operator]
        chosen, experts = (next((n for name in names if (n := getattr(config, name, None))), None) for names in (_CHOSEN, _EXPERTS))
        total = routed = 0
        for name, parameter in self.blocks[block].named_parameters():
            total += parameter.numel()
            stacked = parameter.ndim > 2 and parameter.shape[0] == experts
            # One module an expert, or one weight for all of them; beside them may stand a router, and a bias that all share.
            packed = "experts" in name.split(".") and "router" not in name.split(".") and parameter.ndim > 1
            routed += parameter.numel() * bool(_ONE_EXPERT.search(name) or packed or stacked)
        if not experts and not routed:
            return total, float(total)
        # Without routed experts where the configuration names some, a block may be one of the first, dense ones, or of an unknown make.
        return total, float(total - routed + routed * chosen // experts) if chosen and experts and routed else float("nan")

    @torch.inference_mode()
    def enter(self, ids: Tensor) -> tuple[Tensor, list[Call]]:
        """Embed windows ``(windows, tokens) int64``. Returns h_0 and how the model calls each block.

        The model's own forward runs with every block passing its input through, so whatever stands before the first
        block (position embeddings, embedding norms and scales) and whatever a block is given are the model's own doing.
        """
        calls: list[Call] = []
        first: list[Tensor] = []

        def stub(index: int) -> Callable[..., Any]:
            def forward(*args: Any, **kwargs: Any) -> Any:
                hidden, call = take_hidden(args, kwargs)
                calls.append(call)
                if index == 0:
                    first.append(hidden)
                if index == len(self.blocks) - 1:
                    raise _SeenEnoughError
                return (hidden,) if self._yields_tuple[index] else hidden

            return forward

        with _patched(self.blocks, stub), contextlib.suppress(_SeenEnoughError):
            self.model(ids, use_cache=False)
        return first[0], self._interned(tuple(ids.shape), calls)

    def bring(self, block: int) -> None:
        """Have a block's weights on the device, where blocks are brought there one at a time: before they are written to."""
        if self.onloader is not None:
            self.onloader.bring(self.blocks[block])

    def run(self, block: int, hidden: Tensor, call: Call) -> Tensor:
        """Run one block on h_b ``(windows, tokens, d)``, which is left as it is; returns h_{b+1}."""
        if self._in_place:
            hidden = hidden.clone()
        if call.keyword is None:
            out = self.blocks[block](hidden, *call.args, **call.kwargs)
        else:
            out = self.blocks[block](*call.args, **{call.keyword: hidden}, **call.kwargs)
        stream: Tensor = out[0] if isinstance(out, tuple) else out
        return stream.to(hidden.device)  # A model spread over devices leaves it where the block is.

    def logits(self, hidden: Tensor) -> Tensor:
        """Return next-token logits ``(…, vocabulary)`` of h_B ``(…, d)``: norm, head, scale and soft-cap."""
        return finish(self.head(self.norm(hidden)), self.model).to(hidden.device)

    def _interned(self, shape: tuple[int, ...], calls: list[Call]) -> list[Call]:
        """Reuse equal masks and tables, so that they are held once and not once a batch."""
        known = self._calls.setdefault(shape, calls)
        return known if _same([(c.args, c.kwargs) for c in known], [(c.args, c.kwargs) for c in calls]) else calls


def entry_device(embedding: nn.Module) -> torch.device:
    """Return where token ids are looked up; for an embedding whose weights are kept elsewhere until used, where they are used."""
    weight: Any = embedding.weight
    if weight.device.type != "meta":
        return torch.device(weight.device)
    hook: Any = getattr(embedding, "_hf_hook", None)
    return torch.device(getattr(hook, "execution_device", None) or "cpu")


def _parts(block: nn.Module) -> list[tuple[str, nn.Module]]:
    """Children of a block that hold weight matrices (norms and activations hold none)."""
    return [(n, m) for n, m in block.named_children() if any(p.ndim >= 2 for p in m.parameters())]


def _is_attention(name: str, module: nn.Module) -> bool:
    return bool(_ATTENTION.search(name) or _ATTENTION.search(type(module).__name__))


def take_hidden(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Call]:
    """Split a block's arguments into the hidden states and the rest."""
    if args and isinstance(args[0], Tensor):
        return args[0], Call(args[1:], dict(kwargs), None)
    for key, value in kwargs.items():
        if isinstance(value, Tensor) and value.ndim == 3 and value.is_floating_point():
            return value, Call(args, {k: v for k, v in kwargs.items() if k != key}, key)
    raise SubjectError("blocks: a block is not given hidden states of shape (windows, tokens, d)")


@contextlib.contextmanager
def _patched(blocks: list[nn.Module], stub: Callable[[int], Callable[..., Any]]) -> Iterator[None]:
    """Replace each block's forward, and put back what was there on any exit."""
    held = [block.__dict__.get("forward") for block in blocks]
    try:
        for index, block in enumerate(blocks):
            block.__dict__["forward"] = stub(index)
        yield
    finally:
        for block, old in zip(blocks, held, strict=True):
            if old is None:
                block.__dict__.pop("forward", None)
            else:
                block.__dict__["forward"] = old


def finish(logits: Tensor, model: Any) -> Tensor:
    """Apply what configs state about logits: a factor (Cohere), a divisor (Granite), a soft-cap (Gemma 2)."""
    config = model.config.get_text_config()
    if (factor := getattr(config, "logit_scale", None)) is not None:
        logits = logits * factor
    if (divisor := getattr(config, "logits_scaling", None)) is not None:
        logits = logits / divisor
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
        logits = torch.tanh(logits / cap) * cap
    return logits


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a is b or (a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)) and type(a) is type(b):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return a is b or (isinstance(a, (int, float, str, bool)) and a == b)
