"""Planted subjects for claim 3 and the codebooks: linear layers of which it is known what stores them without loss, and what does not.

One block of several ``nn.Linear``, all reading the same input, which the embedding alone writes: uncorrelated over the vocabulary, in all
directions alike or in the leading third of them. A weight of a kind is what its function in :data:`KINDS` says. Direct quantisation is
nearly exact where entries lie on 16 evenly spaced levels, and another method where its own numbers do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.linalg import hadamard
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig
from transformers.modeling_outputs import CausalLMOutput

from harness import rotations
from harness.factors import budget_rank
from harness.protocol import Protocol
from harness.quantizers import normal_levels
from harness.statistics import Array
from tests import planted
from tests.planted_variance import SoftNorm

D = 64
WORDS = 512
LEADING = D // Protocol().reconstruction.leading
NOISE = 0.01  # of what tells a planted weight from its exact form, over the weight's largest entry
FAINT = 1e-4  # what the inputs have in the other directions, below what the ridge of canonical weights lets through

Kind = Callable[[int, int, np.random.Generator, float], Array]
"""Of rows, the layer's place, a generator and noise, a weight ``(rows, D)``."""


class WallConfig(PretrainedConfig):
    """``kinds`` of layers, of so many ``rows``; ``noise`` of their entries; ``narrow`` inputs; ``smooth`` embedding and head."""

    model_type = "planted_wall"

    def __init__(
        self,
        kinds: Sequence[str] = ("levelled",) * 4,
        rows: int = D,
        noise: float = NOISE,
        narrow: bool = False,
        smooth: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        self.kinds, self.rows, self.noise, self.narrow, self.smooth, self.seed = list(kinds), rows, noise, narrow, smooth, seed
        self.hidden_size, self.vocab_size, self.num_hidden_layers = D, WORDS, 1
        super().__init__(**{"tie_word_embeddings": False, **kwargs})


def levelled(rows: int, place: int, draw: np.random.Generator, noise: float) -> Array:
    """16 evenly spaced values, all of them in every row, and noise: stored directly there is no more than the noise to lose."""
    return _shuffled(np.arange(-15, 16, 2) / 16, rows, draw) + noise * draw.standard_normal((rows, D)) / 8


def cosine(rows: int, place: int, draw: np.random.Generator, noise: float) -> Array:
    """One two-dimensional cosine, and noise: one coefficient holds it."""
    return _wave(rows, 5 + 2 * place, 7 + 4 * place) + 0.1 * noise * draw.standard_normal((rows, D))


def factored(rows: int, place: int, draw: np.random.Generator, noise: float) -> Array:
    """U D Vᵀ of signs, and of as high a rank as factors may have: those hold ±√σ, of σ that are all but equal."""
    rank = budget_rank(rows, D)
    left, right = (hadamard(size)[draw.permutation(size)][:, draw.permutation(size)[:rank]] for size in (rows, D))
    return (left * np.linspace(1, 1 + noise, rank)) @ right.T / D


def rotated(rows: int, place: int, draw: np.random.Generator, noise: float) -> Array:
    """Four evenly spaced values in the random basis that the protocol's seed draws; they are among 16 and 256 such values too."""
    return _four(rows, draw) @ _drawn(rotations.random_orthogonal).T


def mixed(rows: int, place: int, draw: np.random.Generator, noise: float) -> Array:
    """The same in the basis of Hadamard's matrix and the seed's signs."""
    return _four(rows, draw) @ _drawn(rotations.hadamard).T


def normal(rows: int, place: int, draw: np.random.Generator, noise: float) -> Array:
    """NF4's levels, equally often in every row, and a little noise: 16 values that are not evenly spaced."""
    return (_shuffled(np.array(normal_levels()), rows, draw) + 0.01 * noise * draw.standard_normal((rows, D))) / 8


def uniform(rows: int, place: int, draw: np.random.Generator, noise: float) -> Array:
    """Numbers of a uniform distribution: nothing is better than evenly spaced levels, and no order is to be found."""
    return draw.uniform(-1, 1, (rows, D)) / 8


KINDS: dict[str, Kind] = {f.__name__: f for f in (levelled, cosine, factored, rotated, mixed, normal, uniform)}


def _drawn(basis: Callable[[int, int], Tensor]) -> Array:
    with torch.device("cpu"):  # Loading constructs models where tensors have no numbers.
        return np.asarray(basis(D, Protocol().seed).numpy())


def _shuffled(values: Array, rows: int, draw: np.random.Generator) -> Array:
    return draw.permuted(np.tile(values, (rows, D // len(values))), axis=1)


def _four(rows: int, draw: np.random.Generator) -> Array:
    """−3, −1, 1, 3, with both ends in every row, among the leading columns and among the others."""
    found = draw.choice([-3.0, -1.0, 1.0, 3.0], (rows, D)) / 16
    found[:, [0, LEADING]], found[:, [1, LEADING + 1]] = -3 / 16, 3 / 16
    return found


def _wave(rows: int, down: int, along: int) -> Array:
    """Return cos · cos ``(rows, D)``: one function of the cosine transform."""
    parts = [np.cos(np.pi * (2 * np.arange(size) + 1) * k / (2 * size)) for size, k in ((rows, down), (D, along))]
    return np.outer(*parts)


class WallBlock(nn.Module):
    """A block without attention: its layers' outputs, folded to the width of the stream, are added to it."""

    def __init__(self, config: WallConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(D, config.rows, bias=False) for _ in config.kinds)
        draw = np.random.default_rng(config.seed)
        with torch.no_grad():
            for place, (kind, layer) in enumerate(zip(config.kinds, self.layers, strict=True)):
                layer.weight.copy_(torch.tensor(KINDS[kind](config.rows, place, draw, config.noise)))

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Add Δ to the stream."""
        added = torch.cat([layer(hidden_states) for layer in self.layers], dim=-1)
        added = nn.functional.pad(added, (0, -added.shape[-1] % D)).unflatten(-1, (-1, D))
        return hidden_states + added.mean(-2)


class WallModel(planted.PlantedBase):
    """Embedding, the planted block, norm, head."""

    config_class = WallConfig

    def __init__(self, config: WallConfig) -> None:
        super().__init__(config)
        draw = np.random.default_rng(1000 + config.seed)
        self.embed = nn.Embedding(WORDS, D)
        self.blocks = nn.ModuleList([WallBlock(config)])
        self.norm = SoftNorm(1.0)
        self.lm_head = nn.Linear(D, WORDS, bias=False)
        # Orthogonal columns: over the vocabulary directions are uncorrelated, and in windows nearly so.
        words = np.linalg.qr(draw.standard_normal((WORDS, D)))[0] * WORDS**0.5
        if config.narrow:
            spread = np.where(np.arange(D) < LEADING, 1.0, FAINT)
            words = words * spread @ np.linalg.qr(draw.standard_normal((D, D)))[0].T
        head = draw.standard_normal((WORDS, D)) / D**0.5
        if config.smooth:
            words, head = words * 0.1 + _wave(WORDS, 9, 5), head * 0.1 + _wave(WORDS, 3, 11)
        with torch.no_grad():
            self.embed.weight.copy_(torch.tensor(words))
            self.lm_head.weight.copy_(torch.tensor(head))
        self.post_init()

    def forward(self, input_ids: Tensor, use_cache: bool = False, **_: Any) -> CausalLMOutput:
        """Return next-token logits."""
        hidden = self.embed(input_ids)
        for block in self.blocks:
            hidden = block(hidden)
        return CausalLMOutput(logits=self.lm_head(self.norm(hidden)))


AutoConfig.register("planted_wall", WallConfig)
AutoModelForCausalLM.register(WallConfig, WallModel)

SUBJECTS: dict[str, dict[str, Any]] = {
    # Direct quantisation is nearly exact, and whatever turns or splits the weight is not.
    "levelled": {"kinds": ["levelled"] * 4, "rows": 2 * D},
    # Direct quantisation is exact: there is nothing to compare with.
    "exact": {"kinds": ["levelled"] * 2, "noise": 0.0},
    # What one method stores with next to no loss.
    "cosine": {"kinds": ["cosine"] * 4, "smooth": True},
    "factored": {"kinds": ["factored"] * 4},
    "rotated": {"kinds": ["rotated"] * 4},
    "mixed": {"kinds": ["mixed"] * 4},
    # Inputs lie in the leading third of their own axes, where there are 256 levels; a basis takes a bit a weight.
    "narrow": {"kinds": ["uniform"] * 4, "rows": 4 * D, "narrow": True},
    # One layer of four is a cosine; three of four are rotated, so that one method wins by their mean.
    "one": {"kinds": ["levelled", "levelled", "cosine", "levelled"]},
    "most": {"kinds": ["rotated", "rotated", "levelled", "rotated"]},
    # Codebooks gain, and lose: in small layers the numbers of a codebook pay for half as many levels again.
    "normal": {"kinds": ["normal"] * 4},
    "small": {"kinds": ["uniform"] * 4, "rows": 8},
    # Weights, embedding and head are not concentrated.
    "drawn": {"kinds": ["uniform"] * 4, "rows": 4 * D},
}


def save(folder: Path, **settings: Any) -> Path:
    """Save a planted model with its tokenizer, as ``--model`` reads it."""
    WallModel(WallConfig(**settings)).save_pretrained(folder)
    planted.tokenizer(WORDS).save_pretrained(folder)
    return folder
