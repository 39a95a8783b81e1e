"""Report files with made-up rows: each predicate with the verdict that a test asks for, and a figure of its own."""

from __future__ import annotations

import copy
import json

from claims import CLAIMS, Verdict
from harness.settings import Setting
from reports import report_file
from reports.document import from_contents
from reports.ledger import Cell, Ledger, Row

BLOCKS = 12
FACTS = {
    "protocol": {"window": 256},
    "bounds": {"sha256": "b" * 64, "locked": True, "amendments": []},
    "environment": {
        "packages": {"torch": "2.13.0", "transformers": "5.23.0"},
        "command": ["pytest", "claims", "--model", "some/folder", "--report", "x.json", "-m", "strict"],
        "code": {"version": "0.1.0", "sha256": "c" * 64, "measurements": {}},
    },
    "models": {},
    "corpora": {},
}


def declared(name):
    """The claim and the predicate of a name."""
    return next((claim, predicate) for claim in CLAIMS for predicate in claim.predicates if predicate.name == name)


def row(name, verdict, rung="strict", model="m", corpus="c", value=None, **more):
    """A row of a declared predicate; where its verdict goes with a figure, one that no other predicate has."""
    claim, predicate = declared(name)
    block = BLOCKS - 1 if predicate.blocks else None
    cell = Cell(model, corpus, claim.key, name, rung, block)
    core, bound = predicate.is_core(rung, block, BLOCKS), predicate.bounds.get(rung)
    if verdict in (Verdict.UNTESTED, Verdict.ERROR, Verdict.NOT_APPLICABLE):
        return Row(cell, verdict, predicate.unit, core, bound=bound, **more)
    names = [p.name for c in CLAIMS for p in c.predicates]
    value = 2.0 + names.index(name) / 100 if value is None else value
    if "margin" not in more:
        more["margin"] = 0.5 if bound else None
    return Row(cell, verdict, predicate.unit, core, value, value - 0.5, value + 0.5, 0.95, bound, **more)


def rows(verdict, claim, rung="strict", core=True, **more):
    """Rows of all predicates of a claim on a rung, or of its core ones."""
    chosen = [p for c in CLAIMS if c.key == claim for p in c.predicates if rung in p.rungs and (not core or rung in p.core)]
    return [row(p.name, verdict, rung, **more) for p in chosen]


def contents(*made, quick=False, swept=None, **facts):
    """A report of these rows as read from its file; a later row takes the place of an earlier one of its cell.

    ``swept``: by the name of a setting, the rows under it.
    """
    pairs = {(one.cell.model, one.cell.corpus): BLOCKS for one in made} or {("m", "c"): BLOCKS}
    settings = tuple(Setting(name, name.partition("=")[0], f"what {name} changes") for name in swept or {})
    under = {(one.cell, name): one for name, changed in (swept or {}).items() for one in changed}
    ledger = Ledger(pairs, quick=quick, settings=settings, swept=under)
    for one in made:
        ledger.add(one)
    model = {"n_blocks": BLOCKS, "weights": "a" * 64, "about": "a model", "provenance": "as saved"}
    model |= {"dtype": "float32", "device": "cpu", "attention": "sdpa"}
    text = {"text": "t" * 64, "edition": "an edition", "splitting": "two files", "chosen": "read from the path given"}
    told = {"models": {name: model for name, _ in pairs}, "corpora": {name: text for _, name in pairs}}
    return json.loads(json.dumps(report_file.contents(ledger, copy.deepcopy({**FACTS, **told, **facts}))))


def document(*made, **facts):
    """The same, read back."""
    return from_contents("made.json", contents(*made, **facts))
