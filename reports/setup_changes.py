"""What differs between two set-ups in a few lines: hashes cut short, and settings that one side alone states counted."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fixtures.naming import printable
from reports.setups import Difference

_HASH = re.compile(r"[0-9a-f]{40,}")
_LONGEST = 60
_SPELLED_OUT = 3


def told(differences: Iterable[Difference], a: str = "A", b: str = "B") -> list[str]:
    """Return one line for each thing that differs, and one for everything that only one side states."""
    lines = []
    alone: dict[str, dict[str, list[str]]] = {a: {}, b: {}}
    for d in differences:
        if d.before and d.after:
            lines.append(f"{printable(d.what)}: {short(d.before, d.after)} → {short(d.after, d.before)}")
        else:
            group, _, rest = d.what.rpartition(".")
            alone[a if d.before else b].setdefault(group, []).append(f"{rest} {short(d.before or d.after)}")
    return lines + [f"only {side} states {', '.join(_stated(groups))}" for side, groups in alone.items() if groups]


def short(value: str, other: str = "") -> str:
    """Cut a hash to 8 digits (where the other's first 8 are not the same) and a long value to 60 characters."""
    if _HASH.fullmatch(value):
        return value[:8] if other[:8] != value[:8] else value
    return printable(value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…")


def _stated(groups: dict[str, list[str]]) -> list[str]:
    """Name what is stated; of a group of more than a few settings, the group and their number."""
    named = []
    for group, settings in groups.items():
        if group and len(settings) > _SPELLED_OUT:
            named.append(f"{printable(group)} ({len(settings)} settings)")
        else:
            named += [printable(f"{group}.{one}" if group else one) for one in settings]
    return named
