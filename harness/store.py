"""The store of measurements: what has been paid for once is not measured again, and nothing wrong is ever read back.

An entry is one safetensors file, named by the SHA-256 of its key: arrays as tensors; key, notes and a digest over all of it as JSON
in the header. The key holds everything a figure depends on, so entries are never updated, and several processes may share a store.
Entries are written atomically and verified on every read; one that does not verify is set aside, with a warning, and measured again.

``python -m harness.store ls|verify|prune``.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fixtures.naming import printable
from harness import atomic

FORMAT = "1"
_LARGEST_HEADER = 1 << 26
_HEADER = {"format", "key", "notes"}
"""What a header has beside its digest; with more it means something that this version does not know."""

Key = Mapping[str, Any]
T = TypeVar("T")


class StoreWarning(UserWarning):
    """An entry was set aside, or could not be written. The run goes on."""


@dataclass(frozen=True)
class Record:
    """What an entry holds: named arrays, and notes for people (names, times) that are not part of the key."""

    arrays: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


def default_folder() -> Path:
    """``CLAIMS_STORE``, else the platform's cache folder."""
    import platformdirs

    given = os.environ.get("CLAIMS_STORE")
    return Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("transformer-assay", appauthor=False))


class Store:
    """Measurements by key, under a folder; with ``folder=None`` nothing is kept and nothing found."""

    def __init__(self, folder: Path | None) -> None:
        self.folder, self._told = folder, False
        if folder is not None:
            for part in self._folders():
                atomic.remove_abandoned_parts(part)

    def get(self, key: Key, decode: Callable[[Record], T]) -> T | None:
        """Return the decoded entry of a key, or None when there is none.

        An entry that is damaged, belongs to another key, or that ``decode`` cannot make sense of is set aside with a StoreWarning.
        """
        file = self._file(key)
        try:
            if file is None or not file.exists():
                return None
            found, record = read(file)
            if _canonical(found) != _canonical(key):
                raise ValueError("it holds another key")
            return decode(record)
        except OSError as error:
            warnings.warn(StoreWarning(f"store: {self.folder} cannot be read ({error.strerror}); measuring again"), stacklevel=2)
        except Exception as error:  # Whatever a crafted entry makes decode stumble over, it is not a result.
            assert file is not None
            self._set_aside(file, error)
        return None

    def put(self, key: Key, record: Record) -> None:
        """Keep a record. A store that cannot be written is a StoreWarning, and the run goes on."""
        file = self._file(key)
        if file is None:
            return
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            atomic.write(file, encode(key, record))
        except OSError as error:
            if not self._told:  # Once: every further result would say the same.
                text = f"store: {self.folder} cannot be written ({error.strerror}); results are not kept"
                warnings.warn(StoreWarning(text), stacklevel=2)
            self._told = True

    def drop(self, key: Key) -> None:
        """Forget a key."""
        file = self._file(key)
        if file is not None:
            try:
                if file.exists():  # A read-only file system refuses to unlink even what is not there.
                    file.unlink(missing_ok=True)
            except OSError as error:
                warnings.warn(StoreWarning(f"store: {file.name} cannot be removed ({error.strerror})"), stacklevel=2)

    def entries(self) -> Iterator[Path]:
        """Yield the files of all entries, unverified."""
        for folder in self._folders():
            yield from sorted(folder.glob("*.safetensors"))

    def set_aside(self) -> list[Path]:
        """Return the files that were set aside."""
        return sorted((self.folder / "set-aside").glob("*")) if self.folder else []

    def _folders(self) -> list[Path]:
        return sorted(f for f in (self.folder / "entries").glob("??") if f.is_dir()) if self.folder else []

    def _file(self, key: Key) -> Path | None:
        name = hashlib.sha256(_canonical(key).encode()).hexdigest()
        return self.folder / "entries" / name[:2] / f"{name}.safetensors" if self.folder else None

    def _set_aside(self, file: Path, error: Exception) -> None:
        assert self.folder is not None
        aside = self.folder / "set-aside"
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        try:
            aside.mkdir(parents=True, exist_ok=True)
            file.replace(aside / f"{file.stem[:16]}-{time.time_ns()}.safetensors")
        except OSError:
            reason += "; it could not be moved away"
        warnings.warn(StoreWarning(f"store: {file.name[:16]}… set aside ({reason}); measuring again"), stacklevel=3)


def encode(key: Key, record: Record) -> bytes:
    """Return the bytes of an entry."""
    from safetensors.numpy import save

    arrays = {name: np.asarray(array, order="C") for name, array in record.arrays.items()} or {"empty": np.zeros(0)}
    header = {"format": FORMAT, "key": _canonical(key), "notes": _canonical(record.notes)}
    return save(arrays, metadata={**header, "digest": _digest(header, arrays)})


def read(file: Path) -> tuple[dict[str, Any], Record]:
    """Read an entry and verify its digest. Raises OSError, or ValueError when it is damaged or not an entry."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise ValueError("not a plain file")
    with file.open("rb") as stream:
        # The header's length is checked before anything of that size is read.
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(_LARGEST_HEADER, file.stat().st_size - 8):
            raise ValueError("the header's length does not fit the file")
    try:
        return _verified(file)
    except (OSError, ValueError):
        raise
    except Exception as error:  # Types that NumPy does not know, a header that nests too deep, and what else can be crafted.
        raise ValueError(f"damaged: {type(error).__name__}: {error}") from None


def _verified(file: Path) -> tuple[dict[str, Any], Record]:
    from safetensors import safe_open

    with safe_open(file, framework="np") as opened:
        header = opened.metadata() or {}
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
    digest = header.pop("digest", None)
    if digest != _digest(header, arrays):
        raise ValueError("its digest does not match its contents")
    if header.get("format") != FORMAT or set(header) != _HEADER:
        found = f"format {printable(header.get('format'))} with {', '.join(sorted(map(printable, header)))}"
        raise ValueError(f"{found}; this version reads format {FORMAT} with {', '.join(sorted(_HEADER))}")
    key, notes = json.loads(header["key"]), json.loads(header["notes"])
    if not isinstance(key, dict) or not isinstance(notes, dict):
        raise ValueError("key or notes are not objects")
    arrays.pop("empty", None)
    return key, Record(arrays, notes)


def _digest(header: Mapping[str, str], arrays: Mapping[str, np.ndarray[Any, Any]]) -> str:
    digest = hashlib.sha256(_canonical(header).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


if __name__ == "__main__":
    from harness.store_command import main

    sys.exit(main())
