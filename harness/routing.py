"""Early exit token by token: where a token leaves by a head's confidence, what that costs, and what it saves. No torch.

A token that leaves at an exit never runs the blocks above it. What is measured here is read off whole runs: later tokens still attend to
the full stream of those that left. Keys and values of the blocks that were skipped are so taken to be had for nothing, and quality is that
of an upper bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.exits import difference, share
from harness.statistics import Array, Figure


@dataclass(frozen=True)
class Routing:
    """What leaving early at one threshold costs, over counted positions.

    ``shares (E + 1)``: of tokens that leave at each exit, and of those that the full model decides. ``cost``: relative perplexity cost,
    exp(mean NLL routed − mean NLL full) − 1, with a replicate for each evaluation window left out. ``perplexity``, ``full_perplexity``:
    routed, and of the full model. ``random_perplexity``, ``random_cost``: of exits drawn at random in the same shares.
    """

    shares: Array
    cost: Figure
    perplexity: float
    full_perplexity: float
    random_perplexity: float

    @property
    def left(self) -> float:
        """The share of tokens that leave at any exit."""
        # Not the sum of the others, whose rounding could make fewer of more.
        return float(1 - self.shares[-1])

    @property
    def random_cost(self) -> float:
        """Relative perplexity cost of random exits."""
        return self.random_perplexity / self.full_perplexity - 1


def route(confidence: Array, threshold: float) -> NDArray[np.int64]:
    """Return the first exit of E, by depth, whose head's confidence ``(E, W, P)`` reaches the threshold: ``(W, P)``.

    E, the full model, where none does.
    """
    sure = np.concatenate([confidence >= threshold, np.ones((1, *confidence.shape[1:]), dtype=np.bool_)])
    first: NDArray[np.int64] = sure.argmax(0)
    return first


def routed(confidence: Array, nll: Array, full_nll: Array, counted: Array, threshold: float) -> Routing:
    """Route every token; ``confidence``, ``nll (E, W, P)`` of the heads, ``full_nll (W, P)`` of the full model, nats; ``counted (W, P)``.

    Random exits have the expected mean NLL, exactly: the mean over tokens of Σ_e share_e NLL_e. Where nothing counts, all is NaN.
    """
    left = route(confidence, threshold)
    every = np.concatenate([nll, full_nll[None]])
    chosen = np.take_along_axis(every, left[None], axis=0)[0]
    shares = np.array([share((left == e).astype(np.float64), counted) for e in range(len(every))])
    means = np.array([_mean(one, counted) for one in every])
    cost = difference(chosen, full_nll, counted).map(lambda nats: float(np.expm1(nats)), -1.0)
    perplexities = [float(np.exp(nats)) for nats in (_mean(chosen, counted), means[-1], shares @ means)]
    return Routing(shares, cost, *perplexities)


def _mean(nll: Array, counted: Array) -> float:
    # Not by share: a position that does not count may be NaN.
    found = nll[counted > 0]
    return float(found.mean()) if found.size else np.nan


def saved(shares: Array, exits: Sequence[int], active: Array, head: float, with_heads: bool) -> float:
    """Return the share of operations saved, 1 − operations/baseline, two operations a parameter; NaN where ``active`` has one.

    ``shares (E + 1)`` as in :class:`Routing`; ``exits``: the block whose output each exit reads, so that a token that leaves at block b has
    run blocks 0 … b; ``active (B)``: parameters that a token uses in each block; ``head``: those of norm and head. Blocks alone against
    all blocks; or ``with_heads`` against all blocks and one head, where a token that leaves at the i-th exit, from 0, has evaluated i + 1
    heads, and one that never leaves E and the model's own. That may be negative: the heads of a large vocabulary cost more than the blocks
    they save.

    Products of queries with keys, which grow with the context, are not counted. arXiv:2604.20682, Table 8, counts the block of the exit as
    saved too, (32 − 15)/32 = 53% at B15, which is a token that leaves before block 15, though its heads read what block 15 puts out.
    """
    run = np.cumsum(active)
    operations = np.append(run[np.asarray(exits, dtype=np.int64)], run[-1])
    baseline = run[-1]
    if with_heads:
        operations = operations + head * np.arange(1, len(operations) + 1)
        baseline = baseline + head
    return float(1 - shares @ operations / baseline)
