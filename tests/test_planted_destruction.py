"""Claims 4 and 5 find the truth of planted models in what destroying blocks costs: predicates hold on one, are falsified on another."""

from __future__ import annotations

import json

import numpy as np
import pytest

from claims import claim_4_linearity_grows_with_depth as claim_4
from claims import claim_5_a_third_of_tokens_is_easy as claim_5
from claims import claim_appendix_extended_experiments as appendix
from tests import planted
from tests import planted_destruction as subjects
from tests.conftest import ROOT
from tests.planted import verdicts
from tests.planted_laboratory import Planted, judged, measured_in, table

TESTED = {**measured_in(claim_4), **measured_in(claim_5), **measured_in(appendix)}
TABLE = table(
    {
        "importance_u_shape": {"holds": "edges", "falsified": "middle"},
        "kl_easy_share": {"holds": "alike", "falsified": "apart"},
    }
)
RUNGS = ["paper", "typical", "strict"]


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory):
    """Laboratories of planted subjects, by name."""
    folder = tmp_path_factory.mktemp("destroyed")
    return Planted(folder, planted.corpus(folder / "text"), subjects.save, subjects.SUBJECTS)


def handed(lab, name, rung):
    """What a test hands over: figure and remarks."""
    found = []
    TESTED[name](rung=rung, lab=lab, verdict=lambda figure, **remarks: found.append((figure, remarks)))
    return found[0]


@pytest.mark.parametrize(("predicate", "rung", "subject", "verdict"), TABLE)
def test_each_predicate_finds_the_planted_truth(laboratory, predicate, rung, subject, verdict):
    """What holds by construction HOLDS, what is false by construction is FALSIFIED."""
    row = judged(TESTED[predicate], laboratory(subject), rung)
    assert row.verdict == verdict, row.message()


def test_tokens_that_all_late_blocks_rank_alike_are_no_third(laboratory):
    """Nearly half of them are easy, and that falsifies too."""
    assert judged(TESTED["kl_easy_share"], laboratory("same"), "paper").verdict == "falsified"


@pytest.mark.parametrize("rung", RUNGS)
def test_phases_are_those_that_were_planted(laboratory, rung):
    """Attention, the MLP, neither, and attention where there is no MLP: counted, listed, and measured rather than judged."""
    figure, remarks = handed(laboratory("phases"), "phase_profile", rung)
    assert figure.value == 4
    assert [(run["first"], run["last"], run["side"]) for run in remarks["evidence"]["phases"]] == [
        (0, 1, "attention"),
        (2, 5, "mlp"),
        (6, 9, "neither"),
        (10, 11, "attention"),
    ]
    assert remarks["note"].startswith("attention 0–1; MLP 2–5; neither 6–9; attention 10–11; ")
    kl = remarks["evidence"]["kl"]
    assert kl["both"][10:] == kl["attention"][10:]
    assert np.isnan(kl["mlp"][10:]).all()
    row = judged(TESTED["phase_profile"], laboratory("phases"), rung)
    assert (row.verdict, row.value, row.low) == ("measured", 4, None)


def test_a_block_at_the_edge_of_the_rule_is_named(laboratory):
    """Attention whose gain makes it cost twice the KL of the MLP, to a few per cent."""
    gains = [1.0] * subjects.BLOCKS
    lab = laboratory({"attention": [1.332, *gains[1:]], "mlp": gains})
    _, remarks = handed(lab, "phase_profile", "paper")
    ratio = np.array(remarks["evidence"]["kl"]["attention"]) / remarks["evidence"]["kl"]["mlp"]
    assert ratio[0] == pytest.approx(2, abs=0.05)
    assert remarks["evidence"]["undecided"] == [0]
    assert remarks["caveats"] == ("block 0: the 95% interval of attention over MLP reaches across 2× or 1/2×",)


