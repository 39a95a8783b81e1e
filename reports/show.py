"""``python -m reports show``: the tables that a run printed, from its report file."""

from __future__ import annotations

import argparse
import shutil
import sys

from reports.document import read


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.add_argument("reports", nargs="+", metavar="REPORT", help="a report file, as 'pytest claims --report FILE' writes it")
    parser.add_argument("--colour", choices=("auto", "always", "never"), default="auto", help="colours (default: auto, on a terminal)")


def run(options: argparse.Namespace) -> int:
    """Print every report."""
    from reports.console import render

    documents = [read(file) for file in options.reports]
    colour = options.colour == "always" or (options.colour == "auto" and sys.stdout.isatty())
    for document in documents:
        if len(documents) > 1:
            print(f"── {document.name}")
        print(render(document.ledger(), dict(document.contents), shutil.get_terminal_size((120, 40)).columns, colour, document.name))
    return 0
