"""``pytest claims`` end to end on planted models: letters, messages, table, report, exit codes, bad input."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

from claims.declared import all_predicates
from harness.protocol import Protocol
from harness.store import Store, read
from tests import planted

ROOT = Path(__file__).parent.parent
RISING = [0.02, 0.15, 0.3, 0.45, 0.6, 0.75, 0.88, 0.99]


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    """Planted models and text on disk, as a user would have them."""
    folder = tmp_path_factory.mktemp("shelf")
    planted.save(folder / "rising", shares=RISING)
    planted.save(folder / "falling", shares=RISING[::-1])
    planted.save(folder / "short", shares=RISING[-3:])
    planted.save(folder / "flat", shares=[0.6] * 8)
    planted.save(folder / "broken", shares=RISING, fault="scaled")
    # A worker is a process of its own, which knows no planted architecture.
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=512, hidden_size=32, num_hidden_layers=8, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder / "llama")
    planted.tokenizer().save_pretrained(folder / "llama")
    planted.corpus(folder / "text", evaluation=64 * 256)
    planted.corpus(folder / "little", calibration=32 * 256 - 1)
    return folder


@pytest.fixture
def claims(pytester, shelf):
    """Run ``pytest claims`` in this process, from an empty folder."""

    def run(*arguments, model="rising", text="text"):
        given = [f"--model={shelf / model}"] if model else []
        given += [f"--corpus={shelf / text}"] if text else []
        result = pytester.runpytest_inprocess(
            f"--rootdir={ROOT}", "-c", ROOT / "pyproject.toml", "-p", "no:cacheprovider", ROOT / "claims", *given, *arguments
        )
        file = pytester.path / "report.json"
        result.report = json.loads(file.read_text()) if file.exists() else None
        return result

    return run


def verdicts(report, rung="paper"):
    """Verdict by predicate on a rung; of per-block predicates the last block's."""
    return {row["predicate"]: row["verdict"] for row in report["rows"] if row["rung"] == rung}


def test_a_rising_gradient_holds(claims):
    """Every predicate of claim 4 that is measured holds, and so does the last block's linearity."""
    result = claims()
    assert result.ret == 0
    found = verdicts(result.report)
    assert {found[name] for name in ("r2", "depth_trend", "depth_gain", "monotonic")} == {"holds"}
    claim = {(c["claim"], c["rung"]): c["verdict"] for c in result.report["claims"]}
    assert claim[4, "paper"] == "holds"
    assert claim[2, "paper"] == "untested"  # its interventions are not measured yet
    assert claim[4, "strict"] == "holds"
    found = verdicts(result.report, "strict")
    assert {found[name] for name in ("r2", "depth_trend", "depth_gain", "monotonic")} == {"holds"}


def test_a_falling_gradient_falsifies(claims):
    """Falsified cells fail the run, each with one line and no traceback."""
    result = claims(model="falling")
    assert result.ret == 1
    for rung in ("paper", "strict"):
        found = verdicts(result.report, rung)
        assert {found[name] for name in ("r2", "depth_trend", "depth_gain", "monotonic")} == {"falsified"}
    line = r"claim 4 · depth_trend · FALSIFIED: −\d\.\d+ \[.*\], falsified at ≤ 0 · falling-\w{8} · text-\w{8} · paper"
    result.stdout.re_match_lines([line])
    assert "Traceback" not in result.stdout.str()
    assert "conftest.py:" not in result.stdout.str()


def test_verdicts_may_be_reported_only(claims):
    """``--verdicts=report``: the same rows, exit code 0."""
    result = claims("--verdicts=report", model="falling")
    assert result.ret == 0
    assert verdicts(result.report)["depth_trend"] == "falsified"


def test_the_figure_of_a_claim_is_its_formula(claims):
    """depth_gain is R² of the last block minus R² of the first, at the level of two core cells; per-block rows share theirs."""
    rows = claims("-m", "paper").report["rows"]
    r2 = {r["block"]: r for r in rows if r["predicate"] == "r2" and r["rung"] == "paper"}
    gain = next(r for r in rows if r["predicate"] == "depth_gain" and r["rung"] == "paper")
    assert gain["value"] == pytest.approx(r2[7]["value"] - r2[0]["value"], rel=1e-12)
    assert gain["level"] == 1 - 0.05 / 2
    assert r2[7]["level"] == 1 - 0.05 / 4
    assert r2[0]["level"] == 1 - 0.05 / 8


