"""Advice is given where a claim holds on ``strict``, and where it is not, the reason is the right one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claims import CLAIMS, Verdict
from claims.declared import all_predicates
from harness.errors import LongWorkError
from reports.document import from_contents
from reports.guidance import advice
from reports.ledger import figure_text
from reports.recommendations import RECOMMENDATIONS
from tests.made_reports import contents, document, row, rows

CLAIMED = [1, 2, 3, 4, 5]
H, F, U, E, M = Verdict.HOLDS, Verdict.FALSIFIED, Verdict.UNTESTED, Verdict.ERROR, Verdict.MEASURED
UNDECIDED, ABSENT = Verdict.INCONCLUSIVE, Verdict.NOT_APPLICABLE


def of(claim, *made, model="m", corpus="c", **facts):
    """The advice of one claim from these rows."""
    return next(one for one in advice(document(*made, **facts), model, corpus) if one.claim == claim)


def test_there_is_one_piece_for_each_claim_in_their_order():
    """The appendix, which no advice follows from, has none."""
    assert [one.claim for one in advice(document(*rows(H, 1)), "m", "c")] == [claim.key for claim in CLAIMS if claim.key != "appendix"]


def test_what_is_read_is_declared():
    """Every figure and premise names a predicate that exists on strict: a name that is wrong would never be shown, or never fail."""
    known = {predicate.name for _, predicate in all_predicates() if "strict" in predicate.rungs}
    for one in RECOMMENDATIONS:
        assert {*one.figures, *(premise.predicate for premise in one.premises)} <= known
        assert {premise.predicate for premise in one.premises} <= set(one.figures) | {"strictly"}


@pytest.mark.parametrize("claim", CLAIMED)
def test_advice_is_given_where_the_claim_holds(claim):
    """With every figure behind it, and the text that it was measured on."""
    made = rows(H, claim, core=False)
    found = of(claim, *made)
    one = next(one for one in RECOMMENDATIONS if one.claim == claim)
    assert found.given
    assert found.title == one.title
    assert found.text.startswith(one.text)
    assert one.scope in found.text
    assert "HOLDS on strict" in found.because
    for measured in made:
        if measured.cell.predicate in one.figures:
            assert f"{one.figures[measured.cell.predicate]}: {figure_text(measured)}".casefold() in found.text.casefold()
    assert "Measured on one text, c;" in found.text


@pytest.mark.parametrize("verdict", [v for v in Verdict if v is not H])
@pytest.mark.parametrize("claim", CLAIMED)
def test_no_advice_is_given_where_it_does_not(claim, verdict):
    """Whatever else its core predicates came out as, on one of them, although all hold on paper."""
    first, *others = rows(H, claim)
    worse = row(first.cell.predicate, verdict, reason="some reason")
    found = of(claim, *rows(H, claim, "paper"), *others, worse)
    if verdict is ABSENT and others:  # A claim holds when every core predicate that applies does.
        assert found.given
        assert f"cannot express: {first.cell.predicate} (some reason)" in found.text
        return
    assert not found.given
    assert found.title.startswith("No advice on ")
    assert "no such advice for this model" in found.text
    expected = {M: "INCONCLUSIVE", ABSENT: "INCONCLUSIVE"}.get(verdict, verdict.word)
    assert f"is {expected} on strict" in found.because
    assert found.because in found.text


@pytest.mark.parametrize("claim", CLAIMED)
def test_a_falsified_claim_says_by_what(claim):
    """Predicate, figure, interval, bound; its caveats; and that the opposite is no advice either."""
    first, *others = rows(H, claim)
    worse = row(first.cell.predicate, F, caveats=("weights were quantised before",))
    found = of(claim, *others, worse)
    assert f"Falsified: {first.cell.predicate} (" in found.text
    assert f"{figure_text(worse)}, {worse.bound.describe(F)}" in found.text
    assert "Caveats: weights were quantised before." in found.text
    assert "It does not follow that" in found.text
    assert not any(other.cell.predicate in found.text for other in others)


def test_what_is_undecided_is_said_with_what_would_decide():
    """The interval and both bounds; what is in doubt says the doubt."""
    unsure = row("depth_gain", UNDECIDED, margin=-0.1, reason="about 90 windows would decide; more")
    doubtful = row("depth_trend", UNDECIDED, margin=None, caveats=("changed on half the windows",), reason="in doubt")
    found = of(4, unsure, doubtful)
    assert f"{figure_text(unsure)}, holds at ≥ 0.3, falsified at ≤ 0 (about 90 windows would decide)" in found.text
    assert f"{figure_text(doubtful)}, holds at ≥ 0.5, falsified at ≤ 0 (changed on half the windows)" in found.text


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("not selected", 'Run pytest claims -m "claim4 and strict" with'),
        (LongWorkError.REASON, 'Run pytest claims -m "claim4 and strict" --long, best on a GPU, with'),
        ("the text is too short", "Not measured: depth_trend, depth_gain (the text is too short)."),
    ],
)
def test_what_is_untested_says_what_to_run(reason, told):
    """A command, with --long where that is missing; where running again does not help, why."""
    assert told in of(4, *rows(U, 4, reason=reason)).text


def test_an_error_says_what_failed():
    """In the words of the row."""
    assert (
        "Could not be measured: depth_gain: out of memory."
        in of(4, row("depth_trend", H), row("depth_gain", E, reason="out of memory")).text
    )


def test_what_a_model_cannot_express_is_no_hold():
    """With every core predicate out of its reach there is nothing to advise from."""
    found = of(4, *rows(ABSENT, 4, reason="needs 8 blocks, the model has 3"))
    assert not found.given
    assert "The model cannot express it: depth_trend: needs 8 blocks, the model has 3" in found.text


def test_a_quick_run_advises_nothing():
    """Its figures are shown as such."""
    made = rows(M, 4, quick=True)
    found = of(4, *made, quick=True)
    assert not found.given
    assert "--quick" in found.text
    assert figure_text(made[0]) in found.text


def test_the_control_that_took_a_claim_away_is_named():
    """Where it holds on paper and not on strict."""
    on_paper, on_strict = rows(H, 4, "paper"), [row("depth_trend", F), row("depth_gain", H)]
    text = of(4, *on_paper, *on_strict).text
    assert "On paper, without the controls, it holds (depth_trend: HOLDS on paper; " in text
    assert "(strict) makes it FALSIFIED)" in text
    assert "On paper it is FALSIFIED." in of(4, *rows(F, 4, "paper"), *rows(UNDECIDED, 4)).text


@pytest.mark.parametrize("name", ["r2_guides", "late_is_cheap"])
def test_a_claim_that_holds_carries_no_advice_whose_premise_is_falsified(name):
    """The step from it was measured, and fails; undecided or not measured, that is a limit instead."""
    found = of(4, *rows(H, 4), worse := row(name, F))
    assert not found.given
    assert "Although the claim holds" in found.text
    assert f"but FALSIFIED: {name}" in found.because
    assert f"({name} {figure_text(worse)}, falsified at ≤ 0)" in found.text
    found = of(4, *rows(H, 4), unsure := row(name, UNDECIDED))
    assert found.given
    assert f"(undecided: {name} {figure_text(unsure)}" in found.text
    assert f"(not measured: {name})" in of(4, *rows(H, 4)).text


def test_limits_are_said_beside_advice_that_stands():
    """A dear way out, a map that is not small, a rotation that does better, ends that matter alike."""
    assert "it is dear (routing_cost " in of(5, *rows(H, 5), row("routing_cost", H)).text
    assert "costs little perplexity here (routing_cost " in of(5, *rows(H, 5), row("routing_cost", F)).text
    assert "saves little (compression " in of(2, *rows(H, 2), row("compression", F)).text
    assert "unfactored, not unrotated (challenger_hadamard " in of(3, *rows(H, 3), row("challenger_hadamard", F)).text
    assert "protect it too (importance_u_shape " in of(4, *rows(H, 4), row("importance_u_shape", H)).text
    assert "not supported here: some directions" in of(1, *rows(H, 1), row("sensitivity_gini", F)).text


def test_advice_that_leans_on_another_claim_says_when_that_one_does_not_hold():
    """To quantise directly instead of replacing more blocks rests on claim 3."""
    assert "does not hold on strict here (FALSIFIED)." in of(2, *rows(H, 2), *rows(F, 3)).text
    assert "does not hold on strict here" not in of(2, *rows(H, 2), *rows(H, 3)).text


def test_other_texts_and_changed_bounds_are_said():
    """What another text of the report says of the same claim; and bounds that are not as they were locked."""
    made = [*rows(H, 4), *rows(F, 4, corpus="other"), *rows(H, 4, model="n", corpus="third")]
    assert "Measured on one text, c; on other texts of this report the claim is other FALSIFIED." in of(4, *made).text
    unlocked = {"sha256": "b", "locked": False, "amendments": []}
    assert "not those that were locked" in of(4, *rows(H, 4), bounds=unlocked).text
    assert "not those that were locked" not in of(4, *rows(H, 4)).text


def test_caveats_of_core_figures_stand_beside_the_advice():
    """Once each."""
    assert of(4, *rows(H, 4, caveats=("few windows",))).text.count("few windows") == 1


@pytest.mark.parametrize("rest", [rows(F, 4), []])
def test_a_verdict_that_its_rows_do_not_bear_out_is_not_believed(rest):
    """A file says HOLDS of rows that do not, or of none."""
    changed = contents(*rows(H, 1), *rest)
    for claim in changed["claims"]:
        claim["verdict"] = "holds"
    found = next(one for one in advice(from_contents("changed.json", changed), "m", "c") if one.claim == 4)
    assert not found.given
    assert "its rows do not" in found.text


def test_predicates_that_this_version_does_not_know_are_named():
    """A file of another version: its core predicate decides, and is shown by its name."""
    foreign = contents(*rows(H, 4))
    next(one for one in foreign["rows"] if one["predicate"] == "depth_gain" and one["rung"] == "strict").update(
        predicate="new", verdict="falsified"
    )
    for claim in foreign["claims"]:
        claim.update(verdict="falsified", decided_by=["new"])
    found = next(one for one in advice(from_contents("foreign.json", foreign), "m", "c") if one.claim == 4)
    assert "Falsified: new is " in found.text


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_whatever_the_verdicts_advice_follows_only_from_claims_that_hold(data):
    """For any mixture over predicates and rungs: given only where every core row that applies holds, and never without a reason."""
    made = []
    for _, predicate in all_predicates():
        for rung in (rung for rung in ("paper", "strict") if rung in predicate.rungs):
            verdict = data.draw(st.sampled_from([H, H, H, H, F, UNDECIDED, ABSENT, U, E]))
            made.append(row(predicate.name, verdict, rung, reason="r"))
    for one in advice(document(*made), "m", "c"):
        core = {r.verdict for r in made if r.core and r.cell.claim == one.claim and r.cell.rung == "strict"}
        fatal = {p.predicate for r in RECOMMENDATIONS if r.claim == one.claim for p in r.premises if p.fatal}
        failed = any(r.verdict is F and r.cell.predicate in fatal and r.cell.rung == "strict" for r in made)
        assert one.given is (H in core and core <= {H, ABSENT} and not failed)
        assert one.text
        assert one.because
