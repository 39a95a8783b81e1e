"""Pytest hooks that turn tests of claims into rows, letters, one-line messages, a table, a report file and an exit code.

A test of a claim carries a ``Cell``; its outcome travels on the test report, so that it reaches the main process from
xdist workers too. Tests that carry no cell are left alone.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Generator, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from claims.claim import Measures
from claims.declared import all_predicates
from claims.everywhere import Everywhere
from claims.verdicts import Verdict
from fixtures.errors import CorpusError, ModelError
from fixtures.models import Model
from fixtures.naming import printable
from harness.errors import LongWorkError, MeasurementError, SubjectError, TextError
from harness.settings import Setting
from harness.statistics import Figure
from reports import console, github, judgement, report_file
from reports.idle_axes import idle
from reports.ledger import Cell, Ledger, Row, claim_of
from reports.unreached import settled

if TYPE_CHECKING:
    from reports.baseline_guard import Guard

CELL = pytest.StashKey[tuple[Cell, Measures, Model]]()
SETTING = pytest.StashKey[Setting]()
"""Of an item that measures a cell under another setting: which one."""
ROW = pytest.StashKey[Row]()
LEDGER = pytest.StashKey[Ledger]()
Facts = dict[str, Any]
FACTS = pytest.StashKey[Facts]()
EVIDENCE = pytest.StashKey[Facts]()
DESCRIBE = pytest.StashKey[Callable[[], Facts]]()

_EXPECTED = (ModelError, CorpusError, SubjectError, MeasurementError)
_UNTESTED = (TextError, LongWorkError)


class Judge:
    """The ``verdict`` fixture: judges a figure against its cell's bound and ends the test accordingly."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item

    def __call__(
        self,
        figure: Figure,
        *,
        doubts: tuple[str, ...] = (),
        caveats: tuple[str, ...] = (),
        note: str | None = None,
        absent: str = "no figure: the block adds nothing, or all values are equal",
        evidence: dict[str, Any] | None = None,
        everywhere: Everywhere | None = None,
    ) -> None:
        """Record a figure. FALSIFIED fails the test, INCONCLUSIVE and NOT APPLICABLE skip it, HOLDS and MEASURED pass.

        ``doubts`` are caveats that keep a figure from being judged; ``note`` says what it rests on, ``absent`` why there is none;
        ``evidence`` goes into the report, where it is drawn; ``everywhere``: the parts that the figure stands for.
        """
        item = self._item
        cell, measures, model = item.stash[CELL]
        lab = item.funcargs["lab"]  # type: ignore[attr-defined]
        row = judgement.judge(cell, measures, model.n_blocks, figure, doubts, caveats, note, lab, absent, everywhere)
        item.stash[ROW] = row
        under = SETTING in item.stash
        if evidence and not under:
            item.stash[EVIDENCE] = {f"{cell.model}/{cell.corpus}": {f"{cell.predicate}/{cell.rung}": _finite(evidence)}}
        if row.verdict is Verdict.FALSIFIED and not under:
            pytest.fail(row.message(), pytrace=False)
        if row.verdict in (Verdict.FALSIFIED, Verdict.INCONCLUSIVE, Verdict.NOT_APPLICABLE):
            pytest.skip(row.message())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a cell that the model cannot express before anything is loaded for it."""
    if CELL not in item.stash:
        return
    cell, measures, model = item.stash[CELL]
    if model.unavailable:
        return  # Nothing is known of it; its laboratory says so.
    if why := measures.predicate.inapplicable(model.n_blocks):
        core = measures.predicate.is_core(cell.rung, cell.block, model.n_blocks)
        row = Row(cell, Verdict.NOT_APPLICABLE, measures.predicate.unit, core, reason=why, quick=item.config.stash[LEDGER].quick)
        item.stash[ROW] = row
        pytest.skip(row.message())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the row to the report; a failure to measure becomes a row of its own, in one line when it was foreseen."""
    report = yield
    if CELL not in item.stash or call.when == "teardown":
        return report
    if SETTING in item.stash and ROW not in item.stash and report.skipped:
        return report  # Left out, since the run itself has no verdict on the cell.
    error = call.excinfo.value if call.excinfo else None
    if error is None and call.when == "call" and ROW not in item.stash:
        error = MeasurementError("the test ended without a figure")
        report.outcome = "failed"
    if error is not None and ROW not in item.stash:
        row = _failure(item, error)
        item.stash[ROW] = row
        if isinstance(error, (*_EXPECTED, *_UNTESTED)):
            report.longrepr = row.message()
        if isinstance(error, LongWorkError):  # Left out, not failed.
            report.outcome, report.longrepr = "skipped", (*item.location[:1], item.location[1] or 0, row.message())
    if isinstance(report.longrepr, tuple):
        report.longrepr = (*item.location[:1], item.location[1] or 0, report.longrepr[2])  # The claim's file, not that of the judge.
    if ROW in item.stash and (call.when == "call" or error is not None):
        carried: Any = report
        carried.claim_row = item.stash[ROW].as_json()
        describe = item.stash.get(DESCRIBE, None)
        carried.claim_facts = {**(describe() if describe else {}), "evidence": item.stash.get(EVIDENCE, {})}
        if SETTING in item.stash:
            carried.claim_setting = item.stash[SETTING].name
            if report.failed:  # What a run ends in, the base run alone decides.
                report.outcome, report.longrepr = "skipped", (*item.location[:1], item.location[1] or 0, item.stash[ROW].message())
    return report


