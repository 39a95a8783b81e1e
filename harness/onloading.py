"""Blocks brought to the device one at a time, for a model whose weights do not fit there together.

All weights stay on the host; a block's are copied to the device when it runs, and the copy is let go when another block runs. What walks
block by block over many windows so brings every block in once. Embedding, final norm, head and tables, which every batch needs, are on the
device all the time. Figures are those of a model that is on the device whole: the same kernels run on the same numbers.

Weights are not carried back: whoever writes to a block's weights brings it in first, and restores them before another block runs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Mover = Callable[[Tensor], Tensor]
"""Copies a tensor of the host to the device."""


class Onloader:
    """Brings blocks in when they are called; at most one is there at a time.

    ``device``: where blocks run. ``copy`` makes the copy there. The rest of the model is put on the device here.
    """

    def __init__(self, model: nn.Module, blocks: Sequence[nn.Module], device: torch.device, copy: Mover | None = None) -> None:
        self.device = device
        self.resident: nn.Module | None = None
        self._copy = copy or (lambda tensor: tensor.to(device, copy=True))
        inside = {id(tensor) for block in blocks for tensor in _tensors(block)}
        self._held = {id(block): [(tensor, tensor.data) for tensor in _tensors(block)] for block in blocks}
        for tensor in _tensors(model):
            if id(tensor) not in inside:
                tensor.data = tensor.data.to(device)
        for block in blocks:
            block.__dict__["forward"] = functools.wraps(block.forward)(functools.partial(self._run, block, block.forward))

    def bring(self, block: nn.Module) -> None:
        """Have a block on the device, and no other. What is none of the blocks, such as a map in the place of one, is left alone."""
        if block is self.resident or id(block) not in self._held:
            return
        self._let_go()
        # Outside of inference mode, whose tensors could not stand in a parameter's place when it is left.
        with torch.inference_mode(False), torch.no_grad():
            self.resident = block
            try:
                for tensor, held in self._held[id(block)]:
                    tensor.data = self._copy(held)
            except BaseException:  # Memory may have run out halfway.
                self._let_go()
                raise

    def _let_go(self) -> None:
        if self.resident is not None:
            for tensor, held in self._held[id(self.resident)]:
                tensor.data = held
            self.resident = None

    def _run(self, block: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.bring(block)
        return forward(*args, **kwargs)


def _tensors(module: nn.Module) -> list[Tensor]:
    """Parameters and buffers of a module, each once."""
    return [*module.parameters(), *module.buffers()]
