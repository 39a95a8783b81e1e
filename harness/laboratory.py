"""The laboratory: one subject on one corpus; measures what an assertion asks for, once."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property

from fixtures.corpora import Corpus
from harness import linearity, windows
from harness.loading import Subject
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
    def windows(self) -> tuple[windows.Ids, windows.Ids]:
        """Calibration and evaluation windows of ``paper`` and ``held-out``: contiguous from the start of each split."""
        splits, tokenizer, p = self.corpus.read(), self.subject.tokenizer, self.protocol
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
