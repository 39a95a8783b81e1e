"""The sweep gives every visitor the true stream, once, and holds one stream whatever the number of blocks."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from harness.admission import dissect
from harness.affine_linearity import AffineLinearity
from harness.batching import BATCH
from harness.errors import MeasurementError
from harness.protocol import Protocol
from harness.rank_linearity import RankLinearity
from harness.sweep import sweep
from tests.planted import PlantedConfig, PlantedModel
from tests.test_anatomy import build


class Keeper:
    """Keeps copies of everything it sees."""

    def __init__(self):
        self.events, self.streams = [], {}

    def see(self, split, first, before, after):
        """Copy a batch."""
        self.events.append((split, first))
        self.streams.setdefault(split, []).append((before.clone(), after.clone()))

    def end_split(self, split):
        """Note the end of a split."""
        self.events.append(f"end of {split}")

    def end_block(self, block):
        """Note the end of a block."""
        self.events.append(f"end of block {block}")


def test_visitors_see_the_models_own_stream():
    """(h_b, h_{b+1}) equal what plain hooks capture in one forward pass, for every block, split and batch."""
    model = build("gemma2")
    anatomy = dissect(model)
    draw = np.random.default_rng(0)
    windows = {"calibration": draw.integers(0, 97, (BATCH + 3, 12)), "evaluation": draw.integers(0, 97, (2, 12))}
    keeper = Keeper()
    sweep(anatomy, windows, [keeper])
    for split, ids in windows.items():
        truth = []
        hooks = [
            block.register_forward_hook(
                lambda _, args, out, truth=truth: truth.append((args[0], out[0] if isinstance(out, tuple) else out))
            )
            for block in anatomy.blocks
        ]
        with torch.inference_mode():
            model(torch.from_numpy(ids), use_cache=False)
        for hook in hooks:
            hook.remove()
        batches = -(-len(ids) // BATCH)
        seen = keeper.streams[split]
        for b in range(3):
            for side in range(2):
                ours = torch.cat([seen[b * batches + i][side] for i in range(batches)])
                torch.testing.assert_close(ours, truth[b][side])


def test_splits_and_blocks_come_in_order():
    """All of a split passes before its end is announced, all splits before the block's."""
    anatomy = dissect(PlantedModel(PlantedConfig(shares=[0.5] * 2)).eval())
    keeper = Keeper()
    sweep(anatomy, {"a": np.zeros((BATCH + 1, 4), int), "b": np.zeros((1, 4), int)}, [keeper])
    once = [("a", 0), ("a", BATCH), "end of a", ("b", 0), "end of b"]
    assert keeper.events == [*once, "end of block 0", *once, "end of block 1"]


def test_a_block_that_is_not_finite_is_named():
    """The sweep stops at the block, before any figure is made."""
    model = PlantedModel(PlantedConfig(shares=[0.5] * 4)).eval()
    anatomy = dissect(model)
    model.layers[2].breaks = True
    with pytest.raises(MeasurementError, match="block 2 yields NaN or infinity"):
        sweep(anatomy, {"a": np.zeros((1, 4), int)}, [])


@pytest.mark.parametrize("visitor", [RankLinearity, AffineLinearity])
def test_memory_does_not_grow_with_the_number_of_blocks(visitor):
    """The tensors alive at the end of a block, the model's own aside, are the same bytes for 3 and for 12 blocks."""
    peaks = {}
    protocol = Protocol(window=32, calibration_windows=16, evaluation_windows=8)
    for n in (3, 12):
        model = PlantedModel(PlantedConfig(shares=[0.5] * n)).eval()
        anatomy = dissect(model)
        own = {p.untyped_storage().data_ptr() for p in model.parameters()}
        alive = []

        def count(done, total, own=own, alive=alive):
            gc.collect()
            tensors = [t for t in gc.get_objects() if issubclass(type(t), torch.Tensor)]
            storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
            alive.append(sum(size for place, size in storages.items() if place not in own))

        sweep(anatomy, windows_of(512), [visitor(16, 8, 16, protocol, "cpu")], progress=count)
        assert len(alive) == n
        peaks[n] = max(alive)
    stream = 24 * 32 * 16 * 4
    assert peaks[3] > stream
    assert peaks[12] <= 1.01 * peaks[3]


