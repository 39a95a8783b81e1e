"""Files of maps are read as they were written, or refused with one clear error; the command prints what its files give."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import torch

from fixtures.errors import ModelError
from harness import map_file, store
from harness.errors import MapsError, SubjectError
from harness.replaced_model import load_replaced, load_saved
from harness.replaced_model_command import main
from tests import planted, planted_maps
from tests.planted_maps import BLOCKS, D


@pytest.fixture
def written(tmp_path):
    """A small model and a file of affine maps of it."""
    path = planted_maps.save(tmp_path / "model")
    return path, planted_maps.write(tmp_path / "maps.safetensors", path)


@pytest.mark.parametrize("affine", [True, False])
def test_a_file_is_read_as_it_was_written(tmp_path, affine):
    """Tensors bit for bit in float32, the header's fields, the sizes; a safetensors file that others can read."""
    from safetensors.numpy import load_file

    path = planted_maps.save(tmp_path / "model")
    file = planted_maps.write(tmp_path / "m.safetensors", path, affine)
    found, maps = map_file.read(file), planted_maps.drawn(affine)
    assert found.about == planted_maps.about(path, affine)
    assert [{name: part.tobytes() for name, part in parts.items()} for parts in found.maps] == [
        {name: part.tobytes() for name, part in parts.items()} for parts in maps
    ]
    assert found.size == file.stat().st_size
    assert found.bytes_of(2) == (4 * (D * D + 2 * D) if affine else 4 * 2 * 5 * D)
    assert set(load_file(file)) == {f"{b}.{name}" for b in range(BLOCKS) for name in maps[0]}
    assert found.chosen([2, 0, 2]) == [0, 2]


@pytest.mark.parametrize("blocks", [[], [-1], [BLOCKS], [0, 99], [True], [0.5]])
def test_blocks_that_are_none_are_refused(written, blocks):
    """Before a model is loaded, with the blocks there are."""
    with pytest.raises(MapsError, match=r"no blocks are named|has blocks 0 to 2"):
        load_replaced(written[1], blocks)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a_b", "A", "x\n", "ü", "x" * 99, "nul\0"])
def test_hostile_names_never_become_files(name):
    """A name is one part of a path, and two pairs of names never one file."""
    for parts in ((name, "text", "paper"), ("model", name, "paper")):
        with pytest.raises(MapsError, match="cannot be part of a file's name"):
            map_file.name_for(*parts)
    assert map_file.name_for("my-model-12345678", "text-12345678", "strict") == "my-model-12345678_text-12345678_strict.safetensors"


def test_damaged_files_are_refused(written, tmp_path):
    """Cut short anywhere, one bit flipped anywhere, another safetensors file, nothing, a folder: MapsError, never another."""
    data, file = written[1].read_bytes(), tmp_path / "damaged.safetensors"
    draw = np.random.default_rng(0)
    for cut in (0, 5, 100, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:cut])
        with pytest.raises(MapsError, match="damaged, or not a file of maps"):
            load_replaced(file, [0])
    for place in draw.integers(0, len(data), 60):
        broken = bytearray(data)
        broken[place] ^= 1 << int(draw.integers(8))
        file.write_bytes(broken)
        with pytest.raises(MapsError, match="damaged, or not a file of maps"):
            map_file.read(file)
    for place in (tmp_path, tmp_path / "model" / "model.safetensors"):
        with pytest.raises(MapsError, match="damaged, or not a file of maps"):
            map_file.read(place)
    with pytest.raises(MapsError, match="cannot be read"):
        map_file.read(tmp_path / "nothing")


