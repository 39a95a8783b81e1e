"""What the harness runs for the core predicates is what they need, next to nothing beside it: counted, not timed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import core_figures
from benchmarks.engine import PARTS, gap, shape_of
from benchmarks.passes import Passes, Shape, needed
from harness.anatomy import Anatomy
from harness.protocol import Protocol, ReplacementProtocol
from harness.training import Training
from tests import small_llama

PROTOCOL = replace(small_llama.PROTOCOL, replacement=ReplacementProtocol(run=3, refit_stride=2))


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """What is needed by part, and what the harness does by claim: windows past a block, past the head, and in steps of training."""
    done, by_claim = Passes(), {}
    run, logits, step = Anatomy.run, Anatomy.logits, Training.step

    def count(**more):
        nonlocal done
        done += Passes(**more)

    def runs(self, block, stream, call):
        count(blocks=len(stream))
        return run(self, block, stream, call)

    def reads(self, hidden):
        count(heads=hidden.shape[:-1].numel() / (PROTOCOL.window - 1))
        return logits(self, hidden)

    def learns(self):
        count(steps=self.batch)
        return step(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_llama, "PROTOCOL", PROTOCOL)
        lab = small_llama.measured(tmp_path_factory.mktemp("passes"))[0]
        lab._bench.wanted = {(lab.model.name, lab.corpus.name): core_figures.wanted(PARTS)}
        lab._bench.long = False
        shape = shape_of(lab._bench.load(lab.model).anatomy)
        for layout in ("paper", "strict"):
            lab.windows(layout)
        patch.setattr(Anatomy, "run", runs)
        patch.setattr(Anatomy, "logits", reads)
        patch.setattr(Training, "step", learns)
        for claim in PARTS:
            before = done
            core_figures.figures(lab, claim)
            by_claim[claim] = tuple(a - b for a, b in zip(done.parts(), before.parts(), strict=True))
    return shape, needed(PROTOCOL, shape), by_claim


def total(parts):
    """The sum of passes."""
    found = Passes()
    for part in parts:
        found += part
    return found


def test_next_to_nothing_runs_that_is_not_needed(counted):
    """Of blocks an eighth more at most, of heads a twentieth, of training nothing; and nothing of what is needed is left out."""
    _, parts, done = counted
    least, most = total(parts.values()).parts()[:3], [sum(found[i] for found in done.values()) for i in range(3)]
    assert least[0] <= most[0] <= 1.125 * least[0]
    assert least[1] <= most[1] <= 1.05 * least[1]
    assert most[2] == least[2]


def test_claim_1_runs_no_block_in_vain(counted):
    """Its sweep serves everything, and interventions run what lies above them."""
    _, parts, done = counted
    asked = [part for name, part in parts.items() if name.endswith((*PARTS[1], "one sweep"))]
    assert done[1][0] == total(asked).blocks
    assert (done[3][0], done[4][0]) == (0, 0)


def test_a_shape_is_read_off_a_model(counted):
    """Weights that a token meets in a block and the head, attention, and what layers read."""
    shape, _, _ = counted
    d, inner = small_llama.WIDTH, 40
    assert shape == Shape(small_llama.BLOCKS, d, d * d * 3 + 3 * d * inner + 2 * d, d * small_llama.WORDS, d, (d, d, d, inner))


def test_operations_are_those_of_products():
    """Two for every weight and token; queries meet the keys up to their own; backward costs twice forward."""
    shape = Shape(4, 8, 100.0, 50.0, 6, (8,))
    keys = sum(range(1, 17))
    assert Passes(blocks=3).operations(shape, 16) == 3 * (2 * 100 * 16 + 2 * 2 * 6 * keys)
    assert Passes(heads=2).operations(shape, 16) == 2 * 2 * 50 * 15
    assert Passes(steps=2).operations(shape, 16) == 3 * Passes(heads=2).operations(shape, 16)


@pytest.mark.parametrize("field", ["calibration_windows", "evaluation_windows"])
def test_what_is_needed_grows_with_the_windows(field):
    """Twice the windows never need less, and nothing needs more than twice as much."""
    shape = Shape(12, 64, 1e4, 1e5, 64, (64, 64, 64, 256))
    protocol = Protocol()
    one, two = needed(protocol, shape), needed(replace(protocol, **{field: 2 * getattr(protocol, field)}), shape)
    ratios = [b / a for name in one for a, b in zip(one[name].parts(), two[name].parts(), strict=True) if a]
    assert min(ratios) >= 1
    assert 1.5 < max(ratios) <= 2


def test_figures_of_two_sides_are_held_against_one_another():
    """The largest difference is named, absolute below one and relative above; what one side alone has is no small difference."""
    nan = float("nan")
    assert gap({"a": 0.5, "b": 200.0}, {"a": 0.501, "b": 100.0}) == (1.0, "b")
    assert gap({"a": 0.5, "b": nan}, {"a": 0.501, "b": nan}) == (pytest.approx(0.001), "a")
    assert gap({"a": 0.5, "b": nan}, {"a": 0.501, "b": 1.0}) == (float("inf"), "b")
    inf = float("inf")
    assert gap({"a": 0.5, "b": inf}, {"a": 0.501, "b": inf}) == (pytest.approx(0.001), "a")
    assert gap({"a": inf, "b": 1.0}, {"a": 2.0, "b": 1.0}) == (inf, "a")
    with pytest.raises(SystemExit, match="one side alone"):
        gap({"a": 1.0}, {"b": 1.0})
