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

from fixtures.models import Folder, Model
from harness import fingerprints

DEVICES = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")
EXPECTED_DEVICES = "auto, cpu, mps, cuda or cuda:N"


@dataclass(frozen=True)
class SubjectFacts:
    """How a model turned out when it was loaded: everything that keys and reports need of it.

    ``weights``: SHA-256 of the weights. ``vocabulary``: rows of the token embedding. ``context``: most positions, 0 when not stated.
    ``device`` as torch names it, ``device_kind`` the model of accelerator or processor architecture.
    """

    weights: str
    width: int
    vocabulary: int
    context: int
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
            if not isinstance(value, int if name in ("width", "vocabulary", "context") else str):
                raise ValueError(f"{name} is a {type(value).__name__}")
        return cls(**notes)


def weights_fingerprint(model: Model, path: Path, memory: fingerprints.Memory) -> str:
    """SHA-256 over the weights: of the one file, or over names and contents of a folder's config and safetensors."""
    if isinstance(model.source, Folder):
        return fingerprints.of_files([path / "config.json", *path.glob("*.safetensors")], memory)
    return memory.of_file(path)


def tokenizer_fingerprint(model: Model, path: Path, memory: fingerprints.Memory) -> str:
    """SHA-256 over the files a tokenizer is built from; a GGUF file holds its own."""
    if isinstance(model.source, Folder):
        return fingerprints.of_files(model.source.tokenizer_files(), memory)
    return memory.of_file(path)


def surroundings(device: str, dtype: str) -> dict[str, Any]:
    """Return what decides where and in which type a model is loaded: the options, the libraries, the accelerators in sight."""
    versions = {}
    for name in ("torch", "transformers", "tokenizers", "gguf", "safetensors"):
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    seen = [name for name in ("/dev/nvidia0", "/dev/kfd") if Path(name).exists()]
    visible = {name: os.environ[name] for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES") if name in os.environ}
    return {"device": device, "dtype": dtype, "versions": versions, "machine": _machine(), "seen": seen, "visible": visible}


def _machine() -> str:
    import platform

    return f"{platform.node()}/{platform.system()}/{platform.machine()}"
