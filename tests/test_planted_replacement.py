"""Claims 2 and 4 find the truth of planted models in what replacing blocks costs: predicates hold on one, are falsified on another."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from claims import claim_2_linearity_is_conditional as claim_2
from claims import claim_4_linearity_grows_with_depth as claim_4
from claims.declared import LINEARITY
from reports.ledger import number
from tests import planted_replacement as planted
from tests import planted_variance
from tests.conftest import ROOT
from tests.planted import verdicts
from tests.planted_laboratory import JUDGED, Planted, judged, measured_in, table
from tests.printed_sections import printed

TESTED = measured_in(claim_2) | measured_in(claim_4)
TRUTHS = {
    "r2": {"holds": "fragile", "falsified": "opaque"},
    "r2_lost": {"holds": "fragile", "falsified": "linear"},
    "single_replacement": {"holds": "fragile", "falsified": "opaque"},
    "compression": {"holds": "linear", "falsified": "opaque"},
    "multi_replacement": {"holds": "fragile", "falsified": "linear"},
    "shift_excess": {"holds": "fragile", "falsified": "damped"},
    "r2_guides": {"holds": "guided", "falsified": "misguided"},
    "late_is_cheap": {"holds": "guided", "falsified": "misguided"},
}
TABLE = table(TRUTHS)
SECTIONS = {
    "single_replacement": "The last block",
    "compression": "The last block",
    "multi_replacement": "Blocks replaced together",
    "shift_excess": "What maps cost",
    "r2_lost": "R² of a block's map",
    "r2_guides": "Every block replaced",
}


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory):
    """Laboratories of planted subjects, by name."""
    folder = tmp_path_factory.mktemp("replaced")
    return Planted(folder, planted_variance.corpus(folder / "text"), planted.save, planted.SUBJECTS)


@pytest.mark.parametrize(("predicate", "rung", "subject", "verdict"), TABLE)
def test_each_predicate_finds_the_planted_truth(laboratory, predicate, rung, subject, verdict):
    """What holds by construction HOLDS, what is false by construction is FALSIFIED, and nothing is in doubt."""
    block = planted.BLOCKS - 1 if predicate == "r2" else None
    row = judged(TESTED[predicate], laboratory(subject), rung, block)
    assert row.verdict == verdict, row.message()


@pytest.mark.parametrize("rung", JUDGED)
def test_errors_that_only_add_give_no_excess(laboratory, rung):
    """Where no map reads what another one wrote, the maps cost the same on their own stream as at true inputs."""
    assert laboratory("adding").runs(rung).shift_excess.value == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("rung", JUDGED)
def test_what_linear_blocks_lose_is_nothing(laboratory, rung):
    """Exactly linear blocks: any number of them is replaced for nothing, and the block above stays as linear as it was."""
    lab = laboratory("linear")
    assert lab.runs(rung).multiple.value == pytest.approx(0, abs=1e-3)
    assert lab.shift(rung).lost(rung == "paper").value == pytest.approx(0, abs=1e-3)
    assert lab.each(rung).cost == pytest.approx(np.zeros(planted.BLOCKS), abs=1e-3)


@pytest.mark.parametrize("rung", ["paper", "typical", "strict"])
@pytest.mark.parametrize("subject", ["fragile", "adding", "damped"])
def test_excess_and_compounding_make_up_the_whole(laboratory, subject, rung):
    """shift_excess × compounding = ΔNLL(free)/ΣΔNLL(each alone): the identity that ties teacher forcing to both ends."""
    found = laboratory(subject).runs(rung)
    free = found.cost(found.arrays["nll"][4])
    whole = free / sum(found.cost(nll) for nll in found.arrays["alone"])
    assert found.shift_excess.value * found.compounding.value == pytest.approx(whole, rel=1e-9)
    assert found.multiple.value == pytest.approx(np.expm1(free), rel=1e-12)


def test_what_is_handed_over_is_printed_whole(laboratory):
    """Every section of claims 2 and 4, on every rung that it has, without a dash: reports read what tests write."""
    lab, evidence = laboratory("fragile"), dict[str, Any]()
    for name, tested in TESTED.items():
        for rung in tested.measures.rungs if name in SECTIONS else ():
            tested(rung=rung, lab=lab, verdict=lambda figure, key=f"{name}/{rung}", **remarks: evidence.update({key: remarks["evidence"]}))
    lines = printed(json.loads(json.dumps(evidence)))
    for section in SECTIONS.values():
        assert sum(line.startswith(section) for line in lines) == 1
    assert not [line for line in lines if "–" in line.split()]
    assert lines[1] == f"The last block ({planted.BLOCKS - 1}) replaced"
    clean = np.exp(lab.runs("strict").arrays["clean"].mean())
    of_runs = [line.split() for line in lines if line.split()[:1] == ["strict"] and len(line.split()) == 12]
    assert number(clean) in [line[1] for line in of_runs]


def test_the_whole_claim_holds_on_blocks_that_are_linear_on_the_clean_stream_alone(claims, laboratory):
    """``pytest claims -m claim2`` end to end: cells, claim, exit code."""
    folder = planted.save(laboratory.folder / "whole", **planted.SUBJECTS["fragile"])
    result = claims("-m", "claim2", model=folder, text=laboratory.text, files=[ROOT / "claims"])
    assert result.ret == 0
    for rung in JUDGED:
        found = verdicts(result.report, rung)
        assert {p.name: found[p.name] for p in LINEARITY.predicates if p.bounds} == dict.fromkeys(list(TRUTHS)[:6], "holds")
    claim = {(c["claim"], c["rung"]): c["verdict"] for c in result.report["claims"]}
    assert (claim[2, "paper"], claim[2, "strict"]) == ("holds", "holds")


def test_the_whole_claim_is_falsified_where_upstream_does_not_matter(claims, laboratory):
    """Linear blocks stay linear whatever is done below: the claim's condition is falsified."""
    folder = planted.save(laboratory.folder / "free", **planted.SUBJECTS["linear"])
    result = claims("-m", "claim2", model=folder, text=laboratory.text, files=[ROOT / "claims"])
    assert result.ret == 1
    claim = {(c["claim"], c["rung"]): (c["verdict"], c["decided_by"]) for c in result.report["claims"]}
    assert claim[2, "paper"] == claim[2, "strict"] == ("falsified", ["r2_lost", "multi_replacement"])


