"""Negative log-likelihood of a whole model on windows of text, read off its final stream."""

from __future__ import annotations

import numpy as np

from harness.anatomy import Anatomy
from harness.language import Language
from harness.statistics import Array
from harness.streams import final_streams
from harness.windows import Ids


def nll_nats(anatomy: Anatomy, ids: Ids) -> Array:
    """Return the mean negative log-likelihood of the next token, in nats, of windows ``(windows, tokens)``: ``(windows)``."""
    final = final_streams(anatomy, ids, anatomy.device)
    found: Array = Language(anatomy, final, ids).nll_nats(final[None])[0]
    return found


def perplexity(nll: Array) -> float:
    """Exponentiate the mean over windows of equal length."""
    return float(np.exp(nll.mean()))
