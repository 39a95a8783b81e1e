"""Heads can be trained for longer: that is recorded, told beside every figure of theirs, and measures nothing else anew."""

from __future__ import annotations

import pytest

from harness.easy_protocol import EasyProtocol
from tests.conftest import LINEARITY, ROOT

HEADS = [f"{ROOT}/claims/claim_5_a_third_of_tokens_is_easy.py::test_training_the_head_gains_agreement"]


def timings(result):
    """How each measurement of a report was made."""
    return next(parts for pair, parts in result.report["timings"].items() if pair != "wall_seconds")


def test_steps_are_recorded_and_told(claims):
    """In the protocol of the report, in the curve, and beside the figure; other measurements come from the store."""
    files, options = [*LINEARITY[1:2], *HEADS], ("-m", "paper", "--verdicts=report")
    first = claims(*options, files=files)
    again = claims(*options, "--head-steps=40", files=files)
    assert [r.report["protocol"]["easy"]["steps"] for r in (first, again)] == [500, 40]
    assert {name: part["stored"] for name, part in timings(again).items()} == {
        "linearity by rank-k maps": True,
        "exit head at mid, paper windows": False,
    }
    told = "heads are trained for 40 steps, the protocol's are 500"
    caveats = [
        [row["caveats"] for row in r.report["rows"] if row["predicate"] == "head_gain" and row["value"] is not None] for r in (first, again)
    ]
    assert [[told in each for each in every] for every in caveats] == [[False], [True]]
    stored = claims(*options, "--head-steps=40", files=files)
    assert all(part["stored"] for part in timings(stored).values())


@pytest.mark.parametrize("steps", ["9", "0", "-1", "10000001"])
def test_steps_that_train_nothing_are_refused(claims, steps):
    """Before anything is loaded: what was given and what is expected."""
    result = claims(f"--head-steps={steps}", files=HEADS)
    assert result.ret == 4
    assert f"--head-steps {steps}: expected 10 to 10,000,000 steps" in str(result.stderr)


@pytest.mark.parametrize(("steps", "warmup"), [(10, 1), (100, 10), (500, 50), (10_000, 50)])
def test_shorter_trainings_warm_up_as_long_a_share(steps, warmup):
    """And longer ones as many steps."""
    easy = EasyProtocol().trained_for(steps)
    assert (easy.steps, easy.warmup) == (steps, warmup)
