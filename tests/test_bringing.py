"""What comes with another measurement is not measured apart, and is not lost when that other one fails or is interrupted."""

from __future__ import annotations

import types

import numpy as np
import pytest
import torch

from harness import replacing_each
from harness.admission import dissect
from harness.affine_linearity import AffineLinearity
from harness.errors import MeasurementError
from harness.measurement import AFFINE, EACH, RANK, on
from harness.sweep import sweep
from harness.work import Work
from tests.conftest import ROOT
from tests.test_replacing import IDS, OWN, PROTOCOL, model  # noqa: F401
from tests.test_sweep import Pages

NAMES = {"paper": (EACH[0].name, RANK.name), "strict": (EACH[1].name, AFFINE.name)}


def timings(result):
    """How each measurement of a report was made."""
    return next(parts for pair, parts in result.report["timings"].items() if pair != "wall_seconds")


@pytest.mark.parametrize("rung", NAMES)
def test_linearity_comes_with_the_cost_of_every_block_when_both_are_wanted(claims, rung):
    """One sweep; without the other it has its own, and gives the same figures."""
    files, (bringer, name) = [ROOT / "claims"], NAMES[rung]
    both = claims("-m", f"claim4 and {rung}", "-k", "gain or late", "--verdicts=report", files=files)
    assert timings(both)[name] == {"stored": False, "with": bringer, "windows": timings(both)[name]["windows"]}
    assert f"  {name}: came with {bringer}, " in str(both.stdout)
    alone = claims("-m", f"claim4 and {rung}", "-k", "gain", "--verdicts=report", "--no-store", files=files)
    assert "with" not in timings(alone)[name]
    assert bringer not in timings(alone)
    one, other = (next(row for row in r.report["rows"] if row["value"] is not None) for r in (both, alone))
    assert one["predicate"] == other["predicate"] == "depth_gain"
    assert (one["value"], one["low"], one["high"]) == pytest.approx((other["value"], other["low"], other["high"]), rel=1e-9)
    stored = claims("-m", f"claim4 and {rung}", "-k", "gain or late", "--verdicts=report", files=files)
    assert {part["stored"] for part in timings(stored).values()} == {True}


def test_linearity_is_measured_alone_when_the_cost_of_every_block_cannot_be(claims, monkeypatch):
    """What failed says so in its own cells; R² does not suffer from it."""

    def fail(*given):
        raise MeasurementError("block 3 cannot run without the blocks below")

    monkeypatch.setattr(replacing_each, "branch", fail)
    result = claims("-m", "claim4 and paper", "-k", "gain or late", files=[ROOT / "claims"])
    rows = {row["predicate"]: row for row in result.report["rows"] if row["rung"] == "paper"}
    assert rows["depth_gain"]["value"] is not None
    assert (rows["late_is_cheap"]["verdict"], rows["late_is_cheap"]["reason"]) == ("error", "block 3 cannot run without the blocks below")
    assert "with" not in timings(result)[RANK.name]
    assert result.ret == 6


def replaced(model, layout, bookmark=None):  # noqa: F811
    """Sweep a tiny Llama for the cost of every block, and give what was found, linearity included."""
    cpu, ids, brought = torch.device("cpu"), OWN if layout == "strict" else IDS, {}
    subject = types.SimpleNamespace(anatomy=dissect(model), device=cpu)
    measurement, nothing = on(EACH, layout), lambda done, total: None
    work = Work(subject, measurement, ids, PROTOCOL, nothing, bookmark, None, lambda _, arrays: brought.update(arrays), dict)
    return {**measurement.measure(work), **{f"linearity/{name}": array for name, array in brought.items()}}


@pytest.mark.parametrize("layout", ["paper", "strict"])
def test_it_can_be_taken_up_at_any_block(model, layout):  # noqa: F811
    """Whatever block it was interrupted after, the findings are those of a run left alone, to 1e-12."""
    pages = Pages()
    whole = replaced(model, layout, pages)
    assert sorted(pages.pages) == list(range(1, 7))
    for block in (1, 3, 6):
        again = replaced(model, layout, Pages((block, pages.pages[block])))
        assert set(again) == set(whole)
        for name, array in again.items():
            np.testing.assert_allclose(array, whole[name], rtol=1e-12, err_msg=name)


class Refusing(Pages):
    """What the store does with what does not fit: the sweep starts at block 0."""

    def load(self, take_up):
        """Offer the page, which must be refused."""
        with pytest.raises((ValueError, KeyError)):
            take_up(*self.found)
        return 0


@pytest.mark.parametrize("layout", ["paper", "strict"])
@pytest.mark.parametrize("change", ["short", "more", "type", "missing", "of the other visitor"])
def test_a_state_that_does_not_fit_is_refused_and_leaves_nothing_behind(model, layout, change):  # noqa: F811
    """Short, additional, missing or other arrays, of either visitor: the findings are those of a run that began anew."""
    pages = Pages()
    whole = replaced(model, layout, pages)
    state = pages.pages[3]
    name = next(name for name in state if name.endswith("/nll"))
    other = next(name for name in state if name.startswith("visitor1/"))
    changed = {
        "short": {**state, name: state[name][:-1]},
        "more": {**state, "visitor0/strict/other": state[name]},
        "type": {**state, name: state[name].astype(np.float32)},
        "missing": {key: array for key, array in state.items() if key != name},
        "of the other visitor": {**state, other: state[other].astype(np.float32)},
    }[change]
    again = replaced(model, layout, Refusing((3, changed)))
    assert set(again) == set(whole)
    for key, array in again.items():
        np.testing.assert_array_equal(array, whole[key], err_msg=key)


def test_windows_of_interventions_do_not_enter_linearity(model):  # noqa: F811
    """The sweep that scores interventions on windows of their own gives the same R² as one without them."""
    anatomy, found = dissect(model), []
    for ids in (IDS, OWN):
        visitor = AffineLinearity(9, 5, 12, PROTOCOL, "cpu")
        sweep(anatomy, ids, [visitor])
        found.append(visitor.result()["strict"].arrays)
    for name, array in found[0].items():
        np.testing.assert_array_equal(array, found[1][name])
