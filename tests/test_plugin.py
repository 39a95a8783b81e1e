"""``pytest claims`` end to end on planted models: verdicts, letters, messages, table, report, selection."""

from __future__ import annotations

import json

import pytest

from claims.declared import all_predicates
from harness.protocol import Protocol
from reports import baseline_guard
from reports.__main__ import main
from tests import planted
from tests.planted import verdicts


def test_a_rising_gradient_holds(claims):
    """Every predicate of claim 4 that is measured holds, and so does the last block's linearity."""
    result = claims()
    assert result.ret == 0
    found = verdicts(result.report)
    assert {found[name] for name in ("r2", "depth_trend", "depth_gain", "monotonic")} == {"holds"}
    claim = {(c["claim"], c["rung"]): c["verdict"] for c in result.report["claims"]}
    assert claim[4, "paper"] == "holds"
    assert claim[2, "paper"] == "untested"  # its interventions are not measured yet
    assert claim[4, "strict"] == "holds"
    found = verdicts(result.report, "strict")
    assert {found[name] for name in ("r2", "depth_trend", "depth_gain", "monotonic")} == {"holds"}


def test_a_falling_gradient_falsifies(claims):
    """Falsified cells fail the run, each with one line and no traceback."""
    result = claims(model="falling")
    assert result.ret == 1
    for rung in ("paper", "strict"):
        found = verdicts(result.report, rung)
        assert {found[name] for name in ("r2", "depth_trend", "depth_gain", "monotonic")} == {"falsified"}
    line = r"claim 4 · depth_trend · FALSIFIED: −\d\.\d+ \[.*\], falsified at ≤ 0 · falling-\w{8} · text-\w{8} · paper"
    result.stdout.re_match_lines([line])
    assert "Traceback" not in result.stdout.str()
    assert "conftest.py:" not in result.stdout.str()


def test_verdicts_may_be_reported_only(claims):
    """``--verdicts=report``: the same rows, exit code 0."""
    result = claims("--verdicts=report", model="falling")
    assert result.ret == 0
    assert verdicts(result.report)["depth_trend"] == "falsified"


def test_the_figure_of_a_claim_is_its_formula(claims):
    """depth_gain is R² of the last block minus R² of the first, at the level of two core cells; per-block rows share theirs."""
    rows = claims("-m", "paper").report["rows"]
    r2 = {r["block"]: r for r in rows if r["predicate"] == "r2" and r["rung"] == "paper"}
    gain = next(r for r in rows if r["predicate"] == "depth_gain" and r["rung"] == "paper")
    assert gain["value"] == pytest.approx(r2[7]["value"] - r2[0]["value"], rel=1e-12)
    assert gain["level"] == 1 - 0.05 / 2
    assert r2[7]["level"] == 1 - 0.05 / 4
    assert r2[0]["level"] == 1 - 0.05 / 8


def test_a_flat_model_is_not_judged_to_rise(claims):
    """Equal R² in every block never holds."""
    found = verdicts(claims("--verdicts=report", model="flat").report)
    assert found["depth_trend"] != "holds"
    assert found["depth_gain"] != "holds"


def test_what_a_model_cannot_express_is_not_applicable(claims):
    """Rank trends need eight blocks; nothing is loaded for them, and the claim does not hold by default."""
    result = claims(model="short")
    found = verdicts(result.report)
    assert found["depth_trend"] == "not_applicable"
    reason = next(r["reason"] for r in result.report["rows"] if r["predicate"] == "depth_trend" and r["rung"] == "paper")
    assert reason == "needs 8 blocks, the model has 3"
    assert found["depth_gain"] in {"holds", "inconclusive"}


def test_the_report_has_the_settled_fields(claims, pytester):
    """One row for every declared cell; facts about model, text, protocol, machine and time."""
    report = claims("--report", pytester.path / "report.json").report
    assert {"schema", "rows", "claims", "models", "corpora", "protocol", "environment", "timings"} <= set(report)
    assert len(report["rows"]) == sum(len(list(p.cells(8))) for _, p in all_predicates())
    fields = {
        "model",
        "corpus",
        "claim",
        "predicate",
        "rung",
        "block",
        "value",
        "low",
        "high",
        "level",
        "unit",
        "verdict",
        "core",
        "bound",
        "margin",
        "caveats",
        "reason",
        "quick",
        "would",
        "standard_error",
        "origin",
    }
    assert all(set(row) == fields for row in report["rows"])
    judged = next(r for r in report["rows"] if r["predicate"] == "depth_gain" and r["rung"] == "paper")
    assert judged["low"] <= judged["value"] <= judged["high"]
    assert judged["bound"] == {"holds": 0.3, "falsified": 0, "direction": "at_least", "open_holds": False, "open_falsified": False}
    assert judged["margin"] == pytest.approx(judged["low"] - 0.3)
    (model,) = report["models"].values()
    assert len(model["weights"]) == 64
    assert model["n_blocks"] == 8
    (text,) = report["corpora"].values()
    assert text["chosen"] == "read from the path given"
    assert report["protocol"] == Protocol().as_dict()
    assert report["timings"]["wall_seconds"] > 0


def test_the_rungs_between_carry_no_verdict(claims):
    """The rung is there to show what a control moves."""
    report = claims(model="falling").report
    rows = [r for r in report["rows"] if r["rung"] in ("held-out", "typical") and r["value"] is not None]
    assert {r["verdict"] for r in rows} == {"measured"}
    trend = next(r for r in rows if r["predicate"] == "depth_trend")
    assert trend["bound"] is None


