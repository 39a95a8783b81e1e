"""Input that no one should have to think of: damaged, hostile, odd. Each is one clear error, or a caveat, and never a traceback."""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from fixtures import ModelError
from fixtures.described import model_at
from harness.errors import SubjectError
from tests import planted
from tests.planted import RISING
from tests.test_models import load


def header(length: int, text: str, data: bytes = b"") -> bytes:
    """A safetensors file as one might forge it."""
    return length.to_bytes(8, "little") + text.encode() + data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cut short: 0 bytes"),
        (b"abc", "cut short: 3 bytes"),
        (header(10**15, "{}"), "a header of 1,000,000,000,000,000 announced"),
        (header(2, "{}", b"x" * 10), "10 bytes of weights, 0 announced"),
        (header(2, "[]"), "not an object"),
        (header(2, "{{"), "header cannot be read"),
        (header(4, "nope"), "header cannot be read"),
        (header(9, '{"a": {}}'), "KeyError"),
        (header(55, '{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', b"1234"), "is not a size"),
        (header(54, '{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}', b""), "is not a size"),
        (header(56, '{"a":{"dtype":"F32","shape":[1e9],"data_offsets":[0,4]}}', b"1234"), "is not a size"),
        (header(54, '{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}', b"1234"), "cannot be loaded"),
    ],
)
def test_safetensors_that_lie_are_refused(tmp_path, data, message):
    """Sizes, offsets and shapes are compared with the file before anything is loaded; what is left, by the loader."""
    folder = planted.save(tmp_path / "m", shares=[0.5] * 2)
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises((ModelError, SubjectError), match=message):
        load(model_at(str(folder)))


def test_a_gguf_that_announces_more_than_it_holds_is_refused(tmp_path):
    """Counts and lengths are compared with the file before a reader follows them: 2^40 values would never end."""
    pairs = (1).to_bytes(8, "little") + (1).to_bytes(8, "little") + b"a"
    endless = (9).to_bytes(4, "little") + (0).to_bytes(4, "little") + (2**40).to_bytes(8, "little")
    strings = (9).to_bytes(4, "little") + (8).to_bytes(4, "little") + (2**40).to_bytes(8, "little")
    for version, rest in ((3, pairs + endless), (3, pairs + strings), (3, pairs + (99).to_bytes(4, "little")), (1, pairs), (3, b"")):
        file = tmp_path / "x.gguf"
        file.write_bytes(b"GGUF" + version.to_bytes(4, "little") + (0).to_bytes(8, "little") + rest)
        with pytest.raises(ModelError, match="the GGUF header cannot be read"):
            model_at(str(file))


def test_a_pipe_among_the_weights_is_left_alone(tmp_path):
    """It would never end."""
    folder = planted.save(tmp_path / "m", shares=[0.5] * 2)
    os.mkfifo(folder / "x.safetensors")
    load(model_at(str(folder)))


def test_another_dtype_is_another_subject(claims):
    """What the store knows of a model in one type says nothing of it in another."""
    for dtype in ("float32", "bfloat16"):
        (found,) = claims("-m", "paper", f"--dtype={dtype}").report["models"].values()
        assert found["dtype"] == dtype


def test_a_token_that_is_also_the_end_of_text_is_not_the_unknown(tmp_path):
    """Byte-level tokenizers name some other token so; text full of it is not unknown."""
    folder = planted.save(tmp_path / "m", shares=[0.5] * 2)
    assert load(model_at(str(folder))).facts.unknown == 511
    other = planted.tokenizer()
    other.eos_token = "<unk>"
    other.save_pretrained(folder)
    assert load(model_at(str(folder))).facts.unknown == -1


