"""Maps and small models on disk, for tests of what keeps and loads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType, GGUFWriter, quants
from transformers.convert_slow_tokenizer import bytes_to_unicode

from fixtures.described import model_at
from harness import map_file
from harness.fingerprints import Memory
from harness.store import Store
from harness.subject import weights_fingerprint
from tests import planted
from tests.families import FAMILIES

D, BLOCKS = 32, 3


def save(folder: Path, family: str = "llama", dtype: torch.dtype = torch.float32, **changes: Any) -> Path:
    """Save a small random model of a family with a tokenizer."""
    torch.manual_seed(0)
    config = type(FAMILIES[family])(**{**FAMILIES[family].to_dict(), "bos_token_id": None, "eos_token_id": None, **changes})
    transformers.AutoModelForCausalLM.from_config(config).to(dtype).save_pretrained(folder)
    planted.tokenizer(config.vocab_size).save_pretrained(folder)
    return folder


def save_gguf(file: Path) -> Path:
    """Write a small random Llama, quantised to eight bits, with a tokenizer of bytes; its head is its embedding."""
    writer, draw = GGUFWriter(file, "llama"), np.random.default_rng(0)
    writer.add_block_count(BLOCKS)
    writer.add_context_length(512)
    writer.add_embedding_length(D)
    writer.add_feed_forward_length(2 * D)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(D // 2)
    tokens = [*bytes_to_unicode().values(), "th", "<eos>"]
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(tokens))
    writer.add_token_merges(["t h"])
    writer.add_eos_token_id(len(tokens) - 1)
    shapes = {"token_embd": (len(tokens), D), "output_norm": (D,)}
    for b in range(BLOCKS):
        shapes |= {f"blk.{b}.{name}": (D, D) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
        shapes |= {f"blk.{b}.ffn_gate": (2 * D, D), f"blk.{b}.ffn_up": (2 * D, D), f"blk.{b}.ffn_down": (D, 2 * D)}
        shapes |= {f"blk.{b}.attn_norm": (D,), f"blk.{b}.ffn_norm": (D,)}
    for name, shape in shapes.items():
        if len(shape) == 1:
            writer.add_tensor(f"{name}.weight", np.ones(shape, dtype=np.float32))
        else:
            numbers = (0.2 * draw.standard_normal(shape)).astype(np.float32)
            writer.add_tensor(f"{name}.weight", quants.quantize(numbers, GGMLQuantizationType.Q8_0), raw_dtype=GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def drawn(affine: bool, blocks: int = BLOCKS, d: int = D) -> list[dict[str, np.ndarray]]:
    """Draw maps at random: affine, or of rank 5."""
    draw = np.random.default_rng(1)
    shapes = {"weight": (d, d), "mean_x": (d,), "mean_y": (d,)} if affine else {"weight": (d, 5), "basis": (d, 5)}
    return [{name: (0.1 * draw.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()} for _ in range(blocks)]


def about(path: Path, affine: bool = True, **changes: Any) -> dict[str, Any]:
    """What a file's header says of maps of the model at a path."""
    model = model_at(str(path))
    return {
        "maps": map_file.VERSION,
        "model": model.name,
        "source": map_file.source_of(model, path),
        "weights": weights_fingerprint(path, Memory(Store(None))),
        "n_blocks": model.n_blocks,
        "width": model.width,
        "corpus": "a-text",
        "text": "0" * 64,
        "rung": "strict" if affine else "paper",
        "protocol": {"window": 64, "evaluation_windows": 4},
        "tokens": {},
        "dtype": "float32",
        **changes,
    }


def write(file: Path, path: Path, affine: bool = True, **changes: Any) -> Path:
    """Write random maps of the model at a path."""
    map_file.write(file, about(path, affine, **changes), drawn(affine))
    return file
