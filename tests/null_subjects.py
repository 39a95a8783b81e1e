"""Null subjects: models in which what follows a boundary has nothing to do with what stands there, and transformers of random weights.

In a chaotic model every block adds ``√(2·step) · sin(z W)``, z the stream in units of its spread and W Gaussian with arguments of many
radians: a function of the input that no linear map follows (the correlation of sin(σu) with a normal u is σ exp(−σ²/2), 2e-5 for σ = 5).
So the pairing of inputs and Δ is destroyed, as if Δ had been shuffled over tokens, and all blocks are alike. In a scrambled model the last
block moreover replaces the stream by such a function: the final stream, and the model's answers, have nothing to do with mid. Its head
reads plus and minus the rows of a Hadamard matrix, so that by symmetry all answers are equally frequent.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from scipy.linalg import hadamard
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig
from transformers.modeling_outputs import CausalLMOutput

from tests import planted

ROWS = 4096  # of the table of numbers that no word tells
RADIANS = 5.0  # standard deviation of the arguments of a block's sines
SCRAMBLED = 3.0  # of what each coordinate of z contributes to those of a scrambling block: no direction is without effect
SINK_FROM = 1  # the block that writes a sink, which the last one erases


class NullConfig(PretrainedConfig):
    """``blocks``, ``width``, ``words``; ``step``: ‖Δ‖² over ‖h_0‖²; ``spread``: of the largest σ of the stream over the least.

    ``scrambled``: the last block replaces the stream. ``sink``: norm of a massive activation of first positions over that of others.
    ``shares``: of each block's ‖Δ‖² that a linear map explains, 0 unless they are given.
    """

    model_type = "null_subject"

    def __init__(
        self,
        blocks: int = 10,
        width: int = 16,
        words: int = 32,
        step: float = 0.1,
        spread: float = 1.0,
        scrambled: bool = False,
        sink: float = 0.0,
        shares: Sequence[float] | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        self.shares = None if shares is None else list(shares)
        self.words, self.step, self.spread, self.scrambled, self.sink, self.seed = words, step, spread, scrambled, sink, seed
        self.hidden_size, self.vocab_size, self.num_hidden_layers = width, words + 1, blocks
        super().__init__(**{"tie_word_embeddings": False, **kwargs})

    @property
    def sigma(self) -> Tensor:
        """Standard deviation of each coordinate of the stream, the largest 1."""
        return torch.logspace(0, -math.log10(self.spread), self.hidden_size)


class NullMlp(nn.Module):
    """What a block adds."""

    def __init__(self, config: NullConfig, index: int) -> None:
        super().__init__()
        d, generator = config.hidden_size, torch.Generator().manual_seed(1000 * config.seed + index + 1)
        last = index == config.num_hidden_layers - 1
        share = 0.0 if config.shares is None else config.shares[index]
        self.scrambles, self.size = config.scrambled and last, (2 * (1 - share) * config.step) ** 0.5
        size = SCRAMBLED if self.scrambles else RADIANS / d**0.5
        self.chaos = nn.Parameter(torch.randn(d, d, generator=generator) * size)
        self.register_buffer("sigma", config.sigma)
        self.linear = None
        if share:  # A quarter turn is orthogonal to what it turns: z grows by ‖Δ‖² a block, whatever the share.
            turn = torch.kron(torch.eye(d // 2), torch.tensor([[0.0, 1.0], [-1.0, 0.0]]))
            self.linear = nn.Parameter((share * config.step / (1 + config.step * index)) ** 0.5 * turn)
        sign = {SINK_FROM: 1.0, config.num_hidden_layers - 1: -1.0}.get(index, 0.0)
        self.register_buffer("sink", sign * config.sink * nn.functional.one_hot(torch.tensor(0), d) * d**0.5)
        # A massive activation stays out of the arguments: it is written and erased, and does nothing between.
        self.register_buffer("written", config.sink * nn.functional.one_hot(torch.tensor(0), d) * d**0.5 * (index > SINK_FROM))

    def forward(self, hidden: Tensor) -> Tensor:
        """Map h ``(windows, tokens, d)`` to Δ."""
        first = torch.zeros_like(hidden)
        first[:, 0] = 1.0
        z = (hidden - first * self.written) / self.sigma  # type: ignore[operator]
        sines = torch.sin(z @ self.chaos)
        if self.scrambles:
            return 2**0.5 * sines - hidden
        straight = 0.0 if self.linear is None else z @ self.linear
        added: Tensor = (self.size * sines + straight) * self.sigma + first * self.sink
        return added


class NullBlock(nn.Module):
    """A block without attention."""

    def __init__(self, config: NullConfig, index: int) -> None:
        super().__init__()
        self.mlp = NullMlp(config, index)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Add Δ to the stream."""
        return hidden_states + self.mlp(hidden_states)


