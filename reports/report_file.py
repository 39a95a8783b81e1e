"""``report.json``: written whole or not at all."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fixtures.naming import printable
from harness import atomic
from reports.digest import NAME, digest
from reports.ledger import SCHEMA, Ledger


def contents(ledger: Ledger, facts: dict[str, Any]) -> dict[str, Any]:
    """Build the report: schema, rows, claims, and the facts of the run (models, corpora, protocol, environment, timings)."""
    rows = ledger.complete()
    return {
        "schema": SCHEMA,
        "rows": [row.as_json() for row in rows],
        "claims": [{**asdict(c), "verdict": str(c.verdict), "decided_by": list(c.decided_by)} for c in ledger.claims(rows)],
        **facts,
        **({"sweep": sweep} if (sweep := _sweep(ledger)) else {}),
    }


def _sweep(ledger: Ledger) -> dict[str, Any] | None:
    """Return what came of every setting that was changed around the run; None where none was."""
    if not ledger.settings:
        return None
    settings = [{"name": setting.name, "axis": setting.axis, "about": setting.about} for setting in ledger.settings]
    return {"settings": settings, "rows": [{**row.as_json(), "setting": name} for (_, name), row in ledger.swept.items()]}


def write(file: Path, report: dict[str, Any]) -> None:
    """Replace a file by a report and its digest, atomically: on any failure the old file stands. Raises OSError."""
    whole = json.loads(json.dumps(report, allow_nan=False))  # As it will be read: the digest is of that.
    whole[NAME] = digest(whole)
    atomic.write(file, json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False).encode())


def why_not_writable(file: Path) -> str | None:
    """Say why a report could not be written to ``file``, or None; checked before anything is measured."""
    folder = file.parent
    if file.is_dir():
        return "it is a folder"
    if file.exists() and not file.is_file():
        return "it is not a plain file"
    if not folder.is_dir():
        return f"the folder {printable(folder)} does not exist"
    try:
        atomic.try_writing(file)
    except OSError as error:  # Permissions, a read-only or full file system: only trying tells.
        return f"no file can be written in {printable(folder)} ({error.strerror})"
    return None
