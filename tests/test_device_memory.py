"""Where moments are accumulated when a device is short of memory, and that figures do not depend on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.admission import dissect
from harness.affine_linearity import AffineLinearity
from harness.device_memory import MOMENTS_SHARE, bytes_of, free_bytes
from harness.fitting_maps import EveryBlock
from harness.kept_maps import fitted, fitted_to
from harness.layer_moments import LayerMoments, most_bytes
from harness.maps import parts_of
from harness.moments import Moments
from harness.protocol import Protocol
from harness.rank_linearity import RankLinearity
from harness.spectra_sweep import SpectraVisitor
from harness.streams import grouped
from harness.sweep import moment_device, sweep
from tests.test_anatomy import build
from tests.test_moments import rows
from tests.test_sweep import windows_of

PROTOCOL = Protocol(window=32, calibration_windows=16, evaluation_windows=8)
VISITORS = {
    "by rank": lambda device: RankLinearity(16, 8, 32, PROTOCOL, device),
    "affine": lambda device: AffineLinearity(16, 8, 32, PROTOCOL, device),
    "maps": lambda device: EveryBlock(16, 32, "strict", PROTOCOL, device),
    "spectra": lambda device: SpectraVisitor(32, 4.0, device),
}


def flat(found):
    """Every array of a visitor's findings, by a name."""
    if isinstance(found, list):
        found = dict(enumerate(found))
    if isinstance(found, dict):
        return {f"{key}/{name}": array for key, part in found.items() for name, array in flat(part).items()}
    return flat(found.arrays) if hasattr(found, "arrays") else {"": np.asarray(found, dtype=np.float64)}


def test_moments_are_on_the_host_where_a_device_has_no_room_for_them(monkeypatch):
    """They may take their share of what is free; what is free of a CPU is not known, and nothing else is chosen there."""
    monkeypatch.setattr("harness.sweep.free_bytes", lambda device: None if device.type == "cpu" else 1000)
    fits = int(MOMENTS_SHARE * 1000)
    found = [str(moment_device(device, need)) for device in ("cuda:1", "mps", "cpu") for need in (0, fits, fits + 1)]
    assert found == ["cuda:1", "cuda:1", "cpu", *["cpu"] * 6]
    assert free_bytes(torch.device("cpu")) is None


@pytest.mark.parametrize("name", list(VISITORS))
def test_a_visitor_whose_device_is_short_gives_the_same_figures(name, monkeypatch):
    """Its moments are on the host, here of a device that is not there at all: anything put on it would fail."""
    monkeypatch.setattr("harness.sweep.free_bytes", lambda device: None if device.type == "cpu" else 1000)
    found, anatomy = [], dissect(build("llama"))
    for device in ("cpu", "cuda:7"):
        visitor = VISITORS[name](device)
        sweep(anatomy, windows_of(97), [visitor])
        found.append(flat(visitor.result() if hasattr(visitor, "result") else visitor.maps))
    assert found[0].keys() == found[1].keys()
    assert len(found[0]) > 2
    for key, array in found[0].items():
        np.testing.assert_array_equal(found[1][key], array)


def test_the_bytes_of_moments_are_those_of_their_tensors():
    """But for sums of single columns; of a block's inputs no fewer than are held, where several layers share one."""
    moments = Moments(3, 5, 7)
    held = sum(t.nbytes for t in (moments._xx, moments._xy, moments._yy))
    assert Moments.bytes_of(3, 5, 7) == held == 8 * 3 * (25 + 35 + 49)
    anatomy = dissect(build("llama"))
    width, wide = 32, anatomy.blocks[0].mlp.down_proj.in_features
    inputs = [width, width, width, wide]  # What q, k and v read, what o reads, what gate and up read, what down reads.
    every = [LayerMoments(g, size, e, torch.device("cpu"))._typical for size in inputs for g, e in ((4, width), (2, 0))]
    least = sum(t.nbytes for m in every for t in (m._xx, m._xy, m._yy))
    matrices = [width] * 6 + [wide]
    expected = sum(8 * (4 * (n * n + n * width + width * width) + 2 * n * n) for n in matrices)
    assert least < most_bytes(anatomy.blocks, 4, 2, width) == expected


