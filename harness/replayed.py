"""A laboratory that measures nothing: what a run kept of a test is handed out again, without model or text. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from fixtures.corpus import Corpus
from fixtures.errors import CorpusError
from fixtures.models import Model
from fixtures.sources import Folder
from harness.errors import MeasurementError, again
from harness.laboratory import Laboratory
from harness.layouts import Windows
from harness.map_file import SavedMaps
from harness.measurement import Measurement
from harness.measuring import Handed, Measuring
from harness.protocol import Protocol
from harness.statistics import Array
from harness.subject import SubjectFacts


class NotKeptError(Exception):
    """A test asks for what was not kept, or for what this version measures in another way. Nothing that a test would take for an answer."""


@dataclass(frozen=True)
class Kept:
    """What one test was given.

    ``windows``: layout → token ids. ``versions`` and ``arrays``: by measurement, which version of it, and what it found. ``failures``: what
    was raised in a measurement's place. ``maps``, ``tokens``: what was said of the files that ``--save-maps`` and ``--tokens`` wrote.
    """

    windows: Mapping[str, Windows]
    versions: Mapping[str, int]
    arrays: Mapping[str, Mapping[str, Array]]
    failures: Mapping[str, Exception] = field(default_factory=dict)
    maps: SavedMaps | None = None
    tokens: str | MeasurementError | None = None


class Replayed(Laboratory):
    """Hands out what was kept, checked as what is found in the store is."""

    def __init__(self, model: str, n_blocks: int, corpus: str, facts: SubjectFacts, protocol: Protocol, kept: Kept) -> None:
        self.model = Model(model, "replayed", n_blocks, Folder(""))
        self.corpus = Corpus(corpus, "", "", "", _no_text)
        self.facts, self.protocol, self._kept = facts, protocol, kept
        self.handed: dict[str, Handed] = {}
        self._found: dict[str, dict[str, Any]] = {}

    def windows(self, layout: str) -> Windows:
        """Token ids of a layout's windows. Raises NotKeptError."""
        if layout not in self._kept.windows:
            raise NotKeptError(f"the {layout} windows were not kept")
        return self._kept.windows[layout]

    def saved_maps(self, rung: str) -> SavedMaps | None:
        """What was said of the file of maps; nothing is written."""
        return self._kept.maps

    def keep_tokens(self, rung: str) -> str | None:
        """What was said of the table of tokens; nothing is written."""
        if isinstance(self._kept.tokens, MeasurementError):
            raise again(self._kept.tokens)
        return self._kept.tokens

    def _elsewhere(self, rung: str) -> list[Measuring]:
        raise NotKeptError("maps of other texts are not kept: no verdict rests on them")

    def _once(self, measurement: Measurement) -> dict[str, Any]:
        name, kept = measurement.name, self._kept
        if name in kept.failures:
            raise again(kept.failures[name])
        if name not in self._found:
            if name not in kept.arrays:
                raise NotKeptError(f"'{name}', which this version's test asks for, was not kept")
            if kept.versions.get(name) != measurement.version:
                raise NotKeptError(
                    f"'{name}' was measured by its version {kept.versions.get(name)}, and this code has version {measurement.version}"
                )
            self._found[name] = measurement.read(kept.arrays[name], self._sizes_of(self.windows(measurement.layout)))
        return self._found[name]


def protocol_from(stated: Mapping[str, Any]) -> Protocol:
    """Rebuild a protocol from :meth:`Protocol.as_dict`. Raises ValueError for fields, or types, that are not a protocol's."""
    found: Protocol = _filled(Protocol(), stated, "protocol")
    return found


def _filled(usual: Any, stated: Any, where: str) -> Any:
    """A value as stated, in the place of the usual one, whose type it has."""
    if is_dataclass(usual) and not isinstance(usual, type):
        names = [f.name for f in fields(usual)]
        if not isinstance(stated, Mapping) or set(stated) != set(names):
            raise ValueError(f"{where}: fields are not those of this version's")
        return replace(usual, **{name: _filled(getattr(usual, name), stated[name], f"{where}.{name}") for name in names})
    if isinstance(usual, tuple):
        if not isinstance(stated, list):
            raise ValueError(f"{where} is no list")
        return tuple(_filled(usual[0], part, where) for part in stated)
    if type(stated) is int and isinstance(usual, float):
        return float(stated)
    if type(stated) is not type(usual):
        raise ValueError(f"{where} is a {type(stated).__name__}, expected {type(usual).__name__}")
    return stated


def _no_text(say: Any) -> Any:
    raise CorpusError("the text is not kept")
