"""A small Llama in which every rung of claim 1 has tokens and PCs of its own, its text, and the same model run whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from fixtures.described import model_at
from fixtures.text_files import corpus_at
from harness.bench import Bench
from harness.laboratory import Laboratory
from harness.protocol import Protocol, VarianceProtocol
from harness.store import Store
from harness.subject import Placement
from tests import planted

Change = Callable[[np.ndarray], np.ndarray]
"""Of the output of a block ``(windows, tokens, d)``."""

WIDTH, BLOCKS, MID, WORDS, TOKENS, GROUPS = 24, 8, 3, 96, 32, 8
EARLY, LATE = 7, 11  # words that carry a massive activation: from the embedding on, and from the output of block 4 on
PROTOCOL = Protocol(
    window=TOKENS,
    calibration_windows=16,
    evaluation_windows=8,
    strict_evaluation_windows=12,
    groups=GROUPS,
    folds=4,
    grid=(-4.0, 1.0, 1.0),
    variance=VarianceProtocol(
        curve=(12, 3),
        gain=(12, 4),
        overlap_fewest=4,
        noise_seeds=2,
        refit_stride=3,
        directions=7,
        all_up_to=0,
        ablated=3,
        sketch=40,
        sketch_kept=6,
        null_subspaces=2,
    ),
)


def save(folder: Path) -> Path:
    """Save a small Llama of random weights with its tokenizer, as ``--model`` reads it."""
    torch.manual_seed(2)
    config = transformers.LlamaConfig(
        vocab_size=WORDS,
        hidden_size=WIDTH,
        num_hidden_layers=BLOCKS,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=40,
        initializer_range=0.15,
    )
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        embedding = model.model.embed_tokens.weight.mul_(12 * torch.logspace(0, -1, WIDTH))
        # One coordinate is written by the embedding alone, so that a neuron can know a word by it and answer with a massive vector.
        embedding[:, 0] *= 0.05
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight[0] = layer.mlp.down_proj.weight[0] = 0
        # The next word is mostly the same, which the head says: else no intervention need cost anything.
        model.lm_head.weight.copy_(embedding)
        embedding[EARLY] *= 40
        embedding[LATE, 0] = 12
        mlp = model.model.layers[4].mlp
        mlp.gate_proj.weight[0] = mlp.up_proj.weight[0] = torch.eye(WIDTH)[0]
        mlp.down_proj.weight[:, 0] = 5 * torch.randn(WIDTH)
    model.save_pretrained(folder)
    planted.tokenizer(WORDS).save_pretrained(folder)
    return folder


def write(folder: Path) -> Path:
    """Save a text of random words, each twice, that is a little longer than is asked for."""
    folder.mkdir()
    for name, windows, seed in (("train", 27, 1), ("test", 15, 2)):
        drawn = planted.words(windows * TOKENS // 2 + 3, WORDS, seed).split()
        (folder / f"{name}.txt").write_text(" ".join(word for word in drawn for _ in range(2)))
    return folder


class Whole:
    """A model that is only ever run whole; ``ids`` by split are the windows of one layout."""

    def __init__(self, folder: Path, ids: Mapping[str, np.ndarray]) -> None:
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        self.ids = {"intervention": ids["evaluation"], **ids}

    def run(self, split: str, hook: Callable[..., Any]) -> np.ndarray:
        """Logits ``(windows, tokens, words)``; ``hook`` is called with a block, its windows, and what goes in and comes out."""
        found = []
        # Eight windows at a time, as the sweep runs them, so that float32 rounds alike.
        for w in range(0, len(self.ids[split]), 8):
            windows, held = slice(w, w + 8), []
            for b, block in enumerate(self.model.model.layers):
                held.append(block.register_forward_hook(lambda _, given, out, b=b, w=windows: hook(b, w, given[0], out)))
            with torch.inference_mode():
                found.append(self.model(torch.from_numpy(self.ids[split][windows])).logits.double().numpy())
            for registered in held:
                registered.remove()
        return np.concatenate(found)

    @cached_property
    def streams(self) -> dict[str, np.ndarray]:
        """h_0 … h_B by split: ``(boundaries, windows, tokens, d)``."""
        found = {split: np.zeros((BLOCKS + 1, *ids.shape, WIDTH)) for split, ids in self.ids.items()}
        for split, seen in found.items():

            def keep(block: int, windows: slice, given: torch.Tensor, out: torch.Tensor, seen: np.ndarray = seen) -> None:
                seen[block, windows], seen[block + 1, windows] = given.double().numpy(), out.double().numpy()

            self.run(split, keep)
        return found

    def after(self, block: int, split: str) -> np.ndarray:
        """The output of a block ``(windows, tokens, d)``."""
        return self.streams[split][block + 1]

    def typical(self, split: str, *blocks: int) -> np.ndarray:
        """Mark what is neither first nor, before or after any of the blocks, above 10 times its window's (lower) median norm."""
        norms = np.sqrt((self.streams[split][[b + i for b in blocks for i in (0, 1)]] ** 2).sum(-1))
        median = np.sort(norms, axis=-1)[..., (TOKENS - 1) // 2, None]
        mask = (norms <= 10 * median).all(0)
        mask[:, 0] = False
        return mask

    def logits(self, split: str, changes: Mapping[int, Change], marked: Mapping[int, np.ndarray] | None = None) -> np.ndarray:
        """Logits where the outputs of blocks are changed, at the positions that are marked ``(windows, tokens)`` or everywhere."""

        def change(block: int, windows: slice, given: torch.Tensor, out: torch.Tensor) -> torch.Tensor | None:
            if block not in changes:
                return None
            hidden = out.double().numpy()
            changed = changes[block](hidden)
            return torch.from_numpy(changed if marked is None else np.where(marked[block][windows, :, None], changed, hidden)).to(out.dtype)

        return self.run(split, change)


def measured(folder: Path) -> tuple[Laboratory, dict[str, Whole]]:
    """Return the laboratory, and the same model and windows to be run whole, by layout."""
    model, text = save(folder / "model"), write(folder / "text")
    bench = Bench(Placement("cpu"), PROTOCOL, Store(None), lambda name: lambda done, total: None, long=True)
    lab = bench.laboratory(model_at(str(model)), corpus_at(str(text)))
    return lab, {layout: Whole(model, lab.windows(layout)) for layout in ("paper", "strict")}
