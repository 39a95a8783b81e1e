"""Planted subjects for destroyed blocks: it is known how much of the next-token distribution rests on each matrix, and on which tokens.

A word's numbers ``z`` stand in the stream in one segment a block, times the word's ``loudness``. Attention and MLP of block b, neither of
which mixes tokens, add ``gain · W z_b`` to a prediction that the head reads, with Gaussian W of which INT2 loses about as much in each.
No block reads what another one writes, and the norm all but leaves the stream alone: a matrix destroyed costs a KL that grows with the
square of its gain and of the word's loudness, which is common to all blocks, as z_b is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from tests import planted
from tests.planted_variance import SoftNorm

BLOCKS, SEGMENT, READ, WORDS = 12, 6, 24, 512


class WeighedConfig(PretrainedConfig):
    """Gains of attention and MLP by block, 0 where a block has none; ``spread``: σ of the logarithm of words' loudness."""

    model_type = "planted_destruction"

    def __init__(
        self,
        attention: Sequence[float] = (1.0,) * BLOCKS,
        mlp: Sequence[float] = (1.0,) * BLOCKS,
        spread: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        self.attention, self.mlp, self.spread, self.seed = list(attention), list(mlp), spread, seed
        self.num_hidden_layers, self.vocab_size = len(self.mlp), WORDS
        self.hidden_size = READ + SEGMENT * len(self.mlp)
        super().__init__(**{"tie_word_embeddings": False, **kwargs})


class Side(nn.Module):
    """What attention or the MLP adds: a matrix times the block's segment, to the prediction."""

    def __init__(self, config: WeighedConfig, block: int, gain: float, generator: torch.Generator) -> None:
        super().__init__()
        self.segment = slice(READ + SEGMENT * block, READ + SEGMENT * (block + 1))
        self.write = nn.Linear(SEGMENT, READ, bias=False)
        self.write.weight.data = gain * torch.randn(READ, SEGMENT, generator=generator) / SEGMENT**0.5

    def forward(self, hidden: Tensor) -> Tensor:
        """Map h ``(windows, tokens, d)`` to Δ."""
        return nn.functional.pad(self.write(hidden[..., self.segment]), (0, hidden.shape[-1] - READ))


class WeighedBlock(nn.Module):
    """A block of one side or two."""

    def __init__(self, config: WeighedConfig, block: int, generator: torch.Generator) -> None:
        super().__init__()
        sides = {name: getattr(config, name)[block] for name in ("attention", "mlp")}
        for name, gain in sides.items():
            if gain:
                self.add_module(name, Side(config, block, gain, generator))

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Add Δ to the stream."""
        for side in self.children():
            hidden_states = hidden_states + side(hidden_states)
        return hidden_states


class WeighedModel(planted.PlantedBase):
    """Embedding, planted blocks, norm, head."""

    config_class = WeighedConfig

    def __init__(self, config: WeighedConfig) -> None:
        super().__init__(config)
        d, generator = config.hidden_size, torch.Generator().manual_seed(config.seed)
        self.embed, self.lm_head = nn.Embedding(config.vocab_size, d), nn.Linear(d, config.vocab_size, bias=False)
        self.layers = nn.ModuleList(WeighedBlock(config, b, generator) for b in range(config.num_hidden_layers))
        self.norm = SoftNorm(100.0)
        with torch.no_grad():
            loudness = torch.exp(config.spread * torch.randn(config.vocab_size, 1, generator=generator))
            self.embed.weight.copy_(loudness * torch.randn(config.vocab_size, d, generator=generator))
            self.embed.weight[:, :READ] = 0
            self.lm_head.weight.zero_()
            self.lm_head.weight[:, :READ] = 4 * torch.randn(config.vocab_size, READ, generator=generator)
        self.post_init()


AutoConfig.register("planted_destruction", WeighedConfig)
AutoModelForCausalLM.register(WeighedConfig, WeighedModel)

_EDGES = [3.0 if b in (0, BLOCKS - 1) else 1.0 for b in range(BLOCKS)]
SUBJECTS: dict[str, dict[str, Any]] = {
    # The first and the last block write three times what others do.
    "edges": {"attention": _EDGES, "mlp": _EDGES},
    # They write a third of it.
    "middle": {"attention": [1 / gain for gain in _EDGES], "mlp": [1 / gain for gain in _EDGES]},
    # What a late block is worth to a token says nothing of what another one is.
    "apart": {},
    # Loud words need every late block, others none: as far apart as makes three in ten easy.
    "alike": {"spread": 0.68},
    # As far apart as makes nearly half of them easy.
    "same": {"spread": 3.0},
    # Attention, then the MLP, then both, then attention alone.
    "phases": {"attention": [3.0] * 2 + [0.5] * 4 + [1.0] * 4 + [1.0] * 2, "mlp": [1.0] * 2 + [1.0] * 4 + [1.0] * 4 + [0.0] * 2},
}


def save(folder: Path, **settings: Any) -> Path:
    """Save a planted model with its tokenizer, as ``--model`` reads it."""
    WeighedModel(WeighedConfig(**settings)).save_pretrained(folder)
    planted.tokenizer(WORDS).save_pretrained(folder)
    return folder
