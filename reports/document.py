"""A report file, read back: rows and verdicts as it has them, with its own bounds. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claims import Bound, Verdict
from fixtures.naming import printable
from harness.settings import Setting
from reports.digest import NAME, fits
from reports.ledger import SCHEMA, Cell, ClaimVerdict, Ledger, Row

if TYPE_CHECKING:
    from reports.schema import ReportPart


class ReportError(ValueError):
    """What was given cannot be used; says in one line what it is, what was expected and what to do."""


@dataclass(frozen=True)
class Document:
    """One report. ``contents`` is the file as parsed; ``pairs``: (model, corpus) → number of blocks, in the file's order.

    ``settings`` were changed around the run one at a time; ``swept``: by cell and the setting's name, what a cell is under it.
    """

    name: str
    contents: Mapping[str, Any]
    rows: tuple[Row, ...]
    claims: tuple[ClaimVerdict, ...]
    pairs: Mapping[tuple[str, str], int]
    settings: tuple[Setting, ...] = ()
    swept: Mapping[tuple[Cell, str], Row] = field(default_factory=dict)

    def of(self, model: str, corpus: str) -> list[Row]:
        """Return the rows of a model on a text."""
        return [row for row in self.rows if (row.cell.model, row.cell.corpus) == (model, corpus)]

    def evidence(self, model: str, corpus: str) -> Mapping[str, Any]:
        """Return what tests handed over for a model on a text, by ``predicate/rung``."""
        found = self.contents.get("evidence", {}).get(f"{model}/{corpus}")
        return found if isinstance(found, dict) else {}

    def ledger(self) -> Ledger:
        """Return the ledger that the report was written from, for what renders ledgers."""
        ledger = Ledger(dict(self.pairs), quick=any(row.quick for row in self.rows), settings=self.settings, swept=dict(self.swept))
        for row in self.rows:
            ledger.add(row)
        return ledger


def read(file: str | Path) -> Document:
    """Read a report file. Raises ReportError when it is not there, is no report, contradicts itself, or is not what was written.

    A file without a digest is read as it is: reports of before had none, and kept reports are made to be read in a diff.
    """
    name = printable(file)
    try:
        data = Path(file).expanduser().read_bytes()
    except (OSError, ValueError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ReportError(
            f"{name}: cannot be read ({printable(why)}); expected a report as 'pytest claims --report FILE' writes it"
        ) from None
    try:
        contents = json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ReportError(f"{name}: not JSON ({printable(error)}); expected a report as 'pytest claims --report FILE' writes it") from None
    if isinstance(contents, dict) and not fits(contents):
        raise ReportError(
            f"{name}: altered or damaged since it was written: its digest is not that of its contents; take it from where it was written, "
            f"or remove '{NAME}' from it if it was changed on purpose"
        )
    return from_contents(name, contents)


def from_contents(name: str, contents: Any) -> Document:
    """Make a document of a parsed file. Raises ReportError when it is no report of a format that this version knows."""
    from pydantic import ValidationError

    from reports.schema import ReportPart

    if not isinstance(contents, dict) or not {"schema", "rows", "claims"} <= set(contents):
        raise ReportError(f"{name}: JSON, but no report; expected a file as 'pytest claims --report FILE' writes it")
    if contents["schema"] != SCHEMA:
        raise ReportError(
            f"{name}: format {printable(contents['schema'])}, and this version reads format {SCHEMA}; use the version that wrote it"
        )
    try:
        checked = ReportPart.model_validate_json(json.dumps(contents))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ReportError(f"{name}: not a report as this version writes it: {printable(where)}: {printable(first['msg'])}") from None
    rows = tuple(_row(row.model_dump()) for row in checked.rows)
    claims = tuple(ClaimVerdict(c.model, c.corpus, c.rung, c.claim, Verdict(c.verdict), c.decided_by) for c in checked.claims)
    cells = [row.cell for row in rows]
    if len(set(cells)) < len(cells):
        twice = next(cell for cell in cells if cells.count(cell) > 1)
        raise ReportError(f"{name}: two rows of one cell, {printable(twice.ident)}; a report has one of each")
    pairs: dict[tuple[str, str], int] = {}
    for cell in cells:
        pair, of_model = (cell.model, cell.corpus), checked.models.get(cell.model)
        most = of_model.n_blocks if of_model else max(pairs.get(pair, 1), (cell.block or 0) + 1)
        if cell.block is not None and cell.block >= most:
            raise ReportError(f"{name}: {printable(cell.ident)}: the model has {most} blocks")
        pairs[pair] = most
    return Document(name, contents, rows, claims, pairs, *_sweep(name, checked, set(cells)))


def _sweep(name: str, checked: ReportPart, cells: set[Cell]) -> tuple[tuple[Setting, ...], dict[tuple[Cell, str], Row]]:
    """Return the settings of a sweep and its rows. Raises ReportError for rows that are none of the report's, or twice there."""
    if checked.sweep is None:
        return (), {}
    swept: dict[tuple[Cell, str], Row] = {}
    for part in checked.sweep.rows:
        row = _row({k: v for k, v in part.model_dump().items() if k != "setting"})
        place, ident = (row.cell, part.setting), f"{printable(row.cell.ident)} under {printable(part.setting)}"
        if row.cell not in cells:
            raise ReportError(f"{name}: {ident}: the report has no such row without the setting")
        if place in swept:
            raise ReportError(f"{name}: two rows of {ident}; a report has one of each")
        swept[place] = row
    return tuple(Setting(part.name, part.axis, part.about) for part in checked.sweep.settings), swept


def _row(row: dict[str, Any]) -> Row:
    """A row with the bound that the file has, which may not be this version's."""
    bound = None
    if row["bound"] is not None:
        bound = Bound(**{name: row["bound"][name] for name in Bound.__dataclass_fields__})
    return Row.from_json({**dict.fromkeys(Row.__dataclass_fields__), **row}, bound)


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is not a number of JSON")
