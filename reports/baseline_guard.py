"""``pytest claims --baseline FILE``: read before anything is loaded, compared when all is measured, and the exit code is its."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fixtures import Model
from fixtures.naming import printable
from reports.baseline import Baseline, ident_of, read
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

    def compare(self, contents: dict[str, Any]) -> dict[str, Any]:
        """Compare a finished report; returns the section of the report that says what came of it."""
        self._comparison = compare(self._baseline, from_contents("this run", contents), self._pairs)
        return {"file": printable(self._file), **as_json(self._comparison)}

    def exit_code(self, measured: int) -> int:
        """Return the run's exit code. ``measured``: what it is when verdicts are only reported: 6 stays 6, whatever else."""
        return measured if measured == 6 or self._comparison is None else self._comparison.exit_code

    def changes(self) -> tuple[list[Change] | None, frozenset[Cell]]:
        """Return what changed, and the cells that fail the build; None and none before the comparison."""
        return (changes(self._comparison), flipped(self._comparison)) if self._comparison else (None, frozenset())

    def lines(self, report: Path) -> Iterator[str]:
        """Yield what the terminal shows."""
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
            "python -m reports baseline REPORT --amend --reason TEXT"
        )
    return Guard(option.baseline, baseline, ledger)


def _mismatch(baseline: Baseline, ledger: Ledger, unknown: set[str]) -> str | None:
    """Say which ids match no cell that there is, before hours are spent; models that cannot be had are left to the run."""
    matches = match(baseline, ledger.pairs)
    if why := matches.error(baseline):
        return why
    cells = list(ledger.cells())
    for (model, corpus), key in matches.keys.items():
        mine = [cell for cell in cells if (cell.model, cell.corpus) == (model, corpus)]
        known = {ident_of(key, cell) for cell in mine}
        if model not in unknown and (gone := [ident for ident in baseline.subjects[key].cells if ident not in known]):
            return unmatched(gone, mine, key)
    return None
