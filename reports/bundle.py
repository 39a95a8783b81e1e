"""``--bundle DIR``: for every falsified cell what its figure was made of, so that anybody can compute it again (:mod:`reports.replay`).

What a test is given is noted where it is handed out (:attr:`harness.measuring.Measuring.handed`), so that nothing is forgotten, wherever it
came from. Each process writes the files of its own cells beside the bundle's place; what is said of a cell travels with its test report.
The main process puts the whole in place at the end: until then an older bundle stands, and for good when the session ended early.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from claims.verdicts import Verdict
from fixtures.naming import printable, readable_size
from harness import atomic
from harness.errors import LongWorkError, MeasurementError
from harness.laboratory import Laboratory
from harness.pair import layout_of
from reports import bundle_file, commands
from reports.document import Document
from reports.ledger import Row
from reports.plugin import CELL, FACTS, LEDGER, ROW, SETTING

Told = dict[str, Any]

_WHOLE = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
"""Ways to end in which every selected cell can have its row: a sweep that is interrupted comes after all of them."""


class Bundler:
    """A process's part in a bundle; in the main one also who puts it together."""

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        self._config, self._folder = config, folder
        self._work: Path | None = None
        self._cells: dict[str, Told] = {}
        self._facts: dict[str, Told] = {"models": {}, "corpora": {}}
        self._problem, self._note = "", ""
        if hasattr(config, "workerinput"):
            self._work = Path(config.workerinput["bundle"])
        else:
            atomic.restore_folder(folder)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker where to write."""
        node.workerinput["bundle"] = str(self._unfinished())

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Begin to note what a cell's test is given."""
        if CELL in item.stash:
            lab: Laboratory = item.funcargs["lab"]  # type: ignore[attr-defined]
            lab.handed.clear()
            lab.written.clear()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, Any]:
        """Write the files of a falsified cell, and have the report carry what is said of it."""
        report = yield
        row = item.stash.get(ROW, None)
        if call.when == "call" and row is not None and row.verdict is Verdict.FALSIFIED and SETTING not in item.stash:
            carried: Any = report
            try:
                carried.claim_bundle = _written(self._unfinished(), item.funcargs["lab"], row)  # type: ignore[attr-defined]
            except OSError as error:  # A disk that is full, say: the figure stands all the same.
                carried.claim_bundle = {"problem": printable(error.strerror)}
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in what a report carries."""
        told, row = getattr(report, "claim_bundle", None), getattr(report, "claim_row", None)
        if told is None or row is None:
            return
        self._problem = self._problem or told.get("problem", "")
        self._cells[Row.from_json(row, None).cell.ident] = {"row": row, **told}
        for kind, found in self._facts.items():
            found.update(getattr(report, "claim_facts", {}).get(kind, {}))

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Generator[None, None, None]:
        """Put the bundle in place before the report is written, which names its digest; a session that ended early replaces none."""
        if hasattr(self._config, "workerinput"):
            return (yield)
        ledger = self._config.stash[LEDGER]
        if not ledger.rows or self._config.option.collectonly:
            self._note = "not written, nothing was measured"
        elif exitstatus not in _WHOLE or ledger.selected - {cell.ident for cell in ledger.rows}:
            # What was not measured is not known to hold: what stands there may have been falsified by it.
            self._note = "not written, the session ended early; what was there stands"
        elif not self._problem:
            try:
                self._finish()
            except OSError as error:
                self._problem = printable(error.strerror)
        if self._work is not None:
            shutil.rmtree(self._work, ignore_errors=True)
        yield
        if self._problem:
            self._note = f"{printable(self._folder)} could not be written ({self._problem}); what was there stands"
            session.exitstatus = 6

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say what was written."""
        if not self._config.option.collectonly:
            terminalreporter.write_line(f"bundle: {self._note}")

    def _unfinished(self) -> Path:
        if self._work is None:
            self._work = atomic.unfinished_folder(self._folder)
        return self._work

    def _finish(self) -> None:
        """Write the manifest and replace the folder. Raises OSError."""
        facts, ledger, work = self._config.stash[FACTS], self._config.stash[LEDGER], self._unfinished()
        order = {cell.ident: place for place, cell in enumerate(ledger.cells())}
        environment = facts["environment"]
        of_run = Document("", {"environment": environment}, (), (), ledger.pairs)
        cells = []
        for _, cell in sorted(self._cells.items(), key=lambda named: order.get(named[0], len(order))):
            cells.append({"row": cell["row"], "command": commands.command_of(of_run, Row.from_json(cell["row"], None)), **cell})
        names = {name for cell in cells for name in (*cell["windows"].values(), *cell["records"].values())}
        contents = {
            "command": environment["command"],
            "code": environment["code"],
            "packages": environment["packages"],
            "bounds": facts["bounds"],
            "protocol": facts["protocol"],
            **self._facts,
            "cells": cells,
        }
        # Facts as JSON has them: the digest is of what will be read.
        digest = bundle_file.finish(work, json.loads(json.dumps(contents)), names)
        size = sum(file.stat().st_size for file in work.rglob("*") if file.is_file())
        atomic.replace_folder(work, self._folder)
        facts["bundle"] = {"folder": printable(self._folder), "sha256": digest, "cells": len(cells)}
        held = f"{len(cells)} falsified {'cell' if len(cells) == 1 else 'cells'}" if cells else "no cell is falsified, so it holds none"
        self._note = f"{printable(self._folder)}: {held}; {len(names)} files, {readable_size(size)}, SHA-256 {digest}"


def _written(folder: Path, lab: Laboratory, row: Row) -> Told:
    """Write what a test was given, and return what a bundle says of it. Raises OSError."""
    records, failures, layouts_read = {}, {}, {layout_of(row.cell.rung)}
    for name, (measurement, found) in list(lab.handed.items()):
        if isinstance(found, Exception):
            # Others end a test.
            if isinstance(found, (LongWorkError, MeasurementError)):
                failures[name] = {"kind": type(found).__name__, "text": str(found)}
            continue
        layouts_read.add(measurement.layout)
        arrays = {f"{each}/{part}": array for each, result in found.items() for part, array in result.arrays.items()}
        records[name] = bundle_file.add(folder, "records", bundle_file.entry(lab.key(measurement), arrays))
    windows = {
        layout: bundle_file.add(
            folder, "windows", bundle_file.entry({"layout": layout, "text": lab.splits.fingerprint}, lab.windows(layout))
        )
        for layout in sorted(layouts_read)
    }
    maps, tokens = lab.written.get("maps"), lab.written.get("tokens")
    return {
        "windows": windows,
        "records": records,
        "failures": failures,
        "maps": None if maps is None else {**asdict(maps), "file": str(maps.file)},
        "tokens": {"kind": "MeasurementError", "text": str(tokens)} if isinstance(tokens, Exception) else tokens,
    }