def test_an_encoder_is_refused(claims, tmp_path):
    """BERT loads as a language model, and sees the future."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=512, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, is_decoder=False
    )
    transformers.BertLMHeadModel(config).save_pretrained(tmp_path / "bert")
    planted.tokenizer().save_pretrained(tmp_path / "bert")
    result = claims("--model", tmp_path / "bert", model=None)
    assert result.ret == 6
    (line,) = [line for line in result.stdout.lines if line.startswith("ERROR: ")]
    assert "not causal: a later token changes earlier logits; expected a decoder-only language model" in line


def test_a_model_that_is_no_language_model_is_refused(tmp_path):
    """An image classifier's folder."""
    config = transformers.ViTConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=32)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    planted.tokenizer().save_pretrained(tmp_path / "vit")
    with pytest.raises(SubjectError, match=r"cannot be loaded from .*Unrecognized configuration class"):
        load(model_at(str(tmp_path / "vit")))


@pytest.mark.parametrize("changes", [{"hidden_size": 32}, {"vocab_size": 600}, {"model_type": "no_such_family"}, {"dtype": "float7"}])
def test_a_config_that_does_not_fit_the_weights_is_refused(tmp_path, changes):
    """Other sizes, an unknown family, a type that is none."""
    folder = planted.save(tmp_path / "m", shares=[0.5] * 2)
    planted.edit_config(folder, **changes)
    with pytest.raises(SubjectError, match=r"cannot be loaded|does not fill"):
        load(model_at(str(folder)))


def test_a_model_that_cannot_run_is_refused(tmp_path):
    """Found by fuzzing: a config that makes a forward pass fail."""
    folder = planted.save(tmp_path / "m", shares=[0.5] * 2)
    planted.edit_config(folder, shares=[0.5, -1.0])
    with pytest.raises(SubjectError, match="a forward pass on random tokens fails"):
        load(model_at(str(folder)))


def test_a_tokenizer_that_fails_when_used_is_refused(tmp_path):
    """Found by fuzzing: a vocabulary without the unknown token that it names."""
    folder = planted.save(tmp_path / "m", shares=[0.5] * 2)
    file = folder / "tokenizer.json"
    file.write_text(file.read_text().replace('"unk_token": "<unk>"', '"unk_token": "<unk >"'))
    with pytest.raises(SubjectError, match="the tokenizer fails on 5 characters of text"):
        load(model_at(str(folder)))


def test_a_small_vocabulary_and_no_bos_are_fine(claims, shelf):
    """A 300-token tokenizer on a 300-row embedding; what it does not know of the text is a caveat."""
    planted.save(shelf / "small-vocabulary", shares=RISING, vocab_size=300)
    result = claims("-m", "paper", model="small-vocabulary")
    assert result.ret == 0
    assert caveats(result) == "42% of the tokens are the tokenizer's token for what it does not know"


def test_text_in_another_script_is_too_little_text(claims, shelf):
    """A tokenizer that knows none of it: untested, exit code 4, nothing judged."""
    folder = shelf / "script"
    folder.mkdir(exist_ok=True)
    for name in ("train", "test"):
        (folder / f"{name}.txt").write_text("слово за слово . " * 12_000)
    result = claims(text="script")
    assert result.ret == 4
    result.stdout.fnmatch_lines(
        ["UNTESTED: *: the tokenizer of rising-* does not know 100% of the tokens of the calibration split of script-*"]
    )
    assert {row["verdict"] for row in result.report["rows"]} == {"untested"}


def test_one_huge_line_is_text(claims, shelf):
    """No line's end to split at: split where it is."""
    (shelf / "line.txt").write_text(planted.words(130_000).replace("\n", " "))
    assert claims("-m", "paper", text="line.txt").ret == 0


