"""Adapters beside layers are W + B A in them, forward and back, for any family; the model is left as it was, whatever happens."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import transformers
from torch import nn
from transformers.pytorch_utils import Conv1D

from harness.adapters import AdaptedBlocks, _normal
from harness.admission import dissect
from harness.anatomy import Call
from harness.errors import MeasurementError
from tests.families import FAMILIES
from tests.planted import PlantedConfig, PlantedModel
from tests.test_interventions import GEMMA4
from tests.test_layers import OWN

IDS = np.random.default_rng(0).integers(0, 97, (2, 12))
RANK, AT = 3, 1
# Layers with an adapter, and matrices of experts and routers without; the first block of Qwen2-MoE and DeepSeek is dense.
COUNTS = {
    **dict.fromkeys(("gpt2", "falcon", "bloom", "phi3"), (3 * 4, 0)),
    **dict.fromkeys(("llama", "gemma2"), (3 * 7, 0)),
    **dict.fromkeys(("mixtral", "gpt_oss"), (3 * 4, 3 * (8 + 1))),
    "qwen2_moe": (3 * 7, 2 * (8 + 2)),
    "gemma4": (3 * 9, 3 * (8 + 1)),
    "deepseek_v3": (3 * 5 + 3 + 2 * 3, 2 * (8 + 1)),
    "sharing": (2 * 9 + 7, 0),
}
# The last block takes its keys and values from the one below.
SHARING = {"sharing": transformers.Gemma4TextConfig(**GEMMA4, layer_types=["full_attention"] * 3, num_kv_shared_layers=1)}


def build(family, dtype=torch.float64):
    """A tiny random model of a family, and its parts; experts one by one in float64, which their fast kernels have not."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config({**FAMILIES, **OWN, **SHARING}[family]).eval().requires_grad_(False).to(dtype)
    if dtype == torch.float64:
        model.config._experts_implementation = "eager"
    return model, dissect(model)


def grown(blocks):
    """Adapters that have grown: B is not zero any more."""
    adapters, generator = blocks.adapters(RANK, 0), torch.Generator().manual_seed(1)
    for adapter in adapters:
        adapter.b.data.normal_(std=0.3, generator=generator)
    return adapters


def streams(model, blocks, ids=IDS):
    """The outputs of block ``AT`` and of the last block, the model run whole."""
    found = {}
    handles = [
        block.register_forward_hook(lambda _, given, out, b=b: found.update({b: out[0] if isinstance(out, tuple) else out}))
        for b, block in enumerate(blocks)
    ]
    model(torch.from_numpy(ids), use_cache=False)
    for handle in handles:
        handle.remove()
    return found[AT], found[len(blocks) - 1]


def loss_of(early, final):
    """Some number that depends on all of both."""
    return (early * torch.arange(early.shape[-1])).sin().mean() + final.double().square().mean()


@pytest.mark.parametrize("family", COUNTS)
def test_a_run_with_adapters_is_one_with_changed_weights(family):
    """Streams, and gradients by the chain rule, ∂B = ∂W Aᵀ and ∂A = Bᵀ ∂W, whichever way W is stored; experts and routers are left out."""
    model, anatomy = build(family)
    blocks = AdaptedBlocks(anatomy, IDS[:1])
    assert (len(blocks.layers), blocks.left) == COUNTS[family]
    adapters = grown(blocks)
    other = copy.deepcopy(model)
    own, weights = dissect(other).blocks, []
    for layer, adapter in zip(blocks.layers, adapters, strict=True):
        parameters = dict(own[layer.block].named_parameters())
        name = layer.name if layer.name in parameters else f"{layer.name}.weight"
        weight = parameters[name].requires_grad_(True)
        turned = isinstance(own[layer.block].get_submodule(name.rpartition(".")[0]), Conv1D)
        added = (adapter.b.double() @ adapter.a.double()).detach()
        weight.data += added.T if turned else added
        weights.append((weight, turned))
    expected = streams(other, own)
    loss_of(*expected).backward()
    found = blocks.streams(adapters, IDS, AT)
    loss_of(*found).backward()
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)
    for adapter, (weight, turned) in zip(adapters, weights, strict=True):
        gradient = (weight.grad.T if turned else weight.grad).float()
        torch.testing.assert_close(adapter.b.grad, gradient @ adapter.a.detach().T, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(adapter.a.grad, adapter.b.detach().T @ gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_fresh_adapters_change_nothing(family, dtype):
    """Bit for bit, in any type and with the experts' own kernels; each step can still move every B."""
    model, anatomy = build(family, dtype)
    with torch.inference_mode():
        expected = streams(model, anatomy.blocks)
    blocks = AdaptedBlocks(anatomy, IDS[:1])
    adapters = blocks.adapters(RANK, 0)
    found = blocks.streams(adapters, IDS, AT)
    assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))
    loss_of(*found).backward()
    assert all(adapter.b.grad.abs().sum() > 0 and not adapter.a.grad.any() for adapter in adapters)
    with torch.inference_mode():
        assert all(torch.equal(one, two) for one, two in zip(blocks.streams(adapters, IDS, AT), expected, strict=True))


