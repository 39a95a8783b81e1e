"""Measurements that visit a sweep share one, and the streams that are kept with them: figures are those of sweeps of their own."""

from __future__ import annotations

import types

import pytest

from harness import reconstructing
from harness.anatomy import Anatomy
from harness.bookmark import StoreBookmark
from harness.errors import MeasurementError
from harness.measurement import AFFINE, ARENA, RANK, RUNS
from harness.measuring import Measuring
from harness.visits import Shown
from tests.conftest import ROOT
from tests.test_bringing import timings

FILES = [ROOT / "claims"]
CHOSEN = ("--verdicts=report", "-k", "wall_dct or depth_gain or single_replacement")
"""Layers, linearity and streams: on each layout three that want a sweep."""


@pytest.fixture
def runs(monkeypatch):
    """Counts how many whole windows pass block 1, below anything that is intervened in; a model that is admitted is shown shorter ones."""
    passed, run = [], Anatomy.run

    def counted(self, block, stream, call):
        passed.append(len(stream) if block == 1 and stream.shape[1] == 256 else 0)
        return run(self, block, stream, call)

    monkeypatch.setattr(Anatomy, "run", counted)
    return passed


def apart(monkeypatch):
    """Have nothing shared."""
    monkeypatch.setattr(Measuring, "_share", lambda self, *given: None)


@pytest.mark.parametrize("rung", ["paper", "strict"])
def test_one_sweep_serves_all_that_visit_it_and_the_streams(claims, runs, monkeypatch, rung):
    """Every window passes a block once; rows are those of one sweep each, bit for bit."""
    together = claims("-m", rung, *CHOSEN, files=FILES)
    once = sum(runs)
    apart(monkeypatch)
    runs.clear()
    each = claims("-m", rung, *CHOSEN, "--no-store", files=FILES)
    assert together.report["rows"] == each.report["rows"]
    assert {row["predicate"] for row in each.report["rows"] if row["value"] is not None} >= {"wall_dct", "depth_gain", "single_replacement"}
    sizes = timings(together)[RUNS[rung == "strict"].name]["windows"]
    assert once == sum(sizes.values())
    # On strict the windows of interventions pass in the streams' sweep alone.
    assert sum(runs) == 3 * once - 2 * sizes.get("intervention", 0)
    made = timings(together)
    names = {(AFFINE if rung == "strict" else RANK).name, ARENA[rung == "strict"].name}
    assert {made[name].get("with") for name in names} == {None, next(name for name in names if "with" not in made[name])}
    again = claims("-m", rung, *CHOSEN, files=FILES)
    assert {part["stored"] for part in timings(again).values()} == {True}


@pytest.mark.parametrize("error", [MeasurementError, ValueError])
def test_what_fails_takes_nothing_else_with_it(claims, monkeypatch, error):
    """A visitor that fails in the shared sweep, foreseen or not, fails alone, and says so in its own cells."""

    def fail(*given):
        raise error("layers of another planet")

    monkeypatch.setattr(reconstructing.ReconstructionVisitor, "end_block", fail)
    result = claims("-m", "paper", *CHOSEN, files=FILES)
    rows = {row["predicate"]: row for row in result.report["rows"] if row["rung"] == "paper"}
    assert rows["wall_dct"]["verdict"] == "error"
    assert "layers of another planet" in rows["wall_dct"]["reason"]
    assert rows["depth_gain"]["value"] is not None
    assert rows["single_replacement"]["value"] is not None
    assert "what shares a sweep over paper windows is made one by one: layers of another planet" in str(result.stderr)


def interrupted(patch, at):
    """Have a run end at a block of a sweep, with everything before it kept; a model that is admitted is shown shorter windows."""
    run = Anatomy.run

    def stopped(self, block, stream, call):
        if block == at and stream.shape[1] == 256:
            raise KeyboardInterrupt
        return run(self, block, stream, call)

    patch.setattr(Anatomy, "run", stopped)
    patch.setattr("harness.bookmark._SHARE", 1e9)  # Saved after every block, whatever that costs.


def test_a_shared_sweep_is_not_taken_up_under_another_seed(claims, monkeypatch):
    """Linearity has the same key under both, and the layers beside it do not: nothing of one seed is stored as the other's."""
    chosen = ("-m", "paper", "--verdicts=report", "-k", "wall_random or r2-")  # R² is asked for first.
    whole = claims(*chosen, "--seed", "1", "--no-store", files=FILES)
    with monkeypatch.context() as patch:
        interrupted(patch, 5)
        with pytest.raises(KeyboardInterrupt):  # pytester raises what ended the run.
            claims(*chosen, "--seed", "0", files=FILES)
    assert claims(*chosen, "--seed", "1", files=FILES).report["rows"] == whole.report["rows"]


@pytest.mark.parametrize("at", [2, 5])
def test_a_shared_sweep_is_taken_up_where_it_was(claims, runs, monkeypatch, at):
    """The blocks before the interruption are not run for the visitors again; streams, which were not kept, are swept alone."""
    whole = claims("-m", "paper", *CHOSEN, "--no-store", files=FILES)
    with monkeypatch.context() as patch:
        interrupted(patch, at)
        with pytest.raises(KeyboardInterrupt):
            claims("-m", "paper", *CHOSEN, files=FILES)
    begun, load = [], StoreBookmark.load
    monkeypatch.setattr(StoreBookmark, "load", lambda *given: begun.append(load(*given)) or begun[-1])
    runs.clear()
    taken_up = claims("-m", "paper", *CHOSEN, files=FILES)
    assert at in begun
    assert taken_up.report["rows"] == whole.report["rows"]
    sizes = timings(taken_up)[RUNS[0].name]["windows"]
    assert sum(runs) == sum(sizes.values())  # Of the streams alone.


def test_a_visitor_is_shown_its_splits_alone():
    """Batches and ends of others are kept from it; the end of a block is everybody's."""
    seen = []
    visitor = types.SimpleNamespace(
        see=lambda *given: seen.append(given), end_split=lambda split: seen.append(split), end_block=lambda block: seen.append(block)
    )
    shown = Shown(visitor, {"mine"})
    for split in ("mine", "other"):
        shown.see(split, 0, None, None)
        shown.end_split(split)
    shown.end_block(3)
    assert seen == [("mine", 0, None, None), "mine", 3]


@pytest.mark.parametrize(("rung", "linearity"), [("paper", RANK), ("strict", AFFINE)])
def test_nothing_is_swept_for_streams_that_nobody_wants(claims, runs, rung, linearity):
    """Linearity and layers share a sweep over the windows that they need, and no others."""
    result = claims("-m", rung, "--verdicts=report", "-k", "wall_dct or depth_gain", files=FILES)
    assert sum(runs) == sum(timings(result)[linearity.name]["windows"].values())
