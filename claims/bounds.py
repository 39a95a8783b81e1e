"""Shorthand for declaring bounds and ranges."""

from __future__ import annotations

from claims.claim import JUDGED
from claims.verdicts import Bound

CORRELATION = (-1.0, 1.0)
SHARE = (0.0, 1.0)


def both(bound: Bound) -> dict[str, Bound]:
    """Return the same bound on every judged rung."""
    return dict.fromkeys(JUDGED, bound)


def at_least(holds: float, falsified: float) -> Bound:
    """Hold at ≥ ``holds``, be falsified at ≤ ``falsified``."""
    return Bound(holds, falsified)


def at_most(holds: float, falsified: float) -> Bound:
    """Hold at ≤ ``holds``, be falsified at ≥ ``falsified``."""
    return Bound(holds, falsified, "at_most")
