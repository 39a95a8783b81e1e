"""The lock on the bounds: a hash over every predicate's bounds, rungs, core and minimal sizes, and over the protocol's sizes and rules.

An amendment changes a bound for a reason that does not depend on a verdict: it gets an entry in AMENDMENTS, which every report
shows, and a new LOCKED. A hash that is not LOCKED is reported as such.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from claims.declared import all_predicates
from harness.protocol import Protocol

LOCKED = "3fda06b9d298e1d5adb929a15eed4514b4c4c14e2d3a3c3718a1cf4f02ce96c2"
AMENDMENTS: tuple[str, ...] = ()


def bounds_hash() -> str:
    """SHA-256 over bounds and protocol, in hex. The code that applies them is not part of it."""
    table: list[dict[str, Any]] = [
        {
            "claim": claim.key,
            "predicate": predicate.name,
            "bounds": {rung: asdict(bound) for rung, bound in sorted(predicate.bounds.items())},
            "core": sorted(predicate.core),
            "rungs": sorted(predicate.rungs),
            "fewest_blocks": predicate.fewest_blocks,
            "fewest_texts": predicate.fewest_texts,
            "blocks": predicate.blocks,
            "inside": [str(limit) for limit in predicate.inside],
        }
        for claim, predicate in all_predicates()
    ]
    table.append({"protocol": Protocol().as_dict()})
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


def state() -> dict[str, object]:
    """Return hash, whether it is the locked one, and the amendments, for the report."""
    found = bounds_hash()
    return {"sha256": found, "locked": found == LOCKED, "amendments": list(AMENDMENTS)}
