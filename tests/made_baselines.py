"""Made-up reports with verdicts on claim 4 and one block of claim 2, as runs write them, for tests of baselines."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

from claims import CLAIMS, Bound, Verdict
from harness.errors import TextError
from reports import report_file
from reports.document import from_contents
from reports.ledger import Cell, Ledger, Row

BLOCKS = 8
MODEL, CORPUS = "mine-0a1b2c3d", "words-4e5f6a7b"
DECLARED = {p.name: p for claim in CLAIMS for p in claim.predicates}
FACTS = {
    "protocol": {"window": 256, "seed": 0},
    "bounds": {"sha256": "b0" * 32, "locked": True, "amendments": []},
    "environment": {
        "python": "3.12.1",
        "packages": {"torch": "2.13.0", "rich": "15.0.0"},
        "command": ["pytest", "claims"],
        "code": {"version": "0.1.0", "sha256": "c0" * 32, "measurements": {"linearity by rank-k maps": 1, "exit heads": 1}},
    },
}
OF_MODEL = {"n_blocks": BLOCKS, "weights": "a0" * 32, "about": "a model", "provenance": "as saved", "dtype": "float32", "device": "cpu"}
OF_MODEL["attention"] = "sdpa"
OF_CORPUS = {"text": "70" * 32, "edition": "an edition", "splitting": "two files", "chosen": "read from the path given"}
HELD = {"depth_trend": (0.9, 0.05), "depth_gain": (0.6, 0.1), "monotonic": (0.2, 0.1), "r2": (0.65, 0.02)}
"""Figures with half their intervals: two hold, monotonic is falsified, r2 of the last block is in between."""


def judged(predicate, value, half, model=MODEL, corpus=CORPUS, bound=None):
    """A row on paper with the verdict that its bound gives."""
    claim = next(c for c in CLAIMS if DECLARED[predicate] in c.predicates)
    block = BLOCKS - 1 if DECLARED[predicate].blocks else None
    bound = bound or DECLARED[predicate].judged("paper", block, BLOCKS)
    verdict, margin = bound.judge(value - half, value + half)
    core = DECLARED[predicate].is_core("paper", block, BLOCKS)
    cell = Cell(model, corpus, claim.key, predicate, "paper", block)
    return Row(cell, verdict, "R²", core, value, value - half, value + half, 0.975, bound, margin)


def failed(predicate, verdict=Verdict.ERROR, reason="it burst", **names):
    """A row of a cell that could not be measured."""
    return replace(judged(predicate, 0.0, 1.0, **names), verdict=verdict, value=None, low=None, high=None, level=None, reason=reason)


def too_short(predicate):
    """A row whose text was too short."""
    return failed(predicate, Verdict.UNTESTED, str(TextError("too little text")))


def contents(rows=None, subjects=((MODEL, CORPUS),), **facts):
    """A report, parsed. ``rows``: by default the figures of HELD, of every subject; ``facts``: in the place of those above."""
    ledger = Ledger(dict.fromkeys(subjects, BLOCKS))
    made = rows if rows is not None else [judged(p, *HELD[p], model=m, corpus=c) for m, c in subjects for p in HELD]
    for row in made:
        ledger.add(row)
    models, corpora = ({pair[i]: dict(of) for pair in subjects} for i, of in enumerate((OF_MODEL, OF_CORPUS)))
    return json.loads(json.dumps(report_file.contents(ledger, copy.deepcopy({**FACTS, "models": models, "corpora": corpora} | facts))))


def document(rows=None, subjects=((MODEL, CORPUS),), **facts):
    """The same, read."""
    return from_contents("report.json", contents(rows, subjects, **facts))


def with_figures(**changed):
    """Rows of HELD with some figures changed: ``(value, half)``, or ``(value, half, bound)``; None leaves a row out."""
    figures = {**HELD, **changed}
    return [judged(p, *f[:2], bound=f[2] if len(f) > 2 else None) for p, f in figures.items() if f is not None]


def other_bound(holds, falsified):
    """A bound that is not the declared one."""
    return Bound(holds, falsified)
