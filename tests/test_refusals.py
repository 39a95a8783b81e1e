"""What ``pytest claims`` says of what cannot be measured: models, text, options, sessions; one message and the settled exit code."""

from __future__ import annotations

import pytest

from tests import planted
from tests.planted import RISING, verdicts


def test_a_model_that_is_refused_is_one_error_and_exit_code_6(claims):
    """Named once, with the part; not one traceback a cell; the report is written."""
    result = claims(model="broken")
    assert result.ret == 6
    lines = [line for line in result.stdout.lines if "changes the stream between layers.1 and layers.2" in line]
    assert sum(line.startswith("ERROR: ") for line in lines) == 1
    assert "Traceback" not in result.stdout.str()
    assert verdicts(result.report)["depth_gain"] == "error"


def test_an_error_beats_a_falsification(claims, shelf):
    """6 whatever else, also when verdicts are only reported."""
    result = claims("--model", shelf / "falling", "--verdicts=report", model="broken")
    assert result.ret == 6
    assert {row["verdict"] for row in result.report["rows"]} >= {"error", "falsified"}


def test_a_failure_nobody_foresaw_keeps_its_traceback(claims, monkeypatch):
    """A bug in a measurement is an ERROR row and can be traced."""
    import harness.visits

    def burst(*_args, **_kwargs):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(harness.visits, "sweep", burst)
    result = claims("-m", "claim4")
    assert result.ret == 6
    assert "ZeroDivisionError: a bug" in result.stdout.str()
    assert verdicts(result.report)["depth_gain"] == "error"


def test_too_little_text_names_tokens_and_is_bad_input(claims):
    """Found and needed; nothing was measured, so nothing is judged; exit code 4."""
    result = claims(text="little")
    assert result.ret == 4
    result.stdout.fnmatch_lines(["UNTESTED: *too little text: the calibration split of little-* has 8,191 tokens, 8,192 are needed*"])
    assert set(verdicts(result.report).values()) == {"untested"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model=nowhere"], "neither a registered model"),
        (["--model=smollm"], "did you mean 'smollm2'"),
        (["--corpus=nowhere"], "neither a corpus of the suite"),
        (["--report=no/folder/r.json"], "the folder * does not exist"),
        (["--report=."], "it is a folder"),
        (["-m", "smollm3"], "did you mean 'smollm2'"),
        (["-m", "clam4"], "did you mean 'claim4'"),
        (["--all-models", "--model=smollm2"], "exclude one another"),
        (["--dtype=fp16"], "--dtype fp16: no such; expected auto, float32, bfloat16, float16"),
        (["--verdicts=maybe"], "expected fail, report"),
        (["--model="], "--model: empty; expected"),
        (["--corpus="], "--corpus: empty; expected"),
        (["--model=https://huggingface.co/gpt2"], "of a model on the hub give organisation/name"),
        (["-m", "not smollm2"], "-m not smollm2: asks for no model"),
        (["-m", "gpt2 and mistral"], "asks for no model"),
        (["-m", "GPT2"], "did you mean 'gpt2'"),
        (["--device=toaster"], "no such device; expected auto, cpu, mps, cuda or cuda:N"),
        (["--device=meta"], "no such device"),
        (["--model=~nobody-of-this-name/x"], "not a path"),
        (["--corpus=~nobody-of-this-name/x"], "not a path"),
        (["--report=/dev/null"], "it is not a plain file"),
        (["--store=pyproject.toml", "--no-store"], "exclude one another"),
        (["--store=/dev/null"], "the store is not a folder"),
        (["--store=~nobody-of-this-name/x"], "Could not determine home directory"),
        (["--store=/dev/null/x"], "Not a directory"),
        (["--store=" + "x" * 300], "too long"),
        (["--report=" + "x" * 300], "too long"),
    ],
)
def test_bad_options_end_before_anything_is_loaded(claims, arguments, message, monkeypatch):
    """Exit code 4, one message, no report."""
    monkeypatch.setattr("harness.loading.load", lambda *_: pytest.fail("loaded"))
    given = {"model": None} if any("--model" in a or a == "-m" for a in arguments) else {}
    result = claims(*arguments, **given)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"*{message}*"])
    assert result.report is None


@pytest.mark.parametrize(
    ("value", "message"), [("/dev/null", "the store is not a folder"), ("x" * 300, "too long"), ("~nobody-of-this-name", "home")]
)
def test_a_store_variable_is_checked_like_the_option(claims, monkeypatch, value, message):
    """``CLAIMS_STORE``: exit code 4, and the variable named."""
    monkeypatch.setenv("CLAIMS_STORE", value)
    result = claims()
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"*CLAIMS_STORE*{message}*"])