def _failure(item: pytest.Item, error: BaseException) -> Row:
    cell, measures, model = item.stash[CELL]
    core = measures.predicate.is_core(cell.rung, cell.block, model.n_blocks)
    first = next(iter(str(error).strip().splitlines()), "")
    foreseen = isinstance(error, (*_EXPECTED, *_UNTESTED))
    reason = printable(first if foreseen else f"{type(error).__name__}: {first}")
    # Text that is too short is bad input, long work was not asked for: nothing was measured, and nothing failed.
    verdict = Verdict.UNTESTED if isinstance(error, _UNTESTED) else Verdict.ERROR
    return Row(cell, verdict, measures.predicate.unit, core, reason=reason, quick=item.config.stash[LEDGER].quick)


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str | tuple[str, dict[str, bool]]] | None:
    """Give every verdict its letter and word. Only unforeseen errors keep pytest's traceback."""
    row = getattr(report, "claim_row", None)
    if row is None:
        return None
    verdict = Verdict(row["verdict"])
    colour = {Verdict.FALSIFIED: "red", Verdict.ERROR: "red", Verdict.HOLDS: "green", Verdict.MEASURED: "green"}.get(verdict, "yellow")
    if hasattr(report, "claim_setting"):
        return "swept", verdict.letter, (verdict.word, {colour: True})
    if verdict is Verdict.ERROR and not isinstance(report.longrepr, str):
        return "failed", verdict.letter, (verdict.word, {"red": True})
    category = "not measured" if verdict is Verdict.ERROR else verdict.word.lower()
    return category, verdict.letter, (verdict.word, {colour: True})