class NullModel(planted.PlantedBase):
    """Embedding of words and a table of what no word tells; blocks, norm, head."""

    config_class = NullConfig

    def __init__(self, config: NullConfig) -> None:
        super().__init__(config)
        d, generator = config.hidden_size, torch.Generator().manual_seed(1000 * config.seed)
        self.embed, self.vary = nn.Embedding(config.vocab_size, d), nn.Embedding(ROWS, d)
        self.layers = nn.ModuleList(NullBlock(config, index) for index in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(d, eps=1e-6)
        self.lm_head = nn.Linear(d, config.vocab_size, bias=False)
        with torch.no_grad():
            for table in (self.embed.weight, self.vary.weight):
                table.copy_(torch.randn(table.shape, generator=generator) * 0.5**0.5 * config.sigma)
            head = torch.randn(self.lm_head.weight.shape, generator=generator)
            if config.scrambled:
                assert config.words == 2 * d
                rows = torch.tensor(hadamard(d), dtype=torch.float32)
                head = torch.cat([rows, -rows, torch.zeros(1, d)])
            self.lm_head.weight.copy_(head * 2 / d**0.5)
        self.post_init()

    def forward(self, input_ids: Tensor, use_cache: bool = False, **_: Any) -> CausalLMOutput:
        """Return next-token logits."""
        before = torch.cat([torch.zeros_like(input_ids[:, :1]), input_ids[:, :-1]], dim=1)
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        rows = (input_ids * 2_654_435 + before * 40_503 + positions * 7_919) % ROWS
        hidden = self.embed(input_ids) + self.vary(rows)
        for layer in self.layers:
            hidden = layer(hidden)
        return CausalLMOutput(logits=self.lm_head(self.norm(hidden)))


AutoConfig.register("null_subject", NullConfig)
AutoModelForCausalLM.register(NullConfig, NullModel)


def save(folder: Path, **settings: Any) -> Path:
    """Save a null subject with its tokenizer, as ``--model`` reads it."""
    config = NullConfig(**settings)
    NullModel(config).save_pretrained(folder)
    planted.tokenizer(config.vocab_size).save_pretrained(folder)
    return folder


def save_random(folder: Path, seed: int, blocks: int = 10, width: int = 16, words: int = 64, inner: int = 2) -> Path:
    """Save a Llama of random weights with its tokenizer.

    Its head is its embedding, so that it expects words to be repeated, as :func:`text` does: else nothing that is done to it need cost
    anything. All else is Gaussian.
    """
    config = transformers.LlamaConfig(
        vocab_size=words + 1,
        hidden_size=width,
        num_hidden_layers=blocks,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=inner * width,
        max_position_embeddings=64,
        initializer_range=0.6 / width**0.5,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    torch.manual_seed(seed)
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.randn(words + 1, width))
        model.lm_head.weight.copy_(model.model.embed_tokens.weight * 2 / width**0.5)
    model.save_pretrained(folder)
    planted.tokenizer(words + 1).save_pretrained(folder)
    return folder


def text(count: int, seed: int, words: int, repeated: float = 0.0) -> str:
    """Write ``count`` words drawn alike, or, as often as told, the word before once more."""
    draw = random.Random(seed)
    found = [draw.randrange(words)]
    while len(found) < count:
        found.append(found[-1] if draw.random() < repeated else draw.randrange(words))
    return " ".join(f"w{word}" for word in found) + "\n"
