"""Of each verdict are counted the settings in which it stands, of those that can change it and were measured, and no others."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claims import Verdict
from harness.settings import Setting
from reports.ledger import ClaimVerdict, Ledger
from reports.stability import Kind, Sweep
from reports.stability_words import of_cells, of_claims, sentence, unmeasured
from reports.unreached import settled
from tests.made_reports import BLOCKS, row, rows

H, F, Q, N = Verdict.HOLDS, Verdict.FALSIFIED, Verdict.INCONCLUSIVE, Verdict.NOT_APPLICABLE
U, E, M = Verdict.UNTESTED, Verdict.ERROR, Verdict.MEASURED
NAMES = ("seed=1", "windows=×2", "corpus=code", "dtype=float16", "lambda=×100")
CORE = ("r2", "r2_lost", "single_replacement", "multi_replacement")
ANY = st.sampled_from([H, F, Q, N, U, E])
NOTHING = (N, U, E)


def sweep(under, names=NAMES):
    """A sweep: by the name of a setting, rows."""
    listed = tuple(Setting(name, name.partition("=")[0], "") for name in names)
    return Sweep(listed, {(one.cell, name): one for name, changed in under.items() for one in changed})


def claim_2(verdict, decided_by=()):
    """A verdict on the second claim."""
    return ClaimVerdict("m", "c", "strict", 2, verdict, decided_by)


@given(st.sampled_from([H, F, Q]), st.dictionaries(st.sampled_from(NAMES), ANY, min_size=1))
@settings(max_examples=200, deadline=None)
def test_every_setting_stands_flips_or_says_nothing(base, verdicts):
    """Those that stand and those that flip are the ones that count; what cannot change the cell, or has nothing to judge, does not."""
    found = sweep({name: [row("r2_lost", verdict)] for name, verdict in verdicts.items()}).of_cell(row("r2_lost", base))
    assert found.counted == len(found.stands) + len(found.flips) == sum(verdict not in NOTHING for verdict in verdicts.values())
    assert set(found.stands) == {name for name, verdict in verdicts.items() if verdict is base}
    assert {flip.setting: flip.verdict for flip in found.flips} == {n: v for n, v in verdicts.items() if v not in (base, *NOTHING)}
    assert {name for name, _ in found.unmeasured} == {name for name, verdict in verdicts.items() if verdict in NOTHING}
    assert [flip.kind for flip in found.flips] == sorted(flip.kind for flip in found.flips)
    assert found.firm == (set(verdicts.values()) - set(NOTHING) == {base})


@given(st.tuples(*[ANY] * 4), st.dictionaries(st.sampled_from(NAMES), st.dictionaries(st.sampled_from(CORE), ANY, min_size=1)))
@settings(max_examples=80, deadline=None)
def test_a_claim_is_judged_under_a_setting_as_a_run_with_its_rows_is(base, changed):
    """Each core row that the run judged as the setting has it, the others as the run has them; one without an outcome says nothing."""
    run = {name: row(name, verdict) for name, verdict in zip(CORE, base, strict=True)}
    under = {setting: {name: row(name, verdict) for name, verdict in verdicts.items()} for setting, verdicts in changed.items()}

    def judged(made):
        ledger = Ledger({("m", "c"): BLOCKS})
        for one in made.values():
            ledger.add(one)
        return next(c for c in ledger.claims(ledger.complete()) if (c.claim, c.rung) == (2, "strict"))

    verdict = judged(run)
    found = sweep({name: made.values() for name, made in under.items()}).of_claim(verdict, [*run.values(), row("depth_gain", F)])
    if verdict.verdict not in (H, F, Q):
        assert found is None
        return
    real = {setting: {name: one for name, one in made.items() if run[name].verdict in (H, F, Q)} for setting, made in under.items()}
    real = {setting: made for setting, made in real.items() if made}
    expected = {
        name: judged(run | made).verdict for name, made in real.items() if not set(NOTHING) & {one.verdict for one in made.values()}
    }
    if not real:
        assert found is None
        return
    assert dict.fromkeys(found.stands, verdict.verdict) | {flip.setting: flip.verdict for flip in found.flips} == expected
    assert {name for name, _ in found.unmeasured} == set(real) - set(expected)
    assert all(flip.verdict is not verdict.verdict for flip in found.flips)
    lost = {flip.setting for flip in found.flips if flip.kind is Kind.LIFTED}
    assert lost == {setting for setting, after in expected.items() if after in (U, E)}
    assert not lost or verdict.verdict is F


def test_a_setting_that_changes_no_core_row_is_not_counted_for_the_claim():
    """It may well flip another predicate of it."""
    run = [*rows(H, 2), row("shift_excess", H)]
    made = sweep({"seed=1": [row("shift_excess", F)], "corpus=code": [row("r2", H)]})
    assert made.of_claim(claim_2(H), run).share == "1/1"
    assert made.of_cell(row("shift_excess", H)).share == "0/1"


def test_where_a_core_row_is_missing_another_that_is_falsified_does_not_count():
    """Else only failures would be counted there."""
    found = sweep({"seed=1": [row("r2", U, reason="too short"), row("r2_lost", F)]}).of_claim(claim_2(H), rows(H, 2))
    assert (found.share, found.told, found.unmeasured) == ("–", "no setting counts", (("seed=1", "r2: too short"),))


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (H, F, Kind.REVERSED),
        (F, H, Kind.REVERSED),
        (Q, H, Kind.DECIDED),
        (Q, F, Kind.DECIDED),
        (H, Q, Kind.UNDECIDED),
        (F, Q, Kind.UNDECIDED),
    ],
)
def test_a_reversal_is_told_from_an_interval_that_is_wider(before, after, kind):
    """Only HOLDS and FALSIFIED contradict one another."""
    (flip,) = sweep({"seed=1": [row("r2_lost", after)]}).of_cell(row("r2_lost", before)).flips
    assert flip.kind is kind


def test_a_claim_that_is_falsified_no_longer_is_not_said_to_be_untested():
    """One row falsifies it, another was not run, or failed: where the first holds, nothing is left to say but that."""
    made = sweep({"seed=1": [row("r2_lost", H)], "windows=×2": [row("r2_lost", Q)], "corpus=code": [row("r2_lost", F)]})
    for missing, said in ((U, "r2 not run"), (E, "r2 not measured")):
        run = [row("r2", missing), row("r2_lost", F), row("single_replacement", H), row("multi_replacement", H)]
        assert list(of_claims(made, [claim_2(F)], run)) == [
            f"claim 2 · strict: FALSIFIED stands in 1 of 3 settings; no longer FALSIFIED with seed=1 ({said}), windows=×2 ({said})"
        ]


def test_a_core_row_that_the_run_did_not_judge_is_missing_under_no_setting():
    """It takes part as the run has it, so that the others are judged; rows that a file has of it under settings are not read."""
    made = sweep({"seed=1": [row("r2", U, reason="no verdict"), row("r2_lost", F)]})
    run = [row("r2", E), row("r2_lost", F), row("single_replacement", H), row("multi_replacement", N)]
    found = made.of_claim(claim_2(F), run)
    assert (found.share, found.unmeasured) == ("1/1", ())


def test_what_is_not_applicable_under_a_setting_does_not_count():
    """Neither for the cell nor for the claim; the reason is given."""
    made = sweep({"seed=1": [row("r2", N, reason="nothing varies")]})
    assert (made.of_cell(row("r2", H)).share, made.of_claim(claim_2(H), rows(H, 2)).unmeasured) == (
        "–",
        (("seed=1", "r2: nothing varies"),),
    )
    assert list(unmeasured(made, rows(H, 2))) == ["seed=1 counts for nothing here: nothing varies"]


@pytest.mark.parametrize("verdict", [M, U, E, N])
def test_what_has_no_verdict_has_no_stability(verdict):
    """Neither a cell nor a claim, whatever the settings say; nor has what no setting can change."""
    made = sweep({"seed=1": [row("r2_lost", H)]})
    assert made.of_cell(row("r2_lost", verdict)) is None
    assert made.of_claim(claim_2(verdict), rows(H, 2)) is None
    assert made.of_cell(row("r2", H)) is None
    assert made.of_claim(claim_2(H), [row("r2", H)]) is None


def test_a_row_of_another_subject_does_not_count():
    """Of another model, text or rung."""
    others = [row("r2", F, model="n"), row("r2", F, corpus="d"), row("r2", F, "paper")]
    made = sweep({"seed=1": others})
    assert made.of_cell(row("r2", H)) is None
    assert made.of_claim(claim_2(H), [*rows(H, 2), *others]) is None
    assert list(unmeasured(sweep({"seed=1": [row("r2", E, model="n", reason="x")]}), rows(H, 2))) == []


def test_the_sentence_names_reversals_first_and_gives_every_figure():
    """With its interval; a doubt is named, and so is what was not measured."""
    made = sweep(
        {
            "seed=1": [row("r2_lost", H, value=0.2)],
            "windows=×2": [row("r2_lost", Q, value=0.03, margin=None)],
            "corpus=code": [row("r2_lost", F, value=-0.6)],
            "dtype=float16": [row("r2_lost", E, reason="not finite")],
            "lambda=×100": [row("r2_lost", Q, value=0.04, margin=-0.1)],
        }
    )
    assert list(of_cells(made, [row("r2_lost", H), row("r2", H)])) == [
        "r2_lost · strict: HOLDS stands in 1 of 4 settings; reversed to FALSIFIED with corpus=code (−0.600 [−1.10, −0.100]); "
        "INCONCLUSIVE with windows=×2 (0.030 [−0.470, 0.530], in doubt), lambda=×100 (0.040 [−0.460, 0.540]); "
        "not measured with dtype=float16"
    ]
    assert list(of_claims(made, [claim_2(H)], rows(H, 2))) == [
        "claim 2 · strict: HOLDS stands in 1 of 4 settings; reversed to FALSIFIED with corpus=code (by r2_lost); "
        "INCONCLUSIVE with windows=×2 (undecided r2_lost), lambda=×100 (undecided r2_lost); not measured with dtype=float16"
    ]


def test_settings_that_decide_both_ways_are_said_to_contradict_one_another():
    """And those that decide one way are not."""
    both = sweep({"seed=1": [row("r2_lost", H)], "corpus=code": [row("r2_lost", F)]}).of_cell(row("r2_lost", Q))
    assert sentence(both).endswith("; so settings contradict one another")
    one = sweep({"seed=1": [row("r2_lost", H)], "corpus=code": [row("r2_lost", Q)]}).of_cell(row("r2_lost", Q))
    assert sentence(one) == "INCONCLUSIVE stands in 1 of 2 settings; HOLDS with seed=1 (2.10 [1.60, 2.60])"


def test_what_stands_everywhere_has_no_sentence_and_what_nothing_counts_for_has_one():
    """A share that is whole says all; none at all must be explained."""
    firm = sweep({"seed=1": [row("r2", H)]})
    assert list(of_cells(firm, rows(H, 2))) == list(of_claims(firm, [claim_2(H)], rows(H, 2))) == []
    nothing = sweep({"seed=1": [row("r2", E, reason="memory")]})
    assert list(of_cells(nothing, rows(H, 2))) == ["r2, block 11 · strict: HOLDS, and no setting counts; not measured with seed=1"]
    assert list(unmeasured(nothing, rows(H, 2))) == ["seed=1 counts for nothing here: memory"]
    partly = sweep({"seed=1": [row("r2", E, reason="memory"), row("r2", E, "paper", reason="memory"), row("r2_lost", H)]})
    assert list(unmeasured(partly, [*rows(H, 2), row("r2", H, "paper")])) == ["seed=1 does not count for r2 on strict and paper: memory"]


def test_a_cell_without_a_verdict_is_not_said_to_be_uncounted():
    """Nothing could stand there."""
    made = sweep({"seed=1": [row("r2", U, reason="the run has no verdict"), row("r2_lost", H)]})
    assert list(unmeasured(made, [row("r2", N), row("r2_lost", H)])) == []
    assert list(of_cells(made, [row("r2", N), row("r2_lost", H)])) == []


def test_what_a_session_did_not_come_to_is_not_what_a_setting_cannot_change():
    """It is UNTESTED, so the claim is not judged from what is there; what ran, and what was not asked for, stays as it is."""
    ledger = Ledger({("m", "c"): BLOCKS}, settings=sweep({}, NAMES[:2]).settings)
    for base in rows(H, 2):
        ledger.add(base)
    ran = row("r2", H)
    ledger.swept[ran.cell, "windows=×2"] = ran
    missed = row("r2_lost", H).cell
    found = settled(ledger, {f"{ran.cell.ident}@windows=x2", f"{missed.ident}@windows=x2"})
    assert {place: (one.verdict, one.core, one.reason) for place, one in found.items()} == {
        (ran.cell, "windows=×2"): (H, True, None),
        (missed, "windows=×2"): (U, True, "selected, but the session ended early"),
    }
    assert settled(ledger, ()) == ledger.swept
    of_it = Sweep(ledger.settings, found).of_claim(claim_2(H), rows(H, 2))
    assert (of_it.counted, of_it.unmeasured) == (0, (("windows=×2", "r2_lost: selected, but the session ended early"),))


@pytest.mark.parametrize("verdict", [M, U, E, N, None])
def test_a_report_has_no_row_under_a_setting_of_what_has_no_verdict(verdict):
    """Neither of a cell that the run could not judge or did not come to, nor where a worker that did not know it measured it."""
    ledger = Ledger({("m", "c"): BLOCKS}, settings=sweep({}, NAMES[:1]).settings)
    cell = row("r2", H).cell
    if verdict is not None:
        ledger.add(row("r2", verdict))
    ledger.swept[cell, "seed=1"] = row("r2", H)
    assert settled(ledger, {f"{cell.ident}@seed=1"}) == {}
