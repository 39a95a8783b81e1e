"""A block with its weight matrices, or those of its attention or its MLP, stored in so few values that little of them is left (INT2).

The linear layers are those that one run of the block shows (:class:`harness.layer_inputs.LayerInputs`): experts are among them, routers
are not. What belongs to attention is told by the modules that the block's parameters stand in; all other layers are the MLP's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fixtures.naming import printable
from harness.anatomy import Anatomy
from harness.branches import branch, run_block
from harness.concurrency import in_parallel
from harness.destroyed import ATTENTION, BOTH, MLP
from harness.errors import MeasurementError, SubjectError
from harness.layer_inputs import LayerInputs
from harness.layers import Layer, replaced_weights
from harness.quantizers import Uniform
from harness.sweep import moment_device
from harness.windows import Ids


@dataclass(frozen=True, eq=False)
class DestroyedBlock:
    """A block, its linear layers, what stands for their weights when they are destroyed, and part → the indices of its layers."""

    anatomy: Anatomy
    block: int
    layers: list[Layer]
    matrices: list[Tensor]
    parts: dict[str, tuple[int, ...]]

    def run(self, part: str, stream: Tensor, ids: Ids) -> Tensor:
        """Run the block on a stream ``(windows, tokens, d)`` with a part of it destroyed; the weights are put back on any exit."""
        mine = self.parts[part]
        self.anatomy.bring(self.block)
        with replaced_weights([self.layers[i] for i in mine], [self.matrices[i] for i in mine]):
            return run_block(self.anatomy, self.block, stream, ids)

    def apart(self) -> Iterator[tuple[str, list[str]]]:
        """Yield a part for each set of layers, and all parts that are this set: a block without attention is its MLP.

        Parts without layers are left out.
        """
        for part, mine in self.parts.items():
            alike = [other for other in self.parts if self.parts[other] == mine]
            if mine and part == alike[0]:
                yield part, alike


class Destroyer:
    """Makes destroyed blocks: asymmetric grids of ``levels`` values a row of W ``(out, in)``, whose ends are the row's extremes.

    Raises MeasurementError, when a block is asked for, where a weight matrix cannot be followed: half a block would be destroyed and
    called the whole.
    """

    def __init__(self, anatomy: Anatomy, levels: int) -> None:
        self._anatomy, self._quantizer = anatomy, Uniform(levels, per="row")
        self._inputs = LayerInputs(anatomy)

    def __call__(self, block: int, stream: Tensor, ids: Ids) -> DestroyedBlock:
        """Return a block destroyed; its first window h_b, of ``stream (windows, tokens, d)``, shows the layers."""
        with self._inputs:  # For this window alone: what stays of the run is which layers there are.
            run_block(self._anatomy, block, stream[:1], ids[:1])
            self._inputs.take(1, ids.shape[1])
        layers = self._inputs.layers(block)
        if unseen := self._inputs.unseen:
            raise MeasurementError(f"{printable(unseen[0])}, so that block {block} cannot be destroyed as a whole")
        if not layers:
            raise MeasurementError(f"block {block} has no linear layer that could be destroyed")
        attention = _attention(self._anatomy, block)
        side = [ATTENTION if id(layer.parameter) in attention else MLP for layer in layers]
        parts = {BOTH: tuple(range(len(layers)))}
        parts |= {part: tuple(i for i, each in enumerate(side) if each == part) for part in (ATTENTION, MLP)}
        matrices = in_parallel(self._destroyed, layers, moment_device(stream.device))
        return DestroyedBlock(self._anatomy, block, layers, matrices, parts)

    def _destroyed(self, layer: Layer) -> Tensor:
        return self._quantizer.quantized(layer.matrix()).to(layer.parameter.dtype)


def _attention(anatomy: Anatomy, block: int) -> set[int]:
    """Return the identities of the parameters in a block's attention, or attentions: none where it has none."""
    try:
        others = {id(module) for module in anatomy.mlp(block)}
    except SubjectError:
        others = set()
    return {id(p) for child in anatomy.blocks[block].children() if id(child) not in others for p in child.parameters()}


def at_marked(marked: Tensor | None, changed: Tensor, clean: Tensor) -> Tensor:
    """Return the changed stream at marked positions ``(windows, tokens) bool`` and the clean one elsewhere; None marks all."""
    return changed if marked is None else torch.where(marked[..., None], changed, clean)


def to_the_end(anatomy: Anatomy, stream: Tensor, block: int, ids: Ids) -> Tensor:
    """Run what lies above a block, from its output: h_B ``(windows, tokens, d)``."""
    ((_, final),) = branch(anatomy, stream, block, ids, [()])
    return final[0]
