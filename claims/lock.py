"""The lock on the bounds: a hash over every predicate's bounds, core rungs and minimal sizes, printed by every report.

An amendment changes a bound for a reason that does not depend on a verdict: it gets an entry in AMENDMENTS, which every report
shows, and a new LOCKED. A hash that is not LOCKED is reported as such.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from claims.declared import all_predicates

LOCKED = "23a18b837d8a75bf75c2bac1587cc5c7288a9acf783b5dbf92a8ebb5659da197"
AMENDMENTS: tuple[str, ...] = ()


def bounds_hash() -> str:
    """SHA-256 over all that decides a verdict, in hex."""
    table = [
        {
            "claim": claim.key,
            "predicate": predicate.name,
            "bounds": {rung: asdict(bound) for rung, bound in sorted(predicate.bounds.items())},
            "core": sorted(predicate.core),
            "rungs": sorted(predicate.rungs),
            "fewest_blocks": predicate.fewest_blocks,
        }
        for claim, predicate in all_predicates()
    ]
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


def state() -> dict[str, object]:
    """Return hash, whether it is the locked one, and the amendments, for the report."""
    found = bounds_hash()
    return {"sha256": found, "locked": found == LOCKED, "amendments": list(AMENDMENTS)}