def test_the_draw_is_uniform_and_the_seeds():
    """Between ±1/√in, spread as a uniform law is, in float32 whatever the model's type; B is zero."""
    blocks = AdaptedBlocks(build("llama", torch.bfloat16)[1], IDS[:1])
    one, two, other = blocks.adapters(64, 3), blocks.adapters(64, 3), blocks.adapters(64, 4)
    for layer, a, b, c in zip(blocks.layers, one, two, other, strict=True):
        rows, columns = layer.shape
        assert (a.a.shape, a.b.shape, a.a.dtype) == ((64, columns), (rows, 64), torch.float32)
        assert torch.equal(a.a, b.a)
        assert not torch.equal(a.a, c.a)
        assert not a.b.any()
        assert a.a.abs().max() <= columns**-0.5
        assert a.a.std().item() == pytest.approx((3 * columns) ** -0.5, rel=0.1)
    assert not torch.equal(one[0].a, one[1].a)


def test_models_of_inference_tensors_are_run_on_copies():
    """Nothing can be differentiated through such tensors; the streams are the same, and the model keeps its own."""
    plain = AdaptedBlocks(build("llama")[1], IDS[:1])
    expected = plain.streams(grown(plain), IDS, AT)
    with torch.inference_mode():
        model, anatomy = build("llama")
    held = {name: parameter.data_ptr() for name, parameter in model.named_parameters()}
    blocks = AdaptedBlocks(anatomy, IDS[:1])
    adapters = grown(blocks)
    found = blocks.streams(adapters, IDS, AT)
    loss_of(*found).backward()
    assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))
    assert all(adapter.b.grad.abs().sum() > 0 for adapter in adapters)
    assert {name: parameter.data_ptr() for name, parameter in model.named_parameters()} == held
    assert all(parameter.is_inference() for parameter in model.parameters())


class BrokenError(Exception):
    """An adapter breaks."""


class Broken(nn.Module):
    """An adapter that breaks in the middle of a run."""

    def forward(self, x):
        """Break."""
        raise BrokenError


def test_the_model_is_left_as_it_was_after_an_exception_too():
    """Weights bit for bit, no forward or hook that stays behind, and its own logits."""
    model, anatomy = build("gpt2")
    blocks = AdaptedBlocks(anatomy, IDS[:1])
    weights = {name: parameter.clone() for name, parameter in model.named_parameters()}
    before = {name: set(module.__dict__) for name, module in model.named_modules()}
    logits = model(torch.from_numpy(IDS)).logits
    adapters = grown(blocks)
    adapters[7] = Broken()
    with pytest.raises(BrokenError):
        blocks.streams(adapters, IDS, AT)
    assert all(torch.equal(weights[name], parameter) for name, parameter in model.named_parameters())
    assert {name: set(module.__dict__) for name, module in model.named_modules()} == before
    assert torch.equal(model(torch.from_numpy(IDS)).logits, logits)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_block_that_computes_otherwise_than_before_is_an_error():
    """An adapter that nothing passes through would be counted, and never trained."""
    model, anatomy = build("llama")
    blocks = AdaptedBlocks(anatomy, IDS[:1])
    layer = model.model.layers[2].mlp.up_proj
    layer.forward = lambda x: (x[..., None, :] * layer.weight).sum(-1)
    with pytest.raises(MeasurementError, match=r"block 2 computes mlp\.up_proj\.weight otherwise"):
        blocks.streams(blocks.adapters(RANK, 0), IDS, AT)


def test_a_block_that_writes_into_its_input_can_be_adapted():
    """The stream before it is what it was."""
    found = []
    for fault in ("in place", None):
        blocks = AdaptedBlocks(dissect(PlantedModel(PlantedConfig(fault=fault)).eval().requires_grad_(False)), IDS[:1])
        found.append(blocks.streams(grown(blocks), IDS, AT))
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


def test_models_that_have_nothing_to_adapt_are_refused():
    """Blocks without a dense layer, here because all of theirs hide what they multiply."""
    model, anatomy = build("llama")
    for layer in (module for module in model.model.layers.modules() if isinstance(module, nn.Linear)):
        layer.forward = lambda x, layer=layer: (x[..., None, :] * layer.weight).sum(-1)
    with pytest.raises(MeasurementError, match="no block has a dense linear layer"):
        AdaptedBlocks(anatomy, IDS[:1])


def test_what_blocks_share_stays_one():
    """What a block leaves for those above is found there, and tables are copied once; what is no inference tensor is not copied."""
    with torch.inference_mode():
        table = torch.ones(2)
    left, plain = {}, torch.ones(3)
    calls = [Call((table, plain), {"left": left, "tables": (table, [table])}, None) for _ in range(2)]
    hidden, (one, two) = _normal((table, calls), {})
    one.kwargs["left"]["keys"] = 1
    assert two.kwargs["left"] == {"keys": 1}
    assert not left
    assert not hidden.is_inference()
    tables = [hidden, one.args[0], two.args[0], one.kwargs["tables"][0], two.kwargs["tables"][1][0]]
    assert all(each is hidden for each in tables)
    assert one.args[1] is plain
    with torch.inference_mode():
        assert _normal(calls, {}) is calls
