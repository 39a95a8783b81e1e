"""How fast a device is, measured now, for estimates of what a run would take."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

_MATRIX, _EIGEN = 1024, 384  # sizes of the probes
_SECONDS = 0.15


@dataclass(frozen=True)
class Rates:
    """What a device does in a second: ``product`` and ``product64`` operations in products, ``eigen`` d³ of eigenvectors."""

    product: float
    product64: float
    eigen: float
    cores: int
    cuda: bool = False


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
    return Rates(fast, slow, eigen * (threads if host.type == "cpu" else 1), cores, device.type == "cuda")
