"""A sweep that is cut short, by Ctrl-C or by a worker's death: the run itself stays what it was."""

from __future__ import annotations

import os

import pytest

from harness import challengers
from reports import sweeping
from tests.test_sweeping import swept


def test_ctrl_c_in_the_sweep_leaves_a_whole_bundle(claims, pytester, monkeypatch):
    """The run's own cells have come before; a run that is interrupted among those writes none."""
    real = sweeping.leave_out_short

    def stop(item, setting, lab):
        real(item, setting, lab)
        if setting.name == "lambda=×100":
            pytest.exit("stopped")  # As Ctrl-C ends a session.

    monkeypatch.setattr(sweeping, "leave_out_short", stop)
    result = claims("-m", "paper", "--sweep", "lambda", "--bundle=b", "-k", "depth_gain or depth_trend", model="falling")
    assert result.ret == 2
    assert "2 falsified cells" in str(result.stdout)
    assert (pytester.path / "b").is_dir()


DIES = """
import os
from harness.challengers import challenger
from reports import sweeping

@challenger("dying")
def dying(weight, inputs):
    return weight

if os.environ["RUN_BY"] != str(os.getpid()):
    real = sweeping.leave_out_short

    def die(item, setting, lab):
        if "depth_gain" in item.nodeid and setting.name == "lambda=×100":
            os._exit(9)
        real(item, setting, lab)

    sweeping.leave_out_short = die
"""
"""A file that every process of a run reads, and that kills a worker."""


def test_a_worker_that_dies_under_a_setting_fails_nothing(claims, pytester, monkeypatch):
    """The cell is an ERROR under that setting; neither the exit code nor the count of failures has it."""
    monkeypatch.setenv("RUN_BY", str(os.getpid()))
    (pytester.path / "dies.py").write_text(DIES)
    given = ("-m", "paper", "-k", "depth_gain or depth_trend", "--verdicts=report", "--sweep", "lambda", "--junitxml=j.xml")
    try:
        result = claims(*given, "-n1", "--challengers=dies.py", model="llama")
    finally:
        challengers.ENTERED.pop("dying", None)
    row = swept(result)["depth_gain", "lambda=×100"]
    assert (result.ret, row["verdict"], row["reason"]) == (0, "error", "the worker died")
    assert 'errors="0" failures="0"' in (pytester.path / "j.xml").read_text()
    assert swept(result)["depth_trend", "lambda=×100"]["value"] is not None
    assert str(result.stdout).count("node down") == 1
