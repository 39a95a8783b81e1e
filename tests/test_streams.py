"""Kept streams are the model's own, their spectra those of NumPy, with massive activations and without, and moments of them add up."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.admission import dissect
from harness.batching import BATCH
from harness.bookmark import StoreBookmark
from harness.linearity import CALIBRATION, EVALUATION
from harness.measurement import INTERVENTION
from harness.moments import Sums
from harness.protocol import Protocol
from harness.spectra import Spectra
from harness.spectra_sweep import SpectraVisitor
from harness.store import Store
from harness.streams import Keeper, Streams, grouped
from harness.sweep import sweep
from harness.typical import typical
from tests.kept_streams import keep
from tests.planted import PlantedConfig, PlantedModel
from tests.test_anatomy import build
from tests.test_moments import rows

CPU, PROTOCOL = torch.device("cpu"), Protocol(typical_factor=4.0)
MASSIVE = 5  # The token whose embedding is hundreds of times the others'.
DRAW = np.random.default_rng(0)
IDS = {CALIBRATION: DRAW.integers(0, 97, (BATCH + 3, 40)), EVALUATION: DRAW.integers(0, 97, (4, 40))}
OWN = {**IDS, INTERVENTION: DRAW.integers(0, 97, (2, 40))}


def subject(family="gpt2", dtype=torch.float32):
    """A tiny model with massive activations, and its parts."""
    if family == "planted":
        model = PlantedModel(PlantedConfig(shares=[1.0] * 8, hidden_size=6)).eval().requires_grad_(False).to(dtype)
    else:
        model = build(family).to(dtype)
    model.get_input_embeddings().weight[MASSIVE] *= 200
    return model, dissect(model)


def truth(model, anatomy, ids):
    """Inputs and outputs of every block in the model's own forward, by plain hooks."""
    seen = []
    hooks = [
        block.register_forward_hook(
            lambda _, args, out: seen.append((args[0].clone(), (out[0] if isinstance(out, tuple) else out).clone()))
        )
        for block in anatomy.blocks
    ]
    with torch.inference_mode():
        model(torch.from_numpy(ids), use_cache=False)
    for hook in hooks:
        hook.remove()
    return seen


def nothing(done, total):
    """Watch no progress."""


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("family", "ids", "blocks"), [("gpt2", IDS, [0, 1, 2]), ("planted", IDS, [*range(1, 8)]), ("planted", OWN, [*range(1, 8)])]
)
def test_kept_streams_are_the_models_own(family, ids, blocks, dtype):
    """Mid, the range, the last boundary and those of the blocks that are replaced together; typical tokens are marked."""
    model, anatomy = subject(family, dtype)
    streams = keep(anatomy, ids, PROTOCOL, None, CPU, nothing)
    assert sorted(streams.at) == sorted(streams.marked) == blocks
    assert (streams.last, streams.spectra) == (len(anatomy.blocks) - 1, None)
    for split, windows in ids.items():
        np.testing.assert_array_equal(streams.ids[split], windows)
        own = truth(model, anatomy, windows)
        for block in blocks:
            before, after = own[block]
            # Batches of another size round otherwise.
            torch.testing.assert_close(streams.at[block][split], after, rtol=0.02 if dtype == torch.bfloat16 else 1e-4, atol=1e-2)
            assert streams.at[block][split].dtype == dtype
            if dtype == torch.float32:
                assert torch.equal(streams.marked[block][split], typical(before, after, 4.0))
    massive = torch.from_numpy(ids[CALIBRATION] == MASSIVE)
    assert bool(massive[:, 1:].any())
    assert not bool((streams.marked[blocks[0]][CALIBRATION] & massive).any())


def test_windows_for_interventions_are_those_for_evaluation_where_there_are_none_of_their_own():
    """One tensor by both names; with windows of their own, another."""
    _, anatomy = subject()
    streams = keep(anatomy, IDS, PROTOCOL, None, CPU, nothing)
    assert streams.ids[INTERVENTION] is streams.ids[EVALUATION]
    assert INTERVENTION not in IDS
    for kept in (*streams.at.values(), *streams.marked.values()):
        assert kept[INTERVENTION] is kept[EVALUATION]
    streams = keep(anatomy, OWN, PROTOCOL, None, CPU, nothing)
    assert len(streams.at[2][INTERVENTION]) == 2


def test_tokens_are_typical_at_several_blocks_when_they_are_at_each():
    """Marks of several blocks are taken together."""
    marks = [torch.tensor([[True, True, False]]), torch.tensor([[True, False, True]])]
    streams = Streams({}, marked={b: {"a": mark} for b, mark in enumerate(marks)})
    assert streams.typical_at("a", 0).tolist() == [[True, True, False]]
    assert streams.typical_at("a", 0, 1).tolist() == [[True, False, False]]


def test_kept_streams_survive_the_sweep_that_made_them():
    """They are copies, whatever the batch they came in: the sweep reuses its tensors. Marks look at both sides of a block."""
    streams = Streams({"a": np.zeros((3, 4), int)})
    keeper = Keeper(streams, [1], 4.0)
    given = 1 + 0.1 * rows(12, 5, 0).view(3, 4, 5)
    for block in range(3):
        for first, last in ((0, 2), (2, 3)):
            batch, before = given[first:last] * (block + 1), given[first:last].clone()
            before[0, 2] *= 100  # A massive activation that the block erases.
            keeper.see("a", first, before, batch)
            batch.zero_()
        keeper.end_split("a")
        keeper.end_block(block)
    assert list(streams.at) == [1]
    torch.testing.assert_close(streams.at[1]["a"], 2 * given)
    assert streams.marked[1]["a"].int().tolist() == [[0, 1, 0, 1], [0, 1, 1, 1], [0, 1, 0, 1]]


