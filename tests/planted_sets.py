"""Planted subjects for two criteria of easy tokens at once: it is known which words mid decides, and which late blocks' weights matter to.

They speak and answer as :mod:`tests.planted_easy`'s do. A word is *told* when mid writes its answer, which for others only the last block
does. Every block has a matrix ``[A, −2A]`` that is given ``(x, x/2)`` and writes nothing at all, until INT2 spoils it: then it writes noise
where the answer is, which is small where x is, on *quiet* words. The direction of x is the answer's, so that chance treats words alike. How
sure the model is, the last block settles: by the word, and more finely by the one before, of which neither criterion takes notice.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from tests import planted
from tests.planted_easy import ANSWER, BEFORE, BITS, CODE, CONSTANT, FAINT, WORDS, Attention, D, answers, codes, numbers

BLOCKS = 10
MID, LAST, LATE = BLOCKS // 2 - 1, BLOCKS - 1, [6, 7, 8, 9]
LOUD, QUIET = 0.1, 0.1 / 16  # size of a number of x; A is standard normal
SURE, FINE = 0.4, 0.25  # size of an answer's code after word 0, where mid writes 1, and what the last word adds
SHARPNESS = 0.25  # of the head: it gives answers of these sizes half to three quarters

Part = tuple[float, Sequence[int]]
"""How sure the model is of some words, and how many of them are told and quiet, told alone, quiet alone, neither."""


class SetsConfig(PretrainedConfig):
    """What is planted: words in the order of their numbers, part by part."""

    model_type = "planted_sets"

    def __init__(self, parts: Sequence[Part] = ((SURE, (WORDS, 0, 0, 0)),), **kwargs: Any) -> None:
        self.parts = [[sure, list(counts)] for sure, counts in parts]
        self.hidden_size, self.vocab_size, self.num_hidden_layers = D, WORDS + 1, BLOCKS
        super().__init__(**{"tie_word_embeddings": False, **kwargs})

    @property
    def kinds(self) -> Tensor:
        """Whether each word is told, whether it is quiet, and how sure the model is of it: ``(3, WORDS)``."""
        kinds = [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)]
        rows = [(*kind, sure) for sure, counts in self.parts for kind, count in zip(kinds, counts, strict=True) for _ in range(count)]
        return torch.tensor(rows).T


class SetsMlp(nn.Module):
    """Writes answers at mid, gives them their sizes in the last block, and does work that comes to nothing in each."""

    def __init__(self, config: SetsConfig, index: int) -> None:
        super().__init__()
        told, quiet, sure = config.kinds
        drawn, of_block = (torch.Generator().manual_seed(seed) for seed in (0, 1 + index))
        signs, some = torch.randn(WORDS, CODE // 2, generator=drawn).sign(), torch.randn(CODE, CODE // 2, generator=of_block)
        self.last = index == LAST
        self.register_buffer("answers", codes()[answers()])
        self.register_buffer("x", torch.cat([signs, signs / 2], 1))
        self.size = nn.Parameter(sure - told if self.last else told * (index == MID))
        self.loudness = nn.Parameter(torch.where(quiet > 0, QUIET, LOUD))
        self.work = nn.Linear(CODE, CODE, bias=False)
        self.work.weight.data = torch.cat([some, -2 * some], 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map h ``(windows, tokens, d)`` to Δ."""
        word, before, added = numbers(hidden[..., :BITS]), numbers(hidden[..., BEFORE]), torch.zeros_like(hidden)
        tells, size = word ^ before, self.size[word] + (FINE * before / (WORDS - 1) if self.last else 0.0)
        added[..., ANSWER] = size[..., None] * self.answers[tells] + self.work(self.loudness[word, None] * self.x[tells])
        return added


class SetsBlock(nn.Module):
    """Attention, which in the first block brings the word before, then MLP."""

    def __init__(self, config: SetsConfig, index: int) -> None:
        super().__init__()
        self.attention, self.mlp = Attention(index), SetsMlp(config, index)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Add Δ to the stream."""
        hidden = hidden_states + self.attention(hidden_states)
        return hidden + self.mlp(hidden)


class SetsModel(planted.PlantedBase):
    """Embedding, planted blocks, norm, head."""

    config_class = SetsConfig

    def __init__(self, config: SetsConfig) -> None:
        super().__init__(config)
        words, reading = torch.zeros(config.vocab_size, D), torch.zeros(config.vocab_size, D)
        places = torch.arange(WORDS)[:, None] >> torch.arange(BITS)
        words[:, CONSTANT] = 1.0
        words[:WORDS, :BITS] = FAINT * (1.0 - 2 * (places % 2))
        reading[:WORDS, ANSWER] = SHARPNESS * codes()
        self.embed, self.lm_head = nn.Embedding(config.vocab_size, D), nn.Linear(D, config.vocab_size, bias=False)
        self.layers = nn.ModuleList(SetsBlock(config, i) for i in range(BLOCKS))
        self.norm = nn.RMSNorm(D, eps=1e-6)
        with torch.no_grad():
            self.embed.weight.copy_(words)
            self.lm_head.weight.copy_(reading)
        self.post_init()


AutoConfig.register("planted_sets", SetsConfig)
AutoModelForCausalLM.register(SetsConfig, SetsModel)

SUBJECTS: dict[str, dict[str, Any]] = {
    # What mid tells is quiet, but for a quarter of it; what it does not tell is loud, but for a few.
    "same": {"parts": [(SURE, (14, 5, 3, 42))]},
    # Three words in eight are quiet, of those that are told as of others.
    "unrelated": {"parts": [(SURE, (12, 20, 12, 20))]},
    # What mid tells is mostly loud. It tells most, so that a head trained on half the text agrees by chance on few others.
    "opposite": {"parts": [(SURE, (12, 36, 12, 4))]},
    # Of words that the model is sure of three in four are told and five in eight quiet, of others one in four and one in eight; of either
    # as many are quiet of those that are told as of the rest.
    "confounded": {"parts": [(0.6, (15, 9, 5, 3)), (0.3, (1, 7, 3, 21))]},
}


def save(folder: Path, **settings: Any) -> Path:
    """Save a planted model with its tokenizer, as ``--model`` reads it."""
    SetsModel(SetsConfig(**settings)).save_pretrained(folder)
    planted.tokenizer(WORDS + 1).save_pretrained(folder)
    return folder
