"""How concentrated weight matrices are under the cosine transform, beside their own entries shuffled. Results; no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from harness.findings import Findings, Shape
from harness.labels import decode_names, encode_names
from harness.statistics import Array, Figure, without_each

MEASURES: Mapping[str, Shape] = {"gini": (), "energy": (), "gini_shuffled": ("n",), "energy_shuffled": ("n",)}
"""What is known of one matrix: Gini of the squared coefficients, share of their sum in the largest quarter, and both for n shuffles."""


class Concentration(Findings):
    """Concentration of the L weight matrices of all blocks, and of the m embeddings: one, or two where the head is not tied to it.

    - ``gini``, ``energy (L)``, ``gini_shuffled``, ``energy_shuffled (L, n)``: as in :data:`MEASURES`
    - ``block (L)``: which block each matrix belongs to
    - ``embedding_gini``, … ``(m)``, ``(m, n)``: the same of the embeddings
    - ``names (bytes)``: of the L matrices and then of the m embeddings, by :func:`harness.labels.encode_names`
    """

    SHAPES: ClassVar[Mapping[str, Shape]] = {
        **{name: ("L", *shape) for name, shape in MEASURES.items()},
        **{f"embedding_{name}": ("m", *shape) for name, shape in MEASURES.items()},
        "block": ("L",),
        "names": ("bytes",),
    }

    @property
    def excess(self) -> Figure:
        """Gini over that of shuffled entries, the mean over the matrices of all blocks."""
        return self._excess("")

    @property
    def embedding_excess(self) -> Figure:
        """The same of the embeddings."""
        return self._excess("embedding_")

    def _excess(self, kind: str) -> Figure:
        """Gini of the matrices less the mean over shuffles, with replicates that leave out one shuffle of every matrix at a time.

        The weights are given and no sample of anything: chance enters by the shuffles alone, and the interval is theirs.
        """
        gini, shuffled = self.arrays[f"{kind}gini"], self.arrays[f"{kind}gini_shuffled"]
        further = (gini[:, None] - without_each(shuffled)).mean(0)
        return Figure(float((gini - shuffled.mean(1)).mean()), further=further)

    @property
    def names(self) -> tuple[list[str], list[str]]:
        """The names of the blocks' matrices, and of the embeddings."""
        names, layers = decode_names(self.arrays["names"]), len(self.arrays["block"])
        return names[:layers], names[layers:]


def assembled(
    layers: Sequence[tuple[str, int, Mapping[str, Array]]], embeddings: Sequence[tuple[str, Mapping[str, Array]]]
) -> dict[str, Array]:
    """Return the arrays of :class:`Concentration` from what is known of each matrix: (name, block, measures) and (name, measures).

    Raises ValueError where there are no layers or embeddings, or they were shuffled unequally often.
    """
    of = {"": [found for _, _, found in layers], "embedding_": [found for _, found in embeddings]}
    arrays = {f"{kind}{name}": np.stack([found[name] for found in each]) for kind, each in of.items() for name in MEASURES}
    arrays["block"] = np.array([block for _, block, _ in layers], dtype=np.float64)
    arrays["names"] = encode_names([*(name for name, _, _ in layers), *(name for name, _ in embeddings)])
    return arrays