class Recorder:
    """The main process's side: gathers rows, then writes the report, prints the table and sets the exit code."""

    def __init__(self, config: pytest.Config, file: Path, guard: Guard | None = None) -> None:
        self._config = config
        self._file, self._guard = file, guard
        self._other_failures = 0
        self._swept: set[str] = set()
        self._facts: dict[str, Any] = {}
        self._note = ""
        self._started = time.time()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Enter the row that a test report carries."""
        carried = getattr(report, "claim_row", None)
        if carried is None:
            self._other_failures += report.failed
            return
        ledger = self._config.stash[LEDGER]
        predicate = claim_of(carried["claim"]).named(carried["predicate"])
        bound = None
        if carried["bound"] is not None:
            bound = predicate.judged(carried["rung"], carried["block"], ledger.pairs[carried["model"], carried["corpus"]])
        row = Row.from_json(carried, bound)
        if (setting := getattr(report, "claim_setting", None)) is None:
            ledger.add(row)
        else:
            ledger.swept[row.cell, setting] = row
        _merge(self._facts, getattr(report, "claim_facts", {}))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note what this session set out to test."""
        self._select(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Note it from the workers, which collect in its place."""
        self._select(ids)

    def _select(self, ids: Iterable[str]) -> None:
        tests = {ident[ident.index("[") + 1 : -1] for ident in ids if "claim_" in ident and ident.endswith("]")}
        self._swept |= {ident for ident in tests if "@" in ident}
        self._config.stash[LEDGER].select(tests - self._swept)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the report, whatever ended the session, and settle the exit code."""
        ledger = self._config.stash[LEDGER]
        if not ledger.rows or session.config.option.collectonly:
            return
        ledger.swept = settled(ledger, self._swept)
        known: Facts = self._config.stash[FACTS]
        facts: Facts = {"timings": {}, **known, **self._facts}
        facts["timings"] = {**facts["timings"], "wall_seconds": round(time.time() - self._started, 1)}
        facts["environment"] = {**facts["environment"], "finished": datetime.now(UTC).isoformat(timespec="seconds")}
        self._facts = facts
        try:
            contents = report_file.contents(ledger, facts)
            report_file.write(self._file, contents)
            if self._guard:
                report_file.write(self._file, {**contents, "baseline": self._guard.compare(contents)})
            self._note = f"report: {printable(self._file)}"
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            self._note = f"report: {printable(self._file)} could not be written ({printable(why)}); the table above is all there is"
            session.exitstatus = 6
            return
        if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            code = ledger.exit_code(falsified_fails=self._config.option.verdicts == "fail" and not self._guard)
            code = self._guard.exit_code(code) if self._guard else code
            session.exitstatus = code or int(self._other_failures > 0)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the verdict table; when nothing was selected, what there is to select."""
        ledger = self._config.stash[LEDGER]
        if terminalreporter._session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            measured = ", ".join(f"{claim.marker} ({predicate.name})" for claim, predicate in all_predicates() if predicate.measured_by)
            models = ", ".join(dict.fromkeys(model for model, _ in ledger.pairs))
            terminalreporter.write_line(f"nothing is selected; measured in this version: {measured}; models at hand: {models}")
        if not self._config.option.collectonly:
            self._print_results(terminalreporter, ledger)
            reached = {setting.name for setting in ledger.settings if any(test.endswith(f"@{setting.ident}") for test in self._swept)}
            for line in idle(self._config.option.sweep, ledger.settings, reached) if ledger.selected else ():
                terminalreporter.write_line(line)
            if self._config.option.tokens is not None and not any(ident.startswith("exit_agreement-") for ident in ledger.selected):
                terminalreporter.write_line("--tokens: nothing written, no cell of exit_agreement (claim 5) is selected")

    def _print_results(self, terminalreporter: Any, ledger: Ledger) -> None:
        if not ledger.rows:
            return
        writer = terminalreporter._tw
        text = console.render(ledger, self._facts, width=max(writer.fullwidth, 100), colour=writer.hasmarkup, file=printable(self._file))
        terminalreporter.section("verdicts")
        terminalreporter.write_line(text)
        if self._guard:
            terminalreporter.section("baseline")
            for line in self._guard.lines(self._file):
                terminalreporter.write_line(line)
        terminalreporter.write_line(self._note)
        fails = self._config.option.verdicts == "fail" and not self._guard
        against = self._guard.changes() if self._guard else (None, frozenset[Cell]())
        for line in github.tell(ledger, report_file.contents(ledger, self._facts), os.environ, fails, *against):
            terminalreporter.write_line(line)


def _finite(value: Any) -> Any:
    """Put null for numbers that are not finite, at any depth: JSON has none. Others become plain numbers, which workers can send."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def _merge(into: dict[str, Any], new: dict[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = json.loads(json.dumps(value))
