"""In a workflow of GitHub: what is annotated where, what is added to the summary, and that nothing foreign becomes a command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claims import CLAIMS, Verdict
from reports.__main__ import main
from reports.github import SUMMARY_LIMIT, annotated, command, place_of, tell
from reports.ledger import Ledger
from tests.made_reports import BLOCKS, contents, row, rows

ROOT = Path(__file__).parent.parent
H, F = Verdict.HOLDS, Verdict.FALSIFIED
COMMAND = re.compile(r"::(?P<kind>error|warning|notice)(?: (?P<properties>[^\r\n]*?))?::(?P<message>[^\r\n]*)")
ACTIONS = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(ROOT)}


def read(line):
    """A command as the runner reads it: kind, properties and message, decoded."""
    found = COMMAND.fullmatch(line)
    assert found, line
    properties = dict(pair.split("=", 1) for pair in (found["properties"] or "").split(",") if pair)
    codes = {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}
    decoded = {k: re.sub("|".join(codes), lambda c: codes[c[0]], v) for k, v in properties.items()}
    return found["kind"], decoded, re.sub("%0D|%0A|%25", lambda c: codes[c[0]], found["message"])


def ledger(*made):
    """A ledger of these rows."""
    found = Ledger({(one.cell.model, one.cell.corpus): BLOCKS for one in made})
    for one in made:
        found.add(one)
    return found


def kinds(lines):
    """How many commands there are of each kind."""
    found = [read(line)[0] for line in lines]
    return {kind: found.count(kind) for kind in ("error", "warning", "notice")}


@pytest.mark.parametrize(
    ("made", "fails", "expected"),
    [
        (row("depth_gain", F), True, "error"),
        (row("depth_gain", F), False, "warning"),
        (row("depth_gain", Verdict.ERROR, reason="out of memory"), False, "error"),
        (row("depth_gain", Verdict.UNTESTED, reason="the text is too short"), False, "error"),
        (row("depth_gain", Verdict.INCONCLUSIVE), True, "warning"),
        (row("monotonic", Verdict.INCONCLUSIVE), True, None),
        (row("depth_gain", Verdict.UNTESTED, reason="not selected"), True, None),
        (row("depth_gain", H), True, None),
    ],
)
def test_what_is_to_be_noticed_is_annotated(made, fails, expected):
    """Errors fail the run, warnings do not; what is undecided without being core, or was not asked for, is neither."""
    found = [read(line) for line in annotated(ledger(made), ACTIONS, fails)]
    assert [kind for kind, _, _ in found] == [*([expected] if expected else []), "notice"]
    if expected:
        _, properties, message = found[0]
        assert properties["title"] == f"depth_gain {made.verdict.word}"
        assert message == made.message()


@pytest.mark.parametrize("claim", list(CLAIMS), ids=lambda claim: str(claim.key))
def test_annotations_stand_at_the_tests_of_the_claims(claim):
    """File and line of the function that measures the predicate, relative to the workspace, or whole where it lies elsewhere."""
    from reports.github import _tests

    for predicate in (p for p in claim.predicates if (str(claim.key), p.name) in _tests()):
        made = row(predicate.name, F, predicate.rungs[-1])
        file, line = place_of(made, ACTIONS)
        assert (ROOT / file).is_file()
        assert Path(file).name.startswith("claim_")
        lines = (ROOT / file).read_text().splitlines()
        assert lines[line - 1].startswith("def test_")
        assert f'"{predicate.name}"' in "".join(lines[max(0, line - 8) : line])
        assert place_of(made, {"GITHUB_WORKSPACE": "/elsewhere"})[0] == str(ROOT / file)
    measured = {p.name for p in claim.predicates if p.measured_by}
    assert measured <= {name for key, name in _tests() if key == str(claim.key)}


@pytest.mark.parametrize("count", [9, 10, 11, 40])
def test_at_most_ten_of_a_kind_are_shown_and_the_rest_counted(count):
    """GitHub drops what is above ten without a word."""
    lines = list(annotated(ledger(*(row("depth_gain", F, model=f"m{k}") for k in range(count))), ACTIONS, True))
    assert kinds(lines) == {"error": min(count, 10), "warning": 0, "notice": 1}
    assert any(f"and {count - 9} more" in line for line in lines) is (count > 10)


def test_what_failed_for_one_reason_is_said_once():
    """A model that cannot be had fails every cell: one line with their number."""
    made = [row(name, Verdict.ERROR, reason="gated") for name in ("r2", "depth_gain", "monotonic")]
    lines = list(annotated(ledger(*made, row("depth_trend", Verdict.ERROR, reason="other")), ACTIONS, True))
    assert kinds(lines) == {"error": 2, "warning": 0, "notice": 1}
    assert "gated" in lines[0]
    assert read(lines[0])[2].endswith(", and 2 more cells for the same reason")


def test_the_notice_counts_cells_and_says_the_verdicts_on_strict():
    """In one line."""
    *_, last = annotated(ledger(*rows(H, 4), row("monotonic", F)), ACTIONS, False)
    _, properties, message = read(last)
    assert properties == {"title": "Transformer Assay"}
    assert "2 HOLDS, 1 FALSIFIED" in message
    assert message.endswith("on strict: claim 4 HOLDS")


@settings(max_examples=100, deadline=None)
@given(st.text(), st.text("%\r\n:,=0AD ;#[]\u2028\x1b"))
def test_nothing_foreign_leaves_its_place(message, title):
    """One line, one command, whatever is in message and property; percent signs come back as they were."""
    line = command("error", message, file="a", title=title)
    assert len(line.splitlines()) == 1
    kind, properties, told = read(line)
    assert kind == "error"
    assert set(properties) == {"file", *(["title"] if title else [])}
    if message.isprintable():
        assert told == message[:1000]
    assert properties.get("title", "").count("%") == title.count("%")


def test_a_hostile_name_injects_no_command():
    """A model whose name ends the line and begins a command."""
    lines = list(annotated(ledger(row("depth_gain", F, model="x\n::error::pwned\r::set-output name=a::b")), ACTIONS, True))
    assert kinds(lines) == {"error": 1, "warning": 0, "notice": 1}
    assert all(line.splitlines() == [line] for line in lines)


def test_the_summary_is_added_to_what_is_there(tmp_path):
    """Other tools of the step write to it too; without the other variable nothing is printed."""
    file = tmp_path / "summary.md"
    file.write_text("before\n")
    made = row("depth_gain", F)
    assert list(tell(ledger(made), contents(made), {"GITHUB_STEP_SUMMARY": str(file)}, True)) == []
    assert file.read_text().startswith("before\n\n## Transformer Assay\n")


def test_the_summary_keeps_to_the_limit_of_a_step(tmp_path):
    """Counting what is there; where nothing more fits, that is said."""
    file, made = tmp_path / "summary.md", row("depth_gain", F)
    file.write_text("x" * (SUMMARY_LIMIT - 1500))
    assert list(tell(ledger(made), contents(made), {"GITHUB_STEP_SUMMARY": str(file)}, True)) == []
    assert SUMMARY_LIMIT - 1500 < file.stat().st_size <= SUMMARY_LIMIT
    assert "**Cut**" in file.read_text()
    file.write_text("x" * SUMMARY_LIMIT)
    (line,) = tell(ledger(made), contents(made), {"GITHUB_STEP_SUMMARY": str(file)}, True)
    assert "no summary written (it is full)" in line
    assert file.stat().st_size == SUMMARY_LIMIT


@pytest.mark.parametrize("place", ["nowhere/summary.md", ".", "a\0b"])
def test_a_summary_that_cannot_be_written_is_a_line(tmp_path, place):
    """And no failure: figures and report are there."""
    made = row("depth_gain", F)
    (line,) = tell(ledger(made), contents(made), {"GITHUB_STEP_SUMMARY": str(tmp_path / place)}, True)
    assert "no summary written" in line
    assert len(line.splitlines()) == 1


def test_outside_a_workflow_nothing_is_told():
    """Nor where the variables are empty."""
    made = row("depth_gain", F)
    for environment in ({}, {"GITHUB_STEP_SUMMARY": "", "GITHUB_ACTIONS": "false"}):
        assert list(tell(ledger(made), contents(made), environment, True)) == []


@pytest.mark.parametrize("verdicts", ["fail", "report"])
def test_a_run_in_a_workflow_tells_of_itself(claims, tmp_path, monkeypatch, verdicts):
    """``pytest claims`` on a model that falsifies claim 4: a summary, and annotations on lines of their own."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(ROOT))
    result = claims("-m", "strict and claim4", f"--verdicts={verdicts}", model="falling")
    assert result.ret == (1 if verdicts == "fail" else 0)
    lines = [line for line in result.outlines if line.startswith("::")]
    assert kinds(lines) == {"error": 3 * (verdicts == "fail"), "warning": 3 * (verdicts == "report"), "notice": 1}
    assert all(read(line)[1]["file"] == "claims/claim_4_linearity_grows_with_depth.py" for line in lines[:3])
    assert "✗ FALSIFIED" in (tmp_path / "summary.md").read_text()


