"""Linear layers are all of a block's weight matrices, W is what is multiplied by, and writing changes that and nothing else."""

from __future__ import annotations

import contextlib
import functools

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from harness.admission import dissect
from harness.layer_inputs import LayerInputs
from harness.layers import Layer, Watch, places, replaced_weights, weights_of
from tests.families import FAMILIES, GROUPED, SMALL
from tests.test_interventions import GEMMA4

WINDOWS, TOKENS = 3, 12
IDS = torch.randint(0, 97, (WINDOWS, TOKENS), generator=torch.Generator().manual_seed(1))
HEADS = {**GROUPED, "head_dim": 8}
FOUR = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
SHARED = {**FOUR, "shared_expert_intermediate_size": 24}
OWN = {
    "qwen2_moe": transformers.Qwen2MoeConfig(**GROUPED, **SHARED, mlp_only_layers=[0]),
    "qwen3_moe": transformers.Qwen3MoeConfig(**HEADS, **FOUR),
    "gpt_oss": transformers.GptOssConfig(**HEADS, num_local_experts=4, num_experts_per_tok=2, sliding_window=8),
    "gemma4": transformers.Gemma4TextConfig(
        **GEMMA4, enable_moe_block=True, num_experts=4, top_k_experts=2, moe_intermediate_size=8, layer_types=["full_attention"] * 3
    ),
    "llama4": transformers.Llama4TextConfig(
        **HEADS, intermediate_size_mlp=48, num_local_experts=4, num_experts_per_tok=2, interleave_moe_layer_step=1
    ),
    "deepseek_v3": transformers.DeepseekV3Config(
        **SMALL,
        n_routed_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        n_group=1,
        topk_group=1,
        first_k_dense_replace=1,
        q_lora_rank=16,
        kv_lora_rank=16,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=8,
    ),
    "jetmoe": transformers.JetMoeConfig(
        **{name: size for name, size in SMALL.items() if name != "num_attention_heads"},
        num_key_value_heads=2,
        kv_channels=8,
        num_local_experts=4,
    ),
}
# Layers of block 1: matrices of the attention, of dense MLPs, and two a routed expert.
COUNTS = {
    **dict.fromkeys(("gpt2", "gpt_neox", "phi3", "falcon", "bloom"), 4),
    **dict.fromkeys(("opt", "phi"), 6),
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "olmo2", "granite", "cohere"), 7),
    **dict.fromkeys(("mixtral", "qwen3_moe", "gpt_oss"), 4 + 2 * 4),
    **dict.fromkeys(("qwen2_moe", "llama4"), 4 + 3 + 2 * 4),
    "gemma4": 4 + 3 + 2 + 2 * 4,
    "deepseek_v3": 5 + 3 + 2 * 4,
    "jetmoe": 1 + 2 * 4,
}


def fresh(family, dtype=torch.float64):
    """A tiny random model, its biases too, with experts computed one by one, and its parts."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config({**FAMILIES, **OWN}[family]).eval().requires_grad_(False)
    model.config._experts_implementation = "eager"
    for name, parameter in model.named_parameters():
        if name.endswith("bias") and "router" not in name:
            parameter.normal_(std=0.003)
    return model, dissect(model.to(dtype))


@functools.cache
def subject(family):
    """A model in float64 with its parts, which no test changes."""
    return fresh(family)


def run(anatomy, inputs, last=1):
    """Run blocks up to one; return what its dense layers were given."""
    hidden, calls = anatomy.enter(IDS)
    with torch.inference_mode():
        for b in range(last + 1):
            hidden = anatomy.run(b, hidden, calls[b])
    return inputs.take(WINDOWS, TOKENS)


@pytest.mark.parametrize("family", COUNTS)
def test_all_matrices_of_a_block_are_layers(family):
    """But routers, and JetMoE's attention experts, whose rows cannot be had from single tokens; each matrix has an input, once."""
    anatomy = subject(family)[1]
    with LayerInputs(anatomy) as inputs:
        found = run(anatomy, inputs)
        layers = inputs.layers(1)
        expected = ["self_attention.experts.input_linear.weight", "self_attention.experts.output_linear.weight"]
        assert [line.split()[0] for line in inputs.unseen] == [f"model.layers.1.{name}" for name in expected if family == "jetmoe"]
        routed = inputs.routed(torch.ones(WINDOWS, TOKENS, dtype=torch.bool))
    assert len(layers) == COUNTS[family]
    assert not any("router" in layer.name or layer.name.endswith((".gate", "expert_gate")) for layer in layers)
    given = [layer for shared in (*found, *routed) for layer in shared.layers]
    assert {id(layer) for layer in given} == {id(layer) for layer in layers}
    assert len(given) == len(layers)
    assert [layer.expert for layer in layers].count(True) == (0 if family in FAMILIES and family != "mixtral" else 8)
    order = [name for name, _ in anatomy.blocks[1].named_parameters()]
    at = [order.index(next(n for n in order if n in (plain, f"{plain}.weight"))) for plain in (x.name.split("[")[0] for x in layers)]
    assert at == sorted(at)
    assert all(layer.shape == tuple(layer.matrix().shape) for layer in layers)
    assert not inputs.layers(2)


