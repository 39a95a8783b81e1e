"""With xdist: one report, every model loaded once in all, and the same decisions in every process.

A model's cells go to one worker, whatever ``--dist`` says: a model costs gigabytes and minutes to load, a cell nothing.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from claims.verdicts import Verdict
from fixtures import wikitext
from fixtures.hub_trouble import unreachable
from fixtures.naming import readable_size
from fixtures.sources import Hub
from reports.ledger import Ledger
from reports.plugin import LEDGER
from reports.subjects import Subjects
from reports.telling import teller
from reports.unreached import without_outcome


class ByModel(LoadScopeScheduling):  # type: ignore[misc]
    """Hand all cells of a model to one worker, in the order in which they were collected."""

    def __init__(self, config: pytest.Config, log: Any, ledger: Ledger) -> None:
        super().__init__(config, log)
        self._model = {cell.ident: cell.model for cell in ledger.cells()}

    def _split_scope(self, nodeid: str) -> str:
        ident = nodeid.partition("[")[2].removesuffix("]").partition("@")[0]  # Settings of a model's cells stay with them.
        return self._model.get(ident) or str(super()._split_scope(nodeid))

    def remove_node(self, node: Any) -> str | None:
        """Take a dead worker's cells back but for the one it died of, which would kill the next worker too; return that."""
        units = list(self.assigned_work[node].values())
        died = next(((unit, ident) for unit in units for ident, done in unit.items() if not done), None)
        if died is not None:
            died[0][died[1]] = True
        super().remove_node(node)
        return died and died[1]


class Workers:
    """The main process's side of a run with workers."""

    def __init__(self, config: pytest.Config, subjects: Subjects) -> None:
        self._config, self._subjects, self._told = config, subjects, False

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker what was settled here."""
        node.workerinput["claims"] = self._subjects.for_workers()

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> ByModel:
        """Schedule by model."""
        return ByModel(config, log, config.stash[LEDGER])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Say what will be downloaded: a worker has no terminal."""
        if self._told:
            return
        self._told = True
        if any(corpus.name == "wikitext-2" for corpus, _ in self._subjects.corpora) and not wikitext.cached() and not wikitext.trouble():
            teller(self._config)(
                f"wikitext-2 is not in the cache and will be downloaded from the hub, about {readable_size(wikitext.SIZE)}"
            )
        selected = {ident.partition("[")[2].removesuffix("]") for ident in ids}
        asked = {cell.model for cell in self._config.stash[LEDGER].cells() if cell.ident in selected}
        for model in self._subjects.models:
            if model.name not in asked or model.unavailable or not isinstance(model.source, Hub) or unreachable():
                continue
            if not model.source.cached():
                size = f", about {readable_size(model.source.size)}" if model.source.size else ""
                teller(self._config)(f"{model.name} is not in the cache and will be downloaded from the hub{size}")

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: Any) -> None:
        """Enter a cell under a setting as ERROR where its worker died: what a run ends in, its own cells alone decide."""
        ledger = self._config.stash[LEDGER]
        ident, _, changed = crashitem.partition("[")[2].removesuffix("]").rpartition("@")
        cell = next((cell for cell in ledger.cells() if cell.ident == ident), None)
        setting = next((setting for setting in ledger.settings if setting.ident == changed), None)
        if cell is not None and setting is not None:
            row = without_outcome(ledger, cell, Verdict.ERROR, "the worker died")
            report.claim_row, report.claim_setting = row.as_json(), setting.name
            report.outcome, report.longrepr = "skipped", (crashitem.partition("::")[0], 0, row.message())
