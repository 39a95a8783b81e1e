"""Captured inputs are what layers are given: with W they make what modules compute, and capturing changes nothing."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from harness.layer_inputs import LayerInputs
from harness.layers import Watch, places, weights_of
from harness.sweep import sweep
from tests.families import FAMILIES
from tests.test_layers import COUNTS, IDS, OWN, TOKENS, WINDOWS, fresh, run, subject

CHOSEN = torch.rand(WINDOWS, TOKENS, generator=torch.Generator().manual_seed(2)) < 0.4
ROUTED = ["mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss", "gemma4", "deepseek_v3"]


def names(shared):
    """Names of layers by input."""
    return [[layer.name for layer in each.layers] for each in shared]


@pytest.mark.parametrize("family", ["llama", "opt", "phi", "cohere", "gpt2", "gemma4"])
def test_layers_that_read_one_input_share_it(family):
    """Queries, keys and values; gate and up; attention and MLP where both stand beside each other."""
    q, attention = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], ["self_attn.o_proj"]
    mlp, down = ["mlp.gate_proj", "mlp.up_proj"], ["mlp.down_proj"]
    expected = {
        "llama": [q, attention, mlp, down],
        "opt": [q, ["self_attn.out_proj"], ["fc1"], ["fc2"]],
        "phi": [[*q, "mlp.fc1"], ["self_attn.dense"], ["mlp.fc2"]],
        "cohere": [[*q, *mlp], attention, down],
        "gpt2": [["attn.c_attn"], ["attn.c_proj"], ["mlp.c_fc"], ["mlp.c_proj"]],
        "gemma4": [q, attention, mlp, down, ["per_layer_input_gate"], ["per_layer_projection"]],
    }[family]
    with LayerInputs(subject(family)[1]) as inputs:
        found = run(subject(family)[1], inputs)
        again = run(subject(family)[1], inputs)
    # Cohere's block runs its attention first.
    assert sorted(map(sorted, names(found))) == sorted(map(sorted, expected))
    assert names(found)[0][: len(q)] == expected[0][: len(q)]
    assert names(again) == names(found)


@pytest.mark.parametrize("family", COUNTS)
def test_inputs_and_matrices_give_what_modules_compute(family):
    """With W, x Wᵀ + b is the output of each dense layer's module, and x what it was called with, though blocks work in place."""
    anatomy = subject(family)[1]
    computed = {}

    def note(name):
        return lambda module, args, out: computed.update({name: (args[0].clone(), out.clone())})

    # Routers apart, which may return several things.
    plain = [(name, m) for name, m in anatomy.blocks[1].named_modules() if isinstance(m, (nn.Linear, transformers.pytorch_utils.Conv1D))]
    hooks = [module.register_forward_hook(note(name)) for name, module in plain if "router" not in name]
    with LayerInputs(anatomy) as inputs:
        found = run(anatomy, inputs)
    for hook in hooks:
        hook.remove()
    assert {layer.name for shared in found for layer in shared.layers} == computed.keys() - {"mlp.shared_expert_gate"}
    for shared in found:
        assert shared.x.shape[:2] == (WINDOWS, TOKENS)
        for layer in shared.layers:
            module = anatomy.blocks[1].get_submodule(layer.name)
            x, out = computed[layer.name]
            assert torch.equal(shared.x.flatten(0, 1), x.flatten(0, -2))
            by_hand = shared.x.numpy() @ layer.matrix().numpy().T + (0 if module.bias is None else module.bias.numpy())
            np.testing.assert_allclose(by_hand.reshape(out.shape), out, rtol=1e-9, atol=1e-12)


def activated(family, y):
    """What stands between the two matrices of an expert."""
    if family == "gpt_oss":
        gate, up = np.minimum(y[:, ::2], 7.0), np.clip(y[:, 1::2], -7.0, 7.0)
        return (up + 1) * gate / (1 + np.exp(-1.702 * gate))
    gate, up = np.split(y, 2, axis=-1)
    if family == "gemma4":
        return 0.5 * gate * (1 + np.tanh((2 / np.pi) ** 0.5 * (gate + 0.044715 * gate**3))) * up
    return gate / (1 + np.exp(-gate)) * up


