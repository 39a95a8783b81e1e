"""``--sweep`` through the real command line: which cells are measured under which setting, and that the run itself stays what it was."""

from __future__ import annotations

import pytest

from harness import bench, loading
from harness.errors import SubjectError
from reports import document, sweeping
from tests import planted
from tests.conftest import ROOT

PAPER = ("-m", "paper", "--verdicts=report")
JUDGED = ("r2", "depth_trend", "depth_gain", "monotonic")


@pytest.fixture(scope="module")
def long_text(tmp_path_factory):
    """A text that twice the windows fit into, on either layout."""
    return planted.corpus(tmp_path_factory.mktemp("text") / "long", calibration=64 * 256, evaluation=128 * 256)


def swept(result):
    """Rows under settings: (predicate, setting) → row."""
    return {(row["predicate"], row["setting"]): row for row in result.report["sweep"]["rows"]}


def names(result):
    """The settings that have rows."""
    return list(dict.fromkeys(row["setting"] for row in result.report["sweep"]["rows"]))


def figures(row):
    """What was measured and what it was judged to be."""
    return row["value"], row["low"], row["high"], row["level"], row["verdict"]


@pytest.fixture
def loads(monkeypatch):
    """The types that models were loaded in, in order."""
    found, real = [], loading.load

    def load(model, path, weights, placement):
        subject = real(model, path, weights, placement)
        found.append(subject.facts.dtype)
        return subject

    monkeypatch.setattr(loading, "load", load)
    return found


def test_every_verdict_is_measured_under_every_setting_that_can_change_it(claims, long_text):
    """On two windows settings, two of λ; seeds change no map. The rows are of the run's cells, judged as they are, at their levels."""
    result = claims(*PAPER, "--sweep", "seeds,windows,lambda", f"--corpus={long_text}", text=None)
    assert result.ret == 0
    assert names(result) == ["windows=×0.5", "windows=×2", "lambda=×0.01", "lambda=×100"]
    base = {row["predicate"]: row for row in result.report["rows"] if row["rung"] == "paper" and row["bound"] and row["value"] is not None}
    rows = swept(result)
    assert {predicate for predicate, _ in rows} == set(JUDGED)
    for (predicate, setting), row in rows.items():
        of = base[predicate]
        assert [row[k] for k in ("model", "corpus", "block", "bound", "core", "level")] == [
            of[k] for k in ("model", "corpus", "block", "bound", "core", "level")
        ]
        assert row["value"] is not None
        assert (row["value"] != of["value"]) or predicate in ("depth_trend", "monotonic"), setting
    assert [s["name"] for s in result.report["sweep"]["settings"]][:2] == ["seed=1", "seed=2"]
    assert rows["r2", "windows=×2"]["high"] - rows["r2", "windows=×2"]["low"] < base["r2"]["high"] - base["r2"]["low"]
    read = document.from_contents("it", result.report)
    assert {(cell.predicate, name) for cell, name in read.swept} == set(rows)
    assert [setting.name for setting in read.ledger().settings] == [s["name"] for s in result.report["sweep"]["settings"]]


def test_the_run_itself_is_what_it_is_without_a_sweep(claims, long_text):
    """Rows, claims and evidence, to the last digit; no sweep, no key."""
    given = (*PAPER, f"--corpus={long_text}", "--no-store")
    with_it, without = claims(*given, "--sweep", "windows", text=None), claims(*given, text=None)
    for part in ("rows", "claims", "evidence", "models", "corpora", "protocol"):
        assert with_it.report[part] == without.report[part]
    assert "sweep" not in without.report


def test_a_row_is_what_a_run_of_that_setting_gives(claims):
    """Another type: the rows are those of a run with --dtype."""
    rows = swept(claims(*PAPER, "--sweep", "dtype", "--no-store"))
    alone = claims(*PAPER, "--dtype=bfloat16", "--no-store").report["rows"]
    for row in alone:
        if (row["predicate"], "dtype=bfloat16") in rows and row["rung"] == "paper" and row["value"] is not None and row["bound"]:
            assert figures(rows[row["predicate"], "dtype=bfloat16"]) == figures(row)
    assert {setting for _, setting in rows} == {"dtype=bfloat16"}


def test_what_is_selected_is_decided_by_the_cells_alone(claims):
    """-m and -k are of cells: a word of a setting's name selects none, and one that leaves a cell out leaves its settings out."""
    given = ("--sweep", "lambda", "--verdicts=report")
    result = claims(*given, "-m", "paper", "-k", "depth_gain and not lambda")
    assert set(swept(result)) == {("depth_gain", "lambda=×0.01"), ("depth_gain", "lambda=×100")}
    assert claims(*given, "-m", "paper", "-k", "lambda").ret == 5
    assert not claims(*given, "-m", "strict", "-k", "depth_gain").report["sweep"]["rows"]


