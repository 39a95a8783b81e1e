"""``python -m reports markdown``: report files as Markdown, for a pull request or a model card."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fixtures.naming import printable
from harness import atomic
from reports.document import Document, ReportError, read

if TYPE_CHECKING:
    from reports.pull_request import Change

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
    parser.add_argument(
        "--baseline",
        metavar="FILE",
        help="with --for pr: also what changed against these kept verdicts, as 'python -m reports baseline' writes them",
    )
    parser.add_argument("--output", metavar="FILE", help="where it goes (default: standard output)")


def run(options: argparse.Namespace) -> int:
    """Write the Markdown of all reports together."""
    if options.baseline is not None and options.reader != "pr":
        raise ReportError("--baseline: a model card tells what is, not what changed; leave out one of --baseline and --for card")
    documents = [read(file) for file in options.reports]
    if options.reader == "card":
        from reports.model_card import card

        text = card(documents)
    else:
        from reports.pull_request import summary

        text = summary(documents, COMMENT_LIMIT, None if options.baseline is None else _changes(options.baseline, documents))
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


def _changes(file: str, documents: Sequence[Document]) -> list[Change]:
    """Return what flipped, or was not measured any more, against a baseline. Raises ReportError for ids that match nothing."""
    from reports import baseline, baseline_changes, baseline_check

    kept, found = baseline.read(file), []
    for document in documents:
        comparison = baseline_check.compare(kept, document)
        if comparison.error:
            raise ReportError(f"{printable(file)}: {comparison.error}")
        found += baseline_changes.changes(comparison)
    return found
