"""What heads and late blocks say, made up; and a laboratory that has found it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from harness.destroyed import LateBlocks
from harness.errors import LongWorkError
from harness.exits import Exit, Heads
from harness.pieces import encode
from harness.protocol import Protocol

W, T, B = 8, 41, 12
P, EXITS, LATE = T - 1, [5, 8, 9], [8, 9, 10, 11]
SIZES = {"G": 16, "W": W, "S": W, "d": 16, "B": B}
STEPS = np.arange(0, 501, 50.0)


def bits(seed, shape, share):
    """Marks of about a share."""
    return (np.random.default_rng(seed).random(shape) < share).astype(float)


def heads(at, shares, counted=None, seed=0, **changes):
    """Arrays of heads that agree on about these shares of positions."""
    draw, h = np.random.default_rng(seed), len(at)
    curve = np.linspace(0.1, 0.3, len(STEPS))[None].repeat(h, 0)
    return {
        "at": np.array(at, float),
        "agreed": np.stack([bits(seed + i, (W, P), share) for i, share in enumerate(shares)]),
        "right": np.stack([bits(seed + 50 + i, (W, P), 0.2) for i in range(h)]),
        "confidence": draw.random((h, W, P)),
        "nll": draw.exponential(3, (h, W, P)) + 1,
        "counted": np.ones((W, P)) if counted is None else counted,
        "rate": np.full(h, 3e-4),
        "trials": np.tile([8.0, 7.0, 7.5], (h, 1)),
        "steps": STEPS,
        "train": np.full((h, len(STEPS)), 5.0),
        "held_nll": np.full((h, len(STEPS)), 6.0),
        "held_agreed": np.minimum(curve, 0.21),
        **{name: np.array(value) for name, value in (("fitted", 20_000.0), ("batch", 1.0), ("left_out", 0.05))},
        **changes,
    }


def exits(halves=2, counted=None, **changes):
    """The head at mid, which agrees on three tenths, and what stands beside it."""
    shares = [0.3, 0.29][:halves]
    arrays = heads([5] * halves, shares, counted)
    arrays |= {
        "full_right": bits(70, (W, P), 0.4),
        "full_confidence": np.random.default_rng(71).random((W, P)),
        "full_nll": np.random.default_rng(72).exponential(2, (W, P)),
        "bigram": np.stack([bits(73 + i, (W, P), 0.2) for i in range(halves)]),
        "exits": np.array(EXITS, float),
        "naive": np.stack([bits(74 + i, (W, P), 0.1 * i) for i in range(3)]),
        "active": np.full(B, 100.0),
        "head": np.array(800.0),
        "pieces": encode([f"w{i} " for i in range(W * T)]),
        "said": encode([f"s{i} " for i in range(W * P)]),
    }
    return Exit.of(arrays | changes, SIZES)


def late(counted=None, seed=80):
    """KL of late blocks that rank tokens partly alike."""
    draw = np.random.default_rng(seed)
    shared = draw.normal(size=(W, P))
    kl = np.exp(shared + draw.normal(size=(4, W, P)))
    counted = np.ones((W, P)) if counted is None else counted
    arrays = {"blocks": np.array(LATE, float), "kl": kl, "together": kl.sum(0), "counted": counted, "left_out": np.array(0.0)}
    return LateBlocks.of(arrays, SIZES)


def lab(found=None, lowest=None, distilled=None, later=None, blocks=None, protocol=None):
    """A laboratory that has found these, and would take long for what it has not."""

    def long(made):
        def measure(rung):
            if made is None:
                raise LongWorkError
            return Heads.of(made, SIZES)

        return measure

    made = found or exits()
    return SimpleNamespace(
        exit=lambda rung: made,
        lowest_exit=long(lowest),
        distilled_exit=long(distilled),
        later_exits=long(later),
        late_blocks=lambda rung: blocks or late(),
        keep_tokens=lambda rung: None,
        facts=SimpleNamespace(width=16),
        model=SimpleNamespace(n_blocks=B),
        protocol=protocol or Protocol(),
        unknown=lambda rung: 0.0,
        sizes=lambda rung: {"calibration": 32, "evaluation": 64},
    )
