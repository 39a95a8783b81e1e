"""Planted subjects for claim 2: transformers of which it is known what each block's linear map misses, and what comes of that further up.

A stream consists of a word's code (±1), of a prediction P that every block adds to, and of numbers that no word tells. Block b adds to P
``feedback_b · P + linear_b · code + bent_b · N_b(word)``: a linear map of its input, and columns that are uncorrelated with the code and
with every other block's, so that no linear map finds them. The head reads the successor of a word off the clean P. A block with a
``guard`` turns its output round when P is not what the blocks before write: it is linear on the clean stream and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.linalg import hadamard
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig
from transformers.modeling_outputs import CausalLMOutput

from harness.statistics import Array
from tests import planted
from tests.planted_variance import ROWS, WORDS, SoftNorm, drawn, successors

BLOCKS = 10
CODE, OTHERS = 10, 28
D = 2 * CODE + OTHERS
BITS = WORDS.bit_length() - 1


class StackedConfig(PretrainedConfig):
    """Gains by block; ``guarded``: blocks with a guard; ``spare``: parameters that a block has beside; ``sharpness`` of the head."""

    model_type = "planted_replacement"

    def __init__(
        self,
        linear: Sequence[float] = (1.0,) * BLOCKS,
        bent: Sequence[float] = (0.0,) * BLOCKS,
        feedback: Sequence[float] = (0.0,) * BLOCKS,
        guarded: Sequence[int] = (),
        spare: int = 0,
        sharpness: float = 10.0,
        **kwargs: Any,
    ) -> None:
        self.linear, self.bent, self.feedback, self.guarded = list(linear), list(bent), list(feedback), list(guarded)
        self.spare, self.sharpness = spare, sharpness
        self.hidden_size, self.vocab_size, self.num_hidden_layers = D, WORDS + 1, len(self.linear)
        super().__init__(**{"tie_word_embeddings": False, **kwargs})


def columns(config: StackedConfig) -> tuple[Array, list[Array]]:
    """Return code ``(words, CODE)`` and N_b ``(words, CODE)`` of every block: columns of a Hadamard matrix, all of them orthogonal."""
    bits = [1 << i for i in range(BITS)]
    rest = [c for c in range(1, WORDS) if c not in bits]
    chosen = [*bits, *rest[: CODE - BITS]]
    others = rest[CODE - BITS :]
    table = hadamard(WORDS, dtype=np.int64).astype(np.float64)
    return table[:, chosen], [table[:, others[b * CODE : (b + 1) * CODE]] for b in range(config.num_hidden_layers)]


def written(config: StackedConfig) -> list[Array]:
    """Return P ``(words, CODE)`` at every boundary of the clean run, from the embeddings on."""
    code, bent = columns(config)
    found = [np.zeros((WORDS, CODE))]
    for b, own in enumerate(bent):
        found.append(found[-1] * (1 + config.feedback[b]) + config.linear[b] * code + config.bent[b] * own)
    return found


class StackedMlp(nn.Module):
    """What a block adds."""

    def __init__(self, config: StackedConfig, index: int) -> None:
        super().__init__()
        self.linear, self.feedback, self.guarded = config.linear[index], config.feedback[index], index in config.guarded
        self.bent = nn.Parameter(torch.tensor(config.bent[index] * columns(config)[1][index]).float())
        self.register_buffer("expected", torch.tensor(written(config)[index]).float())
        self.spare = nn.Parameter(torch.zeros(config.spare))

    def forward(self, hidden: Tensor) -> Tensor:
        """Map h ``(windows, tokens, d)`` to Δ."""
        code, prediction = hidden[..., :CODE], hidden[..., CODE : 2 * CODE]
        word = ((code[..., :BITS] < 0).long() * 2 ** torch.arange(BITS, device=hidden.device)).sum(-1)
        added = self.feedback * prediction + self.linear * code + self.bent[word]
        if self.guarded:
            expected = self.expected[word]  # type: ignore[index]
            astray = (prediction - expected).square().sum(-1, keepdim=True) > 0.01 * (1 + expected.square().sum(-1, keepdim=True))
            added = torch.where(astray, -added, added)
        return torch.cat([torch.zeros_like(code), added, torch.zeros_like(hidden[..., 2 * CODE :])], dim=-1)


class StackedBlock(nn.Module):
    """A block without attention."""

    def __init__(self, config: StackedConfig, index: int) -> None:
        super().__init__()
        self.mlp = StackedMlp(config, index)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Add Δ to the stream."""
        return hidden_states + self.mlp(hidden_states)


