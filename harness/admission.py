"""Admission: find a model's parts by running it once, and refuse it when they do not recompose its logits.

Every figure rests on the stream between blocks, so a model whose forward does anything there that we do not know of
is refused, with the part named, and never measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fixtures.naming import printable
from harness.anatomy import Anatomy, entry_device, finish, take_hidden
from harness.errors import SubjectError

_PROBE_TOKENS = 16


def dissect(model: Any, blocks: str | None = None) -> Anatomy:
    """Find the parts of a causal language model and admit it, or raise SubjectError naming the part that does not fit."""
    if getattr(model.config, "is_encoder_decoder", False):
        raise SubjectError("the model is an encoder-decoder; expected a causal (decoder-only) language model")
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if embedding is None or head is None:
        raise SubjectError("no token embedding or no output head is declared; expected a causal language model")
    name, stack = find_blocks(model, blocks)
    device = entry_device(embedding)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, embedding.weight.shape[0], (2, _PROBE_TOKENS), generator=generator).to(device)
    trace = _trace(model, stack, head, ids)
    _check_causal(model, ids, trace.logits)  # First: of an encoder that is the matter, whatever else does not fit.
    norm = _check_trace(trace, stack, name)
    _check_head(trace, model)
    in_place = not all(_equal(before, after) for before, after in zip(trace.inputs, trace.inputs_afterwards, strict=True))
    anatomy = Anatomy(model, embedding, stack, name, norm, head, trace.width, trace.tuples, in_place)
    _check_recomposition(anatomy, ids, trace.logits)
    return anatomy


@dataclass
class _Trace:
    """Copies of what passed: a model may go on to change the tensors themselves."""

    inputs: list[Tensor]
    inputs_afterwards: list[Tensor]
    outputs: list[Tensor]
    tuples: list[bool]
    between: list[tuple[str, nn.Module, Tensor, Tensor]]
    head_input: Tensor | None
    head_output: Tensor | None
    logits: Tensor

    @property
    def width(self) -> int:
        return self.outputs[-1].shape[-1]


@torch.inference_mode()
def _trace(model: nn.Module, stack: list[nn.Module], head: nn.Module, ids: Tensor) -> _Trace:
    """Run the model once and keep what blocks, head and whatever runs between them were given and gave back."""
    trace = _Trace([], [], [], [], [], None, None, torch.empty(0))
    handles = []

    def before_block(_: nn.Module, args: Any, kwargs: Any) -> None:
        trace.inputs.append(take_hidden(args, kwargs)[0].clone())

    def after_block(_: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        trace.inputs_afterwards.append(take_hidden(args, kwargs)[0].clone())
        trace.tuples.append(isinstance(out, tuple))
        trace.outputs.append((out[0] if isinstance(out, tuple) else out).clone())

    def on_module(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, out: Any) -> None:
            finished = len(trace.outputs) == len(stack) and trace.head_output is None
            if finished and args and isinstance(args[0], Tensor) and isinstance(out, Tensor):
                trace.between.append((name, module, args[0].clone(), out.clone()))

        return hook

    def on_head(_: nn.Module, args: Any, out: Any) -> None:
        trace.head_input, trace.head_output = args[0].clone(), out.clone()

    inside = {id(m) for block in stack for m in block.modules()}
    for name, module in model.named_modules():
        if module is head:
            handles.append(module.register_forward_hook(on_head))
        elif id(module) not in inside and module is not model:
            handles.append(module.register_forward_hook(on_module(name)))
    handles += [block.register_forward_pre_hook(before_block, with_kwargs=True) for block in stack]
    handles += [block.register_forward_hook(after_block, with_kwargs=True) for block in stack]
    try:
        trace.logits = model(ids, use_cache=False).logits
    except SubjectError:
        raise
    except Exception as error:  # Whatever a config that does not fit makes of a forward pass, memory included.
        first = next(iter(str(error).strip().splitlines()), "")
        raise SubjectError(f"a forward pass on random tokens fails ({type(error).__name__}: {printable(first)})") from error
    finally:
        for handle in handles:
            handle.remove()
    return trace


def _check_trace(trace: _Trace, stack: list[nn.Module], name: str) -> nn.Module:
    """Check that each part's output is the next part's input; return the final norm."""
    for b, out in enumerate(trace.outputs):
        if not bool(torch.isfinite(out).all()):
            raise SubjectError(f"block {b} ({name}.{b}) yields NaN or infinity on random tokens, in {out.dtype}; are the weights whole?")
    if len(trace.outputs) != len(stack):
        raise SubjectError(f"blocks: {name} holds {len(stack)} blocks, but a forward pass ran {len(trace.outputs)}")
    for b in range(1, len(stack)):
        if not _equal(trace.outputs[b - 1], trace.inputs[b]):
            raise SubjectError(f"blocks: the model changes the stream between {name}.{b - 1} and {name}.{b} (a scale, a norm?)")
    if trace.head_input is None or trace.head_output is None:
        raise SubjectError("head: the declared output embedding does not run in a forward pass")
    last = f"{name}.{len(stack) - 1}"
    norms = [part for part in trace.between if _equal(part[3], trace.head_input) and part[2].shape == part[3].shape]
    if not norms:
        ran = ", ".join(part[0] for part in trace.between) or "nothing"
        raise SubjectError(f"final norm: between {last} and the head no module yields what the head is given (ran: {ran})")
    norm_name, norm, given, _ = norms[0]
    if not _equal(given, trace.outputs[-1]):
        raise SubjectError(f"final norm: the model changes the stream between {last} and {norm_name}")
    return norm


def _check_head(trace: _Trace, model: nn.Module) -> None:
    """What the head gave must be the logits, but for what the config states: the same operations, so equal to rounding."""
    assert trace.head_output is not None
    logits = trace.logits
    ours = finish(trace.head_output, model).to(logits.device)
    size = float(logits.abs().max())
    if not math.isfinite(size):
        raise SubjectError("logits: the model yields NaN or infinity on random tokens; are the weights finite?")
    gap = float((ours.to(logits.dtype) - logits).abs().max()) if ours.shape == logits.shape else math.inf
    if gap > 2 * torch.finfo(logits.dtype).eps * size:
        raise SubjectError(
            f"head: the logits differ from what the head gives by up to {gap:.3g} (largest logit {size:.3g}): "
            "an unknown soft-cap or scale after the head"
        )


@torch.inference_mode()
def _check_recomposition(anatomy: Anatomy, ids: Tensor, logits: Tensor) -> None:
    """Walk the parts as the sweep does and compare with the model's own logits."""
    hidden, calls = anatomy.enter(ids)
    for b in range(len(anatomy.blocks)):
        hidden = anatomy.run(b, hidden, calls[b])
    ours = anatomy.logits(hidden)
    # The operations are the same, so the two agree to rounding; whole-tensor norms keep this tight in half precision too.
    gap = float((ours.double() - logits.double()).norm() / logits.double().norm())
    if not gap <= (64 if logits.dtype == torch.float32 else 2) * torch.finfo(logits.dtype).eps:
        raise SubjectError(
            f"blocks: walked one by one they give logits that differ from the model's by {gap:.2g} of their norm; "
            "they pass more than the stream to one another"
        )


