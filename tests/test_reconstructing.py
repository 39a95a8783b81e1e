"""Claim 3's figures are those of a brute-force computation from its definitions, on a small Llama with massive activations."""

from __future__ import annotations

import types
from dataclasses import replace

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.admission import dissect
from harness.challengers import ENTERED, challenger
from harness.contests import _cross_terms, matched
from harness.errors import MeasurementError
from harness.labels import decode_names
from harness.measurement import ARENA, CHALLENGED, QUANTISED, Sizes, Work
from harness.methods import CHALLENGERS, WALL, Given, Inputs
from harness.moments import Sums
from harness.protocol import Protocol, ReconstructionProtocol
from harness.quantised import Quantised
from harness.quantizers import Uniform
from harness.reconstruction import Reconstruction
from tests import small_llama
from tests.reconstruction_oracle import BLOCKS, CODEBOOK_GROUP, GROUP, LAYERS, Rung, Stores, Truth, output, uniform
from tests.test_anatomy import build
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
    """Bits of the mixture are those asked for, or those of the fewest levels where these are more; up to 2^24 levels."""

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
    assert found == pytest.approx(min(max(asked, stored(fewest)), stored(1 << 24)), rel=1e-12)


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


def test_a_model_without_a_layer_that_can_be_followed_is_an_error(monkeypatch):
    """What stands in the way is named."""
    monkeypatch.setattr("harness.layers._PRODUCTS", {})
    with pytest.raises(
        MeasurementError, match=r"^no linear layer of any block can be followed: .*h\.0\.attn\.c_attn\.weight is in no product"
    ):
        small("gpt2", drawn(), ARENA[0])


def small(family, ids, measurement, model=None):
    """Measure a tiny model of a family on drawn text."""
    anatomy = dissect(build(family) if model is None else model)
    return measured(anatomy, measurement, ids, protocol=Protocol(groups=4, reconstruction=SIZES))


def drawn(tokens=97, first=None):
    """Windows of every split; ``first``: the token that they begin with, and have nowhere else."""
    ids = {name: np.random.default_rng(i).integers(0, tokens, (n, 24)) for i, (name, n) in enumerate(SPLITS.items())}
    if first is not None:
        for each in ids.values():
            each[:, 0] = first
    return ids


SPLITS = {"calibration": 8, "evaluation": 6, "intervention": 3}


def dct_error(w, x):
    """Output MSE of quantising the DCT of W with one scale, at rows x."""
    return output(scipy.fft.idctn(uniform(scipy.fft.dctn(w, norm="ortho"), 16, "tensor"), norm="ortho") - w, (x.T @ x / len(x))[None])[0]


def test_weights_that_are_stored_transposed_go_through_the_arena():
    """GPT-2: four layers a block, all figures finite, and errors those of the weight the right way round."""
    model, ids = build("gpt2"), drawn()
    read = {}
    for b, block in enumerate(model.transformer.h):
        for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
            layer = block.get_submodule(name)
            layer.register_forward_pre_hook(lambda module, given, key=(b, name): read.__setitem__(key, given[0].double().numpy()))
    model(torch.from_numpy(ids["calibration"]))
    expected = [
        dct_error(model.transformer.h[b].get_submodule(name).weight.detach().double().numpy().T, x.reshape(-1, x.shape[-1]))
        for (b, name), x in read.items()
    ]
    for measurement in ARENA:
        arrays = small("gpt2", ids, measurement)[measurement.name]
        for rung in measurement.rungs:
            a = of(arrays, rung)
            assert list(zip(a["block"], decode_names(a["names"]), strict=True)) == list(read)
            for name in ("error", "base", "error_rest", "base_rest", "weight", "base_weight", "bits", "base_bits", "cross"):
                assert np.isfinite(a[name]).all()
            assert (a["error"] > 0).all()
            if rung == "paper":
                np.testing.assert_allclose(a["error"][0, :, 0], expected, rtol=1e-5)


def test_experts_go_through_the_arena_by_the_tokens_that_reached_them():
    """Mixtral's packed experts: layers of each, all figures finite but CCA's, errors those of the tokens that the router sends."""
    model, ids = build("mixtral"), drawn()
    read = {}
    for b, block in enumerate(model.model.layers):
        block.mlp.register_forward_hook(lambda module, given, out, b=b: read.__setitem__(b, given[0].reshape(-1, 32)))
    model(torch.from_numpy(ids["evaluation"]))
    for measurement in ARENA:
        arrays = small("mixtral", ids, measurement)[measurement.name]
        for rung in measurement.rungs:
            a = of(arrays, rung)
            methods, names = Reconstruction.of(a, {}).methods, decode_names(a["names"])
            assert len(names) == 3 * (4 + 2 * 4)
            experts = np.array(["experts" in name for name in names])
            assert experts.sum() == 3 * 2 * 4
            for i, method in enumerate(methods):
                known = ~experts if method == "cca" else experts | ~experts
                for name in ("error", "base", "weight", "base_weight", "bits", "base_bits"):
                    np.testing.assert_array_equal(np.isfinite(a[name][i]), np.repeat(known[:, None], 2, 1), err_msg=f"{method} {name}")
            for b in range(3):
                there = {name: a["tokens"][i] for i, name in enumerate(names) if a["block"][i] == b}
                routed = sum(tokens for name, tokens in there.items() if "gate_up_proj" in name)
                assert routed == 2 * there["self_attn.q_proj"]
            for i, (b, name) in enumerate(zip(a["block"].astype(int), names, strict=True)):
                if rung == "held-out" and "gate_up_proj" in name:
                    e, mlp = int(name[-2]), model.model.layers[b].mlp
                    sent = (read[b] @ mlp.gate.weight.T).topk(2).indices.eq(e).any(-1)
                    expected = dct_error(mlp.experts.gate_up_proj[e].double().numpy(), read[b][sent].double().numpy())
                    assert a["error"][0, i, 0] == pytest.approx(expected, rel=1e-5)


