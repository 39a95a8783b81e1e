"""Imports point one way: fixtures → harness → claims → reports; and collection needs no torch."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("fixtures", "harness", "claims", "reports")
FILES = [file for layer in LAYERS for file in sorted((ROOT / layer).glob("*.py"))]


def imports(file: Path, top_level_only: bool = False) -> set[str]:
    """Modules that a file imports; with ``top_level_only`` those it imports when it is imported."""
    tree = ast.parse(file.read_text())
    if top_level_only:
        nodes = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
    else:
        nodes = [n for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))]
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            assert node.level == 0, f"{file}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda f: f"{f.parent.name}/{f.name}")
def test_no_import_points_left(file):
    """A layer knows only itself and those before it; nothing knows the wiring or the tests."""
    later = {*LAYERS[LAYERS.index(file.parent.name) + 1 :], "conftest", "tests", "benchmarks"}
    assert not {module for module in imports(file) if module.split(".")[0] in later}


def test_the_check_sees_a_wrong_import(tmp_path):
    """An import hidden in a function is found too."""
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from reports import ledger\n")
    assert "reports" in imports(file)
    assert "reports" not in imports(file, top_level_only=True)


@pytest.mark.parametrize("name", ["fixtures", "claims", "reports"])
def test_descriptions_claims_and_reports_import_no_torch(name):
    """They are read at collection, and reports are made on machines without torch."""
    for file in (ROOT / name).glob("*.py"):
        assert not {m for m in imports(file, top_level_only=True) if m.split(".")[0] in {"torch", "transformers", "gguf"}}, file


def test_names_say_what_is_inside():
    """One concept a file, of a readable size, none called utils."""
    for file in FILES:
        assert file.stem not in {"utils", "util", "helpers", "helper", "common", "base", "misc"}
        assert len(file.read_text().splitlines()) <= 300, file
