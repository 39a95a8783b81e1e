"""A baseline: which verdicts it keeps, what a change of them is called and put down to, and that its file is whole or refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from claims import Bound, Verdict
from reports import baseline
from reports.baseline_amending import new
from reports.baseline_causes import NOTHING
from reports.baseline_check import as_json, compare
from reports.baseline_subjects import match
from reports.baseline_text import lines, summary
from reports.document import ReportError
from tests.made_baselines import CORPUS, FACTS, MODEL, OF_MODEL, contents, document, failed, judged, too_short, with_figures

KEPT = new(document(), "as it is", "2026-01-31")
ID = "{}-mine-words-paper".format


def one(comparison, *kinds, claim=False):
    """The only outcome of these kinds, of a cell or of a claim."""
    (found,) = [outcome for outcome in comparison.of(*kinds) if outcome.of_claim is claim]
    return found


def told(comparison):
    """All that a terminal shows."""
    return "\n".join(lines(comparison, "b.json", "r.json"))


def test_verdicts_are_kept_and_nothing_else():
    """Judged cells and decided claims, with figures, bounds and set-ups; neither MEASURED, UNTESTED nor ERROR."""
    measured = replace(judged("r2", 0.6, 0.1), verdict=Verdict.MEASURED, bound=None)
    measured = replace(measured, cell=replace(measured.cell, block=2))
    not_applicable = failed("r2", Verdict.NOT_APPLICABLE, "the block adds nothing")
    rows = [*with_figures(r2=None, monotonic=None), measured, not_applicable, failed("monotonic")]
    (subject,) = new(document(rows), "why", "2026-01-31").subjects.values()
    assert set(subject.cells) == {ID("depth_trend"), ID("depth_gain"), ID("r2") + "-block7"}
    assert {ident: entry.verdict for ident, entry in subject.claims.items()} == {"claim 4 · paper": "holds"}
    gain = subject.cells[ID("depth_gain")]
    assert (gain.verdict, gain.value, gain.low, gain.high, gain.level) == ("holds", 0.6, 0.5, 0.7, 0.975)
    assert gain.against() == Bound(0.3, 0.0)
    assert (gain.reason, gain.since) == ("why", "2026-01-31")


def test_a_run_like_the_baseline_stands():
    """Known falsifications too: nothing flipped, exit code 0, one line of counts."""
    comparison = compare(KEPT, document())
    assert comparison.exit_code == 0
    assert {outcome.kind for outcome in comparison.outcomes} == {"stands"}
    assert any(outcome.entry.verdict == "falsified" for outcome in comparison.outcomes)
    assert list(lines(comparison, "b.json", "r.json")) == ["baseline b.json: 4 cells and 1 claim stand"]


@pytest.mark.parametrize(
    ("predicate", "figure", "title"),
    [
        ("depth_gain", (-0.5, 0.1), "FLIPPED: claim 4 · depth_gain · mine-0a1b2c3d · words-4e5f6a7b · paper: HOLDS → FALSIFIED"),
        ("depth_gain", (0.3, 0.1), "FLIPPED: claim 4 · depth_gain · mine-0a1b2c3d · words-4e5f6a7b · paper: HOLDS → INCONCLUSIVE"),
        ("monotonic", (0.9, 0.05), "UNEXPECTED HOLDS: claim 4 · monotonic · mine-0a1b2c3d · words-4e5f6a7b · paper: FALSIFIED → HOLDS"),
        ("r2", (0.9, 0.05), "UNEXPECTED HOLDS: claim 2 · r2 · mine-0a1b2c3d/block 7 · words-4e5f6a7b · paper: INCONCLUSIVE → HOLDS"),
        ("r2", (0.2, 0.05), "FLIPPED: claim 2 · r2 · mine-0a1b2c3d/block 7 · words-4e5f6a7b · paper: INCONCLUSIVE → FALSIFIED"),
    ],
)
def test_any_other_verdict_fails(predicate, figure, title):
    """Good news too, under a name of its own; both figures stand below, and the reason why the old verdict was accepted."""
    comparison = compare(KEPT, document(with_figures(**{predicate: figure})))
    assert comparison.exit_code == 1
    assert one(comparison, "flipped").row.cell.predicate == predicate
    text = told(comparison)
    assert title in text.splitlines()
    assert f"→ {figure[0]:.2f}".replace("-", "−") in text or f"→ {figure[0]:.3f}".replace("-", "−") in text
    assert "was kept since 2026-01-31: as it is" in text
    assert ("good news still has to be recorded" in text) is title.startswith("UNEXPECTED")


@pytest.mark.parametrize(
    ("facts", "cause"),
    [
        ({}, NOTHING),
        ({"models": {MODEL: {**OF_MODEL, "weights": "a1" * 32}}}, "weights a0a0a0a0 → a1a1a1a1"),
        ({"models": {MODEL: {**OF_MODEL, "dtype": "bfloat16"}}}, "dtype float32 → bfloat16"),
        ({"corpora": {CORPUS: {**contents()["corpora"][CORPUS], "text": "71" * 32}}}, "text 70707070 → 71717171"),
        ({"protocol": {"window": 256, "seed": 1}}, "protocol.seed 0 → 1"),
        ({"environment": {**FACTS["environment"], "packages": {"torch": "2.14.0"}}}, "torch 2.13.0 → 2.14.0"),
    ],
)
def test_what_changed_is_named_and_no_more(facts, cause):
    """One thing of the set-up differs, and the flip is put down to it alone; to nothing, where nothing does."""
    assert one(compare(KEPT, document(with_figures(depth_gain=(-0.5, 0.1)), **facts)), "flipped").why == (cause,)


def test_code_is_named_with_the_versions_that_bear_on_the_cell():
    """Of the measurements that changed those that the cell is made from; the hash of the bounds is part of the code's."""
    code = {"version": "0.2.0", "sha256": "c1" * 32, "measurements": {"linearity by rank-k maps": 2, "exit heads": 2}}
    facts = {"environment": {**FACTS["environment"], "code": code}, "bounds": {**FACTS["bounds"], "sha256": "b1" * 32}}
    found = one(compare(KEPT, document(with_figures(depth_gain=(-0.5, 0.1)), **facts)), "flipped").why
    assert found == ("code c0c0c0c0 → c1c1c1c1, version 0.1.0 → 0.2.0, version of 'linearity by rank-k maps' 1 → 2",)


