"""Files, and folders, that are written whole or not at all, by any number of writers."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import socket
import tempfile
import time
from pathlib import Path

_HOST = re.sub(r"[^A-Za-z0-9]+", "", socket.gethostname()) or "host"
_PART = re.compile(r"^\.(.*)\.([A-Za-z0-9]+)-(\d+)\.[^.]*\.part$", re.DOTALL)
_DAY = 86400.0
_LONGEST = 64
_ASIDE = "before"


def write(file: Path, data: bytes) -> None:
    """Replace a file atomically: a reader sees the old bytes or the new ones, and on any failure the old file stands.

    What writers of it that were killed left unfinished is removed. Raises OSError (no space, no permission).
    """
    remove_abandoned_parts(file.parent, file.name)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=_prefix(file.name), suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)  # mkstemp makes files that only their owner may read.
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def try_writing(file: Path) -> None:
    """Make an unfinished file for ``file`` and remove it. Raises OSError where none can be made."""
    remove_abandoned_parts(file.parent, file.name)  # A process that was killed between the two left one.
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=_prefix(file.name), suffix=".part"):
        pass


def unfinished_folder(folder: Path) -> Path:
    """Return a new folder beside ``folder``, in which to make what :func:`replace_folder` puts in its place. Raises OSError."""
    return Path(tempfile.mkdtemp(dir=folder.parent, prefix=_prefix(folder.name), suffix=".part"))


def replace_folder(new: Path, folder: Path) -> None:
    """Put a folder in the place of another, whole; ``new`` is beside it. On any failure the old one stands. Raises OSError.

    No file system replaces a folder that holds something at one stroke, so the old one steps aside first. A process that is killed right
    then leaves it aside, and :func:`restore_folder` puts it back.
    """
    umask = os.umask(0)
    os.umask(umask)
    new.chmod(0o777 & ~umask)  # mkdtemp makes folders that only their owner may enter.
    aside = unfinished_folder(folder)
    try:
        if folder.exists():
            folder.rename(aside / _ASIDE)
        try:
            new.rename(folder)
        except BaseException:
            if (aside / _ASIDE).exists():
                (aside / _ASIDE).rename(folder)
            raise
    finally:
        if folder.exists() or not (aside / _ASIDE).exists():
            shutil.rmtree(aside, ignore_errors=True)


def restore_folder(folder: Path) -> None:
    """Put a folder back that stepped aside for one that never came, and remove what writers that were killed left unfinished."""
    for part in folder.parent.glob(".*.part"):
        with contextlib.suppress(OSError):
            match = _PART.match(part.name)
            if match is None or match[1] != _stem(folder.name) or not part.is_dir() or not _abandoned(match[2], int(match[3]), part):
                continue
            if (part / _ASIDE).is_dir() and not folder.exists():
                (part / _ASIDE).rename(folder)
            shutil.rmtree(part, ignore_errors=True)


def remove_abandoned_parts(folder: Path, name: str = "") -> int:
    """Remove the unfinished files of writers that were killed, of any file or of the one named; returns how many.

    A part names its writer. It is abandoned when that process is gone from this machine, or, written from
    another machine, when it is a day old.
    """
    removed = 0
    for part in folder.glob(".*.part"):
        match = _PART.match(part.name)
        try:
            if match is None or (name and match[1] != _stem(name)) or not _abandoned(match[2], int(match[3]), part):
                continue
            part.unlink()
            removed += 1
        except OSError:  # Another process removed it first, or may and we may not.
            continue
    return removed


def _prefix(name: str) -> str:
    return f".{_stem(name)}.{_HOST}-{os.getpid()}."


def _stem(name: str) -> str:
    """Return what a part has of the name that it is for: all of it, or of a long one the beginning and 16 digits of its SHA-256."""
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - 17]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"


def _abandoned(host: str, pid: int, part: Path) -> bool:
    if host != _HOST:
        return time.time() - part.stat().st_mtime > _DAY
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False
