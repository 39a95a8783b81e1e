"""All core figures without the harness' engine: ``python -m benchmarks.naive [--model M] [--corpus C] [--quick] [--claims 1,3]``.

What a competent user would write in torch, transformers, NumPy and SciPy for the core predicates of every claim, with standard errors by
refitting, and with what the harness measures beside them by forward passes: the yardstick of its engine. Protocol, windows, seeded draws
and quantisers are the same; sweep, branches, streams, moments and interventions of the harness are not used, so that the figures are also
a second opinion on the harness' (``tests/test_naive.py``).

What makes it slow on purpose is one thing: an intervention is a forward pass of the whole model, and reads its logits by itself. What a
reviewer would ask for without an engine is there:

- inference mode, the model's own attention kernels, no cache of keys and values, no logits but those that are read;
- one clean run a layout of windows, every block's output kept, for all claims; its distributions made once for all divergences;
- batches of eight windows, filled up by other variants, noise seeds or refits where there are fewer windows;
- second moments by group of windows, so that a jackknife refit is a subtraction and a solve; all tokens as the typical ones plus the rest;
- one eigendecomposition for all penalties of a cross-validation and all factors on λ; leading singular vectors by those of MMᵀ;
- errors of stored weights from second moments, every layer stored once for all rungs and groups, factors and bases made once;
- heads trained on kept activations, AdamW fused, one clean pass of the full head for all controls; weights destroyed in place.

Seconds, tokens times blocks that were run, and figures are printed claim by claim; ``--json`` keeps them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import naive_claim1, naive_claim2, naive_claim3, naive_claim4, naive_claim5
from benchmarks.naive_model import NaiveRun
from fixtures.corpora import choose
from fixtures.described import model_at
from fixtures.models import DEFAULT_MODEL
from harness.bench import Bench
from harness.errors import SubjectError
from harness.protocol import Protocol
from harness.store import Store
from harness.subject import DTYPES, Placement

CLAIMS: dict[int, Callable[[NaiveRun], dict[str, float]]] = {
    1: naive_claim1.figures,
    2: naive_claim2.figures,
    3: naive_claim3.figures,
    4: naive_claim4.figures,
    5: naive_claim5.figures,
}
"""Claim → figures by name, ``claim/predicate/rung``; ``/se`` after it is the standard error, ``/half`` the figure of half the text."""


def measured(run: NaiveRun, claim: int) -> tuple[float, int, dict[str, float]]:
    """Return seconds, tokens times blocks that were run, and figures of a claim."""
    start, before = time.perf_counter(), run.passes
    found = CLAIMS[claim](run)
    if run.device.type == "cuda":
        torch.cuda.synchronize(run.device)
    return time.perf_counter() - start, run.passes - before, found


def main() -> None:
    """Measure, and print a line a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a registered name, a folder, a GGUF file or a hub id")
    parser.add_argument("--corpus", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto", choices=DTYPES)
    parser.add_argument("--quick", action="store_true", help="quarter sizes")
    parser.add_argument("--claims", default="1,2,3,4,5", help="which, by commas")
    parser.add_argument("--json", type=Path, help="a file to keep the record in")
    given = parser.parse_args()
    claims = given.claims.split(",")
    if unknown := [claim for claim in claims if claim not in map(str, CLAIMS)]:
        parser.error(f"--claims {given.claims}: no claim {unknown[0]!r}; expected some of 1,2,3,4,5")
    protocol = Protocol().quickened() if given.quick else Protocol()
    bench = Bench(Placement(given.device, given.dtype), protocol, Store(None), lambda _: lambda done, total: None)
    model = model_at(given.model)
    run = NaiveRun.of(bench.laboratory(model, choose(given.corpus)[0]))
    record: dict[str, object] = {"model": given.model, "quick": given.quick, "threads": torch.get_num_threads(), "claims": {}}
    parts: dict[int, object] = {}
    for claim in map(int, claims):
        try:
            seconds, passes, found = measured(run, claim)
        except SubjectError as error:
            parser.exit(4, f"claim {claim}: {error}\n")
        parts[claim] = {"seconds": seconds, "token-blocks": passes, "figures": found}
        print(f"claim {claim}: {seconds:,.1f} s, {passes:,} token-blocks", file=sys.stderr, flush=True)
        for name, value in found.items():
            if not name.endswith(("/se", "/half")):
                error, half = found.get(f"{name}/se"), found.get(f"{name}/half")
                beside = "" if error is None else f" ± {error:.4g}"
                print(f"  {name} {value:.6g}{beside}{'' if half is None else f' (half {half:.6g})'}", flush=True)
    record["claims"] = parts
    if given.json:
        given.json.write_text(json.dumps(record, indent=1, allow_nan=True))


if __name__ == "__main__":
    main()