def test_a_bound_alone_is_the_cause_where_the_figure_is_what_it_was():
    """Not the code that holds it, nor the weights that changed without effect."""
    code = {**FACTS["environment"]["code"], "sha256": "c1" * 32}
    facts = {"environment": {**FACTS["environment"], "code": code}, "models": {MODEL: {**OF_MODEL, "weights": "a1" * 32}}}
    found = one(compare(KEPT, document(with_figures(depth_gain=(0.6, 0.1, Bound(0.9, 0.8))), **facts)), "flipped")
    assert found.now is Verdict.FALSIFIED
    assert found.why == ("bound ≥ 0.3 | ≤ 0 → ≥ 0.9 | ≤ 0.8", "the figure is what it was")


@pytest.mark.parametrize(("value", "word"), [(0.55, "still be HOLDS"), (-0.5, "be FALSIFIED")])
def test_a_figure_and_a_bound_that_both_changed_are_told_apart(value, word):
    """What the old bound says of the new figure."""
    why = one(compare(KEPT, document(with_figures(depth_gain=(value, 0.1, Bound(0.9, 0.8))))), "flipped").why
    assert why[-1] == f"by the old bound it would {word}"


@pytest.mark.parametrize(("value", "moved"), [(0.6, False), (0.6000001, False), (0.63, False), (0.65, False), (0.66, True), (0.54, True)])
def test_a_figure_that_moved_is_said_and_does_not_fail(value, moved):
    """By more than √(s² + s²) = √2 · 0.1 / 2.49 = 0.057: Student's t for 97.5% and 15 degrees of freedom."""
    assert scipy.stats.t.ppf(0.9875, 15) == pytest.approx(2.490, abs=1e-3)
    comparison = compare(KEPT, document(with_figures(depth_gain=(value, 0.1))))
    assert comparison.exit_code == 0
    assert (f"{ID('depth_gain')}: HOLDS, 0.600 [0.500, 0.700] → " in told(comparison)) is moved


