"""Where the figures of a page come from: weights, text, protocol, bounds, software, device, timings, command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reports.page_subjects import Subject

_NAMES = {
    "about": "model",
    "weights": "weights (SHA-256)",
    "n_blocks": "blocks",
    "text": "splits (SHA-256)",
    "splitting": "calibration / evaluation",
    "sha256": "SHA-256",
    "device_kind": "kind of device",
    "unknown": "unknown tokens",
}


@dataclass(frozen=True)
class Facts:
    """Facts of one kind, as (name, value) pairs; ``folded``: long, and opened when asked for."""

    heading: str
    pairs: tuple[tuple[str, str], ...]
    folded: bool = False


@dataclass(frozen=True)
class Timing:
    """A measurement: what was measured, on how many windows of which kind, and how long it took or where else it comes from."""

    what: str
    windows: str
    source: str


def facts_of(subject: Subject) -> list[Facts]:
    """Return what a report says of a model, a text, and how the one was measured on the other."""
    contents = subject.document.contents
    of_model, of_corpus = contents.get("models", {}).get(subject.model), contents.get("corpora", {}).get(subject.corpus)
    environment, bounds = contents.get("environment", {}), contents["bounds"]
    code = environment.get("code") or {}
    software = {name: value for name, value in environment.items() if not isinstance(value, (dict, list))} | _map(
        environment.get("packages")
    )
    software |= {f"code, {name}": value for name, value in _map(code).items() if name != "measurements"}
    lock = {"SHA-256": bounds["sha256"], "locked": "as locked" if bounds["locked"] else "NOT as locked: changed without an amendment"}
    lock |= {"amendments": "; ".join(bounds["amendments"]) or "none"}
    return [
        Facts("Model", tuple(_pairs(of_model or {"state": "not loaded"}))),
        Facts("Text", (("name", subject.corpus), *_pairs(of_corpus or {}))),
        Facts("Bounds", tuple(lock.items())),
        Facts("Software and machine", tuple(_pairs(software))),
        Facts("Protocol", tuple(_pairs(_flat("", contents.get("protocol", {})))), folded=True),
        Facts("Versions of measurements", tuple(_pairs(_map(code.get("measurements")))), folded=True),
    ]


def timings_of(subject: Subject) -> list[Timing]:
    """Return the measurements of a model on a text."""
    timings = subject.document.contents.get("timings", {}).get(f"{subject.model}/{subject.corpus}")
    found = []
    for what, timing in _map(timings).items():
        t = _map(timing)
        windows = ", ".join(f"{count} {kind}" for kind, count in _map(t.get("windows")).items())
        source = "from the store" if t.get("stored") else f"with: {t['with']}" if "with" in t else f"{_text(t.get('seconds', '–'))} s"
        found.append(Timing(str(what), windows or "weights alone", source))
    return found


def command_of_run(subject: Subject) -> str:
    """Return the command that the run was started with, as a shell takes it."""
    words = subject.document.contents.get("environment", {}).get("command")
    return shlex.join(map(str, words)) if isinstance(words, list) else ""


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _pairs(values: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    return ((_NAMES.get(name, name.replace("_", " ")), _text(value)) for name, value in values.items())


def _flat(name: str, value: Any) -> dict[str, Any]:
    """Nested values by their path: ``variance.share``."""
    if isinstance(value, Mapping):
        return {key: part for inner, child in value.items() for key, part in _flat(f"{name}.{inner}".lstrip("."), child).items()}
    return {name: value}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
