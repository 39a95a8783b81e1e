"""Families of transformers, one entry each: what a config states beyond sizes. Tiny random models of them, saved as any checkpoint is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers.processors import TemplateProcessing

from harness.admission import dissect
from harness.windows import leading_tokens
from tests import planted

LOCAL = 8
"""Tokens that a layer with a sliding window sees: fewer than any test's windows have, so that it acts."""
_HALF_ROTARY = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}}
_WIDE, _GROUPED = ("intermediate_size",), ("intermediate_size", "num_key_value_heads")


def of_bytes(vocabulary: int) -> Any:
    """Return a tokenizer of Qwen2's own kind, which transformers puts in the place of any other, for the words of planted text."""
    merges = [("Ġ", "w"), ("Ċ", "w"), *((str(i), str(j)) for i in range(10) for j in range(10))]
    merges = merges[: max(0, vocabulary - 14)]
    tokens = ["Ġ", "Ċ", "w", *"0123456789", *("".join(pair) for pair in merges), "<|endoftext|>"]
    return transformers.Qwen2Tokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=merges)


@dataclass(frozen=True)
class Family:
    """``config``: its class. ``states``: what its config says beyond sizes. ``takes``: sizes it has beside those that all have.

    ``equals``: what it calls further sizes, and which they equal. ``bos``: whether the tokenizers of its checkpoints put a BOS before a
    text. ``tokenizer``: makes one of so many tokens.
    """

    config: Callable[..., Any]
    states: Mapping[str, Any] = field(default_factory=dict)
    takes: tuple[str, ...] = _GROUPED
    equals: Mapping[str, str] = field(default_factory=dict)
    bos: bool = False
    tokenizer: Callable[[int], Any] = planted.tokenizer


TABLE: dict[str, Family] = {
    "gpt2": Family(transformers.GPT2Config, takes=()),
    "gpt_neox": Family(transformers.GPTNeoXConfig, {"use_parallel_residual": True}, _WIDE),
    "opt": Family(transformers.OPTConfig, {}, (), {"ffn_dim": "intermediate_size", "word_embed_proj_dim": "hidden_size"}, bos=True),
    "llama": Family(transformers.LlamaConfig, bos=True),
    "mistral": Family(transformers.MistralConfig, {"sliding_window": LOCAL}, bos=True),
    "mixtral": Family(transformers.MixtralConfig, {"num_local_experts": 4}, bos=True),
    "qwen2": Family(transformers.Qwen2Config, tokenizer=of_bytes),
    "qwen3": Family(transformers.Qwen3Config, {"head_dim": 8}),
    "gemma2": Family(
        transformers.Gemma2Config,
        {"head_dim": 8, "sliding_window": LOCAL, "attn_logit_softcapping": 1.0, "final_logit_softcapping": 3.0},
        bos=True,
    ),
    "gemma3": Family(transformers.Gemma3TextConfig, {"head_dim": 8, "sliding_window": LOCAL}, bos=True),
    "phi": Family(transformers.PhiConfig, _HALF_ROTARY, _WIDE),
    "phi3": Family(transformers.Phi3Config, {"pad_token_id": 0}),
    "olmo2": Family(transformers.Olmo2Config),
    "falcon": Family(transformers.FalconConfig, {"parallel_attn": True, "multi_query": True}, ()),
    "bloom": Family(transformers.BloomConfig, takes=()),
    "granite": Family(transformers.GraniteConfig, {"logits_scaling": 4.0}),
    "cohere": Family(transformers.CohereConfig, {"logit_scale": 0.25}, bos=True),
}


def sizes(blocks: int = 3, width: int = 32, heads: int = 4, vocabulary: int = 97, wide: int | None = None) -> dict[str, int]:
    """Return the sizes of a small model, by the names that most configs give them; two heads share keys and values. ``wide``: of MLPs."""
    basic = {"vocab_size": vocabulary, "hidden_size": width, "num_hidden_layers": blocks, "num_attention_heads": heads}
    return {**basic, "intermediate_size": wide or 3 * width // 2, "num_key_value_heads": max(1, heads // 2)}


def config_of(
    family: str, blocks: int = 3, width: int = 32, heads: int = 4, vocabulary: int = 97, wide: int | None = None, **changes: Any
) -> Any:
    """Return the config of a small model of a family; ``changes`` are fields of its own."""
    entry, every = TABLE[family], sizes(blocks, width, heads, vocabulary, wide)
    has = {name: every[name] for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", *entry.takes)}
    has |= {name: every[size] for name, size in entry.equals.items()}
    return entry.config(**{**has, "bos_token_id": None, "eos_token_id": None, **entry.states, **changes})


SMALL = {name: size for name, size in sizes().items() if name != "num_key_value_heads"}
GROUPED = sizes()
FAMILIES = {family: config_of(family) for family in TABLE}


def model_of(config: Any, seed: int = 0) -> Any:
    """Return a random model that speaks up: rows of weights of length one, biases that are not zero, norms that are not one.

    As transformers draws them, the weights of so small a model are as good as none, and its predictions flat.
    """
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape)
        parameter.copy_(noise / parameter.shape[-1] ** 0.5 if parameter.ndim > 1 else parameter + 0.1 * noise)
    dissect(model).norm.weight += 2.0
    return model


def tokenizer_of(family: str, vocabulary: int) -> Any:
    """Return a tokenizer of planted words, which puts a BOS before a text where the family's do; it has at most so many tokens."""
    tokenizer = TABLE[family].tokenizer(vocabulary)
    if TABLE[family].bos:
        first = f"w{vocabulary - 2}"
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{first} $A", special_tokens=[(first, vocabulary - 2)])
    return tokenizer


def save(folder: Path, family: str, model: Any, dtype: torch.dtype = torch.float32, **options: Any) -> Path:
    """Save a model of a family with a tokenizer."""
    copy.deepcopy(model).to(dtype).save_pretrained(folder, **options)
    tokenizer_of(family, model.config.vocab_size).save_pretrained(folder)
    return folder


def write_text(folder: Path, model: Any, tokenizer: Any, windows: Mapping[str, int], size: int, seed: int = 0) -> Path:
    """Write a corpus in a model's own words: split → windows of ``size`` tokens drawn from it. So what breaks it costs perplexity."""
    folder.mkdir(parents=True)
    draw, leading, few = torch.Generator().manual_seed(seed), leading_tokens(tokenizer), model.config.vocab_size - 4
    for split, count in windows.items():
        ids = torch.cat([torch.tensor([leading] * count).view(count, -1), torch.randint(few, (count, 1), generator=draw)], 1).long()
        while ids.shape[1] < size:
            with torch.inference_mode():
                said = model(ids, use_cache=False).logits[:, -1, :few].softmax(-1)
            ids = torch.cat([ids, torch.multinomial(said, 1, generator=draw)], 1)
        (folder / f"{split}.txt").write_text("\n".join(map(tokenizer.decode, ids[:, len(leading) :].tolist())))
    return folder
