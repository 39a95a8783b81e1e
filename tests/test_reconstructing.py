"""Claim 3's figures are those of a brute-force computation from its definitions, on a small Llama with massive activations."""

from __future__ import annotations

import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.admission import dissect
from harness.contests import _cross_terms, matched
from harness.labels import decode_names
from harness.measurement import ARENA, CHALLENGED, QUANTISED, Sizes
from harness.methods import WALL, Given, Inputs
from harness.moments import Sums
from harness.protocol import ReconstructionProtocol
from harness.quantised import Quantised
from harness.quantizers import Uniform
from harness.reconstruction import Reconstruction
from harness.work import Work
from tests import small_llama
from tests.reconstruction_oracle import CODEBOOK_GROUP, GROUP, Rung, Stores
from tests.small_llama_layers import BLOCKS, LAYERS, Truth
from tests.test_sweep import Pages

SIZES = ReconstructionProtocol(groups=GROUP, codebook_groups=CODEBOOK_GROUP)
PROTOCOL = replace(small_llama.PROTOCOL, reconstruction=SIZES)
CLOSE = {"rtol": 1e-5, "atol": 1e-7}  # logits are float32
LAYOUTS = {"paper": 0, "strict": 1}


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """The model and the windows of each layout."""
    folder = tmp_path_factory.mktemp("arena")
    lab, _ = small_llama.measured(folder)
    found = {layout: Truth(folder / "model", lab.windows(layout)) for layout in LAYOUTS}
    model = found["paper"].model.double().requires_grad_(False)
    del model.model.layers[BLOCKS:]
    model.config.num_hidden_layers = BLOCKS
    torch.manual_seed(3)
    for block in model.model.layers:
        # No block writes one of its coordinates, in which Δ has no variance, and CCA directions that rounding alone decides.
        block.self_attn.o_proj.weight[0] = 0.02 * torch.randn(small_llama.WIDTH)
        block.mlp.down_proj.weight[0] = 0.02 * torch.randn(40)
    found["strict"].model = model
    return found


def measured(anatomy, measurement, ids, bookmark=None, protocol=PROTOCOL):
    """The arrays of a measurement, ``rung/name``, and of those that came with it."""
    brought = {}
    subject, nothing = types.SimpleNamespace(anatomy=anatomy, device=torch.device("cpu")), lambda done, total: None
    needed = {split: ids[split] for split in measurement.needs()}
    work = Work(subject, measurement, needed, protocol, nothing, bookmark, None, lambda other, a: brought.update({other.name: a}), dict)
    own = measurement.measure(work)
    return {measurement.name: own, **brought}


@pytest.fixture(scope="module")
def anatomy(truth):
    """The model taken apart."""
    return dissect(truth["paper"].model)


@pytest.fixture(scope="module")
def pages():
    """What a bookmark kept of each layout's sweep."""
    return {layout: Pages() for layout in LAYOUTS}


@pytest.fixture(scope="module")
def found(truth, anatomy, pages):
    """All layers quantised, and the arena that comes with it, by measurement."""
    return {
        name: arrays
        for layout, place in LAYOUTS.items()
        for name, arrays in measured(anatomy, QUANTISED[place], truth[layout].ids, pages[layout]).items()
    }


@pytest.fixture(scope="module")
def stores(truth):
    """The definitions, by layout."""
    return {layout: Stores(truth[layout], layout == "strict") for layout in LAYOUTS}


def of(arrays, rung):
    """The arrays of a rung."""
    return {path.partition("/")[2]: array for path, array in arrays.items() if path.startswith(f"{rung}/")}