def test_the_table_shows_what_a_reader_needs(claims):
    """Verdict, figure, interval, bound, margin, the depth plot, what did not run, the legend."""
    result = claims()
    result.stdout.fnmatch_lines(
        [
            "*verdicts*",
            "rising-???????? · planted, 8 blocks, d = 16",
            "*weights ????????, safetensors, as stored; float32 on cpu*",
            "  linearity by rank-k maps: measured in * s, 32 + 16 windows",
            "claim 1: variance is not importance   paper UNTESTED (2 core not run)*",
            "claim 4: linearity increases with depth   paper HOLDS   strict HOLDS",
            "*depth_trend [*] *paper *HOLDS *[[]*[]] *≥ 0.5 | ≤ 0*",
            "  depth_trend: no control moves it: HOLDS from paper to strict",
            "UNTESTED, not selected: projection_ppl_ratio*",
            "UNTESTED, this version has no measurement of it: kv_cache",
            "R² of every block*",
            "*7 *p*",
            "Rungs, each with one control more*",
            "Bounds ????????, as locked.",
            "report: *report.json",
        ]
    )


def test_letters_and_words(claims):
    """One letter a cell; pytest's summary counts verdicts."""
    result = claims("-v", model="falling")
    result.stdout.fnmatch_lines(["*test_linearity_rises_with_depth*-paper* FALSIFIED*"])
    result.stdout.fnmatch_lines(["*test_block_is_linear*-paper-block0* MEASURED*"])
    result.stdout.fnmatch_lines(["*8 falsified*"])


def test_junit_has_skipped_for_what_is_not_decided(claims, pytester):
    """Inconclusive and not applicable are <skipped> with the reason, falsified a failure with the line."""
    import xml.etree.ElementTree as ET

    claims("--junitxml=j.xml", model="short")
    suite = ET.parse(pytester.path / "j.xml").getroot().find("testsuite")
    skipped = [case.find("skipped").get("message") for case in suite if case.find("skipped") is not None]
    assert any("needs 8 blocks" in message for message in skipped)
    claims("--junitxml=k.xml", model="falling")
    suite = ET.parse(pytester.path / "k.xml").getroot().find("testsuite")
    failures = [case.find("failure").get("message") for case in suite if case.find("failure") is not None]
    assert len(failures) == 8
    assert all("FALSIFIED" in message for message in failures)


def test_a_comparison_that_fails_does_not_cost_the_report(claims, monkeypatch, pytester):
    """It is written before anything is compared, and again with what came of it; a fault is said in a line, exit code 6."""
    given = ("-m", "paper", "--report=r.json")
    claims(*given)
    assert main(["baseline", str(pytester.path / "r.json"), "--to", str(pytester.path / "b.json")]) == 0
    rows = json.loads((pytester.path / "r.json").read_text())["rows"]
    (pytester.path / "r.json").unlink()
    before = []

    def fail(*_):
        before.append(json.loads((pytester.path / "r.json").read_text()))
        raise KeyError("what it did not expect")

    monkeypatch.setattr(baseline_guard, "compare", fail)
    result = claims(*given, "--baseline=b.json")
    assert result.ret == 6
    result.stdout.fnmatch_lines(["ERROR: the comparison failed (KeyError: 'what it did not expect')*", "report: *r.json"])
    assert [report["rows"] for report in before] == [rows]
    after = json.loads((pytester.path / "r.json").read_text())
    assert after["rows"] == rows
    assert after["baseline"]["exit_code"] == 6


def test_nothing_selected_is_not_green(claims):
    """Exit code 5 and no report."""
    result = claims("-k", "no_such_test")
    assert result.ret == 5
    result.stdout.fnmatch_lines(
        ["nothing is selected; measured in this version: claim1 (projection_ppl_ratio), *; models at hand: rising-*"]
    )
    assert claims("-m", "claim1").ret == 5
    assert result.report is None


def test_selection_by_marker(claims):
    """Claims, rungs and core are markers; what was not selected is UNTESTED and keeps a claim from holding."""
    result = claims("-m", "claim4 and paper and core")
    ran = {row["predicate"] for row in result.report["rows"] if row["value"] is not None}
    assert ran == {"depth_trend", "depth_gain"}
    assert {row["reason"] for row in result.report["rows"] if row["predicate"] == "r2" and row["rung"] == "paper"} == {"not selected"}
    result = claims("-m", "planted_family and held-out")
    assert {row["rung"] for row in result.report["rows"] if row["value"] is not None} == {"held-out"}


def test_two_corpora_are_two_tables(claims, shelf):
    """Every row names its corpus; the model is loaded once."""
    planted.corpus(shelf / "more", evaluation=17 * 256)
    (shelf / "more" / "train.txt").write_text(planted.words(32 * 256, seed=5))
    result = claims("--corpus", shelf / "more")
    assert len({row["corpus"] for row in result.report["rows"]}) == 2
    assert sum(line.startswith("rising-") for line in result.stdout.lines) == 2
    found = gains(result.report["rows"])
    assert len(set(found.values())) == 2
    for text in ("text", "more"):
        (alone,) = gains(claims("--no-store", text=text).report["rows"]).items()
        assert alone in found.items()


def gains(rows):
    """depth_gain on paper, by corpus."""
    return {row["corpus"]: row["value"] for row in rows if row["predicate"] == "depth_gain" and row["rung"] == "paper"}


def test_workers_give_the_same_rows(claims):
    """With xdist one report holds every row, equal to those of one process."""
    alone = claims("--verdicts=report", model="llama").report["rows"]
    result = claims("--verdicts=report", "-n", "2", model="llama")
    assert result.ret == 0
    together = result.report["rows"]
    for field in ("verdict", "reason", "caveats", "bound"):
        assert [r[field] for r in together] == [r[field] for r in alone]
    for a, b in zip(alone, together, strict=True):
        assert a["value"] == b["value"] or a["value"] == pytest.approx(b["value"], rel=1e-5)
