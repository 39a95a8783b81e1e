"""Figures of destroyed blocks follow from made-up arrays as their definitions say, written again in plain NumPy and SciPy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr, t

from harness.destroyed import ATTENTION, BOTH, MLP, PARTS, LastMlp, LateBlocks, Phase, Profile

W, P, L, B = 6, 9, 4, 8
DRAW = np.random.default_rng(0)


def late(kl=None, counted=None, together=None):
    """What late blocks leave."""
    kl = DRAW.exponential(size=(L, W, P)) if kl is None else kl
    counted = (DRAW.random((W, P)) < 0.7).astype(float) if counted is None else counted
    together = DRAW.exponential(size=kl.shape[1:]) if together is None else together
    left_out = np.array(1 - counted.mean())
    found = {"blocks": np.arange(8.0, 8 + len(kl)), "kl": kl, "together": together, "counted": counted, "left_out": left_out}
    return LateBlocks.of(found, {})


def by_loop(kl, counted):
    """The share of counted positions below every block's median, one by one."""
    positions = [(w, p) for w in range(len(counted)) for p in range(counted.shape[1]) if counted[w, p]]
    medians = [np.median([block[position] for position in positions]) for block in kl]
    easy = [position for position in positions if all(block[position] < m for block, m in zip(kl, medians, strict=True))]
    return len(easy) / len(positions), medians, easy


def test_the_share_of_easy_tokens():
    """Below the median of each block, over counted positions alone; without each window medians are taken anew."""
    found = late()
    kl, counted = found.arrays["kl"], found.arrays["counted"]
    share, medians, easy = by_loop(kl, counted)
    assert found.blocks == [8, 9, 10, 11]
    assert found.share.value == pytest.approx(share)
    np.testing.assert_allclose(found.medians, medians)
    assert sorted(map(tuple, np.argwhere(found.easy))) == sorted(easy)
    rest = [by_loop(np.delete(kl, w, 1), np.delete(counted, w, 0))[0] for w in range(W)]
    np.testing.assert_allclose(found.share.score, rest)
    assert len(set(rest)) > 2
    rows = kl[:, counted > 0]
    pairs = [spearmanr(rows[i], rows[j]).statistic for i in range(L) for j in range(i)]
    assert found.observed == pytest.approx(np.mean(pairs))
    together = found.arrays["together"][counted > 0]
    assert found.curve([0.1, 1.0, np.inf]) == [(together <= tau).mean() for tau in (0.1, 1.0, np.inf)]
    assert found.together_median == np.median(together)


@settings(max_examples=50, deadline=None)
@given(arrays(np.float64, (3, 4, 5), elements=st.floats(0.001, 10)), st.integers(0, 2))
def test_the_share_depends_on_ranks_alone_and_is_half_at_most(kl, block):
    """Whatever the KLs: any rising function of one block's changes nothing, and no more than half lie below a median."""
    counted, scaled = np.ones((4, 5)), kl.copy()
    scaled[block] = 8 * scaled[block] + 3
    found, other = late(kl, counted), late(scaled, counted)
    assert 0 <= found.share.value <= 0.5
    same = all(
        np.array_equal(np.unique(a, return_inverse=True)[1], np.unique(b, return_inverse=True)[1]) for a, b in zip(kl, scaled, strict=True)
    )
    if same:
        np.testing.assert_array_equal(found.easy, other.easy)
    shuffled = DRAW.permutation(20)
    again = late(kl.reshape(3, 20)[:, shuffled].reshape(3, 4, 5), counted)
    assert again.share.value == found.share.value


def test_a_block_that_changes_nothing_for_half_of_the_tokens_has_no_share():
    """No KL lies below a median of zero, which says nothing of easy tokens; one token more, and there is a share."""
    kl = np.ones((3, 4, 5)) + DRAW.random((3, 4, 5))
    kl[1].flat[:11] = 0
    assert np.isnan(late(kl, np.ones((4, 5))).share.value)
    kl[1].flat[:2] = 0.5
    assert late(kl, np.ones((4, 5))).share.value >= 0


def test_shares_that_are_known():
    """Equal ranks in all blocks: half. A block's opposite: none. Independent ones of many tokens: 0.5^L."""
    one = DRAW.random((W, 10))
    assert late(np.stack([one, one**2, np.log(one)]), np.ones((W, 10))).share.value == 0.5
    assert late(np.stack([one, -one]), np.ones((W, 10))).share.value == 0
    many = np.random.default_rng(1).random((L, 40, 500))
    assert late(many, np.ones((40, 500))).share.value == pytest.approx(1 / 16, abs=0.005)


def test_nothing_counted_is_no_figure():
    """NaN, and no warning."""
    found = late(counted=np.zeros((W, P)))
    assert np.isnan(
        [found.share.value, *found.share.score, *found.medians, found.observed, *found.curve([1.0]), found.together_median]
    ).all()
    assert np.isnan(late(DRAW.random((1, W, P))).observed)


