"""A bigram table of the model's own words: what it says most often after each token. The control that an exit head has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Bigram:
    """For each of ``tokens (n)``, ascending, the model's most frequent top-1 token after it, ``answers (n)``; ``common`` overall."""

    tokens: Ids
    answers: Ids
    common: int

    def said_after(self, tokens: Ids) -> Ids:
        """Return the answer to each token, of any shape; ``common`` to one that was never seen."""
        if not len(self.tokens):
            return np.full_like(tokens, self.common)
        places = np.searchsorted(self.tokens, tokens).clip(0, len(self.tokens) - 1)
        return np.where(self.tokens[places] == tokens, self.answers[places], self.common)


def bigram(tokens: Ids, said: Ids) -> Bigram:
    """Count the model's top-1 token ``said (n)`` after ``tokens (n)``; of equally frequent ones the smaller id. ValueError without any."""
    if not len(tokens) or tokens.shape != said.shape:
        raise ValueError(f"{tokens.shape} tokens, {said.shape} answers; expected as many, and some")
    pairs, counts = np.unique(np.stack([tokens, said]), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -counts, pairs[0]))  # By token, the most frequent answer first.
    seen, first = np.unique(pairs[0][order], return_index=True)
    values, total = np.unique(said, return_counts=True)
    return Bigram(seen, pairs[1][order][first], int(values[np.argmax(total)]))
