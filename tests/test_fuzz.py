"""Anything at all at the boundary of arguments and files: an error of ours, or a model and a text, and nothing else.

``FUZZ_EXAMPLES=5000 pytest tests/test_fuzz.py`` for longer; what it finds becomes a test beside the others.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import string
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures import CorpusError, ModelError
from fixtures.corpora import choose
from fixtures.described import model_at
from harness.errors import SubjectError
from reports.subjects import InputError, settle
from tests import planted
from tests.test_models import load, tiny_gguf

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "40"))
fuzz = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@contextlib.contextmanager
def only(*errors):
    """Let errors of ours pass, of one line that can be printed; any other, and a crash, is a failure."""
    try:
        yield
    except errors as error:
        if not str(error).isprintable():
            pytest.fail(f"not printable: {error!r}")


HINTS = ["auto", "smollm2", "mistral", "pydocs", "chat", "cuda:0", "..", "/", "~", "@", "org/name", "\0", "\x1b[0m", "{"]
HINTS += ["not ", "(", " and ", " or ", "claim1"]
TEXTS = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(HINTS) | st.text(max_size=3), max_size=6).map("".join))


@fuzz
@given(st.lists(TEXTS, max_size=3), st.lists(TEXTS, max_size=3), TEXTS, TEXTS | st.none(), TEXTS, st.booleans())
def test_arguments_are_followed_or_refused(models, corpora, device, device_map, marks, everything):
    """Whatever is typed: subjects, or one line that can be printed."""
    option = SimpleNamespace(
        model=models,
        corpus=corpora,
        device=device,
        device_map=device_map,
        markexpr=marks,
        all_models=everything,
        dtype="auto",
        verdicts="fail",
        trust_remote_code=False,
    )
    with only(InputError):
        settle(option, {"claim1", "paper"}, lambda line: None, fetch=False, settled=None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [
        "model_type",
        "num_hidden_layers",
        "n_layer",
        "hidden_size",
        "vocab_size",
        "text_config",
        "shares",
        "architectures",
        "dtype",
        "quantization_config",
        "auto_map",
        "rope_scaling",
        "torch_dtype",
        "tie_word_embeddings",
        "seed",
        "rank",
        "attn_implementation",
    ]
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small model and the folder that damaged copies go to."""
    folder = tmp_path_factory.mktemp("fuzz")
    planted.save(folder / "whole", shares=[0.5] * 2)
    return folder


@fuzz
@given(st.dictionaries(KEYS, JSON, max_size=4), st.sampled_from(["planted", "llama", "gpt2", "bert", "mixtral"]))
def test_configs_are_followed_or_refused(whole, changes, family):
    """Values of the wrong kind anywhere in config.json; loaded, too."""
    damaged = whole / "config"
    shutil.copytree(whole / "whole", damaged, dirs_exist_ok=True)
    config = json.loads((whole / "whole" / "config.json").read_text()) | {"model_type": family} | changes
    (damaged / "config.json").write_text(json.dumps(config))
    with only(ModelError, SubjectError):
        load(model_at(str(damaged)))


def mutated(data: bytes, cuts, flips) -> bytes:
    """Cut, repeat and change bytes; positions are shares of the length, so that small files are hit anywhere."""
    found = bytearray(data)
    for start, length, times in cuts:
        a = int(start * len(found))
        found[a : a + length] = found[a : a + length] * times
    for place, value in flips:
        if found:
            found[min(int(place * len(found)), len(found) - 1)] = value
    return bytes(found)


# Damage near the start, where headers are, is the more telling.
PLACES = st.floats(0, 1) | st.floats(0, 0.02)
CUTS = st.lists(st.tuples(PLACES, st.integers(1, 64), st.integers(0, 2)), max_size=2)
BYTES = st.binary(max_size=200) | st.text(string.printable, max_size=200).map(str.encode)
FLIPS = st.lists(st.tuples(PLACES, st.integers(0, 255)), max_size=6)


@fuzz
@given(st.sampled_from(["model.safetensors", "tokenizer.json", "tokenizer_config.json"]), CUTS, FLIPS)
def test_damaged_folders_are_loaded_or_refused(whole, name, cuts, flips):
    """Weights and tokenizer with bytes lost, repeated or changed."""
    damaged = whole / "files"
    shutil.copytree(whole / "whole", damaged, dirs_exist_ok=True)
    (damaged / name).write_bytes(mutated((damaged / name).read_bytes(), cuts, flips))
    with only(ModelError, SubjectError):
        load(model_at(str(damaged)))


@fuzz
@given(CUTS, FLIPS)
def test_damaged_gguf_files_are_described_or_refused(whole, cuts, flips):
    """Counts and lengths that cannot be."""
    good = whole / "good.gguf"
    if not good.exists():
        tiny_gguf(good)
    damaged = whole / "damaged.gguf"
    damaged.write_bytes(mutated(good.read_bytes(), cuts, flips))
    with only(ModelError, SubjectError):
        load(model_at(str(damaged)))


@fuzz
@given(
    st.binary(max_size=200) | st.text(string.printable, max_size=200).map(str.encode),
    st.sampled_from(["x.txt", "d/train.txt", "d/a.test.md"]),
)
def test_text_files_are_read_or_refused(whole, data, name):
    """Any bytes, under any of the names that are read."""
    folder = whole / "text"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "d").mkdir(parents=True)
    (folder / "d" / "test.txt").write_text("a line\n")
    (folder / name).write_bytes(data)
    for path in (folder / name, folder / "d"):
        with only(CorpusError):
            choose(str(path))[0].read()
