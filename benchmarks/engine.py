"""What the engine is worth: ``python -m benchmarks.engine [--model M] [--corpus C] [--quick] [--claims 1,2] [--rounds 5] [--json F]``.

The core predicates of the claims, on all rungs, three ways in turn: by plain full forward passes (:mod:`benchmarks.naive`), by the harness,
and on paper: the operations of the passes that they need (:mod:`benchmarks.passes`) over the rate of large products that is measured before
every claim of every round, in the weights' type and in float64. Printed and kept are seconds, medians over rounds, and

- naive over harness, at figures that differ by no more than is printed;
- harness over that roofline, which leaves out softmax, solves, eigenvectors and sorting, so that nothing can reach 1.

Both sides have the model loaded and their windows cut. Nothing is stored: a run that keeps its results takes some hundredths longer. Claims
share sweeps: the seconds of the first one hold what later ones need of it, so that ratios are of totals.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import core_figures, naive
from benchmarks.naive_model import NaiveRun
from benchmarks.passes import Shape, needed
from fixtures.corpora import choose
from fixtures.described import model_at
from fixtures.models import DEFAULT_MODEL
from harness.anatomy import Anatomy
from harness.bench import Bench, Room
from harness.layers import weights_of
from harness.protocol import Protocol
from harness.store import Store
from harness.subject import DTYPES, Placement

PARTS = {
    1: ("projection", "ablation"),
    2: ("replacement", "shift", "linearity"),
    3: ("layers",),
    4: ("linearity",),
    5: ("exit head", "late blocks"),
}
"""Claim → its parts of what is needed, beside the one sweep, which serves all."""
SIDES = ("naive", "harness", "gap")


def shape_of(anatomy: Anatomy) -> Shape:
    """Return what passes of a model cost."""
    config: Any = anatomy.model.config.get_text_config()  # type: ignore[union-attr, operator]
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or anatomy.width // heads
    read = {weight.parameter.shape[1] for weight in weights_of(0, anatomy.blocks[0])}
    inputs = (*(anatomy.width,) * 3, *sorted(read - {anatomy.width}))
    active = statistics.fmean(anatomy.parameters(block)[1] for block in range(len(anatomy.blocks)))
    return Shape(len(anatomy.blocks), anatomy.width, active, float(anatomy.vocabulary * anatomy.width), heads * size, inputs)


def gap(one: dict[str, float], other: dict[str, float]) -> tuple[float, str]:
    """Return the largest difference of two sides' figures, absolute or relative, whichever is less, and the figure's name."""
    if one.keys() != other.keys():
        raise SystemExit(f"figures of one side alone: {sorted(one.keys() ^ other.keys())[:5]}")
    found = [(_difference(one[name], other[name]), name) for name in one]
    return max(found, default=(0.0, ""))


def _difference(one: float, other: float) -> float:
    if one == other or (math.isnan(one) and math.isnan(other)):
        return 0.0
    found = abs(one - other) / max(1.0, abs(other))
    return math.inf if math.isnan(found) else found


def rates_of(device: torch.device, dtype: torch.dtype) -> tuple[float, float]:
    """Return operations a second in large products, in the weights' type and in float64: the median of some, as fast as they come."""
    size, launches = (8192, 8) if device.type == "cuda" else (2048, 1)
    found = []
    for kind in (dtype, torch.float64):
        a, seconds = torch.ones(size, size, dtype=kind, device=device), []
        for _ in range(4):
            start = time.perf_counter()
            for _ in range(launches):
                b = a @ a
            float(b[0, 0])  # Waits for the device.
            seconds.append(time.perf_counter() - start)
        found.append(2 * size**3 * launches / statistics.median(seconds[1:]))
    return found[0], found[1]


def main() -> None:
    """Run both sides in turn, and print ratios and one JSON record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--corpus", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto", choices=DTYPES)
    parser.add_argument("--quick", action="store_true", help="quarter sizes")
    parser.add_argument("--claims", default="1,2,3,4,5")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--harness-only", action="store_true", help="leave out the plain side")
    parser.add_argument("--json", type=Path, help="a file to keep the record in")
    given = parser.parse_args()
    claims = [int(claim) for claim in given.claims.split(",")]
    protocol, placement = Protocol().quickened() if given.quick else Protocol(), Placement(given.device, given.dtype)
    room, model, corpus = Room(Store(None)), model_at(given.model), choose(given.corpus)[0]
    wanted = {(model.name, corpus.name): core_figures.wanted(claims)}

    def bench() -> Bench:
        return Bench(placement, protocol, Store(None), lambda _: lambda done, total: None, wanted=wanted, room=room)

    first = bench()
    lab = first.laboratory(model, corpus)
    for layout in ("paper", "strict"):
        lab.windows(layout)
    subject = first.load(model)
    shape, dtype = shape_of(subject.anatomy), getattr(torch, subject.facts.dtype)
    counted = ("one sweep", *(part for claim in claims for part in PARTS[claim]))
    parts = {name: part for name, part in needed(protocol, shape).items() if name.endswith(counted)}
    operations, moments = sum(part.operations(shape, protocol.window) for part in parts.values()), sum(p.moments for p in parts.values())
    rounds: list[dict[str, Any]] = []
    for _ in range(given.rounds):
        one: dict[str, Any] = {"naive": {}, "harness": {}, "rates": [], "gap": {}}
        plain, measured = None if given.harness_only else NaiveRun.of(lab), bench().laboratory(model, corpus)
        if plain is not None:
            plain.forget()
        for claim in claims:
            one["rates"].append(rates_of(subject.device, dtype))
            start = time.perf_counter()
            found = core_figures.figures(measured, claim)
            if subject.device.type == "cuda":
                torch.cuda.synchronize(subject.device)
            one["harness"][claim] = round(time.perf_counter() - start, 2)
            if plain is not None:
                seconds, _, figures = naive.measured(plain, claim)
                one["naive"][claim], one["gap"][claim] = round(seconds, 2), gap(figures, found)
            one["measurements"] = {name: how.get("seconds") for name, how in measured.timings.items()}
            print(f"claim {claim}: { ({side: one[side].get(claim) for side in SIDES}) } {one['measurements']}", file=sys.stderr, flush=True)
        one["roofline"] = sum(operations / r / len(claims) + moments / r64 / len(claims) for r, r64 in one["rates"])
        one["total"] = {side: sum(one[side].values()) for side in ("naive", "harness")}
        rounds.append(one)
        print(json.dumps(one), file=sys.stderr, flush=True)
    over = statistics.median(one["total"]["harness"] / one["roofline"] for one in rounds)
    record = {
        "model": given.model,
        "quick": given.quick,
        "claims": claims,
        "device": subject.facts.device_kind,
        "dtype": subject.facts.dtype,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "operations": operations,
        "operations in float64": moments,
        "rounds": rounds,
        "harness over roofline": over,
    }
    print(f"harness over roofline: {over:.2f}")
    if not given.harness_only:
        record["naive over harness"] = statistics.median(one["total"]["naive"] / one["total"]["harness"] for one in rounds)
        worst = max(one["gap"][claim] for one in rounds for claim in claims)
        print(f"naive over harness: {record['naive over harness']:.2f}, at figures that differ by at most {worst[0]:.2g} ({worst[1]})")
    if given.json:
        given.json.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
