"""Maps in the place of blocks equal plain NumPy; a branch with them ends where the model's own forward with the same maps ends."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers

from harness.admission import dissect
from harness.affine import AffineMap
from harness.branches import branch, run_block
from harness.interventions import Added, intervened
from harness.maps import Constant
from harness.replaced import Replaced, TeacherForced
from harness.ridge import RankMap
from tests.families import FAMILIES, SMALL
from tests.planted import PlantedConfig, PlantedModel
from tests.test_anatomy import build
from tests.test_interventions import GEMMA4, IDS, WINDOWS, forward, marks, stream
from tests.test_moments import rows

D, TOKENS = 7, 9


def maps(count, d=D, scale=1.0):
    """Maps of all kinds in turn: of rank 2, affine, constant."""
    made = []
    for i in range(count):
        a, b, c = (scale * rows(d, n, 10 * i + n).double() / d**0.5 for n in (d, 2, 1))
        rank = RankMap(b, torch.linalg.qr(a)[0][:, :2])
        made.append([rank, AffineMap(a, c[:, 0], a[0]), Constant(a[1])][i % 3])
    return tuple(made)


def plain(each, x):
    """What a map does, in NumPy."""
    if isinstance(each, RankMap):
        return x @ each.weight.numpy() @ each.basis.numpy().T
    if isinstance(each, AffineMap):
        return each.mean_y.numpy() + (x - each.mean_x.numpy()) @ each.weight.numpy()
    return np.broadcast_to(each.value.numpy(), x.shape)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_run_of_maps_equals_numpy(dtype):
    """Each map sees what the one before left, or, teacher-forced, the true input of its block; the sum is rounded once."""
    hidden, inputs, chain = stream(dtype=dtype), tuple(rows(27, D, s).view(3, TOKENS, D).to(dtype) for s in (1, 2, 3)), maps(3)
    free, forced = hidden.double().numpy(), hidden.double().numpy()
    for each, given in zip(chain, inputs, strict=True):
        free, forced = free + plain(each, free), forced + plain(each, given.double().numpy())
    tolerance = {"rtol": max(2 * torch.finfo(dtype).eps, 1e-9), "atol": 1e-9}
    found = Replaced(4, None, chain).apply(hidden, [0, 1, 2])
    assert found.dtype == dtype
    np.testing.assert_allclose(found.double(), free, **tolerance)
    np.testing.assert_allclose(TeacherForced(4, None, chain, None, inputs).apply(hidden, [0, 1, 2]).double(), forced, **tolerance)
    one = TeacherForced(4, None, chain[:1], None, (hidden,)).apply(hidden, [0, 1, 2])
    assert torch.equal(one, Replaced(4, None, chain[:1]).apply(hidden, [0, 1, 2]))


def test_positions_that_are_not_marked_take_the_clean_stream_above_the_run():
    """Bit for bit, of the right windows; marked ones are as if all were marked."""
    hidden, kept, marked, chain = stream(), rows(27, D, 4).view(3, TOKENS, D).double(), marks(), maps(2)
    found = Replaced(3, marked, chain, kept).apply(hidden[[2, 0]], [2, 0])
    everywhere = Replaced(3, None, chain).apply(hidden[[2, 0]], [2, 0])
    mine = marked[[2, 0]]
    assert torch.equal(found[~mine], kept[[2, 0]][~mine])
    assert torch.equal(found[mine], everywhere[mine])


def test_errors_add_at_true_inputs_and_pass_through_the_maps_on_their_own_stream():
    """e_forced = Σ_b r_b and e_free = Σ_b Π_{c>b} (I + A_c) r_b, with r_b what map b misses at the true input."""
    chain = [AffineMap(0.3 * rows(D, D, s).double(), torch.zeros(D).double(), rows(1, D, s)[0].double()) for s in range(5)]
    truth = [torch.randn(3, TOKENS, D, dtype=torch.float64, generator=torch.Generator().manual_seed(s)) for s in range(6)]
    misses = [each(truth[b]) - (truth[b + 1] - truth[b]) for b, each in enumerate(chain)]
    forced = TeacherForced(4, None, tuple(chain), None, tuple(truth[:5])).apply(truth[0], [0, 1, 2]) - truth[5]
    torch.testing.assert_close(forced, torch.stack(misses).sum(0))
    free = Replaced(4, None, tuple(chain)).apply(truth[0], [0, 1, 2]) - truth[5]
    error = torch.zeros_like(free)
    for miss, each in zip(misses, chain, strict=True):
        error = error + error @ each.weight + miss
    torch.testing.assert_close(free, error)


OWN = {"planted": PlantedConfig(), "in place": PlantedConfig(fault="in place"), "gemma4": transformers.Gemma4TextConfig(**GEMMA4)}


@pytest.fixture(scope="module")
def subject():
    """Tiny models by family in float64, with their parts, embeddings and the outputs of their blocks in the clean run."""

    def of(family):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config({**FAMILIES, **OWN}[family]).eval().requires_grad_(False)
        anatomy = dissect(model.double())
        return (
            model,
            anatomy,
            {-1: anatomy.enter(torch.from_numpy(IDS))[0], **dict(enumerate(forward(model, anatomy, (), range(WINDOWS))[0]))},
        )

    return functools.cache(of)


def variants(anatomy, streams, block):
    """Runs of one and of several blocks from a boundary and further up, at some positions and at all, between other interventions."""
    d, last, some = anatomy.width, len(anatomy.blocks) - 1, marks(WINDOWS, 12)
    chain, push = maps(2, d, 0.3), Added(block, some, 0.3 * rows(1, d, 3)[0].double())
    later = Added(last, None, 0.3 * rows(1, d, 5)[0].double())
    found = [
        (Replaced(block + 1, None, chain[:1]),),
        (Replaced(block + 1, some, chain[:1], streams[block + 1]),),
        (Replaced(last, None, chain[1:]), later),
    ]
    if block + 2 <= last:
        inputs = (streams[block], streams[block + 1])
        found += [
            (Replaced(block + 2, some, chain, streams[block + 2]), later),
            (TeacherForced(block + 2, some, chain, streams[block + 2], inputs),),
            (push, TeacherForced(block + 2, None, chain, None, inputs)),
        ]
    return [(), *found] if block >= 0 else found


@pytest.mark.parametrize("family", ["planted", "in place", "gpt2", "llama", "gpt_neox", "falcon", "gemma2", "gemma4"])
@pytest.mark.parametrize("block", [-1, 0, 1])
@pytest.mark.parametrize(("batch", "group"), [(8, 128), (3, 11)])
def test_a_branch_with_maps_ends_where_the_models_own_forward_ends(subject, family, block, batch, group, monkeypatch):
    """Final streams are the same, whatever is batched together, though the replaced blocks are not run."""
    monkeypatch.setattr("harness.batching.BATCH", batch)
    monkeypatch.setattr("harness.branches.GROUP", group)
    model, anatomy, streams = subject(family)
    wanted = [v for v in variants(anatomy, streams, block) if not any(i.block < 0 for i in v)]
    final = torch.cat([f for _, f in branch(anatomy, streams[block], block, IDS, wanted)])
    for variant, ours in zip(wanted, final, strict=True):
        torch.testing.assert_close(ours, forward(model, anatomy, variant, list(range(WINDOWS)))[0][-1], rtol=1e-6, atol=1e-6)
    ((_, some),) = branch(anatomy, streams[block], block, IDS, wanted[:2], windows=[3, 0])
    torch.testing.assert_close(some, final[:2][:, [3, 0]], rtol=1e-6, atol=1e-6)


def test_replaced_blocks_are_not_run():
    """Of six blocks a run of two is skipped for its own variant, and run for the others in the same batch."""
    model = PlantedModel(PlantedConfig(shares=[0.5] * 6)).eval().requires_grad_(False)
    anatomy, clean, chain, calls = dissect(model), torch.zeros(WINDOWS, 12, 16), maps(2, 16), []
    for index, layer in enumerate(model.layers):
        layer.mlp.register_forward_hook(lambda module, args, out, index=index: calls.append((index, len(args[0]))))
    list(branch(anatomy, clean, 1, IDS, [(Replaced(3, None, chain),)]))
    assert calls == [(4, WINDOWS), (5, WINDOWS)]
    calls.clear()
    list(branch(anatomy, clean, 1, IDS, [(Replaced(3, None, chain),), ()], windows=[0, 1]))
    assert calls == [(2, 2), (3, 2), (4, 4), (5, 4)]


def test_one_block_is_run_on_a_changed_stream(subject, monkeypatch):
    """As the model would run it, in batches, and only that block."""
    monkeypatch.setattr("harness.batching.BATCH", 2)
    model, anatomy, streams = subject("gpt2")
    push = Added(0, None, 0.3 * rows(1, 32, 3)[0].double())
    seen = forward(model, anatomy, (push,), list(range(WINDOWS)))[0]
    torch.testing.assert_close(run_block(anatomy, 1, push.apply(streams[0], range(WINDOWS)), IDS), seen[1], rtol=1e-9, atol=1e-9)


def test_what_cannot_be_is_refused(subject):
    """Runs that are empty or start before the model, marks without a clean stream, interventions inside a run."""
    _, anatomy, streams = subject("gpt2")
    chain, some = maps(2, 32), marks(WINDOWS, 12)
    for block, given in ((1, ()), (0, chain)):
        with pytest.raises(ValueError, match=f"{len(given)} maps cannot take the place of the blocks up to block {block}"):
            Replaced(block, None, given)
    for positions, kept in ((some, None), (None, streams[1])):
        with pytest.raises(ValueError, match="marked positions need the clean stream"):
            Replaced(1, positions, chain, kept)
    with pytest.raises(ValueError, match="1 inputs for 2 maps"):
        TeacherForced(1, None, chain, None, (streams[0],))
    with pytest.raises(ValueError, match="too late for an intervention that starts after block -1"):
        next(branch(anatomy, streams[0], 0, IDS, [(Replaced(1, None, chain),)]))
    with pytest.raises(ValueError, match="an intervention at block 1 starts inside the blocks that another one replaces"):
        next(branch(anatomy, streams[0], 0, IDS, [(Replaced(2, None, chain), Added(1, None, torch.ones(32).double()))]))


def test_hooks_of_replaced_blocks_go(subject):
    """The hook that reads the run's input goes too."""
    model, anatomy, streams = subject("llama")
    with intervened(anatomy, [Replaced(2, None, maps(2, 32))], list(range(WINDOWS))):
        assert any(module._forward_pre_hooks for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.equal(forward(model, anatomy, (), list(range(WINDOWS)))[0][-1], streams[2])


def test_equal_runs_have_equal_keys_and_others_have_others():
    """Every map counts, to the last bit, with its place and kind, and so do what is kept and the inputs."""
    kept, marked, chain = rows(27, D, 4).view(3, TOKENS, D), marks(), maps(3)
    first, again = (Replaced(3, marked, maps(3), kept.clone()) for _ in range(2))
    forced = TeacherForced(3, marked, chain, kept, (kept, kept, kept))
    bent = replace(chain[1], weight=torch.nextafter(chain[1].weight, torch.tensor(9.0).double()))
    others = [
        forced,
        replace(forced, inputs=(kept, kept, kept + 1)),
        replace(first, maps=(chain[0], bent, chain[2])),
        replace(first, maps=(chain[1], chain[0], chain[2])),
        replace(first, maps=chain[:2]),
        replace(first, block=4),
        replace(first, kept=kept + 1),
        replace(first, positions=~marked),
    ]
    assert first.key == again.key
    assert len({first.key, *(other.key for other in others)}) == 1 + len(others)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "mixtral"])