class Products(nn.Module):
    """A block with a square matrix, and one for each of two experts."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.one, self.two = (nn.Parameter(torch.randn(*shape, 4, 4, generator=generator).double()) for shape in ((), (2,)))


PRODUCTS = {
    "linear": lambda x, p: functional.linear(x, p.one),
    "linear of a transpose": lambda x, p: functional.linear(input=x, weight=p.one.T),
    "@": lambda x, p: x @ p.one,
    "@ a transpose": lambda x, p: x @ p.one.T,
    "matmul": lambda x, p: torch.matmul(x, other=p.one),
    "method matmul": lambda x, p: x.matmul(p.one.t()),
    "mm": lambda x, p: torch.mm(x, p.one),
    "method mm": lambda x, p: x.mm(p.one.transpose(0, 1)),
    "addmm": lambda x, p: torch.addmm(torch.zeros(4).double(), x, p.one),
    "method addmm": lambda x, p: torch.zeros(3, 4).double().addmm(mat1=x, mat2=p.one.T),
    "an expert": lambda x, p: functional.linear(x, p.two[1]),
    "an expert, counted by a tensor": lambda x, p: x @ p.two[torch.tensor(1)],
    "an expert, transposed": lambda x, p: x @ p.two[1].T,
    "bmm": lambda x, p: torch.bmm(x.expand(2, 3, 4), p.two)[1],
    "method bmm": lambda x, p: x.expand(2, 3, 4).bmm(p.two.mT)[1],
    "baddbmm": lambda x, p: torch.baddbmm(torch.zeros(4).double(), x.expand(2, 3, 4), p.two)[1],
    "@ all experts": lambda x, p: (x @ p.two.transpose(1, 2))[1],
}


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_orientation_is_that_of_the_product(product):
    """W x is what was computed, though the matrices are square, and their shapes say nothing."""
    block, x, uses = Products(), torch.randn(3, 4, generator=torch.Generator().manual_seed(4)).double(), []
    with torch.inference_mode(), Watch(places(weights_of(0, block)), uses.append):
        y = PRODUCTS[product](x, block)
    (use,) = uses
    layers = use.weight.layers(use.transposed)
    assert torch.equal(use.x.expand(2, 3, 4)[0], x)
    torch.testing.assert_close(x @ layers[-1 if use.index is None else use.index].matrix().T, y)
    assert layers[-1].name == ("two[1]" if "expert" in product or "bmm" in product else "one")


def test_what_is_no_product_with_a_weight_is_not_seen():
    """A copy, a part, a weight on the left, sums, and all experts at once where it cannot be told which rows are whose."""
    block, x, uses = Products(), torch.randn(4, 4).double(), []
    with torch.inference_mode(), Watch(places(weights_of(0, block)), uses.append):
        _ = x @ block.one.clone(), x[:, :2] @ block.one[:2], block.one @ x, x + block.one, x.expand(3, 1, 4, 4) @ block.two
    assert uses == []


WRITTEN = {
    "gpt2": [("attn.c_attn.weight", None, True), ("mlp.c_proj.weight", None, True)],
    "llama": [("self_attn.q_proj.weight", None, False), ("mlp.down_proj.weight", None, False)],
    "phi3": [("self_attn.qkv_proj.weight", None, False), ("mlp.gate_up_proj.weight", None, False)],
    "mixtral": [("self_attn.o_proj.weight", None, False), *((f"mlp.experts.{n}_proj", 3, False) for n in ("gate_up", "down"))],
    "gpt_oss": [("self_attn.o_proj.weight", None, False), *((f"mlp.experts.{n}_proj", 3, True) for n in ("gate_up", "down"))],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", WRITTEN)
def test_writing_is_changing_the_state_dict(family, dtype):
    """Logits are those of a model loaded with the rounded matrices, and after the context those of before, bit for bit."""
    model, anatomy = fresh(family, dtype)
    other = fresh(family, dtype)[0]
    with LayerInputs(anatomy) as inputs:
        run(anatomy, inputs)
        known = {(layer.name.split("[")[0], layer.index): layer for layer in inputs.layers(1)}
    before = {name: parameter.clone() for name, parameter in model.state_dict().items()}
    layers, matrices, state = [], [], other.state_dict()
    for name, index, transposed in WRITTEN[family]:
        layers.append(known[name.removesuffix(".weight"), index])
        matrices.append(torch.randn(layers[-1].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(layers))))
        held = state[f"{anatomy.blocks_name}.1.{name}"]
        assert torch.equal(
            layers[-1].matrix(), (held if index is None else held[index]).T.double() if transposed else held.double()[index or ...]
        )
        held[... if index is None else index] = (matrices[-1].T if transposed else matrices[-1]).to(dtype)
    other.load_state_dict(state)
    with torch.inference_mode():
        logits = model(IDS).logits
        with replaced_weights(layers, matrices):
            assert torch.equal(model(IDS).logits, other(IDS).logits)
            assert all(torch.equal(layer.matrix(), m.to(dtype).double()) for layer, m in zip(layers, matrices, strict=True))
        assert not torch.equal(logits, other(IDS).logits)
        assert torch.equal(model(IDS).logits, logits)
    for name, parameter in model.state_dict().items():
        assert torch.equal(parameter, before[name])


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.booleans(),
    st.sampled_from([None, 0, 2]),
    st.sampled_from([torch.bfloat16, torch.float16, torch.float32, torch.float64]),
    st.booleans(),
    st.booleans(),
)
def test_what_is_written_is_read_and_restored(rows, columns, transposed, index, dtype, grad, inference):
    """Rounded once to the parameter's type, other experts untouched, and back to the last bit, NaN's included, after an exception."""
    shape = (columns, rows) if transposed else (rows, columns)
    with torch.inference_mode(inference):
        held = torch.randn(*(() if index is None else (3,)), *shape)
        held.view(-1)[0] = float("nan")
        parameter = nn.Parameter(held.to(dtype), requires_grad=grad)
    layer = Layer(0, "fc", parameter, index, transposed, index is not None)
    old, matrix = parameter.detach().clone(), torch.randn(rows, columns, dtype=torch.float64)
    again = torch.randn(rows, columns, dtype=torch.float64)
    assert layer.shape == (rows, columns)
    with contextlib.suppress(InterruptedError), replaced_weights([layer, layer], [again, matrix]):
        copy = layer.matrix()
        assert copy.dtype == torch.float64
        assert torch.equal(copy, matrix.to(dtype).double())
        copy.zero_()
        new = parameter.detach() if index is None else parameter.detach()[index]
        assert torch.equal(new.double(), (matrix.T if transposed else matrix).to(dtype).double())
        if index is not None:
            assert torch.equal(parameter.detach()[1].view(torch.uint8), old[1].view(torch.uint8))
        raise InterruptedError
    assert torch.equal(parameter.detach().view(torch.uint8), old.view(torch.uint8))


def test_matrices_that_do_not_fit_change_nothing():
    """Of another shape, or not one for each layer; layers before it are restored."""
    layers = [Layer(1, f"fc{i}", nn.Parameter(torch.full((2, 3), float(i))), None, False, False) for i in range(2)]
    for matrices, why in (
        ([torch.ones(2, 3), torch.ones(3, 2)], r"block 1, fc1: a matrix \(3, 2\), the layer is \(2, 3\)"),
        ([torch.ones(2, 3)], "shorter"),
    ):
        with pytest.raises(ValueError, match=why), replaced_weights(layers, matrices):
            pass
        assert [layer.matrix().unique().tolist() for layer in layers] == [[0.0], [1.0]]