@pytest.mark.parametrize("family", ROUTED)
def test_experts_written_out_give_what_their_module_computes(family):
    """By rows that were routed, expert by expert; on some tokens alone each gets what it got among all."""
    anatomy, calls = subject(family)[1], []
    (experts,) = [module for name, module in anatomy.blocks[1].named_modules() if name.split(".")[-1] == "experts"]
    hook = experts.register_forward_hook(lambda m, args, out: calls.append((*(a.numpy() for a in args), out.numpy())))
    with LayerInputs(anatomy) as inputs:
        run(anatomy, inputs)
        found = {shared.layers[0].name: shared for shared in inputs.routed(CHOSEN)}
    hook.remove()
    (*_, everywhere), (hidden, index, weight, out) = calls
    np.testing.assert_allclose(out, everywhere[CHOSEN.flatten().numpy()], rtol=1e-9, atol=1e-15)
    total = np.zeros_like(out)
    for e in range(4):
        at, token = np.equal(index.T, e).nonzero()
        up, down = (next((s for name, s in found.items() if name.endswith(f"{kind}_proj[{e}]")), None) for kind in ("up", "down"))
        if not len(token):
            assert up is down is None
            continue
        assert up.layers[0].index == e
        np.testing.assert_array_equal(up.x[0], hidden[token])
        biases = [getattr(experts, f"{kind}_proj_bias")[e].numpy() if family == "gpt_oss" else 0.0 for kind in ("gate_up", "down")]
        between = activated(family, up.x[0].numpy() @ up.layers[0].matrix().numpy().T + biases[0])
        np.testing.assert_allclose(down.x[0], between, rtol=1e-9, atol=1e-15)
        y = down.x[0].numpy() @ down.layers[0].matrix().numpy().T + biases[1]
        np.add.at(total, token, y * weight[token, at, None])
    np.testing.assert_allclose(total, out, rtol=1e-9, atol=1e-12)


def in_order(x):
    """Rows in an order that does not depend on how they came."""
    return x[np.lexsort(np.round(x, 9).T)]


