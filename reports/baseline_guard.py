"""``pytest claims --baseline FILE``: read before anything is loaded, compared when all is measured, and the exit code is its."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fixtures import Model
from fixtures.naming import printable
from reports.baseline import Baseline, claim_ident, ident_of, read
from reports.baseline_changes import changes, flipped
from reports.baseline_check import Comparison, as_json, compare, unmatched
from reports.baseline_subjects import match
from reports.baseline_text import lines
from reports.document import ReportError, from_contents
from reports.ledger import Cell, Ledger
from reports.pull_request import Change
from reports.subjects import InputError


class Guard:
    """A run's baseline."""

    def __init__(self, file: str, baseline: Baseline, ledger: Ledger) -> None:
        self._file, self._baseline, self._pairs = file, baseline, list(ledger.pairs)
        self._comparison: Comparison | None = None
        self._failure = ""

    def compare(self, contents: dict[str, Any]) -> dict[str, Any]:
        """Compare a finished report; returns the section of the report that says what came of it. What goes wrong is said, not raised."""
        file = {"file": printable(self._file)}
        try:
            comparison = compare(self._baseline, from_contents("this run", contents), self._pairs)
            section = as_json(comparison)
        except Exception as error:  # A fault of the comparison must not cost hours of measurements.
            self._failure = f"the comparison failed ({type(error).__name__}: {printable(error)}): a bug; please report it"
            return {**file, "exit_code": 6, "error": self._failure}
        self._comparison = comparison
        return {**file, **section}

    def exit_code(self, measured: int) -> int:
        """Return the run's exit code. ``measured``: what it is when verdicts are only reported.

        6 stays 6, whatever else; 4, a fault in the input of a cell that is not kept, stays where nothing flipped.
        """
        if measured == 6 or self._failure:
            return 6
        code = self._comparison.exit_code if self._comparison else measured
        return code or (measured if measured == 4 else 0)

    def changes(self) -> tuple[list[Change] | None, frozenset[Cell]]:
        """Return what changed, and the cells that fail the build; None and none before the comparison."""
        return (changes(self._comparison), flipped(self._comparison)) if self._comparison else (None, frozenset())

    def lines(self, report: Path) -> Iterator[str]:
        """Yield what the terminal shows."""
        if self._failure:
            return iter((f"ERROR: {self._failure}",))
        return lines(self._comparison, self._file, str(report)) if self._comparison else iter(())


def guard_of(option: Any, ledger: Ledger, models: Iterable[Model]) -> Guard:
    """Read the baseline that is asked for, and compare its ids with the cells there are. Raises InputError."""
    shown = f"--baseline {printable(option.baseline)}"
    if not option.baseline.strip():
        raise InputError("--baseline: empty; expected a file")
    if option.quick:
        raise InputError(f"{shown}: with --quick nothing is judged; leave out one of them")
    try:
        if Path(option.baseline).expanduser().resolve() == Path(option.report).expanduser().resolve():
            raise InputError(f"{shown}: the report would go there; give --report another file")
        baseline = read(option.baseline)
    except ReportError as error:
        raise InputError(f"--baseline {error}") from None
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{shown}: not a path ({printable(error)})") from None
    if why := _mismatch(baseline, ledger, {model.name for model in models if model.unavailable}):
        raise InputError(
            f"{shown}: {why}; correct the baseline, or take out what matches nothing: "
            f"python -m reports baseline REPORT --to {printable(shlex.quote(option.baseline))} --amend --reason TEXT, "
            "with --only MODEL/TEXT for all of a model and text"
        )
    return Guard(option.baseline, baseline, ledger)


def _mismatch(baseline: Baseline, ledger: Ledger, unknown: set[str]) -> str | None:
    """Say which ids match no cell that there is, before hours are spent; models that cannot be had are left to the run."""
    matches = match(baseline, ledger.pairs)
    if why := matches.error(baseline):
        return why
    cells = list(ledger.cells())
    claims = {claim_ident(claim): None for claim in ledger.claims([])}
    for (model, corpus), key in matches.keys.items():
        mine = [cell for cell in cells if (cell.model, cell.corpus) == (model, corpus)]
        known = {ident_of(key, cell) for cell in mine}
        if model not in unknown and (gone := [ident for ident in baseline.subjects[key].cells if ident not in known]):
            return unmatched(gone, known)
        if gone := [ident for ident in baseline.subjects[key].claims if ident not in claims]:
            return unmatched(gone, claims)
    return None