def test_a_tokenizer_that_is_not_the_registered_one_is_refused(tmp_path):
    """A model registered to have a BOS, and files whose tokenizer adds none, or the other way round."""
    from dataclasses import replace

    from tokenizers.processors import TemplateProcessing

    folder = planted.save(tmp_path / "m", shares=[0.5] * 2)
    plain = model_at(str(folder))
    load(replace(plain, bos=False))
    with pytest.raises(SubjectError, match="registered with bos=True, but its tokenizer puts no BOS before a text"):
        load(replace(plain, bos=True))
    with_bos = planted.tokenizer()
    with_bos.backend_tokenizer.post_processor = TemplateProcessing(single="w7 $A", special_tokens=[("w7", 7)])
    with_bos.save_pretrained(folder)
    load(replace(plain, bos=True))
    with pytest.raises(SubjectError, match=r"registered with bos=False, but its tokenizer puts \[7\] before a text"):
        load(replace(plain, bos=False))


def test_a_swapped_tokenizer_is_not_taken_for_the_one_before(claims, shelf):
    """Same weights, other tokens: what the store knows of the subject is not used."""
    folder = planted.save(shelf / "swapped", shares=RISING)
    for vocabulary in (300, 512, 300):  # The third time nothing is loaded.
        planted.tokenizer(vocabulary).save_pretrained(folder)
        result = claims("-m", "paper", model="swapped")
        said = caveats(result)
        fresh = claims("-m", "paper", "--no-store", model="swapped")
        assert [row["value"] for row in result.report["rows"]] == [row["value"] for row in fresh.report["rows"]]
        assert ("42% of the tokens" in said) is (vocabulary == 300)


def caveats(result) -> str:
    """What is said beside a figure."""
    return "; ".join(next(r["caveats"] for r in result.report["rows"] if r["predicate"] == "depth_gain" and r["rung"] == "paper"))


HOSTILE = ["..", "\x1b[31mred\x1b]0;x\x07", "[bold]<b>&amp;\"'", "a b\nc", "‮rtl", "-rf", "%s%n{0}", "é" * 60]


@pytest.mark.parametrize("name", HOSTILE[1:])
def test_hostile_folder_names_reach_no_terminal_and_no_path(claims, shelf, tmp_path, name):
    """Escapes, markup, line ends, direction marks: shown, not sent; the report is where it was asked for."""
    model, text = tmp_path / name, tmp_path / f"t{name}"
    shutil.copytree(shelf / "short", model)
    shutil.copytree(shelf / "text", text)
    result = claims("-m", "paper", "--model", model, "--corpus", text, "-v", model=None, text=None)
    assert result.ret == 0
    for output in (result.stdout.str(), result.stderr.str()):
        assert not {c for c in output if not c.isprintable() and c != "\n"}
    (found,) = result.report["models"]
    assert set(found) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_arguments_are_one_line(claims, name):
    """Whatever option they are given to."""
    for option in ("--model", "--corpus", "--device", "--device-map", "--models-from"):
        result = claims(f"{option}=no-such-place/{name}/x", model=None, text=None)
        assert result.ret == 4, option
        lines = [line for line in result.stderr.lines if line.strip()]
        assert len(lines) == 1, lines
        assert lines[0].isprintable()


def test_a_report_that_cannot_be_written_is_said_before(claims, monkeypatch):
    """No permission, a read-only file system: exit code 4, before anything is loaded."""

    def refuse(**_given):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    result = claims()
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--report report.json: cannot be written, no file can be written in * (Permission denied)"])


def test_cuda_asked_for_and_absent_is_said_before(claims, monkeypatch):
    """Exit code 4, before anything is loaded; nothing is measured on another device in its place."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    result = claims("--device=cuda")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--device cuda: this machine has no such device (this torch: *); try --device cpu"])
    assert result.report is None


def test_weights_of_a_wrong_type_are_refused(tmp_path):
    """Whole numbers where weights should be: not silently rounded into a model."""
    folder = planted.save(tmp_path / "m", shares=[0.5] * 2)
    weights = load_file(folder / "model.safetensors")
    weights["layers.1.mlp.linear"] = torch.zeros(3, 3)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SubjectError, match=r"does not fill the model|cannot be loaded"):
        load(model_at(str(folder)))
