"""``--bundle DIR``: what every falsified figure was made of is kept, by any number of processes, and nothing of the user's is replaced."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from harness import atomic, store
from harness.protocol import Protocol
from reports import bundle_file, commands, document, places
from reports.__main__ import main
from tests.bundles import ROOT, manifest, refused
from tests.conftest import LINEARITY

TREND = LINEARITY[1:2]


def falsified(report):
    """The falsified rows of a report."""
    return [row for row in report["rows"] if row["verdict"] == "falsified"]


def test_every_falsified_cell_is_kept_as_reported(bundled):
    """With its row, of claims 2 to 5; report and terminal name the digest, by which the report vouches for the bundle."""
    report, contents = json.loads(bundled.report.read_text()), manifest(bundled.bundle)
    rows = falsified(report)
    assert [cell["row"] for cell in contents["cells"]] == rows
    assert {row["claim"] for row in rows} == {2, 3, 4, 5}
    assert report["bundle"] == {"folder": str(bundled.bundle), "sha256": contents["sha256"], "cells": len(rows)}
    assert f"bundle: {bundled.bundle}: {len(rows)} falsified cells; " in bundled.printed
    assert f"SHA-256 {contents['sha256']}" in bundled.printed
    assert contents["protocol"] == Protocol().as_dict() == report["protocol"]
    assert contents["code"] == report["environment"]["code"]
    assert contents["models"] == report["models"]


def test_a_cell_names_the_command_that_measures_it(bundled):
    """The one that is made of the report's row: this cell selected, the options of the run, none of its places."""
    report = document.read(bundled.report)
    rows = [row for row in report.rows if str(row.verdict) == "falsified"]
    said = [cell["command"] for cell in manifest(bundled.bundle)["cells"]]
    assert said == [commands.command_of(report, row) for row in rows]
    assert not any("--bundle" in line or "--store" in line for line in said)
    assert all("--model" in line for line in said)


def test_a_record_holds_sums_and_no_moments(bundled):
    """All arrays that a test was given, by group, window or position; the windows' tokens are those that their key is of."""
    cells = {(cell["row"]["predicate"], cell["row"]["rung"]): cell for cell in manifest(bundled.bundle)["cells"]}
    key, record = store.read(bundled.bundle / cells["r2", "paper"]["records"]["linearity by rank-k maps"])
    assert record.arrays["paper/fit"].shape[:1] == (16,)
    assert {name.partition("/")[0] for name in record.arrays} == {"paper", "held-out", "typical"}
    _, windows = store.read(bundled.bundle / cells["r2", "paper"]["windows"]["paper"])
    assert {split: list(ids.shape) for split, ids in windows.arrays.items()} == {
        split: shape for split, (shape, _) in key["tokens"].items()
    }
    assert set(cells["exit_agreement", "strict"]["records"]) == {"exit head at mid, strict windows"}  # Not what other tests were given.
    # What a test learnt was not measured is part of what it was given.
    assert cells["exit_excess", "paper"]["failures"]["exit head on the embeddings, paper windows"]["kind"] == "LongWorkError"
    assert cells["exit_agreement", "strict"]["tokens"].endswith("tokens.parquet")
    assert "in /" in cells["exit_agreement", "strict"]["row"]["reason"]


def test_workers_make_the_same_bundle_from_the_store(bundled):
    """Two processes that find in the store what one measured: the same files, byte by byte, and the same cells but for the command line."""
    one, two = (manifest(folder) for folder in (bundled.bundle, bundled.by_workers))
    assert one["files"] == two["files"]
    for cell in one["cells"]:
        if cell["tokens"]:  # Of which workers write none.
            cell["row"]["reason"] = cell["row"]["reason"].replace(f"; tokens in {cell['tokens']}", "")
            cell["tokens"] = None
    assert one["cells"] == two["cells"]
    assert "7 falsified" in bundled.printed_by_workers
    assert not list(bundled.bundle.parent.glob(".*.part"))


def test_the_same_contents_are_the_same_bytes():
    """Whatever the order of arrays and keys; and the store reads them."""
    arrays = {"b": np.arange(3.0), "a": np.zeros((2, 0)), "c": np.array(1)}
    made = {bundle_file.entry({"x": i * 0, "y": "ü"}, dict(list(arrays.items())[:: (-1) ** i])) for i in range(8)}
    assert len(made) == 1


