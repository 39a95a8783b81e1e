"""Measuring once: one model on one corpus; what is asked for is found in the store or measured, and kept. No torch until it must."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fixtures.corpus import Corpus, Splits
from fixtures.models import Model
from fixtures.sources import Hub
from harness import challengers, layouts
from harness import measurement as m
from harness.arithmetic import ARITHMETIC
from harness.bookmark import StoreBookmark, unfinished
from harness.errors import LongWorkError, MeasurementError, TextError, again
from harness.guarded import as_keyed, guarded
from harness.layouts import Windows
from harness.measurement import Measurement, Sizes
from harness.statistics import Array
from harness.store import Record
from harness.subject import SubjectFacts, library_versions
from harness.work import Work

if TYPE_CHECKING:
    from harness.bench import Bench
    from harness.loading import Subject
    from harness.streams import Streams
    from harness.sweep import Progress

Announce = Callable[[str], "Progress"]
"""Called with what is about to be measured; returns where its progress goes."""

Handed = tuple[Measurement, dict[str, Any] | Exception]
"""A measurement, with its results by rung, or what was raised in their place."""


class Measuring:
    """One model on one corpus under one protocol: its windows, and the way to any measurement."""

    def __init__(self, bench: Bench, model: Model, corpus: Corpus, facts: SubjectFacts) -> None:
        self.model, self.corpus, self.facts, self.protocol = model, corpus, facts, bench.protocol
        self.timings: dict[str, dict[str, Any]] = {}
        self.handed: dict[str, Handed] = {}
        """By name, every measurement that was handed out since this was last emptied."""
        self.written: dict[str, Any] = {}
        """Likewise what was said of files that a run writes beside its figures: ``maps``, ``tokens``; or what was raised."""
        self._bench = bench
        self._found: dict[str, dict[str, Any]] = {}
        self._windows: dict[str, Windows] = {}
        self._failed: dict[str, Exception] = {}

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

    def is_stored(self, measurement: Measurement) -> bool:
        """Whether a measurement can be read from the store, as far as that is known without loading the model."""
        ids = self._find_windows(measurement.layout, only_stored=True)
        if ids is None:
            return False
        if measurement in m.TRANSFER:
            own = m.on(m.LAST_MAP, measurement.rungs[0])
            others = self._bench.elsewhere(self.model, self.corpus)
            if not others or not all(each.is_stored(own) for each in (self, *others)):
                return False
        return self._stored(measurement, self._key(measurement, ids), self._sizes_of(ids)) is not None

    def _elsewhere(self, rung: str) -> list[Measuring]:
        """Measurings of the same model on the other texts whose map can be had; a text that is too short has none."""
        found = list[Measuring]()
        for other in self._bench.elsewhere(self.model, self.corpus):
            with contextlib.suppress(TextError, MeasurementError):
                other._find(m.LAST_MAP, rung)
                found.append(other)
        return found

    def _maps(self, rung: str) -> dict[str, Any]:
        """The last block's maps by text, this one's first."""
        return {each.corpus.name: each._find(m.LAST_MAP, rung) for each in (self, *self._elsewhere(rung))}

    def _find(self, measurements: tuple[Measurement, ...], rung: str) -> Any:
        measurement = m.on(measurements, rung)
        try:
            found = self._once(measurement)
        except Exception as error:
            self.handed[measurement.name] = measurement, again(error)
            raise
        self.handed[measurement.name] = measurement, found
        return found[rung]

    def _once(self, measurement: Measurement) -> dict[str, Any]:
        """Return the results by rung, looked up or measured the first time; what failed once fails at once."""
        name = measurement.name
        if name in self._failed:
            raise again(self._failed[name])
        if name not in self._found:
            self._bring(measurement)
        if name not in self._found:
            try:
                self._found[name] = self._measure(measurement)
            except Exception as error:  # It would fail again for every cell, at the same cost.
                self._failed[name] = again(error)
                raise
        return self._found[name]

    def _bring(self, measurement: Measurement) -> None:
        """Where another measurement that is wanted too brings this one along, make that one. When it fails, this one is made alone."""
        for other in self._wanted:
            if measurement in other.brings and not {other.name, measurement.name} & {*self._found, *self._failed}:
                if self.is_stored(measurement) or self.is_stored(other) or not self._may(other):
                    continue
                try:
                    self._found[other.name] = self._measure(other)
                except Exception as error:
                    self._failed[other.name] = again(error)

    @property
    def _wanted(self) -> tuple[Measurement, ...]:
        """What the run asks of this model on this text."""
        return self._bench.wanted.get((self.model.name, self.corpus.name), ())

    def _may(self, measurement: Measurement) -> bool:
        """Whether a measurement may be made here: what takes very long on a CPU is to be asked for."""
        return not measurement.long or self._bench.long or self.facts.device != "cpu"

    def _measure(self, measurement: Measurement) -> dict[str, Any]:
        ids, store = self.windows(measurement.layout), self._bench.store
        needed = {split: ids[split] for split in measurement.needs()}
        counts, sizes = {split: len(i) for split, i in needed.items()}, self._sizes_of(ids)
        found = self._stored(measurement, self._key(measurement, ids), sizes)
        if found is not None:
            self.timings[measurement.name] = {"stored": True, "windows": counts}
            store.drop(unfinished(self._key(measurement, ids)))  # A process killed between the two left it.
            return found
        if not self._may(measurement):
            raise LongWorkError
        from harness.sweep import BATCH

        subject = self._bench.load(self.model)
        self.facts = subject.facts
        key = self._key(measurement, ids)
        bookmark = StoreBookmark(store, key, BATCH)
        start, announced = time.perf_counter(), self._bench.announce(measurement.name)

        def also(other: Measurement, arrays: dict[str, Array]) -> None:
            self._take(other, arrays, ids, measurement.name)

        def maps() -> dict[str, dict[str, Any]]:
            by_rung = {rung: self._maps(rung) for rung in measurement.rungs}
            return {text: {rung: kept[text] for rung, kept in by_rung.items()} for text in by_rung[measurement.rungs[0]]}

        protocol = guarded(self.protocol, measurement.depends, measurement.easy, measurement.name)

        def streams() -> Streams:
            _ = protocol.typical_factor  # The tokens that are marked in them depend on it.
            return self._streams(subject, measurement)

        work = Work(subject, measurement, needed, protocol, announced, bookmark, streams, also, maps)
        try:
            arrays = measurement.measure(work)
            found = measurement.read(arrays, sizes)
        except MeasurementError:
            bookmark.drop()
            raise
        seconds = round(time.perf_counter() - start, 2)
        self.timings[measurement.name] = {"stored": False, "seconds": seconds, "windows": counts}
        store.put(key, Record(arrays, {**self._names(), "seconds": seconds}))
        bookmark.drop()
        return found

    def _take(self, measurement: Measurement, arrays: dict[str, Array], ids: Windows, bringer: str) -> None:
        """Keep what came with another measurement."""
        if measurement.name not in self._found:
            self._found[measurement.name] = measurement.read(arrays, self._sizes_of(ids))
            counts = {split: len(ids[split]) for split in measurement.needs()}
            self.timings[measurement.name] = {"stored": False, "with": bringer, "windows": counts}
            self._bench.store.put(self._key(measurement, ids), Record(arrays, self._names()))

    def _stored(self, measurement: Measurement, key: dict[str, Any], sizes: Sizes) -> dict[str, Any] | None:
        return self._bench.store.get(key, lambda record: measurement.read(record.arrays, sizes))

    def _streams(self, subject: Subject, measurement: Measurement) -> Streams:
        """Return the kept streams of a layout; they live as long as the model is loaded and no other text is measured."""
        from harness.spectra_sweep import SpectraVisitor
        from harness.streams import DEPENDS, EASY, keep

        layout, asked = measurement.layout, measurement is m.SPECTRA
        held = self._bench.streams(self.model, self.corpus)
        kept = held.get(layout)
        if kept is None or (asked and kept.spectra is None):
            wanted = asked or (layout == m.PAPER and m.SPECTRA in self._wanted and not self.is_stored(m.SPECTRA))
            visitor = SpectraVisitor(subject.anatomy.width, self.protocol.typical_factor, subject.device) if wanted else None
            progress = self._bench.announce(f"streams, {layout} windows")
            protocol = guarded(self.protocol, DEPENDS, EASY, "what keeps streams")
            kept = keep(subject.anatomy, self.windows(layout), protocol, visitor, subject.device, progress)
            held[layout] = kept
            if kept.spectra is not None:  # Already paid for.
                self._bench.store.put(self._key(m.SPECTRA, self.windows(layout)), Record(kept.spectra, self._names()))
        return kept

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

    def _fitted_to(self, measurement: Measurement) -> list[dict[str, Any]]:
        """What the maps that are scored depend on."""
        own = m.on(m.LAST_MAP, measurement.rungs[0])
        return [lab._key(own, lab.windows(own.layout)) for lab in (self, *self._elsewhere(measurement.rungs[0]))]

    def _names(self) -> dict[str, str]:
        return {"model": self.model.name, "corpus": self.corpus.name}


def layout_of(rung: str) -> str:
    """Return the layout whose windows a rung is measured on."""
    return m.STRICT if rung == "strict" else m.PAPER