@pytest.mark.parametrize("blocks", [1, 2, 5, 6, 11])
def test_models_of_any_depth_are_measured_as_far_as_they_can_be(claims, laboratory, blocks):
    """One block is replaced in any; five need one before them, and a run after mid needs more than ten blocks."""
    linear, bent = [1.0] * blocks, [0.5] * blocks
    folder = planted.save(laboratory.folder / f"deep-{blocks}", linear=linear, bent=bent, feedback=[0.0] * blocks)
    result = claims("-m", "claim2", "--verdicts=report", model=folder, text=laboratory.text, files=[ROOT / "claims"])
    assert result.ret == 0
    rows = {(row["predicate"], row["rung"]): row for row in result.report["rows"] if row["block"] in (None, blocks - 1)}
    for rung in ("paper", "typical", "strict"):
        assert rows["single_replacement", rung]["value"] is not None
        assert rows["compression", rung]["value"] is not None
        for name in ("r2_lost", "multi_replacement", "shift_excess", "compounding"):
            assert (rows[name, rung]["verdict"] == "not_applicable") is (blocks < 6)
    evidence = next(iter(result.report["evidence"].values()))
    assert evidence["single_replacement/paper"]["block"] == blocks - 1
    if blocks >= 6:
        runs = evidence["multi_replacement/paper"]["runs"]
        assert runs["last"]["blocks"] == list(range(blocks - 5, blocks))
        assert ("middle" in runs) is (blocks > 10)
        assert list(evidence["r2_lost/paper"]["curves"]) == [str(blocks - 1), "9"][: 1 + (blocks > 10)]
    if blocks > 10:
        assert runs["middle"]["blocks"] == [5, 6, 7, 8, 9]
