"""LoRA: adapters of low rank on the dense linear layers of a model's blocks, and the model run with them.

Hu et al. 2021 (arXiv:2106.09685): y = W x + (α/r) B A x, W frozen. The product with B A is added where the block's own product with W
is seen (:class:`harness.layers.Watch`), so the model's modules and weights are never touched, and what a step adds to B A is not lost in
the rounding of W's type. Matrices of experts and routers are left alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Set
from typing import Any

import torch
from torch import Tensor, nn

from fixtures.naming import printable
from harness.anatomy import Anatomy, Call
from harness.errors import MeasurementError
from harness.layer_inputs import LayerInputs
from harness.layers import Layer, Place, Watch, Weight, places, weights_of
from harness.windows import Ids


class Adapter(nn.Module):
    """x ↦ B A x, ``a (rank, in)``, ``b (out, rank)`` float32: α = r, so that its factor is 1.

    B is zero, and A drawn from U(−1/√in, 1/√in), Kaiming's uniform law with a = √5, as the authors' code has it; their text says Gaussian.
    """

    def __init__(self, layer: Layer, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        (rows, columns), device = layer.shape, layer.parameter.device
        drawn = nn.init.kaiming_uniform_(torch.empty(rank, columns), a=math.sqrt(5), generator=generator)
        self.a = nn.Parameter(drawn.to(device))
        self.b = nn.Parameter(torch.zeros(rows, rank, device=device))

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs ``(…, in)`` to what is added to outputs ``(…, out)``, in the inputs' type."""
        return (x @ self.a.to(x.dtype).T) @ self.b.to(x.dtype).T


class AdaptedBlocks:
    """A model's blocks with room for adapters: which layers get one, and runs with them.

    ``ids (1, tokens)``: a window that shows the layers. ``layers``: those that get an adapter; ``left``: how many weight matrices of blocks
    do not, each expert's counted. Raises MeasurementError for weights that are kept elsewhere until used, or when there is no layer.
    """

    def __init__(self, anatomy: Anatomy, ids: Ids) -> None:
        if anatomy.onloader is not None:
            raise MeasurementError("training through blocks needs all of them on the device at once; give a device that holds the model")
        self._anatomy = anatomy
        by_block = _dense(anatomy, ids)
        self.layers = [layer for layers in by_block for layer in layers]
        if not self.layers:
            raise MeasurementError("no block has a dense linear layer that an adapter could stand beside")
        self._at: list[dict[str, int]] = []  # Name of a weight → place of its adapter, by block.
        self._places: list[dict[Place, tuple[Weight, int | None, bool]]] = []
        self._blocks: list[nn.Module] = []
        self.left = first = 0
        for b, (block, layers) in enumerate(zip(anatomy.blocks, by_block, strict=True)):
            weights = {id(weight.parameter): weight for weight in weights_of(b, block)}
            mine = [weights[id(layer.parameter)] for layer in layers]
            own = {name: t.clone() for name, t in (*block.named_parameters(), *block.named_buffers()) if t.is_inference()}
            self._at.append({weight.name: first + i for i, weight in enumerate(mine)})
            self._places.append(places([dataclasses.replace(w, parameter=own.get(w.name, w.parameter)) for w in mine]))  # type: ignore[arg-type]
            self._blocks.append(_Differentiable(block, own) if own else block)
            self.left += _left(block, weights, {id(weight.parameter) for weight in mine})
            first += len(mine)
        self._run = dataclasses.replace(anatomy, blocks=self._blocks)

    def adapters(self, rank: int, seed: int) -> nn.ModuleList:
        """Return fresh adapters, one a layer: of no effect, and the same for a seed."""
        generator = torch.Generator().manual_seed(seed)
        return nn.ModuleList(Adapter(layer, rank, generator) for layer in self.layers)

    def streams(self, adapters: nn.ModuleList, ids: Ids, at: int) -> tuple[Tensor, Tensor]:
        """Run windows ``(windows, tokens)``; return the output of block ``at`` and of the last one, ``(windows, tokens, d)``.

        Raises MeasurementError where a layer is not computed as it was when it was found.
        """
        hidden, calls = _normal(self._anatomy.enter(torch.from_numpy(ids).to(self._anatomy.device)), {})
        early = hidden
        for b in range(len(self._blocks)):
            mine = {name: adapters[place] for name, place in self._at[b].items()}
            with _Beside(self._places[b], mine) as beside:
                hidden = self._run.run(b, hidden, calls[b])
            if missed := set(mine) - beside.used:
                raise MeasurementError(f"block {b} computes {printable(min(missed))} otherwise than when its layers were looked for")
            if b == at:
                early = hidden
        return early, hidden


class _Beside(Watch):
    """Add to every product with a known weight what its adapter makes of the same input, for as long as the context lasts."""

    def __init__(self, known: dict[Place, tuple[Weight, int | None, bool]], adapters: Mapping[str, nn.Module]) -> None:
        super().__init__(known, lambda use: None)
        self._adapters = adapters
        self.used = set[str]()

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Call the function as it was, and add to its result where it is such a product."""
        found = func(*args, **(kwargs or {}))
        if (use := self.use(func, args, kwargs or {})) is None:
            return found
        self.used.add(use.weight.name)
        return found + self._adapters[use.weight.name](use.x)


class _Differentiable(nn.Module):
    """A block whose inference tensors, which nothing can be differentiated through, have copies in their place while it runs."""

    def __init__(self, block: nn.Module, own: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._held = [block], dict(own)  # In a list, so that it is no part of this one.

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the block."""
        (block,), own = self._held
        return torch.func.functional_call(block, own, args, kwargs)


@torch.inference_mode()
def _dense(anatomy: Anatomy, ids: Ids) -> list[list[Layer]]:
    """Return the dense linear layers of each block, as one run shows them."""
    found = []
    with LayerInputs(anatomy) as inputs:
        hidden, calls = anatomy.enter(torch.from_numpy(ids).to(anatomy.device))
        for b in range(len(anatomy.blocks)):
            hidden = anatomy.run(b, hidden, calls[b])
            inputs.take(*ids.shape)
            found.append([layer for layer in inputs.layers(b) if not layer.expert])
    return found


def _left(block: nn.Module, weights: Mapping[int, Weight], adapted: Set[int]) -> int:
    """Count the weight matrices of a block that are not adapted, routers' and each expert's too."""
    count = 0
    for parameter in (p for p in block.parameters() if id(p) not in adapted):
        weight = weights.get(id(parameter))
        if weight is None:
            count += parameter.ndim == 2  # A router's.
        elif weight.expected:
            count += 1 if parameter.ndim == 2 else len(parameter)
    return count


def _normal(given: Any, seen: dict[int, Any]) -> Any:
    """Return what blocks are given with inference tensors copied, where something is to be differentiated.

    ``seen``: by identity what was copied before, since what several blocks share must stay one.
    """
    if torch.is_inference_mode_enabled():
        return given
    if id(given) not in seen:
        seen[id(given)] = _copied(given, seen)
    return seen[id(given)]


def _copied(given: Any, seen: dict[int, Any]) -> Any:
    if isinstance(given, Tensor):
        return given.clone() if given.is_inference() else given
    if isinstance(given, Call):
        return Call(_normal(given.args, seen), _normal(given.kwargs, seen), given.keyword)
    if type(given) is dict:
        return {name: _normal(part, seen) for name, part in given.items()}
    return type(given)([_normal(part, seen) for part in given]) if type(given) in (tuple, list) else given
