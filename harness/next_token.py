"""What a head says about the next token, position by position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.errors import MeasurementError
from harness.language import Logits
from harness.statistics import Array
from harness.windows import Ids


@dataclass(frozen=True, eq=False)
class Said:
    """At positions 0 … T − 2 of W windows, each ``(W, T − 1)``.

    ``top``: the token of the greatest probability, which is ``confidence``; ``right``: 1 where it is the next token; ``nll``: −log p(next
    token) in nats.
    """

    top: Ids
    confidence: Array
    right: Array
    nll: Array


@torch.inference_mode()
def said(logits: Logits, hidden: Tensor, ids: Ids) -> Said:
    """Read streams ``(W, T, d)`` of windows ``ids (W, T)`` by a head, a window at a time.

    Raises MeasurementError for logits that are not finite.
    """
    shape = (len(ids), ids.shape[1] - 1)
    top, confidence, nll = np.empty(shape, np.int64), np.empty(shape), np.empty(shape)
    for w, window in enumerate(ids):
        log_p = torch.log_softmax(logits(hidden[w, :-1]), -1)
        best, place = log_p.max(-1)
        own = log_p.gather(-1, torch.from_numpy(window[1:, None].copy()).to(log_p.device))[:, 0]
        if not bool(torch.isfinite(own).all() & torch.isfinite(best).all()):
            raise MeasurementError("the logits of a head are not finite; try --dtype float32")
        top[w], confidence[w], nll[w] = place.cpu(), best.cpu().double().exp(), -own.cpu().double()
    return Said(top, confidence, (top == ids[:, 1:]).astype(np.float64), nll)
