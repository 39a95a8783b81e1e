"""What is known of a subject without loading it. No torch."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fixtures.sources import tokenizer_files
from harness import fingerprints

DEVICES = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")
EXPECTED_DEVICES = "auto, cpu, mps, cuda or cuda:N"
DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")


@dataclass(frozen=True)
class Placement:
    """Where and how a model is loaded: the options of the command line.

    ``device_map``: how ``accelerate`` spreads a model over devices, by a word or module → device; None puts it on ``device`` whole.
    ``trust_remote_code``: run Python code that comes with a checkpoint.
    """

    device: str = "auto"
    dtype: str = "auto"
    device_map: str | Mapping[str, str | int] | None = None
    trust_remote_code: bool = False


@dataclass(frozen=True)
class SubjectFacts:
    """How a model turned out when it was loaded: everything that keys and reports need of it.

    ``weights``: SHA-256 of the weights. ``vocabulary``: rows of the token embedding. ``context``: most positions, 0 when not stated.
    ``unknown``: the tokenizer's token for what it does not know, −1 when it has none. ``device`` as torch names it, ``device_kind`` the
    model of accelerator or processor architecture.
    """

    weights: str
    width: int
    vocabulary: int
    context: int
    unknown: int
    dtype: str
    device: str
    device_kind: str
    attention: str
    provenance: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)

    @classmethod
    def from_notes(cls, notes: Mapping[str, Any]) -> SubjectFacts:
        """Rebuild from a store's notes; ValueError when they are not facts."""
        if set(notes) != set(cls.__dataclass_fields__):
            raise ValueError("not the facts of a subject")
        for name, value in notes.items():
            if not isinstance(value, int if name in ("width", "vocabulary", "context", "unknown") else str):
                raise ValueError(f"{name} is a {type(value).__name__}")
        return cls(**notes)


def weights_fingerprint(path: Path, memory: fingerprints.Memory, code: bool = False) -> str:
    """SHA-256 over the weights: of the one file, or over names and contents of a folder's config and safetensors.

    ``code``: and of its Python files, when they are run.
    """
    if path.is_dir():
        return fingerprints.of_files(
            [path / "config.json", *_files(path, "*.safetensors"), *(_files(path, "*.py") if code else ())], memory
        )
    return memory.of_file(path)


def tokenizer_fingerprint(path: Path, memory: fingerprints.Memory, code: bool = False) -> str:
    """SHA-256 over the files a tokenizer is built from, and its Python files when they are run; a GGUF file holds its own."""
    if not path.is_dir():
        return memory.of_file(path)
    return fingerprints.of_files([*tokenizer_files(path), *(_files(path, "*.py") if code else ())], memory)


def _files(folder: Path, pattern: str) -> list[Path]:
    return [file for file in folder.glob(pattern) if file.is_file()]


def surroundings(placement: Placement) -> dict[str, Any]:
    """Return what decides where and in which type a model is loaded: the options, the libraries, the accelerators in sight."""
    seen = [name for name in ("/dev/nvidia0", "/dev/kfd") if Path(name).exists()]
    visible = {name: os.environ[name] for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES") if name in os.environ}
    return {"placement": asdict(placement), "versions": library_versions(), "machine": _machine(), "seen": seen, "visible": visible}


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that load models and make tokens."""
    versions = {}
    for name in ("torch", "transformers", "tokenizers", "gguf", "safetensors"):
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def _machine() -> str:
    import platform

    return f"{platform.node()}/{platform.system()}/{platform.machine()}"
