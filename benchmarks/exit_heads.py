"""What a step of training an exit head costs: ``python -m benchmarks.exit_heads [--model M] [--corpus C]``.

Three sides, interleaved, medians of ``--rounds``: the harness, on streams that one sweep has kept; the same step with the model run up to
mid for every batch, as a training loop around the model does; and the least that a step can be, the head's products alone (logits, the
gradient of its weight, and that of its input, which the norm needs). Both trainings take the same windows, and end at the same head (1e-4).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fixtures.corpora import choose
from fixtures.described import model_at
from fixtures.models import DEFAULT_MODEL
from harness.anatomy import Anatomy
from harness.bench import Bench
from harness.easy_protocol import EasyProtocol
from harness.head_training import HeadTraining, Lesson
from harness.linearity import CALIBRATION
from harness.measurement import PAPER
from harness.protocol import Protocol
from harness.store import Store
from harness.streams import keep_some
from harness.subject import Placement
from harness.windows import Ids


@dataclass(frozen=True, eq=False, kw_only=True)
class Running(Lesson):
    """The same lesson, for which the model is run up to mid whenever windows are taken from it."""

    anatomy: Anatomy
    mid: int

    def part(self, windows: Sequence[int]) -> Lesson:
        """Run the windows."""
        ids = self.ids[list(windows)]
        return Lesson(run_to(self.anatomy, ids, self.mid), ids, None)


@torch.inference_mode()
def run_to(anatomy: Anatomy, ids: Ids, mid: int) -> Tensor:
    """Return the output of a block ``(windows, tokens, d)``."""
    stream, calls = anatomy.enter(torch.from_numpy(ids).to(anatomy.device))
    for block in range(mid + 1):
        stream = anatomy.run(block, stream, calls[block])
    return stream


def seconds(training: HeadTraining, steps: int) -> float:
    """Seconds of a step."""
    start = time.perf_counter()
    for _ in range(steps):
        training.step()
    return (time.perf_counter() - start) / steps


def products(weight: Tensor, tokens: int, times: int) -> float:
    """Seconds of the three products of a step with a head ``(vocabulary, d)``."""
    x, gradient = torch.randn(tokens, weight.shape[1]), torch.randn(tokens, len(weight))
    start = time.perf_counter()
    for _ in range(times):
        _ = x @ weight.T, gradient.T @ x, gradient @ weight
    return (time.perf_counter() - start) / times


def main() -> None:
    """Run all sides and print one JSON record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--corpus", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="of each round")
    given = parser.parse_args()
    bench = Bench(Placement(), Protocol(), Store(None), lambda _: lambda done, total: None)
    model = model_at(given.model)
    laboratory = bench.laboratory(model, choose(given.corpus)[0])
    anatomy, ids = bench.load(model).anatomy, laboratory.windows(PAPER)[CALIBRATION]
    easy = EasyProtocol(steps=given.rounds * given.steps, warmup=1)
    mid = easy.exits_of(len(anatomy.blocks))[0]
    kept = keep_some(anatomy, {CALIBRATION: ids}, [mid], float("inf"), anatomy.device, lambda done, total: None)
    hidden = kept.at[mid][CALIBRATION]
    lessons = {"harness": Lesson(hidden, ids, None), "through the model": Running(hidden, ids, None, anatomy=anatomy, mid=mid)}
    sides = {name: HeadTraining(anatomy, lesson, easy, 0, rate=1e-3) for name, lesson in lessons.items()}
    times: dict[str, list[float]] = {name: [] for name in (*sides, "products")}
    for _ in range(given.rounds):
        for name, training in sides.items():
            times[name].append(seconds(training, given.steps))
        with torch.inference_mode():
            times["products"].append(products(sides["harness"].pupil.weight, easy.batch * (ids.shape[1] - 1), given.steps))
    weights = [side.pupil.weight.detach().cpu().numpy() for side in sides.values()]
    np.testing.assert_allclose(*weights, rtol=1e-3, atol=1e-4)
    medians = {name: statistics.median(each) for name, each in times.items()}
    record = {
        "model": given.model,
        "corpus": given.corpus,
        "threads": torch.get_num_threads(),
        "seconds a step": {name: round(each, 3) for name, each in medians.items()},
        "through the model over harness": round(medians["through the model"] / medians["harness"], 2),
        "harness over products": round(medians["harness"] / medians["products"], 2),
    }
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
