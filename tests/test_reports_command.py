"""``python -m reports``: what is there, how it refuses bad input, and that no command needs torch."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from dataclasses import replace

import jsonschema
import pytest

from claims import Verdict
from reports import __main__ as command
from tests.conftest import ROOT
from tests.small_reports import row as row_of
from tests.small_reports import save
from tests.test_document import row, written


@pytest.fixture
def report(tmp_path):
    """A report file."""
    file = tmp_path / "report.json"
    file.write_text(json.dumps(written(row())))
    return file


def run(*words, blocked=("torch", "transformers")):
    """Run ``python -m reports`` in a process of its own, in which some packages cannot be imported."""
    block = "".join(f"sys.modules[{name!r}] = None; " for name in blocked)
    code = f"import sys; {block}sys.path.insert(0, {str(ROOT)!r}); from reports.__main__ import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", command.COMMANDS)
def test_every_command_has_help_and_needs_no_torch(name):
    """Its help is there where torch cannot be imported, and says what it does."""
    told = run(name, "--help")
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(f"usage: python -m reports {name}")
    assert command.COMMANDS[name][1].split()[0] in told.stdout.lower()


@pytest.mark.parametrize("name", command.COMMANDS)
def test_a_command_imports_none_of_the_others(name):
    """So that each starts as fast as it can."""
    code = (
        f"import sys; from reports.__main__ import main\ntry: main([{name!r}, '--help'])\nexcept SystemExit: pass\nprint('|', *sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(told.stdout.rpartition("|")[2].split())
    others = {module for other, (module, _) in command.COMMANDS.items() if other != name}
    assert not others & loaded
    assert not {"torch", "transformers", "scipy", "duckdb", "datasets"} & loaded


def test_show_prints_what_the_run_printed(claims, tmp_path, capsys):
    """The tables of the terminal, from the file."""
    result = claims("--verdicts=report", model="falling")
    capsys.readouterr()
    assert command.main(["show", "report.json"]) == 0
    shown = capsys.readouterr().out.split()
    printed = result.stdout.str().partition(" verdicts ")[2].partition("\nreport: ")[0].split()
    assert shown == printed[1:]  # In words, as a terminal may be of any width.


def test_show_escapes_what_a_file_says(tmp_path, capsys):
    """Names, reasons, caveats and facts of models and texts: no control character of theirs reaches the terminal, with colours or not."""
    bad = "x\x1b]0;owned\x07\u202e\r\n"
    hostile = row_of("depth_gain", "falsified", claim=4, model=bad, corpus=bad, caveats=(bad,), reason=bad)
    assert replace(hostile, verdict=Verdict.INCONCLUSIVE).message().isprintable()
    file = save(tmp_path, "r.json", hostile, replace(hostile, cell=replace(hostile.cell, rung="paper"), verdict=Verdict.ERROR))
    quoted = json.dumps(bad)[1:-1]
    file.write_text(file.read_text().replace("a model", quoted).replace("an edition", quoted))
    for colour in ("never", "always"):
        assert command.main(["show", str(file), "--colour", colour]) == 0
        shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
        assert "· x\\x1b]0;owned\\x07\\u202e\\r\\n\n  weights wwwwwwww" in shown
        assert all(c.isprintable() or c == "\n" for c in shown)


def test_show_writes_figures_of_any_size(tmp_path, capsys):
    """An interval from −1e308 to 1e308, of which the width is no number of float64."""
    save(tmp_path, "r.json", row_of("r2", value=0.0, low=-1e308, high=1e308, level=0.95, block=7))
    assert command.main(["show", str(tmp_path / "r.json")]) == 0
    assert "±∞" in capsys.readouterr().out


def test_a_name_with_a_slash_is_no_baseline(tmp_path, capsys):
    """One line, exit code 4, and nothing written, neither anew nor as an amendment."""
    report, good = (save(tmp_path, f"{i}.json", row_of(verdict="holds", model=m)) for i, m in enumerate(("org/name", "m")))
    file = tmp_path / "b.json"
    assert command.main(["baseline", str(report), "--to", str(file)]) == 4
    assert "'org/name/c' is not of the form model/corpus" in capsys.readouterr().err
    assert not file.exists()
    assert command.main(["baseline", str(good), "--to", str(file)]) == 0
    before = file.read_bytes()
    both = save(tmp_path, "both.json", row_of(verdict="holds"), row_of(verdict="holds", model="org/name"))
    capsys.readouterr()
    assert command.main(["baseline", str(both), "--to", str(file), "--amend", "--reason", "new"]) == 4
    assert "'org/name/c' is not of the form model/corpus" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_schema_is_a_json_schema(capsys, report):
    """Printed whole; a report satisfies it."""
    assert command.main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.validate(json.loads(report.read_text()), schema)


BAD = {
    "nothing": ([], "COMMAND"),
    "no such command": (["shwo"], "invalid choice: 'shwo'"),
    "no file": (["show"], "REPORT"),
    "a missing file": (["show", "none.json"], "none.json: cannot be read (No such file or directory)"),
    "no report": (["show", str(ROOT / "pyproject.toml")], "not JSON"),
}


@pytest.mark.parametrize(("words", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_in_a_line(words, said):
    """Exit code 4, as everywhere, and no traceback."""
    told = run(*words)
    assert told.returncode == 4
    assert said in told.stderr
    assert "Traceback" not in told.stderr
    assert not told.stdout


def test_a_closed_pipe_is_no_error(report):
    """``| head`` ends the reader first."""
    many = f"{report} " * 60  # More than a pipe holds.
    code = f"{sys.executable} -m reports show {many} | head -n 1"
    told = subprocess.run(["bash", "-o", "pipefail", "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert told.returncode == 0
    assert told.stdout.count("\n") == 1
    assert not told.stderr


def test_modules_offer_what_the_table_says():
    """Each has its arguments and a run, documented."""
    for module, _ in command.COMMANDS.values():
        loaded = importlib.import_module(module)
        assert loaded.arguments.__doc__
        assert loaded.run.__doc__
