"""Which declared predicates have no test any more: one that was deleted or renamed must not pass for one that was not selected."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from claims import CLAIMS
from claims.declared import all_predicates
from reports.ledger import Ledger

_OUTPUT = "claims_tests"
_NARROWING = ("ignore", "ignore_glob", "lf")
"""Options by which pytest leaves tests out while it collects; -k, -m and --deselect come after."""


class TestsFound:
    """Compares the tests that were collected, before any is deselected, with the predicates of the claims that were collected whole."""

    __test__ = False

    def __init__(self, config: pytest.Config, folder: Path, ledger: Ledger) -> None:
        self._config, self._ledger = config, ledger
        self._sought = sought(config, folder)
        self._found: set[tuple[str, str]] = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note what there is; a worker, which collects in the main process's place, sends it there."""
        found = {pair for item in items for pair in _tested_by(item)}
        output: dict[str, Any] | None = getattr(self._config, "workeroutput", None)
        if output is None:
            self._settle(found)
        else:
            output[_OUTPUT] = sorted(map(list, found))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Note what a worker collected. One that crashed says nothing."""
        output = getattr(node, "workeroutput", None) or {}
        if _OUTPUT in output:
            self._settle((name, rung) for name, rung in output[_OUTPUT])

    def _settle(self, found: Iterable[tuple[str, str]]) -> None:
        self._found |= set(found)
        declared = {(p.name, rung) for claim, p in all_predicates() if claim.key in self._sought for rung in p.rungs}
        self._ledger.untested = declared - self._found


def sought(config: pytest.Config, folder: Path) -> set[int | str]:
    """Return the claims of which every test is to be collected: their files, or the folder of them, are given whole."""
    if any(getattr(config.option, name, None) for name in _NARROWING):
        return set()
    keys: set[int | str] = set()
    for argument in (given for given in config.args if "::" not in given):
        path = (config.invocation_params.dir / argument).resolve()
        if path == folder or path in folder.parents:
            keys |= {claim.key for claim in CLAIMS}
        keys |= {claim.key for claim in CLAIMS if path.parent == folder and path.name.startswith(f"claim_{claim.key}_")}
    return keys


def _tested_by(item: pytest.Item) -> Iterable[tuple[str, str]]:
    measures = getattr(getattr(item, "function", None), "measures", None)
    return () if measures is None else [(measures.predicate.name, rung) for rung in measures.rungs]
