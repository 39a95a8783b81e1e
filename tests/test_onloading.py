"""A model whose blocks are brought to the device one at a time: the figures of one that is there whole, and never two blocks there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fixtures.described import model_at
from harness.adapters import AdaptedBlocks
from harness.admission import dissect, find_blocks
from harness.batching import Batching
from harness.bench import Bench
from harness.branches import branch
from harness.destroyed import BOTH
from harness.destroyed_block import Destroyer
from harness.errors import MeasurementError
from harness.interventions import Added
from harness.layer_inputs import LayerInputs
from harness.layers import replaced_weights
from harness.linear_block import replaced_by
from harness.onloading import Onloader
from harness.protocol import Protocol
from harness.store import Store
from harness.subject import Placement
from harness.sweep import sweep
from tests import families
from tests.family_laboratory import cells, laboratory, row_of, texts_of
from tests.test_anatomy import build
from tests.test_sweep import Keeper, windows_of

CPU = torch.device("cpu")
TRAINED_THROUGH = {"lora_gain"}
"""Predicates whose figures come from training through blocks."""


class Counting(Onloader):
    """Counts which blocks come in, and spoils what was let go, so that nobody can go on with it."""

    def __init__(self, model, device=CPU):
        self.came, self.copies, self.names = [], [], {}
        blocks = find_blocks(model, None)[1]
        self.names = {id(block): b for b, block in enumerate(blocks)}
        super().__init__(model, blocks, device, self.copy)

    def copy(self, held):
        """Copy, and remember the copy."""
        self.copies.append(held.clone())
        return self.copies[-1]

    def bring(self, block):
        """Note a block that was not there."""
        if block is not self.resident and id(block) in self.names:
            self.came.append(self.names[id(block)])
        super().bring(block)

    def _let_go(self):
        super()._let_go()
        for copy in self.copies:
            copy.fill_(float("nan") if copy.is_floating_point() else 0)
        self.copies.clear()


def subject(family, onloaded):
    """A small model's anatomy, with its blocks brought in or not."""
    model = build(family)
    onloader = Counting(model) if onloaded else None
    anatomy = dissect(model)
    anatomy.onloader = onloader
    if onloader:
        onloader.came.clear()
    return anatomy


def on_device(anatomy):
    """The blocks whose weights are a copy."""
    copies = {copy.data_ptr() for copy in anatomy.onloader.copies}
    return [b for b, block in enumerate(anatomy.blocks) if any(p.data_ptr() in copies for p in block.parameters())]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_a_sweep_brings_every_block_in_once_and_one_at_a_time(family):
    """Streams are those of a model that is there whole, bit for bit, whatever the number of batches."""
    seen = []
    for onloaded in (False, True):
        anatomy, keeper, there = subject(family, onloaded), Keeper(), []
        anatomy.batching = Batching(lambda: 3)

        def look(done, total, anatomy=anatomy, there=there):
            there.append(on_device(anatomy) if anatomy.onloader else [done - 1])

        sweep(anatomy, windows_of(97), [keeper], progress=look)
        seen.append({split: torch.cat([after for _, after in streams]) for split, streams in keeper.streams.items()})
        assert there == [[0], [1], [2]]
        assert anatomy.onloader is None or anatomy.onloader.came == [0, 1, 2]
    for split, whole in seen[0].items():
        assert torch.equal(seen[1][split], whole)


def test_a_branch_brings_every_block_in_once_for_a_group():
    """However many batches a group has; final streams are the same bits."""
    ids, finals = windows_of(97)["calibration"][:6], []
    push = [(Added(b, None, torch.full((32,), size, dtype=torch.float64)),) for b in (0, 1) for size in (0.5, 2.0)]
    for onloaded in (False, True):
        anatomy = subject("llama", onloaded)
        anatomy.batching = Batching(lambda: 5)
        with torch.inference_mode():
            stream = anatomy.enter(torch.from_numpy(ids))[0]
        if anatomy.onloader:
            assert anatomy.onloader.came == []  # What stands before the first block is on the device.
        finals.append([final for _, final in branch(anatomy, stream, -1, ids, push)])
        assert anatomy.onloader is None or anatomy.onloader.came == [0, 1, 2]
    assert all(torch.equal(one, two) for one, two in zip(*finals, strict=True))


def test_weights_that_are_replaced_are_brought_in_first_and_are_whole_afterwards():
    """A destroyed block runs destroyed, a block that others run after is what it was, on the device and on the host."""
    ids, found = windows_of(97)["calibration"][:4], []
    for onloaded in (False, True):
        anatomy = subject("llama", onloaded)
        with torch.inference_mode():
            stream, calls = anatomy.enter(torch.from_numpy(ids))
            destroyed = Destroyer(anatomy, 4)(0, stream, ids)
            before = anatomy.run(0, stream, calls[0])
            anatomy.run(1, stream, calls[1])
            changed = destroyed.run(BOTH, stream, ids)
            anatomy.run(1, stream, calls[1])
            found.append((before, changed, anatomy.run(0, stream, calls[0])))
        assert torch.equal(found[-1][0], found[-1][2])
        assert not torch.equal(*found[-1][:2])
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


