"""What a measurement would cost, before anything is loaded: memory by what it holds, time by rates measured now on the device.

Time = forward passes + moments + solves, each in operations over a rate: products in the weights' type, products in float64,
eigenvectors in float64 (scaled by d³). Good to about a factor of two; where rates cannot be had there is none.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from fixtures.models import Model
from harness.laboratory import AFFINE, RANK
from harness.protocol import Protocol

_PROCESS = 700e6  # bytes of Python, torch and transformers
_FLOAT64 = 8
_MATRIX, _EIGEN = 1024, 384  # sizes of the probes
_SECONDS = 0.15


@dataclass(frozen=True)
class Rates:
    """What a device does in a second: ``product`` and ``product64`` operations in products, ``eigen`` d³ of eigenvectors."""

    product: float
    product64: float
    eigen: float
    cores: int


@dataclass(frozen=True)
class Cost:
    """Windows and tokens of a measurement, seconds after loading, and peak bytes, the process and the weights included."""

    windows: tuple[int, int]
    tokens: int
    seconds: float
    memory: float


def probe(device_name: str, bytes_a_weight: int) -> Rates:
    """Measure rates on a device, in less than a second after torch is imported."""
    import torch

    device = torch.device(device_name)
    host = torch.device("cpu") if device.type == "mps" else device  # It has no float64.
    narrow = torch.float32 if bytes_a_weight == 4 else torch.bfloat16
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def finish() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def rate(work: Callable[[], object], amount: float) -> float:
        work()
        finish()
        start, count = time.perf_counter(), 0
        while count < 1 or time.perf_counter() - start < _SECONDS:
            work()
            finish()
            count += 1
        return amount * count / (time.perf_counter() - start)

    def product(dtype: torch.dtype, on: torch.device) -> float:
        a = torch.ones(_MATRIX, _MATRIX, dtype=dtype, device=on)
        return rate(lambda: a @ a, 2 * _MATRIX**3)

    generator = torch.Generator().manual_seed(0)
    a = torch.randn(_EIGEN, _EIGEN, dtype=torch.float64, generator=generator)
    symmetric = (a @ a.T).to(host)
    threads = torch.get_num_threads()
    fast, slow = product(narrow, device), product(torch.float64, host)
    try:
        if host.type == "cpu":
            torch.set_num_threads(1)
        eigen = rate(lambda: torch.linalg.eigh(symmetric), _EIGEN**3)
    finally:
        torch.set_num_threads(threads)
    return Rates(fast, slow, eigen * (threads if host.type == "cpu" else 1), cores)


def windows(kind: str, model: Model, protocol: Protocol) -> tuple[int, int]:
    """Return the windows for calibration and evaluation that a measurement asks for."""
    if kind == RANK:
        return protocol.calibration_windows, protocol.evaluation_windows
    return protocol.strict_calibration_windows(model.width), protocol.strict_evaluation_windows


def cost(kind: str, model: Model, protocol: Protocol, bytes_a_weight: int, rates: Rates) -> Cost:
    """Estimate a measurement of a model whose width and size are known."""
    d, groups, b = float(model.width), protocol.groups, model.n_blocks
    calibration, evaluation = windows(kind, model, protocol)
    tokens = (calibration + evaluation) * protocol.window
    in_blocks = max(model.parameters - model.vocabulary * model.width, 0)
    forward = 2.0 * in_blocks * tokens / rates.product
    scoring = {RANK: 3, AFFINE: 1}[kind] * 2 * d**2 * evaluation * protocol.window
    moments = b * (3 * 2 * d**2 * tokens + scoring) / rates.product64
    if kind == RANK:
        fits, eigen = 2 * (groups + 1), 2 * (groups + 1)
        products = fits * (d**3 / 3 + 4 * 2 * d**3 / 2)
    else:
        fits, eigen = groups + 2, 2 * protocol.folds
        products = fits * (d**3 / 3 + 2 * 2 * d**3) + eigen * 6 * 2 * d**3
    solves = b * (eigen * d**3 / rates.eigen + products / rates.product64)
    # Moments of every group, of the scored rows and, for cross-validation, of every fold; and what each solve works on.
    matrices = 3 * (groups + 1) + 3 * protocol.folds * (kind == AFFINE) + 12 * min(rates.cores, 2)
    held = (model.parameters + tokens * d) * bytes_a_weight + matrices * d**2 * _FLOAT64
    return Cost((calibration, evaluation), tokens, forward + moments + solves, _PROCESS + held)
