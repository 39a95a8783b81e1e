"""Planted subjects for claim 1: transformers of which it is known where variance lies, and what the final stream and the text rest on.

In planted coordinates the stream of every block but the last is ``s = LIFT + σ ⊙ z``: z is a word's code (±1) on some coordinates, and on
the others numbers of unit variance that no word tells. The last block replaces it by ``y = z L + e(z) E + n ⊙ salt``: linear, even (and so
uncorrelated with z), and drawn anew for every token. The head knows which word follows which (:func:`corpus`) and reads it off
the code in y. So PCs are the coordinates in the order of σ, predictive directions the rows of L, and words are lost where their
code is. ``rotation`` and ``scale`` write the same function in another basis and in other units.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.linalg import hadamard
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig
from transformers.modeling_outputs import CausalLMOutput

from tests import planted

WORDS = 128
BLOCKS = 4
FAITH = 0.9  # how often a word is followed by its successor, and not by any word
ROWS = 8192  # of the table of numbers that no word tells
LIFT = 1.0  # what every coordinate of the stream has on average, in units of s
SINKS = (0, 7)  # positions that carry a massive activation: the first token, and one that only its norm gives away

Entry = tuple[int, int, float]
"""From a coordinate of z, to one of y, with a gain."""


class SpectralConfig(PretrainedConfig):
    """What is planted: ``spread`` σ, ``code``, ``linear`` L, ``even`` E as entries, ``noise`` n by coordinate of y; ``sink`` in units of s.

    ``sharpness``: of the head.
    """

    model_type = "planted_variance"

    def __init__(
        self,
        spread: Sequence[float] = (1.0,) * 8,
        code: Sequence[int] = tuple(range(8)),
        linear: Sequence[Entry] = (),
        even: Sequence[Entry] = (),
        noise: Sequence[float] = (),
        sharpness: float = 1.0,
        rotation: int | None = None,
        scale: float = 1.0,
        sink: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        self.spread, self.code, self.noise = list(spread), list(code), list(noise) or [0.0] * len(spread)
        self.linear, self.even = [list(entry) for entry in linear], [list(entry) for entry in even]
        self.sharpness, self.rotation, self.scale, self.sink, self.seed = sharpness, rotation, scale, sink, seed
        self.hidden_size, self.vocab_size, self.num_hidden_layers = len(self.spread), WORDS + 1, BLOCKS
        super().__init__(**{"tie_word_embeddings": False, **kwargs})

    @property
    def basis(self) -> Tensor:
        """Orthonormal rows: where the planted coordinates lie in the stream."""
        d = self.hidden_size
        if self.rotation is None:
            return torch.eye(d, dtype=torch.float64)
        drawn = np.random.default_rng(self.rotation).standard_normal((d, d))
        return torch.tensor(np.linalg.qr(drawn)[0])


class SpectralMlp(nn.Module):
    """What a block adds: nothing, but that the first writes the sink; the last replaces the stream."""

    def __init__(self, config: SpectralConfig, index: int) -> None:
        super().__init__()
        d, self.first, self.last = config.hidden_size, index == 0, index == BLOCKS - 1
        basis, spread = config.basis, torch.tensor(config.spread, dtype=torch.float64)
        self.sink = nn.Parameter((config.sink * config.scale * basis[-1]).float())
        self.lift = nn.Parameter((LIFT * config.scale * basis.sum(0)).float())
        self.read = nn.Parameter((basis.T / spread / config.scale).float())
        self.write = nn.Parameter((config.scale * basis).float())
        self.linear, self.even = (nn.Parameter(_matrix(entries, d)) for entries in (config.linear, config.even))
        self.noise = nn.Parameter(torch.tensor(config.noise))

    def forward(self, hidden: Tensor, salt: Tensor) -> Tensor:
        """Map h and what is drawn for each token, both ``(windows, tokens, d)``, to Δ."""
        sink = torch.zeros_like(hidden)
        sink[:, [p for p in SINKS if p < hidden.shape[1]]] = self.sink
        if not self.last:
            return sink if self.first else torch.zeros_like(hidden)
        z = (hidden - sink - self.lift) @ self.read
        return (z @ self.linear + even(z) @ self.even + self.noise * salt) @ self.write - hidden


def even(z: Tensor) -> Tensor:
    """Return |z| with mean 0 and variance 1 for a standard normal z."""
    return (z.abs() - (2 / np.pi) ** 0.5) / (1 - 2 / np.pi) ** 0.5


class SpectralBlock(nn.Module):
    """A block without attention: what another token would bring is the salt."""

    def __init__(self, config: SpectralConfig, index: int) -> None:
        super().__init__()
        self.mlp = SpectralMlp(config, index)

    def forward(self, hidden_states: Tensor, salt: Tensor) -> Tensor:
        """Add Δ to the stream."""
        return hidden_states + self.mlp(hidden_states, salt)


class SoftNorm(nn.Module):
    """Root mean square norm whose ε is as large as y, so that it bends the stream but little; in units of ``scale``."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.epsilon = scale**2

    def forward(self, hidden: Tensor) -> Tensor:
        """Scale each token."""
        return hidden * torch.rsqrt(hidden.square().mean(-1, keepdim=True) + self.epsilon)


