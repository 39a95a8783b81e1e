"""Where a run writes to: report, store, maps (``--save-maps``), table of tokens (``--tokens``), bundle; refused early when it cannot."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fixtures.naming import printable
from harness.store import default_folder
from reports import bundle_file, report_file
from reports.subjects import InputError


def checked(option: Any) -> Path:
    """Return where the report goes, having checked that it, the store, maps, tokens and bundle can be written. Raises InputError."""
    with _refused(f"--report {printable(option.report)}"):
        report = Path(option.report).expanduser().resolve()
        if why := report_file.why_not_writable(report):
            raise ValueError(f"cannot be written, {why}")
    with _refused(_store_source(option)):
        folder = store_folder(option)
        if folder is not None and folder.exists() and not folder.is_dir():
            raise ValueError("the store is not a folder")
        if folder is not None and option.store:
            folder.mkdir(parents=True, exist_ok=True)
    with _refused(f"--save-maps {printable(option.save_maps)}"):
        if (maps := maps_folder(option)) is not None:
            if not option.save_maps.strip():
                raise ValueError("empty; expected a folder")
            maps.mkdir(parents=True, exist_ok=True)
            if why := report_file.why_not_writable(maps / "maps.safetensors"):
                raise ValueError(f"cannot be written, {why}")
    with _refused(f"--tokens {printable(option.tokens)}"):
        if (tokens := tokens_file(option)) is not None:
            _check_tokens(option, tokens, report)
    with _refused(f"--bundle {printable(option.bundle)}"):
        if (bundle := bundle_folder(option)) is not None:
            others = {"report": report, "store": folder, "table of tokens": tokens, "folder of maps": maps}
            _check_bundle(option, bundle, others)
    return report


def store_folder(option: Any) -> Path | None:
    """Return the folder of the store, None where nothing is kept."""
    if option.no_store:
        return None
    return Path(option.store).expanduser().resolve() if option.store else default_folder()


def maps_folder(option: Any) -> Path | None:
    """Return the folder of the maps, None where none are kept."""
    return None if option.save_maps is None else Path(option.save_maps).expanduser().resolve()


def tokens_file(option: Any) -> Path | None:
    """Return where the table of single tokens goes, None where none is asked for."""
    return None if option.tokens is None else Path(option.tokens).expanduser().resolve()


def bundle_folder(option: Any) -> Path | None:
    """Return where the bundle goes, None where none is asked for."""
    return None if option.bundle is None else Path(option.bundle).expanduser().resolve()


def _check_bundle(option: Any, folder: Path, others: Mapping[str, Path | None]) -> None:
    """Raise ValueError unless a folder can be written there that takes the place of nothing but an older bundle."""
    if not option.bundle.strip():
        raise ValueError("empty; expected a folder")
    for what, other in others.items():
        if other is not None and folder in (other, *other.parents):
            raise ValueError(f"the {what} goes there, and a bundle has its folder to itself")
    if folder.exists() and not folder.is_dir():
        raise ValueError("not a folder")
    if folder.is_mount():
        raise ValueError("cannot be replaced whole, something is mounted there; give a folder in it")
    if folder.is_dir() and (found := bundle_file.foreign(folder)):
        raise ValueError(f"holds something else than a bundle: {printable(found)}; move that away, or give a new or an empty folder")
    if folder.parent.exists() and not folder.parent.is_dir():
        raise ValueError(f"{printable(folder.parent)} is not a folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    if why := report_file.why_not_writable(folder.with_name(f"{folder.name}.part")):
        raise ValueError(f"cannot be written, {why}")


def _check_tokens(option: Any, file: Path, report: Path) -> None:
    """Raise ValueError unless a Parquet file can be written there, by this process alone."""
    if not option.tokens.strip():
        raise ValueError("empty; expected a file")
    if file.suffix != ".parquet":
        raise ValueError("expected a name that ends in .parquet")
    if file == report:
        raise ValueError("the report goes there")
    if why := report_file.why_not_writable(file):
        raise ValueError(f"cannot be written, {why}")
    if getattr(option, "dist", "no") != "no":
        raise ValueError("written by one process, and each worker would replace it; leave out -n")
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ValueError(f"needs pyarrow, which cannot be imported ({error}); pip install -c constraints.txt pyarrow") from None


@contextmanager
def _refused(what: str) -> Iterator[None]:
    """Name what was given when it is no place to write to: too long, a NUL byte, a home folder of nobody, a file in the way."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{what}: {printable(reason)}") from None


def _store_source(option: Any) -> str:
    """Say which option or variable named the store."""
    if option.store:
        return f"--store {printable(option.store)}"
    return f"CLAIMS_STORE {printable(os.environ['CLAIMS_STORE'])}" if "CLAIMS_STORE" in os.environ else "the default store"
