"""A bundle on disk: ``bundle.json``, which vouches for every other file, and what falsified cells were made of. Read whole or refused.

::

    bundle.json                       rows, commands, protocol, facts; name, size and SHA-256 of every file; a digest over all of it
    records/<SHA-256>.safetensors     what a measurement found, as the store keeps it: sums and errors by group and by window
    windows/<SHA-256>.safetensors     token ids of a layout's windows, by split

Files are named by their contents, so cells share them. The digest is over ``bundle.json`` without it, as canonical JSON; who knows the
digest from elsewhere, a published report say, knows every byte. A digest keeps nobody from writing another bundle: see
:mod:`reports.replay`.

What a bundle does not hold: weights, activations, and the moments that maps are fitted to. For each of 16 groups of windows those are three
matrices of d² float64, for one block 127 MB at d = 576 and 6.4 GB at d = 4,096. What is kept is what they come to, for each group that the
jackknife leaves out and for each window that is scored.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fixtures.naming import printable
from harness import atomic, store
from harness.store import Record
from reports.digest import digest
from reports.document import ReportError

if TYPE_CHECKING:
    from reports.bundle_schema import BundlePart

KIND, FORMAT, MANIFEST = "Transformer Assay bundle", 1, "bundle.json"
FOLDERS = ("records", "windows")
_LARGEST_MANIFEST = 1 << 26
_EXPECTED = "expected a folder as 'pytest claims --bundle DIR' writes it"


def entry(key: Mapping[str, Any], arrays: Mapping[str, Any]) -> bytes:
    """Return the bytes of a file of arrays, the same for the same contents: safetensors' header has an order of its own at every call."""
    data = store.encode(key, Record(arrays))
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def add(folder: Path, kind: str, data: bytes) -> str:
    """Write a file under its name, unless it is there, and return that. Any number of processes may. Raises OSError."""
    name = f"{kind}/{hashlib.sha256(data).hexdigest()}.safetensors"
    if not (folder / name).exists():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        atomic.write(folder / name, data)
    return name


def finish(folder: Path, contents: Mapping[str, Any], names: set[str]) -> str:
    """Write ``bundle.json`` over the files of these names, remove all others, and return the digest. Raises OSError."""
    for file in folder.glob("*/*"):
        if file.relative_to(folder).as_posix() not in names:
            file.unlink()
    files = {name: {"sha256": Path(name).stem, "bytes": (folder / name).stat().st_size} for name in sorted(names)}
    whole = {"kind": KIND, "format": FORMAT, **contents, "files": files}
    whole["sha256"] = digest(whole)
    atomic.write(folder / MANIFEST, _rendered(whole))
    return str(whole["sha256"])


def read(folder: Path) -> BundlePart:
    """Return what ``bundle.json`` holds, having checked it and every file. Raises ReportError with the first thing that is not right."""
    from pydantic import ValidationError

    from reports.bundle_schema import BundlePart

    name = printable(folder)
    try:
        there = _files(folder)
        if MANIFEST not in there:
            raise ReportError(f"{name}: no {MANIFEST}; {_EXPECTED}")
        contents = _manifest(folder / MANIFEST)
        if contents.get("kind") != KIND or contents.get("format") != FORMAT:
            told = printable(f"{contents.get('kind')}, format {contents.get('format')}")
            raise ReportError(f"{name}: {told}; this version reads '{KIND}', format {FORMAT}")
        if digest(contents) != contents.get("sha256"):
            raise ReportError(f"{name}: {MANIFEST} was altered: its digest is not that of its contents")
        bundle = BundlePart.model_validate_json(json.dumps(contents))
        _check(folder, there - {MANIFEST}, bundle)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise ReportError(f"{name}: {MANIFEST}: {printable(where)}: {printable(first['msg'])}") from None
    except OSError as error:
        raise ReportError(f"{name}: cannot be read ({printable(error.strerror)}); {_EXPECTED}") from None
    except (ValueError, RecursionError) as error:
        raise ReportError(str(error) if isinstance(error, ReportError) else f"{name}: {MANIFEST}: {printable(error)}") from None
    return bundle


def foreign(folder: Path) -> str | None:
    """Name something in a folder that no bundle left there, or None: what is replaced must be nobody else's. Raises OSError."""
    listed: set[str] = set()
    try:
        there = _files(folder)
        if MANIFEST in there:
            contents = _manifest(folder / MANIFEST)
            if contents["kind"] != KIND:
                return MANIFEST
            listed = {MANIFEST, *contents["files"]}
    except ReportError as error:
        return str(error)
    except (ValueError, RecursionError, KeyError, TypeError):
        return f"a {MANIFEST} that is not one"
    return min(there - listed, default=None)


def _files(folder: Path) -> set[str]:
    """Names of everything below a folder but for the two that hold files. Raises ReportError for what is neither file nor folder."""
    found = set()
    for inner in sorted(folder.iterdir()):
        is_folder = inner.name in FOLDERS and stat.S_ISDIR(inner.lstat().st_mode)
        found |= {f"{inner.name}/{file.name}" for file in inner.iterdir()} if is_folder else {inner.name}
    for name in sorted(found):
        if not stat.S_ISREG((folder / name).lstat().st_mode):
            raise ReportError(f"{printable(folder)}: {printable(name)} is no plain file, and a bundle holds no other")
    return found


def _manifest(file: Path) -> dict[str, Any]:
    """Raises ValueError for what :func:`finish` cannot have written, to the byte."""
    if file.stat().st_size > _LARGEST_MANIFEST:
        raise ValueError(f"larger than {_LARGEST_MANIFEST:,} bytes")
    data = file.read_bytes()
    contents = json.loads(data.decode(), parse_constant=_no_constant)
    if not isinstance(contents, dict):
        raise ValueError("not an object")
    if _rendered(contents) != data:
        raise ValueError("was altered: it is not written as a bundle's is")
    return contents


def _rendered(contents: Mapping[str, Any]) -> bytes:
    return (json.dumps(contents, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _check(folder: Path, there: set[str], bundle: BundlePart) -> None:
    """Hold every file against the manifest. Raises ReportError."""
    name, listed = printable(folder), set(bundle.files)
    used = {file for cell in bundle.cells for file in (*cell.windows.values(), *cell.records.values())}
    if missing := min(listed - there, default=None) or min(used - listed, default=None):
        raise ReportError(f"{name}: {missing} is missing; a bundle is read whole, copy it again")
    if additional := min(there - listed, default=None):
        raise ReportError(f"{name}: {printable(additional)} is not part of the bundle; move it out of the folder")
    if unused := min(listed - used, default=None):
        raise ReportError(f"{name}: {unused} is listed, and not part of any cell")
    for file, stated in bundle.files.items():
        size = (folder / file).stat().st_size
        if size != stated.bytes:
            raise ReportError(f"{name}: {file} was altered: {size:,} bytes, and {stated.bytes:,} were written")
        with (folder / file).open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != stated.sha256 or f"{found}.safetensors" != file.partition("/")[2]:
            raise ReportError(f"{name}: {file} was altered: SHA-256 is {found}")


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is not a number of JSON")
