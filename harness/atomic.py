"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write(file: Path, data: bytes) -> None:
    """Replace a file atomically: a reader sees the old bytes or the new ones, and on any failure the old file stands.

    Raises OSError (no space, no permission).
    """
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.", suffix=".part")
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
