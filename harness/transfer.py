"""The last block's map on text that it was not fitted to: the data as upstream (claim 2). Results; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness.findings import Findings, Shape
from harness.linearity import share
from harness.statistics import Figure


class LastMap(Findings):
    """The last block's map, fitted to one text, in the parts of :func:`harness.maps.parts_of`: those of its kind, the others empty."""

    SHAPES: ClassVar[Mapping[str, Shape]] = {
        "weight": ("d", "k"),
        "basis": ("d or none", "k or none"),
        "mean_x": ("d or zero",),
        "mean_y": ("d or zero",),
        "fitted": (),
    }


class Scores(Findings):
    """Maps of s texts on one text, the first map its own; in nats per position, and sums of squares, by evaluation window.

    ``clean (W)``; ``nll``, ``kl (s, W)`` with the last block replaced; ``error (s, S)``; ``energy (S)`` of Δ, about the mean of this text's
    own calibration where maps have an intercept, so that the R² of all maps are over the same ‖Δ‖².
    """

    SHAPES: ClassVar[Mapping[str, Shape]] = {
        "clean": ("W",),
        "nll": ("s", "W"),
        "kl": ("s", "W"),
        "error": ("s", "S"),
        "energy": ("S",),
        "left_out": (),
    }


@dataclass(frozen=True)
class Transfer:
    """Scores with the names of the texts that the maps were fitted to."""

    sources: tuple[str, ...]
    scores: Scores

    @property
    def r2(self) -> list[float]:
        """R² of every map on this text."""
        a = self.scores.arrays
        return [share(error.sum(), a["energy"].sum()) for error in a["error"]]

    @property
    def added(self) -> list[float]:
        """Perplexity that every map adds."""
        a = self.scores.arrays
        return [float(np.exp(nll.mean()) - np.exp(a["clean"].mean())) for nll in a["nll"]]

    @property
    def least(self) -> tuple[Figure, str]:
        """R² of the map of another text that does worst here, and which text it is; the map is taken as given."""
        a = self.scores.arrays
        at = 1 + int(np.argmin(self.r2[1:]))
        rest = zip(a["error"][at].sum() - a["error"][at], a["energy"].sum() - a["energy"], strict=True)
        return Figure(self.r2[at], None, np.array([share(e, t) for e, t in rest])), self.sources[at]
