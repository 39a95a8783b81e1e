"""A run that dies at any write, by SIGINT or SIGKILL, loses at most the block it was at: run again it gives the rows of one left alone."""

from __future__ import annotations

import signal

import pytest

from harness import atomic
from reports.ledger import STOPPED
from tests.forked_runs import Fault, check_store, found, unfinished_files

RANK, AFFINE = "linearity by rank-k maps", "linearity by affine maps"
POINTS = [
    # What is written, the how manieth of these, the stage; the last write of the run, and the blocks whose end it kept before.
    ("file hash", 2, "middle", "file hash", 0),
    (f"{RANK} unfinished", 2, "begins", f"{RANK} unfinished", 2),
    (f"{RANK} unfinished", 2, "middle", f"{RANK} unfinished", 2),
    (RANK, 3, "done", RANK, 3),  # Blocks 5, 6, 7, and the result, with the bookmark not yet dropped.
    (f"{AFFINE} unfinished", 3, "whole", f"{AFFINE} unfinished", 3),
    ("report.json", 0, "middle", "report.json", 4),
]
"""One after another in one store: every run takes up what those before have kept, so that each write struck is another's."""


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGKILL], ids=lambda s: s.name)
def test_a_store_whose_runs_are_killed_one_after_another_ends_with_equal_rows(forked, alone, tmp_path, which):
    """Six runs die at six kinds of place, none repeats a block that was kept, no half of anything is found, nothing is left over."""
    given, left_alone = alone
    folder = tmp_path / "run"
    for of, nth, stage, last, kept in POINTS:
        ended = forked.run(folder, *given, fault=Fault(of, nth, stage, signal=which))
        assert ended.code != 0, ended.said
        assert (ended.code == -signal.SIGKILL) is (which is signal.SIGKILL)
        assert ended.writes[-1] == last or which is signal.SIGINT
        assert sum(label.endswith(" unfinished") for label in ended.writes) - last.endswith(" unfinished") == kept
        check_store(folder)
        assert len(unfinished_files(folder)) <= (which is signal.SIGKILL)
        _check_partial(ended.report, left_alone.report)
    ended = forked.run(folder, *given)
    assert (ended.code, ended.writes) == (0, ["report.json"]), ended.said
    assert found(ended.report) == found(left_alone.report)
    assert check_store(folder) == []
    assert unfinished_files(folder) == []


def _check_partial(report, whole):
    """A report of a run that was stopped has the rows it got to, and says of all others that it did not."""
    if report is None:
        return
    for row, expected in zip(report["rows"], whole["rows"], strict=True):
        if row != expected:
            assert (row["verdict"], row["value"], row["reason"]) == ("untested", None, STOPPED)
    assert "holds" not in {claim["verdict"] for claim in report["claims"]}


@pytest.mark.parametrize("stage", ["begins", "done"])
def test_a_run_stopped_between_two_measurements_reports_the_first_alone(forked, alone, tmp_path, stage):
    """SIGINT at the first entry of the second sweep: a report with exactly the rows of the first, and UNTESTED for the others."""
    given, left_alone = alone
    ended = forked.run(tmp_path / "run", *given, fault=Fault(f"{AFFINE} unfinished", 0, stage, signal=signal.SIGINT))
    assert ended.code == 2, ended.said
    _check_partial(ended.report, left_alone.report)
    measured = {row["rung"] for row in ended.report["rows"] if row["value"] is not None}
    stopped = {row["rung"] for row in ended.report["rows"] if row["reason"] == STOPPED}
    assert measured == {"paper", "held-out", "typical"}
    assert "strict" in stopped
    assert unfinished_files(tmp_path) == []


def test_parts_of_killed_writers_do_not_pile_up(tmp_path, monkeypatch):
    """Every write, and every check that a place can be written to, removes what killed writers of the same file left, and no other's."""
    monkeypatch.setattr(atomic, "_abandoned", lambda host, pid, part: host == atomic._HOST and pid == 999999999)
    for name in ("page.html", "other.html"):
        (tmp_path / f".{name}.{atomic._HOST}-999999999.abc.part").touch()
    atomic.write(tmp_path / "page.html", b"new")
    assert unfinished_files(tmp_path) == [f".other.html.{atomic._HOST}-999999999.abc.part"]
    atomic.try_writing(tmp_path / "other.html")
    assert unfinished_files(tmp_path) == []
