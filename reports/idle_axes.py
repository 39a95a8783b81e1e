"""Axes of a sweep that change nothing of what is selected: a sweep that says nothing must not look like one in which all stands."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from harness.settings import CORPORA, Setting, axes_of


def idle(given: str | None, settings: Iterable[Setting], reached: Collection[str]) -> list[str]:
    """Return a line for each axis that ``--sweep`` was given for nothing; ``reached``: names of settings that come with a selected cell."""
    lines = []
    for axis in axes_of(given) if given is not None else ():
        names = {setting.name for setting in settings if setting.axis == axis}
        if not names:
            lines.append(f"--sweep {axis}: the run has them all" if axis == CORPORA else f"--sweep {axis}: there is no other")
        elif not names & set(reached):
            lines.append(f"--sweep {axis}: no selected cell has a verdict that it can change")
    return lines
