"""A query over the reports of a folder, and its answer as a table, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fixtures.naming import printable
from reports.document import ReportError
from reports.text_table import aligned

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def answer(database: DuckDBPyConnection, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the names of the columns and the lines of one SELECT. Raises ReportError for anything else, and for what DuckDB refuses."""
    import duckdb

    if any("\ud800" <= c <= "\udfff" for c in query):
        raise ReportError(f"--sql: {printable(query)} is not text in UTF-8")
    try:
        statements = database.extract_statements(query)
        if len(statements) != 1 or statements[0].type not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
            raise ReportError("--sql takes one SELECT; the tables and their columns are in 'python -m reports history --help'")
        result = database.execute(statements[0])
        return [column[0] for column in result.description or ()], result.fetchall()
    except duckdb.Error as error:
        # The first line says what is wrong; DuckDB adds the query and a caret below it, and at times a hint.
        said = [line for line in str(error).splitlines() if line.strip()]
        hint = f" ({said[1]})" if len(said) > 1 and said[1].startswith(("Did you mean", "Candidate")) else ""
        raise ReportError(f"--sql: {printable(said[0] if said else error)}{printable(hint)}") from None


def written(names: Sequence[str], lines: Sequence[Sequence[Any]], form: str) -> str:
    """Write an answer as ``text``, ``csv`` (RFC 4180 with plain line ends) or ``json`` (a list of objects)."""
    if form == "json":
        return json.dumps([dict(zip(names, map(_plain, line), strict=True)) for line in lines], indent=1, ensure_ascii=False)
    if form == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([[_field(value) for value in line] for line in lines])
        return text.getvalue().rstrip("\n")
    cells = [[_told(value) for value in line] for line in lines]
    numeric = {i for i in range(len(names)) if any(isinstance(line[i], int | float) for line in lines)}
    table = aligned([[printable(name) for name in names], *cells], numeric)
    return "\n".join([*table, f"({len(lines)} line{'s'[: len(lines) != 1]})"])


def _plain(value: Any) -> Any:
    """A value as JSON has it: lists stay lists, and what JSON does not know becomes text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def _field(value: Any) -> Any:
    """A value as CSV has it: nothing for NULL, JSON for what has parts."""
    plain = _plain(value)
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, list | dict) else "" if plain is None else plain


def _told(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else printable(value)
