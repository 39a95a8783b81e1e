"""What the linear layers of a block are given, as the block runs: one row a token, once for all layers that read it.

Rows of experts are routed and carry no token any more, so the module that routes is called again on the tokens that are asked for; MLPs
act on single tokens, and give each what they gave it among others.
"""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from harness.anatomy import Anatomy
from harness.errors import MeasurementError, SubjectError
from harness.layers import Layer, Use, Watch, Weight, experts_one_by_one, places, weights_of


@dataclass(frozen=True, eq=False)
class Shared:
    """The layers that read one input, in the order of their use, and that input ``(windows, tokens, in)``; of experts ``(1, rows, in)``."""

    layers: list[Layer]
    x: Tensor


class LayerInputs:
    """Records what layers are given, for as long as the context lasts: ``with LayerInputs(anatomy) as inputs``.

    Every run of a block begins anew, and what it recorded is held until :meth:`take`. Tensors are the block's own, no copies. Experts are
    computed one by one meanwhile (transformers' ``eager``), since kernels for all of them hide what each is given; that differs from
    ``grouped_mm`` in the last digits.

    Raises MeasurementError for a model with weights that are kept elsewhere until used.
    """

    def __init__(self, anatomy: Anatomy) -> None:
        if any(parameter.device.type == "meta" for block in anatomy.blocks for parameter in block.parameters()):
            raise MeasurementError(
                "layers whose weights are kept elsewhere until used cannot be quantised in place; give a device that holds the model"
            )
        self._anatomy = anatomy
        self._weights = [weights_of(b, block) for b, block in enumerate(anatomy.blocks)]
        self._carriers = [_carriers(anatomy, b, weights) for b, weights in enumerate(self._weights)]
        self._places = [places(weights) for weights in self._weights]
        self._found: list[dict[str, list[Layer]]] = [{} for _ in anatomy.blocks]  # The layers of a parameter, by its name.
        self._refused: list[dict[str, str]] = [{} for _ in anatomy.blocks]  # Why a group of parameters cannot be had.
        self._taken: set[int] = set()
        self._block: int | None = None
        self._uses: list[Use] = []
        self._calls: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {}  # Of the modules that hold experts.
        self._running = False
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(experts_one_by_one(self._anatomy.model))
            for b, block in enumerate(self._anatomy.blocks):
                for name, carrier in self._carriers[b].items():
                    hook = carrier.register_forward_pre_hook(functools.partial(self._note_call, name), with_kwargs=True)
                    stack.callback(hook.remove)
                stack.enter_context(_wrapped(block, functools.partial(self._run, b)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._forget(None)

    def layers(self, block: int) -> list[Layer]:
        """Return the layers of a block that its runs have shown so far, in the order of its parameters, then experts.

        Of experts all are known as soon as one is.
        """
        return [layer for weight in self._weights[block] if self._usable(weight) for layer in self._found[block][weight.name]]

    @property
    def changes_experts(self) -> bool:
        """Whether the model has experts, whose products come out otherwise in the last digits meanwhile."""
        return any(weight.expert for weights in self._weights for weight in weights)

    @property
    def unseen(self) -> list[str]:
        """Weight matrices of blocks taken so far that are no layers here, and why; routers apart, which are left alone."""
        found = []
        for b in sorted(self._taken):
            for weight in self._weights[b]:
                why = self._refused[b].get(weight.group)
                if why is None and weight.expected and weight.name not in self._found[b]:
                    why = "is in no product that is recognised"
                if why is not None:
                    found.append(f"{self._anatomy.blocks_name}.{b}.{weight.name} {why}")
        return found

    def take(self, windows: int, tokens: int) -> list[Shared]:
        """Return what the dense layers of the block that ran last were given, by first use; it is let go of here.

        ``windows``, ``tokens``: leading sizes of the batch. Modules that flatten them are undone. Layers that are given anything but one
        row a token, or multiply more than once in a pass, are refused for good (:attr:`unseen`).
        """
        block, uses, self._uses = self._block, self._uses, []
        if block is None:
            return []
        self._taken.add(block)
        times = Counter((use.weight.name, use.index) for use in uses)
        for use in uses:
            if times[use.weight.name, use.index] > 1:
                why: str | None = "multiplies more than once in a pass"
            elif use.weight.expert:
                why = self._unroutable(use.weight, windows, tokens)
            else:
                why = None if _per_token(use.x, windows, tokens) is not None else "is not given one row a token"
            if why is not None:
                self._refused[block].setdefault(use.weight.group, why)
            if use.weight.name not in self._found[block]:
                same = (weight for weight in self._weights[block] if weight.group == use.weight.group)
                self._found[block] |= {weight.name: weight.layers(use.transposed) for weight in same}
        dense = ((use.weight, _per_token(use.x, windows, tokens)) for use in uses if not use.weight.expert and self._usable(use.weight))
        return _shared([(self._found[block][weight.name][0], x) for weight, x in dense if x is not None])

    @torch.inference_mode()
    def routed(self, rows: Tensor) -> list[Shared]:
        """Return what the experts of the block that was taken last are given for some of its tokens, ``rows (windows, tokens) bool``.

        An expert that none of them reaches has no entry.
        """
        if self._block is None or not bool(rows.any()):
            return []
        uses: list[Use] = []
        for name, calls in self._calls.items():
            if any(self._usable(weight) for weight in self._weights[self._block] if weight.expert and _carrier(weight) == name):
                args, kwargs = calls[0]
                with Watch(self._places[self._block], uses.append):
                    self._carriers[self._block][name](*(_only(a, rows) for a in args), **{k: _only(a, rows) for k, a in kwargs.items()})
        pairs = []
        for use in uses:
            if use.weight.expert and self._usable(use.weight):
                layers = self._found[self._block][use.weight.name]
                if use.index is not None or len(layers) == 1:
                    pairs.append((layers[use.index or 0], use.x.reshape(1, -1, use.x.shape[-1])))
                else:  # All experts are given all tokens, and a row of zeros is a token that was not sent there.
                    every = use.x.expand(len(layers), *use.x.shape[-2:])
                    pairs += [(layer, x[x.ne(0).any(-1)][None]) for layer, x in zip(layers, every, strict=True)]
        return _shared(pairs)

    def _run(self, block: int, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._forget(block)
        if self._anatomy.onloader is not None:  # Elsewhere than when it was brought in last.
            self._anatomy.bring(block)
            self._places[block] = places(self._weights[block])
        self._running = True
        try:
            with Watch(self._places[block], self._note_use):
                return forward(*args, **kwargs)
        finally:
            self._running = False

    def _note_use(self, use: Use) -> None:
        # Of experts it counts that they are used; their rows are had from another call.
        self._uses.append(replace(use, x=use.x.new_empty(0)) if use.weight.expert else use)

    def _note_call(self, name: str, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._running:
            self._calls.setdefault(name, []).append((args, kwargs))

    def _forget(self, block: int | None) -> None:
        self._block, self._uses, self._calls = block, [], {}

    def _usable(self, weight: Weight) -> bool:
        return weight.name in self._found[weight.block] and weight.group not in self._refused[weight.block]

    def _unroutable(self, weight: Weight, windows: int, tokens: int) -> str | None:
        """Return why the rows of an expert cannot be had, or None."""
        if _carrier(weight) not in self._carriers[weight.block]:
            return "is routed to, but in no MLP that could be run on some tokens alone"
        calls = self._calls.get(_carrier(weight), [])
        if len(calls) != 1:
            return "is routed to by a module that is not called once in a pass"
        marked = torch.ones(windows, tokens, dtype=torch.bool)
        if not any(_marks(given, marked) is not None for given in (*calls[0][0], *calls[0][1].values())):
            return "is routed to by a module that is not given one row a token"
        return None


def _carrier(weight: Weight) -> str:
    return weight.name.split(".")[0]


def _carriers(anatomy: Anatomy, block: int, weights: Sequence[Weight]) -> dict[str, nn.Module]:
    """Return the children of a block that hold experts and act on single tokens, which attention does not."""
    try:
        alone = {id(module) for module in anatomy.mlp(block)}
    except SubjectError:
        return {}
    routed = {_carrier(weight) for weight in weights if weight.expert}
    return {name: child for name, child in anatomy.blocks[block].named_children() if name in routed and id(child) in alone}


def _per_token(x: Tensor, windows: int, tokens: int) -> Tensor | None:
    """Return inputs as ``(windows, tokens, in)``, or None where they are not one row a token."""
    lead = [size for size in x.shape[:-1] if size != 1]
    for sizes in ((windows, tokens), (windows * tokens,)):
        if lead == [size for size in sizes if size != 1]:
            return x.reshape(windows, tokens, x.shape[-1])
    return None


def _marks(given: Any, rows: Tensor) -> Tensor | None:
    """Return the marks of tokens in the shape that an argument has them in, or None where it is not one row a token."""
    if isinstance(given, Tensor):
        for marks in (rows, rows.flatten()):
            if given.shape[: marks.ndim] == marks.shape:
                return marks.to(given.device)
    return None


def _only(given: Any, rows: Tensor) -> Any:
    """Return an argument for some tokens alone: as one window where it had windows."""
    marks = _marks(given, rows)
    if marks is None:
        return given
    return given[marks][None] if marks.ndim == 2 else given[marks]


def _shared(pairs: Sequence[tuple[Layer, Tensor]]) -> list[Shared]:
    """Put layers together that read the very same numbers."""
    found: dict[tuple[Any, ...], Shared] = {}
    for layer, x in pairs:
        if x.numel():
            found.setdefault((x.data_ptr(), x.shape, x.stride(), x.dtype), Shared([], x)).layers.append(layer)
    return list(found.values())


@contextlib.contextmanager
def _wrapped(block: nn.Module, around: Callable[..., Any]) -> Iterator[None]:
    """Have ``around(forward, …)`` called in the place of a module's forward, and put back what was there on any exit."""
    held = block.__dict__.get("forward")
    block.__dict__["forward"] = functools.wraps(block.forward)(functools.partial(around, block.forward))
    try:
        yield
    finally:
        if held is None:
            block.__dict__.pop("forward", None)
        else:
            block.__dict__["forward"] = held
