"""What the arena of claim 3 costs, against output errors from the outputs themselves: ``python -m benchmarks.reconstruction [--block B]``.

Both sides store the linear layers of one block by the same methods and give the same errors, with every group of windows left out, which is
checked (1e-9). The harness accumulates second moments once and takes tr(E S Eᵀ) of every method from EᵀE. The other side does what a script
would do: multiply all inputs by every change of a weight, and square. Calibration windows of ``paper``, all tokens, no bases to be fitted:
methods that need one cost both sides the same. Sides are interleaved; medians of ``--rounds``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time

import numpy as np
import torch
from torch import Tensor

from fixtures.corpora import choose
from fixtures.described import model_at
from fixtures.models import DEFAULT_MODEL
from harness.batching import BATCH
from harness.bench import Bench
from harness.contests import Contests, Key, Side
from harness.layer_inputs import LayerInputs, Shared
from harness.layer_moments import ALL, LayerMoments
from harness.layers import Layer
from harness.linearity import CALIBRATION, contiguous_groups
from harness.loading import Subject
from harness.methods import Given, Inputs
from harness.protocol import Protocol
from harness.reconstructing import methods_of
from harness.statistics import Array
from harness.store import Store
from harness.subject import Placement
from harness.windows import Ids

METHODS = {name: method for name, method in methods_of(strict=False, slow=False).items() if not method.fitted}
PROTOCOL = Protocol()
CONTESTS = Contests(METHODS, PROTOCOL.reconstruction, "tensor", halves=False)


@torch.inference_mode()
def inputs_of(subject: Subject, ids: Ids, block: int) -> list[Shared]:
    """Return what the layers of a block read of all windows, each input once."""
    found: dict[tuple[str, ...], list[Shared]] = {}
    with LayerInputs(subject.anatomy) as inputs:
        for start in range(0, len(ids), BATCH):
            stream, calls = subject.anatomy.enter(torch.from_numpy(ids[start : start + BATCH]).to(subject.device))
            for b in range(block + 1):
                stream = subject.anatomy.run(b, stream, calls[b])
            for shared in inputs.take(*stream.shape[:2]):
                found.setdefault(tuple(layer.name for layer in shared.layers), []).append(shared)
    return [Shared(parts[0].layers, torch.cat([part.x for part in parts])) for parts in found.values()]


def by_moments(shared: list[Shared], groups: list[int]) -> dict[str, Array]:
    """Errors of every layer as the harness finds them: ``(methods, 2, 1 + groups)``, whole and with each group left out."""
    found = {}
    for each in shared:
        moments = LayerMoments(max(groups) + 1, each.x.shape[-1], 0, each.x.device)
        for group in sorted(set(groups)):
            rows = torch.tensor([g == group for g in groups])
            moments.add(group, each.x[rows].flatten(0, 1), None, typical=True)
        side = {"paper": Side(ALL, moments.scored(ALL))}
        for layer in each.layers:
            arrays = CONTESTS.measure(_given(layer, moments), {ALL: Inputs(moments.total(ALL))}, side, lambda key, matrix: None)["paper"]
            found[layer.name] = np.concatenate([arrays["error"][..., None], arrays["error_rest"]], -1)
    return found


def by_outputs(shared: list[Shared], groups: list[int]) -> dict[str, Array]:
    """The same from the outputs: every input times every change."""
    found, count = {}, max(groups) + 1
    member = np.eye(count)[groups]
    for each in shared:
        x = each.x.double()
        nothing = LayerMoments(1, x.shape[-1], 0, x.device)
        for layer in each.layers:
            given, errors = _given(layer, nothing), dict[Key, Array]()

            def score(key: Key, matrix: Tensor, given: Given = given, errors: dict[Key, Array] = errors, x: Tensor = x) -> None:
                by_window = (x @ (matrix - given.weight).T).square().sum((1, 2)).cpu().numpy() / len(matrix)
                by_group, tokens = member.T @ by_window, member.sum(0) * x.shape[1]
                rest = (by_group.sum() - by_group) / (tokens.sum() - tokens)
                errors[key] = np.array([by_group.sum() / tokens.sum(), *rest])

            for _ in CONTESTS.changes(given, {ALL: Inputs(nothing.total(ALL))}, {ALL}, score):
                pass
            found[layer.name] = np.array([[errors[CONTESTS.key(method, grain, ALL)] for grain in (0, 1)] for method in METHODS.values()])
    return found


def _given(layer: Layer, moments: LayerMoments) -> Given:
    inputs = Inputs(moments.total(ALL))
    return Given(layer.matrix(), CONTESTS.own, inputs, 1.0, PROTOCOL.reconstruction, PROTOCOL.seed, count_bases=False)


def main() -> int:
    """Time both sides; print them and their ratio as JSON. Returns 1 when they disagree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL, help=f"as pytest claims takes it (default: {DEFAULT_MODEL})")
    parser.add_argument("--corpus", default="pydocs", help="as pytest claims takes it (default: pydocs)")
    parser.add_argument("--block", type=int, default=0, help="the block whose layers are stored (default: 0)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the median counts (default: 3)")
    given = parser.parse_args()
    model = model_at(given.model)
    bench = Bench(Placement("cpu"), PROTOCOL, Store(None), lambda name: lambda done, total: None)
    laboratory = bench.laboratory(model, choose(given.corpus)[0])
    ids = laboratory.windows("paper")[CALIBRATION]
    shared, groups = inputs_of(bench.load(model), ids, given.block), contiguous_groups(len(ids), PROTOCOL.groups)
    sides = {"moments": by_moments, "outputs": by_outputs}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    figures: dict[str, dict[str, Array]] = {}
    for _ in range(given.rounds):
        for name, side in sides.items():
            start = time.perf_counter()
            figures[name] = side(shared, groups)
            seconds[name].append(time.perf_counter() - start)
    layers = figures["moments"]
    apart = max(float(np.abs(layers[name] / figures["outputs"][name] - 1).max()) for name in layers)
    median = {name: statistics.median(each) for name, each in seconds.items()}
    agree = apart < 1e-9
    rounded = {name: round(value, 2) for name, value in median.items()}
    ratio = round(median["outputs"] / median["moments"], 2)
    print(json.dumps({"layers": len(layers), "seconds": rounded, "ratio": ratio, "greatest difference": apart, "agree": agree}))
    return int(not agree)


if __name__ == "__main__":
    sys.exit(main())