@pytest.mark.parametrize(("row", "reason"), [(failed("depth_gain"), "it burst"), (too_short("depth_gain"), "too little text")])
def test_a_verdict_that_cannot_be_measured_any_more_fails(row, reason):
    """ERROR, or text that is too short: named with the reason, for the cell and the claim that rests on it."""
    comparison = compare(KEPT, document([*with_figures(depth_gain=None), row]))
    assert comparison.exit_code == 1
    assert one(comparison, "lost").why == (reason,)
    assert one(comparison, "lost", claim=True).ident == "claim 4 · paper"
    assert f"because: {reason}" in told(comparison)


def test_what_was_not_selected_is_counted():
    """Neither a pass nor a failure, for the cell and the claim; in the line of counts."""
    comparison = compare(KEPT, document(with_figures(depth_gain=None)))
    assert comparison.exit_code == 0
    assert summary(comparison, "b.json") == "baseline b.json: 3 cells stand, 1 cell and 1 claim not selected"


def test_a_run_of_nothing_that_is_kept_is_no_pass():
    """Cells were measured, none of them is in the baseline."""
    kept = new(document(with_figures(depth_gain=None, monotonic=None, depth_trend=None)), "why", "2026-01-31")
    comparison = compare(kept, document(with_figures(r2=None)))
    assert comparison.exit_code == 4
    assert "ERROR: no cell of the baseline was measured in this run" in told(comparison)


def test_what_is_new_is_named_and_does_not_fail():
    """With the command that adds it."""
    kept = new(document(with_figures(monotonic=None)), "why", "2026-01-31")
    comparison = compare(kept, document())
    assert comparison.exit_code == 0
    assert "new, not in the baseline: monotonic-mine-words-paper" in told(comparison)
    assert "python -m reports baseline r.json --amend --to b.json --reason" in told(comparison)


def test_an_id_that_matches_nothing_is_an_error():
    """Named with what may have been meant; of claims too."""
    (key,) = KEPT.subjects
    for table, wrong, told_so in (
        ("cells", ID("depth_gian"), f"matches no cell of this run (did you mean '{ID('depth_gain')}'?)"),
        ("claims", "claim 4 · papre", "matches no claim of this run (did you mean 'claim 4 · paper'?)"),
    ):
        entries = dict(getattr(KEPT.subjects[key], table))
        entries[wrong] = entries.popitem()[1]
        subject = KEPT.subjects[key].model_copy(update={table: entries})
        comparison = compare(KEPT.model_copy(update={"subjects": {key: subject}}), document())
        assert comparison.exit_code == 4
        assert f"ERROR: {wrong} {told_so}" in told(comparison)


def test_a_claim_flips_with_its_cells():
    """Once more, with the cells that decided it."""
    comparison = compare(KEPT, document(with_figures(depth_gain=(-0.5, 0.1))))
    found = one(comparison, "flipped", claim=True)
    assert (found.entry.verdict, found.now, found.why[0]) == ("holds", Verdict.FALSIFIED, "decided by depth_gain")
    assert "FLIPPED: claim 4 · paper · mine · words: HOLDS → FALSIFIED" in told(comparison)


def subjects(*pairs):
    """A baseline of these models and texts."""
    return new(document(subjects=pairs), "why", "2026-01-31")


A, B = "0000000a", "0000000b"
C, D = "0000000c", "0000000d"


@pytest.mark.parametrize(
    ("kept", "run", "keys", "wrong"),
    [
        ([("m", "t")], [("m", "t")], {("m", "t"): "m/t"}, False),
        ([(f"m-{A}", f"t-{A}")], [(f"m-{B}", f"t-{B}")], {(f"m-{B}", f"t-{B}"): "m/t"}, False),
        (
            [(f"m-{A}", "t"), (f"m-{B}", "t")],
            [(f"m-{B}", "t"), (f"m-{C}", "t")],
            {(f"m-{B}", "t"): f"m-{B}/t", (f"m-{C}", "t"): f"m-{A}/t"},
            False,
        ),
        ([("m", f"t-{A}"), ("n", f"t-{A}")], [("m", f"t-{B}"), ("n", f"t-{B}")], {("m", f"t-{B}"): "m/t", ("n", f"t-{B}"): "n/t"}, False),
        ([(f"m-{A}", "t"), (f"m-{B}", "t")], [(f"m-{C}", "t"), (f"m-{D}", "t")], {}, True),
        ([(f"m-{A}", "t"), (f"m-{B}", "t")], [(f"m-{C}", "t")], {}, True),
        ([(f"m-{A}", "t")], [(f"m-{B}", "t"), (f"m-{C}", "t")], {}, True),
        ([("m", "t"), ("n", "t")], [("m", "t")], {("m", "t"): "m/t"}, False),
        ([("m", "t")], [("m", "t"), ("n", "t")], {("m", "t"): "m/t"}, False),
        ([("m", "t"), ("n", "t")], [("m", "t"), ("o", "t")], {("m", "t"): "m/t"}, True),
        ([("m", "t")], [("o", "t")], {}, True),
    ],
)
def test_models_and_texts_are_matched_without_digits_where_only_one_fits(kept, run, keys, wrong):
    """Whole names first; some of a baseline's models are a run, others in their place are an error."""
    made = subjects(*kept)
    matches = match(made, run)
    assert matches.keys == keys
    assert (matches.error(made) is not None) is wrong
    assert (compare(made, document(subjects=tuple(run))).exit_code == 4) is wrong