class SpectralModel(planted.PlantedBase):
    """Embedding and table, planted blocks, norm, head."""

    config_class = SpectralConfig

    def __init__(self, config: SpectralConfig) -> None:
        super().__init__(config)
        d, basis, spread = config.hidden_size, config.basis, torch.tensor(config.spread, dtype=torch.float64)
        table = drawn(2 * d - len(config.code), config.seed)
        untold = [i for i in range(d) if i not in config.code]
        codes, others = torch.zeros(config.vocab_size, d, dtype=torch.float64), torch.zeros(ROWS, d, dtype=torch.float64)
        codes[:WORDS, config.code] = signs()[:, _columns()[: len(config.code)]]
        others[:, untold] = table[:, d:]
        self.embed, self.vary, self.salt = nn.Embedding(config.vocab_size, d), nn.Embedding(ROWS, d), nn.Embedding(ROWS, d)
        self.layers = nn.ModuleList(SpectralBlock(config, i) for i in range(BLOCKS))
        self.norm = SoftNorm(config.scale)
        self.lm_head = nn.Linear(d, config.vocab_size, bias=False)
        with torch.no_grad():
            self.embed.weight.copy_(config.scale * (codes * spread + LIFT) @ basis)
            self.vary.weight.copy_(config.scale * (others * spread) @ basis)
            self.salt.weight.copy_(table[:, :d])
            self.lm_head.weight.copy_(config.sharpness * _reading(config) @ basis)
        self.post_init()

    def forward(self, input_ids: Tensor, use_cache: bool = False, **_: Any) -> CausalLMOutput:
        """Return next-token logits."""
        before = torch.cat([torch.zeros_like(input_ids[:, :1]), input_ids[:, :-1]], dim=1)
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        rows = (input_ids * 2_654_435 + before * 40_503 + positions * 7_919) % ROWS
        hidden, salt = self.embed(input_ids) + self.vary(rows), self.salt(rows)
        for layer in self.layers:
            hidden = layer(hidden, salt=salt)
        return CausalLMOutput(logits=self.lm_head(self.norm(hidden)))


AutoConfig.register("planted_variance", SpectralConfig)
AutoModelForCausalLM.register(SpectralConfig, SpectralModel)


def _matrix(entries: Sequence[Sequence[float]], d: int) -> Tensor:
    matrix = torch.zeros(d, d)
    for source, to, gain in entries:
        matrix[int(source), int(to)] = gain
    return matrix