def test_text_that_is_none_names_what_is_needed(claims, shelf):
    """Empty, binary: tokens found and needed, before anything is loaded."""
    (shelf / "empty.txt").write_text("")
    (shelf / "binary.txt").write_bytes(b"\0\1")
    for text in ("empty.txt", "binary.txt"):
        result = claims(text=text)
        assert result.ret == 4
        result.stderr.fnmatch_lines(["*found 0 tokens, 12,288 are needed (48 windows of 256)"])


def test_too_little_text_for_strict_sizes_is_less_text_and_said(claims, shelf):
    """Strict takes what there is, down to the paper's sizes."""
    planted.corpus(shelf / "enough")
    result = claims(text="enough")
    assert result.ret == 0
    row = next(r for r in result.report["rows"] if r["predicate"] == "depth_gain" and r["rung"] == "strict")
    assert row["verdict"] == "holds"
    assert row["caveats"] == ["the text holds 16 of 64 evaluation windows that the protocol asks for"]


def test_a_session_that_stops_early_is_not_green(claims):
    """``-x`` leaves selected cells without a figure: named so, and exit code 6."""
    result = claims("-x", "--verdicts=report", model="falling")
    assert result.ret == 6
    reasons = {row["reason"] for row in result.report["rows"] if row["verdict"] == "untested"}
    assert "selected, but the session ended early" in reasons


def test_quick_is_measured_only(claims):
    """Quarter sizes: figures without verdicts, marked in every row, nothing judged on any claim."""
    result = claims("--quick", model="falling")
    assert result.ret == 0
    rows = [row for row in result.report["rows"] if row["value"] is not None]
    assert {row["verdict"] for row in rows} == {"measured"}
    assert {row["quick"] for row in result.report["rows"]} == {True}
    assert {c["verdict"] for c in result.report["claims"] if c["claim"] == 4} == {"measured"}
    assert result.report["protocol"]["calibration_windows"] == 8
    result = claims("--quick", model="short")  # too few blocks for a trend
    assert {c["verdict"] for c in result.report["claims"] if c["claim"] == 4} == {"measured"}


def test_the_seed_is_recorded(claims):
    """In the protocol, and so in every key."""
    assert claims("--seed=7", "-k", "depth_gain").report["protocol"]["seed"] == 7


def test_what_is_too_short_is_tokenised_once_and_not_for_every_cell(claims, monkeypatch):
    """A failure is remembered like a result."""
    from harness import windows

    calls, real = [], windows.tokenise
    monkeypatch.setattr(windows, "tokenise", lambda *given: calls.append(1) or real(*given))
    claims(text="little")
    assert len(calls) <= 3  # one of them when the model is loaded


def test_a_tokenizer_that_does_not_belong_to_the_model_is_named(claims, shelf):
    """None at all, or one with more tokens than the embedding has rows."""
    planted.save(shelf / "untokenised", shares=RISING)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (shelf / "untokenised" / file).unlink()
    result = claims(model="untokenised")
    assert result.ret == 6
    planted.save(shelf / "large", shares=RISING, vocab_size=300)
    planted.tokenizer(512).save_pretrained(shelf / "large")
    result = claims(model="large")
    assert result.ret == 6
    result.stdout.fnmatch_lines(["ERROR: large-*: large-*: the tokenizer yields token 510, the embedding has 300 rows*"])


@pytest.mark.parametrize("fault", ["nan at 5", "overflows at 5"])
def test_a_block_that_is_not_finite_is_an_error_with_the_block_named(claims, shelf, fault):
    """NaN in a block, or a value beyond fp16: ERROR, exit code 6, never a verdict."""
    name = fault.replace(" ", "-")
    planted.save(shelf / name, shares=RISING, fault=fault)
    result = claims(*(["--dtype=float16"] if "overflows" in fault else []), model=name)
    assert result.ret == 6
    assert {row["verdict"] for row in result.report["rows"]} == {"error", "untested"}
    result.stdout.fnmatch_lines([f"ERROR: {name}-*: block 5*yields NaN or infinity*"])


def test_nan_weights_are_an_error_with_the_block_named(claims, shelf):
    """Found before anything is measured."""
    from safetensors.torch import load_file, save_file

    folder = planted.save(shelf / "nan-weights", shares=RISING)
    weights = load_file(folder / "model.safetensors")
    weights["layers.3.mlp.linear"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    result = claims(model="nan-weights")
    assert result.ret == 6
    result.stdout.fnmatch_lines(["ERROR: nan-weights-*: block 3 (layers.3) yields NaN or infinity*"])
