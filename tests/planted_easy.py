"""Planted subjects for claim 5: transformers of which it is known at which depth each token is decided, in which coordinates, and by what.

A stream consists of a word's code (±1, one number a bit), the same of the word before, which the attention of the first block brings, an
answer A, the place where answers wait, a constant, and one coordinate for massive activations. The word that follows is told by the
word alone, by it and the one before, or by it and its position; one block, which a word has, writes the answer's code into A, or where
answers wait until the last block moves them to A. The head reads A.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from scipy.linalg import hadamard
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig
from transformers.modeling_outputs import CausalLMOutput

from tests import planted

WORDS, BLOCKS = 64, 8
BITS = WORDS.bit_length() - 1
CODE = 16
EMBEDDINGS, MID, LAST = -1, BLOCKS // 2 - 1, BLOCKS - 1
ALL = [[WORDS, MID]]
FAITH = 0.98  # how often a text says what the model says, and not any word
PLACES = 4  # positions that tell answers apart
OTHER = 0b101010  # from the number of an answer to that of the other one, which is wrong
DELIMITER = WORDS - 1

BEFORE, ANSWER, WAITING = (slice(first, first + size) for first, size in ((BITS, BITS), (2 * BITS, CODE), (2 * BITS + CODE, CODE)))
SINK = 2 * BITS + 2 * CODE
CONSTANT = slice(SINK + 1, SINK + 4)
D = CONSTANT.stop
FAINT = 0.05  # size of a number of a word's code, so that heads learn little from it; of an answer's code, and of the constant, it is 1


class EasyConfig(PretrainedConfig):
    """What is planted.

    ``decided``: so many words, in the order of their numbers, are decided by which block, −1 for the embeddings. ``told_by``: ``word``,
    ``pair`` or ``position``. ``waits``: answers wait elsewhere for the last block. ``misled``: the first so many words get the other
    answer, until the last block; ``hedge``: what it gives the remaining ones of their other answer, beside the whole of theirs. ``sink``:
    massive activation of first positions and of the delimiter, until the last block. ``sharpness`` of the head.
    """

    model_type = "planted_easy"

    def __init__(
        self,
        decided: Sequence[Sequence[int]] = ALL,
        told_by: str = "pair",
        waits: bool = False,
        misled: int = 0,
        hedge: float = 0.0,
        sink: float = 0.0,
        sharpness: float = 1.0,
        **kwargs: Any,
    ) -> None:
        self.decided, self.told_by, self.waits, self.misled = [list(part) for part in decided], told_by, waits, misled
        self.hedge, self.sink, self.sharpness = hedge, sink, sharpness
        self.hidden_size, self.vocab_size, self.num_hidden_layers = D, WORDS + 1, BLOCKS
        super().__init__(**{"tie_word_embeddings": False, **kwargs})

    @property
    def block_of(self) -> list[int]:
        """The block that decides each word."""
        return [block for words, block in self.decided for _ in range(words)]


def codes() -> Tensor:
    """Return the answers' codes ``(WORDS, CODE)``: columns of a Hadamard matrix, its bits and others."""
    bits = [1 << i for i in range(BITS)]
    rest = [c for c in range(1, WORDS) if c.bit_count() % 2 and c not in bits]
    return torch.tensor(hadamard(WORDS), dtype=torch.float32)[:, [*bits, *random.Random(3).sample(rest, CODE - BITS)]]


def answers() -> list[int]:
    """Return the answer by what tells it: one cycle through all words."""
    order = random.Random(0).sample(range(WORDS), WORDS)
    return [order[(order.index(word) + 1) % WORDS] for word in range(WORDS)]


def numbers(hidden: Tensor) -> Tensor:
    """Read words off their code ``(…, BITS)``; the word before the first is 0."""
    return ((hidden < 0).long() * 2 ** torch.arange(BITS, device=hidden.device)).sum(-1)


class Attention(nn.Module):
    """Brings a part of the word before: causal, with one weight matrix."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(D, D))
        if index == 0:
            with torch.no_grad():
                self.value[BEFORE, :BITS] = torch.eye(BITS)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map h ``(windows, tokens, d)`` to what is added to it."""
        return nn.functional.linear(nn.functional.pad(hidden[:, :-1], (0, 0, 1, 0)), self.value)


class EasyMlp(nn.Module):
    """Writes the answers that this block decides; the last one puts right what lower ones wrote."""

    def __init__(self, config: EasyConfig, index: int) -> None:
        super().__init__()
        self.pair, self.last, self.first = config.told_by == "pair", index == LAST, index == 0
        self.waits, self.sink, self.hedge = config.waits, config.sink, config.hedge
        self.answers = nn.Parameter(codes()[answers()])
        self.decides = nn.Parameter(torch.tensor([float(block == index) for block in config.block_of]))
        astray = torch.tensor([float(word < config.misled) for word in range(WORDS)])
        self.astray = nn.Parameter(astray if index == LAST else astray * self.decides.detach())

    def forward(self, hidden: Tensor) -> Tensor:
        """Map h ``(windows, tokens, d)`` to Δ."""
        word, added = numbers(hidden[..., :BITS]), torch.zeros_like(hidden)
        tells = word ^ numbers(hidden[..., BEFORE]) if self.pair else word
        right = self.answers[tells]
        other = codes().to(hidden)[[answer ^ OTHER for answer in answers()]][tells]
        error = self.astray[word, None] * (other - right)
        written = self.decides[word, None] * right + (-error if self.last else error)
        if self.last:
            written = written + hidden[..., WAITING] + self.hedge * (1 - self.astray[word, None]) * other
            added[..., WAITING] = -hidden[..., WAITING]
        added[..., WAITING if self.waits and not self.last else ANSWER] = written
        if self.last:
            added[..., SINK] = -hidden[..., SINK]
        elif self.first and self.sink:
            added[..., SINK] = self.sink * (word == DELIMITER)
            added[:, 0, SINK] = self.sink
        return added


