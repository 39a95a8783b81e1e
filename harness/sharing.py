"""Which measurements share a sweep, told without torch: for whoever makes them, and for ``--plan``."""

from __future__ import annotations

from collections.abc import Iterable

from harness.measurement import Measurement


def sharing(missing: Iterable[Measurement], layout: str) -> list[Measurement]:
    """Return those of a layout that are made in one sweep, of all that are to be made.

    They visit a sweep and run nothing above its blocks, as what brings others along does; what comes with another one is not made. Of one
    code there is one: two would watch the same layers twice.
    """
    every = list(missing)
    brought = {other.name for each in every for other in each.brings}
    mine = [each for each in every if each.visits and not each.brings and each.layout == layout and each.name not in brought]
    found: dict[str, Measurement] = {}
    for each in mine:
        found.setdefault(each.code, each)
    return list(found.values())