def test_a_second_run_measures_nothing(claims, loads):
    """Every setting is in the store, under keys of its own; each type is loaded once, models of one type share one loading."""
    given = (*PAPER, "--sweep", "lambda,dtype")
    first = claims(*given)
    assert loads == ["float32", "bfloat16"]
    second = claims(*given)
    assert loads == ["float32", "bfloat16"]
    assert swept(second) == swept(first)
    timings = {pair: parts for pair, parts in second.report["timings"].items() if "@" in pair}
    assert len(timings) == 3
    assert all(part["stored"] for parts in timings.values() for part in parts.values())


def test_two_models_are_never_in_memory_at_once(claims, monkeypatch):
    """Before a model is loaded in another type, the one at hand is let go, streams and all."""
    rooms, real = [], loading.load

    class Room(bench.Room):
        def __init__(self, store):
            super().__init__(store)
            rooms.append(self)

    def load(*given):
        assert [room.loaded for room in rooms] == [None] * len(rooms)
        assert not any(room.streams[3] for room in rooms)
        return real(*given)

    monkeypatch.setattr(bench, "Room", Room)
    monkeypatch.setattr(loading, "load", load)
    claims("-m", "paper and (claim2 or claim4)", "-k", "single_replacement or depth_gain", "--sweep", "dtype", files=[ROOT / "claims"])
    assert len(rooms) == 1


@pytest.mark.parametrize(("verdicts", "code"), [("fail", 1), ("report", 0)])
def test_falsified_under_a_setting_is_no_failure(claims, verdicts, code):
    """What the run ends in, and what pytest prints of failures, is of its own cells; its own falsifications count as ever."""
    result = claims("-m", "paper", f"--verdicts={verdicts}", "--sweep", "lambda", model="falling")
    assert result.ret == code
    falsified = [key for key, row in swept(result).items() if row["verdict"] == "falsified"]
    assert falsified
    own = sum(row["verdict"] == "falsified" for row in result.report["rows"])
    printed = str(result.stdout)
    assert f"{own} falsified, {len(swept(result))} swept" in printed
    assert sum(line.startswith("claim ") and "FALSIFIED: " in line for line in printed.splitlines()) == own


FLIPS = [0.50, *[0.6] * 6, 0.8796]
"""Shares of blocks on which the last is 0.30 more linear than the first, about as much as it takes to hold."""


def test_a_verdict_that_flips_under_one_setting_alone(claims, long_text, tmp_path):
    """A gain just above its bound: the interval of 32 windows is too wide, that of twice as many is not."""
    planted.save(tmp_path / "edge", shares=FLIPS)
    result = claims(*PAPER, "-k", "depth_gain", "--sweep", "windows,lambda", f"--corpus={long_text}", text=None, model=tmp_path / "edge")
    base = next(row for row in result.report["rows"] if row["predicate"] == "depth_gain" and row["rung"] == "paper")
    assert base["verdict"] == "inconclusive"
    others = {"windows=×0.5": "inconclusive", "lambda=×0.01": "inconclusive", "lambda=×100": "inconclusive"}
    assert {setting: row["verdict"] for (_, setting), row in swept(result).items()} == {**others, "windows=×2": "holds"}


def test_what_a_setting_cannot_measure_is_its_own_matter(claims, monkeypatch):
    """Too little text is UNTESTED, a type that the model does not run in an ERROR; the run is what it was, and ends in what it ended in."""
    real = loading.load

    def load(model, path, weights, placement):
        if placement.dtype == "bfloat16":
            raise SubjectError("its parts do not recompose its logits")
        return real(model, path, weights, placement)

    monkeypatch.setattr(loading, "load", load)
    result = claims(*PAPER, "-x", "--sweep", "windows,dtype,corpora")
    rows = swept(result)
    assert result.ret == 0
    assert {row["verdict"] for row in result.report["rows"] if row["rung"] == "paper" and row["claim"] == 4 and row["core"]} == {"holds"}
    assert "too little text" in rows["r2", "windows=×2"]["reason"]
    for setting in ("windows=×2", "corpus=pydocs", "corpus=code", "corpus=chat"):
        assert rows["r2", setting]["verdict"] == "untested", rows["r2", setting]
    assert [rows[name, "dtype=bfloat16"]["verdict"] for name in JUDGED] == ["error"] * 4
    assert rows["r2", "windows=×0.5"]["verdict"] == "holds"


