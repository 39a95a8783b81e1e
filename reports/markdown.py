"""``python -m reports markdown``: report files as Markdown, for a pull request or a model card."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fixtures.naming import printable
from harness import atomic
from reports.document import ReportError, read

COMMENT_LIMIT = 65_536
"""Characters of a comment on GitHub; counted here in bytes, of which there are no fewer."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.add_argument("reports", nargs="+", metavar="REPORT", help="a report file, as 'pytest claims --report FILE' writes it")
    parser.add_argument(
        "--for",
        dest="reader",
        choices=("pr", "card"),
        default="pr",
        help="pr: a summary that fits a comment on GitHub (default); card: a section of a model card",
    )
    parser.add_argument("--output", metavar="FILE", help="where it goes (default: standard output)")


def run(options: argparse.Namespace) -> int:
    """Write the Markdown of all reports together."""
    documents = [read(file) for file in options.reports]
    if options.reader == "card":
        from reports.model_card import card

        text = card(documents)
    else:
        from reports.pull_request import summary

        text = summary(documents, COMMENT_LIMIT)
    if options.output is None:
        sys.stdout.buffer.write(text.encode())  # Whatever the terminal's encoding: symbols of verdicts are not in every one.
        return 0
    file = Path(options.output).expanduser()
    try:
        atomic.write(file, text.encode())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        told = f"--output {printable(file)}: cannot be written ({printable(why)})"
        raise ReportError(f"{told}; give a file in a folder that is there") from None
    return 0
