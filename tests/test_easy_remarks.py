"""What claim 5 says beside its figures, and which figures it picks: from made-up arrays, against statsmodels and loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import StratifiedTable

from claims import easy, easy_sets, routing
from harness.easy_protocol import EasyProtocol
from harness.errors import LongWorkError, MeasurementError
from harness.protocol import Protocol
from tests.made_heads import EXITS, STEPS, B, P, T, W, bits, exits, heads, lab, late

COUNTED = bits(99, (W, P), 0.9)


def over(marks):
    """Mean over the positions of COUNTED, by a loop."""
    return np.mean([marks[w, t] for w in range(W) for t in range(P) if COUNTED[w, t]])


@pytest.mark.parametrize("rung", ["paper", "typical", "strict"])
def test_figures_are_means_over_counted_positions(rung):
    """Agreement, excess over the bigram table, gain over the naive head; and the same of the head trained on half, where there is one."""
    found = exits(halves=1 + (rung == "strict"), counted=COUNTED)
    a = found.arrays
    of = {
        easy.exit_agreement: lambda h: over(a["agreed"][h]),
        easy.exit_excess: lambda h: over(a["agreed"][h]) - over(a["bigram"][h]),
        easy.head_gain: lambda h: over(a["agreed"][h]) - over(a["naive"][0]),
    }
    for figure_of, expected in of.items():
        figure, remarks = figure_of(lab(found), rung)
        assert figure.value == pytest.approx(expected(0))
        assert (figure.half is None) is (rung != "strict")
        if rung == "strict":
            assert figure.half == pytest.approx(expected(1))
        assert "the interval takes the head as given" in remarks["note"]
        without = np.array([bool(w) for w in range(W)])
        part = {name: array[without] for name, array in (("counted", COUNTED), ("agreed", a["agreed"][0]))}
        if figure_of is easy.exit_agreement:
            assert figure.score[0] == pytest.approx(part["agreed"][part["counted"] > 0].mean())


@pytest.mark.parametrize(("share", "best"), [(None, "bigram"), (0.1, "bigram"), (0.9, "lowest")])
def test_excess_is_over_the_better_control(share, best):
    """A head on the embeddings counts where it is trained, and takes the table's place where it does better."""
    lowest = None if share is None else heads([-1, -1], [share, share - 0.05], seed=30)
    found = exits()
    figure, remarks = easy.exit_excess(lab(found, lowest=lowest), "paper")
    control = found.arrays["bigram"] if best == "bigram" else lowest["agreed"]
    assert figure.value == pytest.approx((found.arrays["agreed"][0] - control[0]).mean())
    assert figure.half == pytest.approx((found.arrays["agreed"][1] - control[1]).mean())
    assert ("was not trained (--long)" in remarks["note"]) is (share is None)
    assert remarks["evidence"] == ({} if share is None else {"lowest": pytest.approx(lowest["agreed"][0].mean())})


def test_the_training_of_a_control_is_looked_at_too():
    """A head on the embeddings that was still improving is a caveat of what is asserted over it."""
    rising = np.tile(np.linspace(0, 0.5, len(STEPS)), (2, 1))
    lowest = heads([-1, -1], [0.9, 0.9], seed=30, held_agreed=rising)
    caveats = easy.exit_excess(lab(exits(), lowest=lowest), "strict")[1]["caveats"]
    assert [caveat.startswith("on the embeddings: the head was still improving") for caveat in caveats] == [True]