KEYS = {
    "kl_easy_share": {
        *("blocks", "medians", "share", "chance", "implied", "observed", "taus", "curve", "together_median", "left_out"),
    },
    "importance_u_shape": {"kl", "added", "baseline", "middle", "median", "left_out"},
    "phase_profile": {"kl", "phases", "undecided"},
    "mlp_skip": {"baseline", "skipped", "mean", "skipped_kl", "mean_kl"},
    "mlp_mean": {"baseline", "skipped", "mean", "skipped_kl", "mean_kl"},
}


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("name", KEYS)
def test_what_is_handed_over_is_what_was_measured(laboratory, name, rung):
    """Evidence as JSON, under the keys that a report reads, that agrees with the figure and with the note."""
    lab = laboratory("alike")
    figure, remarks = handed(lab, name, rung)
    evidence = json.loads(json.dumps(remarks["evidence"]))
    assert set(evidence) == KEYS[name]
    if name == "kl_easy_share":
        assert evidence["share"] == figure.value
        assert (evidence["blocks"], evidence["chance"]) == ([8, 9, 10, 11], 1 / 16)
        assert f"{figure.value:.1%} of tokens" in remarks["note"]
        assert evidence["implied"] == pytest.approx(evidence["observed"], abs=0.1)
        assert evidence["curve"] == sorted(evidence["curve"])
        assert len(evidence["curve"]) == len(evidence["taus"])
        assert evidence["together_median"] > max(evidence["medians"])
    if name == "importance_u_shape":
        both = evidence["kl"]["both"]
        assert evidence["middle"] == [3, 9]
        assert evidence["median"] == np.median(both[3:10])
        assert figure.value == pytest.approx(min(both[0], both[-1]) / evidence["median"])
        assert figure.origin == 0
    if name.startswith("mlp"):
        which = {"mlp_skip": "skipped", "mlp_mean": "mean"}[name]
        assert figure.value == pytest.approx(evidence[which] - evidence["baseline"])
        assert f"perplexity {evidence['baseline']:,.2f} becomes {evidence[which]:,.2f}" in remarks["note"]
        assert ("takes the mean as given" in remarks["note"]) is (name == "mlp_mean")
    else:
        assert ("positions" in remarks["note"]) is (rung != "paper")


def test_the_tests_of_claims_report_it(claims, laboratory):
    """``pytest claims`` end to end: the row of each rung, and the exit code that follows from it."""
    folder = subjects.save(laboratory.folder / "whole", **subjects.SUBJECTS["middle"])
    result = claims("-k", "matter_most or phases or last_mlp", model=folder, text=laboratory.text, files=[ROOT / "claims"])
    assert result.ret == 1
    for rung in ("paper", "strict"):
        assert verdicts(result.report, rung)["importance_u_shape"] == "falsified"
    for rung in RUNGS:
        assert {verdicts(result.report, rung)[name] for name in ("phase_profile", "mlp_skip", "mlp_mean")} == {"measured"}


def test_quick_figures_are_never_judged(claims, laboratory):
    """Quarter sizes: measured, whatever they are."""
    folder = subjects.save(laboratory.folder / "quick", **subjects.SUBJECTS["apart"])
    result = claims("--quick", "-k", "late_block or matter_most", model=folder, text=laboratory.text, files=[ROOT / "claims"])
    assert result.ret == 0
    for rung in RUNGS:
        found = verdicts(result.report, rung)
        assert (found["kl_easy_share"], found["importance_u_shape"]) == ("measured", "measured")


def test_a_model_of_few_blocks_is_not_asked(claims, laboratory):
    """Fewer than 8 have no middle to speak of, fewer than 10 no four late blocks; parts and the last MLP any has."""
    folder = subjects.save(laboratory.folder / "short", attention=[1.0] * 3, mlp=[1.0] * 3)
    asked = "late_block or matter_most or phases or last_mlp"
    result = claims("-k", asked, model=folder, text=laboratory.text, files=[ROOT / "claims"])
    found = verdicts(result.report)
    assert (found["kl_easy_share"], found["importance_u_shape"]) == ("not_applicable", "not_applicable")
    assert {found[name] for name in ("phase_profile", "mlp_skip", "mlp_mean")} == {"measured"}
