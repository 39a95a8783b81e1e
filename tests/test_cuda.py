"""An accelerator says what the CPU says. The comparison runs anywhere, CPU against CPU; on CUDA where there is one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from claims.verdicts import Verdict
from harness.linearity import CALIBRATION, EVALUATION
from harness.rank_linearity import RankLinearity
from harness.sweep import sweep
from tests import core_rows
from tests.family_laboratory import PROTOCOL

RELATIVE, ABSOLUTE = 1e-4, 1e-4
"""Of figures and both ends of their intervals, in float32 on either device."""
TRAINED = {"exit_agreement", "exit_excess", "easy_sets_agree"}
"""What rests on a head that CUDA trains in bfloat16 products, as the protocol has it: no figure of the CPU's."""
MEASURED = {Verdict.HOLDS, Verdict.FALSIFIED, Verdict.INCONCLUSIVE, Verdict.MEASURED, Verdict.NOT_APPLICABLE}
SCRATCH = 96 * 2**20
"""Bytes: cuBLAS's workspaces (some 32 MiB a handle), the solver's, and what the allocator rounds up."""
ON_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=ON_CUDA)])
def other_device(request):
    """The second device: CUDA where there is one, and always the CPU itself, which shows that what compares them works."""
    return request.param


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small model and its text."""
    return core_rows.save(tmp_path_factory.mktemp("cuda"))


@pytest.fixture(scope="module")
def on_the_cpu(saved):
    """The rows of all core cells on the CPU."""
    return core_rows.core_rows(*saved)


def protocol_as_on_the_cpu():
    """Steps of training take as many windows on either device."""
    return replace(PROTOCOL, easy=replace(PROTOCOL.easy, gpu_batch=PROTOCOL.easy.batch))


def compared(rows):
    """Leave out what is not to be equal on another device."""
    return [row for row in rows if row.cell.predicate not in TRAINED]


def test_another_device_gives_the_same_figures(saved, on_the_cpu, other_device):
    """Figures, intervals and verdicts of the core cells in float32; no cell is an error."""
    found = core_rows.core_rows(*saved, protocol_as_on_the_cpu(), device=other_device, dtype="float32")
    assert {row.verdict for row in found} <= MEASURED
    assert core_rows.differences(compared(on_the_cpu), compared(found), RELATIVE, ABSOLUTE) == []
    assert len(compared(found)) > 25


@pytest.mark.parametrize("name", core_rows.FIGURES)
def test_an_altered_row_is_found(on_the_cpu, name):
    """A figure or an end of one row that is off by a thousandth is told, and so is another verdict."""
    assert core_rows.differences(on_the_cpu, on_the_cpu, RELATIVE, ABSOLUTE) == []
    at = next(i for i, row in enumerate(on_the_cpu) if abs(getattr(row, name) or 0.0) > 0.5)
    row = on_the_cpu[at]
    for changed in (replace(row, **{name: getattr(row, name) * 1.001}), replace(row, **{name: None}), replace(row, verdict=Verdict.ERROR)):
        (said,) = core_rows.differences(on_the_cpu, [*on_the_cpu[:at], changed, *on_the_cpu[at + 1 :]], RELATIVE, ABSOLUTE)
        assert row.cell.ident in said


def test_the_other_device_is_the_one_that_is_asked(saved, other_device):
    """The laboratory of the comparison really is on that device."""
    lab = core_rows.laboratory(saved[0], [saved[1]], PROTOCOL, device=other_device, dtype="float32")
    assert torch.device(lab.facts.device).type == other_device


@ON_CUDA
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_cuda_runs_in_every_type_and_repeats_itself(saved, dtype):
    """All core cells, twice: no error, and every row is the same bit for bit."""
    once, again = (core_rows.core_rows(*saved, device="cuda", dtype=dtype) for _ in range(2))
    assert {row.verdict for row in once} <= MEASURED
    assert once == again


@ON_CUDA
def test_a_sweep_takes_the_weights_and_what_it_says_it_holds(saved):
    """Beside the weights: streams, moments of every group and of what is scored, what 17 solves a rule work on, and scratch space."""
    lab = core_rows.laboratory(saved[0], [saved[1]], PROTOCOL, device="cuda", dtype="float32")
    subject, windows, p = lab._bench.load(lab.model), lab.windows("paper"), PROTOCOL
    ids = {split: windows[split] for split in (CALIBRATION, EVALUATION)}
    d, tokens = subject.anatomy.width, sum(part.size for part in ids.values())
    weights = sum(part.numel() * part.element_size() for part in (*subject.anatomy.model.parameters(), *subject.anatomy.model.buffers()))
    visitor = RankLinearity(len(ids[CALIBRATION]), len(ids[EVALUATION]), d, p, subject.device)
    torch.cuda.reset_peak_memory_stats()
    sweep(subject.anatomy, ids, [visitor], subject.device)
    matrices = 3 * (p.groups + 1) + 2 * (p.groups + 1) + 24
    # Streams in float32, and rows of atypical tokens with what is added to them, at most all, in float64.
    assert torch.cuda.max_memory_allocated() <= weights + 4 * tokens * d * (1 + 4) + 8 * matrices * d**2 + SCRATCH
