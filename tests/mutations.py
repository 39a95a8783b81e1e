"""Break each estimator by one line and see that a test fails: ``python -m tests.mutations``.

Each mutation is applied to a copy of the project; the tests named beside it must then fail. A mutation that survives is
printed and the exit code is 1. Takes about two minutes, so it is run by hand, and by CI.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent

# (file, line as it stands, broken line, tests that must notice)
MUTATIONS = [
    ("harness/moments.py", "self._xx[group].addmm_(x.T, x)", "self._xx[group] += (x.float().T @ x.float()).double()", "test_moments"),
    ("harness/moments.py", "self._xy[group].addmm_(x.T, y)", "self._xy[group].addmm_(x.T, y.flip(0))", "test_moments"),
    ("harness/moments.py", "self._n[group] += x.shape[0]", "self._n[group] = x.shape[0]", "test_moments"),
    ("harness/moments.py", "total.yy - self._yy[group],", "total.yy,", "test_moments"),
    ("harness/ridge.py", "return scale * float(sums.xx.diagonal().mean())", "return scale * float(sums.xx.diagonal().sum())", "test_ridge"),
    ("harness/ridge.py", "system.diagonal().add_(lam)", "system.diagonal().sub_(lam)", "test_ridge"),
    ("harness/ridge.py", "held = values.flip(0).clamp_min(0).cumsum(0)", "held = values.clamp_min(0).cumsum(0)", "test_ridge"),
    ("harness/ridge.py", "basis: Tensor = vectors[:, -rank:].flip(1)", "basis: Tensor = vectors[:, :rank].flip(1)", "test_ridge"),
    ("harness/ridge.py", "- 2 * fitted + size)", "- fitted)", "test_ridge"),
    ("harness/statistics.py", "(count - 1) / count * np.sum(", "1 / count * np.sum(", "test_statistics"),
    ("harness/statistics.py", "min(len(rows) for rows in parts) - 1", "max(len(rows) for rows in parts) - 1", "test_statistics"),
    ("harness/statistics.py", "t.ppf((1 + level) / 2", "t.ppf(level", "test_statistics"),
    (
        "harness/statistics.py",
        "spearmanr(np.arange(len(values)), values)",
        "spearmanr(np.arange(len(values)), np.abs(values))",
        "test_statistics",
    ),
    ("harness/linearity.py", "return 1 - sse / energy if", "return 1 - sse / (2 * energy) if", "test_planted_linearity"),
    (
        "harness/linearity.py",
        "delta = after.to(self._device).double() - x",
        "delta = after.to(self._device).double()",
        "test_planted_linearity",
    ),
    ("harness/linearity.py", "rest = self._fitted.without(group, self._total)", "rest = self._total", "test_planted_linearity"),
    ("harness/linearity.py", "window * protocol.groups // calibration", "window % protocol.groups", "test_planted_linearity"),
    (
        "harness/linearity.py",
        "other.squared_error(scored), scored.energy",
        "other.squared_error(rest), rest.energy",
        "test_planted_linearity",
    ),
    ("harness/sweep.py", "streams[key] = after", "pass", "test_sweep"),
    ("harness/windows.py", "needed = count * fresh", "needed = count * size", "test_corpora"),
    ("harness/admission.py", "if not _equal(trace.outputs[b - 1], trace.inputs[b]):", "if False:", "test_anatomy"),
    ("harness/admission.py", "if gap > 64 *", "if gap > 1e9 *", "test_anatomy"),
    (
        "claims/verdicts.py",
        "return low - self.holds, self.falsified - high",
        "return high - self.holds, self.falsified - low",
        "test_verdicts",
    ),
    ("claims/claim.py", "return 1 - 0.05 / sum(judged in p.core", "return 1 - 0.05 * sum(judged in p.core", "test_verdicts"),
    (
        "reports/ledger.py",
        "(Verdict.FALSIFIED, Verdict.ERROR, Verdict.UNTESTED)",
        "(Verdict.ERROR, Verdict.FALSIFIED, Verdict.UNTESTED)",
        "test_verdicts",
    ),
]


def survives(file: str, line: str, broken: str, tests: str) -> bool:
    """Apply one mutation to a copy and say whether the tests still pass."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "report.json", "*.egg-info"))
        text = (copy / file).read_text()
        if text.count(line) != 1:
            raise SystemExit(f"{file}: the line to break occurs {text.count(line)} times: {line}")
        (copy / file).write_text(text.replace(line, broken))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"tests/{tests}.py"]
        return subprocess.run(command, cwd=copy, capture_output=True, check=False).returncode == 0


def main() -> int:
    """Try every mutation; print what each did."""
    left = 0
    for file, line, broken, tests in MUTATIONS:
        alive = survives(file, line, broken, tests)
        left += alive
        print(f"{'SURVIVED' if alive else 'caught  '}  {file}: {line.strip()}  →  {broken.strip()}", flush=True)
    print(f"{len(MUTATIONS) - left} caught, {left} survived")
    return int(left > 0)


if __name__ == "__main__":
    sys.exit(main())
