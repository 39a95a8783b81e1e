"""Break each estimator by one line and see that a test fails: ``python -m tests.mutations [--slow]``.

Each mutation is applied to a copy of the project; the tests named beside it must then fail. A mutation that survives is
printed and the exit code is 1. Takes some minutes, one at a time on each core, so it is run by hand, and by CI, which leaves out the
slow ones.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests import broken_layers, broken_lines, broken_tokens

ROOT = Path(__file__).parent.parent

MUTATIONS = [*broken_lines.MUTATIONS, *broken_layers.MUTATIONS, *broken_tokens.MUTATIONS]


def survives(file: str, line: str, broken: str, tests: str) -> bool:
    """Apply one mutation to a copy and say whether the tests still pass."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "report.json", "*.egg-info"))
        text = (copy / file).read_text()
        if text.count(line) != 1:
            raise SystemExit(f"{file}: the line to break occurs {text.count(line)} times: {line}")
        (copy / file).write_text(text.replace(line, broken))
        module, _, test = tests.partition("::")
        target = f"tests/{module}.py" + (f"::{test}" if test else "")
        alone = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", target]
        return subprocess.run(command, cwd=copy, env=alone, capture_output=True, check=False).returncode == 0


def main() -> int:
    """Try every mutation; print what each did. One passes when a test catches it."""
    left, mutations = 0, [*MUTATIONS, *(broken_layers.SLOW if "--slow" in sys.argv[1:] else ())]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for alive, (file, line, broken, _) in zip(pool.map(lambda mutation: survives(*mutation), mutations), mutations, strict=True):
            left += alive
            print(f"{'SURVIVED' if alive else 'caught  '}  {file}: {line.strip()}  →  {broken.strip()}", flush=True)
    print(f"mutations: {len(mutations) - left} passed, {left} failed")
    return int(left > 0)


if __name__ == "__main__":
    sys.exit(main())
