"""A planted subject in which only the last block looks at the word before, which decides what follows: a LoRA can have lower ones look too.

The stream holds the word, the answer that the head reads, and a constant. Each block adds what one matrix makes of the word before, and
all these matrices but the last block's are zero: below it no head can know the answer, whatever it is trained on.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from tests import planted

WORDS, BLOCKS = 12, 4
D = 2 * WORDS + 4
FAITH = 0.8  # how often a text says what the model says, and not any word


class LookConfig(PretrainedConfig):
    """``low``: a block that looks at the word before, where not only the last one does."""

    model_type = "planted_look"

    def __init__(self, low: int | None = None, **kwargs: Any) -> None:
        self.low = low
        self.hidden_size, self.vocab_size, self.num_hidden_layers = D, WORDS + 1, BLOCKS
        super().__init__(**{"tie_word_embeddings": False, **kwargs})


class Look(nn.Module):
    """What a matrix makes of the word before."""

    def __init__(self, looks: bool) -> None:
        super().__init__()
        self.value = nn.Linear(D, D, bias=False)
        with torch.no_grad():
            self.value.weight.zero_()
            if looks:
                self.value.weight[WORDS : 2 * WORDS, :WORDS] = torch.eye(WORDS).roll(1, 0)  # The answer to a word is the next one.

    def forward(self, hidden: Tensor) -> Tensor:
        """Map h ``(windows, tokens, d)`` to Δ."""
        found: Tensor = self.value(nn.functional.pad(hidden[:, :-1], (0, 0, 1, 0)))
        return found


class LookBlock(nn.Module):
    """Attention alone."""

    def __init__(self, looks: bool) -> None:
        super().__init__()
        self.attention = Look(looks)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Add Δ to the stream."""
        return hidden_states + self.attention(hidden_states)


class LookModel(planted.PlantedBase):
    """Embedding, planted blocks, norm, head."""

    config_class = LookConfig

    def __init__(self, config: LookConfig) -> None:
        super().__init__(config)
        self.embed, self.lm_head = nn.Embedding(WORDS + 1, D), nn.Linear(D, WORDS + 1, bias=False)
        self.layers = nn.ModuleList(LookBlock(index in (config.low, BLOCKS - 1)) for index in range(BLOCKS))
        self.norm = nn.RMSNorm(D, eps=1e-6)
        with torch.no_grad():
            self.embed.weight.zero_()
            self.embed.weight[:WORDS, :WORDS] = torch.eye(WORDS)
            self.embed.weight[:, 2 * WORDS :] = 1.0
            self.lm_head.weight.zero_()
            self.lm_head.weight[:WORDS, WORDS : 2 * WORDS] = 2 * torch.eye(WORDS)
        self.post_init()


AutoConfig.register("planted_look", LookConfig)
AutoModelForCausalLM.register(LookConfig, LookModel)


def save(folder: Path, **settings: Any) -> Path:
    """Save a planted model with its tokenizer, as ``--model`` reads it."""
    LookModel(LookConfig(**settings)).save_pretrained(folder)
    planted.tokenizer(WORDS + 1).save_pretrained(folder)
    return folder


def corpus(folder: Path, tokens: int) -> Path:
    """Write a corpus of so many words a split, each mostly the answer to the one before the last."""
    folder.mkdir()
    for name, seed in (("train", 1), ("test", 2)):
        draw, found = random.Random(seed), [0, 0]
        while len(found) < tokens:
            found.append((found[-2] + 1) % WORDS if draw.random() < FAITH else draw.randrange(WORDS))
        (folder / f"{name}.txt").write_text(" ".join(f"w{word}" for word in found))
    return folder