CRAFTED = [
    ({"maps": 2}, {}, "format version 2; this program reads version 1"),
    ({"maps": "1"}, {}, "not a file of maps"),
    ({"n_blocks": 4}, {}, "block 3: no tensors, which is no map"),
    ({"n_blocks": 10**9}, {}, "1000000000 blocks"),
    ({"n_blocks": True}, {}, "'n_blocks' is missing, or no int"),
    ({"width": 16}, {}, r"is float32 of shape \(32"),
    ({"rung": "held-out"}, {}, "rung 'held-out', expected paper, typical, strict"),
    ({"weights": None}, {}, "'weights' is missing, or no str"),
    ({"blocks": 3}, {}, "'blocks' is no name"),
    ({}, {"7.weight": np.zeros(3, np.float32)}, "'7.weight' belongs to none of 3 blocks"),
    ({}, {"../../x": np.zeros(3, np.float32)}, "belongs to none"),
    ({}, {"0.basis": np.zeros((D, 5), np.float32)}, "block 0: basis, mean_x, mean_y, weight, which is no map"),
    ({}, {"0.weight": np.zeros((D, D))}, "block 0: 'weight' is float64"),
    ({}, {"0.mean_x": np.full(D, np.nan, np.float32)}, "block 0: 'mean_x' is not finite"),
]


@pytest.mark.parametrize(("changes", "tensors", "message"), CRAFTED)
def test_crafted_files_are_refused(written, tmp_path, changes, tensors, message):
    """Whole files, with a digest that is right, that are not what they say."""
    arrays = {f"{b}.{name}": part for b, parts in enumerate(planted_maps.drawn(True)) for name, part in parts.items()}
    about = planted_maps.about(written[0], **changes)
    file = tmp_path / "crafted.safetensors"
    file.write_bytes(store.encode(about, store.Record({**arrays, **tensors})))
    with pytest.raises(MapsError, match=message):
        load_replaced(file, [0])


def test_other_weights_are_refused_before_they_are_loaded(written, monkeypatch):
    """One number of the model changed: the maps are of another model, and both are named."""
    from safetensors.torch import load_file, save_file

    path, file = written
    weights = load_file(path / "model.safetensors")
    weights["model.norm.weight"][0] += 1
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    monkeypatch.setattr("harness.replaced_model.load", lambda *_: pytest.fail("loaded"))
    with pytest.raises(SubjectError, match=r"model: other weights than the maps of .*maps\.safetensors were fitted to"):
        load_replaced(file, [0])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"kind": "folder", "path": "/no/such/folder"}, r"cannot be had: no folder .*if it is elsewhere, name it"),
        ({"kind": "gguf", "path": "x\0y"}, "cannot be had: no GGUF file"),
        ({"kind": "hub", "repo": "../x", "revision": "0" * 40}, "named organisation/name"),
        ({"kind": "hub", "repo": "a/b", "revision": "main"}, "names no place"),
        ({"kind": "hub", "repo": "a/b", "revision": "0" * 40}, "a/b"),
        ({"kind": "package", "package": "antigravity", "file": "x"}, "in a package that is not registered here"),
        ({"kind": "\x1b[31m"}, "names no place"),
        ({}, "names no place"),
    ],
)
def test_a_model_that_is_not_there_is_one_clear_error(written, tmp_path, source, message):
    """Whatever a file says of where its model is, which may be crafted."""
    file = planted_maps.write(tmp_path / "m.safetensors", written[0], source=source)
    with pytest.raises(ModelError, match=message) as caught:
        load_replaced(file, [0])
    assert str(caught.value).isprintable()


def test_a_model_that_was_moved_is_named(written, tmp_path):
    """``model=`` says where it is; its weights are checked all the same."""
    path, file = written
    before = load_replaced(file, [1])[0]
    path.rename(tmp_path / "moved")
    with pytest.raises(ModelError, match="cannot be had"):
        load_replaced(file, [1])
    ids = torch.arange(8)[None]
    assert torch.equal(load_replaced(file, [1], model=str(tmp_path / "moved"))[0](ids).logits, before(ids).logits)
    other = planted_maps.save(tmp_path / "other", "gpt2")
    with pytest.raises(SubjectError, match="other weights"):
        load_replaced(file, [1], model=str(other))


