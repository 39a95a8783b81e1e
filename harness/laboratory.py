"""The laboratory: one model on one corpus; measures what an assertion asks for, once, or finds it in the store. No torch until it must."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fixtures.corpus import Corpus, Splits
from fixtures.errors import NoTextError
from fixtures.models import Model
from fixtures.sources import Hub
from harness import windows
from harness.bookmark import StoreBookmark, unfinished
from harness.errors import MeasurementError, SubjectError, TextError, again
from harness.linearity import CALIBRATION, EVALUATION, Linearity
from harness.protocol import Protocol
from harness.store import Record
from harness.subject import SubjectFacts, library_versions

if TYPE_CHECKING:
    from harness.bench import Bench
    from harness.loading import Subject
    from harness.sweep import Progress

Announce = Callable[[str], "Progress"]
"""Called with what is about to be measured; returns where its progress goes."""

Windows = dict[str, windows.Ids]

RANK, AFFINE = "linearity by rank-k maps", "linearity by affine maps"
MEASURES = {RANK: ("paper", "held-out", "typical"), AFFINE: ("strict",)}
VERSIONS = {RANK: 1, AFFINE: 1}
"""Raise a version when a measurement's figures change, so that stored ones are no longer found."""

_MOST_UNKNOWN = 0.5  # Of a split's tokens: beyond it a stream of one token is measured.


def kind_of(rung: str) -> str:
    """Return the measurement that gives a rung."""
    return AFFINE if rung == "strict" else RANK


class Laboratory:
    """Measure one model on one corpus under one protocol. Every measurement is made once and kept."""

    def __init__(self, bench: Bench, model: Model, corpus: Corpus, facts: SubjectFacts) -> None:
        self.model, self.corpus, self.facts, self.protocol = model, corpus, facts, bench.protocol
        self.timings: dict[str, dict[str, Any]] = {}
        self._bench = bench
        self._linearity: dict[str, dict[str, Linearity]] = {}
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

    def windows(self, kind: str) -> Windows:
        """Token ids of the windows, split → ``(windows, tokens) int64``.

        RANK: contiguous from the start of each split. AFFINE: evenly spaced over each split, as many as the protocol's strict sizes
        ask for or the text holds. Raises TextError when the text is too short.
        """
        found = self._find_windows(kind)
        assert found is not None
        return found

    def _find_windows(self, kind: str, only_stored: bool = False) -> Windows | None:
        if kind not in self._windows:
            plan = self._plan(kind)
            key = {
                "measurement": "windows",
                "version": 2,
                "tokenizer": self._bench.tokenizer(self.model),
                "libraries": library_versions(),
                "text": self.splits.fingerprint,
                "rendered": self.corpus.render is not None,
                "plan": plan,
            }
            found = self._bench.store.get(key, lambda record: _decode_windows(record, plan))
            if found is None and only_stored:
                return None
            if found is None:
                found = self._cut(plan)
                self._bench.store.put(key, Record(found, self._names()))
            self._check_fit(found)
            self._windows[kind] = found
        return self._windows[kind]

    def is_stored(self, kind: str) -> bool:
        """Whether a measurement can be read from the store, as far as that is known without loading the model."""
        ids = self._find_windows(kind, only_stored=True)
        if ids is None:
            return False
        sizes = {split: len(i) for split, i in ids.items()}
        expected = (self.model.n_blocks, self.protocol.groups, sizes[EVALUATION])
        return self._bench.store.get(self._key(kind, ids), lambda record: _decode_linearity(record, kind, *expected)) is not None

    def linearity(self, rung: str) -> Linearity:
        """Linearity of every block on a rung; one sweep serves ``paper``, ``held-out`` and ``typical``, another ``strict``."""
        kind = kind_of(rung)
        if kind in self._failed:
            raise again(self._failed[kind])
        if kind not in self._linearity:
            try:
                self._linearity[kind] = self._measure(kind)
            except Exception as error:  # It would fail again for every cell, at the same cost.
                self._failed[kind] = again(error)
                raise
        return self._linearity[kind][rung]

    def sizes(self, rung: str) -> dict[str, int]:
        """Windows of each split on a rung."""
        return {split: len(ids) for split, ids in self.windows(kind_of(rung)).items()}

    def _measure(self, kind: str) -> dict[str, Linearity]:
        ids, store = self.windows(kind), self._bench.store
        sizes = {split: len(i) for split, i in ids.items()}
        expected = (self.model.n_blocks, self.protocol.groups, sizes[EVALUATION])
        found = store.get(self._key(kind, ids), lambda record: _decode_linearity(record, kind, *expected))
        if found is not None:
            self.timings[kind] = {"stored": True, "windows": sizes}
            store.drop(unfinished(self._key(kind, ids)))  # A process killed between the two left it.
            return found
        from harness.sweep import BATCH

        subject = self._bench.load(self.model)
        self.facts = subject.facts
        key = self._key(kind, ids)
        bookmark = StoreBookmark(store, key, BATCH)
        start = time.perf_counter()
        try:
            found = _run(kind, subject, ids, self.protocol, self._bench.announce(kind), bookmark)
        except MeasurementError:
            bookmark.drop()
            raise
        for rung, linearity in found.items():
            linearity.check(expected[0], expected[1], 0 if rung == "paper" else expected[2])
        seconds = round(time.perf_counter() - start, 2)
        self.timings[kind] = {"stored": False, "seconds": seconds, "windows": sizes}
        store.put(key, Record(_encode_linearity(found), {**self._names(), "seconds": seconds}))
        bookmark.drop()
        return found

    def _key(self, kind: str, ids: Windows) -> dict[str, Any]:
        """Everything the figures depend on."""
        facts = self.facts
        return {
            "measurement": kind,
            "version": VERSIONS[kind],
            "weights": facts.weights,
            "blocks": self.model.blocks,
            "text": self.splits.fingerprint,
            "tokens": {split: [list(i.shape), hashlib.sha256(i.tobytes()).hexdigest()] for split, i in ids.items()},
            "protocol": self.protocol.as_dict(),
            "dtype": facts.dtype,
            "attention": facts.attention,
            "device": facts.device_kind,
        }

    def _plan(self, kind: str) -> dict[str, Any]:
        p = self.protocol
        if kind == RANK:
            return {"layout": "contiguous", "window": p.window, "count": [p.calibration_windows, p.evaluation_windows]}
        counts = [p.strict_calibration_windows(self.facts.width), p.strict_evaluation_windows]
        return {"layout": "even", "window": p.window, "count": counts, "fewest": [p.calibration_windows, p.evaluation_windows]}

    def _cut(self, plan: dict[str, Any]) -> Windows:
        tokenizer = self._bench.load(self.model).tokenizer
        leading, size = windows.leading_tokens(tokenizer), plan["window"]
        cut = {}
        for i, (split, text) in enumerate(((CALIBRATION, self.splits.calibration), (EVALUATION, self.splits.evaluation))):
            if self.corpus.render:
                try:
                    text = self.corpus.render(tokenizer, text, self.model.name)
                except NoTextError as error:
                    raise TextError(str(error)) from None
            ids, what, count = windows.tokenise(tokenizer, text), f"the {split} split of {self.corpus.name}", plan["count"][i]
            if plan["layout"] == "contiguous":
                cut[split] = windows.contiguous(ids, count, size, leading, what)
            else:
                cut[split] = windows.evenly_spaced(ids, count, plan["fewest"][i], size, leading, what)
        return cut

    def unknown(self, rung: str) -> float:
        """Share of the windows' tokens that are the tokenizer's token for what it does not know, on a rung."""
        ids = np.concatenate([ids.ravel() for ids in self.windows(kind_of(rung)).values()])
        return float((ids == self.facts.unknown).mean())

    def _check_fit(self, found: Windows) -> None:
        """Refuse a tokenizer, a context or a text that does not belong to the model, before it fails somewhere inside."""
        facts, size = self.facts, self.protocol.window
        largest = max(int(ids.max()) for ids in found.values())
        if largest >= facts.vocabulary:
            raise SubjectError(f"{self.model.name}: the tokenizer yields token {largest}, the embedding has {facts.vocabulary} rows")
        if 0 < facts.context < size:
            raise SubjectError(f"{self.model.name}: takes {facts.context} positions, a window of the protocol has {size}")
        for split, ids in found.items():
            if (share := float((ids == facts.unknown).mean())) > _MOST_UNKNOWN:
                raise TextError(
                    f"the tokenizer of {self.model.name} does not know {share:.0%} of the tokens of the {split} split of "
                    f"{self.corpus.name} (another script, or none of its words); give a text that it reads by --corpus PATH"
                )

    def _names(self) -> dict[str, str]:
        return {"model": self.model.name, "corpus": self.corpus.name}


