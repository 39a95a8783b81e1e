"""What the curve of single replacements costs, against full forwards: ``python -m benchmarks.replacement [--model M] [--corpus C]``.

Both sides fit the same maps in the same sweep and make the same figures, which is checked (1e-3). The harness starts each replaced block's
variant from the stream that the sweep holds there, and reads the logits of several blocks together, so that the clean ones are computed
once for all. The other side runs the whole model for every variant, hooks in place, batched and under inference mode, and reads each
block's logits beside the clean ones.

The curve alone is timed as well as the whole measurement, fits included: from h_b on average half the blocks are left to run, so that
the curve can be 2 blocks + head over blocks + head, and never more than 2 but for what is shared in the head. Quarter sizes unless
``--full``; sides are interleaved; medians of ``--rounds``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmarks.interventions import full_forwards, timed
from fixtures.corpora import choose
from fixtures.described import model_at
from fixtures.models import DEFAULT_MODEL
from harness import replacing_each
from harness.bench import Bench
from harness.branches import branch
from harness.laboratory import Laboratory
from harness.measurement import EACH, Measurement
from harness.protocol import Protocol
from harness.store import Store
from harness.subject import Placement


class _Clock:
    """Adds up the seconds spent in functions and generators."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def function(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        def outer(*args: Any) -> Any:
            start = time.perf_counter()
            try:
                return inner(*args)
            finally:
                self.seconds += time.perf_counter() - start

        return outer

    def generator(self, inner: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def outer(*args: Any) -> Iterator[Any]:
            items = inner(*args)
            while True:
                start = time.perf_counter()
                item = next(items, None)
                self.seconds += time.perf_counter() - start
                if item is None:
                    return
                yield item

        return outer


def measured(laboratory: Laboratory, measurement: Measurement, naive: bool) -> tuple[float, float, dict[str, Any]]:
    """Seconds of the curve, of the whole measurement, and its results, on one side."""
    clock = _Clock()
    with ExitStack() as stack:
        runs = full_forwards if naive else branch
        stack.enter_context(mock.patch.object(replacing_each, "branch", clock.generator(runs)))
        stack.enter_context(mock.patch.object(replacing_each.EachReplaced, "_flush", clock.function(replacing_each.EachReplaced._flush)))
        if naive:
            stack.enter_context(mock.patch.object(replacing_each, "GROUP", 1))
        whole, found = timed(laboratory, measurement, naive=False)
    return clock.seconds, whole, found


def main() -> None:
    """Run both sides and print one JSON record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--corpus", default="auto")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--layout", choices=[m.layout for m in EACH], action="append", help="of the windows; repeatable (default: both)")
    parser.add_argument("--full", action="store_true", help="whole sizes: an hour on a CPU")
    given = parser.parse_args()
    protocol = Protocol() if given.full else Protocol().quickened()
    bench = Bench(Placement(), protocol, Store(None), lambda _: lambda done, total: None)
    laboratory = bench.laboratory(model_at(given.model), choose(given.corpus)[0])
    chosen = [m for m in EACH if m.layout in (given.layout or [m.layout])]
    seconds: dict[str, dict[str, list[tuple[float, float]]]] = {m.name: {"harness": [], "full forwards": []} for m in chosen}
    for _ in range(given.rounds):
        for measurement in chosen:
            results = {}
            for side, sides in seconds[measurement.name].items():
                curve, whole, results[side] = measured(laboratory, measurement, side == "full forwards")
                sides.append((curve, whole))
                print(f"{measurement.name}, {side}: curve {curve:.1f} s, whole {whole:.1f} s", file=sys.stderr, flush=True)
            for rung, result in results["harness"].items():
                for name, array in result.arrays.items():
                    np.testing.assert_allclose(array, results["full forwards"][rung].arrays[name], rtol=1e-3, atol=1e-5, err_msg=name)
    record: dict[str, Any] = {"model": given.model, "corpus": given.corpus, "sizes": "whole" if given.full else "quarter"}
    record["threads"] = torch.get_num_threads()
    for name, both in seconds.items():
        medians = {side: [round(statistics.median(part), 1) for part in zip(*times, strict=True)] for side, times in both.items()}
        ratios = [round(theirs / ours, 2) for ours, theirs in zip(medians["harness"], medians["full forwards"], strict=True)]
        record[name] = {"seconds of the curve and of the whole": medians, "ratios": ratios}
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
