"""What makes a figure of claim 3 doubtful, and what is said beside it; figures from made-up arrays."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from claims import wall
from claims.remarks import Remarks
from harness.contests import Contests, Side
from harness.labels import encode_names
from harness.layer_moments import ALL, LayerMoments
from harness.methods import CHALLENGERS, Given, Inputs
from harness.protocol import Protocol, ReconstructionProtocol
from harness.quantizers import Uniform
from harness.reconstruction import Reconstruction, geometric_mean

LAYERS, GROUPS, WIDTH = 3, 4, 64
METHODS = ("dct", "svd", "random", "pca", "cca", "rotation")


def arena(names: tuple[str, ...] = ("a", "b", "c"), unseen: tuple[str, ...] = (), **changes: np.ndarray) -> Reconstruction:
    """Every method loses by a factor of two on every layer, at four bits."""
    shape = (len(METHODS), LAYERS, 2)
    arrays = {
        "names": encode_names(list(names)),
        "methods": encode_names(list(METHODS)),
        "unseen": encode_names(list(unseen)),
        "block": np.arange(3.0),
        "entries": np.full(3, 4096.0),
        "inputs": np.full(3, 64.0),
        "tokens": np.full(3, 16.0 * WIDTH),
        **{name: np.full(shape, value) for name, value in (("error", 2.0), ("base", 1.0), ("weight", 3.0), ("base_weight", 1.0))},
        **{name: np.full(shape, 4.0) for name in ("bits", "base_bits")},
        **{name: np.full(shape, np.nan) for name in ("error_half", "base_half")},
        "error_rest": np.full((*shape, GROUPS), 2.0) + 0.01 * np.arange(GROUPS),
        "base_rest": np.full((*shape, GROUPS), 1.0),
        "cross": np.full((3, 2), 1.5),
        "cross_rest": np.full((3, 2, GROUPS), 1.5),
        "parts": np.full((3, 2, 2), 0.5),
        "left_out": np.array(0.01),
    }
    return Reconstruction.of(arrays | changes, {"G": GROUPS, "W": 4, "S": 4, "d": WIDTH, "B": 3})


def lab(found: Reconstruction, provenance: str = "safetensors, as stored"):
    """A laboratory that has found it."""
    facts = SimpleNamespace(provenance=provenance, width=WIDTH)
    return SimpleNamespace(
        arena=lambda rung: found,
        facts=facts,
        protocol=Protocol(),
        unknown=lambda rung: 0.0,
        sizes=lambda rung: {"calibration": 32, "evaluation": 64},
    )


def said(found: Reconstruction, method: str = "dct", rung: str = "strict", **about: str) -> Remarks:
    """What is said of a method."""
    return wall.of_method(lab(found, **about), rung, found, method)[1]


@pytest.mark.parametrize(
    ("provenance", "caveat"),
    [
        ("safetensors, as stored", False),
        ("GGUF, F16", False),
        ("de-quantised from Q4_1 (98% of the weights)", True),
        ("safetensors, quantised (gptq)", True),
    ],
)
def test_weights_that_were_quantised_before_carry_a_caveat(provenance, caveat):
    """On every verdict of claim 3 and the codebooks, and on none of a model whose weights are as they were trained."""
    found = arena()
    given = lab(found, provenance)
    every = [
        wall.of_method(given, "strict", found, "dct")[1],
        wall.strictly(given, "strict")[1],
        wall.cross_terms(given, "strict")[1],
    ]
    assert [any(provenance in c for c in remarks["caveats"]) for remarks in every] == [caveat] * 3


def test_bits_weights_and_tokens_left_out_stand_beside_the_figure():
    """The note says at how many bits, what the weights' own error is, and what was left out."""
    note = said(arena())["note"]
    assert note == "3 layers, 4.00 bits a weight against 4.00; error of the weights 3×; 1.00% of tokens left out as atypical"
    assert "takes bases and Hessians as given" in said(arena(), "pca")["note"]


def test_too_few_tokens_of_any_block_are_a_doubt_where_something_is_fitted():
    """The block with the fewest counts; experts, which have their own, do not; a method that fits nothing is not doubted."""
    few = np.array([16.0 * WIDTH, 16.0 * WIDTH - 1, 16.0 * WIDTH])
    assert said(arena(tokens=few), "pca")["doubts"]
    assert not said(arena(tokens=few), "dct")["doubts"]
    assert not said(arena(("a", "mlp.experts.up[3]", "c"), tokens=few), "pca")["doubts"]
    nearest = np.full((len(METHODS), LAYERS, 2), 2.0)
    nearest[METHODS.index("pca"), 1] = 0.5
    rest = np.repeat(nearest[..., None], GROUPS, -1) + 0.001 * np.arange(GROUPS)
    figure, remarks = wall.strictly(lab(arena(tokens=few, error=nearest, error_rest=rest)), "strict")
    assert (figure.value, "block 1 b by pca" in remarks["note"]) == (0.5, True)
    assert remarks["doubts"]


