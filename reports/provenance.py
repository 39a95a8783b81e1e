"""Where the figures of a run come from: weights, text, software, machine."""

from __future__ import annotations

import hashlib
import os
import platform
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fixtures.naming import printable
from harness.arithmetic import ARITHMETIC
from harness.measurement import MEASUREMENTS

if TYPE_CHECKING:
    from harness.laboratory import Laboratory

_ROOT = Path(__file__).parent.parent
_MEASURING = ("fixtures", "harness", "claims")
_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "gguf", "huggingface-hub", "datasets", "numpy", "scipy", "pytest")


def of_laboratory(laboratory: Laboratory, chosen: str) -> dict[str, Any]:
    """Describe the subject and the corpus of a laboratory, as sections of the report; ``chosen`` says why this corpus."""
    model, corpus, facts = laboratory.model, laboratory.corpus, laboratory.facts
    return {
        "models": {
            model.name: {
                "family": model.family,
                "n_blocks": model.n_blocks,
                "about": model.about,
                "licence": model.licence,
                "source": printable(laboratory.source),
                **facts.as_dict(),
            }
        },
        "corpora": {
            corpus.name: {
                "edition": corpus.edition,
                "splitting": corpus.splitting,
                "licence": corpus.licence,
                "text": laboratory.splits.fingerprint,
                "chosen": chosen,
            }
        },
        "timings": {f"{model.name}/{corpus.name}": laboratory.timings},
    }


def of_environment(arguments: Iterable[str]) -> dict[str, Any]:
    """Describe the software and the machine, and the command that was given."""
    packages = {}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            packages[name] = version(name)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "arithmetic": ARITHMETIC,
        "packages": packages,
        "command": ["pytest", *map(printable, arguments)],
        "code": of_code(),
    }


def of_code(root: Path = _ROOT) -> dict[str, Any]:
    """Describe the code that measures and judges: its version, SHA-256 over names and contents of its files, versions of measurements.

    Of fixtures, harness and claims; what only shows results is not part of it.
    """
    digest = hashlib.sha256()
    for file in sorted(file for package in _MEASURING for file in (root / package).glob("*.py")):
        digest.update(f"{file.relative_to(root).as_posix()}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {
        "version": project["version"],
        "sha256": digest.hexdigest(),
        "measurements": {measurement.name: measurement.version for measurement in MEASUREMENTS},
    }