def test_twice_the_windows_are_twice_or_none(claims, tmp_path):
    """A strict run takes what windows a text has; under a setting fewer than asked are no figure, and half of them are one."""
    text = planted.corpus(tmp_path / "text", calibration=64 * 256, evaluation=64 * 256)
    result = claims("-m", "strict", "-k", "depth_gain", "--sweep", "windows", "--verdicts=report", f"--corpus={text}", text=None)
    twice, half = (swept(result)["depth_gain", f"windows=×{factor}"] for factor in ("2", "0.5"))
    assert twice["reason"] == "too little text for this setting: it holds 64 of 128 windows for evaluation"
    assert (half["verdict"], half["caveats"]) == ("holds", [])


def test_a_cell_without_a_verdict_has_none_that_could_stand(claims):
    """An ERROR of the run is not measured again under settings, which have no row of it."""
    result = claims(*PAPER, "--sweep", "lambda", model="broken")
    assert result.ret == 6
    assert {row["verdict"] for row in result.report["rows"] if row["predicate"] in JUDGED and row["rung"] == "paper"} >= {"error"}
    assert result.report["sweep"]["rows"] == []


def test_the_type_of_the_run_is_no_setting_of_it_without_a_store(claims, loads, monkeypatch):
    """Where the type is the checkpoint's own, only the loaded model tells it."""
    monkeypatch.setattr(sweeping, "_types_of", lambda subjects: (None, ("float32", "bfloat16")))
    rows = swept(claims(*PAPER, "-k", "depth_gain", "--sweep", "dtype", "--no-store"))
    assert {setting: row["reason"] for (_, setting), row in rows.items() if row["verdict"] == "untested"} == {
        "dtype=float32": "the run itself has this type"
    }
    assert rows["depth_gain", "dtype=bfloat16"]["value"] is not None
    assert loads == ["float32", "bfloat16"]


def test_a_sweep_that_changes_nothing_says_so(claims):
    """Of each axis by its name, in a run and in a plan; an axis that changes something is not named."""
    texts = [f"--corpus={name}" for name in ("pydocs", "code", "chat")]
    given = ("-m", "paper", "-k", "depth_gain and code", "--sweep", "seeds,lambda,corpora", *texts, "--verdicts=report")
    for plan in (["--plan"], []):
        text = str(claims(*given, *plan, text=None, model="llama").stdout)
        assert "--sweep seeds: no selected cell has a verdict that it can change" in text
        assert "--sweep corpora: the run has them all" in text
        assert "--sweep lambda" not in text


def test_progress_names_the_setting(claims):
    """So that a pass over the text is not taken for the run's own."""
    text = str(claims(*PAPER, "-k", "depth_gain", "--sweep", "lambda").stdout)
    assert "lambda=×100 · linearity by rank-k maps" in text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--sweep", "windoes"), "no axis 'windoes' (did you mean 'windows'?); expected seeds, windows, lambda, dtype, corpora, or all"),
        (
            ("--sweep", "lambda", "claims/claim_2.py::test_it[r2-m-c-paper]"),
            "leave out what is in brackets, and choose cells by -m or -k, such as claims/claim_2.py::test_it -m paper",
        ),
        (("--sweep", "windows", "--quick"), "--sweep and --quick exclude one another"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(claims, given, said):
    """In one line, before anything is measured, exit code 4."""
    result = claims(*given)
    assert result.ret == 4
    assert said in str(result.stderr)
    assert result.report is None


def test_the_plan_counts_the_cells_and_the_time_of_each_axis(claims, long_text):
    """Nothing is measured; what is in the store takes no time."""
    given = ("-m", "paper", "-k", "depth_gain", "--sweep", "windows,lambda", f"--corpus={long_text}")
    result = claims(*given, "--plan", text=None)
    text = str(result.stdout)
    assert "sweep, windows: 2 cells, windows=×0.5, windows=×2; " in text
    assert "sweep, lambda: 2 cells, lambda=×0.01, lambda=×100; " in text
    assert result.report is None
    claims(*given, "--verdicts=report", text=None)
    assert "sweep, lambda: 2 cells, lambda=×0.01, lambda=×100; nothing to measure" in str(claims(*given, "--plan", text=None).stdout)


def test_workers_give_the_rows_of_one_process(claims):
    """With -n 2: the same settings, the same rows, and the run's own cells first."""
    given = ("-m", "paper", "--verdicts=report", "--sweep", "lambda,windows", "-k", "depth_gain or monotonic")
    alone, spread = claims(*given, model="llama"), claims(*given, "-n2", model="llama")
    assert (alone.ret, spread.ret) == (0, 0)
    assert spread.report["sweep"] == alone.report["sweep"]
    assert {row["verdict"] for row in spread.report["sweep"]["rows"]} >= {"untested"}
    assert len(spread.report["sweep"]["rows"]) == 8
