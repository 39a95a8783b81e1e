"""In a workflow of GitHub Actions: a summary of the step, and annotations at the tests of the claims.

``GITHUB_STEP_SUMMARY`` names a file that Markdown is added to; where ``GITHUB_ACTIONS`` is ``true``, lines such as
``::error file=…,line=…::message`` on standard output become annotations. Both are defined by GitHub's documentation of workflow commands.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from claims import Verdict
from fixtures.naming import printable
from reports.document import ReportError, from_contents
from reports.ledger import UNRUN, Cell, ClaimVerdict, Ledger, Row
from reports.pull_request import Change, summary

SUMMARY_LIMIT = 1 << 20
"""Bytes that GitHub shows of a step's summary."""
_MOST = 10
"""Annotations of a kind that GitHub shows of a step."""
_LONGEST = 1000
_ROOT = Path(__file__).parent.parent
_KINDS = {"error": "errors", "warning": "warnings"}


def tell(
    ledger: Ledger,
    contents: Mapping[str, Any],
    environment: Mapping[str, str],
    falsified_fails: bool,
    changes: Sequence[Change] | None = None,
    flipped: frozenset[Cell] = frozenset(),
) -> Iterator[str]:
    """Write the step's summary where a file is named, and yield lines to print: annotations in a workflow, and what went wrong.

    ``contents``: the report; ``environment``: the variables of the process; ``changes`` and ``flipped``: against a baseline, where there
    is one. Never raises: a run does not fail by what it tells of itself.
    """
    if file := environment.get("GITHUB_STEP_SUMMARY"):
        try:
            document = from_contents("report.json", dict(contents))
            _add(Path(file), summary([document], SUMMARY_LIMIT - _room_taken(Path(file)), changes))
        except (OSError, ValueError, ReportError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or error
            yield f"GITHUB_STEP_SUMMARY {printable(file)}: no summary written ({printable(why)})"
    if environment.get("GITHUB_ACTIONS") == "true":
        yield from annotated(ledger, environment, falsified_fails, flipped)


def annotated(
    ledger: Ledger, environment: Mapping[str, str], falsified_fails: bool, flipped: frozenset[Cell] = frozenset()
) -> Iterator[str]:
    """Yield a line for every cell to be noticed, or reason why cells failed, at most ten of a kind, and a notice that counts verdicts.

    Errors: ERROR cells, bad input, FALSIFIED cells where they fail the run, and cells that flipped against a baseline. Warnings: core
    cells that are INCONCLUSIVE, and FALSIFIED ones where they do not fail it.
    """
    rows = ledger.complete()
    kinds: dict[str, list[tuple[str, Row]]] = {kind: [] for kind in _KINDS}
    for row, alike in _groups(rows):
        if kind := "error" if row.cell in flipped else _kind(row, falsified_fails):
            others = f", and {alike - 1} more cells for the same reason" if alike > 1 else ""
            others += "; another verdict than the baseline's" if row.cell in flipped else ""
            why = f" ({row.reason})" if row.verdict is Verdict.FALSIFIED and row.reason else ""
            kinds[kind].append((f"{row.message()}{why}{others}", row))
    for kind, found in kinds.items():
        shown = found if len(found) <= _MOST else found[: _MOST - 1]
        for message, row in shown:
            file, line = place_of(row, environment)
            yield command(kind, message, file=file, line=str(line or ""), title=f"{row.cell.predicate} {row.verdict.word}")
        if rest := found[len(shown) :]:
            yield command(kind, f"and {len(rest)} more; the table above and report.json have all", title=f"{len(rest)} more {_KINDS[kind]}")
    yield command("notice", _counts(rows, ledger), title="Transformer Assay")


def command(kind: str, message: str, **properties: str) -> str:
    """Write a workflow command on one line; nothing in its parts can begin another or leave its place."""
    given = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    return f"::{kind}{f' {given}' if given else ''}::{_data(message[:_LONGEST])}"


def place_of(row: Row, environment: Mapping[str, str]) -> tuple[str, int]:
    """Return the file and line of the test of a row's predicate, relative to the workspace where it lies there; ``("", 0)`` without one."""
    file, line = _tests().get((str(row.cell.claim), row.cell.predicate), ("", 0))
    if not file:
        return "", 0
    workspace = Path(environment.get("GITHUB_WORKSPACE") or _ROOT)
    path = _ROOT / file
    return (path.relative_to(workspace).as_posix() if path.is_relative_to(workspace) else path.as_posix()), line


@cache
def _tests() -> dict[tuple[str, str], tuple[str, int]]:
    """Return where the test of each predicate stands, read from ``@CLAIM.predicate("name")`` in the files of claims."""
    found: dict[tuple[str, str], tuple[str, int]] = {}
    for file in sorted((_ROOT / "claims").glob("claim_*.py")):
        key = file.stem.split("_")[1]
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                for named in (d.args[0] for d in node.decorator_list if isinstance(d, ast.Call) and d.args):
                    if isinstance(named, ast.Constant):
                        found.setdefault((key, str(named.value)), (file.relative_to(_ROOT).as_posix(), node.lineno))
    return found


def _groups(rows: list[Row]) -> Iterator[tuple[Row, int]]:
    """Yield rows, with how many are like them: what failed for one reason, of a model on a text, as its first."""
    failed: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        alone = row.verdict not in (Verdict.ERROR, Verdict.UNTESTED)
        cell = row.cell
        key = (cell.ident, str(cell.claim)) if alone else (cell.model, cell.corpus, row.verdict, row.reason or "")
        failed.setdefault(key, []).append(row)
    yield from ((alike[0], len(alike)) for alike in failed.values())


def _kind(row: Row, falsified_fails: bool) -> str:
    if row.verdict is Verdict.ERROR or (row.verdict is Verdict.UNTESTED and row.reason not in UNRUN):
        return "error"
    if row.verdict is Verdict.FALSIFIED:
        return "error" if falsified_fails else "warning"
    return "warning" if row.core and row.verdict is Verdict.INCONCLUSIVE else ""


def _counts(rows: list[Row], ledger: Ledger) -> str:
    counts = {verdict: sum(row.verdict is verdict for row in rows) for verdict in Verdict}
    told = ", ".join(f"{count} {verdict.word}" for verdict, count in counts.items() if count)
    claims = ", ".join(f"claim {c.claim} {c.verdict.word}" for c in _strict(rows, ledger))
    return f"{len(rows)} cells: {told}" + (f"; on strict: {claims}" if claims else "")


def _strict(rows: list[Row], ledger: Ledger) -> list[ClaimVerdict]:
    """Return the verdicts on claims on ``strict``, of one model on one text; of several a line would not hold them."""
    if len(ledger.pairs) != 1:
        return []
    return [c for c in ledger.claims(rows) if c.rung == "strict" and c.verdict not in (Verdict.MEASURED, Verdict.UNTESTED)]


def _data(text: str) -> str:
    return printable(text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _room_taken(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _add(file: Path, text: str) -> None:
    """Add text to a plain file; what is none (a folder, a pipe that nobody reads) is refused."""
    if file.exists() and not file.is_file():
        raise OSError(0, "it is not a plain file")
    if not text:
        raise OSError(0, "it is full")
    before = "\n" if _room_taken(file) else ""
    with file.open("a", encoding="utf-8") as stream:
        stream.write(before + text)