def profile(attention, mlp, both=None, noise=0.2, windows=W):
    """What every block leaves, with such KLs in the mean."""
    kl = np.stack([np.asarray(both if both is not None else attention, dtype=float), np.asarray(attention, dtype=float), np.asarray(mlp)])
    blocks = kl.shape[1]
    draw = np.random.default_rng(3).uniform(-noise, noise, (len(PARTS), blocks, windows))
    by_window = kl[..., None] * (1 + draw - draw.mean(-1, keepdims=True))
    clean = np.linspace(2, 3, windows)
    found = {"clean": clean, "nll": clean + 0.1 * by_window, "kl": by_window, "left_out": np.zeros(blocks)}
    return Profile.of(found, {"W": windows, "B": blocks})


def test_the_shape_over_depth():
    """min(first, last) over the median of the middle, of both parts; without each window; its interval by Student's t on the log scale."""
    both = [4.0, 2, 1, 0.5, 0.7, 0.6, 1, 3]
    found = profile(np.ones(B), np.ones(B), both)
    np.testing.assert_allclose(found.kl(BOTH), both)
    figure = found.u_shape(range(2, 7))
    assert figure.value == pytest.approx(3 / 0.7)
    kl = found.arrays["kl"][0]
    rest = []
    for w in range(W):
        mean = np.delete(kl, w, 1).mean(1)
        rest.append(min(mean[0], mean[-1]) / np.median(mean[2:7]))
    np.testing.assert_allclose(figure.score, rest)
    error = np.sqrt((W - 1) / W * np.square(np.log(rest) - np.log(rest).mean()).sum())
    low = figure.value * np.exp(-t.ppf(0.975, W - 1) * error)
    assert figure.interval(0.95).low == pytest.approx(low)
    nll = found.arrays["nll"][0]
    np.testing.assert_allclose(found.added, np.exp(nll.mean(1)) - np.exp(2.5))
    assert found.baseline == pytest.approx(np.exp(2.5))


def test_a_middle_that_costs_nothing_gives_no_ratio():
    """NaN, and no warning."""
    assert np.isnan(profile(np.ones(B), np.ones(B), [4.0, 2, 0, 0, 0, 0, 0, 3]).u_shape(range(2, 7)).value)


def test_phases_are_runs_of_one_side():
    """A side dominates from twice the other's KL on, that included; what a block has not dominates nothing; zeros are neither."""
    attention = [4.0, 1, 1, 2, 1.9, 1, 0, np.nan, 3]
    mlp = [1.0, 3, 2, 1, 1.0, 1, 0, 0.1, np.nan]
    found = profile(attention, mlp, np.ones(9), noise=0.0)
    assert found.sides(2.0) == [ATTENTION, MLP, MLP, ATTENTION, "neither", "neither", "neither", MLP, ATTENTION]
    runs = [(0, 0, ATTENTION), (1, 2, MLP), (3, 3, ATTENTION), (4, 6, "neither"), (7, 7, MLP), (8, 8, ATTENTION)]
    assert found.phases(2.0) == [Phase(*run) for run in runs]
    assert set(found.sides(4.5)[:6]) == {"neither"}


@settings(max_examples=50, deadline=None)
@given(arrays(np.float64, (2, B), elements=st.floats(0, 10).map(lambda kl: round(kl, 6))), st.floats(1.1, 5))
def test_phases_cover_every_block_once(kl, dominates):
    """In order, neighbours of different sides; with attention and MLP exchanged the sides are."""
    found, other = (profile(a, m, noise=0.0).phases(dominates) for a, m in (kl, kl[::-1]))
    assert [b for run in found for b in range(run.first, run.last + 1)] == list(range(B))
    assert all(a.side != b.side for a, b in pairwise(found))
    swap = {ATTENTION: MLP, MLP: ATTENTION, "neither": "neither"}
    assert other == [Phase(run.first, run.last, swap[run.side]) for run in found]


def test_blocks_near_an_edge_of_the_rule_are_named():
    """Where the interval of attention over MLP holds 2 or 1/2, or has no end; not far from them, nor where a side is missing."""
    attention, mlp = [2.02, 6.0, 1.0, 0.5, 0.1, np.nan, 0.0, 1.98], [1.0, 1, 1, 1.01, 1, 1, 1, 1]
    assert profile(attention, mlp).undecided(2.0) == [0, 3, 7]
    assert profile(attention, mlp, noise=0.0).undecided(2.0) == []
    lone = profile(attention, mlp)
    lone.arrays["kl"][2, 1] = [6.0, 0, 0, 0, 0, 0]
    assert lone.undecided(2.0) == [0, 1, 3, 7]


@pytest.mark.parametrize("name", ["skipped", "mean"])
def test_what_the_last_mlp_is_worth(name):
    """The exponential of the mean negative log-likelihood, minus that of the clean run; without each window."""
    parts = {part: DRAW.random(W) for part in ("clean", "skipped", "mean", "skipped_kl", "mean_kl")}
    found = LastMlp.of({**parts, "fitted": np.array(5.0), "left_out": np.array(0.0)}, {"W": W})
    assert found.cost(name).value == pytest.approx(np.exp(parts[name].mean()) - np.exp(parts["clean"].mean()))
    rest = [np.exp(np.delete(parts[name], w).mean()) - np.exp(np.delete(parts["clean"], w).mean()) for w in range(W)]
    np.testing.assert_allclose(found.cost(name).score, rest)
    assert found.baseline == pytest.approx(np.exp(parts["clean"].mean()))
    assert found.perplexity(name) == pytest.approx(np.exp(parts[name].mean()))
