"""The small Llama up to its later massive activation: what each of its linear layers is given, and its costs with other weights."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.special import log_softmax

from tests.small_llama import GROUPS, Whole

Array = np.ndarray[Any, Any]
READ = {
    "self_attn.q_proj": "attention",
    "self_attn.k_proj": "attention",
    "self_attn.v_proj": "attention",
    "self_attn.o_proj": "heads",
    "mlp.gate_proj": "mlp",
    "mlp.up_proj": "mlp",
    "mlp.down_proj": "neurons",
}
"""What the layers of a Llama's block are given: those with the same name share it."""
BLOCKS = 5  # of the small Llama: up to the one that writes the later massive activation
LAYERS = [(b, name) for b in range(BLOCKS) for name in READ]


class Truth(Whole):
    """A model and its windows, what its layers are given, and its costs with other weights."""

    @cached_property
    def inputs(self) -> dict[str, dict[tuple[int, str], Array]]:
        """What each layer is given, by split: ``(windows, tokens, in)``."""
        found: dict[str, dict[tuple[int, str], Array]] = {}
        for split in self.ids:
            seen: dict[tuple[int, str], list[Array]] = {layer: [] for layer in LAYERS}
            hooks = [
                self.linear(layer).register_forward_pre_hook(lambda _, given, kept=kept: kept.append(given[0].double().numpy().copy()))
                for layer, kept in seen.items()
            ]
            self.run(split, lambda *given: None)
            for hook in hooks:
                hook.remove()
            found[split] = {layer: np.concatenate(kept) for layer, kept in seen.items()}
        return found

    def linear(self, layer: tuple[int, str]) -> Any:
        """The module of a layer."""
        return self.model.model.layers[layer[0]].get_submodule(layer[1])

    def weight(self, layer: tuple[int, str]) -> Array:
        """W ``(out, in)``."""
        found: Array = self.linear(layer).weight.detach().double().numpy().copy()
        return found

    def groups(self, split: str) -> Array:
        """The group of each window: as equal as can be, in order."""
        windows = len(self.ids[split])
        return np.arange(windows) * min(GROUPS, windows) // windows

    @cached_property
    def clean(self) -> Array:
        """Logits of the clean run on the windows that costs are taken on."""
        return self.run("intervention", lambda *given: None)

    def costs(self, weights: dict[tuple[int, str], Array], everywhere: bool) -> tuple[Array, Array]:
        """Negative log-likelihood and KL by window, with other weights; positions that are not typical at a block stay clean there."""

        def hook(block: int, windows: slice, given: torch.Tensor, out: torch.Tensor) -> torch.Tensor | None:
            if everywhere:
                return None
            stays = torch.from_numpy(~self.typical("intervention", block)[windows])
            return torch.where(stays[..., None], torch.from_numpy(self.after(block, "intervention")[windows]).to(out), out)

        held = {layer: self.linear(layer).weight.data for layer in weights}
        for layer, matrix in weights.items():
            self.linear(layer).weight.data = torch.from_numpy(matrix).to(held[layer])
        logits = self.run("intervention", hook)
        for layer, matrix in held.items():
            self.linear(layer).weight.data = matrix
        clean, other = (log_softmax(part[:, :-1], -1) for part in (self.clean, logits))
        return self.nll(logits), (np.exp(clean) * (clean - other)).sum(-1).mean(1)

    def nll(self, logits: Array) -> Array:
        """Mean negative log-likelihood of the next token of each window."""
        said, ids = log_softmax(logits[:, :-1], -1), self.ids["intervention"]
        return -np.take_along_axis(said, ids[:, 1:, None], -1)[..., 0].mean(1)
