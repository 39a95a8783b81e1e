"""Content fingerprints: SHA-256 over the bytes a figure was measured from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from harness.store import Record, Store

_HEX = re.compile(r"[0-9a-f]{64}")


class Memory:
    """Hashes files, once: a file is known again by path, size, modification time and inode.

    Gigabytes of weights would otherwise be read at every start. What is remembered is kept in the store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, str] = {}

    def of_file(self, file: Path) -> str:
        """Return the SHA-256 of a file's bytes, in hex."""
        real = file.resolve()
        stat = real.stat()
        key = {"measurement": "file hash", "path": str(real), "size": stat.st_size, "mtime": stat.st_mtime_ns, "inode": stat.st_ino}
        name = repr(key)
        if name not in self._known:
            found = self._store.get(key, _decode)
            if found is None:
                found = of_file(real)
                self._store.put(key, Record(notes={"sha256": found}))
            self._known[name] = found
        return self._known[name]


def of_file(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex, by reading them."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def of_files(files: Iterable[Path], memory: Memory) -> str:
    """Return the SHA-256 over names and contents of files, independent of their order and folder."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.name):
        digest.update(f"{file.name}\0{memory.of_file(file)}\n".encode())
    return digest.hexdigest()


def _decode(record: Record) -> str:
    found = record.notes["sha256"]
    if not isinstance(found, str) or not _HEX.fullmatch(found):
        raise ValueError("not a SHA-256")
    return found
