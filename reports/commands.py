"""The command that measures a cell of a report again."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator, Sequence

from reports.document import Document
from reports.ledger import Row, claim_of
from reports.options import OPTIONS

_ANOTHER_SELECTION = (
    "-m",
    "-k",
    "-n",
    "--numprocesses",
    "--dist",
    "--report",
    "--store",
    "--tokens",
    "--save-maps",
    "--baseline",
    "--bundle",
    "--maxfail",
    "-p",
    "--tb",
)
_WITH_VALUE = frozenset(name for name, how in OPTIONS.items() if how.get("action") != "store_true")
_TESTS = re.compile(r"(.*/)?(claims/?|claim_[^/]*\.py)", re.DOTALL)
_FLAGS = ("--no-store", "--plan", "--all-models", "-x", "-v", "-vv", "-q", "-s")


def command_of(document: Document, row: Row) -> str:
    """Return the shell command: the options of the run that were not about its selection and places, and this cell selected.

    ``claims`` stands for the suite's folder, as in ``pytest claims``.
    """
    given = [str(word) for word in document.contents.get("environment", {}).get("command") or ()]
    options = list(_kept(given[1:] if given[:1] == ["pytest"] else given))
    try:
        marker = claim_of(row.cell.claim).marker
    except StopIteration:  # A claim of another version.
        marker = f"claim{row.cell.claim}"
    named = f"{row.cell.model} and {marker} and {row.cell.rung}"
    return shlex.join(["pytest", "claims", "-m", named, "-k", f"{row.cell.predicate}-{row.cell.model}-", *options])


def _kept(given: Sequence[str]) -> Iterator[str]:
    """Options of a command line but for those of its selection, each with its value.

    A path of the suite's folder or of a file of claims is a selection, wherever they are; the value of an option never is.
    """
    words = iter(given)
    for word in words:
        name, equals, _ = word.partition("=")
        if name in _ANOTHER_SELECTION:
            if not equals:
                next(words, None)
        elif name.startswith(("-n", "-k", "-m")) and not name.startswith("--"):
            continue
        elif word in _WITH_VALUE:
            yield word
            yield from itertools.islice(words, 1)
        elif name not in _FLAGS and not _TESTS.fullmatch(word.partition("::")[0]):
            yield word