def test_a_table_of_experts_counts_for_each():
    """One parameter holds them all."""
    block = torch.nn.Module()
    block.experts = torch.nn.Parameter(torch.zeros(5, 3, 7))
    assert most_bytes([block], 2, 1, 4) == 5 * 8 * (2 * (49 + 28 + 16) + 49)


@pytest.mark.parametrize("rung", ["paper", "strict"])
def test_maps_that_are_fitted_on_the_host_come_back(rung, monkeypatch):
    """All of a fit's tensors are moved, and their numbers stay; moments are asked for where there is room."""
    protocol, asked = Protocol(groups=4, folds=4), []
    x, y = rows(8 * 40, 6, 0).view(8, 40, 6), rows(8 * 40, 6, 1).view(8, 40, 6)
    monkeypatch.setattr("harness.kept_maps.moment_device", lambda device, need=0: (asked.append(need), device)[1])
    one = fitted_to(x, y, None, rung, protocol, refits=True)
    two = fitted(grouped(x, y, None, 4, difference=True), rung, protocol, refits=True)
    assert max(asked) == Moments.bytes_of(4, 6, 6)
    for ours, theirs in zip((one.whole, *one.refits), (two.whole, *two.refits), strict=True):
        for name, part in parts_of(theirs).items():
            assert torch.equal(parts_of(ours)[name], part)
    moved = one.to(torch.device("meta"))
    every = [moved.whole, *moved.refits, *([moved.half] if moved.half else [])]
    assert {part.device.type for each in every for part in parts_of(each).values()} | {moved.mean.device.type} == {"meta"}
    assert (len(moved.refits), moved.half is None, moved.ranks) == (4, rung == "paper", one.ranks)


def test_bytes_of_a_module_count_what_is_tied_once():
    """Parameters and buffers, in their own types."""
    module = torch.nn.Sequential(torch.nn.Linear(4, 4, bias=False), torch.nn.Linear(4, 4, bias=False), torch.nn.BatchNorm1d(4))
    module[1].weight = module[0].weight
    assert bytes_of(module.to(torch.bfloat16)) == 2 * 16 + 2 * (4 + 4 + 4 + 4) + 8


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device whose memory can be limited")
def test_what_is_free_of_a_device_counts_its_limit_and_what_torch_holds():
    """A cache is free, an allocation is not, and a limit is kept."""
    device = torch.device("cuda")
    total = torch.cuda.mem_get_info(device)[1]
    before = free_bytes(device)
    held = torch.empty(2**28, dtype=torch.uint8, device=device)
    assert before - free_bytes(device) == pytest.approx(2**28, rel=0.1)
    del held
    assert free_bytes(device) == pytest.approx(before, rel=0.01)
    torch.cuda.set_per_process_memory_fraction(0.01, device)
    try:
        assert free_bytes(device) <= 0.01 * total
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device beside the host")
@pytest.mark.parametrize("name", ["by rank", "affine"])
def test_figures_of_a_device_do_not_depend_on_where_moments_are(name, monkeypatch):
    """Float64 sums of the device and of the host differ by rounding alone."""
    found, device, anatomy = [], torch.device("cuda"), dissect(build("llama").to("cuda"))
    for free in (10**12, 1000):
        monkeypatch.setattr("harness.sweep.free_bytes", lambda device, free=free: None if device.type == "cpu" else free)
        visitor = VISITORS[name](device)
        sweep(anatomy, windows_of(97), [visitor], device)
        found.append(flat(visitor.result()))
    for key, array in found[0].items():
        np.testing.assert_allclose(found[1][key], array, rtol=1e-6, atol=1e-9)
