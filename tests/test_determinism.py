"""The same seed gives the same figures: bit for bit in another process, and with other threads beyond rounding; and who draws what."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests import core_rows

ROOT = Path(__file__).parent.parent
ABSOLUTE = RELATIVE = 1e-4
"""Of figures and both ends of their intervals, with other threads: products are cut, and so added up, otherwise."""
_DRAWS = {"rand", "randn", "randint", "randperm", "normal", "multinomial", "bernoulli", "poisson"}
_IN_PLACE = {"normal_", "uniform_", "random_", "bernoulli_", "kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "trunc_normal_"}
_PYTHONS = {"random", "randint", "randrange", "shuffle", "choice", "choices", "sample", "uniform", "gauss", "seed"}
_GLOBAL = {"rand_like", "randn_like", "randint_like", "manual_seed", "manual_seed_all", "set_rng_state", "fork_rng", "default_generator"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small model and its text."""
    return core_rows.save(tmp_path_factory.mktemp("determinism"), "gpt2")


def started(saved, threads):
    """Start a process that prints the rows of all core cells."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.core_rows", *map(str, saved)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )


def test_rows_are_the_same_in_another_process(saved):
    """All core cells of all claims: bit for bit with as many threads, within a tolerance with one more."""
    threads = torch.get_num_threads()
    same, here = started(saved, threads), core_rows.core_rows(*saved)
    same, other = (json.loads(process.communicate()[0]) for process in (same, started(saved, threads + 1)))
    assert json.loads(json.dumps([row.as_json() for row in here])) == same
    assert sum(row.value is not None for row in here) >= 30
    found = [replace(row, verdict=row.verdict.__class__(line["verdict"]), **figures(line)) for row, line in zip(here, other, strict=True)]
    assert core_rows.differences(here, found, RELATIVE, ABSOLUTE) == []


def figures(line):
    """Return the figures of a row as it is written."""
    return {name: line[name] for name in core_rows.FIGURES}


def test_the_docs_say_the_same_tolerance():
    """The numbers that are allowed here are those that users read."""
    text = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
    (said,) = re.findall(r"another number of threads changes a figure by at most (\S+), plus (\S+) of it", text)
    assert tuple(map(float, said)) == (ABSOLUTE, RELATIVE)


def drawn_elsewhere(source: str) -> list[str]:
    """Return what in a source draws from something else than a generator that was seeded and is the CPU's."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in _GLOBAL and not isinstance(node.value, ast.Call):
            found.append(ast.unparse(node))
        if isinstance(node, ast.Call):
            owner, _, name = ast.unparse(node.func).rpartition(".")
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            draws = (owner == "torch" and name in _DRAWS) or name in _IN_PLACE
            bad = draws and ("generator" not in given or given.get("device", "'cpu'") != "'cpu'")
            bad |= name == "Generator" and owner == "torch" and bool(node.args or node.keywords)
            bad |= name == "default_rng" and not node.args
            bad |= owner in ("np.random", "numpy.random") and name != "default_rng"
            bad |= owner == "random" and name in _PYTHONS
            found += [ast.unparse(node)] if bad else []
    return found


def test_every_draw_is_from_a_seeded_generator_of_the_cpu():
    """So no draw depends on the device, nor on what was drawn before. Nothing that measures or judges draws otherwise."""
    files = [file for package in ("fixtures", "harness", "claims", "reports") for file in sorted((ROOT / package).glob("*.py"))]
    assert {file.name: bad for file in files if (bad := drawn_elsewhere(file.read_text(encoding="utf-8")))} == {}
    seeded = [file for file in files if "torch.Generator().manual_seed(" in file.read_text(encoding="utf-8")]
    assert len(seeded) >= 7


@pytest.mark.parametrize(
    "source",
    [
        "torch.randn(3)",
        "torch.randn(3, device=device, generator=g)",
        "torch.Generator(device)",
        "torch.Generator(device='cuda').manual_seed(1)",
        "torch.manual_seed(0)",
        "torch.randn_like(x)",
        "x.normal_()",
        "nn.init.kaiming_uniform_(x)",
        "np.random.default_rng()",
        "np.random.rand(3)",
        "random.random()",
        "torch.cuda.manual_seed_all(1)",
    ],
)
def test_a_draw_from_elsewhere_is_found(source):
    """What the test above looks for is found where it stands, and a seeded draw is not."""
    assert drawn_elsewhere(source)
    assert not drawn_elsewhere("torch.randn(3, generator=torch.Generator().manual_seed(seed)); np.random.default_rng([seed, 1])")


def test_generators_are_made_on_the_cpu(saved, monkeypatch):
    """Loading and a measurement that adds noise make generators, none of them on a device that is named."""
    make, made = torch.Generator, []
    monkeypatch.setattr(torch, "Generator", lambda *given, **named: (made.append((given, named)), make(*given, **named))[1])
    lab = core_rows.laboratory(saved[0], [saved[1]], core_rows.PROTOCOL, measured=())
    loaded = len(made)
    noised = next(cell for cell in core_rows.cells(core_rows.BLOCKS) if cell[0].measures.predicate.name == "projection_ppl_ratio")
    core_rows.row_of(lab, noised[0], "strict", None)
    assert 0 < loaded < len(made)
    assert all(each == ((), {}) for each in made)
