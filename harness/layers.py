"""Linear layers of a block: its weight matrices, found by what multiplies activations, read and written in place.

No family and no class is known by name: :class:`Watch` sees the products that a block computes and recognises those with one of the
block's own parameters by where its numbers lie, so that the orientation (``x Wᵀ`` or ``x W``) is observed too.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from harness.sweep import moment_device

_ONE_EXPERT = re.compile(r"(^|\.)experts\.(\d+)\.")

# Products of activations with a weight: where and by what name each is given, and whether the weight is W (y = x Wᵀ) or Wᵀ.
_Product = tuple[tuple[int, str], tuple[int, str], bool]
_PRODUCTS: dict[Any, _Product] = {
    torch.nn.functional.linear: ((0, "input"), (1, "weight"), True),
    **dict.fromkeys((torch.matmul, Tensor.matmul, Tensor.__matmul__), ((0, "input"), (1, "other"), False)),
    **dict.fromkeys((torch.mm, Tensor.mm, torch.bmm, Tensor.bmm), ((0, "input"), (1, "mat2"), False)),
    **dict.fromkeys((torch.addmm, Tensor.addmm), ((1, "mat1"), (2, "mat2"), False)),
    **dict.fromkeys((torch.baddbmm, Tensor.baddbmm), ((1, "batch1"), (2, "batch2"), False)),
}


@dataclass(frozen=True, eq=False)
class Layer:
    """A matrix W ``(out, in)`` that a block multiplies its activations by, y = W x.

    ``name``: the parameter inside the block, without ``.weight``. ``index``: the expert, where one parameter ``(experts, …)`` holds those
    of all. ``transposed``: stored as ``(in, out)``. ``expert``: rows are routed to it.
    """

    block: int
    name: str
    parameter: nn.Parameter
    index: int | None
    transposed: bool
    expert: bool

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        rows, columns = self._oriented().shape
        return int(rows), int(columns)

    def matrix(self) -> Tensor:
        """Return a copy of W ``(out, in) float64``, beside the parameter (for MPS, which has no float64, on the host)."""
        held = self._oriented()
        return torch.empty(held.shape, dtype=torch.float64, device=moment_device(held.device)).copy_(held)

    @torch.inference_mode()  # Some models are made of inference tensors, which nothing else may write to.
    def write(self, matrix: Tensor) -> None:
        """Put a matrix ``(out, in)`` in the place of W, rounded to the parameter's type; ValueError for another shape."""
        if tuple(matrix.shape) != self.shape:
            raise ValueError(f"block {self.block}, {self.name}: a matrix {tuple(matrix.shape)}, the layer is {self.shape}")
        self._oriented().copy_(matrix)

    def _oriented(self) -> Tensor:
        held = self.parameter.detach()
        held = held if self.index is None else held[self.index]
        return held.T if self.transposed else held


@contextlib.contextmanager
def replaced_weights(layers: Sequence[Layer], matrices: Sequence[Tensor]) -> Iterator[None]:
    """Have matrices ``(out, in)`` in the place of the layers' for as long as the context lasts; restored bit for bit on any exit.

    Raises ValueError for a matrix of another shape, or not one for each layer; RuntimeError when weights were moved to another place
    meanwhile, so that what is there is not what was replaced.
    """
    held: list[tuple[Layer, Tensor]] = []
    where: list[int] = []
    try:
        for layer, matrix in zip(layers, matrices, strict=True):
            held.append((layer, layer._oriented().clone()))  # In its own type: a copy back changes no bit.
            where.append(layer.parameter.data_ptr())
            layer.write(matrix)
        yield
        if [layer.parameter.data_ptr() for layer, _ in held] != where:
            raise RuntimeError("weights were moved while others stood in their place")
    finally:
        for layer, old in reversed(held):  # A layer given twice ends as it began.
            layer.write(old)


@dataclass(frozen=True, eq=False)
class Weight:
    """A parameter of a block that may be a layer, or hold one for each expert.

    ``group``: the same for all experts' matrices of one kind, so that what is seen of one expert holds for those that no token reached.
    ``expected``: a matrix that should be seen in a product, and not a bias, a norm's scale, a convolution's kernel or a table.
    """

    block: int
    name: str
    parameter: nn.Parameter
    group: str
    expert: bool
    expected: bool

    def layers(self, transposed: bool) -> list[Layer]:
        """Return its layers: one, or one for each expert."""
        name = self.name.removesuffix(".weight")
        if self.parameter.ndim == 2:
            return [Layer(self.block, name, self.parameter, None, transposed, self.expert)]
        return [Layer(self.block, f"{name}[{e}]", self.parameter, e, transposed, True) for e in range(len(self.parameter))]


