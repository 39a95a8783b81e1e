"""The bench: what is shared by the laboratories of a run. Files, texts, the store, and the one model that is loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fixtures.corpus import Corpus, Splits
from fixtures.errors import CorpusError, ModelError
from fixtures.models import Model
from harness.errors import again
from harness.fingerprints import Memory
from harness.laboratory import Laboratory
from harness.measurement import Measurement
from harness.measuring import Announce
from harness.protocol import Protocol
from harness.settings import Setting
from harness.store import Record, Store
from harness.subject import Placement, SubjectFacts, surroundings, tokenizer_fingerprint, weights_fingerprint
from harness.token_table import TokenTable

if TYPE_CHECKING:
    from harness.batching import Batching
    from harness.loading import Subject
    from harness.streams import Streams


class Room:
    """What the benches of a run share: files, their hashes, texts, and room for one loaded model with the streams of one laboratory."""

    def __init__(self, store: Store) -> None:
        self.memory = Memory(store)
        self.paths: dict[str, Path] = {}
        self.texts: dict[str, Splits | Exception] = {}
        self.failed: dict[str, Exception] = {}
        """By model, why its files cannot be had."""
        self.loaded: tuple[Placement, Subject] | None = None
        self.streams: tuple[Bench | None, str, str, dict[str, Streams]] = (None, "", "", {})

    def clear(self) -> None:
        """Let go of the model, and of what was kept of it."""
        self.loaded, self.streams = None, (None, "", "", {})


class Bench:
    """Hold the store, the room with the one model that is loaded, and the laboratories; what failed once fails at once the next time.

    A run has one bench, and one for every setting that is changed around it (:meth:`under`). ``wanted``: what the run asks of each model
    on each text. ``corpora``: all texts of the run. ``maps``: the folder in which the maps of replaced blocks are kept, ``tokens``: the
    file that a table of single tokens is written to, None for nowhere.
    """

    def __init__(
        self,
        placement: Placement,
        protocol: Protocol,
        store: Store,
        announce: Announce,
        say: Callable[[str], None] = lambda line: None,
        long: bool = False,
        wanted: Mapping[tuple[str, str], tuple[Measurement, ...]] = MappingProxyType({}),
        corpora: tuple[Corpus, ...] = (),
        maps: Path | None = None,
        tokens: Path | None = None,
        room: Room | None = None,
    ) -> None:
        self.placement, self.protocol, self.store, self.announce, self.say = placement, protocol, store, announce, say
        self.long, self.wanted, self.corpora, self.maps = long, wanted, corpora, maps
        self.tokens = None if tokens is None else TokenTable(tokens, protocol)
        self.room = room or Room(store)
        self.memory = self.room.memory
        self._failed: dict[str, Exception] = {}
        self._known: dict[str, SubjectFacts] = {}
        """By model, how it turned out when it was loaded here: without a store nothing else knows."""
        self._laboratories: dict[tuple[str, str], Laboratory] = {}

    def under(self, setting: Setting, wanted: Mapping[tuple[str, str], tuple[Measurement, ...]]) -> Bench:
        """Return the bench of the same run under a setting: the same store and room, and no files written beside the figures."""
        placement = self.placement if setting.dtype is None else replace(self.placement, dtype=setting.dtype)
        corpora = self.corpora if setting.corpus is None else (setting.corpus,)
        protocol = setting.protocol(self.protocol)

        def announce(what: str) -> Callable[[int, int], None]:
            return self.announce(f"{setting.name} · {what}")

        return Bench(placement, protocol, self.store, announce, self.say, self.long, wanted, corpora, room=self.room)

    def laboratory(self, model: Model, corpus: Corpus) -> Laboratory:
        """Return the laboratory of a model on a corpus. The model is loaded only when the store does not know how it turns out.

        Raises CorpusError for text that cannot be had, and whatever fetching or :func:`harness.loading.load` raised for this model, now
        or before.
        """
        place = (model.name, corpus.name)
        if place not in self._laboratories:
            self.path(model)
            self.text(corpus)  # What cannot be had is found out before a model is loaded.
            self._laboratories[place] = Laboratory(self, model, corpus, self.facts(model) or self.load(model).facts)
        return self._laboratories[place]

    def elsewhere(self, model: Model, corpus: Corpus) -> list[Laboratory]:
        """Return the laboratories of a model on the other texts of the run; those whose text cannot be had are left out."""
        found = []
        for other in self.corpora:
            with contextlib.suppress(CorpusError):
                found += [self.laboratory(model, other)] if other.name != corpus.name else []
        return found

    def path(self, model: Model) -> Path:
        """Return a model's files, fetched when they are not there. Raises ModelError when they cannot be had."""
        with self._remembered(model, self.room.failed):
            if model.unavailable:
                raise ModelError(model.unavailable)
            if model.name not in self.room.paths:
                self.room.paths[model.name] = model.source.fetch(self.say, self.placement.trust_remote_code)
            return self.room.paths[model.name]

    def text(self, corpus: Corpus) -> Splits:
        """Return a corpus' text, read once for all models."""
        if corpus.name not in self.room.texts:
            try:
                self.room.texts[corpus.name] = corpus.read(self.say)
            except CorpusError as error:
                self.room.texts[corpus.name] = again(error)
        found = self.room.texts[corpus.name]
        if isinstance(found, Exception):
            raise again(found)
        return found

    def tokenizer(self, model: Model) -> str:
        """Return the fingerprint of a model's tokenizer, of its code too when that is run."""
        code = self.placement.trust_remote_code
        return tokenizer_fingerprint(self.path(model), self.memory, code) + (" with code" if code else "")

    def streams(self, model: Model, corpus: Corpus) -> dict[str, Streams]:
        """Return the kept streams of a model on a corpus, by layout; those of another pair are let go."""
        owner, *of, held = self.room.streams
        if owner is not self or of != [model.name, corpus.name]:
            held = {}
            self.room.streams = self, model.name, corpus.name, held
        return held

    def drop_streams(self, model: Model, corpus: Corpus, needed: Callable[[str], bool]) -> None:
        """Let go of the kept streams of a model on a corpus, where they are still there, but for layouts that are needed."""
        owner, *of, held = self.room.streams
        if owner is self and of == [model.name, corpus.name]:
            for layout in [layout for layout in held if not needed(layout)]:
                del held[layout]

    def facts(self, model: Model) -> SubjectFacts | None:
        """Return how a model turned out when it was loaded before, or None when neither this bench nor the store knows."""
        if model.name in self._known:
            return self._known[model.name]
        key = self._facts_key(model, self._weights(model))
        return self.store.get(key, lambda record: SubjectFacts.from_notes(record.notes))

    def load(self, model: Model) -> Subject:
        """Return the loaded model, loading it when it is not the one at hand, or is placed otherwise."""
        if not self._is_loaded(model):
            from harness.loading import load

            weights = self._weights(model)
            self.room.clear()  # Let go of the old model first: two need not fit into memory.
            with self._remembered(model, self._failed):
                subject = load(model, self.path(model), weights, self.placement)
            if subject.anatomy.onloader:
                self.say(f"{model.name} does not fit on {subject.facts.device}: its blocks are brought there one at a time")
            subject.anatomy.batching = self._batching(subject)
            self.room.loaded = self.placement, subject
            self._known[model.name] = subject.facts
            self.store.put(self._facts_key(model, weights), Record(notes=subject.facts.as_dict()))
        assert self.room.loaded is not None
        return self.room.loaded[1]

    def _batching(self, subject: Subject) -> Batching:
        """Return what says how many windows of this model run together: as many as an earlier run found."""
        from harness.batching import Batching, KeptInStore, estimate

        facts, tokens = subject.facts, self.protocol.window
        about = {"weights": facts.weights, "dtype": facts.dtype, "device": facts.device_kind, "tokens": tokens}
        anatomy = subject.anatomy
        estimated = estimate(anatomy.model, anatomy.blocks, subject.device, anatomy.width, tokens)
        return Batching(estimated, KeptInStore(self.store, about), self.say)

    def _is_loaded(self, model: Model) -> bool:
        return self.room.loaded is not None and self.room.loaded[0] == self.placement and self.room.loaded[1].model == model

    @contextmanager
    def _remembered(self, model: Model, failed: dict[str, Exception]) -> Iterator[None]:
        """Raise at once what was raised for this model before, here or in fetching it: every cell would wait for it anew."""
        for known in (self.room.failed, self._failed):
            if model.name in known:
                raise again(known[model.name])
        try:
            yield
        except Exception as error:
            failed[model.name] = again(error)
            raise

    def _weights(self, model: Model) -> str:
        path = self.path(model)
        with self._remembered(model, self.room.failed):
            return weights_fingerprint(path, self.memory, self.placement.trust_remote_code)

    def _facts_key(self, model: Model, weights: str) -> dict[str, Any]:
        stated = [model.blocks, model.n_blocks, model.bos]
        parts = {"weights": weights, "tokenizer": self.tokenizer(model), "stated": stated}
        return {"measurement": "subject", "version": 2, **parts, **surroundings(self.placement)}