def test_supervision_is_paired_and_long():
    """Agreement after the text minus after the model's distribution; without the latter there is no figure."""
    found, distilled = exits(), heads([5, 5], [0.4, 0.3], seed=31, rate=np.array([1e-3, 1e-3]))
    figure, remarks = easy.supervision(lab(found, distilled=distilled), "paper")
    assert figure.value == pytest.approx((found.arrays["agreed"][0] - distilled["agreed"][0]).mean())
    assert figure.half == pytest.approx((found.arrays["agreed"][1] - distilled["agreed"][1]).mean())
    assert remarks["evidence"]["distilled"] == pytest.approx(distilled["agreed"][0].mean())
    assert "distilled: the learning rate 0.001 is the largest that is tried" in remarks["caveats"]
    with pytest.raises(LongWorkError):
        easy.supervision(lab(found), "paper")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, None),
        ({"held_agreed": np.tile(np.linspace(0, 0.5, len(STEPS)), (2, 1))}, "still improving: agreement rose from 0.250 to 0.500"),
        ({"rate": np.full(2, 1e-4)}, "learning rate 0.0001 is the smallest that is tried"),
        ({"rate": np.full(2, 1e-3)}, "learning rate 0.001 is the largest that is tried"),
    ],
)
def test_trainings_that_may_not_have_ended_carry_a_caveat(changes, told):
    """A head that was still improving, or a rate at an end of those tried."""
    caveats = easy.exit_agreement(lab(exits(**changes)), "strict")[1]["caveats"]
    assert [caveat for caveat in caveats if told and told in caveat] == list(caveats)
    assert bool(caveats) is (told is not None)


def test_too_few_tokens_are_a_doubt_on_strict_alone():
    """Fewer than sixteen a dimension."""
    found = exits(fitted=np.array(200.0))
    assert easy.exit_agreement(lab(found), "strict")[1]["doubts"] == ("fitted to 200 tokens, fewer than 16 for each of 16 dimensions",)
    assert easy.exit_agreement(lab(found), "paper")[1]["doubts"] == ()


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_the_odds_ratio_is_that_of_statsmodels(seed):
    """Mantel–Haenszel over deciles of confidence among counted positions; without each window all is taken anew."""
    counted = bits(seed, (W, P), 0.9)
    found, blocks = exits(counted=counted), late(counted, seed)
    figure, remarks = easy_sets.easy_sets_agree(lab(found, blocks=blocks), "strict")

    def expected(rows, last=10, head=0):
        marks = counted[rows] > 0
        kl = blocks.arrays["kl"][:, rows][:, marks]
        low = (kl < np.median(kl, 1, keepdims=True)).all(0)
        agreed, confidence = found.arrays["agreed"][head][rows][marks] > 0, found.arrays["full_confidence"][rows][marks]
        tenth = np.argsort(np.argsort(confidence)) * 10 // len(confidence)
        tables = [[[np.sum(x & y & (tenth == k)) for y in (low, ~low)] for x in (agreed, ~agreed)] for k in range(last)]
        return StratifiedTable([np.array(table, float) for table in tables]).oddsratio_pooled

    windows = np.arange(W)
    assert figure.value == pytest.approx(expected(windows >= 0))
    np.testing.assert_allclose(figure.score, [expected(windows != w) for w in windows])
    assert figure.half == pytest.approx(expected(windows >= 0, head=1))
    assert figure.origin == 0.0
    assert remarks["evidence"]["unsure"] == pytest.approx(expected(windows >= 0, last=9))
    strata = remarks["evidence"]["strata"]
    assert sum(each["tokens"] for each in strata) == counted.sum()
    assert [each["low"] for each in strata] == sorted(each["low"] for each in strata)


def test_sets_that_cannot_be_compared_have_no_figure():
    """Where every token that agrees is easy too and the other way round, there is no ratio."""
    blocks = late()
    same = exits(agreed=np.stack([blocks.easy, blocks.easy]))
    figure, remarks = easy_sets.easy_sets_agree(lab(same, blocks=blocks), "strict")
    assert np.isnan(figure.value)
    assert remarks["absent"].startswith("no figure")


def test_tokens_are_listed_by_the_mean_rank_of_their_kl():
    """Twenty at each end, counted ones alone, with the text around them."""
    counted = bits(5, (W, P), 0.8)
    found, blocks = exits(counted=counted), late(counted)
    e = easy_sets.easy_sets_agree(lab(found, blocks=blocks), "strict")[1]["evidence"]
    kl = blocks.arrays["kl"]
    ranked = {}
    for w in range(W):
        for t in range(P):
            if counted[w, t]:
                ranked[w, t] = np.mean([np.sum(k[counted > 0] < k[w, t]) for k in kl])
    order = sorted(ranked, key=lambda place: ranked[place])
    assert [(token["window"], token["position"]) for token in e["easiest"]] == order[:20]
    assert [(token["window"], token["position"]) for token in e["hardest"]] == order[::-1][:20]
    token = e["easiest"][0]
    w, t = order[0]
    assert (token["token"], token["next"], token["said"]) == (f"w{w * T + t} ", f"w{w * T + t + 1} ", f"s{w * P + t} ")
    text = "".join(f"w{w * T + i} " for i in range(t))
    assert token["before"] == text[-60:]
    assert token["kl"] == pytest.approx(kl[:, w, t].mean())
    assert token["agreed"] is bool(found.arrays["agreed"][0][w, t])