def weights_of(block: int, module: nn.Module) -> list[Weight]:
    """Return the parameters of a block that may be layers, in its own order: all of two dimensions or more but routers'.

    A router is what a token's experts are chosen by: whatever stands in a module called ``router``, and a ``gate`` or ``…_gate`` that
    stands beside experts and yields one number, or one for each of them. ``gate_proj`` and ``gate_up_proj`` are none.
    """
    made = []
    named = [(name, parameter) for name, parameter in module.named_parameters() if parameter.ndim >= 2]
    owners = {name: module.get_submodule(name.rpartition(".")[0]) for name, _ in named}
    kernels = {name for name, owner in owners.items() if isinstance(owner, nn.modules.conv._ConvNd)}
    counts = {name: len(parameter) for name, parameter in named if parameter.ndim == 3 and name not in kernels}
    counts |= {name: 1 + int(one.group(2)) for name, _ in named if (one := _ONE_EXPERT.search(name))}
    for name, parameter in named:
        if _routes(name, parameter, counts):
            continue
        *path, last = name.split(".")
        bare = last.endswith("bias") or "norm" in ".".join(path[-1:]).lower() or isinstance(owners[name], nn.Embedding)
        group = _ONE_EXPERT.sub(r"\1experts.*.", name)
        made.append(Weight(block, name, parameter, group, name in counts, not bare and name not in kernels))
    return made


def _routes(name: str, parameter: Tensor, counts: dict[str, int]) -> bool:
    path = name.split(".")[:-1]
    if "router" in path:
        return True
    for depth, part in enumerate(path):
        if part == "gate" or part.endswith("_gate"):
            beside = "".join(f"{above}." for above in path[:depth])
            experts = max((count for other, count in counts.items() if other.startswith(beside)), default=0)
            return experts > 0 and len(parameter) in {1, experts}
    return False


@dataclass(frozen=True, eq=False)
class Use:
    """A product that was computed with a weight.

    ``index``: the expert, None where all of the parameter was used. ``transposed``: the parameter holds Wᵀ. ``x (…, in)``: what it was
    multiplied by; where all experts were used at once, ``(experts, rows, in)``, or what is the same for each.
    """

    weight: Weight
    index: int | None
    transposed: bool
    x: Tensor


Place = tuple[int, tuple[int, ...], tuple[int, ...]]
"""Where the numbers of a tensor lie: address, shape and strides."""


def places(weights: Sequence[Weight]) -> dict[Place, tuple[Weight, int | None, bool]]:
    """Map where weights lie, as a whole or one expert's, as they are or transposed, to the weight, the expert, and whether transposed."""
    found: dict[Place, tuple[Weight, int | None, bool]] = {}
    for weight in weights:
        held = weight.parameter.detach()
        if held.ndim > 3:
            continue
        for index, part in [(None, held), *(enumerate(held) if held.ndim == 3 else ())]:
            for turned in (False, True):
                found.setdefault(_place(part.mT if turned else part), (weight, index, turned))
    return found


def _place(tensor: Tensor) -> Place:
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride()


class Watch(TorchFunctionMode):
    """Tell ``note`` of every product with a weight that lies at one of ``known`` (:func:`places`), for as long as the context lasts."""

    def __init__(self, known: dict[Place, tuple[Weight, int | None, bool]], note: Callable[[Use], None]) -> None:
        super().__init__()
        self._known, self._note = known, note

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Look at the operands of a product; all functions are then called as they were."""
        if (use := self.use(func, args, kwargs or {})) is not None:
            self._note(use)
        return func(*args, **(kwargs or {}))

    def use(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Use | None:
        """Return the product with a known weight that a call makes, or None."""
        if (product := _PRODUCTS.get(func)) is not None:
            x, factor = (args[at] if at < len(args) else kwargs.get(name) for at, name in product[:2])
            if isinstance(x, Tensor) and isinstance(factor, Tensor) and (seen := self._known.get(_place(factor))) is not None:
                weight, index, turned = seen
                if index is not None or weight.parameter.ndim == 2 or x.ndim <= 3:  # Else nothing says which rows are whose.
                    return Use(weight, index, turned == product[2], x)
        return None


@contextlib.contextmanager
def experts_one_by_one(model: nn.Module) -> Iterator[None]:
    """Have transformers compute experts one by one, in plain products, for as long as the context lasts.

    Set where its own modules read it, because ``set_experts_implementation`` replaces what was not chosen by a choice.
    """
    configs: dict[int, Any] = {id(config): config for module in model.modules() if (config := getattr(module, "config", None)) is not None}
    held = [(c, c._experts_implementation_internal) for c in configs.values() if hasattr(c, "_experts_implementation_internal")]
    try:
        for config, _ in held:
            config._experts_implementation_internal = "eager"
        yield
    finally:
        for config, chosen in held:
            config._experts_implementation_internal = chosen
