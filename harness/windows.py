"""Windows of tokens, cut from a split that is tokenised once as one string."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fixtures.naming import printable
from harness.errors import SubjectError, TextError

Ids = NDArray[np.int64]


def leading_tokens(tokenizer: Any) -> list[int]:
    """Return the special tokens that the tokenizer puts before a text: ``[BOS]`` or nothing."""
    plain = tokenizer("a", add_special_tokens=False, verbose=False)["input_ids"]
    full = tokenizer("a", add_special_tokens=True, verbose=False)["input_ids"]
    for start in range(len(full) - len(plain) + 1):
        if full[start : start + len(plain)] == plain:
            return [int(i) for i in full[:start]]
    return []


def tokenise(tokenizer: Any, text: str) -> Ids:
    """Tokenise a split as one string, without special tokens. Returns ``(tokens,) int64``. Raises SubjectError when the tokenizer fails."""
    try:
        ids = tokenizer(text, add_special_tokens=False, verbose=False, return_attention_mask=False)["input_ids"]
    except Exception as error:  # A damaged vocabulary is found out when it is used, by whatever exception.
        raise SubjectError(
            f"the tokenizer fails on {len(text):,} characters of text ({type(error).__name__}: {printable(error)})"
        ) from error
    return np.asarray(ids, dtype=np.int64)


def contiguous(ids: Ids, count: int, size: int, leading: list[int], what: str) -> Ids:
    """Cut the first ``count`` windows of ``size`` tokens, contiguous from the start, never padded.

    ``leading`` tokens (BOS) open every window and count among its ``size``.

    Returns ``(count, size) int64``. Raises TextError, with the tokens found and needed, when the text is too short.
    """
    fresh = size - len(leading)
    _check_length(ids, count, fresh, size, what)
    return _open(ids[: count * fresh].reshape(count, fresh), leading)


def evenly_spaced(ids: Ids, count: int, fewest: int, size: int, leading: list[int], what: str) -> Ids:
    """Cut ``count`` disjoint windows whose starts are evenly spaced over the whole split.

    A text that is too short for ``count`` gives as many as it holds, and a TextError below ``fewest``. Returns ``(windows, size) int64``.
    """
    fresh = size - len(leading)
    _check_length(ids, fewest, fresh, size, what)
    count = min(count, len(ids) // fresh)
    room = len(ids) - fresh
    starts = [0] if count == 1 else [room * i // (count - 1) for i in range(count)]
    return _open(np.stack([ids[start : start + fresh] for start in starts]), leading)


def _check_length(ids: Ids, count: int, fresh: int, size: int, what: str) -> None:
    needed = count * fresh
    if len(ids) < needed:
        raise TextError(
            f"too little text: {what} has {len(ids):,} tokens, {needed:,} are needed "
            f"({count} windows of {size}); give a longer text by --corpus PATH"
        )


def _open(body: Ids, leading: list[int]) -> Ids:
    """Put the leading tokens before every window."""
    head = np.tile(np.asarray(leading, dtype=np.int64), (len(body), 1))
    return np.concatenate([head, body], axis=1)
