"""Break each estimator by one line and see that a test fails: ``python -m tests.mutations [--slow]``.

Each mutation is applied to a copy of the project; the tests named beside it must then fail. A mutation that survives is
printed and the exit code is 1. Takes some minutes, one at a time on each core, so it is run by hand, and by CI, which leaves out the
slow ones.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # Before torch is imported: as many processes as cores.

import pytest
import torch  # noqa: F401
import transformers  # noqa: F401

from tests import broken_layers, broken_lines, broken_reports, broken_tokens

ROOT = Path(__file__).parent.parent
PACKAGES = {"conftest", "fixtures", "harness", "claims", "reports", "tests", "benchmarks"}

MUTATIONS = [*broken_lines.MUTATIONS, *broken_layers.MUTATIONS, *broken_tokens.MUTATIONS, *broken_reports.MUTATIONS]


def survives(file: str, line: str, broken: str, tests: str) -> bool:
    """Apply one mutation to a copy, run the tests on it in this process, which is of no use after, and say whether no test has failed."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "report.json", "*.egg-info"))
        text = (copy / file).read_text()
        (copy / file).write_text(text.replace(line, broken))
        module, _, test = tests.partition("::")
        target = f"tests/{module}.py" + (f"::{test}" if test else "")
        for name in [name for name in sys.modules if name.split(".")[0] in PACKAGES]:
            del sys.modules[name]  # Else the project would be tested that is not broken.
        sys.path[:] = [part for part in sys.path if Path(part or ".").resolve() != ROOT]
        sys.path.insert(0, str(copy))
        os.chdir(copy)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        options = ["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning", f"--rootdir={copy}"]
        return pytest.main([*options, target]) != pytest.ExitCode.TESTS_FAILED


def main() -> int:
    """Try every mutation; print what each did. One passes when a test catches it."""
    left, mutations = 0, [*MUTATIONS, *((*broken_layers.SLOW, *broken_reports.SLOW) if "--slow" in sys.argv[1:] else ())]
    for file, line, *_ in mutations:
        if (count := (ROOT / file).read_text().count(line)) != 1:
            raise SystemExit(f"{file}: the line to break occurs {count} times: {line}")
    # Forked, so that torch and transformers are imported once for all; one process a mutation, as modules of the project are replaced.
    with multiprocessing.get_context("fork").Pool(os.cpu_count(), maxtasksperchild=1) as pool:
        alive_each = pool.imap(_survives, mutations, chunksize=1)
        for alive, (file, line, broken, _) in zip(alive_each, mutations, strict=True):
            left += alive
            print(f"{'SURVIVED' if alive else 'caught  '}  {file}: {line.strip()}  →  {broken.strip()}", flush=True)
    print(f"mutations: {len(mutations) - left} passed, {left} failed")
    return int(left > 0)


def _survives(mutation: broken_lines.Mutation) -> bool:
    return survives(*mutation)


if __name__ == "__main__":
    sys.exit(main())
