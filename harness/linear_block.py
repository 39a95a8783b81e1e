"""A linear map as a module in a block's place, and the exchange of blocks for such modules.

The module holds its tensors in float32 and computes in float64, as the interventions of claim 2 do (:mod:`harness.replaced`), then rounds
once to the stream's own type: a massive activation, 10⁴ times the rest, costs its neighbours no digits, whatever the type of the model,
under autocast, and where products in float32 are shortened. On MPS, which has no float64, the host computes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, CacheLayerMixin

from harness.anatomy import Anatomy, take_hidden
from harness.errors import SubjectError
from harness.maps import of_parts
from harness.sweep import moment_device


class LinearBlock(nn.Module):
    """h ↦ h + m(h) at every position, ``(windows, tokens, d)``, for whatever a model passes its blocks.

    ``parts``: the tensors of a map (:func:`harness.maps.parts_of`), kept as float32 parameters. ``cache_index``: the place of the block
    in the model's cache. ``yields_tuple``: whether the block returned a tuple. ``plain``: attributes of the block that a model may look at.

    It keeps no keys and values. But a cache tells how many tokens it has seen by those of some block, mostly the first: so the module puts
    one empty number a token in its place there, and a model generates as without a cache, whichever blocks are replaced. What a model
    records through the class of its blocks (``output_hidden_states``) leaves linear blocks out.
    """

    def __init__(
        self, parts: Mapping[str, Tensor], cache_index: int, yields_tuple: bool, plain: Mapping[str, str | int | float | bool | None]
    ) -> None:
        super().__init__()
        for name, value in plain.items():
            setattr(self, name, value)
        self.cache_index, self.yields_tuple, self.plain = cache_index, yields_tuple, dict(plain)
        for name, part in parts.items():
            self.register_parameter(name, nn.Parameter(part.float(), requires_grad=False))
        of_parts(parts)  # Refuses what is no map.

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return h + m(h) in the stream's type, in a tuple where the block returned one."""
        hidden, call = take_hidden(args, kwargs)
        for given in (*call.args, *call.kwargs.values()):
            if isinstance(given, Cache):
                self._count(given, hidden)
        where = moment_device(hidden.device)
        x = hidden.to(where).double()
        each = of_parts({name: part.to(where).double() for name, part in self.named_parameters()})
        out = (x + each(x)).to(hidden.dtype).to(hidden.device)
        return (out,) if self.yields_tuple else out

    def _count(self, cache: Cache, hidden: Tensor) -> None:
        """Tell the cache of tokens that it would not see. Raises SubjectError for a cache of states that are no keys and values."""
        layer = cache.layers[self.cache_index] if self.cache_index < len(cache.layers) else None
        if hasattr(layer, "conv_states"):
            raise SubjectError(
                f"block {self.cache_index} is replaced, and a cache keeps of it no keys and values but a state, which a map has not; "
                "run the model without a cache: generate(…, use_cache=False)"
            )
        if layer is not None and not isinstance(layer, CacheLayerMixin):
            return  # A place for a block that keeps nothing.
        held = getattr(layer, "keys", None)  # A cache of fixed size has its shape beforehand.
        heads, size = (1, 1) if held is None or held.ndim != 4 else (held.shape[1], held.shape[3])
        empty = hidden.new_zeros(hidden.shape[0], heads, hidden.shape[1], size)
        cache.update(empty, empty, self.cache_index)

    def extra_repr(self) -> str:
        """Name the tensors and their shapes."""
        return ", ".join(f"{name} {tuple(part.shape)}" for name, part in self.named_parameters())


def put_in_place(anatomy: Anatomy, maps: Mapping[int, Mapping[str, Tensor]]) -> dict[int, nn.Module]:
    """Exchange blocks of a model for their maps, block → parts; returns the blocks that were there, which nothing in the model holds on to.

    Raises SubjectError, with the blocks put back, for a map of another width.
    """
    taken: dict[int, nn.Module] = {}
    for block, parts in maps.items():
        if parts["weight"].shape[0] != anatomy.width:
            put_back(anatomy, taken)
            raise SubjectError(f"block {block}: a map of width {parts['weight'].shape[0]}, the model has {anatomy.width}")
        old = anatomy.blocks[block]
        taken[block] = old
        _put(anatomy, block, in_place_of(old, block, anatomy.yields_tuple(block), parts))
    return taken


def put_back(anatomy: Anatomy, blocks: Mapping[int, nn.Module]) -> None:
    """Put blocks back that :func:`put_in_place` returned."""
    for block, module in blocks.items():
        _put(anatomy, block, module)


@contextlib.contextmanager
def replaced_by(anatomy: Anatomy, maps: Mapping[int, Mapping[str, Tensor]]) -> Iterator[None]:
    """Have maps in the place of blocks for as long as the context lasts; restored on any exit."""
    taken = put_in_place(anatomy, maps)
    try:
        yield
    finally:
        put_back(anatomy, taken)


def _put(anatomy: Anatomy, block: int, module: nn.Module) -> None:
    stack: Any = anatomy.model.get_submodule(anatomy.blocks_name)
    stack[block] = anatomy.blocks[block] = module


def in_place_of(old: nn.Module, block: int, yields_tuple: bool, parts: Mapping[str, Tensor]) -> LinearBlock:
    """Make the module that takes a block's place, on its device; ``block`` is its place in the cache, unless it says another."""
    indices = (getattr(module, "layer_idx", None) for module in old.modules())
    cache_index = next((index for index in indices if type(index) is int), block)
    plain = {
        name: value
        for name, value in vars(old).items()
        if isinstance(value, str | int | float | bool | None) and not name.startswith("_") and name not in {*vars(nn.Module()), *parts}
    }
    new = LinearBlock(parts, cache_index, yields_tuple, plain)
    where = next((p.device for p in old.parameters()), torch.device("cpu"))
    return new.to(torch.device("cpu") if where.type == "meta" else where).train(old.training)