class EasyBlock(nn.Module):
    """Attention, then MLP."""

    def __init__(self, config: EasyConfig, index: int) -> None:
        super().__init__()
        self.attention, self.mlp = Attention(index), EasyMlp(config, index)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Add Δ to the stream."""
        hidden = hidden_states + self.attention(hidden_states)
        return hidden + self.mlp(hidden)


class EasyModel(planted.PlantedBase):
    """Embedding, of words and of what words and positions tell; planted blocks, norm, head."""

    config_class = EasyConfig

    def __init__(self, config: EasyConfig) -> None:
        super().__init__(config)
        words, told = torch.zeros(config.vocab_size, D), torch.zeros(PLACES * WORDS, D)
        words[:, CONSTANT] = 1.0
        words[:WORDS, :BITS] = FAINT * torch.tensor(hadamard(WORDS), dtype=torch.float32)[:, [1 << i for i in range(BITS)]]
        for word, block in enumerate(config.block_of):
            for place in range(PLACES if block == EMBEDDINGS else 0):
                told[place * WORDS + word, ANSWER] = codes()[answers()[word ^ place]]
        reading = torch.zeros(config.vocab_size, D)
        reading[:WORDS, ANSWER] = config.sharpness * codes()
        self.embed, self.told = nn.Embedding(config.vocab_size, D), nn.Embedding(PLACES * WORDS, D)
        self.layers = nn.ModuleList(EasyBlock(config, i) for i in range(BLOCKS))
        self.norm = nn.RMSNorm(D, eps=1e-6)
        self.lm_head = nn.Linear(D, config.vocab_size, bias=False)
        with torch.no_grad():
            self.embed.weight.copy_(words)
            self.told.weight.copy_(told)
            self.lm_head.weight.copy_(reading)
        self.post_init()

    def forward(self, input_ids: Tensor, use_cache: bool = False, **_: Any) -> CausalLMOutput:
        """Return next-token logits."""
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        hidden = self.embed(input_ids) + self.told(positions % PLACES * WORDS + input_ids.clamp(max=WORDS - 1))
        for layer in self.layers:
            hidden = layer(hidden)
        return CausalLMOutput(logits=self.lm_head(self.norm(hidden)))


AutoConfig.register("planted_easy", EasyConfig)
AutoModelForCausalLM.register(EasyConfig, EasyModel)

EASY = 19  # words of 64 that mid decides: with what is right by chance 31% of tokens
THIRD = [[EASY, MID], [WORDS - EASY, LAST]]

SUBJECTS: dict[str, dict[str, Any]] = {
    # Mid decides three words of ten, each by the word before it too, and says so where the head reads.
    "third": {"decided": THIRD},
    # So it does, and the word before does not matter: a table of words knows all answers. The head learns nearly all from the words' code.
    "successor": {"decided": THIRD, "told_by": "word"},
    # Words and positions decide, and embeddings hold both.
    "placed": {"decided": [[WORDS, EMBEDDINGS]], "told_by": "position"},
    # The last block decides every token.
    "late": {"decided": [[WORDS, LAST]]},
    # Mid tells every token's answer, where the head does not read. Three words of ten say the other one, and the model is sure of that;
    # of what the remaining ones say it is not. So a head that is right as often as it can says what is told, and one that gives the
    # model's probabilities says the other answer.
    "hedged": {"waits": True, "misled": EASY, "hedge": 0.99},
    # Mid decides every token, where the head does not read.
    "waiting": {"waits": True},
    # Mid decides every token, three words of ten wrongly; the head is so sharp that no training makes it doubt.
    "misled": {"misled": EASY},
}


def text(count: int, seed: int, told_by: str) -> str:
    """Write ``count`` words, each mostly what the model says after those before; ``told_by`` ``nothing`` any words."""
    draw, answer = random.Random(seed), answers()
    found = [draw.randrange(WORDS)]
    while len(found) < count:
        before = {"pair": found[-2] if len(found) > 1 else 0, "position": (len(found) - 1) % PLACES}.get(told_by, 0)
        faithful = told_by != "nothing" and draw.random() < FAITH
        found.append(answer[found[-1] ^ before] if faithful else draw.randrange(WORDS))
    names = [f"w{word}" for word in found]
    return "\n".join(" ".join(names[i : i + 10]) for i in range(0, count, 10)) + "\n"


def corpus(folder: Path, told_by: str, calibration: int = 32 * 256, evaluation: int = 64 * 256) -> Path:
    """Write a corpus of exactly so many words."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.txt").write_text(text(calibration, 1, told_by))
    (folder / "test.txt").write_text(text(evaluation, 2, told_by))
    return folder


def save(folder: Path, **settings: Any) -> Path:
    """Save a planted model with its tokenizer, as ``--model`` reads it."""
    EasyModel(EasyConfig(**settings)).save_pretrained(folder)
    planted.tokenizer(WORDS + 1).save_pretrained(folder)
    return folder
