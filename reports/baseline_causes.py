"""What changed when a verdict did: weights, text, protocol, code, bound, software, device, and no more than can have mattered."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from claims import Verdict
from claims.declared import all_predicates
from fixtures.naming import printable
from harness.measurement import all_on
from harness.protocol import Protocol
from reports.baseline import FIGURE, Held, rounded
from reports.ledger import Cell, Row, figure_text, number
from reports.setups import Difference, Setup, differences
from reports.standard_errors import gap

_HASH = re.compile(r"[0-9a-f]{40,}")
_WITH = {"provenance": "weights", "edition": "text", "splitting": "text"}
"""What says how something came about: no cause where that is the same."""
_CODE, _MEASUREMENT, _PROTOCOL = ("code", "version", "bounds"), "measurement.", "protocol."
NOTHING = "nothing in the set-up differs: a measurement that does not repeat itself, or a bug; please report it"


def same_figure(before: Held, row: Row) -> bool:
    """Whether figure and interval are those that were kept, to six digits."""
    now = (rounded(row.value), rounded(row.low), rounded(row.high))
    return before.value is not None and now == (before.value, before.low, before.high)


def moved(before: Held, row: Row, freedom: tuple[int, int]) -> bool:
    """Whether a figure moved by more than the standard error of the difference. ``freedom``: of both jackknives, in degrees."""
    if before.value is None or row.value is None:
        return (before.value is None) is not (row.value is None)
    if rounded(row.value) == before.value:
        return False
    found = gap(replace(row, **{name: getattr(before, name) for name in FIGURE}), row, freedom)
    return found is not None and (found.z is None or abs(found.z) > 1)


def freedom(setup: Setup) -> int:
    """Return the degrees of freedom of a jackknife over groups of windows, as far as a set-up says."""
    groups = setup.get("protocol.groups", "")
    return int(groups) - 1 if groups.isdecimal() else Protocol().groups - 1


def causes(cell: Cell, before: Held, row: Row, was: Setup, now: Setup) -> list[str]:
    """Say what changed between a verdict that was kept and the one there is now.

    Where figure and interval are what they were, nothing that measures can be the cause: it is the bound, the level, the protocol, which
    also says when a figure is in doubt, or the code that judges. Otherwise all of the set-up that differs and bears on this cell is named,
    and what the old bound says of the new figure.
    """
    told = []
    bound, old = row.bound, before.against()
    if bound != old:
        told.append(f"bound {old.short() if old else 'none'} → {bound.short() if bound else 'none'}")
    if before.level is not None and row.level is not None and rounded(row.level) != before.level:
        told.append(f"level of the interval {before.level:.4g} → {row.level:.4g}")
    found = differences(was, now)
    judging = [d for d in found if d.what.startswith(_PROTOCOL)]
    if same_figure(before, row) and told:
        return [*told, *of_setups(judging, cell), "the figure is what it was"]
    told += of_setups([*judging, *(d for d in found if d.what in _CODE)] if same_figure(before, row) else found, cell)
    if not told:
        return [NOTHING]
    decided = before.judged in (Verdict.HOLDS, Verdict.FALSIFIED)
    if bound != old and old is not None and decided and row.low is not None and row.high is not None:
        verdict = old.judge(row.low, row.high)[0]
        told.append(f"by the old bound it would {'still be' if verdict is before.judged else 'be'} {verdict.word}")
    return told


def of_setups(found: Iterable[Difference], cell: Cell | None = None) -> list[str]:
    """Write differences of set-ups as short items; of a cell only those measurements that it is made from."""
    by_name = {difference.what: difference for difference in found}
    mine = _measurements(cell)
    items, steps = [], []
    for name, difference in by_name.items():
        if name.startswith(_MEASUREMENT):
            measurement = name.removeprefix(_MEASUREMENT)
            if not mine or measurement in mine:
                steps.append(f"version of '{measurement}' {difference.before or 'none'} → {difference.after or 'none'}")
        elif name not in _CODE and (name not in _WITH or _WITH[name] in by_name):
            items.append(_item(name, difference))
    # The bounds are part of the code: its hash says that they changed, too.
    parts = [_item(name, by_name[name]) for name in ("code", "version") if name in by_name] + steps
    if not parts and "bounds" in by_name:
        parts = [_item("bounds", by_name["bounds"])]
    if parts:
        items.append(("" if parts[0].startswith(("code ", "bounds ")) else "code: ") + ", ".join(parts))
    return [printable(item) for item in items]


def _item(name: str, difference: Difference) -> str:
    return f"{name} {_brief(difference.before)} → {_brief(difference.after)}"


def _measurements(cell: Cell | None) -> set[str]:
    """Names of the measurements that give a cell; none where this version does not know it."""
    if cell is None:
        return set()
    made = [p.measured_by for claim, p in all_predicates() if (claim.key, p.name) == (cell.claim, cell.predicate)]
    return {measurement.name for each in made for measurement in all_on(each, cell.rung)}


def _brief(text: str) -> str:
    return text[:8] if _HASH.fullmatch(text) else text or "not stated"


def figures(before: Held, row: Row | None) -> str:
    """Write both figures with their intervals, or the one there is where it is what it was."""
    if row is not None and same_figure(before, row):
        return figure_text(row)
    old = "none" if before.value is None else number(before.value)
    if before.low is not None and before.high is not None:
        old += f" [{number(before.low)}, {number(before.high)}]"
    new = "none" if row is None or row.value is None else figure_text(row)
    return old if old == new else f"{old} → {new}"


def bound_text(row: Row) -> str:
    """Write the bound that judges a row now."""
    return f"; bound {row.bound.short()}" if row.bound else ""
