"""What claim 1 costs, against a full forward for every intervention: ``python -m benchmarks.interventions [--model M] [--corpus C]``.

Both sides make the same figures by the same protocol, which is checked (1e-3). The harness keeps streams from one sweep a layout of
windows, starts every intervention from them, and shares the clean run's distributions among a group of variants. The other side does
what one script a figure would do: a forward pass over all windows to fit, then for every variant the whole model on every window, hooks
in place, batched and under inference mode as well; clean final states are kept, so the clean run is not repeated for each variant.

Quarter sizes (``--quick``) unless ``--full``. Sides are interleaved, measurement by measurement; medians of ``--rounds``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from fixtures.corpora import choose
from fixtures.described import model_at
from fixtures.models import DEFAULT_MODEL
from harness.anatomy import Anatomy
from harness.batching import BATCH
from harness.bench import Bench
from harness.branches import Variant
from harness.interventions import intervened
from harness.laboratory import Laboratory
from harness.measurement import ABLATION, LOGIT_CHANGE, PROJECTION, SENSITIVITY, SUBSPACES, Measurement
from harness.protocol import Protocol
from harness.store import Store
from harness.subject import Placement
from harness.windows import Ids


@torch.inference_mode()
def full_forwards(
    anatomy: Anatomy,
    clean: Tensor,
    block: int,
    ids: Ids,
    variants: Sequence[Variant],
    windows: Sequence[int] | None = None,
    one_each: bool = False,
) -> Iterator[tuple[int, Tensor]]:
    """Stand in for :func:`harness.branches.branch`: run the whole model for every variant, with hooks."""
    asked = list(range(len(clean))) if windows is None else list(windows)
    for v, variant in enumerate(variants):
        chosen = asked[v : v + 1] if one_each else asked
        finals: list[Tensor] = []

        def note(module: object, given: object, out: Any, finals: list[Tensor] = finals) -> None:
            finals.append(out[0] if isinstance(out, tuple) else out)

        for start in range(0, len(chosen), BATCH):
            part = chosen[start : start + BATCH]
            with intervened(anatomy, variant, part):
                hook = anatomy.blocks[-1].register_forward_hook(note)  # After those of the interventions, so that it sees what they do.
                try:
                    anatomy.model.base_model(torch.from_numpy(ids[part]).to(clean.device), use_cache=False)  # type: ignore[operator]
                finally:
                    hook.remove()
        yield v, torch.cat(finals)[None]


def timed(laboratory: Laboratory, measurement: Measurement, naive: bool) -> tuple[float, dict[str, Any]]:
    """Seconds that a measurement takes on one side, and its results."""
    bench = laboratory._bench
    laboratory._found.clear()
    if naive:
        bench.room.streams = None, "", "", {}  # One script a figure shares nothing with the next.
    start = time.perf_counter()
    with ExitStack() as stack:
        for module in ("projection", "directions", "logit_change") if naive else ():
            stack.enter_context(mock.patch(f"harness.{module}.branch", full_forwards))
        found = laboratory._measure(measurement)
    return time.perf_counter() - start, found


def main() -> None:
    """Run both sides and print one JSON record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--corpus", default="auto")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--full", action="store_true", help="whole sizes: hours on a CPU")
    parser.add_argument("--long", action="store_true", help="also what --long runs")
    given = parser.parse_args()
    protocol = Protocol() if given.full else Protocol().quickened()
    bench = Bench(Placement(), protocol, Store(None), lambda _: lambda done, total: None, long=True)
    laboratory = bench.laboratory(model_at(given.model), choose(given.corpus)[0])
    chosen = [m for m in (*SUBSPACES, *PROJECTION, *ABLATION, *SENSITIVITY, *LOGIT_CHANGE) if given.long or not m.long]
    seconds: dict[str, dict[str, list[float]]] = {m.name: {"harness": [], "full forwards": []} for m in chosen}
    for _ in range(given.rounds):
        for measurement in chosen:
            ours, found = timed(laboratory, measurement, naive=False)
            theirs, expected = timed(laboratory, measurement, naive=True)
            for rung, result in found.items():
                for name, array in result.arrays.items():
                    np.testing.assert_allclose(array, expected[rung].arrays[name], rtol=1e-3, atol=1e-6, err_msg=f"{rung}/{name}")
            seconds[measurement.name]["harness"].append(ours)
            seconds[measurement.name]["full forwards"].append(theirs)
            print(f"{measurement.name}: {ours:.1f} s, full forwards {theirs:.1f} s", file=sys.stderr, flush=True)
    medians = {name: {side: round(statistics.median(times), 1) for side, times in sides.items()} for name, sides in seconds.items()}
    total = {side: round(sum(sides[side] for sides in medians.values()), 1) for side in ("harness", "full forwards")}
    record = {
        "model": given.model,
        "corpus": given.corpus,
        "sizes": "whole" if given.full else "quarter",
        "threads": torch.get_num_threads(),
        "seconds": medians,
        "total": total,
        "ratio": round(total["full forwards"] / total["harness"], 2),
    }
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