def test_a_flat_model_is_not_judged_to_rise(claims):
    """Equal R² in every block never holds."""
    found = verdicts(claims("--verdicts=report", model="flat").report)
    assert found["depth_trend"] != "holds"
    assert found["depth_gain"] != "holds"


def test_what_a_model_cannot_express_is_not_applicable(claims):
    """Rank trends need eight blocks; nothing is loaded for them, and the claim does not hold by default."""
    result = claims(model="short")
    found = verdicts(result.report)
    assert found["depth_trend"] == "not_applicable"
    reason = next(r["reason"] for r in result.report["rows"] if r["predicate"] == "depth_trend" and r["rung"] == "paper")
    assert reason == "needs 8 blocks, the model has 3"
    assert found["depth_gain"] in {"holds", "inconclusive"}


def test_the_report_has_the_settled_fields(claims, pytester):
    """One row for every declared cell; facts about model, text, protocol, machine and time."""
    report = claims("--report", pytester.path / "report.json").report
    assert {"schema", "rows", "claims", "models", "corpora", "protocol", "environment", "timings"} <= set(report)
    assert len(report["rows"]) == sum(len(list(p.cells(8))) for _, p in all_predicates())
    fields = {
        "model",
        "corpus",
        "claim",
        "predicate",
        "rung",
        "block",
        "value",
        "low",
        "high",
        "level",
        "unit",
        "verdict",
        "core",
        "bound",
        "margin",
        "caveats",
        "reason",
        "quick",
    }
    assert all(set(row) == fields for row in report["rows"])
    judged = next(r for r in report["rows"] if r["predicate"] == "depth_gain" and r["rung"] == "paper")
    assert judged["low"] <= judged["value"] <= judged["high"]
    assert judged["bound"] == {"holds": 0.3, "falsified": 0, "direction": "at_least"}
    assert judged["margin"] == pytest.approx(judged["low"] - 0.3)
    (model,) = report["models"].values()
    assert len(model["weights"]) == 64
    assert model["n_blocks"] == 8
    (text,) = report["corpora"].values()
    assert text["chosen"] == "read from the path given"
    assert report["protocol"] == Protocol().as_dict()
    assert report["timings"]["wall_seconds"] > 0


def test_the_rungs_between_carry_no_verdict(claims):
    """The rung is there to show what a control moves."""
    report = claims(model="falling").report
    rows = [r for r in report["rows"] if r["rung"] in ("held-out", "typical") and r["value"] is not None]
    assert {r["verdict"] for r in rows} == {"measured"}
    trend = next(r for r in rows if r["predicate"] == "depth_trend")
    assert trend["bound"] is None


def test_the_table_shows_what_a_reader_needs(claims):
    """Verdict, figure, interval, bound, margin, the depth plot, what did not run, the legend."""
    result = claims()
    result.stdout.fnmatch_lines(
        [
            "*verdicts*",
            "rising-???????? · planted, 8 blocks, d = 16",
            "*weights ????????, safetensors, as stored; float32 on cpu*",
            "  linearity by rank-k maps: measured in * s, 32 + 16 windows",
            "claim 1: variance is not importance   paper UNTESTED (2 core not run)*",
            "claim 4: linearity increases with depth   paper HOLDS   strict HOLDS",
            "*depth_trend [*] *paper *HOLDS *[[]*[]] *≥ 0.5 | ≤ 0*",
            "  depth_trend: no control moves it: HOLDS from paper to strict",
            "UNTESTED, this version has no measurement of it: projection_ppl_ratio*",
            "R² of every block*",
            "*7 *p*",
            "Rungs, each with one control more*",
            "Bounds ????????, as locked.",
            "report: *report.json",
        ]
    )


