"""Made-up reports with everything that a page shows: a row for every declared cell, and evidence for every section and plot."""

from __future__ import annotations

import copy
import json
from random import Random

from claims import Verdict
from claims.declared import all_predicates
from harness.protocol import Protocol
from reports import report_file
from reports.document import from_contents
from reports.ledger import Cell, Ledger, Row
from tests.test_destruction_evidence import EVIDENCE as DESTRUCTION
from tests.test_easy_evidence import EVIDENCE as EASY
from tests.test_evidence import EVIDENCE as VARIANCE
from tests.test_replacement_evidence import EVIDENCE as REPLACEMENT
from tests.test_routing_evidence import EVIDENCE as ROUTING
from tests.test_wall_evidence import EVIDENCE as WALL

EVIDENCE = VARIANCE | REPLACEMENT | WALL | DESTRUCTION | EASY | ROUTING
HOSTILE = (
    "</script><script>alert(1)</script>",
    "{{7*7}}",
    "\"'><img src=x onerror=alert(1)>",
    "שלום \u202etxt.exe",
    "a/b c%2F#d",
    "n" * 300,
)
"""Names that a file may have, and a page must show as they are."""


def contents(models=("m",), corpora=("c",), blocks=32, evidence=EVIDENCE, locked=True, seed=0):
    """A report of models on texts, every measured predicate with a figure on every rung and block."""
    random, ledger = Random(seed), Ledger({(model, corpus): blocks for model in models for corpus in corpora})
    declared = {(claim.key, predicate.name): predicate for claim, predicate in all_predicates()}
    for cell in ledger.cells():
        predicate = declared[cell.claim, cell.predicate]
        if predicate.measured_by and predicate.fewest_texts <= len(corpora):
            ledger.add(_row(cell, predicate, blocks, random))
    ledger.select(cell.ident for cell in ledger.rows)
    of_model = {"n_blocks": blocks, "weights": "a" * 64, "about": f"{blocks} blocks, made up", "provenance": "as saved"}
    of_model |= {"dtype": "float32", "device": "cpu", "attention": "sdpa"}
    facts = {
        "protocol": Protocol().as_dict(),
        "bounds": {"sha256": "b" * 64, "locked": locked, "amendments": []},
        "environment": {"python": "3", "packages": {"torch": "2"}, "command": ["pytest", "claims", "--corpus", "a text/of 'mine'"]},
        "models": dict.fromkeys(models, of_model),
        "corpora": {c: {"text": "t" * 64, "edition": "an edition", "splitting": "two files", "chosen": "as given"} for c in corpora},
        "timings": {f"{m}/{c}": {"layers": {"stored": False, "seconds": 1.5, "windows": {"a": 2}}} for m in models for c in corpora},
        "evidence": {f"{model}/{corpus}": evidence for model in models for corpus in corpora},
    }
    return json.loads(json.dumps(report_file.contents(ledger, copy.deepcopy(facts))))


def document(*models, name="made.json", **options):
    """The same, read back."""
    return from_contents(name, contents(models or ("m",), **options))


def as_wide_as_real(blocks=32, ranks=128, width=1024):
    """Evidence with as many numbers as a model of these sizes has."""
    wide = {"shares": width, "rank": ranks, "variance": ranks, "kl": ranks, "sensitivity": ranks, "seen": blocks}

    def grown(value, name=""):
        if isinstance(value, dict):
            inner = {key: grown(part, key) for key, part in value.items()}
            numbered = [part for key, part in inner.items() if key.isdigit()]
            return {str(block): numbered[block % len(numbered)] for block in range(blocks)} if numbered else inner
        if isinstance(value, list) and value and name in wide:
            return list(range(ranks)) if name == "rank" else [value[i % len(value)] for i in range(wide[name])]
        return [grown(part) for part in value] if isinstance(value, list) else value

    return grown(EVIDENCE)


def _row(cell: Cell, predicate, blocks: int, random: Random) -> Row:
    value = random.uniform(0.01, 1.5)
    low, high = value - random.uniform(0, 0.2), value + random.uniform(0, 0.2)
    bound, core = predicate.judged(cell.rung, cell.block, blocks), predicate.is_core(cell.rung, cell.block, blocks)
    verdict, margin = bound.judge(low, high) if bound else (Verdict.MEASURED, None)
    return Row(cell, verdict, predicate.unit, core, value, low, high, 0.95, bound, margin, ("a caveat",), f"a reason {value:.3f}")
