"""Break each estimator by one line and see that a test fails: ``python -m tests.mutations [--slow]``.

Each mutation is applied to a copy of the project; the tests named beside it must then fail. A mutation that survives is
printed and the exit code is 1. Takes some minutes, one at a time on each core, so it is run by hand, and by CI, which leaves out the
slow ones.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # Before torch is imported: as many processes as cores.

import pytest

from tests import (
    broken_counts,
    broken_faults,
    broken_layers,
    broken_lines,
    broken_memory,
    broken_naive,
    broken_precision,
    broken_reports,
    broken_settings,
    broken_sharing,
    broken_tokens,
)

ROOT = Path(__file__).parent.parent
IMPORTED = (
    *("torch", "transformers.modeling_utils", "transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto"),
    *("transformers.models.llama.modeling_llama", "transformers.models.gpt2.modeling_gpt2", "transformers.models.mixtral.modeling_mixtral"),
    *("scipy.stats", "scipy.fft", "sklearn.linear_model", "sklearn.cross_decomposition", "sklearn.cluster"),
    *("statsmodels.multivariate.cancorr", "statsmodels.stats.contingency_tables", "pydantic", "jinja2", "rich.table"),
    *("accelerate", "jsonschema", "markdown_it", "yaml"),
)
"""What tests import and takes long: once here, and not in every process. No plugin of pytest's, such as hypothesis: runs of pytest inside
a test would refuse it, and every mutation seem caught."""
CONTROL = ("harness/settings.py", '"""Settings of a run', '"""Settings of the run', "test_sweeping::test_progress_names_the_setting")
"""A change that breaks nothing, of which a test that runs pytest inside must not complain."""
PACKAGES = {"conftest", "fixtures", "harness", "claims", "reports", "tests", "benchmarks", "anyio"}

MUTATIONS = [
    *broken_lines.MUTATIONS,
    *broken_layers.MUTATIONS,
    *broken_tokens.MUTATIONS,
    *broken_reports.MUTATIONS,
    *broken_settings.MUTATIONS,
    *broken_sharing.MUTATIONS,
    *broken_counts.MUTATIONS,
    *broken_faults.MUTATIONS,
    *broken_memory.MUTATIONS,
    *broken_naive.MUTATIONS,
    *broken_precision.MUTATIONS,
]


class FirstFailure:
    """Keeps the name of the first test that fails, and how long it took until then."""

    def __init__(self) -> None:
        self.name, self._start = "", time.perf_counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the test that a failed report is of."""
        if report.failed and not self.name:
            self.name = f"{report.nodeid.rpartition('::')[2]} after {time.perf_counter() - self._start:.1f} s"


def caught_by(file: str, line: str, broken: str, tests: str) -> str:
    """Apply one mutation to a copy, run the tests on it in this process, which is of no use after; return the test that fails, or ""."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "report.json", "*.egg-info"))
        text = (copy / file).read_text()
        (copy / file).write_text(text.replace(line, broken))
        module, _, test = tests.partition("::")
        target = f"tests/{module}.py" + (f"::{test}" if test else "")
        for name in [name for name in sys.modules if name.split(".")[0] in PACKAGES]:
            del sys.modules[name]  # Else the project would be tested that is not broken, and runs of pytest inside tests refuse a plugin.
        sys.path[:] = [part for part in sys.path if Path(part or ".").resolve() != ROOT]
        sys.path.insert(0, str(copy))
        os.chdir(copy)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        options = ["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning", f"--rootdir={copy}"]
        first = FirstFailure()
        code = pytest.main([*options, target], plugins=[first])
        return (first.name or "a failure") if code == pytest.ExitCode.TESTS_FAILED else ""


def main() -> int:
    """Try every mutation; print what each did. One passes when a test catches it."""
    left, mutations = 0, [*MUTATIONS, *((*broken_layers.SLOW, *broken_reports.SLOW) if "--slow" in sys.argv[1:] else ())]
    for file, line, *_ in mutations:
        if (count := (ROOT / file).read_text().count(line)) != 1:
            raise SystemExit(f"{file}: the line to break occurs {count} times: {line}")
    for name in IMPORTED:
        with contextlib.suppress(ImportError):  # Its tests are skipped then, or fail.
            importlib.import_module(name)
    gc.freeze()  # What is imported is no garbage: no process need look through it.
    # Forked, so that these are imported once for all; one process a mutation, as modules of the project are replaced.
    with multiprocessing.get_context("fork").Pool(os.cpu_count(), maxtasksperchild=1) as pool:
        if by := pool.apply(_caught_by, (CONTROL,)):
            raise SystemExit(f"a change that breaks nothing is caught by {by}: so nothing that is caught means anything")
        for by, (file, line, broken, _) in zip(pool.imap(_caught_by, mutations, chunksize=1), mutations, strict=True):
            left += not by
            print(f"{'caught  ' if by else 'SURVIVED'}  {file}: {line.strip()}  →  {broken.strip()}{by and f'  ({by})'}", flush=True)
    print(f"mutations: {len(mutations) - left} passed, {left} failed")
    return int(left > 0)


def _caught_by(mutation: broken_lines.Mutation) -> str:
    return caught_by(*mutation)


if __name__ == "__main__":
    sys.exit(main())
