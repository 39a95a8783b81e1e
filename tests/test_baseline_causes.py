"""What a baseline must not say: a false cause, a change that is none, one model under another's name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claims import Bound, Verdict
from fixtures.naming import eight_digits, without_digest
from reports.baseline_amending import new
from reports.baseline_causes import NOTHING, figures
from reports.baseline_check import compare
from reports.baseline_guard import Guard
from reports.baseline_text import lines
from reports.ledger import LEFT_OUT, Ledger
from tests.made_baselines import BLOCKS, CORPUS, FACTS, HELD, MODEL, OF_MODEL, contents, document, failed, judged, too_short, with_figures

STRICTER = {"protocol": {**FACTS["protocol"], "half_sample_change": 0.01}}


def doubted(bound=None):
    """The rows of HELD, with one figure that is what it was and in doubt now."""
    row = judged("depth_gain", *HELD["depth_gain"], bound=bound)
    row = replace(row, verdict=Verdict.INCONCLUSIVE, margin=None, caveats=("moves by 3% on half of the windows",))
    return [*with_figures(depth_gain=None), row]


def causes(comparison, claim=False):
    """Why the only cell, or claim, has another verdict or none."""
    (found,) = [outcome for outcome in comparison.of("flipped", "lost") if outcome.of_claim is claim]
    return found.why


def test_a_doubt_that_the_protocol_raises_is_put_down_to_the_protocol():
    """The figure is what it was; neither the weights, which changed without effect, nor a fault of the suite."""
    kept = new(document(), "why", "2026-01-31")
    found = compare(kept, document(doubted(), **STRICTER, models={MODEL: {**OF_MODEL, "weights": "a1" * 32}}))
    assert causes(found) == ("protocol.half_sample_change not stated → 0.01",)
    with_bound = compare(kept, document(doubted(Bound(0.4, 0.1)), **STRICTER))
    assert causes(with_bound) == (
        "bound ≥ 0.3 | ≤ 0 → ≥ 0.4 | ≤ 0.1",
        "protocol.half_sample_change not stated → 0.01",
        "the figure is what it was",
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (failed("depth_gain"), "it burst"),
        (too_short("depth_gain"), "too little text"),
        (failed("depth_gain", Verdict.UNTESTED, "selected, but the session ended early"), "selected, but the session ended early"),
    ],
)
def test_a_claim_that_was_not_measured_has_the_reason_of_its_cells(row, reason):
    """Not what differs in the set-up, and not a fault of the suite."""
    kept = new(document(), "why", "2026-01-31")
    changed = {"models": {MODEL: {**OF_MODEL, "weights": "a1" * 32}}}
    for facts in ({}, changed):
        found = compare(kept, document([*with_figures(depth_gain=None), row], **facts))
        assert causes(found, claim=True) == (f"depth_gain: {reason}",)
        assert NOTHING not in "\n".join(lines(found, "b.json", "r.json"))


def test_a_predicate_without_a_test_is_not_left_out():
    """Of the rung on which a test was looked for in vain; the others are not selected."""
    ledger = Ledger({(MODEL, CORPUS): BLOCKS}, untested={("depth_gain", "paper")})
    reasons = {row.cell.rung: row.reason for row in ledger.complete() if row.cell.predicate == "depth_gain"}
    assert reasons.pop("paper") == "no test of it was found"
    assert set(reasons.values()) == {"not selected"}
    assert "no test of it was found" not in LEFT_OUT


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1.00 [1.00, 1.00]"), (0.99999996, "1.000 [1.000, 1.000]"), (0.25, "0.250 [0.250, 0.250]")]
)
def test_a_figure_that_is_what_it_was_is_written_once(value, text):
    """To six digits, although a figure a last digit below 1 is written otherwise than 1."""
    kept = new(document(with_figures(depth_gain=(round(value, 6), 0.0))), "why", "2026-01-31")
    (subject,) = kept.subjects.values()
    assert figures(subject.cells["depth_gain-mine-words-paper"], judged("depth_gain", value, 0.0)) == text


@pytest.mark.parametrize(
    ("measured", "figure", "code"),
    [(0, 0.6, 0), (1, 0.6, 0), (4, 0.6, 4), (5, 0.6, 0), (6, 0.6, 6), (0, -0.5, 1), (4, -0.5, 1), (6, -0.5, 6)],
)
def test_a_fault_in_the_input_of_what_is_not_kept_fails_a_build_too(measured, figure, code):
    """Where nothing flipped the exit code for bad input is what it is without a baseline; a known falsification is none."""
    guard = Guard("b.json", new(document(), "why", "2026-01-31"), Ledger({(MODEL, CORPUS): BLOCKS}))
    guard.compare(contents(with_figures(depth_gain=(figure, 0.1))))
    assert guard.exit_code(measured) == code


def test_numbers_in_a_name_are_no_digits_of_content():
    """Checkpoints are not one another; a report of the second says nothing of the first."""
    first, second = ("ckpt-00001000", CORPUS), ("ckpt-00002000", CORPUS)
    kept = new(document(subjects=(first,)), "why", "2026-01-31")
    assert list(kept.subjects) == ["ckpt-00001000/words"]
    assert compare(kept, document(subjects=(second,))).exit_code == 4


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("mine-1a2b3c4d", "mine"),
        ("mine-1a2b3c4d/words-4e5f6a7b", "mine/words"),
        ("ckpt-00002000", "ckpt-00002000"),
        ("ckpt-20260131/words-4e5f6a7b", "ckpt-20260131/words"),
        ("a-deadbeef", "a-deadbeef"),
        ("mine-1a2b3c4d-paper", "mine-1a2b3c4d-paper"),
        ("mine-1a2b3c4", "mine-1a2b3c4"),
    ],
)
def test_only_what_looks_like_a_digest_is_taken_off_a_name(name, short):
    """A letter and a digit at least, at the end of the name of a model or a text."""
    assert without_digest(name) == short


@settings(deadline=None, max_examples=60)
@given(st.text("0123456789abcdef", min_size=8, max_size=64) | st.text("0123456789", min_size=8, max_size=56).map("{}abcdef12".format))
def test_digits_of_content_are_known_for_what_they_are(digest):
    """Whatever a digest begins with, what a name takes from it can be taken off."""
    digits = eight_digits(digest)
    assert digits in digest
    windows = [digest[start : start + 8] for start in range(len(digest) - 7)]
    mixed = [window for window in windows if not window.isdecimal() and not window.isalpha()]
    assert digits == (mixed or windows)[0]
    assert (without_digest(f"mine-{digits}") == "mine") is bool(mixed)
