"""Whether a head's confidence is the share of tokens it gets right: reliability by bin, and the expected calibration error. No torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.statistics import Array


@dataclass(frozen=True)
class Reliability:
    """Counted positions by confidence, in K bins of equal width over [0, 1], all ``(K)`` float64.

    ``tokens``: how many; ``confidence``: their mean confidence; ``right``: the share of them whose top-1 token is right. Both NaN where a
    bin is empty.
    """

    tokens: Array
    confidence: Array
    right: Array

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: Σ_k n_k/N |mean confidence_k − share right_k|, 0 … 1; NaN where nothing counts.

        Within a bin, and over the whole of few tokens, chance alone keeps it above zero: about √(p(1 − p)/n_k) a bin.

        Source: Guo et al. 2017, arXiv:1706.04599, Eq. 3, whose bins are closed above where these are closed below.
        """
        total, some = self.tokens.sum(), self.tokens > 0
        gaps = np.abs(self.confidence - self.right)[some]
        return float((self.tokens[some] * gaps).sum() / total) if total > 0 else np.nan


def reliability(confidence: Array, right: Array, counted: Array, bins: int) -> Reliability:
    """Sort counted positions into bins [k/K, (k + 1)/K), the last one closed; three arrays of one shape, ``right`` 0/1.

    A confidence that rounding has put outside [0, 1] goes to the bin at that end. Raises ValueError for fewer bins than one.
    """
    if bins < 1:
        raise ValueError(f"{bins} bins")
    marked = np.asarray(counted) > 0
    sure, hit = confidence[marked], right[marked]
    of = np.clip(np.floor(sure * bins), 0, bins - 1).astype(np.int64)
    tokens, sums, hits = (np.bincount(of, weights=each, minlength=bins).astype(np.float64) for each in (np.ones(len(of)), sure, hit))
    size = np.where(tokens > 0, tokens, np.nan)
    return Reliability(tokens, sums / size, hits / size)
