"""Every bound of every claim has, on each rung that judges it, a planted subject on which it holds and one on which it is falsified."""

from __future__ import annotations

import pytest

from claims import CLAIMS
from claims import claim_4_linearity_grows_with_depth as claim_4
from claims.declared import all_predicates
from reports.ledger import judge_claim
from tests import (
    planted,
    test_planted_destruction,
    test_planted_easy,
    test_planted_replacement,
    test_planted_sets,
    test_planted_variance,
    test_planted_wall,
)
from tests.planted_laboratory import JUDGED, Planted, judged, measured_in, table

TESTED = measured_in(claim_4)
TABLE = table({name: {"holds": "rising", "falsified": "falling"} for name in ("depth_trend", "depth_gain", "monotonic")})
SUBJECTS = {"rising": {"shares": planted.RISING}, "falling": {"shares": planted.RISING[::-1]}}
TABLES = [
    TABLE,
    *(
        module.TABLE
        for module in (
            test_planted_destruction,
            test_planted_easy,
            test_planted_replacement,
            test_planted_sets,
            test_planted_variance,
            test_planted_wall,
        )
    ),
]


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory):
    """Laboratories of planted subjects, by name."""
    folder = tmp_path_factory.mktemp("depth")
    return Planted(folder, planted.corpus(folder / "text", evaluation=64 * 256), planted.save, SUBJECTS)


@pytest.mark.parametrize(("predicate", "rung", "subject", "verdict"), TABLE)
def test_each_predicate_finds_the_planted_truth(laboratory, predicate, rung, subject, verdict):
    """Shares that rise with depth HOLD, the same ones falling are FALSIFIED, and nothing is in doubt."""
    row = judged(TESTED[predicate], laboratory(subject), rung)
    assert row.verdict == verdict, row.message()


@pytest.mark.parametrize("rung", JUDGED)
@pytest.mark.parametrize(("subject", "verdict"), [("rising", "holds"), ("falling", "falsified")])
def test_claim_4_is_what_its_core_makes_it(laboratory, subject, verdict, rung):
    """Both core predicates decide it."""
    rows = [judged(TESTED[name], laboratory(subject), rung) for name in ("depth_trend", "depth_gain", "monotonic")]
    assert judge_claim(rows) == (verdict, ("depth_trend", "depth_gain"))


def test_both_sides_of_every_bound_are_planted():
    """A predicate without a subject on either side of a bound is one that may be unable to fail, or to hold."""
    asked = {(p.name, rung, side) for _, p in all_predicates() for rung in p.bounds for side in ("holds", "falsified")}
    shown = [(name, rung, verdict) for rows in TABLES for name, rung, _, verdict in rows]
    assert set(shown) == asked
    assert len(shown) == len(set(shown))
    assert all(set(p.core) <= set(p.bounds) for claim in CLAIMS for p in claim.predicates)


def test_what_has_no_bound_is_named():
    """These are MEASURED, and nothing can falsify them."""
    assert {p.name for _, p in all_predicates() if not p.bounds} == {
        *("dimensions_90", "dimensions_95", "dimensions_99", "compounding", "transfer", "downstream", "lora_gain"),
        *("phase_profile", "mlp_skip", "mlp_mean", "kv_cache"),
    }
