"""Planted subjects: models whose truth is known, as real modules that go through the same loader, anatomy and hooks as any other.

A planted block adds ``Δ = c·h L + s·noise(h)``: a linear map of its input, and a deterministic but chaotic function of it that no linear
map can follow. ``shares[b]`` is the share of ‖Δ‖² that is linear, so the R² of block b in the limit of many tokens.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import CausalLMOutput

STEP = 0.3  # ‖Δ‖² a block, relative to ‖h_0‖²
RISING = [0.02, 0.15, 0.3, 0.45, 0.6, 0.75, 0.88, 0.99]  # shares of eight blocks on which claim 4 holds
CHAOS = 300.0  # radians for a unit of h: neighbouring inputs get unrelated noise


class PlantedConfig(PretrainedConfig):
    """Shares, sizes, and the fault that a test plants."""

    model_type = "planted"

    def __init__(
        self,
        shares: list[float] | None = None,
        hidden_size: int = 16,
        vocab_size: int = 512,
        rank: int | None = None,
        seed: int = 0,
        fault: str | None = None,
        tie_word_embeddings: bool = False,
        **kwargs: Any,
    ) -> None:
        self.shares = shares if shares is not None else [0.5] * 4
        self.num_hidden_layers = len(self.shares)
        self.hidden_size = hidden_size
        self.vocab_size = vocab_size
        self.rank = rank
        self.seed = seed
        self.fault = fault
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)


class PlantedMlp(nn.Module):
    """What a planted block adds."""

    def __init__(self, config: PlantedConfig, index: int) -> None:
        super().__init__()
        d, share = config.hidden_size, config.shares[index]
        generator = torch.Generator().manual_seed(1000 * config.seed + index)
        linear = torch.linalg.qr(torch.randn(d, d, generator=generator))[0]
        if config.rank is not None:  # what a block adds lies in few directions
            linear = linear[:, : config.rank] @ torch.linalg.qr(torch.randn(d, config.rank, generator=generator))[0].T
        size = 1 + STEP * index  # mean square of h_index, by construction
        self.linear = nn.Parameter(linear * (share * STEP / size) ** 0.5)
        self.chaos = nn.Parameter(torch.randn(d, d, generator=generator) * CHAOS / d**0.5)
        self.noise = float((2 * (1 - share) * STEP) ** 0.5)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map h ``(windows, tokens, d)`` to Δ of the same shape."""
        return hidden @ self.linear + self.noise * torch.sin(hidden @ self.chaos)


class PlantedBlock(nn.Module):
    """A block without attention: its truth is one map."""

    def __init__(self, config: PlantedConfig, index: int) -> None:
        super().__init__()
        self.mlp = PlantedMlp(config, index)
        self.in_place = config.fault == "in place"
        self.breaks = config.fault == f"nan at {index}"
        # Only what real text brings, not the probe of admission, goes beyond fp16: positions from 16 on.
        self.overflows = config.fault == f"overflows at {index}"

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Add Δ to the stream."""
        if self.in_place:
            hidden_states += self.mlp(hidden_states)
            return hidden_states
        out = hidden_states + self.mlp(hidden_states) * (float("nan") if self.breaks else 1.0)
        if self.overflows:
            out[:, 16:] *= 1e5
        return out


class PlantedBase(PreTrainedModel):
    """What planted models have in common: ``embed``, ``layers``, ``norm``, ``lm_head``, and weights that stay as they were planted."""

    def _init_weights(self, module: nn.Module) -> None:
        """Keep what the constructor planted."""

    def get_input_embeddings(self) -> nn.Module:
        """Return the token embedding."""
        return self.embed

    def get_output_embeddings(self) -> nn.Module:
        """Return the head."""
        return self.lm_head

    def forward(self, input_ids: Tensor, use_cache: bool = False, **_: Any) -> CausalLMOutput:
        """Return next-token logits."""
        hidden = self.embed(input_ids)
        for layer in self.layers:
            hidden = layer(hidden)
        return CausalLMOutput(logits=self.lm_head(self.norm(hidden)))


class PlantedModel(PlantedBase):
    """Embedding with positions, planted blocks, final norm, head; ``config.fault`` plants what admission must refuse."""

    config_class = PlantedConfig

    def __init__(self, config: PlantedConfig) -> None:
        super().__init__(config)
        d, generator = config.hidden_size, torch.Generator().manual_seed(config.seed)
        self.embed = nn.Embedding(config.vocab_size, d)
        self.position = nn.Embedding(1024, d)
        self.layers = nn.ModuleList(PlantedBlock(config, i) for i in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(d)
        self.lm_head = nn.Linear(d, config.vocab_size, bias=False)
        with torch.no_grad():
            for table in (self.embed.weight, self.position.weight):
                table.copy_(torch.randn(table.shape, generator=generator) * 0.5**0.5)
            self.lm_head.weight.copy_(torch.randn(self.lm_head.weight.shape, generator=generator) / d**0.5)
        self.post_init()

    def forward(self, input_ids: Tensor, use_cache: bool = False, **_: Any) -> CausalLMOutput:
        """Return next-token logits."""
        fault = self.config.fault
        hidden = self.embed(input_ids) + self.position(torch.arange(input_ids.shape[1], device=input_ids.device))
        if fault == "not causal":
            hidden = hidden + hidden.mean(1, keepdim=True)
        for index, layer in enumerate(self.layers):
            hidden = layer(hidden)
            if fault == "scaled" and index == 1:
                hidden = hidden * 1.1
            if fault == "scaled in place" and index == 1:
                hidden *= 1.1
        logits = self.lm_head(hidden if fault == "norm skipped" else self.norm(hidden))
        if fault == "logits scaled":
            logits = logits * 0.95
        return CausalLMOutput(logits=5 * torch.tanh(logits / 5) if fault == "soft-capped" else logits)


AutoConfig.register("planted", PlantedConfig)
AutoModelForCausalLM.register(PlantedConfig, PlantedModel)


def words(count: int, vocabulary: int = 512, seed: int = 0) -> str:
    """Write ``count`` random words of the planted vocabulary, ten a line."""
    draw = random.Random(seed)
    names = [f"w{draw.randrange(vocabulary - 1)}" for _ in range(count)]
    return "\n".join(" ".join(names[i : i + 10]) for i in range(0, count, 10)) + "\n"


def tokenizer(vocabulary: int = 512) -> PreTrainedTokenizerFast:
    """Return a tokenizer in which each word of :func:`words` is one token."""
    table = {f"w{i}": i for i in range(vocabulary - 1)} | {"<unk>": vocabulary - 1}
    inner = Tokenizer(WordLevel(table, unk_token="<unk>"))
    inner.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>")


def save(folder: Path, **settings: Any) -> Path:
    """Save a planted model with its tokenizer, as ``--model`` reads it."""
    config = PlantedConfig(**settings)
    PlantedModel(config).save_pretrained(folder)
    tokenizer(config.vocab_size).save_pretrained(folder)
    return folder


def corpus(folder: Path, calibration: int = 32 * 256, evaluation: int = 16 * 256) -> Path:
    """Write a corpus of random words of exactly so many tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.txt").write_text(words(calibration, seed=1))
    (folder / "test.txt").write_text(words(evaluation, seed=2))
    return folder


def edit_config(folder: Path, **changes: Any) -> None:
    """Change a saved config.json, for tests of what is refused."""
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def verdicts(report: dict[str, Any], rung: str = "paper") -> dict[str, str]:
    """Verdict by predicate on a rung of a report; of per-block predicates the last block's."""
    return {row["predicate"]: row["verdict"] for row in report["rows"] if row["rung"] == rung}