def test_workers_leave_telling_to_the_main_process(claims, tmp_path, monkeypatch):
    """One summary, one notice, with two workers; a summary that cannot be written leaves the exit code."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    result = claims("-k", "depth_trend and paper", "-n", "1", model="short")  # Not applicable: no worker loads anything.
    assert result.ret == 0
    assert result.report["rows"]
    assert sum(line.startswith("::notice") for line in result.outlines) == 1
    result.stdout.fnmatch_lines(["GITHUB_STEP_SUMMARY *: no summary written (it is not a plain file)"])


def test_a_run_with_a_baseline_annotates_what_flipped(claims, pytester, monkeypatch):
    """A known falsification is a warning, a flipped verdict an error; the summary and ``markdown --baseline`` say which."""
    claims("--verdicts=report", model="falling")
    assert main(["baseline", "report.json", "--to", "kept.json"]) == 0
    kept = json.loads((pytester.path / "kept.json").read_text())
    (subject,) = kept["subjects"].values()
    subject["cells"]["monotonic-falling-text-strict"]["verdict"] = "holds"
    (pytester.path / "kept.json").write_text(json.dumps(kept))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))
    result = claims("--baseline=kept.json", model="falling")
    assert result.ret == 1
    errors = [line for line in result.stdout.lines if line.startswith("::error")]
    assert len(errors) == 1
    assert "monotonic FALSIFIED" in errors[0]
    assert errors[0].endswith("; another verdict than the baseline's")
    assert sum(line.startswith("::warning") for line in result.stdout.lines) == 7
    told = (pytester.path / "summary.md").read_text()
    assert main(["markdown", "report.json", "--baseline", "kept.json", "--output", "again.md"]) == 0
    for text in (told, (pytester.path / "again.md").read_text()):
        (line,) = [line for line in text.partition("### Against the baseline")[2].partition("###")[0].splitlines() if "monotonic" in line]
        assert "| HOLDS | FALSIFIED |" in line


def test_a_card_has_no_baseline(pytester):
    """It tells what is; a baseline is refused with it."""
    assert main(["markdown", "none.json", "--for", "card", "--baseline", "kept.json"]) == 4
