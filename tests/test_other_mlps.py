"""Layers of MLPs of other makes: experts that are modules of their own, and matrices whose inputs cannot be had, which are reported."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.admission import dissect
from harness.errors import MeasurementError
from harness.layer_inputs import LayerInputs
from tests.test_layer_inputs import CHOSEN, names
from tests.test_layers import fresh, run


class Mlp(nn.Module):
    """An MLP in a block's place of one: experts as modules of their own and their router, or what cannot be had."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.gate = nn.Linear(32, 3 if kind == "experts" else 32, bias=False)
        if kind == "experts":
            self.experts = nn.ModuleList(
                nn.ModuleDict({name: nn.Linear(32, 32, bias=False) for name in ("w1", "w2", "w3")}) for _ in range(3)
            )
        self.q_norm = nn.ParameterDict({"weight": torch.ones(4, 8)})
        self.table = nn.Embedding(3, 32)
        self.mix = nn.Conv1d(32, 32, 1)
        self.pair_bias = nn.Parameter(torch.zeros(3, 32))

    def forward(self, x):
        """Add what is no layer, and multiply."""
        x = x + self.table(torch.zeros(x.shape[:2], dtype=torch.long)) + self.pair_bias[0] + self.mix(x.mT).mT
        if self.kind == "twice":
            return self.gate(self.gate(x))
        if self.kind == "einsum":
            return torch.einsum("wti,oi->wto", x, self.gate.weight)
        if self.kind == "turned":
            return self.gate(x.transpose(0, 1)).transpose(0, 1)
        if self.kind != "experts":
            return self.gate(x)
        flat = x.flatten(0, 1)
        chosen, out = self.gate(flat).argmax(-1), torch.zeros_like(flat)
        for e, expert in enumerate(self.experts):
            rows = flat[chosen == e]
            if len(rows):
                out[chosen == e] = expert["w2"](expert["w1"](rows).relu() * expert["w3"](rows))
        return out.view_as(x)


def with_mlp(kind):
    """The parts of a small Llama with another MLP in block 1."""
    model, _ = fresh("llama")
    torch.manual_seed(5)
    model.model.layers[1].mlp = Mlp(kind).requires_grad_(False).double()
    return dissect(model)


@pytest.mark.parametrize("keyword", [False, True])
def test_experts_that_are_modules_are_routed_too(keyword):
    """Those that no token reaches are layers, without an entry; the router beside them is none. Their MLP may be called by keyword."""
    anatomy = with_mlp("experts")
    if keyword:
        turn = lambda module, args, kwargs: ((), {"x": args[0]} if args else kwargs)  # noqa: E731
        anatomy.blocks[1].mlp.register_forward_pre_hook(turn, with_kwargs=True)
    anatomy.blocks[1].mlp.gate.weight[2] = anatomy.blocks[1].mlp.gate.weight[0] * (1 - 1e-12)
    anatomy.blocks[1].mlp.gate.weight[1] = -anatomy.blocks[1].mlp.gate.weight[0]
    with LayerInputs(anatomy) as inputs:
        dense = run(anatomy, inputs)
        given = []
        hook = anatomy.blocks[1].mlp.experts[1]["w1"].register_forward_pre_hook(lambda m, args: given.append(args[0].clone()))
        found = inputs.routed(CHOSEN)
        hook.remove()
        assert names(dense) == [["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], ["self_attn.o_proj"]]
        reached = {layer.name for shared in found for layer in shared.layers}
        assert reached >= {f"mlp.experts.1.{w}" for w in ("w1", "w2", "w3")}
        assert [f"mlp.experts.1.{w}" for w in ("w1", "w3")] in names(found)
        (shared,) = [shared for shared in found if shared.layers[0].name == "mlp.experts.1.w1"]
        assert torch.equal(shared.x[0], given[0])
        assert sum(shared.x.shape[1] for shared in found if shared.layers[0].name.endswith("w1")) == int(CHOSEN.sum())
        layers = [layer for layer in inputs.layers(1) if layer.expert]
        assert [layer.name for layer in layers] == [f"mlp.experts.{e}.{w}" for e in range(3) for w in ("w1", "w2", "w3")]
        assert len(reached) < len(layers)
        assert inputs.unseen == []


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("plain", None),
        ("twice", "multiplies more than once in a pass"),
        ("turned", "is not given one row a token"),
        ("einsum", "is in no product that is recognised"),
    ],
)
def test_matrices_that_cannot_be_had_are_reported(kind, why):
    """With why; biases, norms, kernels and tables are none. A ``gate`` without experts is a layer like others."""
    anatomy = with_mlp(kind)
    with LayerInputs(anatomy) as inputs:
        found = run(anatomy, inputs)
        assert inputs.unseen == ([f"model.layers.1.mlp.gate.weight {why}"] if why else [])
        assert ([["mlp.gate"]] if why is None else []) == names(found)[2:]
        assert ("mlp.gate" in [layer.name for layer in inputs.layers(1)]) == (why is None)


def test_weights_kept_elsewhere_are_refused():
    """A layer on the meta device has nothing to write to."""
    anatomy = fresh("llama")[1]
    anatomy.blocks[2].to("meta")
    with pytest.raises(MeasurementError, match="cannot be quantised in place; give a device that holds the model"):
        LayerInputs(anatomy)


# How a parameter holds the layers that are written to, by hand: its name in block 1, the layer's index, whether it is Wᵀ.
