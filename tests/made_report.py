"""A report file of a run that never was: one row of every declared cell, judged by its bound."""

from __future__ import annotations

import json

from claims import Verdict
from claims.declared import all_predicates
from claims.lock import state
from harness.protocol import Protocol
from reports.ledger import Cell, Ledger, Row
from reports.provenance import of_code
from reports.report_file import contents

N_BLOCKS = 12


def value_of(bound):
    """A figure with its interval that holds by a margin."""
    if isinstance(bound.holds, tuple):
        return 0.30, 0.29, 0.31
    up = 1 if bound.direction == "at_least" else -1
    return bound.holds + up * 0.3, *sorted((bound.holds + up * 0.2, bound.holds + up * 0.4))


def rows_of(model="m", corpus="c"):
    """One row of every declared cell of a made-up run, judged by its bound."""
    for claim, predicate in all_predicates():
        for rung, block in predicate.cells(N_BLOCKS):
            cell, bound = Cell(model, corpus, claim.key, predicate.name, rung, block), predicate.judged(rung, block, N_BLOCKS)
            core = predicate.is_core(rung, block, N_BLOCKS)
            if rung not in ("paper", "strict") or bound is None:
                yield Row(cell, Verdict.UNTESTED, predicate.unit, core, bound=bound, reason="not selected")
                continue
            value, low, high = value_of(bound)
            verdict, margin = bound.judge(low, high)
            yield Row(cell, verdict, predicate.unit, core, value, low, high, 0.95, bound, margin)


def report(model="m", corpus="c", **changed):
    """The contents of a report file of a made-up run, as JSON has them."""
    ledger = Ledger({(model, corpus): N_BLOCKS})
    for row in rows_of(model, corpus):
        ledger.add(row)
    facts = {
        "models": {
            model: {
                "n_blocks": N_BLOCKS,
                "weights": "ab" * 32,
                "about": "a model",
                "source": "/home/me/models/m.gguf",
                **dict.fromkeys(("provenance", "dtype", "device", "attention"), "as it is"),
            }
        },
        "corpora": {corpus: {"text": "cd" * 32, "edition": "folder c", "splitting": "a / b", "chosen": "named"}},
        "protocol": Protocol().as_dict(),
        "bounds": state(),
        "environment": {
            "code": of_code(),
            "finished": "2026-05-04T03:02:01+00:00",
            "packages": {"torch": "2.0"},
            "command": [
                "pytest",
                "claims",
                "--corpus",
                "/home/me/c",
                "--store=/tmp/s",
                "--report",
                "/tmp/r.json",
                "-m",
                "claim1 or claim2",
            ],
        },
        "timings": {"wall_seconds": 1.0},
        "evidence": {f"{model}/{corpus}": {"r2/paper": {"words": ["secret"]}}},
    }
    return json.loads(json.dumps({**contents(ledger, facts), **changed}))
