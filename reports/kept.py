"""A report that is kept in a repository: what of it is kept, and when it no longer speaks for the code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from claims import lock
from claims.declared import all_predicates
from fixtures.naming import printable
from harness.measurement import MEASUREMENTS
from reports.document import Document, ReportError

_KEPT = ("schema", "rows", "claims", "models", "corpora", "protocol", "bounds", "environment", "sweep")
_PLACES = ("--report", "--store", "--tokens", "--save-maps", "--bundle", "-p")
"""Options that say where something is put, and pytest's own, on which no figure depends; each takes a value."""
_BEFORE = r"""[\s'"=(:,;`|<>\[{“‘«]"""
"""What may stand before a path."""
# A folder's name may have spaces, and ends where another path begins.
_FOLDER = rf"""(?:(?!{_BEFORE}(?:[~/\\]|[A-Za-z]:[/\\]))[^/\\'",;:()\n])+"""
_FOLDERS = re.compile(
    rf"""(?:^|(?<={_BEFORE}))(?:~[^\s/\\]*|file:(?://[^\s/\\]*)?(?=/)|[A-Za-z]:|\\\\|(?=/))(?:[/\\]{_FOLDER})*[/\\](?=[^\s/\\])""",
    re.IGNORECASE,
)
_AGAIN = "measure again with this version and run 'python -m reports readme NEW.json --keep FILE'"


def slimmed(contents: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of a report file: no evidence, which may hold words of the text, no timings, no folders of a machine.

    Absolute paths lose their folders, wherever they stand; in the command they become ``path/to/…``, and options that only say where
    something is put are left out.
    """
    kept = {name: _without_folders(contents[name]) for name in _KEPT if name in contents}
    command = contents.get("environment", {}).get("command")
    if isinstance(command, list):
        kept["environment"]["command"] = list(_shareable(map(str, command)))
    return kept


def as_text(contents: Mapping[str, Any]) -> str:
    """Write a kept report as JSON, a row a line, those of a sweep too, so that a difference between two of them can be read."""
    parts = []
    for name, value in contents.items():
        lines = ",\n".join(_json(item) for item in value) if isinstance(value, list) else ""
        whole = as_text(value).rstrip("\n") if name == "sweep" and isinstance(value, dict) else _json(value)
        parts.append(f"{_json(name)}: " + (f"[\n{lines}\n]" if lines else whole))
    return "{\n" + ",\n".join(parts) + "\n}\n"


def why_stale(document: Document) -> str | None:
    """Say why a kept report does not speak for this code, or None: bounds, measurement versions and predicates are the code's."""
    contents = document.contents
    bounds = contents.get("bounds", {}).get("sha256", "")
    if bounds != lock.bounds_hash():
        return f"its bounds are {bounds[:8]}, the code's are {lock.bounds_hash()[:8]}; {_AGAIN}"
    versions = (contents.get("environment", {}).get("code") or {}).get("measurements")
    if not isinstance(versions, dict):
        return f"it does not say which versions of the measurements it holds; {_AGAIN}"
    code = {measurement.name: measurement.version for measurement in MEASUREMENTS}
    for name in dict.fromkeys([*code, *versions]):
        if versions.get(name) != code.get(name):
            held, has = (f"version {of[name]}" if name in of else "none" for of in (versions, code))
            return printable(f"measurement '{name}': it holds {held}, the code has {has}; {_AGAIN}")
    declared = {(claim.key, predicate.name) for claim, predicate in all_predicates()}
    for pair in document.pairs:
        given = {(row.cell.claim, row.cell.predicate) for row in document.of(*pair)}
        for _, name in sorted(given - declared, key=str):
            return f"it holds '{printable(name)}', which the code does not declare; {_AGAIN}"
        for _, name in sorted(declared - given, key=str):
            return f"it lacks '{name}', which the code declares; {_AGAIN}"
    return None


def only_pair(document: Document) -> tuple[str, str]:
    """Return the one model and text of a report. Raises ReportError when there are several, or none."""
    if len(document.pairs) != 1:
        found = ", ".join(f"{model} on {corpus}" for model, corpus in document.pairs) or "none"
        raise ReportError(f"{document.name}: expected a report of one model on one text, found {found}; give a report of one")
    return next(iter(document.pairs))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {_without_folders(name): _without_folders(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_folders(part) for part in value]
    return _FOLDERS.sub("", value) if isinstance(value, str) else value


def _shareable(command: Iterator[str]) -> Iterator[str]:
    for word in command:
        name, equals, value = word.partition("=")
        if name in _PLACES:
            if not equals:
                next(command, None)
            continue
        if name == "--no-store":
            continue
        shown = _FOLDERS.sub("path/to/", value if equals else word)
        shown = re.sub(r"^(?:\.\.?/)+(?:[^/]+/)*", "path/to/", shown)
        yield f"{name}={shown}" if equals else shown