def own_perplexity(model, tokenizer, text, window=64, count=4):
    """Exponentiated cross-entropy by the model's own forward pass, all positions."""
    ids = torch.tensor(tokenizer(text).input_ids[: window * count]).view(count, window)
    with torch.inference_mode():
        logits = model(ids, use_cache=False).logits[:, :-1].double()
    return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).exp())


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_command_prints_what_the_loaded_models_give(written, tmp_path, capsys):
    """Sizes, perplexities by an own cross-entropy, text; what it saves is the model it measured."""
    path, file = written
    text = planted.words(4 * 64, vocabulary=97)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "train.txt").write_text("w1\n")
    (tmp_path / "text" / "test.txt").write_text(text)
    saved, prompt = tmp_path / "saved", "w5 w6"
    arguments = [str(file), "--blocks=0,2-2", f"--prompt={prompt}", f"--corpus={tmp_path / 'text'}", f"--save={saved}"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    replaced, tokenizer = load_replaced(file, [0, 2])
    whole = load_replaced(file, [1])[0].__class__.from_pretrained(path)
    for model, place in ((whole, r"perplexity  ([\d.,]+);"), (replaced, r"after ([\d.,]+) \(4 windows of 64 tokens of text-")):
        expected = own_perplexity(model, tokenizer, text)
        assert float(re.search(place, shown)[1].replace(",", "")) == pytest.approx(expected, rel=1e-5)
        bytes_ = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
        assert f"{bytes_:,} bytes, {sum(p.numel() for p in model.parameters()):,} parameters" in shown
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    written_text = tokenizer.decode(replaced.generate(ids, max_new_tokens=40, do_sample=False, pad_token_id=0)[0], skip_special_tokens=True)
    assert f"after       {written_text}" in shown
    assert own_perplexity(load_saved(saved)[0], tokenizer, text) == own_perplexity(replaced, tokenizer, text)
    assert main([str(file), "--blocks=1"]) == 0
    assert "not measured: 'a-text' is no corpus of the suite" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--blocks=3"], 4, "has blocks 0 to 2"),
        (["--blocks=1-x"], 4, "expected numbers from 0"),
        (["--blocks="], 4, "expected numbers from 0"),
        (["--blocks=2-1"], 4, "no blocks are named"),
        (["--blocks=0", "--corpus=nowhere"], 4, "neither a corpus of the suite"),
        (["--blocks=0", "--device=toaster"], 4, "no such device"),
        (["--blocks=0", "--model=smollm"], 4, "did you mean 'smollm2'"),
        (["--blocks=0", "--save=."], 4, "something already"),
        (["--blocks=0", "--save=" + "x" * 300], 4, "too long"),
        (["--blocks=0", "--corpus=little.txt"], 4, "too little text"),
        (["--blocks=0", "--prompt="], 4, "--prompt: it gives no tokens"),
        (["--blocks=0", "--model=other"], 6, "other weights than"),
    ],
)
def test_the_command_refuses_in_one_line(written, tmp_path, monkeypatch, capsys, arguments, code, message):
    """4 for what was given, 6 for what cannot be had; nothing of it a traceback."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "little.txt").write_text("w1\nw2\nw3\n")
    planted_maps.save(tmp_path / "other", "opt")
    assert main([str(written[1]), *arguments]) == code
    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown


def test_a_file_without_its_model_or_that_is_none_has_its_exit_code(written, capsys):
    """6 for a model that is gone, 4 for a file that is none."""
    path, file = written
    shutil.rmtree(path)
    assert main([str(file), "--blocks=0"]) == 6
    assert main([str(file.parent / "nothing"), "--blocks=0"]) == 4
    assert "cannot be had" in capsys.readouterr().err


def test_a_protocol_without_windows_is_refused(written, tmp_path):
    """Numbers that are none, or beyond all text."""
    for windows in ({}, {"window": 0, "evaluation_windows": 4}, {"window": 64, "evaluation_windows": 10**12}):
        file = planted_maps.write(tmp_path / "m.safetensors", written[0], protocol=windows)
        assert main([str(file), "--blocks=0", "--corpus=pydocs"]) == 4


def test_equal_headers_are_recognised(written, tmp_path):
    """The same header stands, any other one does not, nor a damaged file, nor none."""
    about = json.loads(json.dumps(planted_maps.about(written[0])))
    assert map_file.is_there(written[1], about)
    assert not map_file.is_there(written[1], {**about, "protocol": {**about["protocol"], "seed": 1}})
    assert not map_file.is_there(tmp_path / "nothing", about)
    written[1].write_bytes(written[1].read_bytes()[:-1])
    assert not map_file.is_there(written[1], about)
