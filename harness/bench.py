"""The bench: what is shared by the laboratories of a run. Files, texts, the store, and the one model that is loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
from harness.store import Record, Store
from harness.subject import Placement, SubjectFacts, surroundings, tokenizer_fingerprint, weights_fingerprint
from harness.token_table import TokenTable

if TYPE_CHECKING:
    from harness.loading import Subject
    from harness.streams import Streams


class Bench:
    """Hold the store, the one model that is loaded, the texts and the laboratories; what failed once fails at once the next time.

    ``wanted``: what the run asks of each model on each text. ``corpora``: all texts of the run. ``maps``: the folder in which the maps of
    replaced blocks are kept, ``tokens``: the file that a table of single tokens is written to, None for nowhere.
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
    ) -> None:
        self.placement, self.protocol, self.store, self.announce, self.say = placement, protocol, store, announce, say
        self.long, self.wanted, self.corpora, self.maps = long, wanted, corpora, maps
        self.tokens = None if tokens is None else TokenTable(tokens, protocol)
        self.memory = Memory(store)
        self._failed: dict[str, Exception] = {}
        self._paths: dict[str, Path] = {}
        self._texts: dict[str, Splits | Exception] = {}
        self._loaded: Subject | None = None
        self._laboratories: dict[tuple[str, str], Laboratory] = {}
        self._streams: tuple[tuple[str, str], dict[str, Streams]] = (("", ""), {})

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
        with self._remembered(model):
            if model.unavailable:
                raise ModelError(model.unavailable)
            if model.name not in self._paths:
                self._paths[model.name] = model.source.fetch(self.say, self.placement.trust_remote_code)
            return self._paths[model.name]

    def text(self, corpus: Corpus) -> Splits:
        """Return a corpus' text, read once for all models."""
        if corpus.name not in self._texts:
            try:
                self._texts[corpus.name] = corpus.read(self.say)
            except CorpusError as error:
                self._texts[corpus.name] = again(error)
        found = self._texts[corpus.name]
        if isinstance(found, Exception):
            raise again(found)
        return found

    def tokenizer(self, model: Model) -> str:
        """Return the fingerprint of a model's tokenizer, of its code too when that is run."""
        code = self.placement.trust_remote_code
        return tokenizer_fingerprint(self.path(model), self.memory, code) + (" with code" if code else "")

    def streams(self, model: Model, corpus: Corpus) -> dict[str, Streams]:
        """Return the kept streams of a model on a corpus, by layout; those of another pair are let go."""
        if self._streams[0] != (model.name, corpus.name):
            self._streams = (model.name, corpus.name), {}
        return self._streams[1]

    def facts(self, model: Model) -> SubjectFacts | None:
        """Return how a model turned out when it was loaded before, or None when the store does not know."""
        key = self._facts_key(model, self._weights(model))
        return self.store.get(key, lambda record: SubjectFacts.from_notes(record.notes))

    def load(self, model: Model) -> Subject:
        """Return the loaded model, loading it when it is not the one at hand."""
        if self._loaded is None or self._loaded.model != model:
            from harness.loading import load

            weights = self._weights(model)
            self._loaded = None  # Let go of the old model first: two need not fit into memory.
            self._streams = ("", ""), {}
            with self._remembered(model):
                self._loaded = load(model, self.path(model), weights, self.placement)
            self.store.put(self._facts_key(model, weights), Record(notes=self._loaded.facts.as_dict()))
        return self._loaded

    @contextmanager
    def _remembered(self, model: Model) -> Iterator[None]:
        """Raise at once what was raised for this model before: every cell would wait for it anew."""
        if model.name in self._failed:
            raise again(self._failed[model.name])
        try:
            yield
        except Exception as error:
            self._failed[model.name] = again(error)
            raise

    def _weights(self, model: Model) -> str:
        path = self.path(model)
        with self._remembered(model):
            return weights_fingerprint(path, self.memory, self.placement.trust_remote_code)

    def _facts_key(self, model: Model, weights: str) -> dict[str, Any]:
        stated = [model.blocks, model.n_blocks, model.bos]
        parts = {"weights": weights, "tokenizer": self.tokenizer(model), "stated": stated}
        return {"measurement": "subject", "version": 2, **parts, **surroundings(self.placement)}
