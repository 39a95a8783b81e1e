"""Claim 5 finds whether two criteria choose the same tokens of planted models."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from claims import claim_5_a_third_of_tokens_is_easy as claim_5
from claims.declared import EASY
from harness.admission import dissect
from harness.linearity import EVALUATION
from harness.measurement import INTERVENTION
from tests import planted_sets as planted
from tests.conftest import ROOT
from tests.planted import verdicts
from tests.planted_easy import ANSWER, WORDS, answers, codes, corpus
from tests.planted_laboratory import JUDGED, Planted, judged, measured_in, table

TESTED = measured_in(claim_5)
TABLE = table({"easy_sets_agree": {"holds": "same", "falsified": "opposite"}})


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory):
    """Laboratories of planted subjects, by name."""
    folder = tmp_path_factory.mktemp("sets")
    return Planted(folder, corpus(folder / "text", "pair"), planted.save, planted.SUBJECTS)


@pytest.mark.parametrize(("predicate", "rung", "subject", "verdict"), TABLE)
def test_each_predicate_finds_the_planted_truth(laboratory, predicate, rung, subject, verdict):
    """The same words by both criteria hold, opposite ones falsify, and nothing is in doubt."""
    row = judged(TESTED[predicate], laboratory(subject), rung)
    assert row.verdict == verdict, row.message()
    assert (row.value > 10) if verdict == "holds" else (row.value < 1 / 5)


@pytest.mark.parametrize("rung", JUDGED)
def test_unrelated_criteria_are_undecided_about_one(laboratory, rung):
    """Which words mid tells says nothing of which are quiet: an odds ratio about 1, whose interval holds 1."""
    row = judged(TESTED["easy_sets_agree"], laboratory("unrelated"), rung)
    assert row.verdict == "inconclusive"
    assert row.low < 1 < row.high
    assert abs(np.log(row.value)) < 0.25


@pytest.mark.parametrize("rung", JUDGED)
def test_what_both_owe_to_confidence_is_taken_out(laboratory, rung):
    """Both go with confidence, and at equal confidence not with one another: a crude odds ratio of 3, and about 1 where it is judged."""
    found = []
    TESTED["easy_sets_agree"](rung=rung, lab=laboratory("confounded"), verdict=lambda figure, **remarks: found.append(remarks))
    crude, note = found[0]["evidence"]["crude"], found[0]["note"]
    row = judged(TESTED["easy_sets_agree"], laboratory("confounded"), rung)
    assert row.verdict == "inconclusive", row.message()
    assert row.low < 1 < row.high < crude
    assert abs(np.log(row.value)) < 0.25
    assert 2.5 < crude < 4
    assert f"odds ratio without regard to confidence {crude:.3g}," in note
    rows = found[0]["evidence"]["strata"]
    assert np.corrcoef([[row["agreed"], row["easy"]] for row in rows], rowvar=False)[0, 1] > 0.9


@pytest.mark.parametrize("rung", JUDGED)
@pytest.mark.parametrize("subject", sorted(planted.SUBJECTS))
def test_each_criterion_finds_its_own_words(laboratory, subject, rung):
    """The head agrees on all that is told, and on the rest by chance; what is quiet is easy, and hardly any of the rest."""
    lab = laboratory(subject)
    exits, late = lab.exit(rung).arrays, lab.late_blocks(rung)
    words = lab.windows(rung)[INTERVENTION if rung == "strict" else EVALUATION][:, :-1]
    told, quiet, _ = planted.SetsConfig(**planted.SUBJECTS[subject]).kinds.numpy()[:, words]
    counted = exits["counted"] > 0
    assert late.blocks == planted.LATE
    for marks, truth in ((exits["agreed"][0], told), (late.easy, quiet)):
        assert marks[(truth > 0) & counted].mean() == 1
        assert marks[(truth == 0) & counted].mean() < 0.08


def test_a_whole_run_on_which_the_claim_holds(claims, laboratory):
    """``pytest claims -m "claim5 and strict"``: three tokens in ten, which no table knows, the same ones by both criteria; it HOLDS."""
    model = planted.save(laboratory.folder / "whole", **planted.SUBJECTS["same"])
    result = claims("-m", "claim5 and strict", model=model, text=laboratory.text, files=[ROOT / "claims"])
    assert result.ret == 0
    (claim,) = [c for c in result.report["claims"] if (c["claim"], c["rung"]) == (5, "strict")]
    assert claim["verdict"] == "holds"
    found = verdicts(result.report, "strict")
    core = {p.name for p in EASY.predicates if "strict" in p.core}
    assert {found[name] for name in core} == {"holds"}
    assert found["kl_easy_share"] == "holds"


@pytest.mark.parametrize("subject", sorted(planted.SUBJECTS))
def test_a_planted_subject_is_what_it_says(subject):
    """Mid holds the answers to told words alone, the end all of them in sizes that settle how sure the model is."""
    config = planted.SetsConfig(**planted.SUBJECTS[subject])
    told, _, sure = config.kinds
    model = planted.SetsModel(config).eval().requires_grad_(False)
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, WORDS, (2, 64)))
    before = torch.nn.functional.pad(ids[:, :-1], (1, 0))
    said = torch.tensor(answers())[ids ^ before]
    hidden, calls = (anatomy := dissect(model)).enter(ids)
    for block in range(planted.BLOCKS):
        hidden = anatomy.run(block, hidden, calls[block])
        if block in (planted.MID, planted.LAST):
            size = told[ids] if block == planted.MID else sure[ids] + planted.FINE * before / (WORDS - 1)
            torch.testing.assert_close(hidden[..., ANSWER], size[..., None] * codes()[said], atol=1e-5, rtol=0)
    p = torch.softmax(model(ids).logits, -1)
    assert torch.equal(p.argmax(-1), said)
    order = size[:, 1:].flatten().argsort()  # No word before is brought to the first position, and its norm is another.
    assert (p.amax(-1)[:, 1:].flatten()[order].diff() > -1e-5).all()
