"""Anatomy finds the parts of real architectures, and refuses models whose parts do not recompose them."""

from __future__ import annotations

import copy

import pytest
import torch
import transformers
from torch import nn

from harness.admission import dissect
from harness.errors import SubjectError
from tests.families import FAMILIES, SMALL
from tests.planted import PlantedConfig, PlantedModel


def build(family: str) -> nn.Module:
    """A tiny random model of a family."""
    torch.manual_seed(0)
    config = copy.deepcopy(FAMILIES[family])  # A model keeps the one that it is given, and tests change it.
    return transformers.AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)


@pytest.mark.parametrize("family", FAMILIES)
def test_real_families_are_taken_apart_and_recomposed(family):
    """Blocks, attention, MLP, norm and head are found, and walking them gives the model's logits on new text."""
    model = build(family)
    anatomy = dissect(model)
    assert len(anatomy.blocks) == 3
    assert anatomy.width == 32
    for b in range(3):
        assert "attention" in type(anatomy.attention(b)).__name__.lower()
        assert sum(p.numel() for m in anatomy.mlp(b) for p in m.parameters()) > 0
    ids = torch.randint(0, 97, (3, 20), generator=torch.Generator().manual_seed(4))
    hidden, calls = anatomy.enter(ids)
    with torch.inference_mode():
        for b in range(3):
            hidden = anatomy.run(b, hidden, calls[b])
        torch.testing.assert_close(anatomy.logits(hidden), model(ids, use_cache=False).logits)


def test_taking_a_model_apart_leaves_it_as_it_was():
    """No hook and no replaced forward stays behind."""
    model = build("llama")
    before = {name: set(module.__dict__) for name, module in model.named_modules()}
    dissect(model)
    assert {name: set(module.__dict__) for name, module in model.named_modules()} == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("fault", "part"),
    [
        ("scaled", r"blocks: the model changes the stream between layers\.1 and layers\.2"),
        ("norm skipped", r"final norm: between layers\.3 and the head no module yields"),
        ("scaled in place", r"blocks: the model changes the stream between layers\.1 and layers\.2"),
        ("soft-capped", r"head: the logits differ from what the head gives .*soft-cap"),
        ("logits scaled", r"head: the logits differ from what the head gives .*scale"),
        ("not causal", "not causal"),
        ("nan at 2", r"block 2 \(layers\.2\) yields NaN or infinity"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_models_that_do_more_than_their_parts_are_refused_by_part(fault, part, dtype):
    """A scale after a block, a skipped norm, an unknown soft-cap or scale, a non-causal model: in every type."""
    with pytest.raises(SubjectError, match=part):
        dissect(PlantedModel(PlantedConfig(fault=fault)).eval().to(dtype))
    dissect(PlantedModel(PlantedConfig()).eval().to(dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "bloom"])
def test_half_precision_models_are_admitted(family, dtype):
    """The tight limits are about operations, not digits."""
    assert len(dissect(build(family).to(dtype)).blocks) == 3


def test_a_block_that_writes_into_its_input_is_walked_on_a_copy():
    """``h += mlp(h)`` would make before and after one tensor, and Δ zero."""
    anatomy = dissect(PlantedModel(PlantedConfig(fault="in place")).eval().requires_grad_(False))
    plain = dissect(PlantedModel(PlantedConfig()).eval().requires_grad_(False))
    ids = torch.arange(12).view(1, 12)
    hidden, calls = anatomy.enter(ids)
    before = hidden.clone()
    after = anatomy.run(0, hidden, calls[0])
    assert torch.equal(hidden, before)
    torch.testing.assert_close(after, plain.run(0, *(lambda h, c: (h, c[0]))(*plain.enter(ids))))


def test_blocks_may_be_named_and_a_wrong_name_is_answered_with_the_right_ones():
    """``blocks="model.layers"`` overrides the search."""
    assert dissect(build("llama"), blocks="model.layers").blocks_name == "model.layers"
    with pytest.raises(SubjectError, match=r"blocks='layers' is not a module list of the model; it has: model\.layers"):
        dissect(build("llama"), blocks="layers")


def test_encoder_decoders_and_encoders_are_refused():
    """Not decoder-only language models."""
    config = transformers.T5Config(vocab_size=97, d_model=32, num_layers=2, num_heads=4, d_kv=8, d_ff=48)
    with pytest.raises(SubjectError, match="encoder-decoder"):
        dissect(transformers.T5ForConditionalGeneration(config).eval())
    bert = transformers.BertConfig(**SMALL)
    with pytest.raises(SubjectError):
        dissect(transformers.BertLMHeadModel(bert).eval())


def test_equal_masks_and_tables_are_held_once():
    """Two batches of one shape share what their blocks are given; a batch of another shape does not."""
    anatomy = dissect(build("gemma3"))
    first, second, other = (anatomy.enter(torch.randint(0, 97, shape))[1] for shape in ((2, 12), (2, 12), (1, 12)))
    assert second is first
    assert other is not first