def test_an_expert_that_few_tokens_reach_is_named():
    """Fewer than two calibration tokens for each of its inputs; and what could not be stored at all is named too."""
    found = arena(("a", "mlp.experts.up[3]", "c"), ("x is in no product",), tokens=np.array([2000.0, 127.0, 2000.0]))
    caveats = said(found)["caveats"]
    assert any("1 layers (block 1 mlp.experts.up[3]): read by fewer than 2 calibration tokens" in c for c in caveats)
    assert any("x is in no product" in c for c in caveats)
    assert not any("read by fewer" in c for c in said(arena(tokens=np.full(3, 128.0)))["caveats"])


def test_a_method_that_stores_more_than_direct_is_given_is_a_lower_bound():
    """Where direct quantisation stops at 2²⁰ levels, the row says so."""
    more = np.full((len(METHODS), LAYERS, 2), 20.0)
    more[METHODS.index("pca"), 2] = 46.7
    found = arena(bits=more, base_bits=np.full_like(more, 20.0))
    assert any("lower bounds" in c for c in said(found, "pca")["caveats"])
    assert not any("lower bounds" in c for c in said(found, "dct")["caveats"])


def test_a_layer_without_one_replicate_is_in_none():
    """Read in one group of windows alone it has no figure, and the replicates are of the layers that have one."""
    rest = np.full((len(METHODS), LAYERS, 2, GROUPS), 2.0)
    error = np.full((len(METHODS), LAYERS, 2), 2.0)
    error[:, 1], rest[:, 1], rest[:, 1, :, 0] = 50.0, 50.0, np.nan
    mean = geometric_mean(arena(error=error, error_rest=rest).ratios("dct", in_sample=False))
    assert mean.value == pytest.approx(2.0)
    np.testing.assert_allclose(mean.score, 2.0)
    caveats = said(arena(error=error, error_rest=rest))["caveats"]
    assert any("block 1 b" in c and "without a figure" in c for c in caveats)


def test_what_direct_stores_exactly_divides_nothing():
    """No warning, no figure: neither of methods nor of cross-terms."""
    nothing = np.zeros((len(METHODS), LAYERS, 2))
    found = arena(base=nothing, base_rest=np.zeros((len(METHODS), LAYERS, 2, GROUPS)))
    assert np.isnan(wall.cross_terms(lab(found), "strict")[0].value)
    assert np.isnan(wall.strictly(lab(found), "strict")[0].value)


def test_one_layer_without_error_does_not_decide_for_all():
    """A ratio of 0 counts as 10⁻¹² in a mean of many layers."""
    error = np.full((len(METHODS), LAYERS, 2), 2.0)
    error[:, 0] = 0.0
    rest = np.repeat(error[..., None], GROUPS, -1)
    mean = geometric_mean(arena(error=error, error_rest=rest).ratios("dct", in_sample=True))
    assert mean.value == pytest.approx((1e-12 * 4) ** (1 / 3))


@pytest.mark.parametrize("shape", [(8, 51), (16, 33), (24, 56), (40, 72)])
def test_a_slow_method_alone_finds_what_it_is_compared_with(shape):
    """The bits that decide how many levels direct quantisation has are the very ones that were counted: no rounding in between."""
    weight = torch.from_numpy(np.random.default_rng(0).standard_normal(shape))
    moments = LayerMoments(2, shape[1], 0, weight.device)
    for group in (0, 1):
        moments.add(group, torch.from_numpy(np.random.default_rng(group).standard_normal((99, shape[1]))), None, typical=True)
    slow = {name: method for name, method in CHALLENGERS.items() if method.slow}
    contests, inputs = Contests(slow, ReconstructionProtocol(), "row", halves=False), {ALL: Inputs(moments.total(ALL))}
    given = Given(weight, "row", inputs[ALL], 1.0, ReconstructionProtocol(), 0, count_bases=True)
    found = contests.measure(given, inputs, {"strict": Side(ALL, moments.scored(ALL))}, lambda key, matrix: None)["strict"]
    assert np.isfinite(found["error"]).all()
    assert (found["base_bits"] >= found["bits"] - 1e-9).all()


@pytest.mark.parametrize("per", ["tensor", "row", 16])
def test_direct_quantisation_goes_on_improving(per):
    """Its error falls with the square of the number of steps, as far as it is ever given levels; half a step bounds it."""
    weight = torch.from_numpy(np.random.default_rng(1).standard_normal((32, 48)))
    scaled = [
        float((Uniform(n, per).quantized(weight) - weight).square().mean()) * (n - 1) ** 2 for n in (512, 513, 4096, 1 << 16, 1 << 20)
    ]
    assert max(scaled) / min(scaled) < 1.25
    step = Uniform(1 << 16, per).grid(weight)[1]
    assert bool(((Uniform(1 << 16, per).quantized(weight) - weight).abs() <= step / 2 * (1 + 1e-9)).all())
    assert Uniform(513, "tensor").bits(32, 48) == 32 * 48 * np.log2(513) + 64
