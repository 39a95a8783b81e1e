"""Models are described without loading them, and refused with what was found and what was expected."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fixtures import DEFAULT_MODEL, MODELS, Folder, Hub, Model, ModelError, Wheel, register
from fixtures.described import model_at
from fixtures.naming import printable, slug
from harness import loading
from harness.errors import SubjectError
from harness.fingerprints import Memory
from harness.store import Store
from harness.subject import Placement, weights_fingerprint
from tests import planted


def load(model: Model, **options) -> loading.Subject:
    """Load a model as the laboratory does."""
    path = model.source.fetch(lambda line: None)
    return loading.load(model, path, weights_fingerprint(path, Memory(Store(None))), Placement(**options))


def tiny_gguf(file: Path, blocks: int = 3) -> Path:
    """Write a GGUF header with one tensor."""
    from gguf import GGUFWriter

    writer = GGUFWriter(file, "llama")
    writer.add_block_count(blocks)
    writer.add_embedding_length(8)
    writer.add_tensor("token_embd.weight", np.zeros((4, 8), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_a_folder_is_described_by_its_config(tmp_path):
    """Name, family and number of blocks, without torch."""
    folder = planted.save(tmp_path / "My Model!", shares=[0.5] * 3)
    found = model_at(str(folder))
    assert found.name.startswith("my-model-")
    assert (found.family, found.n_blocks, found.source) == ("planted", 3, Folder(folder))


def test_names_tell_weights_apart_and_not_places(tmp_path):
    """The digits follow content: a copy has the same name, another seed does not."""
    first = model_at(str(planted.save(tmp_path / "a" / "model", seed=1))).name
    assert model_at(str(planted.save(tmp_path / "b" / "model", seed=1))).name == first
    assert model_at(str(planted.save(tmp_path / "c" / "model", seed=2))).name != first


def test_a_names_digits_follow_the_tokenizer_too(tmp_path):
    """Other tokens, other figures: a swapped vocabulary is another subject."""
    folder = planted.save(tmp_path / "m")
    before = model_at(str(folder)).name
    file = folder / "tokenizer.json"
    file.write_text(file.read_text().replace('"w1"', '"w1x"'))
    changed = model_at(str(folder)).name
    assert changed != before
    (folder / "tekken.json").write_text("{}")
    assert model_at(str(folder)).name != changed


def test_control_characters_of_a_config_do_not_reach_the_terminal(tmp_path):
    """``--markers`` prints what a config calls itself."""
    folder = planted.save(tmp_path / "m")
    planted.edit_config(folder, model_type="x\x1b[31m\ny")
    found = model_at(str(folder))
    assert found.about.isprintable()
    assert found.family.isprintable()


def test_a_gguf_is_described_by_its_header(tmp_path):
    """Family and number of blocks from the header alone."""
    found = model_at(str(tiny_gguf(tmp_path / "tiny.Q4.gguf")))
    assert found.name.startswith("tiny.q4-")
    assert (found.family, found.n_blocks) == ("llama", 3)


def test_a_registered_name_is_itself():
    """The embedded default is registered, and pinned by hash."""
    model = model_at(DEFAULT_MODEL)
    assert model is MODELS["smollm2"]
    assert isinstance(model.source, Wheel)
    assert len(model.source.sha256) == 64


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "not JSON"),
        ("[]", "no model_type"),
        ('{"hidden_size": 8}', "no model_type"),
        ('{"model_type": "x"}', "no number of blocks"),
        ('{"model_type": "x", "n_layer": "many"}', "no number of blocks"),
        ('{"model_type": "x", "n_layer": 0}', "no number of blocks"),
        ('{"model_type": "x", "n_layer": true}', "no number of blocks"),
        ('{"model_type": "x", "n_layer": 300000}', "from 1 to 1000"),
        ("[" * 100000, "not JSON"),
        ('{"model_type": "x", "n_layer": 2}', r"expected weights as \*\.safetensors, found none"),
    ],
)
def test_a_folder_that_is_not_a_model_is_refused(tmp_path, config, message):
    """Each fault is named."""
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ModelError, match=message):
        model_at(str(tmp_path))


def test_pickled_weights_are_never_read(tmp_path):
    """A checkpoint that is only a pickle is refused by name."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_layer": 2}))
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"only pytorch_model\.bin, a pickle"):
        model_at(str(tmp_path))


@pytest.mark.parametrize(
    ("given", "message"),
    [("smollm3", "did you mean 'smollm2'"), ("no/such/path", "neither a registered model"), ("\x1b]0;x\x07", r"\\x1b")],
)
def test_an_unknown_model_is_refused(given, message):
    """Nearest name, or what would have been accepted; terminal escapes are shown, not sent."""
    with pytest.raises(ModelError, match=message) as caught:
        model_at(given)
    assert str(caught.value).isprintable()


