"""A report is written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import atomic
from reports import report_file


def test_a_write_replaces_the_file_and_leaves_nothing_else(tmp_path):
    """The folder holds the file alone, readable as any other."""
    file = tmp_path / "r.json"
    for data in (b"old", b"new"):
        atomic.write(file, data)
        assert file.read_bytes() == data
    assert list(tmp_path.iterdir()) == [file]
    plain = tmp_path / "plain"
    plain.write_text("")
    assert file.stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("step", ["fsync", "fdopen"])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, step):
    """A full disk at any step: the old bytes stand and no part is left."""
    file = tmp_path / "r.json"
    file.write_bytes(b"old")

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space"):
        atomic.write(file, b"new")
    monkeypatch.undo()
    assert file.read_bytes() == b"old"
    assert [f for f in tmp_path.iterdir() if f != file] == []


def test_a_figure_that_is_not_a_number_never_reaches_the_file(tmp_path, monkeypatch):
    """JSON has no NaN: the write fails rather than produce a file that others cannot read."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        report_file.write(tmp_path / "r.json", {"value": float("nan")})
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written_are_named_early(tmp_path):
    """A folder, a missing folder, no permission."""
    assert report_file.why_not_writable(tmp_path) == "it is a folder"
    assert "does not exist" in str(report_file.why_not_writable(tmp_path / "a" / "b"))
    assert report_file.why_not_writable(tmp_path / "r.json") is None
    if os.geteuid() != 0:
        Path(tmp_path / "locked").mkdir(mode=0o500)
        assert "Permission denied" in str(report_file.why_not_writable(tmp_path / "locked" / "r.json"))


LONG = "a report of a model with a name that fills sixty-four characters"


@pytest.mark.parametrize(("mine", "other"), [("out", "out.v2"), ("out", "out.v2.x"), (f"{LONG}, the first", f"{LONG}, the second")])
def test_what_was_set_aside_for_another_folder_stays(tmp_path, monkeypatch, mine, other):
    """Names that begin alike, and long ones that differ only at the end: each gets back what stepped aside for it, and nothing else."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 999999999)  # A writer that was killed.
        aside = {name: atomic.unfinished_folder(tmp_path / name) for name in (mine, other)}
    for name, part in aside.items():
        (part / "before").mkdir()
        (part / "before" / name).touch()
    atomic.restore_folder(tmp_path / mine)
    assert [file.name for file in (tmp_path / mine).iterdir()] == [mine]
    assert aside[other].is_dir()
    assert not aside[mine].exists()
    atomic.restore_folder(tmp_path / other)
    assert [file.name for file in (tmp_path / other).iterdir()] == [other]
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / mine, tmp_path / other])


def test_what_is_unfinished_of_another_file_stays(tmp_path):
    """Of the file named alone, though another's name begins with its; of any file when none is named."""
    parts = [tmp_path / f".{name}.{atomic._HOST}-999999999.abc.part" for name in ("r", "r.json")]
    for part in parts:
        part.touch()
    assert atomic.remove_abandoned_parts(tmp_path, "r") == 1
    assert list(tmp_path.iterdir()) == parts[1:]
    assert atomic.remove_abandoned_parts(tmp_path) == 1
