"""Measuring once: what is asked for is found in the store or measured, and kept; what visits a sweep shares it. No torch until it must."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fixtures.corpus import Corpus
from fixtures.models import Model
from fixtures.naming import printable
from harness import measurement as m
from harness.arithmetic import exact_arithmetic
from harness.bookmark import StoreBookmark, unfinished
from harness.errors import LongWorkError, MeasurementError, TextError, again
from harness.guarded import guarded
from harness.layouts import Windows
from harness.measurement import Arrays, Measurement, Sizes
from harness.pair import Pair
from harness.sharing import sharing
from harness.statistics import Array
from harness.store import Record
from harness.subject import SubjectFacts
from harness.work import Work

if TYPE_CHECKING:
    from harness.bench import Bench
    from harness.loading import Subject
    from harness.streams import Keeping, Streams
    from harness.sweep import Progress

Announce = Callable[[str], "Progress"]
"""Called with what is about to be measured; returns where its progress goes."""

Handed = tuple[Measurement, dict[str, Any] | Exception]
"""A measurement, with its results by rung, or what was raised in their place."""


class Measuring(Pair):
    """The way to any measurement of one model on one corpus under one protocol."""

    def __init__(self, bench: Bench, model: Model, corpus: Corpus, facts: SubjectFacts) -> None:
        super().__init__(bench, model, corpus, facts)
        self.timings: dict[str, dict[str, Any]] = {}
        self.handed: dict[str, Handed] = {}
        """By name, every measurement that was handed out since this was last emptied."""
        self.written: dict[str, Any] = {}
        """Likewise what was said of files that a run writes beside its figures: ``maps``, ``tokens``; or what was raised."""
        self._found: dict[str, dict[str, Any]] = {}
        self._failed: dict[str, Exception] = {}
        self._apart: set[str] = set()
        """Layouts on which a shared sweep has failed."""
        self._sharing = 0.0
        """Seconds in sweeps that were shared: they are told of one measurement, and of no other that asked for streams meanwhile."""

    def is_stored(self, measurement: Measurement) -> bool:
        """Whether a measurement can be read from the store, as far as that is known without loading the model."""
        ids = self._find_windows(measurement.layout, only_stored=True)
        if ids is None:
            return False
        if measurement in m.TRANSFER:
            own, others = m.on(m.LAST_MAP, measurement.rungs[0]), self._bench.elsewhere(self.model, self.corpus)
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
            try:
                if name not in self._found:
                    self._found[name] = self._measure(measurement)
            except Exception as error:  # It would fail again for every cell, at the same cost.
                self._failed[name] = again(error)
                raise
            finally:
                self._bench.drop_streams(self.model, self.corpus, self._start_from_streams)
        return self._found[name]

    def _start_from_streams(self, layout: str) -> bool:
        """Whether what is wanted and still to be made starts from a layout's streams; where it is not known what is, it may."""
        known = {*self._found, *self._failed}
        mine = (each for each in self._wanted if each.keeps and each.layout == layout and each.name not in known and self._may(each))
        return not self._wanted or not all(map(self.is_stored, mine))

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
        found = self._stored(measurement, self._key(measurement, ids), self._sizes_of(ids))
        if found is not None:
            self.timings[measurement.name] = {"stored": True, "windows": self._counts(measurement, ids)}
            store.drop(unfinished(self._key(measurement, ids)))  # A process killed between the two left it.
            return found
        if not self._may(measurement):
            raise LongWorkError
        self.facts = (subject := self._bench.load(self.model)).facts
        if measurement.visits:
            self._share(subject, measurement.layout, measurement)
            if measurement.name in self._found:
                return self._found[measurement.name]
        work = self._work(subject, measurement, ids, self._bench.announce(measurement.name))
        start, shared = time.perf_counter(), self._sharing
        with work.bookmark.dropped_on_failure():
            arrays = measurement.measure(work)
            found = measurement.read(arrays, self._sizes_of(ids))
        own = time.perf_counter() - start - (self._sharing - shared)
        self._put(measurement, arrays, found, ids, {"seconds": round(own, 2)})
        work.bookmark.drop()
        return found

    def _share(self, subject: Subject, layout: str, asked: Measurement | None = None) -> None:
        """Make what is wanted of a layout and visits a sweep in one, with its streams where they will be needed.

        Nothing is done where only one thing would be made; where anything fails, each is made on its own when it is asked for.
        """
        others = [other for other in self._visiting(layout) if asked is None or (other != asked and other.code != asked.code)]
        members = [asked] if asked and asked.brings else [*([asked] if asked else []), *others]
        keeps = asked is None or (bool(self._wanted) and self._start_from_streams(layout))
        keeps = keeps and layout not in self._bench.streams(self.model, self.corpus)
        if layout in self._apart or not members or len(members) + keeps < 2:
            return
        from harness.batching import completed
        from harness.visits import opened

        ids, start = self.windows(layout), time.perf_counter()
        shown = {split: windows for split, windows in ids.items() if keeps or any(split in member.needs() for member in members)}
        # It holds what every visitor has found, so its key holds what every one depends on, and what is swept.
        keys = [self._key(member, ids) for member in members]
        bookmark = StoreBookmark(self._bench.store, {**keys[0], "beside": keys[1:], "swept": list(shown)})

        @exact_arithmetic()
        def once() -> tuple[list[tuple[Measurement, Arrays]], Streams | None]:
            keeping = self._keeping(subject, layout) if keeps else None
            with opened([self._work(subject, member, ids, lambda done, total: None) for member in members]) as visits:
                made = visits.measurements
                if len(made) + keeps < 2:
                    return [], None
                names = [member.name for member in made]
                progress = self._bench.announce(" + ".join([*names, *(["streams"] if keeping else [])]))
                arrays, seen = visits.sweep(shown, keeping.visitors if keeping else [], progress, bookmark)
                return list(zip(made, arrays, strict=True)), keeping.kept() if keeping and seen else None

        try:
            made, streams = completed(once)
            found = [member.read(arrays, self._sizes_of(ids)) for member, arrays in made]
        except Exception as error:  # Whoever fails will say so in cells of its own.
            self._apart.add(layout)
            self._bench.say(f"what shares a sweep over {layout} windows is made one by one: {printable(error) or type(error).__name__}")
            bookmark.drop()
            return
        seconds = time.perf_counter() - start
        self._sharing += seconds
        for (member, arrays), results in zip(made, found, strict=True):
            first = made[0][0]
            self._put(member, arrays, results, ids, {"seconds": round(seconds, 2)} if member is first else {"with": first.name})
        bookmark.drop()
        if streams is not None:
            self._hold(layout, streams)

    def _visiting(self, layout: str) -> list[Measurement]:
        """Return what is wanted, still to be made, and shares a sweep over a layout's windows."""
        known = {*self._found, *self._failed}
        missing = (each for each in self._wanted if each.name not in known and self._may(each) and not self.is_stored(each))
        return sharing(missing, layout)

    def _work(self, subject: Subject, measurement: Measurement, ids: Windows, progress: Progress) -> Work:
        """Return what a measurement is made from."""

        def also(other: Measurement, arrays: dict[str, Array]) -> None:
            self._take(other, arrays, ids, measurement.name)

        def maps() -> dict[str, dict[str, Any]]:
            by_rung = {rung: self._maps(rung) for rung in measurement.rungs}
            return {text: {rung: kept[text] for rung, kept in by_rung.items()} for text in by_rung[measurement.rungs[0]]}

        protocol = guarded(self.protocol, measurement.depends, measurement.easy, measurement.name)

        def streams() -> Streams:
            _ = protocol.typical_factor  # The tokens that are marked in them depend on it.
            return self._streams(subject, measurement)

        bookmark = StoreBookmark(self._bench.store, self._key(measurement, ids))
        needed = {split: ids[split] for split in measurement.needs()}
        return Work(subject, measurement, needed, protocol, progress, bookmark, streams, also, maps)

    def _put(self, measurement: Measurement, arrays: dict[str, Array], found: dict[str, Any], ids: Windows, how: dict[str, Any]) -> None:
        """Keep what was measured, ``how``: in how many seconds, or with what else."""
        self._found[measurement.name] = found
        self.timings[measurement.name] = {"stored": False, **how, "windows": self._counts(measurement, ids)}
        seconds = {name: how[name] for name in ("seconds",) if name in how}
        self._bench.store.put(self._key(measurement, ids), Record(arrays, {**self._names(), **seconds}))

    def _counts(self, measurement: Measurement, ids: Windows) -> dict[str, int]:
        return {split: len(ids[split]) for split in measurement.needs()}

    def _take(self, measurement: Measurement, arrays: dict[str, Array], ids: Windows, bringer: str) -> None:
        """Keep what came with another measurement."""
        if measurement.name not in self._found:
            self._put(measurement, arrays, measurement.read(arrays, self._sizes_of(ids)), ids, {"with": bringer})

    def _stored(self, measurement: Measurement, key: dict[str, Any], sizes: Sizes) -> dict[str, Any] | None:
        return self._bench.store.get(key, lambda record: measurement.read(record.arrays, sizes))

    def _streams(self, subject: Subject, measurement: Measurement) -> Streams:
        """Return the kept streams of a layout; they live until nothing that is wanted starts from them, or other streams are kept."""
        held, layout, asked = self._bench.streams(self.model, self.corpus), measurement.layout, measurement is m.SPECTRA
        if layout not in held:
            self._share(subject, layout)
        if layout not in held or (asked and held[layout].spectra is None):
            from harness.sweep import sweep

            keeping, ids = self._keeping(subject, layout, asked), self.windows(layout)
            sweep(subject.anatomy, ids, keeping.visitors, subject.device, self._bench.announce(f"streams, {layout} windows"))
            self._hold(layout, keeping.kept())
        return held[layout]

    def _keeping(self, subject: Subject, layout: str, spectra: bool = False) -> Keeping:
        """Return what keeps the streams of a layout in a sweep, with the spectra where these are asked for or wanted."""
        from harness.spectra_sweep import SpectraVisitor
        from harness.streams import DEPENDS, EASY, Keeping

        wanted = spectra or (layout == m.PAPER and m.SPECTRA in self._wanted and not self.is_stored(m.SPECTRA))
        visitor = SpectraVisitor(subject.anatomy.width, self.protocol.typical_factor, subject.device) if wanted else None
        protocol = guarded(self.protocol, DEPENDS, EASY, "what keeps streams")
        return Keeping(subject.anatomy, self.windows(layout), protocol, visitor)

    def _hold(self, layout: str, streams: Streams) -> None:
        self._bench.streams(self.model, self.corpus)[layout] = streams
        if streams.spectra is not None:  # Already paid for.
            self._bench.store.put(self._key(m.SPECTRA, self.windows(layout)), Record(streams.spectra, self._names()))

    def _fitted_to(self, measurement: Measurement) -> list[dict[str, Any]]:
        """What the maps that are scored depend on."""
        own = m.on(m.LAST_MAP, measurement.rungs[0])
        return [lab._key(own, lab.windows(own.layout)) for lab in (self, *self._elsewhere(measurement.rungs[0]))]
