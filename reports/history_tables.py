"""The rows of many reports as tables of an in-memory DuckDB, which can read nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fixtures.naming import without_digest
from reports.history_files import Folder
from reports.ledger import UNRUN, Row
from reports.setups import setup_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TABLES = {
    "runs": (
        "one line for each report, model and text, by time",
        "run INTEGER, finished TIMESTAMP, time_from VARCHAR, file VARCHAR, model VARCHAR, model_with_digest VARCHAR, corpus VARCHAR, "
        "corpus_with_digest VARCHAR, n_blocks INTEGER, weights VARCHAR, text VARCHAR, "
        "code VARCHAR, version VARCHAR, bounds VARCHAR, quick BOOLEAN",
    ),
    "rows": (
        "one line for each cell that ran",
        "run INTEGER, model VARCHAR, corpus VARCHAR, claim VARCHAR, predicate VARCHAR, rung VARCHAR, block INTEGER, cell VARCHAR, "
        "ident VARCHAR, position INTEGER, verdict VARCHAR, value DOUBLE, low DOUBLE, high DOUBLE, level DOUBLE, standard_error DOUBLE, "
        "origin DOUBLE, unit VARCHAR, core BOOLEAN, margin DOUBLE, bound VARCHAR, quick BOOLEAN, reason VARCHAR",
    ),
    "claims": (
        "one line for each claim and judged rung",
        "run INTEGER, model VARCHAR, corpus VARCHAR, claim VARCHAR, rung VARCHAR, verdict VARCHAR, decided_by VARCHAR[]",
    ),
    "setups": ("what each was measured with", "run INTEGER, model VARCHAR, corpus VARCHAR, what VARCHAR, value VARCHAR"),
}
"""Name → what it holds, and its columns."""

_JUDGED = "verdict IN ('holds', 'falsified', 'inconclusive', 'not_applicable')"
_STEPS = """
CREATE VIEW {name}_steps AS
SELECT *, lag(verdict) OVER w AS before, lag(run) OVER w AS before_run
FROM {table} WHERE {judged} WINDOW w AS (PARTITION BY {key} ORDER BY run);
CREATE VIEW {name}_flips AS SELECT * FROM {name}_steps WHERE verdict <> before;
CREATE VIEW {name}_spells AS
SELECT {key}, spell, any_value(verdict) AS verdict, count(*) AS runs, min(run) AS first, max(run) AS last
FROM (SELECT *, sum((before IS DISTINCT FROM verdict)::INTEGER) OVER (PARTITION BY {key} ORDER BY run) AS spell FROM {name}_steps)
GROUP BY {key}, spell;
"""
# The first closes Python's variables to queries too.
_NO_FILES = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}


def load(folder: Folder) -> DuckDBPyConnection:
    """Return a database of the reports: the tables of :data:`TABLES`, and views of steps, flips and spells of verdicts.

    ``claim_steps`` and ``cell_steps`` are the judged lines with the verdict and the run before; ``…_flips`` those whose verdict differs
    from it; ``…_spells`` runs of one verdict. A run that did not judge (UNTESTED, ERROR, or MEASURED as at quarter sizes) is no
    step. The
    database is closed to files, extensions and Python's variables.
    """
    import duckdb

    database = duckdb.connect(config=_NO_FILES)
    lines = _lines(folder)
    for name, (_, columns) in TABLES.items():
        database.execute(f"CREATE TABLE {name} ({columns})")
        types = [column.rpartition(" ")[2] for column in columns.split(", ")]
        # One list a column: a line at a time takes a hundred times as long.
        values = [list(column) for column in zip(*lines[name], strict=True)] or [[] for _ in types]
        database.execute(f"INSERT INTO {name} SELECT {', '.join(f'unnest(?::{kind}[])' for kind in types)}", values)
    for name, table, key in (("claim", "claims", "model, corpus, claim, rung"), ("cell", "rows", "model, corpus, cell")):
        database.execute(_STEPS.format(name=name, table=table, key=key, judged=_JUDGED))
    database.execute("SET lock_configuration = true")
    return database


def _lines(folder: Folder) -> dict[str, list[tuple[Any, ...]]]:
    """Return the lines of every table; runs are numbered from 1 in the order of time."""
    lines: dict[str, list[tuple[Any, ...]]] = {name: [] for name in TABLES}
    for run, found in enumerate(folder.reports, 1):
        document, finished = found.document, found.finished.replace(tzinfo=None)
        names = _names(model for model, _ in document.pairs)
        texts = _names(corpus for _, corpus in document.pairs)
        for (model, corpus), n_blocks in document.pairs.items():
            here, setup = (run, names[model], texts[corpus]), setup_of(document, model, corpus)
            quick = any(row.quick for row in document.of(model, corpus))
            stated = [setup.get(what) for what in ("weights", "text", "code", "version", "bounds")]
            made = (finished, "report" if found.stated else "file", document.name)
            lines["runs"].append((run, *made, names[model], model, texts[corpus], corpus, n_blocks, *stated, quick))
            lines["setups"] += [(*here, what, value) for what, value in setup.items()]
        for position, row in enumerate(document.rows):
            if str(row.verdict) != "untested" or row.reason not in UNRUN:
                lines["rows"].append((run, *_row(row, names[row.cell.model], texts[row.cell.corpus], position)))
        lines["claims"] += [
            (run, names.get(c.model, c.model), texts.get(c.corpus, c.corpus), str(c.claim), c.rung, str(c.verdict), list(c.decided_by))
            for c in document.claims
        ]
    return lines


def _row(row: Row, model: str, corpus: str, position: int) -> tuple[Any, ...]:
    cell = row.cell
    series = f"{cell.predicate}-{model}-{corpus}-{cell.rung}" + ("" if cell.block is None else f"-block{cell.block}")
    where = (model, corpus, str(cell.claim), cell.predicate, cell.rung, cell.block, series, cell.ident, position)
    figures = (row.value, row.low, row.high, row.level, row.standard_error, row.origin, row.unit, row.core, row.margin)
    return (*where, str(row.verdict), *figures, row.bound.short() if row.bound else None, row.quick, row.reason)


def _names(names: Iterable[str]) -> dict[str, str]:
    """Return the names under which models, or texts, are followed: without the digest of files, unless two of a report would share one."""
    whole = dict.fromkeys(names)
    count = Counter(without_digest(name) for name in whole)
    return {name: without_digest(name) if count[without_digest(name)] == 1 else name for name in whole}
