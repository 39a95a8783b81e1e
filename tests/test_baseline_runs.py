"""``pytest claims --baseline`` in processes of its own: weights, text, a bound and code are really changed, and named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from reports import baseline
from reports.__main__ import main
from tests import planted
from tests.conftest import LINEARITY, ROOT

PACKAGES = ("fixtures", "harness", "claims", "reports")
TESTS = [Path(test).name for test in LINEARITY]
CHANGED = "  changed: "


class Workplace:
    """A user's folder: a model, a text, a store, a baseline of what was measured first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments, project=ROOT, tests=TESTS, rungs="paper"):
        """Run the four tests of linearity; the process and its report."""
        report = self.folder / "report.json"
        report.unlink(missing_ok=True)
        files = [f"{project}/claims/{test}" for test in tests]
        given = ["--model=./model", "--corpus=text", "--store=store", "-m", rungs, *map(str, arguments)]
        command = [sys.executable, "-m", "pytest", *files, "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *given]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=300)
        done.report = json.loads(report.read_text()) if report.exists() else None
        done.section = done.stdout.partition("= baseline =")[2].partition("\n")[2].partition("\nreport: ")[0].splitlines()
        return done

    def changed_project(self, name, file, *changes):
        """A copy of the project in which lines of files are changed."""
        copy = self.folder / name
        for package in PACKAGES:
            shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
        for part in ("conftest.py", "pyproject.toml"):
            shutil.copy(ROOT / part, copy)
        for path, line, other in (file, *changes):
            text = (copy / path).read_text()
            assert text.count(line) == 1
            (copy / path).write_text(text.replace(line, other))
        return copy


@pytest.fixture(scope="module")
def first(tmp_path_factory, shelf):
    """The first run and its baseline: ``depth_trend`` and ``monotonic`` hold, R² of the last block is falsified."""
    folder = tmp_path_factory.mktemp("baseline")
    shutil.copytree(shelf / "llama", folder / "model")
    planted.corpus(folder / "text")
    place = Workplace(folder)
    done = place.run("--verdicts=report")
    assert done.returncode == 0, done.stdout + done.stderr
    assert main(["baseline", str(folder / "report.json"), "--to", str(folder / "b.json")]) == 0
    return place


@pytest.fixture
def place(first, tmp_path):
    """A copy of the first run's folder, to change; what was measured is at hand."""
    shutil.copytree(first.folder, tmp_path / "place")
    return Workplace(tmp_path / "place")


def causes(section):
    """Of every flipped cell what changed, and the lines that name it."""
    lines = [line for line in section if line.startswith(("FLIPPED", "UNEXPECTED")) and "/" not in line.split(" · ")[0]]
    cells = [line for line in lines if line.count(" · ") == 4]
    after = {line: section[section.index(line) + 2] for line in cells}
    assert all(why.startswith(CHANGED) for why in after.values())
    return cells, {why.removeprefix(CHANGED) for why in after.values()}


def test_the_same_again_passes_with_its_falsifications(place):
    """Exit code 0 although a cell is falsified, which without a baseline is 1; the comparison is in the report."""
    done = place.run("--baseline=b.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "falsified" in {row["verdict"] for row in done.report["rows"]}
    assert done.section == ["baseline b.json: 4 cells and 2 claims stand"]
    assert done.report["baseline"]["stand"] == 6
    assert done.report["baseline"]["exit_code"] == 0
    assert place.run().returncode == 1


def test_changed_weights_are_named(place):
    """The same folder, other weights: what flipped is put down to them alone; amended with a reason, the new ones pass."""
    file = place.folder / "model" / "model.safetensors"
    weights = load_file(file)
    louder = {name: 8 * w if "o_proj" in name or "down_proj" in name else w for name, w in weights.items()}
    save_file(louder, file, metadata={"format": "pt"})
    done = place.run("--baseline=b.json")
    assert done.returncode == 1, done.stdout + done.stderr
    cells, why = causes(done.section)
    assert any(line.startswith("UNEXPECTED HOLDS: claim 2 · r2 · model-") and line.endswith("FALSIFIED → HOLDS") for line in cells)
    old, new = (baseline.read(place.folder / "b.json").setups.popitem()[1], next(iter(done.report["models"].values())))
    assert why == {f"weights {old['weights'][:8]} → {new['weights'][:8]}"}
    assert done.report["baseline"]["exit_code"] == 1
    assert any("is compared with what was kept of model-" in line for line in done.section)
    report, kept = str(place.folder / "report.json"), str(place.folder / "b.json")
    assert main(["baseline", report, "--check", kept]) == 1
    assert main(["baseline", report, "--to", kept, "--amend", "--reason", "louder blocks"]) == 0
    again = place.run("--baseline=b.json")
    assert again.returncode == 0, again.stdout + again.stderr
    (subject,) = baseline.read(kept).subjects.values()
    r2 = subject.cells["r2-model-text-paper-block7"]
    assert (r2.verdict, r2.reason, [(past.verdict, past.reason) for past in r2.history]) == (
        "holds",
        "louder blocks",
        [("falsified", "as first recorded")],
    )


def test_a_changed_text_is_named(place):
    """Three words in the place of 512."""
    for name, count, seed in (("train.txt", 32, 1), ("test.txt", 16, 2)):
        (place.folder / "text" / name).write_text(planted.words(count * 256, 3, seed))
    done = place.run("--baseline=b.json")
    assert done.returncode == 1, done.stdout + done.stderr
    cells, why = causes(done.section)
    assert any(line.startswith("FLIPPED: claim 4 · monotonic · ") and line.endswith("HOLDS → FALSIFIED") for line in cells)
    (cause,) = why
    assert cause.startswith("text ")
    assert ";" not in cause


def test_a_changed_bound_is_named(place):
    """The figure is what it was, from the store: the bound alone, and not the code that holds it."""
    line = "            both(at_least(0.8, 0.4)),\n"
    project = place.changed_project("other", ("claims/declared.py", line, line.replace("0.8, 0.4", "1.5, 1.2")))
    done = place.run("--baseline=b.json", project=project)
    assert done.returncode == 1, done.stdout + done.stderr
    cells, why = causes(done.section)
    assert [line.split(" · ")[1] for line in cells] == ["monotonic"]
    assert why == {"bound ≥ 0.8 | ≤ 0.4 → ≥ 1.5 | ≤ 1.2; the figure is what it was"}


def test_changed_code_is_named(place):
    """One line of a measurement, and its version, which has it measured again."""
    project = place.changed_project(
        "other",
        ("harness/rank_linearity.py", "        y = after.to(self._device).double() - x\n", "        y = after.to(self._device).double()\n"),
        (
            "harness/measurement.py",
            '    "linearity by rank-k maps", 1, PAPER,',
            '    "linearity by rank-k maps", 2, PAPER,',
        ),
    )
    done = place.run("--baseline=b.json", project=project)
    assert done.returncode == 1, done.stdout + done.stderr
    _, why = causes(done.section)
    (cause,) = why
    assert cause.startswith("code ")
    assert cause.endswith(", version of 'linearity by rank-k maps' 1 → 2")
    assert ";" not in cause


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_a_test_that_is_gone_is_not_one_that_was_not_selected(place, workers):
    """Its cell and claim fail the build, with workers too; those of tests that -k leaves out, or that ids do not name, do not."""
    file = "claim_4_linearity_grows_with_depth.py"
    project = place.changed_project("other", (f"claims/{file}", "def test_linearity_never_falls(", "def check_linearity_never_falls("))
    given = ["--baseline=b.json", "-k", "test_linearity_rises_with_depth", *workers]
    done = place.run(*given, project=project, tests=[file])
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.section[0].startswith("NOT MEASURED: claim 4 · monotonic · model-")
    assert done.section[1] == "  because: no test of it was found"
    assert done.section[-1] == "baseline b.json: 1 cell stands, 1 cell not measured any more, 2 cells and 2 claims not selected"
    assert place.run(*given, tests=[file]).returncode == 0
    assert place.run(*given, project=project, tests=[f"{file}::test_linearity_rises_with_depth"]).returncode == 0


def test_what_was_not_selected_is_said_and_nothing_at_all_is_an_error(place):
    """A part of the baseline passes; a run that measured none of it does not; nor does one of nothing."""
    done = place.run("--baseline=b.json", tests=TESTS[1:2])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.section == ["baseline b.json: 1 cell stands, 3 cells and 2 claims not selected"]
    done = place.run("--baseline=b.json", tests=TESTS[1:2], rungs="held-out")
    assert done.returncode == 4, done.stdout + done.stderr
    assert done.section[0] == "ERROR: no cell of the baseline was measured in this run"


def test_bad_baselines_end_a_run_before_anything_is_loaded(claims, first, pytester, shelf):
    """An id that matches nothing, a file that is none, --quick, the report's own place: exit code 4, one line, no report."""
    text = (first.folder / "b.json").read_text()
    (pytester.path / "stale.json").write_text(text.replace('"monotonic-', '"monotone-'))
    (pytester.path / "claim.json").write_text(text.replace('"claim 4 · paper"', '"claim 4 · papre"'))
    (pytester.path / "good.json").write_text(text)
    shutil.copytree(first.folder / "model", pytester.path / "model")
    shutil.copytree(first.folder / "text", pytester.path / "text")
    for words, message in (
        (
            ["--baseline=stale.json"],
            "*--baseline stale.json: monotone-model-text-paper matches no cell * (did you mean 'monotonic-model-text-paper'?)*",
        ),
        (
            ["--baseline=claim.json"],
            "*--baseline claim.json: claim 4 · papre matches no claim * (did you mean 'claim 4 · paper'?)*",
        ),
        (["--baseline=none.json"], "*--baseline none.json: cannot be read (No such file or directory); expected a baseline*"),
        (["--baseline="], "*--baseline: empty; expected a file*"),
        (["--baseline=good.json", "--quick"], "*--baseline good.json: with --quick nothing is judged*"),
        (["--baseline=good.json", "--report=good.json"], "*--baseline good.json: the report would go there*"),
        (["--baseline=good.json", f"--model={shelf / 'short'}"], "*4 ids of model/text match nothing*"),
    ):
        model = [] if any(word.startswith("--model") for word in words) else ["--model=./model"]
        result = claims(*words, *model, "--corpus=text", model=None, text=None)
        assert result.ret == 4, words
        result.stderr.fnmatch_lines([message])
        assert not (pytester.path / "report.json").exists()
    assert (pytester.path / "good.json").read_text() == text


def test_a_model_that_cannot_be_measured_any_more_is_an_error(claims, first, pytester, shelf):
    """Exit code 6, as without a baseline; what was lost is named with the reason."""
    shutil.copytree(shelf / "broken", pytester.path / "model")
    shutil.copytree(first.folder / "text", pytester.path / "text")
    result = claims(f"--baseline={first.folder / 'b.json'}", "--model=./model", "--corpus=text", "-m", "paper", model=None, text=None)
    assert result.ret == 6
    result.stdout.fnmatch_lines(["NOT MEASURED: claim 4 · monotonic · model-*: HOLDS → ERROR", "*because: *changes the stream between*"])
    assert {lost["now"] for lost in result.report["baseline"]["lost"]} == {"error"}