def test_the_file_is_sorted_and_read_back(tmp_path):
    """Equal after writing and reading, ids in order, a line a field, nothing of what is default; no set-up that no entry names."""
    file = tmp_path / "b.json"
    baseline.write(file, KEPT.model_copy(update={"setups": {**KEPT.setups, "unused": {"weights": "x"}}}))
    assert baseline.read(file) == KEPT
    text = file.read_text()
    (subject,) = json.loads(text)["subjects"].values()
    assert list(subject["cells"]) == sorted(subject["cells"])
    assert '     "bound": {"holds": 0.3, "falsified": 0.0, "direction": "at_least"},\n' in text
    assert "history" not in text
    assert "removed" not in text
    assert list(tmp_path.iterdir()) == [file]


def damage(**changes):
    """The file with parts changed."""
    made = json.loads(json.dumps(KEPT.model_dump(mode="json", by_alias=True)))
    made.update(changes)
    return json.dumps(made)


ENTRY = {"verdict": "holds", "reason": "why", "since": "2026-01-31", "setup": next(iter(KEPT.setups))}


def with_entry(**changes):
    """The file with one cell, a field of which is changed."""
    return damage(subjects={"m/t": {"model": "m", "corpus": "t", "cells": {"x": {**ENTRY, **changes}}}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[1]", "no baseline"),
        (json.dumps(contents()), "no baseline (this is a report)"),
        (damage(baseline=2), "format 2, and this version reads format 1"),
        (damage(more=1), "more: Extra inputs are not permitted"),
        ('{"baseline": 1, "baseline": 1}', "'baseline' stands twice"),
        (damage(subjects={"m": {"model": "m", "corpus": "t"}}), "'m' is not of the form model/corpus"),
        (with_entry(verdict="measured"), "verdict: Input should be 'holds'"),
        (with_entry(since="yesterday"), "since: Value error, Invalid isoformat string"),
        (with_entry(reason=" "), "reason: String should have at least 1 character"),
        (with_entry(setup="none"), "names a set-up 'none' that the file has not"),
        (with_entry(value="0.1"), "value: Input should be a valid number"),
        (with_entry(value=float("nan")), "NaN is not a number of JSON"),
        (with_entry(bound={"holds": 1, "falsified": [0, 1], "direction": "inside"}), "'inside' takes pairs"),
    ],
)
def test_a_file_that_is_no_baseline_is_refused_in_one_line(tmp_path, text, message):
    """Named with the place and what was expected."""
    (tmp_path / "b.json").write_text(text)
    with pytest.raises(ReportError) as caught:
        baseline.read(tmp_path / "b.json")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=15)
@given(st.text(min_size=1).filter(str.strip), st.floats(-1, 1), st.floats(0, 1))
def test_any_reason_and_figure_is_written_and_shown(tmp_path_factory, reason, value, half):
    """Whatever a reason holds, the file is read back, and the terminal keeps its lines."""
    made = new(document(with_figures(depth_gain=(value, half))), reason[:2000], "2026-01-31")
    file = tmp_path_factory.mktemp("b") / "b.json"
    baseline.write(file, made)
    assert baseline.read(file) == made
    comparison = compare(made, document(with_figures(depth_gain=(value - 2 * half - 5, half))))
    assert all(line.isprintable() for line in lines(comparison, "b.json", "r.json"))
    assert json.dumps(as_json(comparison), allow_nan=False)