def test_parameters_of_a_block_are_all_of_them(family):
    """Counted from the module; without experts every token uses all."""
    anatomy = dissect(build(family))
    expected = sum(p.numel() for p in anatomy.blocks[1].parameters())
    assert anatomy.parameters(1) == (expected, expected)


EXPERTS = {
    # Parameters of all routed experts of a block, and the share of them that a token is sent to.
    "mixtral": (FAMILIES["mixtral"], 4 * 3 * 32 * FAMILIES["mixtral"].intermediate_size, 2 / 4),
    "gemma4": (
        transformers.Gemma4TextConfig(**GEMMA4, enable_moe_block=True, num_experts=4, top_k_experts=1, moe_intermediate_size=8),
        4 * 3 * 32 * 8,
        1 / 4,
    ),
    "jetmoe": (
        transformers.JetMoeConfig(
            **{name: size for name, size in SMALL.items() if name != "num_attention_heads"},
            num_key_value_heads=2,
            kv_channels=8,
            num_local_experts=4,
        ),
        None,
        2 / 4,
    ),
}


@pytest.mark.parametrize("family", EXPERTS)
def test_of_experts_only_those_that_a_token_is_sent_to_are_active(family):
    """Whatever the configuration calls their number, and the modules their weights."""
    config, routed, share = EXPERTS[family]
    torch.manual_seed(0)
    anatomy = dissect(transformers.AutoModelForCausalLM.from_config(config).eval().requires_grad_(False))
    total, active = anatomy.parameters(0)
    if routed is None:  # Stacked weights of attention and MLP alike.
        routed = sum(p.numel() for p in anatomy.blocks[0].parameters() if p.ndim == 3)
    assert total == sum(p.numel() for p in anatomy.blocks[0].parameters())
    assert routed > total / 4
    assert active == total - routed * (1 - share)


def test_what_is_not_known_of_experts_is_not_made_up():
    """A configuration that names experts without saying how many a token is sent to, or whose weights are nowhere to be found: NaN."""
    anatomy = dissect(build("mixtral"))
    anatomy.model.config.num_experts_per_tok = 0
    assert np.isnan(anatomy.parameters(0)[1])
    anatomy = dissect(build("llama"))
    anatomy.model.config.num_experts, anatomy.model.config.num_experts_per_tok = 8, 2
    assert np.isnan(anatomy.parameters(0)[1])
