"""Content fingerprints: SHA-256 over the bytes a figure was measured from."""

from __future__ import annotations

import hashlib
from pathlib import Path


def of_file(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def of_files(files: list[Path]) -> str:
    """Return the SHA-256 over names and contents of files, independent of their order and folder."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.name):
        digest.update(f"{file.name}\0{of_file(file)}\n".encode())
    return digest.hexdigest()
