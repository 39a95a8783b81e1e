"""The reports of a folder, in the order in which they were made."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fixtures.naming import printable
from reports.document import Document, ReportError, read


@dataclass(frozen=True)
class Found:
    """A report and when it was made, UTC. ``stated``: the report says so; else it is the time of the file."""

    document: Document
    finished: datetime
    stated: bool


@dataclass(frozen=True)
class Folder:
    """Reports by time, then name; the names of files that are none, each with the reason; and of files that equal another."""

    reports: tuple[Found, ...]
    skipped: tuple[tuple[str, str], ...]
    copies: tuple[str, ...]


def reports_of(folder: Path) -> Folder:
    """Read every ``*.json`` under a folder. Raises ReportError when it is no folder or holds no report."""
    if not folder.is_dir():
        what = "a file; give the folder it is in" if folder.is_file() else "not there"
        raise ReportError(f"{printable(folder)}: {what}; expected a folder of reports, as 'pytest claims --report FILE' writes them")
    found, skipped, copies, seen = [], [], [], set()
    for file in _files(folder):
        name = printable(file.relative_to(folder))
        try:
            digest = hashlib.sha256(file.read_bytes()).digest()
            document = read(file)
        except ReportError as error:
            skipped.append((name, str(error).removeprefix(f"{printable(file)}: ").split(";")[0]))
            continue
        except OSError as error:
            skipped.append((name, printable(error.strerror)))
            continue
        if digest in seen:
            copies.append(name)
            continue
        seen.add(digest)
        stated = _stated(document.contents.get("environment", {}).get("finished"))
        finished = stated or datetime.fromtimestamp(file.stat().st_mtime, UTC)
        found.append(Found(Document(name, document.contents, document.rows, document.claims, document.pairs), finished, stated is not None))
    if not found:
        others = f"; {len(skipped)} other JSON file{'s'[: len(skipped) != 1]}, the first: {': '.join(skipped[0])}" if skipped else ""
        raise ReportError(f"{printable(folder)}: no report under it{others}; 'pytest claims --report FILE' writes one")
    found.sort(key=lambda one: (one.finished, one.document.name))
    return Folder(tuple(found), tuple(sorted(skipped)), tuple(sorted(copies)))


def _files(folder: Path) -> list[Path]:
    """Files by age, then name: of equal ones the oldest is the report and the others its copies."""
    found = []
    for file in folder.rglob("*.json"):
        with suppress(OSError):  # A broken link, or gone since.
            if file.is_file():
                found.append((file.stat().st_mtime, str(file), file))
    return [file for *_, file in sorted(found)]


def _stated(value: Any) -> datetime | None:
    """Read an ISO 8601 time, without a zone as UTC; None for anything else."""
    try:
        time = datetime.fromisoformat(value)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
