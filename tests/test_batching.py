"""Where memory runs out fewer windows run together: no window is lost or seen twice, and figures stay what they were."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch

from harness.admission import dissect
from harness.affine_linearity import AffineLinearity
from harness.anatomy import Anatomy
from harness.batching import BATCH, Batching, KeptInStore, completed, estimate
from harness.branches import BRANCH, branch, run_block
from harness.device_memory import out_of_memory, window_bytes, windows_that_fit
from harness.errors import MemoryShortageError, TooManyTogetherError
from harness.interventions import Added
from harness.protocol import Protocol
from harness.rank_linearity import RankLinearity
from harness.store import Record, Store, StoreWarning
from harness.sweep import SWEEP, sweep
from tests.test_anatomy import build
from tests.test_batches import ABSOLUTE, RELATIVE
from tests.test_sweep import Keeper, Pages, windows_of

PROTOCOL = Protocol(window=32, calibration_windows=16, evaluation_windows=8)
CPU_SAYS = "[enforce fail at alloc_cpu.cpp:126] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
ERRORS = [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), RuntimeError(CPU_SAYS), MemoryError()]
ERRORS += [RuntimeError(f"{what} when calling something") for what in ("CUDA error: out of memory", "CUSOLVER_STATUS_ALLOC_FAILED")]


@contextlib.contextmanager
def room_for(block, most, error=ERRORS[0]):
    """Have a block run out of memory with more than so many windows, after it has run."""

    def hook(module, args, out):
        if len(args[0]) > most:
            raise error

    handle = block.register_forward_hook(hook)
    yield
    handle.remove()


@pytest.mark.parametrize("error", ERRORS, ids=["cuda", "cpu", "python", "kernel", "solver"])
def test_rows_that_do_not_fit_are_run_again_in_halves(error):
    """Every row is yielded once and in order; what was too much is not tried again, and a line says so once."""
    said, tried = [], []

    def run(rows):
        tried.append((rows.start, rows.stop))
        if rows.start >= 8 and rows.stop - rows.start > 2:
            raise error
        return list(range(rows.start, rows.stop))

    batching = Batching(say=said.append)
    found = list(batching.each("work", 15, run))
    assert [row for _, part in found for row in part] == list(range(15))
    assert all(part == list(range(rows.start, rows.stop)) for rows, part in found)
    assert tried == [(0, 8), (8, 15), (8, 11), (8, 9), (9, 10), (10, 11), (11, 12), (12, 13), (13, 14), (14, 15)]
    assert said == [
        "out of memory with 7 windows at a time: going on with 3",
        "out of memory with 3 windows at a time: going on with 1",
    ]
    assert (batching.windows("work"), batching.windows("other")) == (1, BATCH)


def test_one_window_that_does_not_fit_is_an_error_that_says_what_to_do():
    """Nothing is left to halve; the sizes and the device's own words are in the text."""
    batching = Batching()
    anatomy = dissect(build("llama"))
    anatomy.batching = batching
    why = r"out of memory with one window at a time \(CUDA out of memory\); give --dtype bfloat16, --device-map auto, or another --device"
    with room_for(anatomy.blocks[1], 0), pytest.raises(MemoryShortageError, match=why):
        sweep(anatomy, windows_of(97), [])


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    """They pass at once, from whatever runs."""
    for error in (RuntimeError("CUDA error: an illegal memory access"), ValueError("memory"), KeyError("x")):
        assert not out_of_memory(error)

        def run(rows, error=error):
            raise error

        with pytest.raises(type(error)):
            list(Batching().each("work", 8, run))
        with pytest.raises(type(error)):
            completed(lambda run=run: run(None))


@pytest.mark.parametrize("visitor", [RankLinearity, AffineLinearity])
@pytest.mark.parametrize("most", [1, 3])
def test_a_sweep_that_runs_out_of_memory_gives_the_figures_of_one_that_does_not(visitor, most):
    """In the middle of a block: each visitor sees every window of every block once, and its figures are those without."""
    found, seen = [], []
    for short in (False, True):
        anatomy = dissect(build("llama"))
        watcher, keeper = visitor(16, 8, 32, PROTOCOL, "cpu"), Keeper()
        with room_for(anatomy.blocks[1], most) if short else contextlib.nullcontext():
            sweep(anatomy, windows_of(97), [watcher, keeper])
        found.append(watcher.result())
        seen.append({split: torch.cat([after for _, after in streams]) for split, streams in keeper.streams.items()})
        assert anatomy.batching.windows(SWEEP) == ({1: 1, 3: 2}[most] if short else BATCH)
    for split, whole in seen[0].items():
        assert len(whole) == {"calibration": 16, "evaluation": 8}[split] * 3
        torch.testing.assert_close(seen[1][split], whole, rtol=RELATIVE, atol=ABSOLUTE)
    for rung, linearity in found[0].items():
        for name, array in linearity.arrays.items():
            np.testing.assert_allclose(found[1][rung].arrays[name], array, rtol=RELATIVE, atol=ABSOLUTE)


