"""The workflow that the documentation prints is one, and uses options that there are."""

from __future__ import annotations

import argparse
import re
import shlex
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from reports.__main__ import COMMANDS, main
from reports.options import OPTIONS

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
PYTESTS = {"-m", "-k"}


def blocks(language):
    """Blocks of code of a language."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def commands():
    """Every command of the workflow and of the examples, as words."""
    (workflow,) = (yaml.safe_load(block) for block in blocks("yaml"))
    runs = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    lines = [line for text in [*runs, *blocks("sh")] for line in text.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def test_the_workflow_is_one():
    """It runs on pull requests, checks out, sets up Python, restores the store it writes, and keeps the report whatever happened."""
    (workflow,) = (yaml.safe_load(block) for block in blocks("yaml"))
    assert "pull_request" in workflow[True]  # YAML 1.1 reads 'on' so.
    (job,) = workflow["jobs"].values()
    steps = {step.get("uses", step.get("name")).partition("@")[0]: step for step in job["steps"]}
    assert {"actions/checkout", "actions/setup-python", "actions/cache", "actions/upload-artifact"} <= set(steps)
    command = next(words for words in commands() if words[0] == "pytest" and "--store" in words)
    assert steps["actions/cache"]["with"]["path"] == command[command.index("--store") + 1]
    assert steps["actions/upload-artifact"]["if"] == "always()"
    assert command[command.index("--report") + 1] in steps["actions/upload-artifact"]["with"]["path"].split()


def test_every_option_exists():
    """Of ``pytest claims``; and of ``python -m reports``, each of whose commands parses its words."""
    seen = set()
    for words in commands():
        given = {word.partition("=")[0] for word in words if word.startswith("-")}
        if words[0] == "pytest":
            assert given <= {*OPTIONS, *PYTESTS}, words
            seen.add("pytest")
        elif words[:3] == ["python", "-m", "reports"]:
            if find_spec(COMMANDS[words[3]][0]) is not None:
                parser = argparse.ArgumentParser(exit_on_error=False)
                import_module(COMMANDS[words[3]][0]).arguments(parser)
                parser.parse_args(words[4 : words.index(">>") if ">>" in words else None])
            seen.add(words[3])
    assert {"pytest", "baseline", "html"} <= seen


@pytest.mark.parametrize("words", [w for w in commands() if w[:4] == ["python", "-m", "reports", "baseline"]], ids=" ".join)
def test_every_baseline_command_is_understood(words, capsys, tmp_path, monkeypatch):
    """It is refused for the report that is not there, and for nothing else."""
    monkeypatch.chdir(tmp_path)
    assert main(words[3:]) == 4
    assert "report.json: cannot be read (No such file or directory)" in capsys.readouterr().err
