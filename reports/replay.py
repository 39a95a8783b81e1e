"""``python -m reports replay``: compute the falsified figures of a bundle again, on any machine, without model, text, torch or network.

A claim's own test is given what it was given when the bundle was made, and its figure is judged as it was judged. So everything is done
anew from the sums and errors of single groups and windows on: figure, jackknife, interval, doubts, verdict. What is not done anew is what
those rest on, the passes through the model; a bundle holds the command that does that, for every cell.

That files are as they were written is checked first, by the SHA-256 of each and the digest over all. Who alters a bundle can make both fit:
then a row that was altered is found because its figure comes out otherwise, and numbers that were altered along with their row because the
digest is not the one that was published (``--digest``, ``--report``).
"""

from __future__ import annotations

import argparse
import inspect
import json
import math
import re
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claims import lock
from claims.claim import Measures
from fixtures.naming import printable
from harness.replayed import NotKeptError
from reports import bundle_file, document
from reports.document import ReportError
from reports.ledger import Cell, Row, claim_of, figure_text
from reports.provenance import of_code

if TYPE_CHECKING:
    from reports.bundle_schema import BundlePart, CellPart

_SAME = 1e-12
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIGURE = ("value", "low", "high")
_NUMBERS = (*_FIGURE, "level", "margin", "standard_error")
_CLAIMS = Path(__file__).parent.parent / "claims"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.add_argument("bundle", metavar="DIR", help="a folder as 'pytest claims --bundle DIR' writes it")
    parser.add_argument("--digest", metavar="SHA256", help="the bundle's digest as you know it from elsewhere; another bundle is refused")
    parser.add_argument("--report", metavar="REPORT", help="the report of the same run: its digest and its rows must be the bundle's")


def run(options: argparse.Namespace) -> int:
    """Compute every cell again: 0 when all are as reported, 1 when one is not or cannot be computed by this version."""
    folder = Path(options.bundle)
    bundle = bundle_file.read(folder)
    vouched = _vouched(bundle, options.digest, options.report)
    print(f"{printable(folder)}: {_count(len(bundle.cells))}, SHA-256 {bundle.sha256}{vouched}")
    print("; ".join(_changed(bundle)) or "code and bounds are those of the run")
    same = 0
    for cell in bundle.cells:
        outcome, told = _outcome(folder, bundle, cell)
        same += outcome == "same"
        print(f"{outcome:<8} {told}")
    if not bundle.cells:
        print("no cell of that run was falsified, so there is nothing to compute")
        return 0
    print(f"{same} of {len(bundle.cells)} come out as reported; computed from what was summed over groups and windows, no model was run")
    return int(same < len(bundle.cells))


def _count(cells: int) -> str:
    return f"{cells} falsified {'cell' if cells == 1 else 'cells'}"


def _vouched(bundle: BundlePart, digest: str | None, report: str | None) -> str:
    """Hold a bundle against what is known of it from elsewhere, and say what that was. Raises ReportError."""
    if digest is not None:
        if not _SHA256.fullmatch(digest.strip().lower()):
            raise ReportError(f"--digest {printable(digest)}: expected a SHA-256, 64 hexadecimal digits")
        if digest.strip().lower() != bundle.sha256:
            raise ReportError(f"another bundle: its digest is {bundle.sha256}, and --digest gives {digest.strip().lower()}")
    if report is not None:
        _check_report(bundle, document.read(report))
    known = [name for name, given in (("--digest", digest), ("--report", report)) if given is not None]
    return f", as {' and '.join(known)} has it" if known else "; compare it with a published one (--digest, --report)"


def _check_report(bundle: BundlePart, report: document.Document) -> None:
    """Raise ReportError unless a report names this bundle, and has just its rows."""
    named = report.contents.get("bundle")
    if not isinstance(named, dict) or "sha256" not in named:
        raise ReportError(f"{report.name}: names no bundle; expected the report of the run that wrote it")
    if named["sha256"] != bundle.sha256:
        raise ReportError(f"another bundle: its digest is {bundle.sha256}, and {report.name} names {printable(named['sha256'])}")
    falsified = {row.cell: _as_json(row) for row in report.rows if str(row.verdict) == "falsified"}
    mine = {_cell(cell): cell.row.model_dump(mode="json") for cell in bundle.cells}
    for cell in {**falsified, **mine}:
        if falsified.get(cell) != mine.get(cell):
            raise ReportError(f"{report.name} and the bundle say different things of {printable(cell.ident)}; one of them was altered")