@pytest.mark.parametrize("rung", ["paper", "held-out", "typical", "strict", "GPTQ"])
def test_every_figure_of_every_layer_is_its_definition(truth, stores, found, rung):
    """Errors and what they are compared with, without each group of windows, on half the text; bits; cross-terms; on every rung."""
    slow, rung = rung == "GPTQ", "strict" if rung == "GPTQ" else rung
    layout = "strict" if rung == "strict" else "paper"
    a = of(found[CHALLENGED.name if slow else ARENA[LAYOUTS[layout]].name], rung)
    assert Reconstruction.of(a, {}).methods == stores[layout].methods(slow)
    assert list(zip(a["block"], decode_names(a["names"]), strict=True)) == LAYERS
    assert decode_names(a["unseen"]) == []
    expected = Rung(stores[layout], rung).arrays(slow)
    assert set(a) == {*expected, "names", "methods", "unseen"}
    for name, array in expected.items():
        np.testing.assert_allclose(a[name], array, rtol=1e-7, atol=1e-14, err_msg=name)


@pytest.mark.parametrize("rung", ["paper", "typical", "strict"])
def test_what_storing_every_layer_costs_is_that_of_the_model_run_whole(truth, stores, found, rung):
    """Of every method, and of direct quantisation first; positions that are not typical at a block have their clean values there."""
    layout = "strict" if rung == "strict" else "paper"
    a = of(found[QUANTISED[LAYOUTS[layout]].name], rung)
    whole = truth[layout]
    methods = ["direct", *stores[layout].methods(slow=False), *(stores[layout].methods(slow=True) if rung == "strict" else ())]
    assert Quantised.of(a, {"W": len(whole.ids["intervention"])}).variants == methods
    np.testing.assert_allclose(a["clean"], whole.nll(whole.clean), **CLOSE)
    expected = [stores[layout].quantised(method, everywhere=rung == "paper") for method in methods]
    np.testing.assert_allclose(a["nll"], [nll for nll, _ in expected], **CLOSE)
    np.testing.assert_allclose(a["kl"], [kl for _, kl in expected], **CLOSE)
    stay = 1 - np.mean([whole.typical("intervention", b) for b in range(BLOCKS)])
    assert a["left_out"] == pytest.approx(0 if rung == "paper" else stay)


def test_what_the_oracle_is_to_tell_apart_differs(truth, stores, found):
    """Massive activations at some blocks alone, groups that are ragged, ranks and mixtures of levels, costs that are no rounding."""
    for whole in truth.values():
        marks = {whole.typical("intervention", b).tobytes() for b in range(BLOCKS)}
        assert len(marks) > 1
    bases = [stores["strict"].base(layer, "pca", 0, "typical") for layer in LAYERS]
    assert {len(base) for base in bases} == {1, 2}
    for place, name in enumerate(("paper", "strict")):
        a = of(found[QUANTISED[place].name], name)
        assert (a["kl"].mean(1) > 1e-4).all()
        assert len({round(kl, 6) for kl in a["kl"].mean(1)}) == len(a["kl"])


@pytest.mark.parametrize("measurement", [*ARENA, CHALLENGED], ids=lambda m: m.name)
def test_what_comes_with_the_costs_is_what_is_measured_alone(truth, anatomy, found, measurement):
    """Every array, bit for bit; and it is what the store reads back."""
    ids = truth[measurement.layout].ids
    alone = measured(anatomy, measurement, ids)[measurement.name]
    assert set(alone) == set(found[measurement.name])
    for name, array in alone.items():
        np.testing.assert_array_equal(array, found[measurement.name][name], err_msg=name)
    windows = {split: len(each) for split, each in ids.items()}
    assert set(measurement.read(alone, Sizes(BLOCKS, small_llama.WIDTH, PROTOCOL.groups, windows))) == set(measurement.rungs)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_can_be_taken_up_at_any_block(truth, anatomy, found, pages, layout):
    """Whatever block it was interrupted after, all findings are those of a sweep left alone, bit for bit."""
    measurement, kept = QUANTISED[LAYOUTS[layout]], pages[layout].pages
    assert sorted(kept) == list(range(1, BLOCKS))
    for block in (2, 4):
        again = measured(anatomy, measurement, truth[layout].ids, Pages((block, kept[block])))
        assert set(again) == {measurement.name, *(other.name for other in measurement.brings)}
        for name, arrays in again.items():
            assert set(arrays) == set(found[name])
            for path, array in arrays.items():
                np.testing.assert_array_equal(array, found[name][path], err_msg=f"{name} {path}")


