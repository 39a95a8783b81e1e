"""``python -m reports baseline``: a baseline is written once, amended with a reason that is kept, and checked without running anything."""

from __future__ import annotations

import json

import pytest

from claims import Verdict
from reports import baseline
from reports.__main__ import main
from reports.baseline_check import compare
from tests.made_baselines import CORPUS, HELD, MODEL, OF_MODEL, contents, document, failed, with_figures

FALLEN = {"depth_gain": (-0.5, 0.1), "monotonic": (0.9, 0.05)}
GAIN, MONOTONIC = "depth_gain-mine-words-paper", "monotonic-mine-words-paper"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a baseline of the made-up report, as first recorded."""
    monkeypatch.chdir(tmp_path)
    report(tmp_path / "first.json")
    assert main(["baseline", "first.json", "--to", "b.json"]) == 0
    return tmp_path


def report(file, figures=None, **facts):
    """Write a report with some figures changed."""
    file.write_text(json.dumps(contents(with_figures(**(figures or {})), **facts)))


def kept(place):
    """The only subject of the baseline."""
    (subject,) = baseline.read(place / "b.json").subjects.values()
    return subject


def test_a_baseline_is_written_once(place, capsys):
    """What it holds is said; a file that is there is not replaced."""
    assert main(["baseline", "first.json", "--to", "new.json", "--reason", "they are right"]) == 0
    assert capsys.readouterr().out == "new.json: the verdicts of 4 cells and 1 claim are kept; pytest claims --baseline new.json\n"
    assert {entry.reason for s in baseline.read("new.json").subjects.values() for entry in s.cells.values()} == {"they are right"}
    before = (place / "b.json").read_bytes()
    assert main(["baseline", "first.json", "--to", "b.json"]) == 4
    assert "b.json: is there already; change it with --amend --reason TEXT" in capsys.readouterr().err
    assert (place / "b.json").read_bytes() == before
    assert {entry.reason for entry in kept(place).cells.values()} == {"as first recorded"}


def test_amending_takes_over_what_flipped_and_forgets_nothing(place, capsys):
    """Cells and the claim that follows; verdict, figure, reason and date that stood before are the history; the others are untouched."""
    before = kept(place)
    report(place / "second.json", FALLEN, models={MODEL: {**OF_MODEL, "weights": "a1" * 32}})
    assert main(["baseline", "second.json", "--to", "b.json", "--amend", "--reason", "other weights"]) == 0
    out = capsys.readouterr().out
    assert f"{GAIN}: HOLDS → FALSIFIED\n" in out
    assert f"{MONOTONIC}: FALSIFIED → HOLDS\n" in out
    assert "claim 4 · paper: HOLDS → FALSIFIED\n" in out
    assert "b.json: 3 amended\n" in out
    after = kept(place)
    gain = after.cells[GAIN]
    assert (gain.verdict, gain.value, gain.reason) == ("falsified", -0.5, "other weights")
    (past,) = gain.history
    was = before.cells[GAIN]
    assert (past.verdict, past.value, past.low, past.reason, past.since) == ("holds", 0.6, was.low, "as first recorded", was.since)
    assert {i: e for i, e in after.cells.items() if i not in (GAIN, MONOTONIC)} == {
        i: e for i, e in before.cells.items() if i not in (GAIN, MONOTONIC)
    }
    assert len(baseline.read(place / "b.json").setups) == 2
    assert main(["baseline", "second.json", "--check", "b.json"]) == 0
    assert main(["baseline", "first.json", "--to", "b.json", "--amend", "--reason", "back again"]) == 0
    assert [past.reason for past in kept(place).cells[GAIN].history] == ["as first recorded", "other weights"]


@pytest.mark.parametrize("name", [GAIN, "depth_gain-mine-0a1b2c3d-words-4e5f6a7b-paper", "depth_g*"])
def test_only_takes_over_what_it_names(place, name):
    """By the id of the baseline, by that of a test, by a pattern; what else flipped still fails; a claim follows its cells."""
    report(place / "second.json", FALLEN)
    assert main(["baseline", "second.json", "--to", "b.json", "--amend", "--reason", "why", "--only", name]) == 0
    assert kept(place).cells[GAIN].verdict == "falsified"
    assert kept(place).cells[MONOTONIC].verdict == "falsified"
    assert kept(place).claims["claim 4 · paper"].verdict == "falsified"
    assert main(["baseline", "second.json", "--check", "b.json"]) == 1


def test_a_claim_waits_for_all_of_its_core_cells(place):
    """It is not taken over while another core cell of it still flips; named, it is."""
    report(place / "second.json", {"depth_gain": (-0.5, 0.1), "depth_trend": (-0.5, 0.1)})
    amend = ["baseline", "second.json", "--to", "b.json", "--amend", "--reason", "why", "--only"]
    assert main([*amend, "depth_gain-*"]) == 0
    assert kept(place).claims["claim 4 · paper"].verdict == "holds"
    assert main([*amend, "claim 4 · paper"]) == 0
    assert kept(place).claims["claim 4 · paper"].verdict == "falsified"


def test_only_brings_a_verdict_that_stands_up_to_date(place):
    """New figure and reason, the old ones in the history."""
    report(place / "second.json", {"depth_gain": (0.7, 0.1)})
    assert main(["baseline", "second.json", "--to", "b.json", "--amend", "--reason", "a release", "--only", "*"]) == 0
    gain = kept(place).cells[GAIN]
    assert (gain.verdict, gain.value, gain.reason, gain.history[0].value) == ("holds", 0.7, "a release", 0.6)


def test_new_verdicts_are_added_and_lost_ones_taken_out(place):
    """A lost one only where it is named, and it is remembered with the reason; measured again, it has its history."""
    report(place / "second.json", {"r2": None})
    (place / "b.json").unlink()
    assert main(["baseline", "second.json", "--to", "b.json"]) == 0
    assert main(["baseline", "first.json", "--to", "b.json", "--amend", "--reason", "r2 too"]) == 0
    assert kept(place).cells["r2-mine-words-paper-block7"].reason == "r2 too"
    (place / "third.json").write_text(json.dumps(contents([*with_figures(depth_gain=None), failed("depth_gain")])))
    assert main(["baseline", "third.json", "--to", "b.json", "--amend", "--reason", "why"]) == 0
    assert GAIN in kept(place).cells
    assert main(["baseline", "third.json", "--to", "b.json", "--amend", "--reason", "it bursts", "--only", GAIN]) == 0
    gone = kept(place).removed[GAIN]
    assert (gone.reason, gone.history[0].reason) == ("it bursts", "as first recorded")
    assert GAIN not in kept(place).cells
    assert main(["baseline", "first.json", "--to", "b.json", "--amend", "--reason", "mended", "--only", GAIN]) == 0
    assert [past.reason for past in kept(place).cells[GAIN].history] == ["as first recorded", "it bursts"]
    assert not kept(place).removed


def test_ids_that_match_nothing_are_taken_out(place):
    """After which the report passes."""
    made = baseline.read(place / "b.json")
    ((key, subject),) = made.subjects.items()
    stale = subject.model_copy(update={"cells": {**subject.cells, "old_name-mine-words-paper": subject.cells[GAIN]}})
    baseline.write(place / "b.json", made.model_copy(update={"subjects": {key: stale}}))
    assert main(["baseline", "first.json", "--check", "b.json"]) == 4
    assert main(["baseline", "first.json", "--to", "b.json", "--amend", "--reason", "renamed"]) == 0
    assert kept(place).removed["old_name-mine-words-paper"].reason == "renamed"
    assert main(["baseline", "first.json", "--check", "b.json"]) == 0


def test_a_model_that_is_not_in_the_report_keeps_its_entries(place, capsys):
    """Although it matches nothing; '*' does not name it either, its key does: then all of it is taken out, and remembered."""
    before = kept(place)
    (place / "other.json").write_text(json.dumps(contents(subjects=(("other", CORPUS),))))
    amend = ["baseline", "other.json", "--to", "b.json", "--amend", "--reason", "why"]
    capsys.readouterr()
    assert main(["baseline", "other.json", "--check", "b.json"]) == 4
    assert capsys.readouterr().out.splitlines()[-1].endswith("--amend --to b.json --reason 'why it is gone' --only mine/words")
    assert main(amend) == 0
    assert baseline.read(place / "b.json").subjects["mine/words"] == before
    assert main([*amend, "--only", "*"]) == 0
    assert baseline.read(place / "b.json").subjects["mine/words"] == before
    capsys.readouterr()
    assert main([*amend, "--only", GAIN]) == 4
    assert "measure it first, or take out all of it: --only mine/words" in capsys.readouterr().err
    assert main([*amend, "--only", "mine/words"]) == 0
    gone = baseline.read(place / "b.json").subjects["mine/words"]
    assert (gone.cells, gone.claims, len(gone.removed)) == ({}, {}, len(before.cells) + len(before.claims))
    assert len(baseline.read(place / "b.json").subjects["other/words"].cells) == 4


def test_a_claim_goes_when_a_part_of_its_cells_changed(place):
    """It rested on one that is no longer so, and the others were not selected: nothing can be said of it."""
    report(place / "second.json", {"depth_gain": (0.3, 0.1), "depth_trend": None})
    assert main(["baseline", "second.json", "--to", "b.json", "--amend", "--reason", "why"]) == 0
    assert kept(place).claims == {}
    assert compare(baseline.read(place / "b.json"), document(with_figures(depth_gain=(0.3, 0.1)))).exit_code == 0


def test_a_check_says_what_the_run_says(place, capsys):
    """Exit codes 0, 1 and 4; the file is left alone."""
    before = (place / "b.json").read_bytes()
    capsys.readouterr()
    assert main(["baseline", "first.json", "--check", "b.json"]) == 0
    assert capsys.readouterr().out == "baseline b.json: 4 cells and 1 claim stand\n"
    report(place / "second.json", FALLEN)
    assert main(["baseline", "second.json", "--check", "b.json"]) == 1
    assert "FLIPPED: claim 4 · depth_gain" in capsys.readouterr().out
    (place / "other.json").write_text(json.dumps(contents(subjects=(("other", CORPUS),))))
    assert main(["baseline", "other.json", "--check", "b.json"]) == 4
    assert "ERROR: 4 ids of mine/words match nothing: this run tests other/words-4e5f6a7b" in capsys.readouterr().out
    assert (place / "b.json").read_bytes() == before


def quick():
    """A report of a quick run."""
    made = contents()
    made["rows"] = [{**row, "quick": True, "verdict": str(Verdict.MEASURED)} for row in made["rows"]]
    return made


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.json"], "nowhere.json: cannot be read"),
        (["first.json", "--to", "no/folder/b.json"], "no/folder/b.json: cannot be written, the folder no/folder does not exist"),
        (["first.json", "--amend"], "--amend needs --reason TEXT"),
        (["first.json", "--amend", "--reason", " "], "--reason: empty"),
        (["first.json", "--amend", "--reason", "x" * 2001], "--reason: 2,001 characters; expected at most 2,000"),
        (["first.json", "--only", "x"], "add --amend"),
        (["first.json", "--check", "b.json", "--amend"], "--check writes nothing"),
        (["first.json", "--to", "none.json", "--amend", "--reason", "x"], "none.json: cannot be read"),
        (["first.json", "--to", "b.json", "--amend", "--reason", "x", "--only", "depth_gian-*"], "--only depth_gian-*: names nothing"),
        (["part.json", "--to", "b.json", "--amend", "--reason", "x", "--only", "depth_gain-*"], "the report has not measured it"),
        (["quick.json", "--to", "n.json"], "made with --quick, in which nothing is judged"),
        (["bare.json", "--to", "n.json"], "bare.json: no verdict in it that could be kept"),
        (["quick.json", "--check", "b.json"], "made with --quick, in which nothing is judged"),
        (["quick.json", "--to", "b.json", "--amend", "--reason", "x"], "made with --quick, in which nothing is judged"),
        (["first.json", "--check", "first.json"], "no baseline (this is a report)"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(place, capsys, words, message):
    """Exit code 4; the baseline is what it was, and no other file appears."""
    (place / "quick.json").write_text(json.dumps(quick()))
    report(place / "part.json", {"depth_gain": None})
    report(place / "bare.json", dict.fromkeys(HELD))
    capsys.readouterr()
    before = {file.name: file.read_bytes() for file in place.iterdir()}
    assert main(["baseline", *words]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert {file.name: file.read_bytes() for file in place.iterdir()} == before