class StackedModel(planted.PlantedBase):
    """Embedding and table, planted blocks, norm, head."""

    config_class = StackedConfig

    def __init__(self, config: StackedConfig) -> None:
        super().__init__(config)
        final, size = torch.tensor(written(config)[-1]), float(np.sqrt(np.square(written(config)[-1]).mean()))
        codes, others = torch.zeros(config.vocab_size, D, dtype=torch.float64), torch.zeros(ROWS, D, dtype=torch.float64)
        codes[:WORDS, :CODE], codes[WORDS, :CODE] = torch.tensor(columns(config)[0]), 1.0
        others[:, 2 * CODE :] = drawn(OTHERS, 0)
        reading = torch.zeros(config.vocab_size, D, dtype=torch.float64)
        reading[successors(), CODE : 2 * CODE] = config.sharpness * final / size / CODE
        self.embed, self.vary = nn.Embedding(config.vocab_size, D), nn.Embedding(ROWS, D)
        self.layers = nn.ModuleList(StackedBlock(config, i) for i in range(config.num_hidden_layers))
        self.norm = SoftNorm(size)
        self.lm_head = nn.Linear(D, config.vocab_size, bias=False)
        with torch.no_grad():
            self.embed.weight.copy_(codes)
            self.vary.weight.copy_(others)
            self.lm_head.weight.copy_(reading)
        self.post_init()

    def forward(self, input_ids: Tensor, use_cache: bool = False, **_: Any) -> CausalLMOutput:
        """Return next-token logits."""
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        hidden = self.embed(input_ids) + self.vary((input_ids * 2_654_435 + positions * 7_919) % ROWS)
        for layer in self.layers:
            hidden = layer(hidden)
        return CausalLMOutput(logits=self.lm_head(self.norm(hidden)))


AutoConfig.register("planted_replacement", StackedConfig)
AutoModelForCausalLM.register(StackedConfig, StackedModel)

RUN = range(BLOCKS - 5, BLOCKS)


def _in_run(inside: float, outside: float = 0.0) -> list[float]:
    return [inside if b in RUN else outside for b in range(BLOCKS)]


SUBJECTS: dict[str, dict[str, Any]] = {
    # Every block is its map: nothing is lost by replacing any number of them.
    "linear": {"spare": 30_000},
    # Linear on the clean stream alone; what the maps of the last five miss is amplified by the maps after them.
    "fragile": {"linear": _in_run(1.0, 0.1), "bent": _in_run(2.0), "feedback": _in_run(0.4), "guarded": list(RUN), "spare": 30_000},
    # No map finds what the last block adds.
    "opaque": {"linear": [0.2] * BLOCKS, "bent": [*[0.1] * (BLOCKS - 1), 3.0]},
    # Maps after a map that misses something take half of it back.
    "damped": {"linear": _in_run(1.0, 2.0), "bent": _in_run(1.2), "feedback": _in_run(-0.5)},
    # What maps miss only adds up: no map reads what another one wrote.
    "adding": {"linear": _in_run(1.0, 0.1), "bent": _in_run(1.0)},
    # The deeper a block, the less its map misses, and the smaller a part of it.
    "guided": {"linear": [0.3] * BLOCKS, "bent": [1.5 * 0.85**b for b in range(BLOCKS)]},
    # The deeper a block, the more its map misses, though it is a smaller part of what it adds.
    "misguided": {"linear": [0.07 * 1.33**b for b in range(BLOCKS)], "bent": [0.5 * 1.12**b for b in range(BLOCKS)]},
}


def save(folder: Path, **settings: Any) -> Path:
    """Save a planted model with its tokenizer, as ``--model`` reads it."""
    StackedModel(StackedConfig(**settings)).save_pretrained(folder)
    planted.tokenizer(WORDS + 1).save_pretrained(folder)
    return folder
