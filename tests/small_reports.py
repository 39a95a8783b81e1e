"""Small report files, made by hand: any rows, any names, any set-up."""

from __future__ import annotations

import json

from claims import Bound, Verdict
from reports.document import from_contents
from reports.ledger import Cell, Row
from tests.test_document import FACTS

HASHES = {name: name[0] * 64 for name in ("weights", "text", "code", "bounds")}
NEW_FIELDS = ("standard_error", "origin")


def row(predicate="r2", verdict="measured", value=0.5, rung="strict", **more):
    """A row of claim 2, unless told otherwise; ``half`` is half the width of its interval."""
    cell = Cell(more.pop("model", "m"), more.pop("corpus", "c"), more.pop("claim", 2), predicate, rung, more.pop("block", None))
    half = more.pop("half", None)
    if half is not None:
        more |= {"low": value - half, "high": value + half, "level": 0.95}
    bound = Bound(0.8, 0.5) if verdict in ("holds", "falsified", "inconclusive") else None
    return Row(cell, Verdict(verdict), more.pop("unit", "R²"), more.pop("core", False), value, bound=bound, **more)


def contents(*rows, claims=(), n_blocks=8, finished=None, old=False, protocol=None, weights=None, code=None, **environment):
    """A report of rows. ``claims``: (claim, rung, verdict). ``old``: as before rows stated standard errors and reports their code."""
    models = dict.fromkeys(r.cell.model for r in rows)
    pairs = dict.fromkeys((r.cell.model, r.cell.corpus) for r in rows)
    lines = [{k: v for k, v in r.as_json().items() if not (old and k in NEW_FIELDS)} for r in rows]
    environment |= {"packages": {"torch": "2.13.0"}} if "packages" not in environment else {}
    environment |= {} if old else {"code": {"version": "0.1.0", "sha256": code or HASHES["code"], "measurements": {}}}
    environment |= {"finished": finished} if finished else {}
    made = {
        "schema": 1,
        "rows": lines,
        "claims": [
            {"model": m, "corpus": c, "rung": rung, "claim": claim, "verdict": verdict, "decided_by": []}
            for m, c in pairs
            for claim, rung, verdict in claims
        ],
        "protocol": {"groups": 16, "seed": 0, **(protocol or {})},
        "bounds": {"sha256": HASHES["bounds"], "locked": True, "amendments": []},
        "environment": environment,
        "models": {m: {**FACTS["models"]["m"], "n_blocks": n_blocks, "weights": weights or HASHES["weights"]} for m in models},
        "corpora": {c: {**FACTS["corpora"]["c"], "text": HASHES["text"] if c == "c" else (c * 64)[:64]} for _, c in pairs},
    }
    return json.loads(json.dumps(made))


def document(*rows, name="r.json", **more):
    """A report of rows, read."""
    return from_contents(name, contents(*rows, **more))


def save(folder, name, *rows, **more):
    """Write a report of rows into a folder; returns the file."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(contents(*rows, **more), ensure_ascii=False))
    return file