def test_letters_and_words(claims):
    """One letter a cell; pytest's summary counts verdicts."""
    result = claims("-v", model="falling")
    result.stdout.fnmatch_lines(["*test_linearity_rises_with_depth*-paper* FALSIFIED*"])
    result.stdout.fnmatch_lines(["*test_block_is_linear*-paper-block0* MEASURED*"])
    result.stdout.fnmatch_lines(["*8 falsified*"])


def test_junit_has_skipped_for_what_is_not_decided(claims, pytester):
    """Inconclusive and not applicable are <skipped> with the reason, falsified a failure with the line."""
    import xml.etree.ElementTree as ET

    claims("--junitxml=j.xml", model="short")
    suite = ET.parse(pytester.path / "j.xml").getroot().find("testsuite")
    skipped = [case.find("skipped").get("message") for case in suite if case.find("skipped") is not None]
    assert any("needs 8 blocks" in message for message in skipped)
    claims("--junitxml=k.xml", model="falling")
    suite = ET.parse(pytester.path / "k.xml").getroot().find("testsuite")
    failures = [case.find("failure").get("message") for case in suite if case.find("failure") is not None]
    assert len(failures) == 8
    assert all("FALSIFIED" in message for message in failures)


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
    import harness.sweep

    def burst(*_args, **_kwargs):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(harness.sweep, "sweep", burst)
    result = claims("-m", "claim4")
    assert result.ret == 6
    assert "ZeroDivisionError: a bug" in result.stdout.str()
    assert verdicts(result.report)["depth_gain"] == "error"


def test_too_little_text_names_tokens_and_is_bad_input(claims):
    """Found and needed; nothing was measured, so nothing is judged; exit code 4."""
    result = claims(text="little")
    assert result.ret == 4
    result.stdout.fnmatch_lines(["UNTESTED: too little text: the calibration split of little-* has 8,191 tokens, 8,192 are needed*"])
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
        (["--dtype=float8"], "invalid choice: 'float8'"),
        (["--device=toaster"], "no such device; expected auto, cpu, mps, cuda or cuda:N"),
        (["--device=meta"], "no such device"),
        (["--model=~nobody-of-this-name/x"], "not a path"),
        (["--corpus=~nobody-of-this-name/x"], "not a path"),
        (["--report=/dev/null"], "it is not a plain file"),
        (["--store=pyproject.toml", "--no-store"], "exclude one another"),
        (["--store=/dev/null"], "File exists"),
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
    assert len(calls) <= 4


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
    result.stdout.fnmatch_lines(["ERROR: large-*: the tokenizer yields token 510, the embedding has 300 rows*"])


@pytest.mark.parametrize("fault", ["nan at 5", "overflows at 5"])
def test_a_block_that_is_not_finite_is_an_error_with_the_block_named(claims, shelf, fault):
    """NaN in a block, or a value beyond fp16: ERROR, exit code 6, never a verdict."""
    name = fault.replace(" ", "-")
    planted.save(shelf / name, shares=RISING, fault=fault)
    result = claims(*(["--dtype=float16"] if "overflows" in fault else []), model=name)
    assert result.ret == 6
    assert {row["verdict"] for row in result.report["rows"]} == {"error", "untested"}
    result.stdout.fnmatch_lines([f"ERROR: block 5*yields NaN or infinity*{name}-*"])


