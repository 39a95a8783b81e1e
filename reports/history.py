"""``python -m reports history``: verdicts and figures over a folder of reports."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from reports.document import ReportError
from reports.history_tables import TABLES

_VIEWS = (
    "claim_flips, cell_flips (columns of claims and rows, with the verdict and run before: before, before_run); claim_steps, cell_steps "
    "(all that judged); claim_spells, cell_spells (spells of one verdict: spell, verdict, runs, first, last)"
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _epilog()
    parser.add_argument("folder", metavar="DIR", type=Path, help="a folder; every *.json under it that is a report is read")
    parser.add_argument("--cell", metavar="GLOB", help="cells in full, by their test's id: 'r2-*-strict-block29'")
    parser.add_argument("--changed", action="store_true", help="only claims and cells whose verdict ever flipped")
    parser.add_argument("--sql", metavar="QUERY", help="run one SELECT over the tables below")
    parser.add_argument("--format", choices=("text", "csv", "json"), default="text", help="of the answer to --sql (default: text)")


def run(options: argparse.Namespace) -> int:
    """Print the history, the cells asked for, or the answer to a query."""
    from reports.history_files import reports_of

    if options.sql is None and options.format != "text":
        raise ReportError(f"--format {options.format} is for the answer to --sql QUERY")
    if options.sql is not None and (options.cell or options.changed):
        raise ReportError("--sql goes without --cell and --changed: say WHERE in the query")
    folder = reports_of(options.folder.expanduser())
    from reports.history_tables import load

    with load(folder) as database:
        if options.sql is not None:
            from reports.history_query import answer, written

            print(written(*answer(database, options.sql), options.format))
            return 0
        from reports.history_shown import cells, overview

        print(cells(database, folder, options.cell, options.changed) if options.cell else overview(database, folder, options.changed))
    return 0


def _epilog() -> str:
    lines = ["Runs are ordered by the time their report states, or else by that of the file.", "", "Tables for --sql (DuckDB):"]
    for name, (what, columns) in TABLES.items():
        names = ", ".join(column.rpartition(" ")[0] for column in columns.split(", "))
        lines += textwrap.wrap(f"{name}: {what}: {names}", 110, initial_indent="  ", subsequent_indent="    ")
    lines += textwrap.wrap(f"views: {_VIEWS}", 110, initial_indent="  ", subsequent_indent="    ")
    lines += ["", '  python -m reports history runs --sql "SELECT finished, value FROM rows JOIN runs USING (run, model, corpus)']
    lines += ["      WHERE predicate = 'depth_trend' AND rung = 'strict' ORDER BY run\" --format csv"]
    return "\n".join(lines)
