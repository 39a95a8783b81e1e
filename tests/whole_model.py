"""A saved model as transformers itself loads it, in float64, run whole: what the harness must find, whatever the family."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from harness.laboratory import Laboratory
from tests.destruction_oracle import four_values
from tests.replacement_oracle import Array, Truth, rank_map


class Whole(Truth):
    """A model on some windows; of a GGUF file ``file`` is its name in the folder."""

    def __init__(self, folder: Path, ids: Array, blocks: int, file: str | None = None) -> None:
        named: dict[str, Any] = {} if file is None else {"gguf_file": file}
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager", **named).eval()
        model.config._experts_implementation = "eager"  # Others have no float64.
        stacks = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList) and len(module) == blocks]
        super().__init__(model.requires_grad_(False), stacks[0], ids)

    def destroyed(self, block: int) -> Array:
        """Logits with each row of each weight matrix of a block, routers apart, stored as four values; GPT-2 stores columns."""
        held = {}
        for name, module in self.blocks[block].named_modules():
            turned = isinstance(module, transformers.pytorch_utils.Conv1D)
            for parameter in module.parameters(recurse=False):
                if parameter.ndim > 1 and not f"{name}.".endswith(("gate.", "router.")):
                    held[parameter] = parameter.clone()
                    matrix = parameter.numpy().T if turned else parameter.numpy()
                    parameter.copy_(torch.from_numpy((four_values(matrix).T if turned else four_values(matrix)).copy()))
        logits = self.run({})[1]
        for parameter, weights in held.items():
            parameter.copy_(weights)
        return logits

    def r2(self) -> list[float]:
        """R² of every block on these windows, as published."""
        found = []
        for before, after in self.clean:
            x, y = before.reshape(-1, before.shape[-1]), (after - before).reshape(-1, before.shape[-1])
            found.append(1 - np.square(y - rank_map(x, y)[0](x)).sum() / np.square(y).sum())
        return found


@dataclass(frozen=True)
class Close:
    """How close figures must be: perplexity and KL as shares of what they are, R² in its own unit."""

    perplexity: float = 1e-5
    kl: float = 1e-4
    r2: float = 1e-5


EXACT = Close()
"""What a run in float32 keeps of float64."""


def agrees(lab: Laboratory, folder: Path, block: int, file: str | None = None, close: Close = EXACT) -> None:
    """Assert that perplexity, the KL of a destroyed block in each window and R² of every block are those of the model run whole."""
    ids, blocks = lab.windows("paper"), lab.model.n_blocks
    scored, fitted = (Whole(folder, ids[split], blocks, file) for split in ("evaluation", "calibration"))
    profile = lab.profile("paper")
    np.testing.assert_allclose(profile.baseline, np.exp(scored.nll(scored.logits).mean()), rtol=close.perplexity)
    np.testing.assert_allclose(profile.arrays["kl"][0, block], scored.kl(scored.destroyed(block)), rtol=close.kl, atol=1e-5)
    np.testing.assert_allclose(lab.linearity("paper").r2.value, fitted.r2(), atol=close.r2)