def test_kept_streams_take_no_bookmark():
    """They are made anew instead: a sweep refuses to keep a place for them, before anything runs."""
    _, anatomy = subject("gpt2")
    with pytest.raises(TypeError, match="takes no bookmark"):
        sweep(anatomy, IDS, [Keeper(Streams(IDS), [1], 4.0)], bookmark=StoreBookmark(Store(None), {}))


@pytest.mark.parametrize("family", ["gpt2", "llama", "planted"])
def test_spectra_equal_numpys(family):
    """Eigenvalues of the covariance of each block's output on calibration text, of all tokens and of typical ones; the share left out."""
    model, anatomy = subject(family)
    d, blocks = anatomy.width, len(anatomy.blocks)
    found = keep(anatomy, IDS, PROTOCOL, SpectraVisitor(d, 4.0, "cpu"), CPU, nothing).spectra
    assert {name: array.shape for name, array in found.items()} == {
        f"{rung}/{name}": shape for rung in ("paper", "typical") for name, shape in (("values", (blocks, d)), ("left_out", (blocks,)))
    }
    for block, (before, after) in enumerate(truth(model, anatomy, IDS[CALIBRATION])):
        marked = typical(before, after, 4.0)
        for rung, x in (("paper", after.flatten(0, 1)), ("typical", after[marked])):
            values = np.linalg.eigvalsh(np.cov(x.double().numpy().T, bias=True))[::-1]
            np.testing.assert_allclose(found[f"{rung}/values"][block], values, rtol=1e-3, atol=1e-6 * values[0])
            assert found[f"{rung}/left_out"][block] == pytest.approx(1 - float(marked.float().mean()), abs=1e-6)
    assert found["paper/values"][0, 0] > 50 * found["typical/values"][0, 0]


@pytest.mark.parametrize(("factor", "left_out"), [(4.0, 3 / 8), (1e-9, 1.0)])
def test_spectra_leave_out_what_is_massive_on_either_side(factor, left_out):
    """First tokens, and one that is massive before the block alone; without typical tokens nothing varies. Other splits count nothing."""
    visitor, after = SpectraVisitor(3, factor, "cpu"), 1 + 0.1 * rows(8, 3, 0).view(2, 4, 3)
    before = after.clone()
    before[1, 2] *= 100
    visitor.see(CALIBRATION, 0, before, after)
    visitor.see(EVALUATION, 0, 5 * before, 5 * after)
    visitor.end_block(0)
    found, kept = visitor.result(), typical(before, after, factor)
    assert found["typical/left_out"].tolist() == [left_out]
    for rung, x in (("paper", after.flatten(0, 1)), ("typical", after[kept])):
        truth = np.linalg.eigvalsh(np.cov(x.double().numpy().T, bias=True))[::-1] if len(x) else np.zeros(3)
        np.testing.assert_allclose(found[f"{rung}/values"][0], truth, rtol=1e-6, atol=1e-12)


def test_dimensions_are_the_fewest_pcs_that_hold_the_share():
    """By block; an exactly held share takes no further PC, and a stream that does not vary has no dimension."""
    values = np.array([[8.0, 1.0, 0.6, 0.4], [1.0, 1.0, 1.0, 1.0], [5.0, 0.0, 0.0, 0.0], [0.0] * 4])
    spectra = Spectra.of({"values": values, "left_out": np.zeros(4)}, {"B": 4, "d": 4})
    np.testing.assert_array_equal(spectra.dimensions(0.9), [2, 4, 1, np.nan])
    np.testing.assert_array_equal(spectra.dimensions(0.75), [1, 3, 1, np.nan])
    for value in (0.1, 1 / 3, 7.7, 1e-9):
        equal = Spectra.of({"values": np.full((1, 10), value), "left_out": np.zeros(1)}, {"B": 1, "d": 10})
        assert [equal.dimensions(share)[0] for share in (0.3, 0.6, 0.7, 0.8, 0.9)] == [3, 6, 7, 8, 9]
    with pytest.raises(ValueError, match="does not fit"):
        Spectra.of({"values": values, "left_out": np.zeros(3)}, {"B": 4, "d": 4})


@pytest.mark.parametrize("marked", [None, rows(7, 5, 3) > 0])
def test_grouped_moments_are_those_of_the_marked_rows_of_contiguous_windows(marked):
    """Seven windows in three groups of three, two and two; in one group they are the sums over all."""
    x, y = rows(35, 4, 0).view(7, 5, 4), rows(35, 3, 1).view(7, 5, 3)
    keep = torch.ones(7, 5, dtype=torch.bool) if marked is None else marked
    found = grouped(x, y, marked, 3)
    assert found.groups == 3
    parts = [slice(0, 3), slice(3, 5), slice(5, 7)]
    for sums, part in [*((found.group(g), part) for g, part in enumerate(parts)), (grouped(x, y, marked, 1).group(0), slice(0, 7))]:
        truth = Sums.of(x[part][keep[part]], y[part][keep[part]])
        assert sums.n == truth.n
        for name in ("x", "y", "xx", "xy", "yy"):
            torch.testing.assert_close(getattr(sums, name), getattr(truth, name))
    with pytest.raises(ValueError, match="8 groups need as many calibration windows, not 7"):
        grouped(x, y, marked, 8)