def windows_of(vocabulary):
    """Random windows of two splits."""
    ids = np.random.default_rng(0).integers(0, vocabulary, (24, 32))
    return {"calibration": ids[:16], "evaluation": ids[16:]}


@pytest.mark.parametrize("visitor", [RankLinearity, AffineLinearity])
def test_figures_do_not_depend_on_the_batch_size(visitor, monkeypatch):
    """1e-4 whatever the batch, values and replicates."""
    protocol = Protocol(window=32, calibration_windows=16, evaluation_windows=8)
    anatomy = dissect(build("llama"))
    results = []
    for batch in (1, 5, 24):
        monkeypatch.setattr("harness.batching.BATCH", batch)
        watcher = visitor(16, 8, 32, protocol, "cpu")
        sweep(anatomy, windows_of(97), [watcher])
        results.append(watcher.result())
    for other in results[1:]:
        for rung, linearity in other.items():
            for name, array in linearity.arrays.items():
                np.testing.assert_allclose(array, results[0][rung].arrays[name], rtol=1e-4, atol=1e-6)


class Pages:
    """A bookmark in memory that keeps every page."""

    def __init__(self, found=None):
        self.found, self.pages = found, {}

    def load(self, take_up):
        """Hand over the page to go on at."""
        if self.found is None:
            return 0
        take_up(*self.found)
        return self.found[0]

    def save(self, block, state):
        """Keep a page."""
        self.pages[block] = {name: array.copy() for name, array in state().items()}


def bookmarked(visitor, dtype=torch.float32):
    """Return a function that sweeps a tiny GPT-2 with a bookmark and gives the visitor's result."""
    protocol = Protocol(window=32, calibration_windows=16, evaluation_windows=8)
    anatomy = dissect(build("gpt2").to(dtype))

    def run(bookmark):
        watcher = visitor(16, 8, 32, protocol, "cpu")
        sweep(anatomy, windows_of(97), [watcher], bookmark=bookmark)
        return watcher.result()

    return run


@pytest.mark.parametrize("visitor", [RankLinearity, AffineLinearity])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_sweep_taken_up_at_any_block_gives_the_same_bits(visitor, dtype):
    """Whatever block it was interrupted after, every array is equal to the uninterrupted one, bit for bit."""
    run = bookmarked(visitor, dtype)
    pages = Pages()
    whole = run(pages)
    assert sorted(pages.pages) == [1, 2]
    for block, state in pages.pages.items():
        for rung, linearity in run(Pages((block, state))).items():
            for name, array in linearity.arrays.items():
                np.testing.assert_array_equal(array, whole[rung].arrays[name])


def dropped(state):
    """Without one stream."""
    return {name: array for name, array in state.items() if name != "stream/calibration"}


@pytest.mark.parametrize("visitor", [RankLinearity, AffineLinearity])
@pytest.mark.parametrize(
    ("block", "change"),
    [
        (99, lambda state: state),
        (0, lambda state: state),
        (-1, lambda state: state),
        (1, lambda state: state),
        (2, dropped),
        (2, lambda state: {**state, "stream/calibration": state["stream/calibration"][:-1]}),
        (2, lambda state: {**state, "more": np.zeros(3)}),
        (2, lambda state: {**state, "visitor0/2/value": np.zeros(())}),
        (2, lambda state: {name: a[..., None] if name.endswith("value") else a for name, a in state.items()}),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(visitor, block, change):
    """Another block than its findings, missing or short streams, anything more: ValueError or KeyError, and the sweep starts at 0."""
    run = bookmarked(visitor)
    pages = Pages()
    whole = run(pages)

    class Refusing(Pages):
        """What the store does with what does not fit."""

        def load(self, take_up):
            with pytest.raises((ValueError, KeyError)):
                take_up(block, change(pages.pages[2]))
            return 0

    for rung, linearity in run(Refusing()).items():
        np.testing.assert_array_equal(linearity.arrays["value"], whole[rung].arrays["value"])