def test_an_expert_that_atypical_tokens_alone_reach_has_figures_where_these_count():
    """All first tokens, and no other: nothing is fitted to none of its tokens, and nothing is scored on them."""
    model, ids = build("mixtral"), drawn(tokens=96, first=96)
    model.model.embed_tokens.weight[:, 0] = -1.0
    model.model.embed_tokens.weight[96, 0] = 9.0
    for block in model.model.layers:
        block.self_attn.o_proj.weight[0] = 0
        block.mlp.experts.down_proj[:, 0] = 0
        block.mlp.gate.weight[3] = 1000 * torch.eye(32)[0]
    found = small("mixtral", ids, QUANTISED[0], model)
    arrays = found[ARENA[0].name]
    for rung, tokens in (("paper", 8), ("held-out", 8), ("typical", 0)):
        a = of(arrays, rung)
        alone = [i for i, name in enumerate(decode_names(a["names"])) if "experts" in name and name.endswith("[3]")]
        assert len(alone) == 6
        np.testing.assert_array_equal(a["tokens"][alone], tokens)
        for i, method in enumerate(Reconstruction.of(a, {}).methods):
            fitted = method in ("pca", "cca") and (tokens == 0 or method == "cca")
            assert np.isnan(a["bits"][i][alone]).all() == fitted
            assert np.isnan(a["error"][i][alone]).all() == (fitted or tokens == 0)
    assert np.isfinite(found[QUANTISED[0].name]["typical/nll"]).all()
    arrays = small("mixtral", ids, ARENA[1], model)[ARENA[1].name]
    assert not [name for name in decode_names(arrays["strict/names"]) if name.endswith("[3]")]


@pytest.fixture
def entered():
    """What a test enters is gone afterwards."""
    yield
    ENTERED.clear()


def test_a_challenger_from_outside_is_measured_as_one_of_ours_would_be(entered):
    """The Hadamard rotation under another name: every figure and every cost is the same; and what it writes to is its own."""
    ids = drawn()
    before = small("llama", ids, QUANTISED[1])

    @challenger("another")
    def another(layer):
        return CHALLENGERS["hadamard"].make(layer)

    @challenger("zeros")
    def zeros(layer):
        layer.second_moment.zero_()
        for factor in layer.factored():
            factor.zero_()
        return layer.weight.zero_(), 1.0

    @challenger("none")
    def none(layer):
        return None

    after = small("llama", ids, QUANTISED[1])
    a, q = of(after[ARENA[1].name], "strict"), of(after[QUANTISED[1].name], "strict")
    methods, variants = Reconstruction.of(a, {}).methods, Quantised.of(q, {}).variants
    assert methods[-3:] == ["another", "zeros", "none"]
    m, theirs = methods.index("hadamard"), methods.index("another")
    for name in ("error", "base", "error_rest", "base_rest", "weight", "base_weight", "bits", "base_bits"):
        np.testing.assert_array_equal(a[name][theirs], a[name][m])
        assert np.isnan(a[name][-1]).all()
    np.testing.assert_array_equal(a["error_half"][theirs], a["error"][m])  # Nobody knows that it is fitted to nothing.
    for name in ("nll", "kl"):
        np.testing.assert_array_equal(q[name][variants.index("another")], q[name][variants.index("hadamard")])
    np.testing.assert_array_equal(q["nll"][variants.index("none")], q["clean"])
    weights = [p.detach().double() for n, p in build("llama").model.layers.named_parameters() if p.ndim == 2]
    np.testing.assert_allclose(a["weight"][-2, :, 0], [w.square().mean() for w in weights], rtol=1e-12)
    for measurement in (ARENA[1], CHALLENGED):
        one, other = (of(each[measurement.name], "strict") for each in (before, after))
        for name, array in one.items():
            if name != "methods":
                np.testing.assert_array_equal(array, other[name][: len(array)] if array.ndim > 2 else other[name], err_msg=name)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda layer: (layer.weight[:, 1:], 4.0), "returned a matrix (96, 31) and 4 bits; expected finite numbers (96, 32), and bits"),
        (lambda layer: (layer.weight / 0, 4.0), "returned a matrix (96, 32) and 4 bits; expected finite numbers"),
        (lambda layer: (layer.weight, 0), "returned a matrix (96, 32) and 0 bits"),
        (lambda layer: (layer.weight, float("inf")), "returned a matrix (96, 32) and inf bits"),
        (lambda layer: (layer.weight, "many"), "ValueError: could not convert"),
        (lambda layer: layer.weight, "ValueError: too many values to unpack"),
        (lambda layer: layer.nothing, "AttributeError: 'Given' object has no attribute 'nothing'"),
    ],
)
def test_a_challenger_that_returns_no_stored_form_is_one_clear_error(entered, make, said):
    """Where, which, and what it returned: nothing of the arena is measured then."""
    challenger("broken")(make)
    with pytest.raises(MeasurementError) as error:
        small("gpt2", drawn(), ARENA[1])
    assert str(error.value).startswith("block 0, attn.c_attn: challenger 'broken'")
    assert said in str(error.value)