class Refusing(Pages):
    """Offers states that must be refused, as the store does: the sweep starts at block 0."""

    def load(self, take_up):
        """Offer them all."""
        for state in self.found[1]:
            with pytest.raises((ValueError, KeyError)):
                take_up(self.found[0], state)
        return 0


def test_a_state_that_does_not_fit_is_refused_and_leaves_nothing_behind(truth, anatomy, found, pages):
    """Missing, short, additional arrays, of another type, or of more blocks: the findings are those of a sweep that began anew."""
    layout = "paper"
    measurement, state = QUANTISED[LAYOUTS[layout]], pages[layout].pages[3]
    changed = [pages[layout].pages[4] | {name: array for name, array in state.items() if name.startswith("stream/")}]
    for name in (f"{layout}/error_rest", f"{layout}/tokens", "scored tokens", f"downstream/{layout}/svd", "downstream/left out", "names"):
        path = f"visitor0/{name}"
        array = state[path]
        changed.append({other: a for other, a in state.items() if other != path})
        # Without the last name; a letter less is a name still.
        others = (array[:-14],) if name == "names" else (array[:-1], array.astype(np.float32), array[..., None], np.float64(0))
        changed += [{**state, path: other} for other in others]
    changed += [{**state, f"visitor0/{name}": np.zeros(3)} for name in ("more", "downstream/more", f"{layout}/more")]
    again = measured(anatomy, measurement, truth[layout].ids, Refusing((3, changed)))
    for name, arrays in again.items():
        for path, array in arrays.items():
            np.testing.assert_array_equal(array, found[name][path], err_msg=f"{name} {path}")


@settings(max_examples=200, deadline=None)
@given(st.floats(0, 40), st.sampled_from(["tensor", "row", 3, 8, 64]), st.integers(1, 40), st.integers(1, 40), st.sampled_from([2, 5, 16]))
def test_direct_quantisation_stores_as_many_bits(bits, per, rows, columns, fewest):
    """Bits of the mixture are those asked for, or those of the fewest levels where these are more; up to 2^20 levels."""

    def stored(levels):
        return Uniform(levels, per).bits(rows, columns)

    asked = bits * rows * columns
    mixture = matched(asked, per, rows, columns, fewest)
    levels, shares = zip(*mixture, strict=True)
    assert sum(shares) == pytest.approx(1)
    assert min(shares) >= 0
    assert min(levels) >= fewest
    assert levels in {(levels[0],), (levels[0], levels[0] + 1)}
    found = sum(share * stored(each) for each, share in mixture)
    assert found == pytest.approx(min(max(asked, stored(fewest)), stored(1 << 20)), rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["tensor", "row", 4]), st.integers(1, 24), st.integers(1, 24), st.integers(0, 10**6))
def test_the_parts_of_quantised_factors_add_up(per, rows, columns, seed):
    """(A + ε_A)(B + ε_B) − W = (A B − W) + (ε_A B + A ε_B) + ε_A ε_B; there are none where no rank saves anything."""
    weight = torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, columns)))
    layer = Given(weight, per, Inputs(Sums.of(weight[:0], weight[:0])), 1.0, SIZES, 0, count_bases=True)
    stored, parts = WALL["svd"].make(layer), {key[0]: change for key, change, _ in _cross_terms(layer, per)}
    assert (stored is None) == (not parts) == (min(rows, columns) == 1)
    if stored is not None:
        assert list(parts) == ["truncation", "cross", "product"]
        torch.testing.assert_close(sum(parts.values()), stored[0] - weight, rtol=0, atol=1e-12)
        # The truncation has as many dimensions as the rank leaves.
        assert torch.linalg.matrix_rank(parts["truncation"], atol=1e-9) == min(rows, columns) - rows * columns // (rows + columns)