def test_a_branch_and_a_single_block_that_run_out_of_memory_end_where_they_did():
    """Variants that share batches are taken apart, and each keeps its own windows."""
    anatomy = dissect(build("gpt2"))
    ids = windows_of(97)["calibration"][:5]
    with torch.inference_mode():
        stream = anatomy.enter(torch.from_numpy(ids))[0]
    push = [(Added(b, None, torch.full((32,), size, dtype=torch.float64)),) for b in (0, 1) for size in (0.5, 2.0)]
    finals, after = [], []
    for short in (False, True):
        anatomy.batching = Batching()
        with room_for(anatomy.blocks[2], 2) if short else contextlib.nullcontext():
            finals.append(torch.cat([final for _, final in branch(anatomy, stream, -1, ids, push)]))
            after.append(run_block(anatomy, 2, stream, ids))
        assert anatomy.batching.windows(BRANCH) == (2 if short else BATCH)
    torch.testing.assert_close(finals[1], finals[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(after[1], after[0], rtol=1e-5, atol=1e-5)


class Greedy(RankLinearity):
    """Runs out of memory after it has added a batch of more than so many windows."""

    most = 2

    def see(self, split, first, before, after):
        """Add, and then fail."""
        super().see(split, first, before, after)
        if len(after) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def test_a_visitor_that_runs_out_of_memory_is_made_anew(monkeypatch):
    """Half of a batch is never in a figure: the measurement begins again with fewer windows, until one is too much."""
    anatomy, made = dissect(build("llama")), []

    def measure():
        made.append(Greedy(16, 8, 32, PROTOCOL, "cpu"))
        sweep(anatomy, windows_of(97), [made[-1]])
        return made[-1].result()

    found, whole = completed(measure), RankLinearity(16, 8, 32, PROTOCOL, "cpu")
    assert (len(made), anatomy.batching.windows(SWEEP)) == (3, 2)
    sweep(dissect(build("llama")), windows_of(97), [whole])
    for rung, linearity in whole.result().items():
        for name, array in linearity.arrays.items():
            np.testing.assert_allclose(found[rung].arrays[name], array, rtol=RELATIVE, atol=ABSOLUTE)
    monkeypatch.setattr(Greedy, "most", 0)
    with pytest.raises(MemoryShortageError, match="with one window at a time"):
        completed(measure)


def test_what_fewer_windows_do_not_help_is_an_error_at_once():
    """A solve that does not fit is tried once."""
    tried = []

    def measure():
        tried.append(1)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    with pytest.raises(MemoryShortageError, match=r"out of memory \(CUDA out of memory\); give --dtype"):
        completed(measure)
    assert len(tried) == 1


def test_a_sweep_taken_up_after_memory_ran_out_gives_the_same_bits():
    """The page holds streams by window, so that the sweep goes on with the fewer windows it had come to."""

    def run(bookmark, batching, short):
        anatomy, watcher = dissect(build("gpt2")), RankLinearity(16, 8, 32, PROTOCOL, "cpu")
        anatomy.batching = batching
        with room_for(anatomy.blocks[0], 3) if short else contextlib.nullcontext():
            sweep(anatomy, windows_of(97), [watcher], bookmark=bookmark)
        return watcher.result()

    pages, batching = Pages(), Batching()
    whole = run(pages, batching, short=True)
    assert batching.windows(SWEEP) == 2
    for page in pages.pages.items():
        for rung, linearity in run(Pages(page), batching, short=False).items():
            for name, array in linearity.arrays.items():
                np.testing.assert_array_equal(array, whole[rung].arrays[name])


def test_the_next_run_starts_with_the_windows_that_fitted(tmp_path):
    """Kept by weights, dtype, device and kind of work: another kind begins with what it always did, and a wrong entry is set aside."""
    about = {"weights": "w", "dtype": "float32", "device": "cpu x86_64", "tokens": 256}

    def batching(store=None, **other):
        return Batching(remembered=KeptInStore(store or Store(tmp_path), {**about, **other}))

    first = batching()
    first.halve(SWEEP, 8, "why")
    assert [batching().windows(work) for work in (SWEEP, BRANCH)] == [4, BATCH]
    assert [batching(**{name: "other"}).windows(SWEEP) for name in about] == [BATCH] * 4
    first.halve(SWEEP, 4, "why")
    assert batching().windows(SWEEP) == 2
    for wrong in (0, 65, "2", 2.0, True):
        Store(tmp_path).put(KeptInStore(Store(None), about)._key(SWEEP), Record(notes={"windows": wrong}))
        with pytest.warns(StoreWarning, match="set aside"):
            assert batching().windows(SWEEP) == BATCH


def test_an_estimate_is_kept_so_that_a_sweep_that_is_taken_up_goes_on_with_it(tmp_path):
    """What is free differs from run to run."""
    free = iter([16, 32])
    for _ in range(2):
        batching = Batching(lambda: next(free), KeptInStore(Store(tmp_path), {}))
        assert [batching.windows(SWEEP), batching.windows(SWEEP)] == [16, 16]


def test_the_estimate_is_the_largest_power_of_two_that_fits_a_quarter_of_what_is_free(monkeypatch):
    """From 1 to 64; of a block it counts outputs of all products, attention scores and streams in float64."""
    assert [windows_that_fit(free, 10) for free in (0, 39, 80, 319, 320, 10**6)] == [1, 1, 2, 4, 8, 64]
    block = torch.nn.Sequential(torch.nn.Linear(8, 24), torch.nn.Linear(24, 8, bias=False)).to(torch.bfloat16)
    assert window_bytes(block, 8, 2, 16) == 16 * (2 * 48 + 6 * 8 * 8) + 2 * 16**2 * 6
    model = build("llama")
    assert estimate(model, dissect(model).blocks, torch.device("cpu"), 32, 16) is None
    monkeypatch.setattr("harness.batching.free_bytes", lambda device: 10**9)
    found = estimate(model, dissect(model).blocks, torch.device("cpu"), 32, 16)
    assert found is not None
    assert found() == 64


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device whose memory can be limited")
def test_a_device_that_runs_out_of_memory_gives_the_figures_of_one_that_does_not():
    """A limit is set just above what a few windows take, and the sweep goes on with fewer than it began with."""
    found, device = [], torch.device("cuda")
    windows = {"calibration": np.random.default_rng(0).integers(0, 97, (64, 256))}
    for limited in (False, True):
        anatomy = dissect(build("llama").to(device))
        anatomy.batching = Batching(lambda: 64)
        torch.cuda.empty_cache()
        if limited:
            total = torch.cuda.mem_get_info(device)[1]
            torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated(device) + 24 * 2**20) / total, device)
        keeper = Keeper()
        try:
            sweep(anatomy, windows, [keeper], device)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, device)
        found.append(torch.cat([after.cpu() for _, after in keeper.streams["calibration"]]))
        assert (anatomy.batching.windows(SWEEP) < 64) == limited
        del anatomy, keeper
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-3)


def test_every_loop_over_windows_of_a_model_asks_how_many(monkeypatch):
    """Entering takes as many windows as were asked for, in a sweep and in a branch."""
    anatomy, together, enter = dissect(build("llama")), [], Anatomy.enter
    monkeypatch.setattr(Anatomy, "enter", lambda self, ids: (together.append(len(ids)), enter(self, ids))[1])
    anatomy.batching = Batching(lambda: 3)
    ids = windows_of(97)["calibration"]
    sweep(anatomy, {"calibration": ids}, [])
    with torch.inference_mode():
        stream = enter(anatomy, torch.from_numpy(ids))[0]
    list(branch(anatomy, stream, -1, ids, [()]))
    run_block(anatomy, 0, stream, ids)
    assert together == 3 * [3, 3, 3, 3, 3, 1]


def test_a_sweep_starts_anew_with_fewer_windows_than_a_visitor_could_take():
    """The error that says so is no verdict and no lack that lasts."""
    anatomy = dissect(build("llama"))
    with pytest.raises(TooManyTogetherError):
        sweep(anatomy, windows_of(97), [Greedy(16, 8, 32, PROTOCOL, "cpu")])
    assert anatomy.batching.windows(SWEEP) == 4
