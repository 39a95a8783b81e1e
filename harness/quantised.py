"""What quantising every linear layer costs downstream: arrays, and the figures that follow from them. Results; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from harness.findings import Findings, Shape
from harness.labels import decode_names
from harness.statistics import Array, Figure, without_each


class Quantised(Findings):
    """Negative log-likelihoods and KL from the clean run, in nats per position, by evaluation window.

    - ``variants``: names of V methods, direct quantisation with 16 levels first (:mod:`harness.labels`)
    - ``clean (W)``; ``nll``, ``kl (V, W)``: with all linear layers of all blocks stored by the method
    - ``left_out``: share of positions that keep their clean values, over all blocks
    """

    SHAPES: ClassVar[Mapping[str, Shape]] = {
        "variants": ("bytes of variants",),
        "clean": ("W",),
        "nll": ("V", "W"),
        "kl": ("V", "W"),
        "left_out": (),
    }

    @property
    def variants(self) -> list[str]:
        """Names of the methods."""
        return decode_names(self.arrays["variants"])

    def perplexity(self, variant: str) -> Figure:
        """Exp of the mean negative log-likelihood with all layers stored by a method."""
        nll: Array = self.arrays["nll"][self.variants.index(variant)]
        return Figure(float(np.exp(nll.mean())), None, np.exp(without_each(nll)), None, 0.0)

    @property
    def baseline(self) -> float:
        """Perplexity of the model as it is."""
        return float(np.exp(self.arrays["clean"].mean()))

    def kl(self, variant: str) -> float:
        """Mean KL from the clean run, nats per position."""
        return float(self.arrays["kl"][self.variants.index(variant)].mean())
