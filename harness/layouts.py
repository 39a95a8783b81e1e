"""The windows of a layout: how many of them, where they start, cut from a corpus' splits by a model's tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from fixtures.corpus import Corpus, Splits
from fixtures.errors import NoTextError
from harness import windows
from harness.errors import SubjectError, TextError
from harness.linearity import CALIBRATION, EVALUATION
from harness.measurement import INTERVENTION, PAPER
from harness.protocol import Protocol
from harness.store import Record
from harness.subject import SubjectFacts

Windows = dict[str, windows.Ids]
"""Token ids, split → ``(windows, tokens) int64``."""

_MOST_UNKNOWN = 0.5  # Of a split's tokens: beyond it a stream of one token is measured.


def plan(layout: str, protocol: Protocol, width: int) -> dict[str, Any]:
    """Return what a layout asks for: window size and, for each split, how many windows and the fewest that do."""
    p = protocol
    if layout == PAPER:
        counts = {CALIBRATION: p.calibration_windows, EVALUATION: p.evaluation_windows}
        return {"layout": layout, "window": p.window, "count": counts, "fewest": counts}
    fewest = {CALIBRATION: p.calibration_windows, EVALUATION: p.evaluation_windows, INTERVENTION: p.evaluation_windows}
    asked = {CALIBRATION: p.strict_calibration_windows(width), EVALUATION: p.strict_evaluation_windows}
    return {"layout": layout, "window": p.window, "count": {**fewest, **asked}, "fewest": fewest}


def boundaries(layout: str, protocol: Protocol, blocks: int) -> list[int]:
    """Return the blocks whose outputs are kept on a layout's windows, ascending, −1 for the embeddings: what interventions start from.

    For claim 1 mid, the last one and, on PAPER, the range; for claim 2 those of the blocks that are replaced together.
    """
    v = protocol.variance
    range_ = set(v.range(blocks)) if layout == PAPER else set()
    return sorted({v.mid(blocks), blocks - 1} | range_ | protocol.replacement.boundaries(blocks))


def cut(planned: Mapping[str, Any], tokenizer: Any, corpus: Corpus, splits: Splits, model: str) -> Windows:
    """Tokenise each split once as one string and cut its windows. Raises TextError when the text is too short or cannot be rendered."""
    leading, size = windows.leading_tokens(tokenizer), planned["window"]
    texts = {CALIBRATION: splits.calibration, EVALUATION: splits.evaluation}

    @cache
    def tokens(split: str) -> windows.Ids:
        text = texts[split]
        if corpus.render:
            try:
                text = corpus.render(tokenizer, text, model)
            except NoTextError as error:
                raise TextError(str(error)) from None
        return windows.tokenise(tokenizer, text)

    found = {}
    for split, count in planned["count"].items():
        source = split if split in texts else EVALUATION
        ids, what = tokens(source), f"the {source} split of {corpus.name}"
        if planned["layout"] == PAPER:
            found[split] = windows.contiguous(ids, count, size, leading, what)
        else:
            found[split] = windows.evenly_spaced(ids, count, planned["fewest"][split], size, leading, what)
    return found


def decode(record: Record, planned: Mapping[str, Any]) -> Windows:
    """Return the windows that a record holds; ValueError when they are not what was planned."""
    if set(record.arrays) != set(planned["count"]):
        raise ValueError(f"windows of {sorted(record.arrays)}, expected {sorted(planned['count'])}")
    found = {split: record.arrays[split] for split in planned["count"]}
    for split, ids in found.items():
        fewest, most = planned["fewest"][split], planned["count"][split]
        fits = ids.dtype == np.int64 and ids.ndim == 2 and ids.shape[1] == planned["window"] and fewest <= len(ids) <= most
        if not fits or ids.min() < 0:
            raise ValueError(f"windows {ids.dtype} of shape {ids.shape}")
    return found


def check_fit(found: Windows, facts: SubjectFacts, model: str, corpus: str, size: int) -> None:
    """Refuse a tokenizer, a context or a text that does not belong to the model, before it fails somewhere inside."""
    largest = max(int(ids.max()) for ids in found.values())
    if largest >= facts.vocabulary:
        raise SubjectError(f"{model}: the tokenizer yields token {largest}, the embedding has {facts.vocabulary} rows")
    if 0 < facts.context < size:
        raise SubjectError(f"{model}: takes {facts.context} positions, a window of the protocol has {size}")
    for split, ids in found.items():
        if (share := float((ids == facts.unknown).mean())) > _MOST_UNKNOWN:
            raise TextError(
                f"the tokenizer of {model} does not know {share:.0%} of the tokens of the {split} split of "
                f"{corpus} (another script, or none of its words); give a text that it reads by --corpus PATH"
            )