def test_what_is_added_twice_is_one_file_that_the_store_reads(tmp_path):
    """Cells and processes share what is the same; every array comes back."""
    data = bundle_file.entry({"x": 1}, {"a": np.arange(3.0)})
    names = {bundle_file.add(tmp_path, "records", data) for _ in range(2)}
    (name,) = names
    key, record = store.read(tmp_path / name)
    assert key == {"x": 1}
    assert record.arrays["a"].tolist() == [0, 1, 2]
    assert len(list((tmp_path / "records").iterdir())) == 1


def test_a_run_without_falsified_cells_says_so(claims, pytester, capsys):
    """A bundle without cells, that replays; no error."""
    result = claims("--bundle", "b", "-m", "paper", files=TREND)
    assert result.ret == 0
    assert manifest(pytester.path / "b")["cells"] == []
    result.stdout.fnmatch_lines(["bundle: *: no cell is falsified, so it holds none; 0 files, *, SHA-256 *"])
    assert main(["replay", str(pytester.path / "b"), "--report", str(pytester.path / "report.json")]) == 0
    assert "nothing to compute" in capsys.readouterr().out


def test_an_older_bundle_is_replaced_whole_or_stands(claims, pytester, monkeypatch):
    """By the next run's, none of whose files are missing or left over; and not by one whose disk is full, which the exit code says."""
    falsifying = ("--bundle", "b", "-m", "paper", "--verdicts=report")
    claims(*falsifying, model="falling", files=TREND)
    older = manifest(pytester.path / "b")
    assert len(older["cells"]) == 1

    def full(*given):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for place, name in ((atomic, "replace_folder"), (bundle_file, "add")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, full)
            result = claims(*falsifying, model="falling", files=TREND)
        assert result.ret == 6
        result.stdout.fnmatch_lines(["bundle: * could not be written (No space left on device); what was there stands"])
        assert manifest(pytester.path / "b") == older
        assert "bundle" not in result.report
        assert falsified(result.report)
    claims(*falsifying, "--quick", model="falling", files=TREND)
    assert manifest(pytester.path / "b")["cells"] == []
    assert sorted(file.name for file in (pytester.path / "b").rglob("*.*")) == ["bundle.json"]
    assert not list(pytester.path.glob(".*.part"))


STOPPING = """
import pytest
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item):
    {}
"""
ENDS = {
    "interrupted": ("pytest.exit('stopped')", ()),
    "stopped": ("item.session.shouldstop = 'stopped'", ()),
    "the first failure": ("pass", ("-x",)),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_session_that_ends_early_replaces_no_bundle(claims, pytester, how):
    """Cells that were not reached are not known to hold: the older bundle stands, the report names none, and no rest is left."""
    given = ("--bundle", "b", "-m", "paper", "--verdicts=report")
    claims(*given, model="falling", files=TREND)
    older = manifest(pytester.path / "b")
    assert len(older["cells"]) == 1
    stop, more = ENDS[how]
    pytester.makepyfile(stopping=STOPPING.format(stop))
    pytester.syspathinsert()
    result = claims(*given, *more, "-p", "stopping", model="falling", files=LINEARITY[1:])
    result.stdout.fnmatch_lines(["bundle: not written, the session ended early; what was there stands"])
    assert result.ret != 0
    assert "selected, but the session ended early" in {row["reason"] for row in result.report["rows"]}
    assert "bundle" not in result.report
    assert manifest(pytester.path / "b") == older
    assert not list(pytester.path.glob(".*.part"))


def test_cells_share_what_was_kept_nowhere_else(claims, pytester):
    """Without a store, four cells of one measurement: one record, which all of them replay from."""
    claims("--bundle", "b", "-m", "paper", "--no-store", "--verdicts=report", model="falling", files=LINEARITY)
    cells = manifest(pytester.path / "b")["cells"]
    assert len(cells) == 4
    assert {tuple(cell["records"]) for cell in cells} == {("linearity by rank-k maps",)}
    assert len({file for cell in cells for file in cell["records"].values()}) == 1
    assert main(["replay", str(pytester.path / "b")]) == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--bundle=file",), "--bundle file: not a folder"),
        (
            ("--bundle=mine",),
            "--bundle mine: holds something else than a bundle: notes.txt; move that away, or give a new or an empty folder",
        ),
        (("--bundle=other",), "--bundle other: holds something else than a bundle: a bundle.json that is not one; *"),
        (("--bundle=linked",), "--bundle linked: holds something else than a bundle: *elsewhere is no plain file, *"),
        (("--bundle=",), "--bundle : empty; expected a folder"),
        (("--bundle=b", "--report=b/r.json"), "--report b/r.json: cannot be written, the folder *"),
        (("--bundle=empty", "--report=empty/r.json"), "--bundle empty: the report goes there, and a bundle has its folder to itself"),
        (("--bundle=.", "--store=s"), "--bundle .: the report goes there, *"),
        (("--bundle=s", "--store=s/t"), "--bundle s: the store goes there, *"),
        (("--bundle=m", "--save-maps=m"), "--bundle m: the folder of maps goes there, *"),
        (("--bundle=file/b",), "--bundle file/b: */file is not a folder"),
        (("--bundle=/proc",), "--bundle /proc: cannot be replaced whole, something is mounted there; give a folder in it"),
        (("--bundle=/proc/b",), "--bundle /proc/b: *"),
    ],
)
def test_a_place_that_is_not_a_bundles_is_refused_before_anything_is_loaded(claims, pytester, monkeypatch, given, message):
    """One line, exit code 4, and everything stands as it was."""
    from harness.bench import Bench

    monkeypatch.setattr(Bench, "load", lambda *_: pytest.fail("loaded"))
    (pytester.path / "file").write_text("")
    for name, inside in (("mine", "notes.txt"), ("other", "bundle.json"), ("empty", None), ("linked", None)):
        (pytester.path / name).mkdir()
        if inside:
            (pytester.path / name / inside).write_text("{}")
    (pytester.path / "linked" / "elsewhere").symlink_to(pytester.path / "mine")
    result = claims(*given, files=TREND)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: {message}"])
    assert (pytester.path / "mine" / "notes.txt").read_text() == "{}"