@pytest.mark.parametrize("family", [*ROUTED, "llama4", "jetmoe"])
def test_parts_of_the_tokens_together_are_all(family):
    """The rows of each expert on disjoint tokens are, as a multiset, those on all of them, which are those of the main pass."""
    anatomy = subject(family)[1]
    main, parts = {}, {}
    known = places(weights_of(1, anatomy.blocks[1]))
    hidden, calls = anatomy.enter(IDS)

    def note(use):
        if use.weight.expert and "attention" not in use.weight.name:
            each = use.x if use.index is None else [use.x]
            for e, x in enumerate(each, use.index or 0):
                main.setdefault((use.weight.name.removesuffix(".weight"), e), []).append(x[x.ne(0).any(-1)].clone().numpy())

    with LayerInputs(anatomy) as inputs, torch.inference_mode():
        hidden = anatomy.run(0, hidden, calls[0])
        with Watch(known, note):
            anatomy.run(1, hidden, calls[1])
        inputs.take(WINDOWS, TOKENS)
        for rows in (CHOSEN, ~CHOSEN, torch.zeros_like(CHOSEN)):
            for shared in inputs.routed(rows):
                for layer in shared.layers:
                    parts.setdefault((layer.name.split("[")[0], layer.index), []).append(shared.x[0].numpy())
    main = {key: np.concatenate(rows) for key, rows in main.items() if sum(map(len, rows))}
    assert parts.keys() == main.keys()
    assert sum(len(rows) for rows in main.values()) == 2 * WINDOWS * TOKENS * 2  # Two matrices an expert, two experts a token.
    for key, rows in main.items():
        np.testing.assert_allclose(in_order(np.concatenate(parts[key])), in_order(rows), rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("family", [*FAMILIES, *OWN])
def test_capturing_changes_no_bit_of_the_stream(family):
    """A sweep ends the same, whichever tokens experts are run on again; then the model is as it was."""

    class Taker:
        """Takes everything, and keeps the stream and how often a window was seen."""

        def __init__(self, inputs=None):
            self.inputs, self.streams, self.seen = inputs, [], 0

        def see(self, split, first, before, after):
            self.streams.append(after.clone())
            if self.inputs:
                self.seen += sum(len(shared.layers) * len(shared.x) for shared in self.inputs.take(*after.shape[:2]))
                self.inputs.routed(torch.ones(after.shape[:2], dtype=torch.bool))

        def end_split(self, split):
            pass

        def end_block(self, block):
            pass

    model, anatomy = fresh(family, torch.float32)
    windows = {"calibration": np.random.default_rng(0).integers(0, 97, (9, TOKENS)), "evaluation": IDS.numpy()}
    plain = Taker()
    sweep(anatomy, windows, [plain])
    model.config._experts_implementation = "batched_mm"
    before = {name: set(module.__dict__) for name, module in model.named_modules()}
    with LayerInputs(anatomy) as inputs:
        watched = Taker(inputs)
        sweep(anatomy, windows, [watched])
    assert all(torch.equal(a, b) for a, b in zip(plain.streams, watched.streams, strict=True))
    assert watched.seen == 12 * sum(not layer.expert for b in range(3) for layer in inputs.layers(b))
    with pytest.raises(RuntimeError, match="stop"), LayerInputs(anatomy):
        raise RuntimeError("stop")
    assert model.config._experts_implementation == "batched_mm"
    assert {name: set(module.__dict__) for name, module in model.named_modules()} == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_only_runs_of_blocks_are_recorded_and_only_until_they_are_taken():
    """Neither the head nor a layer that is called by itself; the next run begins anew, and what is taken is let go."""
    anatomy = subject("mixtral")[1]
    with LayerInputs(anatomy) as inputs, torch.inference_mode():
        assert inputs.take(WINDOWS, TOKENS) == []
        assert inputs.routed(CHOSEN) == []
        run(anatomy, inputs)
        hidden = anatomy.enter(IDS)[0]
        anatomy.logits(hidden)
        anatomy.blocks[1].self_attn.q_proj(hidden)
        anatomy.blocks[1].mlp(hidden)
        assert inputs.take(WINDOWS, TOKENS) == []
        hidden, calls = anatomy.enter(IDS)
        for b in (0, 1, 1):
            anatomy.run(b, hidden, calls[b])
        anatomy.blocks[1].mlp(hidden)
        found = inputs.take(WINDOWS, TOKENS)
        assert names(found) == [["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], ["self_attn.o_proj"]]
        assert {layer.block for shared in found for layer in shared.layers} == {1}
        assert not inputs.unseen
        alive = weakref.ref(found[0].x._base if found[0].x._base is not None else found[0].x)
        del found
        assert alive() is None
    assert inputs.routed(CHOSEN) == []


@pytest.mark.parametrize(("windows", "tokens"), [(1, 12), (12, 1), (1, 1), (4, 4)])
@pytest.mark.parametrize("family", ["gpt2", "mixtral", "deepseek_v3"])
def test_any_batch_will_do(family, windows, tokens):
    """One window, one token, as many windows as tokens: rows stand where their tokens do, and experts get all tokens."""
    anatomy = subject(family)[1]
    ids = torch.arange(windows * tokens).view(windows, tokens)
    seen = []
    hook = next(m for n, m in anatomy.blocks[0].named_modules() if n in ("attn.c_attn", "self_attn.o_proj")).register_forward_pre_hook(
        lambda module, args: seen.append(args[0].clone())
    )
    with LayerInputs(anatomy) as inputs, torch.inference_mode():
        hidden, calls = anatomy.enter(ids)
        for b in range(2):
            hidden = anatomy.run(b, hidden, calls[b])
            found = inputs.take(windows, tokens)
            if b == 0:
                (first,) = [each for each in found if each.layers[0].name in ("attn.c_attn", "self_attn.o_proj")]
                assert torch.equal(first.x, seen[0])
        rows = sum(shared.x.shape[1] for shared in inputs.routed(torch.ones(windows, tokens, dtype=torch.bool)))
        assert rows == (0 if family == "gpt2" else 2 * 2 * windows * tokens)
        assert inputs.unseen == []
    hook.remove()
