"""The text of single tokens, as it stands among others."""

from __future__ import annotations

import json
from typing import Any

from harness.labels import encode_names
from harness.statistics import Array
from harness.windows import Ids


def pieces(tokenizer: Any, ids: Ids, before: Ids) -> list[str]:
    """Return the text of each token: what ``ids (n)`` adds to the text of ``before (n)``, the token that it follows.

    Alone a token may lose its leading space. A character of several tokens is shown as U+FFFD by each of them.
    """
    known: dict[tuple[int, int], str] = {}
    for pair in zip(before.tolist(), ids.tolist(), strict=True):
        if pair not in known:
            first, both = (tokenizer.decode(part, clean_up_tokenization_spaces=False) for part in (list(pair[:1]), list(pair)))
            known[pair] = both[len(first) :] if both.startswith(first) else tokenizer.decode(list(pair[1:]))
    return [known[pair] for pair in zip(before.tolist(), ids.tolist(), strict=True)]


def encode(texts: list[str]) -> Array:
    """Return texts as an array that the store keeps, whatever they hold (:meth:`harness.exits.Exit.texts` reads it)."""
    return encode_names([json.dumps(texts)])