def test_a_bundle_with_a_file_of_the_users_is_not_replaced(bundled, tmp_path):
    """What nobody but a user put there would be lost."""
    copy = tmp_path / "b"
    shutil.copytree(bundled.bundle, copy)
    assert bundle_file.foreign(copy) is None
    (copy / "records" / "notes.txt").write_text("")
    assert bundle_file.foreign(copy) == "records/notes.txt"


def test_what_a_file_manager_left_in_a_bundle_is_named_with_a_way_on(bundle, bundled, tmp_path, replayed):
    """It is not removed unasked: a run is refused, and so is a replay, and both say what to do."""
    (bundle / ".DS_Store").touch()
    option = SimpleNamespace(bundle=str(bundle))
    with pytest.raises(ValueError, match=r"\.DS_Store; move that away, or give a new or an empty folder"):
        places._check_bundle(option, bundle, {})
    assert refused(replayed(), ".DS_Store is not part of the bundle; move it out of the folder")
    (bundle / ".DS_Store").rename(tmp_path / "moved")
    places._check_bundle(option, bundle, {})


KILLED = """
import os, signal, sys
from pathlib import Path
from harness import atomic
folder = Path(sys.argv[1])
new = atomic.unfinished_folder(folder)
(new / "new").touch()
left, real = int(sys.argv[2]), Path.rename
def rename(self, target):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, target)
Path.rename = rename
atomic.replace_folder(new, folder)
"""


@pytest.mark.parametrize(("renames", "holds"), [(0, "old"), (1, "old"), (2, "new")])
def test_a_folder_is_old_or_new_wherever_a_process_is_killed(tmp_path, renames, holds):
    """Killed before the old one steps aside, right after, or never: what the next run finds is one of the two, whole, and no rest."""
    folder = tmp_path / "b"
    folder.mkdir()
    (folder / "old").touch()
    subprocess.run([sys.executable, "-c", KILLED, str(folder), str(renames)], cwd=ROOT, timeout=60)
    atomic.restore_folder(folder)
    assert [file.name for file in folder.iterdir()] == [holds]
    assert [file.name for file in tmp_path.iterdir()] == ["b"]


def test_a_folder_that_cannot_be_replaced_stands(tmp_path, monkeypatch):
    """When the new one cannot take its place, the old one is put back; a run that is still at work is left alone."""
    folder = tmp_path / "b"
    folder.mkdir()
    (folder / "old").touch()
    at_work = atomic.unfinished_folder(folder)
    gone = tmp_path / "gone"
    with pytest.raises(OSError, match="gone"):
        atomic.replace_folder(gone, folder)
    assert [file.name for file in folder.iterdir()] == ["old"]
    atomic.restore_folder(folder)
    assert sorted(tmp_path.iterdir()) == sorted([folder, at_work])
