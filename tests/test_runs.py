"""``pytest claims`` as processes of its own: what is imported, what is stored, and what a killed run leaves."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

from harness.store import Store, read
from tests.conftest import LINEARITY

ROOT = Path(__file__).parent.parent

RUN = """
import sys, pytest
code = pytest.main(sys.argv[1:])
print("HEAVY", sorted({"torch", "transformers", "gguf"} & set(sys.modules)))
sys.exit(code)
"""


def process(*arguments, code=RUN, files=("claims",)):
    """Run ``pytest claims`` in a process of its own."""
    command = [
        sys.executable,
        "-c",
        code,
        *map(str, files),
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:hypothesispytest",
        *map(str, arguments),
    ]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_collecting_loads_neither_torch_nor_weights():
    """``--collect-only`` imports no torch."""
    done = process("--collect-only")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "HEAVY []" in done.stdout


def test_a_second_run_measures_nothing_and_imports_no_torch(shelf, tmp_path):
    """The same rows, from the store, without loading the model; a changed text or option is measured anew."""
    given = ["--quick", "--model", shelf / "llama", "--corpus", shelf / "text", "--verdicts=report", "--store", tmp_path / "store"]
    reports = []
    for i in range(2):
        done = process(*given, "--report", tmp_path / f"{i}.json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert ("HEAVY []" in done.stdout) is (i == 1)
        reports.append(json.loads((tmp_path / f"{i}.json").read_text()))
    assert reports[0]["rows"] == reports[1]["rows"]
    assert reports[0]["claims"] == reports[1]["claims"]
    timings = [next(v for k, v in r["timings"].items() if "/" in k) for r in reports]
    measured, stored = [[name for name, t in timing.items() if not t["stored"]] for timing in timings]
    # Spectra come with the streams that claim 1 starts from.
    assert set(timings[0]) - set(measured) == {"variance at every boundary"}
    assert not stored


KILLED = """
import os, signal, sys
left = int(sys.argv.pop(1))
from harness import affine_linearity, rank_linearity
def counted(real):
    def see(*given):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*given)
    return see
for visitor in (rank_linearity.RankLinearity, affine_linearity.AffineLinearity):
    visitor.see = counted(visitor.see)
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


def test_a_run_killed_at_random_points_and_resumed_gives_equal_rows(shelf, tmp_path):
    """SIGKILL after a random number of batches, and the same command again, at least ten times: the rows of a run left alone."""
    given = ["--model", shelf / "llama", "--corpus", shelf / "text", "--verdicts=report"]
    alone = process(*given, "--no-store", "--report", tmp_path / "alone.json", files=LINEARITY)
    assert alone.returncode == 0, alone.stdout + alone.stderr
    draw = random.Random(0)
    kills = 0
    for _ in range(60):
        store = ["--store", tmp_path / "store", "--report", tmp_path / "resumed.json"]
        command = [sys.executable, "-c", KILLED, str(draw.randrange(13, 19)), *LINEARITY, "-q", *map(str, [*given, *store])]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        if done.returncode != -signal.SIGKILL:
            break
        kills += 1
        assert not (tmp_path / "resumed.json").exists()
    assert done.returncode == 0, done.stdout + done.stderr
    assert kills >= 10
    alone, resumed = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("alone", "resumed"))
    assert resumed["rows"] == alone["rows"]
    store = Store(tmp_path / "store")
    assert not list((tmp_path / "store").rglob("*.part"))
    assert not any(read(file)[0].get("unfinished") for file in store.entries())
    assert store.set_aside() == []


KILLED_VARIANTS = """
import os, signal, sys
left = int(sys.argv.pop(1))
from harness import bookmark, branches
bookmark._SHARE = 1e9  # keep after every group of variants
branches.GROUP = 16  # one variant a group
import harness.language
real = harness.language.Language.kl_from_clean_nats
def counted(self, final):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, final)
harness.language.Language.kl_from_clean_nats = counted
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


def test_interventions_that_were_killed_go_on_where_they_stopped(shelf, tmp_path):
    """SIGKILL in the middle of the ablations: each run makes the next few and no more, and the rows are those of a run left alone."""
    given = ["-k", "variance_ranks_importance and strict", "--model", shelf / "llama", "--corpus", shelf / "text", "--verdicts=report"]
    alone = process(*given, "--no-store", "--report", tmp_path / "alone.json")
    assert alone.returncode == 0, alone.stdout + alone.stderr
    runs = 0
    for _ in range(20):
        store = ["--store", tmp_path / "store", "--report", tmp_path / "resumed.json"]
        command = [sys.executable, "-c", KILLED_VARIANTS, "11", "claims", "-q", *map(str, [*given, *store])]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        runs += 1
        if done.returncode != -signal.SIGKILL:
            break
    assert done.returncode == 0, done.stdout + done.stderr
    assert runs == 3  # 32 ablations, eleven a run
    alone, resumed = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("alone", "resumed"))
    assert resumed["rows"] == alone["rows"]
    assert not any(read(file)[0].get("unfinished") for file in Store(tmp_path / "store").entries())