def test_damaged_gguf_files_are_refused(tmp_path):
    """Not GGUF at all, cut short, or lying about its counts."""
    whole = tiny_gguf(tmp_path / "whole.gguf").read_bytes()
    for name, data, message in (
        ("text.gguf", b"hello", "not a GGUF file"),
        ("short.gguf", whole[:40], "cannot be read"),
        ("lies.gguf", whole[:8] + (2**60).to_bytes(8, "little") + whole[16:], "cannot be read"),
        ("zero.gguf", tiny_gguf(tmp_path / "zero0.gguf", blocks=0).read_bytes(), "0 blocks"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ModelError, match=message):
            model_at(str(tmp_path / name))


def test_loading_refuses_missing_and_truncated_weights(tmp_path):
    """Gaps would be filled with random weights: refused, with the names of the gaps."""
    folder = planted.save(tmp_path / "gaps", shares=[0.5] * 2)
    planted.edit_config(folder, shares=[0.5] * 3, num_hidden_layers=3)
    with pytest.raises(SubjectError, match=r"does not fill the model .*layers\.2"):
        load(model_at(str(folder)))
    folder = planted.save(tmp_path / "cut", shares=[0.5] * 2)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cut short, or not what its header says"):
        model_at(str(folder))


def test_loading_refuses_another_file_than_the_registered_one(tmp_path, monkeypatch):
    """The hash is checked before anything is parsed."""
    (tmp_path / "fake_weights").mkdir()
    (tmp_path / "fake_weights" / "__init__.py").write_text("raise RuntimeError('imported')")
    tiny_gguf(tmp_path / "fake_weights" / "w.gguf")
    monkeypatch.syspath_prepend(tmp_path)
    model = Model("fake", "llama", 3, Wheel("fake_weights", "w.gguf", "0" * 64, "pip install fake"))
    with pytest.raises(SubjectError, match=r"not the file that was registered .* pip install fake"):
        load(model)
    missing = Model("fake", "llama", 3, Wheel("no_such_weights", "w.gguf", "0" * 64, "pip install fake"))
    with pytest.raises(ModelError, match=r"not installed: pip install fake"):
        load(missing)


def test_a_loaded_model_says_where_it_came_from(tmp_path):
    """Eval mode, no gradients, provenance and a fingerprint over every byte."""
    folder = planted.save(tmp_path / "m", shares=[0.5] * 2)
    subject = load(model_at(str(folder)))
    assert not subject.anatomy.model.training
    assert not any(p.requires_grad for p in subject.anatomy.model.parameters())
    assert subject.facts.provenance == "safetensors, as stored"
    before = subject.facts.weights
    file = folder / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1  # one bit in the middle, out of reach of the quick digest's edges in a large file
    file.write_bytes(data)
    assert load(model_at(str(folder))).facts.weights != before


def test_a_device_that_is_absent_is_named(tmp_path):
    """Asked for and not there: an error that says what to do."""
    folder = planted.save(tmp_path / "m")
    for device, message in (("cuda:99", "no such device; try|no such device"), ("toaster", "no such device")):
        with pytest.raises(SubjectError, match=message):
            load(model_at(str(folder)), device=device)


def test_two_models_of_one_name_are_an_error():
    """Also a name that would not be a safe marker."""
    with pytest.raises(ModelError, match="registered twice"):
        register(MODELS["smollm2"])
    with pytest.raises(ModelError, match="made of a-z"):
        register(Model("../x", "llama", 1, Folder(Path())))


@pytest.mark.parametrize("text", ["", "../..", "a/b\\c", "\x1b[0m", "ünï", "-x", "." * 300])
def test_slugs_are_never_paths_or_escapes(text):
    """Letters, digits, dots and dashes, not led by a dot or dash."""
    assert slug(text).isascii()
    assert slug(text)[0].isalnum()
    assert "/" not in slug(text)
    assert printable(text).isprintable()


@pytest.mark.parametrize("repo", ["gpt2", "a/b/c", "../x", "a/..", "/a/b", "a/b\n", "-a/b", "a/b;c", ""])
def test_what_is_no_repository_is_refused(repo):
    """A repository's id becomes part of a path and of an address."""
    with pytest.raises(ModelError, match="cannot be one"):
        Hub(repo)


@pytest.mark.parametrize("revision", ["", "../../x", "a b", "-x", "main\n"])
def test_what_is_no_revision_is_refused(revision):
    """So does a revision."""
    with pytest.raises(ModelError, match="cannot be one"):
        Hub("org/name", revision)
