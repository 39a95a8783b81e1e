"""Which settings a judged figure rests on is declared with its predicate, no more and no less: seeds and λ, of all but claims 4 and 5."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from claims import claim_1_variance_is_not_importance, claim_2_linearity_is_conditional, claim_3_the_reconstruction_wall
from claims import claim_appendix_extended_experiments as appendix
from claims.claim import JUDGED
from claims.declared import all_predicates
from fixtures import CORPORA
from fixtures.described import model_at
from fixtures.text_files import corpus_at
from harness.bench import Bench
from harness.measurement import all_on
from harness.protocol import Protocol
from harness.reconstruction import Reconstruction
from harness.settings import AXES, LAMBDA, SEEDS, affects, settings_of
from harness.store import Store
from harness.subject import Placement
from reports.judgement import judge
from reports.ledger import Cell
from tests import small_llama

MODULES = (claim_1_variance_is_not_importance, claim_2_linearity_is_conditional, claim_3_the_reconstruction_wall, appendix)
TESTS = {test.measures.predicate.name: test for module in MODULES for test in vars(module).values() if hasattr(test, "measures")}
BASE = replace(
    small_llama.PROTOCOL,
    variance=replace(small_llama.PROTOCOL.variance, nulls=2, directions=3),
    calibration_windows=8,
    evaluation_windows=4,
    strict_evaluation_windows=4,
    strict_tokens_per_width=8,
    groups=4,
)
SETTINGS = {setting.name: setting for setting in settings_of((SEEDS, LAMBDA), BASE, None, (), ())}
CHANGED = {SEEDS: SETTINGS["seed=1"], LAMBDA: SETTINGS["lambda=×100"]}
DECLARED = [(p, rung, axis) for _, p in all_predicates() for rung, axes in p.unmoved.items() for axis in axes]
OTHERS = [
    (p, rung, axis)
    for _, p in all_predicates()
    for rung in p.rungs
    for axis in CHANGED
    if p.name in TESTS and p.bounds.get(rung) and axis not in p.unmoved.get(rung, ())
    if any(affects(CHANGED[axis], BASE, measurement) for measurement in all_on(p.measured_by, rung))
]


@pytest.fixture(scope="module")
def labs(tmp_path_factory):
    """Laboratories of the base run (None), of another seed, and of another λ."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("unmoved")
    model, text = model_at(str(small_llama.save(folder / "model"))), corpus_at(str(small_llama.write(folder / "text")))
    bench = Bench(Placement("cpu"), BASE, Store(None), lambda name: lambda done, total: None, long=True)
    try:
        yield {axis: (bench.under(CHANGED[axis], {}) if axis else bench).laboratory(model, text) for axis in (None, *CHANGED)}
    finally:
        torch.set_num_threads(threads)


class Planted:
    """A laboratory in which the rounding counts, any prediction is enough, and a drawn basis comes nearest to beating INT4."""

    def __init__(self, lab):
        self._lab = lab
        v = replace(lab.protocol.variance, above_rounding=1e30, most_rounding=0.0, least_r2=-1e30)
        self.protocol = replace(lab.protocol, variance=v)

    def __getattr__(self, name):
        return getattr(self._lab, name)

    def arena(self, rung):
        """Return the arena with a thousandth of the error of the drawn basis."""
        found = self._lab.arena(rung)
        drawn = [list(found.methods).index("random")]
        arrays = {name: array.copy() for name, array in found.arrays.items()}
        for name in ("error", "error_rest", "error_half"):
            arrays[name][drawn] *= 1e-3
        return Reconstruction(arrays)


def judged(lab, predicate, rung):
    """What a cell is judged to be and from what; the note, which also tells what stands beside the figure, is no part of it."""
    test, rows = TESTS[predicate.name], []

    def verdict(figure, *, doubts=(), caveats=(), note=None, absent="", evidence=None, everywhere=None):
        cell = Cell("m", "c", test.measures.claim.key, predicate.name, rung)
        rows.append(judge(cell, test.measures, small_llama.BLOCKS, figure, doubts, caveats, note, lab, absent, everywhere))

    test(rung=rung, lab=lab, verdict=verdict, **({"block": small_llama.BLOCKS - 1} if predicate.blocks else {}))
    return [replace(row, reason=None) for row in rows]


def named(case):
    """Name a case in a test's id."""
    return f"{case[0].name}-{case[1]}-{case[2]}"


@pytest.mark.parametrize("case", DECLARED, ids=named)
def test_what_is_declared_is_of_an_axis_that_its_measurement_reads(case):
    """On a rung that is judged: else there is nothing to declare."""
    predicate, rung, axis = case
    settings = settings_of(AXES, Protocol(), "float32", ("mine",), [CORPORA["code"]])
    found = [s for s in settings if s.axis == axis]
    assert rung in JUDGED
    assert predicate.bounds[rung]
    assert any(affects(s, Protocol(), measurement) for s in found for measurement in all_on(predicate.measured_by, rung))


@pytest.mark.parametrize("case", [case for case in DECLARED if case[2] in CHANGED], ids=named)
def test_what_is_declared_unmoved_is_the_same_row(labs, case):
    """Value, interval, verdict, doubts and caveats, to the last digit; on planted findings too."""
    predicate, rung, axis = case
    for of in (lambda lab: lab, Planted):
        assert judged(of(labs[axis]), predicate, rung) == judged(of(labs[None]), predicate, rung)


@pytest.mark.parametrize("case", OTHERS, ids=named)
def test_what_is_not_declared_is_another_row(labs, case):
    """On the model, or where rounding is a doubt and a drawn basis the one that is named."""
    predicate, rung, axis = case
    assert any(judged(of(labs[axis]), predicate, rung) != judged(of(labs[None]), predicate, rung) for of in (lambda lab: lab, Planted))


def test_the_parameters_of_a_map_of_full_rank_are_those_of_its_width(labs):
    """So that no setting can change the compression on strict."""
    found = labs[None].runs("strict")
    assert found.number("map_parameters") == small_llama.WIDTH * (small_llama.WIDTH + 1)
    assert (np.asarray(found.arrays["map_parameters_fit"]) == found.number("map_parameters")).all()
