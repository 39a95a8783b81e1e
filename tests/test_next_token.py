"""What is read off a head, what a bigram table answers, and the text of single tokens: against loops, dictionaries and real tokenizers."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from harness.bigram import bigram
from harness.errors import MeasurementError
from harness.exits import Exit
from harness.next_token import said
from harness.pieces import encode, pieces


def test_a_head_is_read_position_by_position():
    """Top-1 token, its probability, whether it is next, and −log p of the next token, in float64."""
    draw = np.random.default_rng(0)
    hidden, weight, ids = draw.normal(size=(3, 6, 4)), draw.normal(size=(9, 4)), draw.integers(0, 9, (3, 6))
    found = said(lambda x: (x.double() @ torch.from_numpy(weight).T).float(), torch.from_numpy(hidden).float(), ids)
    log_p = log_softmax(hidden[:, :-1] @ weight.T, -1)
    np.testing.assert_array_equal(found.top, log_p.argmax(-1))
    np.testing.assert_allclose(found.confidence, np.exp(log_p.max(-1)), rtol=1e-5)
    np.testing.assert_array_equal(found.right, log_p.argmax(-1) == ids[:, 1:])
    expected = [[-log_p[w, t, ids[w, t + 1]] for t in range(5)] for w in range(3)]
    np.testing.assert_allclose(found.nll, expected, rtol=1e-5, atol=1e-6)


def test_logits_that_are_not_finite_are_an_error():
    """Never a share of tokens."""
    with pytest.raises(MeasurementError, match="not finite"):
        said(lambda x: x * float("nan"), torch.zeros(1, 3, 4), np.zeros((1, 3), dtype=np.int64))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=60), st.lists(st.integers(0, 8), max_size=9))
@settings(max_examples=100, deadline=None)
def test_a_bigram_table_answers_as_a_dictionary_of_counters(pairs, asked):
    """The most frequent answer, of equals the smallest; overall for a token that was never seen."""
    tokens, answers = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    counts = defaultdict(Counter)
    for token, answer in pairs:
        counts[token][answer] += 1
    counts["overall"] = Counter(answers.tolist())
    best = {token: min(c, key=lambda a, c=c: (-c[a], a)) for token, c in counts.items()}
    found = bigram(tokens, answers).said_after(np.array(asked, dtype=np.int64))
    assert found.tolist() == [best.get(token, best["overall"]) for token in asked]


@pytest.mark.parametrize(("tokens", "answers"), [([], []), ([1, 2], [1])])
def test_a_table_of_nothing_is_refused(tokens, answers):
    """And so are tokens without an answer."""
    with pytest.raises(ValueError, match="answers"):
        bigram(np.array(tokens, dtype=np.int64), np.array(answers, dtype=np.int64))


def byte_level():
    """A tokenizer of single bytes, as GPT-2's is at its lowest."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner)


def metaspace():
    """A tokenizer of words that carry their leading space, and lose it at the start of what is decoded, as Llama 2's does."""
    words = ["▁the", "▁cat", "sat", "▁", "on"]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="▁"))
    inner.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=inner)


@given(st.text(min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_pieces_of_ascii_text_make_up_the_text(text):
    """Whatever it is; bytes of longer characters are shown as replacement characters."""
    tokenizer = byte_level()
    ids = np.array(tokenizer(text)["input_ids"])
    before = np.concatenate([ids[:1], ids[:-1]])
    found = pieces(tokenizer, ids, before)
    assert len(found) == len(ids)
    if text.isascii():
        assert "".join(found) == text
    else:
        assert any("\ufffd" in piece for piece in found)


def test_a_word_keeps_its_leading_space():
    """Though decoded alone it would lose it."""
    tokenizer, ids = metaspace(), np.array([0, 1, 2, 1])
    assert tokenizer.decode([1]) == "cat"
    assert pieces(tokenizer, ids, np.array([0, 0, 1, 2])) == [" the", " cat", "sat", " cat"]


def test_texts_are_kept_whatever_they_hold():
    """Newlines, nothing, and other scripts, through the store's arrays."""
    texts = ["", "\n", "ä", "雪", '"', "\x1b[31m"]
    arrays = {"counted": np.ones((2, 2)), "pieces": encode(texts)}
    assert Exit(arrays).texts("pieces") == [texts[:3], texts[3:]]
