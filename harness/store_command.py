"""``python -m harness.store``: look at, verify and prune the store."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fixtures.naming import printable
from harness.store import Store, default_folder, read

_DAY = 86400.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of ``ls``, ``verify``, ``prune``; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m harness.store", description="The store of measurements.")
    parser.add_argument("--store", type=Path, default=None, metavar="DIR", help="default: CLAIMS_STORE, else the platform's cache folder")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ls", help="list entries with what they measure, size and age")
    commands.add_parser("verify", help="read every entry; exit code 1 when one is damaged")
    prune = commands.add_parser("prune", help="remove damaged entries, those set aside, and unfinished sweeps")
    prune.add_argument("--older-than", type=float, metavar="DAYS", help="also entries older than this")
    prune.add_argument("--all", action="store_true", help="everything")
    given = parser.parse_args(arguments)
    try:
        folder = given.store.expanduser() if given.store else default_folder()
    except RuntimeError as error:  # A home folder of nobody.
        print(f"--store or CLAIMS_STORE: {printable(error)}", file=sys.stderr)
        return 4
    if not os.path.isdir(folder):  # noqa: PTH112 - False, where Path.is_dir() raises for names that are too long
        print(f"no store at {printable(folder)}", file=sys.stderr)
        return 4
    store = Store(folder)
    if given.command == "prune":
        return _prune(store, given.older_than, given.all)
    return _list(store, verify=given.command == "verify")


def _entries(store: Store) -> Iterator[tuple[Path, int, float, dict[str, Any], dict[str, Any], str]]:
    """Yield file, size, age in days, key, notes and the fault of every entry."""
    for file in store.entries():
        size, age = 0, 0.0
        try:
            stat = file.stat()
            size, age = stat.st_size, (time.time() - stat.st_mtime) / _DAY
            key, record = read(file)
            yield file, size, age, key, dict(record.notes), ""
        except FileNotFoundError:  # Another process replaced or dropped it.
            continue
        except (OSError, ValueError) as error:
            yield file, size, age, {}, {}, next(iter(str(error).splitlines()), type(error).__name__)


def _list(store: Store, verify: bool) -> int:
    total = count = bad = 0
    for file, size, age, key, notes, fault in _entries(store):
        total, count, bad = total + size, count + 1, bad + bool(fault)
        if fault:
            print(f"{file.name[:16]}  {_size(size):>10}  DAMAGED: {printable(fault)}")
        elif not verify:
            what = f"{key.get('measurement', '?')}{' (unfinished)' if key.get('unfinished') else ''}"
            subject = " · ".join(str(notes[name]) for name in ("model", "corpus") if name in notes)
            print(f"{file.name[:16]}  {_size(size):>10}  {age:5.1f} days  {printable(what)}  {printable(subject)}")
    aside = store.set_aside()
    print(f"{count} entries, {_size(total)}, {bad} damaged, {len(aside)} set aside, in {printable(store.folder)}")
    return int(bad > 0)


def _prune(store: Store, older_than: float | None, everything: bool) -> int:
    doomed = store.set_aside()
    for file, _, age, key, _, fault in _entries(store):
        if everything or fault or key.get("unfinished") or (older_than is not None and age > older_than):
            doomed.append(file)
    removed = freed = failed = 0
    for file in doomed:
        try:
            size = file.stat().st_size
            file.unlink()
            removed, freed = removed + 1, freed + size
        except FileNotFoundError:  # Another process dropped it.
            continue
        except OSError as error:
            failed += 1
            print(f"{printable(file)}: not removed ({error.strerror})", file=sys.stderr)
    print(f"removed {removed} files, {_size(freed)}")
    return int(failed > 0)


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError
