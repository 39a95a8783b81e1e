"""Peak memory by the number of calibration tokens: ``python -m benchmarks.memory --corpus C [--tokens 8192 32768 131072]``.

Each size runs in a process of its own and sweeps the first ``--blocks`` blocks (memory does not grow with blocks: tests/test_sweep.py). The
streams of N tokens take 4·N·d bytes; moments and solves do not grow with N.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from dataclasses import replace

from fixtures.corpora import choose
from fixtures.described import model_at
from fixtures.models import DEFAULT_MODEL
from harness.affine_linearity import AffineLinearity
from harness.bench import Bench
from harness.linearity import CALIBRATION, EVALUATION
from harness.measurement import PAPER, STRICT
from harness.protocol import Protocol
from harness.rank_linearity import RankLinearity
from harness.store import Store
from harness.subject import Placement
from harness.sweep import sweep


def measure(model_name: str, corpus_name: str, tokens: int, blocks: int, rungs: str) -> dict[str, float]:
    """Peak resident memory in MiB after loading, and after the sweep."""
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
    visitor = (AffineLinearity if rungs == "strict" else RankLinearity)(
        len(ids[CALIBRATION]), len(ids[EVALUATION]), anatomy.width, protocol, subject.device
    )
    sweep(anatomy, ids, [visitor], subject.device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    stream = 4 * sum(i.size for i in ids.values()) * anatomy.width / 2**20
    return {
        "calibration tokens": ids[CALIBRATION].size,
        "loaded MiB": round(loaded),
        "peak MiB": round(peak),
        "of which stream MiB": round(stream),
    }


def main() -> None:
    """Start one process a size and print the records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--corpus", default="auto")
    parser.add_argument("--tokens", type=int, nargs="+", default=[8192, 32768, 131072])
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--rungs", choices=["paper", "strict"], default="paper")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.model, given.corpus, given.tokens[0], given.blocks, given.rungs)))
        return
    for tokens in given.tokens:
        options = ["--model", given.model, "--corpus", given.corpus, "--blocks", str(given.blocks), "--rungs", given.rungs]
        command = [sys.executable, "-m", "benchmarks.memory", "--one", "--tokens", str(tokens), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        print(given.rungs, done.stdout.strip().splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