def drawn(columns: int, seed: int) -> Tensor:
    """Draw a table ``(ROWS, columns)``: over its rows uncorrelated, of mean 0 and variance 1, and as often z as −z."""
    half = np.linalg.qr(np.random.default_rng(seed).standard_normal((ROWS // 2, columns)))[0] * (ROWS / 2) ** 0.5
    return torch.tensor(np.concatenate([half, -half]))


def signs() -> Tensor:
    """Return a Hadamard matrix ``(WORDS, WORDS)``: columns of ±1 that are orthogonal, all but the first of mean 0."""
    return torch.tensor(hadamard(WORDS, dtype=np.int64).astype(np.float64))


def _columns() -> list[int]:
    """Columns of :func:`signs`, first those that tell words apart: one for each bit of a word's number, and its parity."""
    bits = [1 << i for i in range(WORDS.bit_length() - 1)]
    chosen = [*bits, WORDS - 1]
    return [*chosen, *(c for c in range(1, WORDS) if c not in chosen)]


def _reading(config: SpectralConfig) -> Tensor:
    """What the head reads of y: the successor of a word by its code; what is no code by columns of equal norm that tell nothing."""
    columns, told = _columns(), {}
    for source, to, _ in config.linear:
        if source in config.code:
            told.setdefault(int(to), columns[config.code.index(int(source))])
    rest = iter(columns[len(config.code) :])
    chosen = [told[j] if j in told else next(rest) for j in range(config.hidden_size)]
    rows = torch.zeros(config.vocab_size, config.hidden_size, dtype=torch.float64)
    rows[successors()] = signs()[:, chosen]
    return rows


def successors() -> list[int]:
    """Return the word that mostly follows each word: one cycle through all of them."""
    order = list(range(WORDS))
    random.Random(0).shuffle(order)
    following = dict(zip(order, [*order[1:], order[0]], strict=True))
    return [following[word] for word in range(WORDS)]


def text(count: int, seed: int) -> str:
    """Write ``count`` words, each mostly the successor of the one before, ten a line."""
    draw, follow = random.Random(seed), successors()
    found = [draw.randrange(WORDS)]
    while len(found) < count:
        found.append(follow[found[-1]] if draw.random() < FAITH else draw.randrange(WORDS))
    names = [f"w{word}" for word in found]
    return "\n".join(" ".join(names[i : i + 10]) for i in range(0, count, 10)) + "\n"


def corpus(folder: Path, calibration: int = 32 * 256, evaluation: int = 64 * 256) -> Path:
    """Write a corpus of exactly so many words."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.txt").write_text(text(calibration, seed=1))
    (folder / "test.txt").write_text(text(evaluation, seed=2))
    return folder


D, K = 64, 8  # the width, and how many directions the overlap compares
TOP, TAIL = range(K), range(D - K, D)
STEEP = [(12 * 0.92**i) ** 0.5 for i in TOP] + [(0.25 * 0.97**i) ** 0.5 for i in range(D - K)]  # the first K hold 92% of variance
EVEN = [(4 * 0.93**i) ** 0.5 for i in range(D)]  # each a little less than the one before

SUBJECTS: dict[str, dict[str, Any]] = {
    # Words are told, and the final stream is predicted, by the directions of least variance; those of most variance matter a little.
    "hidden": {
        "spread": STEEP,
        "code": TAIL,
        "linear": [*((source, i, 1.0) for i, source in enumerate(TAIL)), *((i, K + i, 0.35) for i in TOP)],
        "noise": [*(0.1 + 0.05 * i for i in TOP), *[0.35] * K, *[0.02] * (D - 2 * K)],  # to each direction a correlation of its own
    },
    # They are told by the directions of most variance, and by a little of another one, so that a projection costs something.
    "shown": {
        "spread": STEEP,
        "code": [*TOP, 40],
        "linear": [*((i, i, 0.95**i) for i in TOP), (40, K, 0.15)],
        "noise": [*(0.05 + 0.04 * i for i in TOP), 0.4, *[0.02] * (D - K - 1)],
    },
    # The final stream is the stream at mid: a direction matters as much as it varies, and equal pushes matter equally.
    "copied": {"spread": EVEN, "code": TOP, "linear": [(i, i, 0.5 * EVEN[i]) for i in range(D)]},
    # The less a direction varies, the more it matters.
    "reversed": {"spread": EVEN, "code": TAIL, "linear": [(i, i, 0.1 / EVEN[i]) for i in range(D)]},
    # What the directions of most variance do is even in their scores; where it lies others do more, and that is linear.
    "folded": {"spread": STEEP, "linear": [(K + i, 0, K**-0.5) for i in TOP], "even": [(i, 0, K**-0.5) for i in TOP], "code": TAIL},
    # What they do is linear; where it lies others do what is even, which drowns it when they are ablated too.
    "drowned": {"spread": STEEP, "linear": [(i, 0, K**-0.5) for i in TOP], "even": [(K + i, 0, K**-0.5) for i in TOP], "code": TAIL},
    # Nothing of mid reaches the final stream.
    "unheard": {"spread": STEEP, "code": TAIL, "noise": [1.0] * D},
}


def tilted(inside: float) -> dict[str, Any]:
    """Return a subject whose K predictive directions each lie in the top K PCs by a share, in whitened coordinates: cos² of the angle."""
    near, far = inside**0.5, (1 - inside) ** 0.5
    linear = [*((i, i, near) for i in TOP), *((source, i, far) for i, source in enumerate(TAIL))]
    return {"spread": STEEP, "code": TAIL, "linear": linear, "noise": [0.2] * D}


def halved(inside: int) -> dict[str, Any]:
    """Return a subject of whose K predictive directions so many are top PCs, and the others none of them."""
    linear = [(i if i < inside else source, i, 1.0) for i, source in enumerate(TAIL)]
    return {"spread": STEEP, "code": TAIL, "linear": linear, "noise": [0.2] * D}


def save(folder: Path, **settings: Any) -> Path:
    """Save a planted model with its tokenizer, as ``--model`` reads it."""
    SpectralModel(SpectralConfig(**settings)).save_pretrained(folder)
    planted.tokenizer(WORDS + 1).save_pretrained(folder)
    return folder
