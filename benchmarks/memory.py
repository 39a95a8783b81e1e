"""Peak memory by calibration tokens and blocks: ``python -m benchmarks.memory --corpus C [--tokens 8192 32768] [--blocks 2 30]``.

Each size runs in a process of its own and sweeps the first so many blocks. The peak is that of the sweep, of the process on a CPU and of
what torch allocates on a GPU; loading, which may take more, is left out where the system lets a peak be forgotten. It is stated as a
multiple of the weights too, all of them, and must not grow with the number of blocks: the last line says by how much it does. The streams
of N tokens take N·d numbers of the model's type; moments and solves do not grow with N.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch

from fixtures.corpora import choose
from fixtures.described import model_at
from fixtures.models import DEFAULT_MODEL
from harness.affine_linearity import AffineLinearity
from harness.bench import Bench
from harness.device_memory import bytes_of
from harness.linearity import CALIBRATION, EVALUATION
from harness.measurement import PAPER, STRICT
from harness.protocol import Protocol
from harness.rank_linearity import RankLinearity
from harness.store import Store
from harness.subject import Placement
from harness.sweep import sweep


def measure(model_name: str, corpus_name: str, tokens: int, blocks: int, rungs: str) -> dict[str, float]:
    """Peak memory in MiB: of the process when the model is loaded, and of the sweep."""
    windows = tokens // 256
    protocol = replace(Protocol(), calibration_windows=windows, strict_tokens_per_width=1)
    bench = Bench(Placement(), protocol, Store(None), lambda _: lambda done, total: None)
    model, (corpus, _) = model_at(model_name), choose(corpus_name)
    laboratory = bench.laboratory(model, corpus)
    windows_of = laboratory.windows(STRICT if rungs == "strict" else PAPER)
    ids = {split: windows_of[split] for split in (CALIBRATION, EVALUATION)}
    subject = bench.load(model)
    anatomy = subject.anatomy
    del anatomy.blocks[blocks:], anatomy._yields_tuple[blocks:]
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    _forget_peak(subject.device)
    visitor = (AffineLinearity if rungs == "strict" else RankLinearity)(
        len(ids[CALIBRATION]), len(ids[EVALUATION]), anatomy.width, protocol, subject.device
    )
    sweep(anatomy, ids, [visitor], subject.device)
    peak = _peak(subject.device)
    weights = bytes_of(anatomy.model) / 2**20
    number = next(anatomy.model.parameters()).element_size()
    return {
        "calibration tokens": ids[CALIBRATION].size,
        "blocks": blocks,
        "loaded MiB": round(loaded),
        "weights MiB": round(weights),
        "peak MiB": round(peak),
        "peak over weights": round(peak / weights, 2),
        "of which stream MiB": round(number * sum(i.size for i in ids.values()) * anatomy.width / 2**20),
    }


def _forget_peak(device: torch.device) -> None:
    """Have the peak count from here on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):  # Linux alone.
        Path("/proc/self/clear_refs").write_text("5")


def _peak(device: torch.device) -> float:
    """Peak memory in MiB: of torch on a GPU, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Start one process a size and print the records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--corpus", default="auto")
    parser.add_argument("--tokens", type=int, nargs="+", default=[8192, 32768, 131072])
    parser.add_argument("--blocks", type=int, nargs="+", default=[2])
    parser.add_argument("--rungs", choices=["paper", "strict"], default="paper")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.model, given.corpus, given.tokens[0], given.blocks[0], given.rungs)))
        return
    for tokens in given.tokens:
        peaks = {}
        for blocks in sorted(given.blocks):
            options = ["--model", given.model, "--corpus", given.corpus, "--blocks", str(blocks), "--rungs", given.rungs]
            command = [sys.executable, "-m", "benchmarks.memory", "--one", "--tokens", str(tokens), *options]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            record = done.stdout.strip().splitlines()[-1]
            print(given.rungs, record, flush=True)
            peaks[blocks] = json.loads(record)["peak MiB"]
        if len(peaks) > 1:
            least, most = min(peaks), max(peaks)
            print(f"{tokens} tokens: peak of {most} blocks over that of {least}: {peaks[most] / peaks[least]:.3f}", flush=True)


if __name__ == "__main__":
    main()