def test_nan_weights_are_an_error_with_the_block_named(claims, shelf):
    """Found before anything is measured."""
    from safetensors.torch import load_file, save_file

    folder = planted.save(shelf / "nan-weights", shares=RISING)
    weights = load_file(folder / "model.safetensors")
    weights["layers.3.mlp.linear"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    result = claims(model="nan-weights")
    assert result.ret == 6
    result.stdout.fnmatch_lines(["ERROR: block 3 (layers.3) yields NaN or infinity*"])


def test_nothing_selected_is_not_green(claims):
    """Exit code 5 and no report."""
    result = claims("-k", "no_such_test")
    assert result.ret == 5
    assert result.report is None


def test_selection_by_marker(claims):
    """Claims, rungs and core are markers; what was not selected is UNTESTED and keeps a claim from holding."""
    result = claims("-m", "claim4 and paper and core")
    ran = {row["predicate"] for row in result.report["rows"] if row["value"] is not None}
    assert ran == {"depth_trend", "depth_gain"}
    assert {row["reason"] for row in result.report["rows"] if row["predicate"] == "r2" and row["rung"] == "paper"} == {"not selected"}
    result = claims("-m", "planted_family and held-out")
    assert {row["rung"] for row in result.report["rows"] if row["value"] is not None} == {"held-out"}


def test_two_corpora_are_two_tables(claims, shelf):
    """Every row names its corpus; the model is loaded once."""
    planted.corpus(shelf / "more", evaluation=17 * 256)
    result = claims("--corpus", shelf / "more")
    assert len({row["corpus"] for row in result.report["rows"]}) == 2
    assert sum(line.startswith("rising-") for line in result.stdout.lines) == 2


def test_workers_give_the_same_rows(claims):
    """With xdist one report holds every row, equal to those of one process."""
    alone = claims("--verdicts=report", model="llama").report["rows"]
    result = claims("--verdicts=report", "-n", "2", model="llama")
    assert result.ret == 0
    together = result.report["rows"]
    assert [r["verdict"] for r in together] == [r["verdict"] for r in alone]
    for a, b in zip(alone, together, strict=True):
        assert a["value"] == b["value"] or a["value"] == pytest.approx(b["value"], rel=1e-5)


RUN = """
import sys, pytest
code = pytest.main(sys.argv[1:])
print("HEAVY", sorted({"torch", "transformers", "gguf"} & set(sys.modules)))
sys.exit(code)
"""


def process(*arguments, code=RUN):
    """Run ``pytest claims`` in a process of its own."""
    command = [sys.executable, "-c", code, "claims", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_collecting_loads_neither_torch_nor_weights():
    """``--collect-only`` imports no torch."""
    done = process("--collect-only")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "HEAVY []" in done.stdout


def test_a_second_run_measures_nothing_and_imports_no_torch(shelf, tmp_path):
    """The same rows, from the store, without loading the model; a changed text or option is measured anew."""
    given = ["--model", shelf / "llama", "--corpus", shelf / "text", "--verdicts=report", "--store", tmp_path / "store"]
    reports = []
    for i in range(2):
        done = process(*given, "--report", tmp_path / f"{i}.json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert ("HEAVY []" in done.stdout) is (i == 1)
        reports.append(json.loads((tmp_path / f"{i}.json").read_text()))
    assert reports[0]["rows"] == reports[1]["rows"]
    assert reports[0]["claims"] == reports[1]["claims"]
    timings = [next(v for k, v in r["timings"].items() if "/" in k) for r in reports]
    assert [{t["stored"] for t in timing.values()} for timing in timings] == [{False}, {True}]


KILLED = """
import os, signal, sys
left = int(sys.argv.pop(1))
from harness import affine_linearity, rank_linearity
def counted(real):
    def see(*given):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*given)
    return see
for visitor in (rank_linearity.RankLinearity, affine_linearity.AffineLinearity):
    visitor.see = counted(visitor.see)
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


def test_a_run_killed_at_random_points_and_resumed_gives_equal_rows(shelf, tmp_path):
    """SIGKILL after a random number of batches, and the same command again, at least ten times: the rows of a run left alone."""
    given = ["--model", shelf / "llama", "--corpus", shelf / "text", "--verdicts=report"]
    alone = process(*given, "--no-store", "--report", tmp_path / "alone.json")
    assert alone.returncode == 0, alone.stdout + alone.stderr
    draw = random.Random(0)
    kills = 0
    for _ in range(60):
        store = ["--store", tmp_path / "store", "--report", tmp_path / "resumed.json"]
        command = [sys.executable, "-c", KILLED, str(draw.randrange(13, 19)), "claims", "-q", *map(str, [*given, *store])]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        if done.returncode != -signal.SIGKILL:
            break
        kills += 1
        assert not (tmp_path / "resumed.json").exists()
    assert done.returncode == 0, done.stdout + done.stderr
    assert kills >= 10
    alone, resumed = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("alone", "resumed"))
    assert resumed["rows"] == alone["rows"]
    store = Store(tmp_path / "store")
    assert not list((tmp_path / "store").rglob("*.part"))
    assert not any(read(file)[0].get("unfinished") for file in store.entries())
    assert store.set_aside() == []
