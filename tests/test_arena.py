"""Experts, weights that are stored transposed, and challengers from outside go through the arena as every layer and method does."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import contests
from harness.admission import dissect
from harness.challengers import ENTERED, challenger
from harness.contests import half_gram
from harness.errors import MeasurementError
from harness.labels import decode_names
from harness.measurement import ARENA, CHALLENGED, QUANTISED
from harness.methods import CHALLENGERS
from harness.protocol import Protocol
from harness.quantised import Quantised
from harness.reconstruction import Reconstruction
from tests.reconstruction_oracle import output, uniform
from tests.test_anatomy import build
from tests.test_reconstructing import SIZES, measured, of


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


def test_a_model_without_a_layer_that_can_be_followed_is_an_error(monkeypatch):
    """What stands in the way is named."""
    monkeypatch.setattr("harness.layers._PRODUCTS", {})
    with pytest.raises(
        MeasurementError, match=r"^no linear layer of any block can be followed: .*h\.0\.attn\.c_attn\.weight is in no product"
    ):
        small("gpt2", drawn(), ARENA[0])


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 9), columns=st.integers(1, 23), seed=st.integers(0, 2**31))
def test_half_of_a_gram_matrix_stands_for_it_beside_symmetric_ones(rows, columns, seed):
    """Σ (out ∘ S) = Σ (EᵀE ∘ S), and nothing below the blocks of the diagonal, whatever was there."""
    draw = np.random.default_rng(seed)
    change, moment = draw.standard_normal((rows, columns)), draw.standard_normal((columns, columns))
    moment = moment + moment.T
    out = torch.full((columns, columns), torch.nan, dtype=torch.float64)
    half_gram(torch.from_numpy(change), out)
    assert float((out.numpy() * moment).sum()) == pytest.approx(float(((change.T @ change) * moment).sum()), rel=1e-10, abs=1e-10)
    assert columns < 5 or not out.numpy()[-1, : columns // 2].any()


def test_errors_do_not_depend_on_how_many_products_wait(monkeypatch):
    """One or eight at a time, by their width, whose places are written over again and again, or all."""
    found = {}
    for held in (contests._PRODUCTS, 2 * 8 * 64**2):
        monkeypatch.setattr(contests, "_PRODUCTS", held)
        arrays = small("gpt2", drawn(), ARENA[0])[ARENA[0].name]
        found[held] = {name: array for name, array in arrays.items() if "error" in name or "base" in name}
    one, other = found.values()
    assert one
    for name, array in one.items():
        np.testing.assert_allclose(other[name], array, rtol=1e-9)