def _changed(bundle: BundlePart) -> list[str]:
    """Say in what this code differs from the code that made the bundle."""
    code, bounds, changed = of_code(), lock.bounds_hash(), []
    if bundle.code.get("sha256") != code["sha256"]:
        here, there = (f"{c.get('version')} ({str(c.get('sha256'))[:8]})" for c in (code, bundle.code))
        changed.append(f"this code is {here}, and the run's was {there}")
    if bundle.bounds.sha256 != bounds:
        changed.append(f"these bounds are {bounds[:8]}, and the run's were {bundle.bounds.sha256[:8]}")
    return [printable(line) for line in changed]


def _outcome(folder: Path, bundle: BundlePart, cell: CellPart) -> tuple[str, str]:
    """Compute a cell again: ``same``, ``differs`` or ``refused``, and what is said of it."""
    stated = cell.row.model_fields_set  # A row of an older version has fewer fields; the figure is not held against those.
    reported = {name: value for name, value in cell.row.model_dump(mode="json").items() if name in stated}
    place = printable(f"{reported['claim']} · {reported['predicate']}")
    try:
        place = printable(f"{claim_of(reported['claim']).label} · {reported['predicate']} · {_cell(cell).place()}")
        with warnings.catch_warnings():  # They were shown when it was measured.
            warnings.simplefilter("ignore")
            row = _computed(folder, bundle, cell)
    except Exception as error:  # Whatever a crafted file makes a test stumble over, it is not a figure.
        why = str(error) if isinstance(error, (NotKeptError, ReportError)) else f"cannot be computed ({type(error).__name__}: {error})"
        return "refused", f"{place}: {printable(why)}"
    figure = f"{place}: {row.verdict.word} {figure_text(row)}"
    wrong, most = _differences(reported, _as_json(row))
    if wrong:
        return "differs", f"{figure}; {'; '.join(wrong)}"
    return "same", figure + (f"; to {most:.0e} of the figure" if most else "")


def _computed(folder: Path, bundle: BundlePart, part: CellPart) -> Row:
    """Run the claim's own test on what it was given. Raises what it raises, and ReportError or NotKeptError where it cannot be run."""
    from reports.judgement import judge
    from reports.replayed_cell import laboratory_of

    cell, rows = _cell(part), list[Row]()
    test = _test(cell)
    measures: Measures = test.measures  # type: ignore[attr-defined]
    lab = laboratory_of(folder, bundle, part)

    def verdict(figure: Any, *, doubts: Any = (), caveats: Any = (), note: Any = None, evidence: Any = None, **rest: Any) -> None:
        rows.append(judge(cell, measures, lab.model.n_blocks, figure, doubts, caveats, note, lab, **rest))

    given = {"block": cell.block, "rung": cell.rung, "lab": lab, "verdict": verdict}
    test(**{name: given[name] for name in inspect.signature(test).parameters})
    if not rows:
        raise ReportError("the test ended without a figure")
    return rows[0]


def _test(cell: Cell) -> Callable[..., None]:
    """Return the test of a cell. Raises ReportError when this version has none."""
    for file in sorted(_CLAIMS.glob("claim_*.py")):
        for test in vars(import_module(f"claims.{file.stem}")).values():
            if isinstance(measures := getattr(test, "measures", None), Measures):
                claim, predicate = measures.claim, measures.predicate
                each = predicate.blocks is not None
                if (claim.key, predicate.name, each) == (
                    cell.claim,
                    cell.predicate,
                    cell.block is not None,
                ) and cell.rung in measures.rungs:
                    return test  # type: ignore[no-any-return]
    raise ReportError("this version has no such cell")


def _cell(part: CellPart) -> Cell:
    return Cell(**{name: getattr(part.row, name) for name in Cell.__dataclass_fields__})


def _as_json(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(row.as_json()))
    return found


def _differences(reported: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[list[str], float]:
    """Return what differs beyond rounding, and by how much of the figure the numbers differ at most otherwise.

    Fields that are reported are compared, and no others. A standard error of ln(value − origin) is off by as much as the rounding of
    the value moves that logarithm.
    """
    wrong, most = [], 0.0
    figure = max((abs(found[name]) for name in _FIGURE if found[name] is not None), default=0.0)
    for name, was in reported.items():
        now = found.get(name)
        if name in _NUMBERS and isinstance(was, (int, float)) and isinstance(now, (int, float)):
            scale = abs(now) if name == "level" else figure
            if name == "standard_error" and found["origin"] is not None and found["value"] != found["origin"]:
                scale = max(abs(now), figure / abs(found["value"] - found["origin"]))
            away = 0.0 if was == now else abs(was - now) / scale if scale else math.inf
            if away <= _SAME:
                most = max(most, away)
                continue
        elif was == now:
            continue
        wrong.append(f"{printable(name)} was reported as {printable(json.dumps(was, ensure_ascii=False))}, and is {printable(now)}")
    return wrong, most
