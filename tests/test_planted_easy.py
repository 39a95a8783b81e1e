"""Claim 5 finds the truth of planted models: what mid decides, what a table knows too, what training and the text add, what exits cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from claims import claim_5_a_third_of_tokens_is_easy as claim_5
from harness.admission import dissect
from harness.linearity import EVALUATION
from harness.measurement import INTERVENTION
from tests import planted_easy as planted
from tests.conftest import ROOT
from tests.planted import verdicts
from tests.planted_laboratory import JUDGED, Planted, judged, measured_in, table

TESTED = measured_in(claim_5)
TRUTHS = {
    "exit_agreement": {"holds": "third", "falsified": "placed"},
    "exit_excess": {"holds": "third", "falsified": "successor"},
    "head_gain": {"holds": "hedged", "falsified": "placed"},
    "supervision": {"holds": "hedged", "falsified": "waiting"},
    "routing_cost": {"holds": "misled", "falsified": "third"},
}
TABLE = table(TRUTHS)
TEXTS = {"waiting": "nothing"}  # Where it is not text that follows the model.
SINK = 600.0  # over three hundred times the median norm at mid
CLAIM = ROOT / "claims" / "claim_5_a_third_of_tokens_is_easy.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder for subjects and texts."""
    return tmp_path_factory.mktemp("easy")


@pytest.fixture(scope="module")
def laboratory(folder):
    """Laboratories of planted subjects, by name and by what is changed of them, each on its text; each measurement is made once."""
    made: dict[str, Planted] = {}

    def of(subject, **changes):
        told_by = TEXTS.get(subject, planted.SUBJECTS[subject].get("told_by", "pair"))
        if told_by not in made:
            text = planted.corpus(folder / told_by / "text", told_by)
            made[told_by] = Planted(folder / told_by, text, planted.save, planted.SUBJECTS)
        return made[told_by](subject, **changes)

    return of


@pytest.mark.parametrize(("predicate", "rung", "subject", "verdict"), TABLE)
def test_each_predicate_finds_the_planted_truth(laboratory, predicate, rung, subject, verdict):
    """What holds by construction HOLDS, what is false by construction is FALSIFIED, and nothing is in doubt."""
    row = judged(TESTED[predicate], laboratory(subject), rung)
    assert row.verdict == verdict, row.message()


@pytest.mark.parametrize("rung", JUDGED)
def test_what_the_last_block_decides_no_head_below_says(laboratory, rung):
    """Agreement is chance and falsified from the other side; no head is sure of anything, so that no token leaves and nothing is judged."""
    agreement, cost = (judged(TESTED[name], laboratory("late"), rung) for name in ("exit_agreement", "routing_cost"))
    assert (agreement.verdict, agreement.value < 4 / planted.WORDS) == ("falsified", True), agreement.message()
    assert (cost.verdict, cost.value) == ("not_applicable", None)
    assert "threshold 0.95 saves 0.00% of the blocks' operations" in cost.reason


@pytest.mark.parametrize("rung", JUDGED)
def test_heads_say_what_mid_tells_and_not_more(laboratory, rung):
    """Three words of ten are decided at mid; a head agrees on all of these, and on the others hardly ever."""
    found = laboratory("third").exit(rung).arrays
    words = _words(laboratory("third"), rung)[:, :-1]
    told, counted = words < planted.EASY, found["counted"] > 0
    assert found["agreed"][0][told & counted].mean() == 1
    assert found["agreed"][0][~told & counted].mean() < 3 / planted.WORDS
    # An exit that is sure leaves at mid, and only where mid tells.
    later = laboratory("third").later_exits(rung).arrays
    for sure in (found["confidence"][0], *later["confidence"]):
        assert (sure[told & counted] > 0.8).all()
        assert (sure[~told & counted] < 0.5).all()


@pytest.mark.parametrize("rung", JUDGED)
def test_a_massive_activation_does_not_wreck_training(laboratory, rung):
    """At first positions and a delimiter, hundreds of times the median norm: on other tokens the head agrees as without it, unremarked."""
    clean, loud = laboratory("third"), laboratory("third", sink=SINK)
    words = _words(clean, rung)[:, :-1]
    others = words != planted.DELIMITER
    others[:, 0] = False
    of_clean, of_loud = (lab.exit(rung).arrays for lab in (clean, loud))
    assert of_loud["agreed"][0][others].mean() == pytest.approx(of_clean["agreed"][0][others].mean(), abs=0.02)
    assert (of_loud["counted"] > 0).tolist() == (others if rung == "strict" else np.ones_like(others)).tolist()
    rows = [judged(TESTED["exit_agreement"], lab, rung) for lab in (clean, loud)]
    assert [row.verdict for row in rows] == ["holds", "holds"]
    assert rows[1].caveats == rows[0].caveats