def test_weights_that_are_moved_while_others_stand_in_their_place_are_an_error():
    """Else the host would keep the wrong ones."""
    anatomy = subject("llama", onloaded=True)
    with torch.inference_mode():
        stream, calls = anatomy.enter(torch.from_numpy(windows_of(97)["calibration"][:1]))
        with LayerInputs(anatomy) as inputs:
            anatomy.run(0, stream, calls[0])
            inputs.take(*stream.shape[:2])
            layer = inputs.layers(0)[0]
        with pytest.raises(RuntimeError, match="were moved while"), replaced_weights([layer], [torch.zeros(layer.shape)]):
            anatomy.run(1, stream, calls[1])


def test_memory_that_runs_out_while_a_block_comes_in_leaves_none_there():
    """The next call brings all of it in."""
    anatomy = subject("llama", onloaded=True)
    real, count = anatomy.onloader._copy, []

    def fail(held):
        count.append(1)
        if len(count) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(held)

    anatomy.onloader._copy = fail
    host = [parameter.data_ptr() for parameter in anatomy.blocks[0].parameters()]
    with pytest.raises(torch.OutOfMemoryError):
        anatomy.bring(0)
    assert [parameter.data_ptr() for parameter in anatomy.blocks[0].parameters()] == host
    anatomy.bring(0)
    assert on_device(anatomy) == [0]
    assert len(anatomy.onloader.copies) == len(host)


def test_what_is_no_block_of_the_model_is_left_alone():
    """A map in the place of a block runs where it is, and training through blocks is refused."""
    anatomy = subject("llama", onloaded=True)
    ids = windows_of(97)["calibration"][:1]
    parts = {"weight": torch.zeros(32, 2), "basis": torch.zeros(32, 2)}
    with replaced_by(anatomy, {1: parts}), torch.inference_mode():
        stream, calls = anatomy.enter(torch.from_numpy(ids))
        assert torch.equal(anatomy.run(1, stream, calls[1]), stream)
        anatomy.bring(1)
    assert anatomy.onloader.came == []
    with pytest.raises(MeasurementError, match="training through blocks needs all of them on the device at once"):
        AdaptedBlocks(anatomy, ids)


def onloaded(monkeypatch):
    """Have every model be taken for one that does not fit; returns the onloaders that are made."""
    made = []

    def counting(model, blocks, device):
        made.append(Counting(model, device))
        return made[-1]

    monkeypatch.setattr("harness.loading.free_bytes", lambda device: 1000)
    monkeypatch.setattr("harness.loading.Onloader", counting)
    return made


def test_a_model_that_does_not_fit_gives_the_same_rows(tmp_path, monkeypatch):
    """Every cell of every claim, to the last bit, but those of training through blocks, which are refused."""
    model = families.model_of(families.config_of("mixtral", 4, 16, 2, 64))
    path, texts = families.save(tmp_path / "model", "mixtral", model), texts_of(tmp_path, "mixtral", model, 1)
    whole, made, refused = laboratory(path, texts), onloaded(monkeypatch), set()
    shown = [cell for cell in cells(4) if cell[0].measures.predicate.name not in TRAINED_THROUGH]
    rows = [row_of(whole, *cell) for cell in shown]
    lab = laboratory(path, texts)
    for one, cell in zip(rows, shown, strict=True):
        two = row_of(lab, *cell)
        assert (one.cell, one.verdict, one.value, one.low, one.high) == (two.cell, two.verdict, two.value, two.low, two.high)
    for cell in cells(4):
        if cell not in shown:
            with pytest.raises(MeasurementError, match="training through blocks"):
                row_of(lab, *cell)
            refused.add(cell[0].measures.predicate.name)
    assert (len(made), refused) == (1, TRAINED_THROUGH)


def test_a_line_says_that_blocks_are_brought_in(tmp_path, monkeypatch):
    """And nothing is said, and nothing brought in, where a model takes no more than its share of what is free."""
    model = families.model_of(families.config_of("llama", 3, 16, 2, 64))
    path, said = families.save(tmp_path / "model", "llama", model), []
    described, held = model_at(str(path)), sum(p.numel() for p in model.parameters()) * 4
    for free, expected in ((10 * held, []), (held, ["does not fit on cpu: its blocks are brought there one at a time"])):
        made = onloaded(monkeypatch)
        monkeypatch.setattr("harness.loading.free_bytes", lambda device, free=free: free)
        bench = Bench(Placement("cpu"), Protocol(), Store(None), lambda name: lambda done, total: None, said.append)
        facts = bench.load(described).facts
        assert [line.removeprefix(f"{described.name} ") for line in said] == expected
        assert (len(made), facts.device) == (len(expected), "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device to bring blocks to")
def test_blocks_on_a_device_are_brought_from_the_host():
    """At most one is there; streams are those of a model that is there whole, bit for bit."""
    device, streams = torch.device("cuda"), []
    for onloaded in (False, True):
        model = build("llama")
        onloader = Onloader(model, find_blocks(model, None)[1], device) if onloaded else None
        anatomy = dissect(model if onloaded else model.to(device))
        anatomy.onloader = onloader
        keeper = Keeper()
        sweep(anatomy, windows_of(97), [keeper], device)
        assert sum(next(block.parameters()).is_cuda for block in anatomy.blocks) == (1 if onloaded else 3)
        streams.append(torch.cat([after for _, after in keeper.streams["calibration"]]))
    assert torch.equal(*streams)
    assert np.isfinite(streams[0].cpu().numpy()).all()
