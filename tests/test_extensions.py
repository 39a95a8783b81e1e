"""Models of a user's own: from a file, from an installed package, from another repository."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

from fixtures import MODELS, Hub, Model, ModelError, extensions, register

ROOT = Path(__file__).parent.parent
OURS = """from fixtures import Folder, Model, register
from pathlib import Path

register(Model(name="ours", family="llama", n_blocks=8, source=Folder(Path({folder!r}))))
"""


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Whatever a test registers is gone afterwards."""
    before = dict(MODELS)
    yield
    MODELS.clear()
    MODELS.update(before)


def test_a_file_registers_models_that_are_markers_and_rows(claims, shelf, pytester):
    """Eight lines and a marker: selected by name and by family, listed, recorded."""
    (pytester.path / "our_models.py").write_text(OURS.format(folder=str(shelf / "rising")))
    result = claims("--models-from=our_models.py", "-m", "ours and claim4 and paper", model=None)
    assert result.ret == 0, result.stderr.str()
    assert {row["model"] for row in result.report["rows"]} == {"ours"}


def test_a_team_runs_the_suite_from_its_own_repository(shelf, tmp_path):
    """From a folder that holds nothing but their file: report and models are theirs, configuration and claims the suite's."""
    (tmp_path / "our_models.py").write_text(OURS.format(folder=str(shelf / "llama")))
    command = [sys.executable, "-m", "pytest", str(ROOT / "claims"), "--models-from=our_models.py", "-m", "ours", "-k", "depth_gain"]
    given = ["--verdicts=report", "--corpus", str(shelf / "text"), "-p", "no:cacheprovider", "-n", "2"]
    done = subprocess.run([*command, *given], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {row["model"] for row in json.loads((tmp_path / "report.json").read_text())["rows"]} == {"ours"}
    listed = subprocess.run([*command, "--models"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert listed.returncode == 0
    assert "ours " in listed.stdout
    assert "mistralai/Mistral-7B-v0.1@27d67f1b" in listed.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("", "it registers no model"),
        ("import nothing_of_this_name", "line 1: ModuleNotFoundError"),
        ("x = 1\n1 / 0", "line 2: ZeroDivisionError"),
        ("def f(:", "SyntaxError"),
        ("from fixtures import *\nregister(Model('smollm2', 'llama', 2, Hub('a/b')))", "registered twice"),
        ("from fixtures import *\nregister(Model('../x', 'llama', 2, Hub('a/b')))", "cannot be one"),
        ("from fixtures import *\nregister(Model('x', 'llama', 0, Hub('a/b')))", "from 1 to 1000"),
        ("from fixtures import *\nregister(Model('x', 'll ama', 1, Hub('a/b')))", "model_type"),
        ("from fixtures import *\nregister(Model('x', 'llama', 1, Hub('b')))", "organisation/name"),
        ("from fixtures import *\nregister(Model('x', 'llama', 1, 'b'))", "source is a Hub, Folder, Gguf or Wheel"),
        ("from fixtures import *\nregister('x')", "takes a Model"),
        ("from fixtures import *\nregister(Model('strict', 'llama', 1, Hub('a/b')))", "a marker of the suite"),
        ("from fixtures import *\nregister(Model('skip', 'llama', 1, Hub('a/b')))", "a marker of the suite"),
        ("raise SystemExit(3)", "SystemExit"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(claims, pytester, text, message):
    """Exit code 4, with the file and the line."""
    if text is not None:
        (pytester.path / "m.py").write_text(text)
    result = claims("--models-from=m.py", model=None)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"*--models-from *m.py*{message}*"])


def test_a_registered_folder_that_is_not_there_is_one_error(claims, pytester):
    """A string serves as a path; the other models of the file could run; the plan says the same."""
    text = "from fixtures import Folder, Gguf, Model, register\nimport neighbour\n"
    (pytester.path / "neighbour.py").write_text("")
    (pytester.path / "m.py").write_text(text + "register(Model('x', 'llama', 1, Folder('no/such')))")
    for plan, sign in (([], "ERROR: x · *"), (["--plan"], "  ERROR: ")):
        result = claims("--models-from=m.py", "-m", "x", *plan, model=None)
        assert result.ret == 6
        result.stdout.fnmatch_lines([f"{sign}*no folder no/such in *"])
        del MODELS["x"]
    (pytester.path / "empty").mkdir()
    (pytester.path / "m.py").write_text(text + "register(Model('x', 'llama', 1, Folder('empty')))")
    claims("--models-from=m.py", "-m", "x", "--plan", model=None).stdout.fnmatch_lines(["  ERROR: no config.json in empty; expected *"])
    del MODELS["x"]
    (pytester.path / "m.py").write_text(text + "register(Model('x', 'llama', 1, Gguf('no/such')))")
    assert claims("--models-from=m.py", "--models", model=None).ret == 0


def entry(loaded, name="theirs"):
    """An entry point of an installed package."""
    dist = types.SimpleNamespace(name="their-package", version="1.0")
    return types.SimpleNamespace(name=name, dist=dist, load=lambda: loaded)


THEIRS = Model("theirs", "llama", 4, Hub("org/theirs"))


@pytest.mark.parametrize("loaded", [THEIRS, [THEIRS], lambda: [THEIRS], lambda: THEIRS])
def test_an_entry_point_names_a_model_several_or_a_function(monkeypatch, loaded):
    """Registered once, however often it is asked for."""
    monkeypatch.setattr(extensions, "entry_points", lambda group: [entry(loaded)] if group == "claims.models" else [])
    extensions.register_installed()
    extensions.register_installed()
    assert MODELS["theirs"] == THEIRS


def test_an_entry_point_whose_import_registers_is_not_registered_twice(monkeypatch):
    """Both ways at once."""
    monkeypatch.setattr(extensions, "entry_points", lambda group: [entry(lambda: register(THEIRS) if "theirs" not in MODELS else THEIRS)])
    extensions.register_installed()
    assert MODELS["theirs"] == THEIRS


@pytest.mark.parametrize(
    ("loaded", "message"),
    [
        (3, "found int"),
        (lambda: 1 / 0, "ZeroDivisionError"),
        ([3], "takes a Model"),
        (Model("gpt2", "x", 1, Hub("a/b")), "registered twice"),
    ],
)
def test_a_broken_entry_point_names_its_package(monkeypatch, loaded, message):
    """So that it can be repaired or removed."""
    monkeypatch.setattr(extensions, "entry_points", lambda group: [entry(loaded)])
    with pytest.raises(ModelError, match=rf"entry point claims\.models 'theirs' of their-package 1\.0: .*{message}"):
        extensions.register_installed()
