"""One model on one corpus under one protocol: its windows, and everything that its figures depend on. No torch until it must."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from fixtures.corpus import Corpus, Splits
from fixtures.models import Model
from fixtures.sources import Hub
from harness import challengers, layouts
from harness import measurement as m
from harness.arithmetic import ARITHMETIC
from harness.guarded import as_keyed
from harness.layouts import Windows
from harness.measurement import Measurement, Sizes
from harness.store import Record
from harness.subject import SubjectFacts, library_versions

if TYPE_CHECKING:
    from harness.bench import Bench


class Pair(ABC):
    """A model and a text: windows, and the keys of measurements, which hold all that figures depend on."""

    def __init__(self, bench: Bench, model: Model, corpus: Corpus, facts: SubjectFacts) -> None:
        self.model, self.corpus, self.facts, self.protocol = model, corpus, facts, bench.protocol
        self._bench = bench
        self._windows: dict[str, Windows] = {}

    @property
    def splits(self) -> Splits:
        """The text of the corpus. Raises CorpusError when it cannot be had."""
        return self._bench.text(self.corpus)

    @property
    def source(self) -> str:
        """Where the model's files are, for a report: the path, or repository and commit."""
        path = self._bench.path(self.model)
        return f"{self.model.source.repo} at {path.name}" if isinstance(self.model.source, Hub) else str(path)

    def windows(self, layout: str) -> Windows:
        """Token ids of a layout's windows, split → ``(windows, tokens) int64``. Raises TextError when the text is too short."""
        found = self._find_windows(layout)
        assert found is not None
        return found

    def sizes(self, rung: str) -> dict[str, int]:
        """Windows of each split on a rung."""
        return {split: len(ids) for split, ids in self.windows(layout_of(rung)).items()}

    def unknown(self, rung: str) -> float:
        """Share of the windows' tokens that are the tokenizer's token for what it does not know, on a rung."""
        ids = np.concatenate([ids.ravel() for ids in self.windows(layout_of(rung)).values()])
        return float((ids == self.facts.unknown).mean())

    def _find_windows(self, layout: str, only_stored: bool = False) -> Windows | None:
        if layout not in self._windows:
            planned = layouts.plan(layout, self.protocol, self.facts.width)
            key = {
                "measurement": "windows",
                "version": 3,
                "tokenizer": self._bench.tokenizer(self.model),
                "libraries": library_versions(),
                "text": self.splits.fingerprint,
                "rendered": self.corpus.render is not None,
                "plan": planned,
            }
            found = self._bench.store.get(key, lambda record: layouts.decode(record, planned))
            if found is None and only_stored:
                return None
            if found is None:
                found = layouts.cut(planned, self._bench.load(self.model).tokenizer, self.corpus, self.splits, self.model.name)
                self._bench.store.put(key, Record(found, self._names()))
            layouts.check_fit(found, self.facts, self.model.name, self.corpus.name, self.protocol.window)
            self._windows[layout] = found
        return self._windows[layout]

    def _sizes_of(self, ids: Windows) -> Sizes:
        return Sizes(self.model.n_blocks, self.facts.width, self.protocol.groups, {split: len(i) for split, i in ids.items()})

    def key(self, measurement: Measurement) -> dict[str, Any]:
        """Everything the figures of a measurement depend on, as the store names it by."""
        return self._key(measurement, self.windows(measurement.layout))

    def _key(self, measurement: Measurement, ids: Windows) -> dict[str, Any]:
        needed = {split: ids[split] for split in measurement.needs()}
        maps = {"maps": self._fitted_to(measurement)} if measurement in m.TRANSFER else {}
        with_it = {"brings": [part for other in measurement.brings for part in (other.name, other.version)]} if measurement.brings else {}
        entered = {"challengers": challengers.entered()} if measurement in (m.ARENA[1], m.QUANTISED[1]) and challengers.ENTERED else {}
        what = {"measurement": measurement.name, "version": measurement.version, **with_it, **entered}
        conditions = self.conditions(needed)
        if measurement.of_weights:
            del conditions["text"]
        conditions["protocol"] = as_keyed(self.protocol, measurement.depends, measurement.easy)
        if measurement in m.EXIT:  # It keeps the text of tokens.
            conditions["tokenizer"] = self._bench.tokenizer(self.model)
        return {**what, **conditions, **maps}

    def conditions(self, tokens: Windows) -> dict[str, Any]:
        """Everything that figures of these windows depend on, but for what is measured, and the sizes of claim 5."""
        facts, protocol = self.facts, self.protocol.as_dict()
        del protocol["easy"]
        return {
            "weights": facts.weights,
            "blocks": self.model.blocks,
            "text": self.splits.fingerprint,
            "tokens": {split: [list(i.shape), hashlib.sha256(i.tobytes()).hexdigest()] for split, i in tokens.items()},
            "protocol": protocol,
            "dtype": facts.dtype,
            "attention": facts.attention,
            "device": facts.device_kind,
            **({"arithmetic": ARITHMETIC} if facts.device != "cpu" else {}),
            # A model spread over devices keeps its head in its own type, whatever the device.
            **({"spread": True} if self._bench.placement.device_map is not None else {}),
        }

    @abstractmethod
    def _fitted_to(self, measurement: Measurement) -> list[dict[str, Any]]:
        """What the maps that are scored depend on."""

    def _names(self) -> dict[str, str]:
        return {"model": self.model.name, "corpus": self.corpus.name}


def layout_of(rung: str) -> str:
    """Return the layout whose windows a rung is measured on."""
    return m.STRICT if rung == "strict" else m.PAPER
