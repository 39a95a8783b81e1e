"""What is said beside a figure of linearity: doubts that keep it from being judged, and caveats."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from claims.linearity import order_caveat, remarks
from harness.linearity import Linearity
from harness.protocol import Protocol


def linearity(values, error=0.01, **changes) -> Linearity:
    """A linearity of blocks with given R² and independent errors."""
    blocks = len(values)
    noise = np.random.default_rng(0).normal(size=(16, blocks)) * error / math.sqrt(15)
    arrays = {name: np.zeros(blocks) for name in Linearity.NAMES}
    arrays |= {"value": np.array(values), "fit": np.array(values) + noise, "score": np.array(values) + noise, "half": np.array(values)}
    arrays |= {"rank": np.full(blocks, 16.0), "fitted": np.full(blocks, 16.0 * 32)}
    return Linearity(arrays | {name: np.array(value, dtype=float) for name, value in changes.items()})


def laboratory(found: Linearity, calibration=72, evaluation=64, unknown=0.0):
    """What remarks need of a laboratory."""
    return SimpleNamespace(
        protocol=Protocol(),
        facts=SimpleNamespace(width=576),
        linearity=lambda rung: found,
        unknown=lambda rung: unknown,
        sizes=lambda rung: {"calibration": calibration, "evaluation": evaluation},
    )


def test_undersampled_strict_figures_are_doubted():
    """Fewer than 16 tokens a dimension, at the block or, for a figure over blocks, at any."""
    lab = laboratory(linearity([0.1, 0.5], fitted=[16 * 15, 16 * 16]))
    assert "fitted to 240 tokens, fewer than 16 for each of 16 dimensions" in remarks(lab, "strict", 0)["doubts"]
    assert not remarks(lab, "strict", 1)["doubts"]
    assert remarks(lab, "strict")["doubts"]
    assert not remarks(lab, "paper", 0)["doubts"]


def test_a_penalty_at_the_end_of_its_grid_is_a_caveat():
    """Said, and judged all the same."""
    lab = laboratory(linearity([0.1, 0.5, 0.6], edge=[0, 1, 0]))
    assert not remarks(lab, "strict", 0)["caveats"]
    assert remarks(lab, "strict", 1)["caveats"] == ("λ stands at an end of the cross-validation's grid",)
    assert remarks(lab, "strict")["caveats"] == ("λ of 1 of 3 blocks stands at an end of the cross-validation's grid",)


def test_a_text_too_short_for_the_strict_sizes_is_a_caveat():
    """How many windows there are, and how many were asked for."""
    lab = laboratory(linearity([0.1, 0.5]), calibration=40, evaluation=16)
    expected = "the text holds 40 of 72 calibration windows and 16 of 64 evaluation windows that the protocol asks for"
    assert remarks(lab, "strict", 0)["caveats"] == (expected,)
    assert not remarks(lab, "paper", 0)["caveats"]


def test_a_text_that_the_tokenizer_does_not_know_in_part_is_a_caveat():
    """From 1% on, on every rung."""
    for rung in ("paper", "strict"):
        assert not remarks(laboratory(linearity([0.1, 0.5]), unknown=0.009), rung, 0)["caveats"]
        found = remarks(laboratory(linearity([0.1, 0.5]), unknown=0.4), rung, 0)["caveats"]
        assert found == ("40% of the tokens are the tokenizer's token for what it does not know",)


def test_blocks_within_noise_are_counted():
    """A rank correlation over blocks that noise can swap says so."""
    assert order_caveat(linearity([0.1, 0.5, 0.9])) is None
    assert order_caveat(linearity([0.1, 0.5, 0.5001])).startswith("33% of pairs")