def test_routing_goes_through_all_heads_in_order_of_depth():
    """Mid first, then the later ones; cost, random routing and what is saved, by a loop over tokens."""
    found, later = exits(), heads(EXITS[1:] * 2, [0.4, 0.5, 0.4, 0.5], seed=60)
    figure, remarks = routing.routing_cost(lab(found, later=later), "strict")
    a = found.arrays
    confidence = np.concatenate([a["confidence"][:1], later["confidence"][:2]])
    nll = np.concatenate([a["nll"][:1], later["nll"][:2], a["full_nll"][None]])
    rows = remarks["evidence"]["rows"]
    assert [row["threshold"] for row in rows] == [0.95, 0.8, 0.7, 0.5]
    for row in rows:
        left = [[next((e for e in range(3) if confidence[e, w, t] >= row["threshold"]), 3) for t in range(P)] for w in range(W)]
        chosen = np.array([[nll[left[w][t], w, t] for t in range(P)] for w in range(W)])
        assert row["perplexity"] == pytest.approx(np.exp(chosen.mean()))
        shares = np.bincount(np.ravel(left), minlength=4) / (W * P)
        assert row["shares"] == pytest.approx(shares)
        assert row["random"] == pytest.approx(np.exp(shares @ nll.mean((1, 2))))
        assert row["saved"] == pytest.approx(1 - shares @ np.array([6, 9, 10, 12]) / 12)
        full = 1200 + 800
        assert row["saved_with_heads"] == pytest.approx(1 - shares @ np.array([600 + 800, 900 + 1600, 1000 + 2400, 1200 + 3200]) / full)
    assert figure.value == pytest.approx(rows[0]["perplexity"] / np.exp(a["full_nll"].mean()) - 1)
    sure = np.concatenate([a["confidence"][1:], later["confidence"][2:], np.ones((1, W, P))]) >= 0.95
    chosen = np.take_along_axis(np.concatenate([a["nll"][1:], later["nll"][2:], a["full_nll"][None]]), sure.argmax(0)[None], 0)
    assert figure.half == pytest.approx(np.exp(chosen.mean() - a["full_nll"].mean()) - 1)
    bins = remarks["evidence"]["calibration"]["8"]["bins"]
    first = confidence[1] < 0.1
    assert bins[0] == {
        "low": 0.0,
        "high": 0.1,
        "tokens": first.sum(),
        "confidence": pytest.approx(confidence[1][first].mean()),
        "right": pytest.approx(later["right"][0][first].mean()),
    }
    assert remarks["evidence"]["trained"]["9"] == pytest.approx(later["agreed"][1].mean())


def test_routing_that_saves_nothing_has_no_figure():
    """Under one in a hundred of the blocks' operations: which says how much."""
    found, later = exits(confidence=np.full((2, W, P), 0.5)), heads(EXITS[1:] * 2, [0.4] * 4, confidence=np.full((4, W, P), 0.5))
    figure, remarks = routing.routing_cost(lab(found, later=later), "paper")
    assert np.isnan(figure.value)
    assert remarks["absent"] == "no figure: threshold 0.95 saves 0.00% of the blocks' operations, less than 1%"
    assert remarks["evidence"]["rows"][3]["shares"] == [1.0, 0.0, 0.0, 0.0]


def test_a_model_with_one_exit_is_routed_by_that_one():
    """No later head is asked for."""
    found = exits(exits=np.array([5.0]), naive=np.zeros((1, W, P)))
    figure, remarks = routing.routing_cost(lab(found), "paper")
    assert np.isfinite(figure.value)
    assert list(remarks["evidence"]["calibration"]) == ["5"]


