"""What a figure was measured with, as flat text, and in what two such set-ups differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports.document import Document

Setup = dict[str, str]

_MODEL = ("weights", "dtype", "device_kind", "attention", "provenance")
_CORPUS = {"text": "text", "edition": "edition", "splitting": "splitting"}
_PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "scipy")


@dataclass(frozen=True)
class Difference:
    """One thing that differs, as both sides have it; ``""`` where a side does not say."""

    what: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.what}: {self.before or 'not stated'} → {self.after or 'not stated'}"


def setup_of(document: Document, model: str, corpus: str) -> Setup:
    """Return what a report says of how a model was measured on a text: weights, text, protocol, bounds, code, software, device.

    Keys of nested parts have dots: ``protocol.window``. The bounds' hash covers the protocol's defaults, the code's is over the files
    of harness and claims.
    """
    contents = document.contents
    of_model, of_corpus = contents.get("models", {}).get(model, {}), contents.get("corpora", {}).get(corpus, {})
    environment = contents.get("environment", {})
    code = environment.get("code") or {}
    setup = {name: of_model.get(name) for name in _MODEL} | {name: of_corpus.get(key) for name, key in _CORPUS.items()}
    setup |= {"bounds": contents.get("bounds", {}).get("sha256"), "code": code.get("sha256"), "version": code.get("version")}
    setup |= {f"measurement.{name}": version for name, version in (code.get("measurements") or {}).items()}
    setup |= _flat("protocol", contents.get("protocol", {}))
    packages = environment.get("packages") or {}
    setup |= {name: packages.get(name) for name in _PACKAGES} | {"python": environment.get("python")}
    return {name: _text(value) for name, value in setup.items() if value is not None}


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[Difference]:
    """Return what differs, in the order of ``before``, then what only ``after`` has."""
    names = [*before, *(name for name in after if name not in before)]
    return [Difference(name, before.get(name, ""), after.get(name, "")) for name in names if before.get(name) != after.get(name)]


def _flat(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return {key: part for inner, child in value.items() for key, part in _flat(f"{name}.{inner}", child).items()}
    return {name: value}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