def test_a_whole_run_falsifies_the_claim_and_takes_the_better_control(claims, folder):
    """``pytest claims -m claim5``: mid agrees on all tokens, and claim 5 is FALSIFIED; the table falls short, the embeddings do not.

    What words and positions decide together, a bigram table does not know. The head on the embeddings, which knows, takes ``--long``.
    """
    text = planted.corpus(folder / "whole" / "text", "position")
    model = planted.save(folder / "whole" / "model", **planted.SUBJECTS["placed"])
    result = claims("-m", "claim5", model=model, text=text, files=[ROOT / "claims"])
    assert result.ret == 1
    claim = {c["rung"]: c for c in result.report["claims"] if c["claim"] == 5}
    for rung in JUDGED:
        assert claim[rung]["verdict"] == "falsified"
        assert "exit_agreement" in claim[rung]["decided_by"]
        assert _picked(verdicts(result.report, rung)) == {
            "exit_agreement": "falsified",
            "exit_excess": "holds",
            "head_gain": "falsified",
            "routing_cost": "untested",
            "supervision": "untested",
        }
    excess = [row for row in result.report["rows"] if row["predicate"] == "exit_excess"]
    assert len(excess) == 3
    assert all("a head on the embeddings was not trained (--long)" in row["reason"] for row in excess)
    result = claims("--long", model=model, text=text, files=[f"{CLAIM}::test_it_does_so_better_than_a_bigram_table"])
    for rung in JUDGED:
        row = next(row for row in result.report["rows"] if (row["predicate"], row["rung"]) == ("exit_excess", rung))
        assert (row["verdict"], row["value"]) == ("falsified", 0)
        assert "a head on the embeddings 1.000" in row["reason"]


@pytest.mark.parametrize("subject", sorted(planted.SUBJECTS))
def test_a_planted_subject_is_what_it_says(subject):
    """What the model says is the answer to what tells it, and answers lie at mid where, and as, the subject has them."""
    settings = {"decided": planted.ALL, "told_by": "pair", "waits": False, "misled": 0, **planted.SUBJECTS[subject]}
    model = planted.EasyModel(planted.EasyConfig(**settings)).eval().requires_grad_(False)
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, planted.WORDS, (2, 64)))
    before = torch.nn.functional.pad(ids[:, :-1], (1, 0))
    tells = ids ^ {"pair": before, "word": torch.zeros_like(ids), "position": torch.arange(64) % 4}[settings["told_by"]]
    answers = torch.tensor(planted.answers())[tells]
    logits = model(ids).logits
    assert torch.equal(logits.argmax(-1), answers)
    hidden, calls = (anatomy := dissect(model)).enter(ids)
    for block in range(planted.BLOCKS // 2):
        hidden = anatomy.run(block, hidden, calls[block])
    told = torch.tensor(planted.EasyConfig(**settings).block_of)[ids] <= planted.MID
    shown = torch.where(ids < settings["misled"], answers ^ planted.OTHER, answers)
    place, empty = (planted.WAITING, planted.ANSWER) if settings["waits"] else (planted.ANSWER, planted.WAITING)
    assert torch.equal(hidden[..., place], planted.codes()[shown] * told[..., None])
    assert not hidden[..., empty].any()


def test_a_hedging_model_is_sure_of_what_mid_denies():
    """Where mid tells the answer, the model gives the other one nearly as much; where it tells the other one, next to nothing to that."""
    config = planted.EasyConfig(**planted.SUBJECTS["hedged"])
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, planted.WORDS, (8, 64)))
    p = torch.softmax(planted.EasyModel(config).eval()(ids).logits.detach(), -1)
    best, runner_up = p.topk(2).values.unbind(-1)
    misled = ids < planted.EASY
    assert (best[misled] > 0.99).all()
    assert (best[~misled] < 0.6).all()
    assert (runner_up[~misled] > 0.4).all()
    assert 0.2 < misled.double().mean() < 0.4


def _words(lab, rung):
    return lab.windows(rung)[INTERVENTION if rung == "strict" else EVALUATION]


def _picked(found):
    return {name: found[name] for name in TRUTHS}