def test_quick_runs_expect_quarter_steps():
    """Their own number of steps is no caveat; another one is."""
    quick = Protocol().quickened()
    assert quick.easy.steps == 125
    steps = np.linspace(0, 125, len(STEPS))
    assert easy.exit_agreement(lab(exits(steps=steps), protocol=quick), "paper")[1]["caveats"] == ()
    other = replace(quick, easy=EasyProtocol().trained_for(200))
    assert easy.exit_agreement(lab(exits(steps=steps), protocol=other), "paper")[1]["doubts"] == (
        "heads are trained for 200 steps, the protocol's are 125",
    )


def test_operations_that_cannot_be_counted_take_blocks_as_equal():
    """A model of which it is not known how many parameters a token uses is routed all the same, and that is said."""
    active = np.full(B, 100.0)
    active[3] = np.nan
    later = heads(EXITS[1:] * 2, [0.4] * 4, seed=60)
    known = routing.routing_cost(lab(exits(), later=later), "paper")
    figure, remarks = routing.routing_cost(lab(exits(active=active), later=later), "paper")
    assert figure.value == known[0].value
    assert [row["saved"] for row in remarks["evidence"]["rows"]] == pytest.approx([row["saved"] for row in known[1]["evidence"]["rows"]])
    assert all(np.isnan(row["saved_with_heads"]) for row in remarks["evidence"]["rows"])
    assert "how many parameters a token uses is not known: blocks are counted as equal, heads not at all" in remarks["caveats"]
    assert "nan" not in remarks["note"]


def test_other_steps_are_a_doubt_of_every_figure_of_heads():
    """Agreement, excess, gain, supervision, routing, and both criteria together: none is judged for another recipe."""
    other = replace(Protocol(), easy=EasyProtocol().trained_for(50))
    subject = lab(
        exits(steps=np.linspace(0, 50, len(STEPS))),
        distilled=heads([5, 5], [0.4] * 2),
        later=heads(EXITS[1:] * 2, [0.4] * 4),
        protocol=other,
    )
    told = "heads are trained for 50 steps, the protocol's are 500"
    for figure_of in (easy.exit_agreement, easy.exit_excess, easy.head_gain, easy.supervision):
        assert told in figure_of(subject, "paper")[1]["doubts"]
    assert told in routing.routing_cost(subject, "paper")[1]["doubts"]
    assert told in easy_sets.easy_sets_agree(subject, "paper")[1]["doubts"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"train": np.full((2, len(STEPS)), 4.9)}, "the head knows its text by heart: NLL 4.90 nats there, 6.00 on other text"),
        ({"held_agreed": np.tile([0.1, *[0.3] * 8, 0.28, 0.27], (2, 1))}, "the head agreed more before the end: 0.300, then 0.270"),
    ],
)
def test_heads_that_learned_too_much_carry_a_caveat(changes, told):
    """Text known by heart, and agreement that fell; what is said of a later head says which."""
    assert easy.exit_agreement(lab(exits(**changes)), "strict")[1]["caveats"] == (told,)
    later = heads(EXITS[1:] * 2, [0.4] * 4, **{name: np.concatenate([array, array]) for name, array in changes.items()})
    caveats = routing.routing_cost(lab(later=later), "strict")[1]["caveats"]
    assert caveats == (f"at block 8: {told}", f"at block 9: {told}")


def test_tokens_that_cannot_be_written_do_not_cost_the_figure():
    """What keeps the table from being written is a caveat."""
    subject = lab()

    def full(rung):
        raise MeasurementError("--tokens: disk full")

    subject.keep_tokens = full
    figure, remarks = easy.exit_agreement(subject, "paper")
    assert np.isfinite(figure.value)
    assert "--tokens: disk full" in remarks["caveats"]


def test_the_surest_tokens_alone_are_told():
    """Where only tokens of which the model is surest are both, a caveat says that they may carry the ratio."""
    found = exits()
    surest = found.arrays["full_confidence"] >= np.quantile(found.arrays["full_confidence"], 0.9)
    agreed = np.where(surest, late().easy, found.arrays["agreed"][0])
    remarks = easy_sets.easy_sets_agree(lab(exits(agreed=np.stack([agreed, agreed]))), "paper")[1]
    assert any("without the tenth of tokens of which the model is surest it is" in caveat for caveat in remarks["caveats"])
