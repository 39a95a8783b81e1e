"""Routing sends every token where its confidence says; what that costs and saves is what the definitions say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.routing import route, routed, saved


def by_loop(confidence, nll, full_nll, counted, threshold):
    """Shares, relative cost, perplexity and that of random exits, token by token; None where nothing counts."""
    exits, windows, positions = confidence.shape
    took, routed_nats, full_nats = [0] * (exits + 1), [], []
    every = [[] for _ in range(exits + 1)]
    for w in range(windows):
        for p in range(positions):
            if not counted[w, p]:
                continue
            choices = [*nll[:, w, p], full_nll[w, p]]
            leaves = next((e for e in range(exits) if confidence[e, w, p] >= threshold), exits)
            took[leaves] += 1
            routed_nats.append(choices[leaves])
            full_nats.append(full_nll[w, p])
            for e, nats in enumerate(choices):
                every[e].append(nats)
    n = len(full_nats)
    if not n:
        return None
    shares = [t / n for t in took]
    mixed = sum(share * sum(nats) / n for share, nats in zip(shares, every, strict=True))
    return shares, math.exp(sum(routed_nats) / n - sum(full_nats) / n) - 1, math.exp(sum(routed_nats) / n), math.exp(mixed)


def drawn(seed, exits=3, windows=6, positions=40):
    """Confidence and nats of heads, nats of the full model, and which positions count."""
    draw = np.random.default_rng(seed)
    confidence, nll = draw.random((exits, windows, positions)), draw.gamma(2, 1.5, (exits, windows, positions))
    return confidence, nll, draw.gamma(2, 1, (windows, positions)), (draw.random((windows, positions)) < 0.8).astype(float)


def test_a_worked_example():
    """Four tokens in two windows, two exits, threshold 0.8: two leave at the first exit, one at the second, one never."""
    confidence = np.array([[[0.9, 0.1], [0.8, 0.2]], [[0.1, 0.85], [0.99, 0.79]]])
    nll = np.array([[[1.0, 5.0], [2.0, 5.0]], [[5.0, 3.0], [5.0, 5.0]]])
    full = np.array([[0.5, 2.0], [1.0, 4.0]])
    assert route(confidence, 0.8).tolist() == [[0, 1], [0, 2]]
    found = routed(confidence, nll, full, np.ones((2, 2)), 0.8)
    assert found.shares.tolist() == [0.5, 0.25, 0.25]
    assert found.left == 0.75
    assert found.perplexity == pytest.approx(np.exp(10 / 4))
    assert found.full_perplexity == pytest.approx(np.exp(7.5 / 4))
    assert found.cost.value == pytest.approx(np.exp(2.5 / 4) - 1)
    np.testing.assert_allclose(found.cost.score, np.exp([1 / 2, 1.5 / 2]) - 1)
    assert found.random_perplexity == pytest.approx(np.exp(0.5 * 13 / 4 + 0.25 * 18 / 4 + 0.25 * 7.5 / 4))
    assert found.random_cost == pytest.approx(np.exp(0.5 * 13 / 4 + 0.25 * 18 / 4 - 0.75 * 7.5 / 4) - 1)


TABLE = (st.integers(1, 3), st.integers(1, 3), st.integers(1, 4))


@settings(max_examples=80, deadline=None)
@given(st.data(), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))
def test_routing_is_that_of_a_loop_over_tokens(data, threshold):
    """Shares, cost and perplexities, and each replicate without its window; windows in which nothing counts, and ties, included."""
    exits, windows, positions = (data.draw(size) for size in TABLE)
    confidence = data.draw(arrays(np.float64, (exits, windows, positions), elements=st.integers(0, 8).map(lambda v: v / 8)))
    nll = data.draw(arrays(np.float64, (exits, windows, positions), elements=st.floats(0, 9)))
    full = data.draw(arrays(np.float64, (windows, positions), elements=st.floats(0, 9)))
    counted = data.draw(arrays(np.float64, (windows, positions), elements=st.sampled_from([0.0, 1.0])))
    found, truth = routed(confidence, nll, full, counted, threshold), by_loop(confidence, nll, full, counted, threshold)
    if truth is None:
        assert np.isnan([found.cost.value, found.perplexity, found.random_perplexity, found.random_cost, *found.shares]).all()
        return
    np.testing.assert_allclose(found.shares, truth[0], atol=1e-12)
    values = [found.cost.value, found.perplexity, found.random_perplexity]
    np.testing.assert_allclose(values, truth[1:], rtol=1e-9, atol=1e-12)
    assert found.shares.sum() == pytest.approx(1)
    assert found.cost.origin == -1
    for w, replicate in enumerate(found.cost.score):
        keep = np.arange(windows) != w
        rest = by_loop(confidence[:, keep], nll[:, keep], full[keep], counted[keep], threshold)
        assert replicate == (pytest.approx(rest[1], rel=1e-9, abs=1e-12) if rest else pytest.approx(np.nan, nan_ok=True))


def test_positions_that_do_not_count_change_nothing():
    """Not even if they are not numbers; a window of them leaves the figure as it is when it is left out."""
    confidence, nll, full, counted = drawn(0)
    counted[2] = 0
    found = routed(confidence, nll, full, counted, 0.7)
    hidden = routed(*(np.where(counted > 0, array, np.nan) for array in (confidence, nll, full)), counted, 0.7)
    assert hidden.cost.value == found.cost.value == found.cost.score[2]
    assert (hidden.shares == found.shares).all()
    assert (hidden.perplexity, hidden.random_perplexity) == (found.perplexity, found.random_perplexity)
    assert np.isfinite(found.cost.interval(0.95).low)


@pytest.mark.parametrize(("threshold", "shares"), [(1.01, [0, 0, 0, 1]), (0.0, [1, 0, 0, 0])])
def test_the_ends_of_the_threshold(threshold, shares):
    """Above one nothing leaves and nothing is lost, and at zero everything leaves at the first exit, where chance has no choice."""
    confidence, nll, full, counted = drawn(1)
    found = routed(confidence, nll, full, counted, threshold)
    assert found.shares.tolist() == shares
    assert found.random_perplexity == pytest.approx(found.perplexity)
    if shares[-1]:
        assert (found.cost.value, found.cost.score.tolist()) == (0, [0] * 6)
    else:
        assert found.cost.value == pytest.approx(np.exp((nll[0] - full)[counted > 0].mean()) - 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted))
def test_a_lower_threshold_never_lets_fewer_leave(seed, thresholds):
    """Every token leaves where it left or earlier."""
    confidence, nll, full, counted = drawn(seed)
    low, high = thresholds
    assert (route(confidence, low) <= route(confidence, high)).all()
    assert routed(confidence, nll, full, counted, low).left >= routed(confidence, nll, full, counted, high).left


def test_heads_that_say_what_the_model_says_cost_nothing():
    """A vocabulary of two tokens, head and model of one distribution: no cost, however many leave, and none at random."""
    draw = np.random.default_rng(2)
    p = draw.uniform(0.5, 1, (8, 100))
    nll = -np.log(np.where(draw.random((8, 100)) < p, p, 1 - p))
    found = routed(p[None], nll[None], nll, np.ones((8, 100)), 0.75)
    assert 0.3 < found.left < 0.7
    assert found.cost.value == 0
    assert found.random_cost == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("threshold", [0.95, 0.8, 0.5])
def test_calibrated_heads_cost_the_entropy_of_what_leaves(threshold):
    """A head right with the probability p it states, uniform over ½ … 1, of two tokens, beside a model that is certain and right.

    What leaves costs 2 ∫_τ^1 H(p) dp nats, and at random exits a share 2(1 − τ) of 2 ∫_½^1 H(p) dp; within four standard errors.
    """

    def entropy_from(low):
        # ∫ −q ln q dq = q²/4 − q² ln(q)/2, for p from τ to 1 and for 1 − p from 0 to 1 − τ.
        def part(q):
            return q**2 / 4 - (q**2 * np.log(q) / 2 if q else 0)

        return part(1) - part(low) + part(1 - low)

    draw = np.random.default_rng(3)
    p = draw.uniform(0.5, 1, (50, 2000))
    nll = -np.log(np.where(draw.random(p.shape) < p, p, 1 - p))
    found = routed(p[None], nll[None], np.zeros(p.shape), np.ones(p.shape), threshold)
    error = nll.std() / np.sqrt(p.size)
    assert found.full_perplexity == 1
    assert found.left == pytest.approx(2 * (1 - threshold), abs=0.01)
    assert np.log1p(found.cost.value) == pytest.approx(2 * entropy_from(threshold), abs=4 * error)
    assert np.log1p(found.random_cost) == pytest.approx(found.left * 2 * entropy_from(0.5), abs=4 * error)
    assert found.cost.interval(0.9999).low < np.expm1(2 * entropy_from(threshold)) < found.cost.interval(0.9999).high
    if threshold > 0.5:
        assert found.cost.value < found.random_cost


def test_operations_saved_by_hand():
    """Blocks of 10, 20, 30 and 40 parameters, exits after the second and third, heads of 5.

    Blocks alone: (0.5·30 + 0.25·60 + 0.25·100)/100. With heads: (0.5·(30 + 5) + 0.25·(60 + 10) + 0.25·(100 + 15))/(100 + 5).
    """
    shares, active = np.array([0.5, 0.25, 0.25]), np.array([10.0, 20, 30, 40])
    assert saved(shares, [1, 2], active, 5, with_heads=False) == pytest.approx(0.45)
    assert saved(shares, [1, 2], active, 5, with_heads=True) == pytest.approx(1 - (0.5 * 35 + 0.25 * 70 + 0.25 * 115) / 105)


def test_heads_of_a_large_vocabulary_cost_more_than_they_save():
    """Two exits that nothing takes cost two heads; without counting heads they cost nothing, and without exits nothing is saved."""
    shares, active = np.array([0.0, 0, 1]), np.ones(8)
    assert saved(shares, [3, 5], active, 4, with_heads=True) == pytest.approx(-8 / 12)
    assert saved(shares, [3, 5], active, 4, with_heads=False) == 0
    assert saved(np.ones(1), [], active, 4, with_heads=True) == 0
    assert saved(np.ones(1), [], active, 4, with_heads=False) == 0


@pytest.mark.parametrize("with_heads", [False, True])
def test_blocks_of_unknown_size_save_an_unknown_share(with_heads):
    """NaN, also where the block that is not known is above every exit."""
    active = np.array([1.0, 1, 1, np.nan])
    assert np.isnan(saved(np.array([0.5, 0.5]), [1], active, 1, with_heads))


def test_the_exit_at_block_15_of_32_saves_half():
    """The paper counts that block as saved too: 17 of 32, or 53%."""
    assert saved(np.array([1.0, 0]), [15], np.ones(32), 0, with_heads=False) == 0.5
