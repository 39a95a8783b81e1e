"""A row that stands for many layers: judged by all of them, its exceptions named, one enough where the claim says "strictly"."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from claims import Verdict
from claims.claim import Measures
from claims.declared import WALL
from claims.everywhere import Everywhere
from harness.protocol import Protocol
from harness.reconstruction import by_block, geometric_mean
from harness.statistics import Figure
from reports.judgement import judge
from reports.ledger import Cell

SIGNS = np.array([1.0, -1.0] * 8)


def layers(values: list[float], error: float = 0.01) -> Figure:
    """Ratios of layers, each with a standard error on the log scale of about so much, each layer's of its own pattern."""
    values_, draw = np.array(values), np.random.default_rng(0)
    noise = draw.permuted(np.tile(SIGNS, (len(values), 1)), axis=1).T * error / math.sqrt(15)
    return Figure(values_, score=values_ * np.exp(noise), origin=0.0)


def judged(predicate: str, figure: Figure, everywhere: Everywhere):
    """The row that claim 3's predicate makes of it."""
    measures = Measures(WALL, WALL.named(predicate), ("strict",))
    lab = SimpleNamespace(protocol=Protocol(), sizes=lambda rung: {"calibration": 32, "evaluation": 16})
    return judge(Cell("m", "c", 3, predicate, "strict"), measures, 12, figure, (), (), "a note", lab, everywhere=everywhere)


def wall(values: list[float], error: float = 0.01):
    """A row of the wall."""
    parts = layers(values, error)
    return judged("wall_svd", geometric_mean(parts), Everywhere(parts, tuple(f"layer {i}" for i in range(len(values)))))


def test_every_layer_must_hold():
    """One layer that is not above 1 keeps the wall from holding, whatever the mean; it is named."""
    assert wall([1.5, 2.0, 30.0]).verdict is Verdict.HOLDS
    below = wall([1.5, 0.9, 30.0])
    assert (below.verdict, below.low > 1) == (Verdict.INCONCLUSIVE, True)
    assert "1 of 3 wholly below 1 (layer 1 0.9)" in below.reason
    undecided = wall([1.5, 1.001, 30.0])
    assert undecided.verdict is Verdict.INCONCLUSIVE
    assert undecided.reason == "1 of 3 undecided; a note"


def test_the_mean_falsifies_and_not_a_layer():
    """FALSIFIED when the mean's upper limit is below 1; at most three exceptions are named, the least first."""
    row = wall([0.5, 0.9, 0.8, 0.7, 1.1])
    assert (row.verdict, row.high < 1) == (Verdict.FALSIFIED, True)
    assert "4 of 5 wholly below 1 (layer 0 0.5, layer 3 0.7, layer 2 0.8, …)" in row.reason
    assert wall([0.9, 1.2, 1.2], 0.3).verdict is Verdict.INCONCLUSIVE


def test_a_rung_without_verdicts_says_what_it_would_be():
    """By its layers, as on judged rungs, so that the sentence on controls names the one that decides; at quarter sizes nothing is said."""
    measures = Measures(WALL, WALL.named("wall_svd"), ("held-out",))
    parts = layers([1.5, 0.9, 30.0])
    for quick, would in ((False, Verdict.INCONCLUSIVE), (True, None)):
        lab = SimpleNamespace(protocol=Protocol(quick=quick), sizes=lambda rung: {"calibration": 32, "evaluation": 16})
        cell, everywhere = Cell("m", "c", 3, "wall_svd", "held-out"), Everywhere(parts, ("a", "b", "c"))
        row = judge(cell, measures, 12, geometric_mean(parts), (), (), None, lab, everywhere=everywhere)
        assert (row.verdict, row.would, row.low > 1) == (Verdict.MEASURED, would, True)
        assert row.from_json(row.as_json(), None) == row
        assert type(row.as_json()["would"]) in (str, type(None))  # What workers can send.
        assert row.against(WALL.named("wall_svd").bounds["strict"]) is (would or Verdict.HOLDS)


def strictly(values: list[float], error: float = 0.01):
    """A row of "strictly superior"."""
    everywhere = Everywhere(layers(values, error), tuple(f"layer {i}" for i in range(len(values))), one_falsifies=True)
    return judged("strictly", everywhere.parts.at(everywhere.worst()), everywhere)


def test_one_layer_is_enough_where_there_is_to_be_no_exception():
    """One upper limit below 1 falsifies, at a level that is corrected for the number of layers; the row shows that layer."""
    row = strictly([2.0, 0.9, 30.0])
    assert (row.verdict, row.value) == (Verdict.FALSIFIED, 0.9)
    assert row.level == pytest.approx(1 - 0.05 / 3)
    assert strictly([2.0, 1.1, 30.0]).verdict is Verdict.HOLDS
    # Three standard errors are enough for one layer and not for a hundred.
    assert strictly([0.97], 0.01).verdict is Verdict.FALSIFIED
    assert strictly([0.97] + [5.0] * 99, 0.01).verdict is Verdict.INCONCLUSIVE


def test_layers_without_a_figure_are_left_out():
    """NaN takes part in nothing; without any figure the row is not applicable."""
    row = wall([1.5, math.nan, 2.0])
    assert (row.verdict, row.value) == (Verdict.HOLDS, pytest.approx(math.sqrt(3)))
    parts = Figure(np.full(2, np.nan), score=np.full((16, 2), np.nan), origin=0.0)
    assert judged("wall_svd", geometric_mean(parts), Everywhere(parts, ("a", "b"))).verdict is Verdict.NOT_APPLICABLE


def test_means_of_blocks_are_geometric():
    """The mean over the layers of each block, on the log scale; a block without a figure has none."""
    found = by_block(np.array([2.0, 8.0, np.nan, 3.0]), np.array([0.0, 0.0, 1.0, 2.0]))
    assert found == {0: pytest.approx(4.0), 2: pytest.approx(3.0)}
