"""Whether two marks go together at equal values of a third quantity: the Mantel–Haenszel common odds ratio, and strata for it. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.statistics import Array

NOT_COUNTED = -1
"""The stratum of what does not count."""


def strata(values: Array, counted: Array, count: int) -> NDArray[np.int64]:
    """Return the stratum 0 … ``count`` − 1 of each value, in the shape of ``values``; −1 where ``counted`` is zero.

    ⌊count · (counted values below it) / (counted values)⌋: deciles for ``count`` = 10, whose sizes differ by one at most where no
    value occurs twice. Equal values share a stratum, so that with ties strata are of unequal sizes and some may be empty.
    """
    marked = np.asarray(counted) > 0
    ordered = np.sort(values[marked])
    found = np.full(values.shape, NOT_COUNTED, dtype=np.int64)
    found[marked] = np.searchsorted(ordered, values[marked], side="left") * count // max(len(ordered), 1)
    return found


def mantel_haenszel(first: Array, second: Array, stratum: NDArray[np.int64]) -> float:
    """Return the common odds ratio of two 0/1 marks over strata: (Σ_k a_k d_k / n_k) / (Σ_k b_k c_k / n_k).

    In stratum k, a_k have both marks, b_k the first alone, c_k the second alone, d_k neither, n_k in all. All three arrays are of one
    shape; what has a stratum below zero does not count. Above 1 the marks go together. NaN where the denominator is not above zero, also
    where the ratio would be infinite: no stratum then has tokens of both single marks. Complementing one mark inverts the ratio.

    Source: Mantel and Haenszel, J. Natl. Cancer Inst. 22 (1959) 719–748.
    """
    marked = stratum >= 0
    one, two, of = first[marked] > 0, second[marked] > 0, stratum[marked]

    def tokens(some: NDArray[np.bool_]) -> Array:
        return np.bincount(of[some], minlength=int(of.max(initial=0)) + 1).astype(np.float64)

    both, first_alone, second_alone, neither = tokens(one & two), tokens(one & ~two), tokens(~one & two), tokens(~one & ~two)
    size = np.maximum(both + first_alone + second_alone + neither, 1)
    below = float((first_alone * second_alone / size).sum())
    return float((both * neither / size).sum()) / below if below > 0 else np.nan


def crude_odds(first: Array, second: Array) -> float:
    """Return the odds ratio a·d/(b·c) of two 0/1 marks in one stratum; NaN where b·c is zero. Takes what counts alone."""
    return mantel_haenszel(first, second, np.zeros(first.shape, dtype=np.int64))
