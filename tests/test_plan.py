"""``--plan`` says what would run, and loads nothing; estimates follow the sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fixtures import MODELS, Model, hub
from harness import estimate
from harness.estimate import Cost
from harness.measurement import ABLATION, AFFINE, MEASUREMENTS, PROJECTION, RANK, SPECTRA
from harness.protocol import Protocol
from harness.rates import Rates, probe
from reports import plan
from reports.plan import _Part
from tests.conftest import ROOT

RATES = Rates(1e11, 5e10, 5e9, 2)


def test_a_plan_loads_and_measures_nothing(claims, monkeypatch):
    """Cells, tokens, memory and time; exit code 0, no report; after a run it says what is stored."""
    with monkeypatch.context() as patched:
        patched.setattr("harness.loading.load", lambda *_: pytest.fail("loaded"))
        result = claims("--plan")
    assert result.ret == 0
    assert result.report is None
    result.stdout.fnmatch_lines(
        [
            "plan: 44 cells on cpu; nothing is loaded or measured",
            "rising-???????? · planted, 8 blocks, d = 16",
            "  weights: /*rising, here",
            "  text: text-*, folder text (read from the path given)",
            "  cells: 32 of claim 2, 12 of claim 4",
            "  linearity by rank-k maps: 32 + 16 windows, 12,288 tokens; about * s, * of memory",
            "  linearity by affine maps: 32 + 64 windows, 24,576 tokens; about * s, * of memory",
            "in all: no downloads; about * s; peak memory about * MB",
            "estimates, good to about a factor of two, from rates measured just now: * GFLOP/s in float32, * in float64",
        ]
    )
    claims("-m", "paper")
    result = claims("--plan", "-m", "not strict")
    result.stdout.fnmatch_lines(["plan: 33 cells*", "  linearity by rank-k maps: in the store, nothing to measure", "in all: no downloads"])
    result.stdout.no_fnmatch_line("*affine*")


def test_a_plan_says_what_shares_a_sweep(claims):
    """On each layout: what visits one, and the streams that other measurements start from."""
    result = claims("--plan", "-k", "wall_dct or depth_gain or single_replacement", files=[ROOT / "claims"])
    lines = [line for line in result.outlines if "one sweep over" in line]
    named = [line.partition(": ")[0].removeprefix("  one sweep over ") for line in lines]
    assert named == [
        f"{layout} windows for reconstruction of every layer, {layout} windows, linearity by {kind} maps and streams"
        for layout, kind in (("paper", "rank-k"), ("strict", "affine"))
    ]
    assert all(line.endswith(" s less") for line in lines)
    assert not any("one sweep" in line for line in claims("--plan", "-k", "depth_gain", files=[ROOT / "claims"]).outlines)


def test_a_shared_sweep_is_counted_once_and_all_that_it_holds_at_once():
    """Two sweeps of three are saved; memory is that of the process, and what each of the three holds beside it."""
    part = _Part()
    costs = [Cost((1,), 1, seconds, memory) for seconds, memory in ((10.0, 5e9), (20.0, 7e9), (30.0, 6e9))]
    for cost in costs:
        part.add("something", cost)
    part.share("paper", ["a", "b", "c"], costs, Cost((1,), 1, 4.0, 2e9))
    assert part.seconds == 10 + 20 + 30 - 2 * 4
    assert part.memory == 2e9 + 3e9 + 5e9 + 4e9
    assert part.lines[-1] == "  one sweep over paper windows for a, b and c: 8 s less"


def test_a_plan_of_nothing_is_not_green(claims):
    """Exit code 5, as without it."""
    assert claims("--plan", "-k", "no_such_test").ret == 5


def test_a_plan_names_the_downloads(claims, monkeypatch):
    """Registered sizes serve where they are stated."""
    for module in (plan, hub):
        monkeypatch.setattr(module, "unreachable", lambda: None)
    result = claims("--plan", "-m", "mistral", model=None)
    result.stdout.fnmatch_lines(
        [
            "mistral · Mistral 7B v0.1, 32 blocks, d = 4096",
            "  weights: mistralai/Mistral-7B-v0.1@27d67f1b, a download of about 14.5 GB",
            "  linearity by affine maps: 512 + 64 windows, 147,456 tokens; about *",
            "in all: downloads: about 14.5 GB; *",
        ]
    )


def test_a_plan_of_what_cannot_be_had_is_an_error(claims):
    """The same as of the run, and exit code 6: a registered model, and text."""
    for arguments in (["-m", "gpt2"], ["--corpus=wikitext-2"]):
        result = claims("--plan", *arguments, model=None, text=None)
        assert result.ret == 6
        result.stdout.fnmatch_lines(["  ERROR: *: not in the cache, and HF_HUB_OFFLINE is set. Unset *", "in all: no downloads"])


def test_a_plan_says_when_memory_does_not_suffice(claims, monkeypatch):
    """Before hours are spent."""
    monkeypatch.setattr(plan, "_free_memory", lambda device: 10_000_000)
    claims("--plan").stdout.fnmatch_lines(["MORE than the 10 MB that are free on cpu: a smaller --dtype, *"])


def test_a_plan_needs_no_workers(claims):
    """``-n`` changes nothing: no worker is started."""
    result = claims("--plan", "-n", "2")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["plan: 44 cells on cpu*"])


@pytest.mark.parametrize("kind", MEASUREMENTS, ids=lambda kind: kind.name)
def test_estimates_grow_as_the_work_does(kind):
    """Time is linear in blocks, but for what is solved at one boundary; memory is not, but for the weights; rates enter as rates."""
    model = Model("m", "x", 10, MODELS["gpt2"].source, width=512, vocabulary=1000, parameters=1000 * 512)
    one, two = (estimate.cost(kind, replace(model, n_blocks=b), Protocol(), 4, RATES) for b in (10, 20))
    if kind in (RANK, AFFINE, SPECTRA):
        assert two.seconds == pytest.approx(2 * one.seconds)
    else:
        assert two.seconds >= one.seconds
    assert two.memory == one.memory
    fast = Rates(*(2 * rate for rate in (RATES.product, RATES.product64, RATES.eigen)), RATES.cores)
    assert estimate.cost(kind, model, Protocol(), 4, fast).seconds == pytest.approx(one.seconds / 2)
    assert estimate.cost(kind, replace(model, parameters=2 * model.parameters), Protocol(), 4, RATES).memory > one.memory
    assert one.tokens == sum(one.windows) * Protocol().window


def test_an_intervention_low_in_a_model_costs_more_than_one_at_mid():
    """Only the blocks above run: projections from a quarter up cost more a variant than ablations from the middle."""
    model = Model("m", "x", 32, MODELS["gpt2"].source, width=512, vocabulary=0, parameters=10**8)
    protocol = Protocol()
    paper, strict = (estimate.cost(kind, model, protocol, 4, replace(RATES, product64=1e30, eigen=1e30)) for kind in PROJECTION)
    ablation = estimate.cost(ABLATION[1], model, protocol, 4, RATES).seconds / 128
    assert ablation == pytest.approx(2 * 10**8 / 2 * 16 * 256 / RATES.product)
    assert paper.seconds / 2 / (10 + 4) == pytest.approx(23 / 32 * 2 * ablation)
    assert strict.seconds / (27 + 8) == pytest.approx(ablation)


def test_rates_are_measured():
    """Positive, and eigenvectors dearer than products."""
    rates = probe("cpu", 4)
    assert rates.product > 0
    assert rates.product64 > rates.eigen > 0
