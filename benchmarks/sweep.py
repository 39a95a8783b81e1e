"""What the sweep costs over bare forward passes: ``python -m benchmarks.sweep [--model M] [--corpus C] [--only paper]``.

Interleaved sides, medians reported, for the windows of ``paper`` and for those of ``strict``: the model's own forward without logits, and
the sweep with everything that linearity needs (moments in float64, maps, refits, cross-validation, scoring), on the same windows in the
same batches.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch

from fixtures.corpora import choose
from fixtures.described import model_at
from fixtures.models import DEFAULT_MODEL
from harness.affine_linearity import AffineLinearity
from harness.batching import BATCH
from harness.bench import Bench
from harness.layouts import Windows
from harness.linearity import CALIBRATION, EVALUATION
from harness.measurement import PAPER, STRICT
from harness.protocol import Protocol
from harness.rank_linearity import RankLinearity
from harness.store import Store
from harness.subject import Placement
from harness.sweep import sweep


def timed(function: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    """Run all sides in turn and print one JSON record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--corpus", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["paper", "strict"], help="the windows of one of the two")
    given = parser.parse_args()
    model, (corpus, _), protocol = model_at(given.model), choose(given.corpus), Protocol()
    bench = Bench(Placement(), protocol, Store(None), lambda _: lambda done, total: None)
    laboratory = bench.laboratory(model, corpus)
    subject = bench.load(model)
    anatomy, device = subject.anatomy, subject.device
    backbone = anatomy.model.base_model

    def bare(windows: Windows) -> None:
        with torch.inference_mode():
            for ids in windows.values():
                for start in range(0, len(ids), BATCH):
                    backbone(torch.from_numpy(ids[start : start + BATCH]).to(device), use_cache=False)  # type: ignore[operator]

    def walk(windows: Windows, visitor: type[RankLinearity | AffineLinearity]) -> None:
        sizes = len(windows[CALIBRATION]), len(windows[EVALUATION])
        sweep(anatomy, windows, [visitor(*sizes, anatomy.width, protocol, device)], device)

    paper, strict = ({s: laboratory.windows(layout)[s] for s in (CALIBRATION, EVALUATION)} for layout in (PAPER, STRICT))
    sides: dict[str, Callable[[], object]] = {
        "paper windows, bare forward": lambda: bare(paper),
        "paper windows, sweep: paper, held-out and typical": lambda: walk(paper, RankLinearity),
        "strict windows, bare forward": lambda: bare(strict),
        "strict windows, sweep: strict": lambda: walk(strict, AffineLinearity),
    }
    sides = {name: side for name, side in sides.items() if name.startswith(given.only or "")}
    bare(paper)  # warm up
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(given.rounds):
        for name, side in sides.items():
            times[name].append(timed(side))
        print({name: round(t[-1], 2) for name, t in times.items()}, file=sys.stderr, flush=True)
    medians = {name: statistics.median(t) for name, t in times.items()}
    names = list(sides)
    record = {
        "model": model.name,
        "corpus": corpus.name,
        "tokens": {"paper": sum(i.size for i in paper.values()), "strict": sum(i.size for i in strict.values())},
        "threads": torch.get_num_threads(),
        "seconds": {name: round(t, 2) for name, t in medians.items()},
        "ratio": {names[i + 1]: round(medians[names[i + 1]] / medians[names[i]], 2) for i in range(0, len(names), 2)},
    }
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
