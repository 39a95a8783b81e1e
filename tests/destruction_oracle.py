"""Destroyed blocks written again from their definitions: NumPy in float64, a copy of the model with other weights, run whole with hooks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import transformers
from scipy.special import log_softmax

from tests.families import config_of
from tests.replacement_oracle import FACTOR, Array, Truth

BLOCKS, D, WORDS, MASSIVE = 7, 12, 60, 5
_GATED = {"attention": [f"self_attn.{name}_proj" for name in "qkvo"], "mlp": [f"mlp.{name}_proj" for name in ("gate", "up", "down")]}
CONFIGS: dict[str, Any] = {
    family: config_of(family, BLOCKS, D, heads=3, vocabulary=WORDS, wide=20) for family in ("llama", "gpt2", "mixtral", "opt", "gemma2")
}
LAYERS: dict[str, dict[str, list[str]]] = {
    "llama": _GATED,
    "gpt2": {"attention": ["attn.c_attn", "attn.c_proj"], "mlp": ["mlp.c_fc", "mlp.c_proj"]},
    "mixtral": {"attention": _GATED["attention"], "mlp": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]},
    "opt": {"attention": [f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")], "mlp": ["fc1", "fc2"]},
    "gemma2": _GATED,
}
WRITES = {"llama": "mlp", "gpt2": "mlp", "mixtral": "mlp", "opt": "fc2", "gemma2": "post_feedforward_layernorm"}
"""The module whose output is what the MLP adds to the stream."""


def made(family: str) -> Any:
    """Return a random model in float64, of which one token is massive from the start."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[family]).eval().requires_grad_(False).double()
    model.config._experts_implementation = "eager"  # Others have no float64.
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            parameter.mul_(8)
        elif name.endswith("bias"):
            parameter.normal_(std=0.1)
    model.get_input_embeddings().weight[MASSIVE] *= 20
    return model


def blocks_of(model: Any) -> Any:
    """The blocks."""
    inner = model.model.decoder if hasattr(model, "model") and hasattr(model.model, "decoder") else getattr(model, "model", None)
    return model.transformer.h if inner is None else inner.layers


def four_values(matrix: Array) -> Array:
    """Store each row ``(…, out, in)`` as four evenly spaced values; the lowest rounded down, their step up, to 11 significant bits."""
    low, high = matrix.min(-1, keepdims=True), matrix.max(-1, keepdims=True)

    def spacing(numbers: Array) -> Array:
        return np.ldexp(1.0, np.frexp(numbers)[1] - 11)

    low = np.floor(low / spacing(low)) * spacing(low)
    step = (high - low) / 3
    step = np.maximum(np.ceil(step / spacing(step)) * spacing(step), 2 * spacing(low))
    return low + np.clip(np.round((matrix - low) / step), 0, 3) * step


class Destroyed(Truth):
    """A model on some windows, run whole with the weights of some blocks destroyed, or with the last MLP's output changed."""

    def __init__(self, family: str, model: Any, ids: Array) -> None:
        self.family = family
        super().__init__(model, blocks_of(model), ids)

    def logits_of(self, parts: Mapping[int, str], everywhere: bool) -> Array:
        """Logits with a part of each of some blocks destroyed; positions that are not typical at such a block are clean at its output."""
        other = copy.deepcopy(self.model)
        for block, part in parts.items():
            for side, names in LAYERS[self.family].items():
                for name in names if part in (side, "both") else ():
                    held = blocks_of(other)[block].get_parameter(name if "experts" in name else f"{name}.weight")
                    matrix = held.numpy().swapaxes(-1, -2) if self.family == "gpt2" else held.numpy()
                    stored = four_values(matrix)
                    held.copy_(torch.from_numpy(stored.swapaxes(-1, -2).copy() if self.family == "gpt2" else stored))
        return self._run(other, {b: None if everywhere else self.typical(b) for b in parts})

    def without_mlp(self, value: Array, everywhere: bool) -> Array:
        """Logits with what the last MLP writes replaced."""
        other, last = copy.deepcopy(self.model), len(self.blocks) - 1

        def put(module: Any, args: Any, out: Any) -> Any:
            return torch.from_numpy(np.broadcast_to(value, out.shape).copy())

        blocks_of(other)[last].get_submodule(WRITES[self.family]).register_forward_hook(put)
        return self._run(other, {last: None if everywhere else self.typical(last)})

    def mlp_outputs(self) -> Array:
        """What the last MLP writes in the clean run: ``(windows, tokens, d)``."""
        seen: list[Array] = []
        writer = self.blocks[-1].get_submodule(WRITES[self.family])
        hook = writer.register_forward_hook(lambda _, args, out: seen.append(out.numpy().reshape(*self.ids.shape, D)))
        self.run({})
        hook.remove()
        return seen[0]

    def kl_at(self, logits: Array) -> Array:
        """KL(clean ‖ other) at each position but the last of each window."""
        clean, other = (log_softmax(part[:, :-1], -1) for part in (self.logits, logits))
        found: Array = (np.exp(clean) * (clean - other)).sum(-1)
        return found

    def _run(self, model: Any, marked: Mapping[int, Array | None]) -> Array:
        def restore(block: int, mask: Array | None) -> Callable[..., Any]:
            def change(module: Any, args: Any, out: Any) -> Any:
                after = (out[0] if isinstance(out, tuple) else out).numpy()
                new = torch.from_numpy(after if mask is None else np.where(mask[..., None], after, self.clean[block][1]))
                return (new, *out[1:]) if isinstance(out, tuple) else new

            return change

        for block, mask in marked.items():
            blocks_of(model)[block].register_forward_hook(restore(block, mask))
        with torch.inference_mode():
            found: Array = model(torch.from_numpy(self.ids), use_cache=False).logits.numpy()
        return found


__all__ = ["BLOCKS", "CONFIGS", "FACTOR", "MASSIVE", "WORDS", "D", "Destroyed", "four_values", "made"]
