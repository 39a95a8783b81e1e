"""Bounds judge intervals as the protocol says, and claims follow from their core predicates."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claims import CLAIMS, Bound, Verdict
from claims.declared import DEPTH, LINEARITY, all_predicates
from harness.errors import LongWorkError
from harness.protocol import RUNGS
from reports.ledger import Cell, Ledger, Row, judge_claim, number

H, F, I, N, U, E = (  # noqa: E741
    Verdict.HOLDS,
    Verdict.FALSIFIED,
    Verdict.INCONCLUSIVE,
    Verdict.NOT_APPLICABLE,
    Verdict.UNTESTED,
    Verdict.ERROR,
)


@pytest.mark.parametrize(
    ("bound", "low", "high", "verdict", "margin"),
    [
        (Bound(0.8, 0.5), 0.85, 0.9, H, 0.05),
        (Bound(0.8, 0.5), 0.8, 0.9, H, 0.0),
        (Bound(0.8, 0.5), 0.79, 0.9, I, -0.01),
        (Bound(0.8, 0.5), 0.1, 0.5, F, 0.0),
        (Bound(0.8, 0.5), 0.1, 0.51, I, -0.01),
        (Bound(0.1, 0.2, "at_most"), 0.0, 0.05, H, 0.05),
        (Bound(0.1, 0.2, "at_most"), 0.25, 0.3, F, 0.05),
        (Bound(0.1, 0.2, "at_most"), 0.05, 0.15, I, -0.05),
        (Bound((0.25, 0.35), (0.2, 0.4), "inside"), 0.28, 0.33, H, 0.02),
        (Bound((0.25, 0.35), (0.2, 0.4), "inside"), 0.45, 0.5, F, 0.05),
        (Bound((0.25, 0.35), (0.2, 0.4), "inside"), 0.1, 0.15, F, 0.05),
        (Bound((0.25, 0.35), (0.2, 0.4), "inside"), 0.3, 0.38, I, -0.03),
        (Bound(1, 1, open_holds=True, open_falsified=True), 1.0, 1.0, I, 0.0),
        (Bound(1, 1, open_holds=True), 1.0, 1.0, F, 0.0),
        (Bound(0.2, 0.2, "at_most", open_falsified=True), 0.2, 0.2, H, 0.0),
    ],
)
def test_an_interval_is_judged_by_both_bounds(bound, low, high, verdict, margin):
    """HOLDS and FALSIFIED need the whole interval; the margin is the distance to flipping."""
    found, distance = bound.judge(low, high)
    assert found is verdict
    assert distance == pytest.approx(margin)


@given(st.floats(-3, 3), st.floats(0, 3), st.floats(-2, 2), st.floats(0, 2))
def test_narrowing_an_interval_never_reverses_a_verdict(middle, half, falsified, gap):
    """A narrower interval inside a decided one has the same verdict and no smaller margin."""
    bound = Bound(falsified + gap, falsified)
    verdict, margin = bound.judge(middle - half, middle + half)
    narrower, better = bound.judge(middle - half / 2, middle + half / 2)
    if verdict is not I:
        assert narrower is verdict
        assert better >= margin


def test_an_infinite_interval_is_not_judged():
    """Non-finite figures never become verdicts."""
    for low, high in ((math.nan, 1), (0, math.inf)):
        with pytest.raises(ValueError, match="finite"):
            Bound(1, 0).judge(low, high)


def row(verdict: Verdict, core: bool = True, name: str = "q") -> Row:
    """A row of some cell."""
    return Row(Cell("m", "c", 2, name, "paper"), verdict, "", core)


@pytest.mark.parametrize(
    ("core", "expected"),
    [
        ([H, H], H),
        ([H, N], H),
        ([H, I], I),
        ([H, U], U),
        ([H, E], E),
        ([U, E], E),
        ([F, E, U, I], F),
        ([N, N], I),
        ([I, U], U),
    ],
)
def test_a_claim_follows_from_its_core_predicates(core, expected):
    """FALSIFIED beats ERROR beats UNTESTED; HOLDS needs every applicable one, and one."""
    assert judge_claim([row(v) for v in core])[0] is expected


def test_predicates_that_are_not_core_decide_nothing():
    """A falsified side finding leaves the claim standing; a claim without core predicates is only measured."""
    assert judge_claim([row(H), row(F, core=False)])[0] is H
    assert judge_claim([row(F, core=False)])[0] is Verdict.MEASURED


def test_exit_codes():
    """6 beats 1; a falsified cell passes when verdicts are only reported; a cell that bad input kept from running is 4."""

    def code(*verdicts, fails=True):
        ledger = Ledger({("m", "c"): 4})
        for i, verdict in enumerate(verdicts):
            ledger.add(row(verdict, name=f"q{i}"))
        return ledger.exit_code(fails)

    assert code(H, I, N, Verdict.MEASURED) == 0
    assert code(H, F) == 1
    assert code(H, F, fails=False) == 0
    assert code(F, E) == 6
    assert code(F, E, fails=False) == 6
    assert code(F, U) == 4
    ledger = Ledger({("m", "c"): 4}, selected={"q0-m-c-paper", "q1-m-c-paper"})
    ledger.add(row(F, name="q0"))
    assert ledger.exit_code(falsified_fails=False) == 6  # q1 was selected and never ran
    assert ledger.exit_code(falsified_fails=True) == 1


def test_long_work_that_was_not_asked_for_is_no_fault_and_no_pass():
    """It leaves the exit code alone; a session of nothing else measured nothing."""
    ledger = Ledger({("m", "c"): 4})
    ledger.add(replace(row(U, name="q0"), reason=LongWorkError.REASON))
    assert ledger.exit_code(falsified_fails=True) == 5
    ledger.add(row(H, name="q1"))
    assert ledger.exit_code(falsified_fails=True) == 0
    ledger.add(row(F, name="q2"))
    assert ledger.exit_code(falsified_fails=True) == 1


def test_every_declared_cell_has_a_row():
    """What did not run is UNTESTED, with a reason, and keeps its claim from holding."""
    ledger = Ledger({("m", "c"): 12}, {"r2-m-c-paper-block3"})
    ledger.add(Row(Cell("m", "c", 2, "r2", "paper", 11), H, "R²", True))
    rows = ledger.complete()
    assert len(rows) == sum(len(list(p.cells(12))) for _, p in all_predicates())
    reasons = {r.reason for r in rows if r.cell.predicate == "r2" and r.verdict is U}
    assert reasons == {"not selected", "selected, but the session ended early"}
    assert {r.reason for r in rows if r.cell.predicate == "kv_cache"} == {"this version has no measurement of it"}
    assert all(r.reason for r in rows if r.verdict is U)
    claims = {(c.claim, c.rung): c.verdict for c in ledger.claims(rows)}
    assert claims[2, "paper"] is U
    assert set(claims) == {(c.key, r.name) for c in CLAIMS for r in RUNGS.values() if r.judged}


def test_levels_are_simultaneous():
    """Core cells of a claim share 5%, per-block rows share 5%, the rest stand alone."""
    r2, trend, monotonic = LINEARITY.named("r2"), DEPTH.named("depth_trend"), DEPTH.named("monotonic")
    assert LINEARITY.level(r2, "paper", 31, 32) == 1 - 0.05 / 4
    assert LINEARITY.level(r2, "paper", 3, 32) == 1 - 0.05 / 32
    assert LINEARITY.level(r2, "held-out", 31, 32) == 1 - 0.05 / 4
    assert DEPTH.level(trend, "strict", None, 32) == 1 - 0.05 / 2
    assert DEPTH.level(monotonic, "paper", None, 32) == 0.95


def test_a_name_that_is_not_declared_is_an_error():
    """Typing errors in a claim file do not pass silently."""
    with pytest.raises(KeyError, match="has no predicate 'r3'; it has: r2"):
        LINEARITY.predicate("r3")


def test_messages_say_value_bound_and_subject():
    """One line, in the settled form."""
    falsified = Row(Cell("llama", "wikitext-2", 2, "r2", "strict", 15), F, "R²", True, 0.41, 0.37, 0.45, 0.95, Bound(0.8, 0.5), 0.05)
    assert falsified.message() == (
        "claim 2 · r2 · FALSIFIED: 0.410 [0.370, 0.450], falsified at ≤ 0.5 · llama/block 15 · wikitext-2 · strict"
    )


def test_rows_survive_json():
    """A row that crosses a process border is the same row."""
    bound = Bound(0.8, 0.5)
    before = Row(Cell("m", "c", 2, "r2", "paper", 3), H, "R²", True, 0.9, 0.85, 0.95, 0.95, bound, 0.05, ("a caveat",), "why")
    assert Row.from_json(before.as_json(), bound) == before
    assert before.as_json()["bound"] == {
        "holds": 0.8,
        "falsified": 0.5,
        "direction": "at_least",
        "open_holds": False,
        "open_falsified": False,
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.00"), (-0.1234, "−0.123"), (1.5, "1.50"), (123.456, "123.5"), (5432.1, "5432"), (14250731.0, "1.43e7"), (1.2e-5, "1.2e−05")],
)
def test_numbers_are_written_with_three_digits(value, text):
    """Readable at every scale, with a true minus sign."""
    assert number(value) == text
