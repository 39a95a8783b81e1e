"""What shares a sweep: whatever visits one on the same windows, each code once, and nothing that comes with something else."""

from __future__ import annotations

from harness.measurement import AFFINE, ARENA, CHALLENGED, EACH, MEASUREMENTS, PAPER, PROJECTION, QUANTISED, RANK, STRICT
from harness.sharing import sharing


def test_what_visits_a_sweep_of_a_layout_shares_it():
    """In the order in which it is asked for; what starts from streams, and other layouts, do not belong to it."""
    missing = (PROJECTION[0], ARENA[0], RANK, AFFINE, ARENA[1])
    assert sharing(missing, PAPER) == [ARENA[0], RANK]
    assert sharing(missing, STRICT) == [AFFINE, ARENA[1]]


def test_what_comes_with_another_is_not_made():
    """Nor is what brings it along: it runs what lies above every block, beside which a sweep is nothing."""
    assert sharing((EACH[0], RANK, ARENA[0]), PAPER) == [ARENA[0]]
    assert sharing((QUANTISED[1], CHALLENGED, ARENA[1], AFFINE), STRICT) == [AFFINE]
    assert sharing((RANK, EACH[1]), PAPER) == [RANK]


def test_one_code_watches_a_sweep_once():
    """The first that is asked for; the other has a sweep of its own."""
    assert sharing((CHALLENGED, ARENA[1]), STRICT) == [CHALLENGED]
    assert sharing((ARENA[1], CHALLENGED), STRICT) == [ARENA[1]]


def test_whatever_visits_has_a_visit():
    """And what it names is there."""
    visiting = [measurement for measurement in MEASUREMENTS if measurement.visits]
    assert {measurement.function().__name__ for measurement in visiting} == {"visit", "visit_quantised"}
    assert not any(measurement.keeps for measurement in visiting)
