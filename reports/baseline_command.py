"""``python -m reports baseline``: write a baseline from a report, amend one, or check a report against one."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from fixtures.naming import printable
from reports import baseline, baseline_amending, baseline_text
from reports.baseline_check import compare
from reports.document import Document, ReportError, read
from reports.report_file import why_not_writable

_FIRST = "as first recorded"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "examples:\n"
        f"  python -m reports baseline report.json                       write {baseline.DEFAULT_FILE}\n"
        "  pytest claims --baseline assay-baseline.json                 a build that fails when a verdict flips\n"
        "  python -m reports baseline report.json --check assay-baseline.json\n"
        "  python -m reports baseline report.json --amend --reason 'trained on longer texts' --only 'depth_gain-*'\n"
    )
    parser.add_argument("report", metavar="REPORT", help="a report file, as 'pytest claims --report FILE' writes it")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--to", metavar="FILE", default=baseline.DEFAULT_FILE, help="the baseline to write or amend (default: %(default)s)")
    where.add_argument(
        "--check", metavar="FILE", help="compare the report with this baseline; write nothing; exit code 1 when a verdict flipped"
    )
    parser.add_argument(
        "--amend", action="store_true", help="take over verdicts that flipped or are new; old ones are kept in the file with their reasons"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="ID",
        help="with --amend: these and no others, changed or not: an id, as pytest and the baseline have it, a claim ('claim 4 · strict'), "
        "a model and text ('my-model/wikitext-2'; all of it is taken out where the report has none of it), or a pattern with * and ?; "
        "repeatable",
    )
    parser.add_argument("--reason", metavar="TEXT", help=f"why these verdicts are right; kept; needed with --amend (default: '{_FIRST}')")


def run(options: argparse.Namespace) -> int:
    """Write, amend or check."""
    if options.only and not options.amend:
        raise ReportError("--only: says what --amend takes over; add --amend")
    if options.reason is not None and not options.reason.strip():
        raise ReportError("--reason: empty; expected why these verdicts are right")
    if options.reason is not None and len(options.reason.strip()) > baseline.LONGEST:
        raise ReportError(f"--reason: {len(options.reason.strip()):,} characters; expected at most {baseline.LONGEST:,}")
    if options.check is not None:
        if options.amend or options.reason:
            raise ReportError("--check writes nothing; leave out --amend and --reason")
        return _check(options.check, options.report)
    if options.amend and options.reason is None:
        raise ReportError("--amend needs --reason TEXT: why the new verdicts are right; it is kept in the file")
    document, file = _judged(options.report), Path(options.to).expanduser()
    if options.amend:
        return _amend(document, file, options.only, options.reason)
    if file.exists():
        raise ReportError(f"{printable(file)}: is there already; change it with --amend --reason TEXT, or name another file with --to")
    with _checked(document):
        made = baseline_amending.new(document, (options.reason or _FIRST).strip(), _today())
    _write(file, made)
    sizes = [(table, sum(len(getattr(subject, table)) for subject in made.subjects.values())) for table in ("cells", "claims")]
    told = " and ".join(baseline_text.count(size, table.removesuffix("s")) for table, size in sizes)
    print(f"{printable(file)}: the verdicts of {told} are kept; pytest claims --baseline {printable(file)}")
    return 0


def _amend(document: Document, file: Path, only: list[str], reason: str) -> int:
    before = baseline.read(file)
    with _checked(document):
        after, changes = baseline_amending.amended(before, document, only, reason.strip(), _today())
    if not changes:
        print(f"{printable(file)}: nothing to amend, every verdict stands")
        return 0
    _write(file, after)
    for change in changes:
        print(printable(change))
    print(f"{printable(file)}: {len(changes)} amended")
    return 0


@contextmanager
def _checked(document: Document) -> Iterator[None]:
    """Raise ReportError where a report has what a baseline cannot hold, such as a name with a slash."""
    try:
        yield
    except ValidationError as error:
        why = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ReportError(f"{document.name}: cannot be kept as a baseline: {printable(why)}; measure under another name") from None


def _check(file: str, report: str) -> int:
    document = _judged(report)
    comparison = compare(baseline.read(file), document)
    for line in baseline_text.lines(comparison, file, report):
        print(line)
    return comparison.exit_code


def _judged(report: str) -> Document:
    """Read a report of which something was judged. Raises ReportError."""
    document = read(report)
    if any(row.quick for row in document.rows):
        raise ReportError(f"{document.name}: made with --quick, in which nothing is judged; measure at whole sizes")
    return document


def _write(file: Path, made: baseline.Baseline) -> None:
    """Write it. Raises ReportError where it cannot be."""
    if why := why_not_writable(file):
        raise ReportError(f"{printable(file)}: cannot be written, {why}")
    try:
        baseline.write(file, made)
    except OSError as error:
        raise ReportError(f"{printable(file)}: cannot be written ({printable(error.strerror)})") from None


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
