"""What the sweep costs over bare forward passes: ``python -m benchmarks.sweep [--model M] [--corpus C] [--rounds 5]``.

Two sides, interleaved, medians reported: the model's own forward without logits on the protocol's windows, and the sweep with
everything that linearity needs (moments in float64, maps, 16 refits a block, scoring) on the same windows and in the same batches.
Peak memory is that of the whole process.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable

import torch

from fixtures.corpora import choose
from fixtures.models import DEFAULT_MODEL, model_at
from harness.laboratory import Laboratory
from harness.loading import load
from harness.protocol import Protocol
from harness.sweep import BATCH, sweep


def timed(function: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    """Run both sides in turn and print one JSON record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--corpus", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    subject = load(model_at(given.model))
    corpus, _ = choose(given.corpus)
    anatomy = subject.anatomy
    backbone = anatomy.model.base_model

    def laboratory() -> Laboratory:
        return Laboratory(subject, corpus, Protocol(), lambda _: lambda done, total: None)

    windows = dict(zip(("calibration", "evaluation"), laboratory().windows, strict=True))

    def bare() -> None:
        with torch.inference_mode():
            for ids in windows.values():
                for start in range(0, len(ids), BATCH):
                    backbone(torch.from_numpy(ids[start : start + BATCH]).to(subject.device), use_cache=False)

    sides: dict[str, Callable[[], object]] = {
        "bare forward": bare,
        "sweep without visitors": lambda: sweep(anatomy, windows, [], subject.device),
        "sweep with linearity": lambda: laboratory().linearity,
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    bare()  # warm up
    for _ in range(given.rounds):
        for name, side in sides.items():
            times[name].append(timed(side))
        print({name: round(t[-1], 2) for name, t in times.items()}, file=sys.stderr, flush=True)
    medians = {name: statistics.median(t) for name, t in times.items()}
    record = {
        "model": subject.model.name,
        "corpus": corpus.name,
        "tokens": sum(ids.size for ids in windows.values()),
        "threads": torch.get_num_threads(),
        "seconds": {name: round(t, 2) for name, t in medians.items()},
        "ratio to bare forward": {name: round(t / medians["bare forward"], 2) for name, t in medians.items()},
        "peak memory of the process, MiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