def _run(
    kind: str, subject: Subject, ids: Windows, protocol: Protocol, progress: Progress, bookmark: StoreBookmark
) -> dict[str, Linearity]:
    from harness.affine_linearity import AffineLinearity
    from harness.rank_linearity import RankLinearity
    from harness.sweep import sweep

    measured: type[RankLinearity | AffineLinearity] = RankLinearity if kind == RANK else AffineLinearity
    visitor = measured(len(ids[CALIBRATION]), len(ids[EVALUATION]), subject.facts.width, protocol, subject.device)
    sweep(subject.anatomy, ids, [visitor], subject.device, progress, bookmark)
    return visitor.result()


def _encode_linearity(found: Mapping[str, Linearity]) -> dict[str, np.ndarray[Any, Any]]:
    return {f"{rung}/{name}": array for rung, linearity in found.items() for name, array in linearity.arrays.items()}


def _decode_linearity(record: Record, kind: str, blocks: int, groups: int, evaluation: int) -> dict[str, Linearity]:
    rungs: dict[str, dict[str, Any]] = {}
    for path, array in record.arrays.items():
        rung, name = path.split("/")
        rungs.setdefault(rung, {})[name] = array
    if set(rungs) != set(MEASURES[kind]):
        raise ValueError(f"rungs {sorted(rungs)}, expected {sorted(MEASURES[kind])}")
    found = {rung: Linearity(arrays) for rung, arrays in rungs.items()}
    for rung, linearity in found.items():
        linearity.check(blocks, groups, 0 if rung == "paper" else evaluation)
    return found


def _decode_windows(record: Record, plan: Mapping[str, Any]) -> Windows:
    if set(record.arrays) != {CALIBRATION, EVALUATION}:
        raise ValueError("not windows of two splits")
    found = {split: record.arrays[split] for split in (CALIBRATION, EVALUATION)}
    for i, ids in enumerate(found.values()):
        fewest, most = plan.get("fewest", plan["count"])[i], plan["count"][i]
        fits = ids.dtype == np.int64 and ids.ndim == 2 and ids.shape[1] == plan["window"] and fewest <= len(ids) <= most
        if not fits or ids.min() < 0:
            raise ValueError(f"windows {ids.dtype} of shape {ids.shape}")
    return found
