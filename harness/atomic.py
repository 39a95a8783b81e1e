"""Files that are written whole or not at all, by any number of writers."""

from __future__ import annotations

import glob
import os
import re
import socket
import tempfile
import time
from pathlib import Path

_HOST = re.sub(r"[^A-Za-z0-9]+", "", socket.gethostname()) or "host"
_PART = re.compile(r"^\..*\.([A-Za-z0-9]+)-(\d+)\.[^.]*\.part$")
_DAY = 86400.0


def write(file: Path, data: bytes) -> None:
    """Replace a file atomically: a reader sees the old bytes or the new ones, and on any failure the old file stands.

    Raises OSError (no space, no permission).
    """
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name[:64]}.{_HOST}-{os.getpid()}.", suffix=".part")
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


def remove_abandoned_parts(folder: Path, name: str = "") -> int:
    """Remove the unfinished files of writers that were killed, of any file or of the one named; returns how many.

    A part names its writer. It is abandoned when that process is gone from this machine, or, written from
    another machine, when it is a day old.
    """
    removed = 0
    for part in folder.glob(f".{glob.escape(name[:64])}*.part"):
        match = _PART.match(part.name)
        try:
            if match is None or not _abandoned(match[1], int(match[2]), part):
                continue
            part.unlink()
            removed += 1
        except OSError:  # Another process removed it first, or may and we may not.
            continue
    return removed


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
