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