@torch.inference_mode()
def _check_causal(model: nn.Module, ids: Tensor, logits: Tensor) -> None:
    """A changed last token must leave every earlier position's logits alone."""
    changed = ids.clone()
    changed[:, -1] = (changed[:, -1] + 1) % logits.shape[-1]
    other = model(changed, use_cache=False).logits
    # Products over other rows may round otherwise (experts, half precision); what is seen of the future is far above that.
    slack = 1e-4 if logits.dtype == torch.float32 else 2e-2
    if float((other[:, :-1] - logits[:, :-1]).abs().max()) > slack * float(logits.abs().max()):
        raise SubjectError("not causal: a later token changes earlier logits; expected a decoder-only language model")


def find_blocks(model: nn.Module, given: str | None) -> tuple[str, list[nn.Module]]:
    """Return the list of blocks: the one that is named, else the module list that holds the most parameters."""
    lists = {name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList) and len(module)}
    if given is not None:
        if given not in lists:
            raise SubjectError(f"blocks='{given}' is not a module list of the model; it has: {', '.join(lists) or 'none'}")
        return given, list(lists[given])
    if not lists:
        raise SubjectError("blocks: the model has no module list; name its blocks with blocks='path.to.list'")
    name = max(lists, key=lambda n: sum(p.numel() for p in lists[n].parameters()))
    return name, list(lists[name])


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and (a is b or torch.equal(a.to(b.device), b))
