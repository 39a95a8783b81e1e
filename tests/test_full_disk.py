"""A disk that is full, at whatever write: equal rows and one clear line, or a clear error and another exit code; never half a file."""

from __future__ import annotations

import errno
import json
import os

import pytest

from harness.store import Store, read
from reports import document
from reports.__main__ import main
from reports.bundle_file import read as read_bundle
from tests import made_baselines
from tests.conftest import LINEARITY, save_llama
from tests.forked_runs import Fault, check_store, found, unfinished_files

FULL = "No space left on device"
STAGES = ("begins", "middle", "whole")


@pytest.fixture(scope="module")
def whole(forked, shelf, tmp_path_factory):
    """Arguments of a run with a falsified cell, and that run with a bundle, with room for everything."""
    folder = tmp_path_factory.mktemp("whole")
    save_llama(folder / "llama", blocks=3)
    given = (*LINEARITY[:2], "-m", "paper", f"--model={folder / 'llama'}", f"--corpus={shelf / 'text'}")
    ended = forked.run(folder / "run", *given, f"--bundle={folder / 'run' / 'b'}")
    assert ended.code == 0, ended.said
    assert ended.report["bundle"]["cells"] == 1
    return given, ended


def test_every_write_of_a_run_may_find_the_disk_full(forked, whole, tmp_path):
    """For the n-th write, every n: a store that is full costs one line; a bundle or a report not written, exit code 6 and a line."""
    given, with_room = whole
    outcomes = {}
    for n, label in enumerate(with_room.writes):
        folder = tmp_path / str(n)
        fault = Fault("", n, STAGES[n % 3], errno=errno.ENOSPC)
        ended = forked.run(folder, *given, f"--bundle={folder / 'b'}", fault=fault)
        check_store(folder)
        assert unfinished_files(folder) == [], label
        in_bundle = n >= with_room.writes.index("bundle.json") - 2 and label != "report.json"
        if label == "report.json":
            assert (ended.code, ended.report) == (6, None)
            assert f"could not be written ({FULL}); the table above is all there is" in ended.said
            outcomes[label] = "error"
            continue
        assert found(ended.report) == found(with_room.report), label
        if in_bundle:
            assert (ended.code, (folder / "b").exists()) == (6, False)
            assert f"b could not be written ({FULL}); what was there stands" in ended.said
        else:
            assert ended.code == 0
            assert ended.said.count(f"cannot be written ({FULL}); results are not kept") == 1
            assert len(read_bundle(folder / "b").cells) == 1
        outcomes[label] = "error" if in_bundle else "a line"
    assert outcomes == {
        "file hash": "a line",
        "subject": "a line",
        "windows": "error",  # The last of that label is the bundle's.
        "linearity by rank-k maps unfinished": "a line",
        "linearity by rank-k maps": "error",
        "bundle.json": "error",
        "report.json": "error",
    }
    assert len(with_room.writes) >= 14


def test_a_disk_that_stays_full_keeps_nothing_and_says_so_once(forked, whole, tmp_path):
    """Of the store's writes all fail: the rows are equal, there is one line for all of them, and no entry."""
    given, with_room = whole
    ended = forked.run(tmp_path, *given, fault=Fault("l", 0, "middle", errno=errno.ENOSPC, on=True))
    assert {label for label in ended.writes if "l" not in label} == {"report.json", "subject", "windows"}
    assert ended.code == 0, ended.said
    assert found(ended.report) == found(with_room.report)
    assert ended.said.count("results are not kept") == 1
    assert {read(file)[0]["measurement"] for file in Store(tmp_path / "store").entries()} == {"subject", "windows"}


def test_files_that_the_system_refuses_to_let_grow(forked, whole, tmp_path):
    """No stand-in: the kernel cuts every file off at 60,000 bytes. Larger entries are not kept, the report is an error, nothing is half."""
    given, _ = whole
    ended = forked.run(tmp_path, *given, limit=60_000)
    reason = os.strerror(errno.EFBIG)
    assert (ended.code, ended.report) == (6, None)
    assert f"cannot be written ({reason}); results are not kept" in ended.said
    assert f"could not be written ({reason}); the table above is all there is" in ended.said
    assert "r2" in ended.said
    check_store(tmp_path)
    assert all(file.stat().st_size <= 60_000 for file in Store(tmp_path / "store").entries())
    assert unfinished_files(tmp_path) == []
    assert forked.run(tmp_path, *given).code == 0


COMMANDS = {
    "page.html": ["html", "r.json", "--output", "page.html"],
    "told.md": ["markdown", "r.json", "--output", "told.md"],
    "new.json": ["baseline", "r.json", "--to", "new.json"],
    "b.json": ["baseline", "other.json", "--to", "b.json", "--amend", "--reason", "they are right"],
}


@pytest.mark.parametrize("stage", ["mkstemp", "fdopen", "fsync"])
@pytest.mark.parametrize("file", COMMANDS)
def test_what_is_made_of_reports_is_whole_or_not_there(tmp_path, monkeypatch, capsys, file, stage):
    """Page, Markdown, a new baseline and one that is amended: exit code 4 with one line that names the file; what was there stands."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.json").write_text(json.dumps(made_baselines.contents(made_baselines.with_figures())))
    (tmp_path / "other.json").write_text(json.dumps(made_baselines.contents(made_baselines.with_figures(depth_gain=(-0.5, 0.1)))))
    assert main(["baseline", "r.json", "--to", "b.json"]) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    capsys.readouterr()

    def full(*given, **named):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("tempfile.mkstemp" if stage == "mkstemp" else f"os.{stage}", full)
        assert main(COMMANDS[file]) == 4
    told = capsys.readouterr()
    assert f"{file}: cannot be written" in told.err
    assert FULL in told.err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert main(COMMANDS[file]) == 0
    assert (tmp_path / file).read_bytes() != before.get(file)
    assert document.read("r.json").rows
