"""The laboratory: one subject on one corpus; measures what an assertion asks for, once."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property

from fixtures.corpora import Corpus, Splits
from fixtures.models import Model
from harness import linearity, windows
from harness.loading import Subject, load
from harness.protocol import Protocol
from harness.sweep import Progress

Announce = Callable[[str], Progress]
"""Called with what is about to be measured; returns where its progress goes."""


class Laboratory:
    """Measure one loaded subject on one corpus under one protocol. Every measurement is made once and kept."""

    def __init__(self, subject: Subject, corpus: Corpus, protocol: Protocol, announce: Announce) -> None:
        self.subject = subject
        self.corpus = corpus
        self.protocol = protocol
        self.timings: dict[str, float] = {}
        self._announce = announce

    @cached_property
    def splits(self) -> Splits:
        """The text of the corpus."""
        return self.corpus.read()

    @cached_property
    def windows(self) -> tuple[windows.Ids, windows.Ids]:
        """Calibration and evaluation windows of ``paper`` and ``held-out``: contiguous from the start of each split."""
        splits, tokenizer, p = self.splits, self.subject.tokenizer, self.protocol
        leading = windows.leading_tokens(tokenizer)
        calibration = windows.tokenise(tokenizer, splits.calibration)
        evaluation = windows.tokenise(tokenizer, splits.evaluation)
        name = self.corpus.name
        return (
            windows.contiguous(calibration, p.calibration_windows, p.window, leading, f"the calibration split of {name}"),
            windows.contiguous(evaluation, p.evaluation_windows, p.window, leading, f"the evaluation split of {name}"),
        )

    @cached_property
    def linearity(self) -> linearity.Linearity:
        """Linearity of every block, by one sweep."""
        calibration, evaluation = self.windows
        start = time.perf_counter()
        found = linearity.measure(
            self.subject.anatomy,
            calibration,
            evaluation,
            self.protocol,
            self.subject.device,
            self._announce(f"linearity of {self.subject.model.n_blocks} blocks"),
        )
        self.timings["linearity"] = time.perf_counter() - start
        return found


class Bench:
    """Hold the one model that is loaded and its laboratories; a model that could not be loaded fails at once the next time."""

    def __init__(self, device: str, dtype: str, protocol: Protocol, announce: Announce) -> None:
        self._device, self._dtype, self._protocol, self._announce = device, dtype, protocol, announce
        self._failed: dict[str, Exception] = {}
        self._subject: Subject | None = None
        self._laboratories: dict[str, Laboratory] = {}

    def laboratory(self, model: Model, corpus: Corpus) -> Laboratory:
        """Return the laboratory of a model on a corpus, loading the model when it is not the one at hand.

        Raises whatever :func:`harness.loading.load` raised for this model, now or before.
        """
        if model.name in self._failed:
            raise self._failed[model.name]
        if self._subject is None or self._subject.model != model:
            # Let go of the old model first: two need not fit into memory.
            self._subject, self._laboratories = None, {}
            try:
                self._subject = load(model, self._device, self._dtype)
            except Exception as error:
                self._failed[model.name] = error
                raise
        if corpus.name not in self._laboratories:
            self._laboratories[corpus.name] = Laboratory(self._subject, corpus, self._protocol, self._announce)
        return self._laboratories[corpus.name]
