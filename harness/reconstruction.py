"""What claim 3 measured: the error of every layer under every method, beside direct quantisation of as many bits. Results; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from harness.findings import Findings, Shape
from harness.labels import decode_names
from harness.statistics import Array, Figure

OWN, GROUPED = 0, 1
"""What shares a scale: what the rung says (for codebooks, the tensor), or groups of neighbouring columns."""

_LEAST = 1e-12  # Ratios below it are rounding.


class Reconstruction(Findings):
    """Errors of M methods on L layers, for two choices of what shares a scale; NaN where a method does not apply.

    - ``names``, ``methods``: of layers and methods (:mod:`harness.labels`); ``block``, ``entries``, ``inputs``, ``tokens (L)``: the block,
      out · in, in, and the calibration tokens that reached the layer
    - ``error``, ``base (M, L, 2)``: output MSE tr(E S Eᵀ)/out of the method, and of what it is compared with, at as many bits
    - ``error_rest``, ``base_rest (M, L, 2, R)``: the same with one of R groups of windows taken out of S
    - ``error_half``, ``base_half (M, L, 2)``: with bases and Hessians of half the calibration windows; NaN where nothing is fitted, or not
      on ``strict``
    - ``weight``, ``base_weight (M, L, 2)``: mean squared change of the weights; ``bits``, ``base_bits (M, L, 2)``: stored bits an entry
    - ``cross (L, 2)``, ``cross_rest (L, 2, R)``: output MSE of the cross-terms ε_A B + A ε_B of SVD factors; ``parts (L, 2, 2)``: of the
      truncation A B − W, and of ε_A ε_B
    - ``left_out``: share of scored tokens that are not typical; ``unseen``: names of weight matrices that could not be followed
    """

    SHAPES: ClassVar[Mapping[str, Shape]] = {
        "names": ("bytes of names",),
        "methods": ("bytes of methods",),
        "unseen": ("bytes of unseen",),
        **dict.fromkeys(("block", "entries", "inputs", "tokens"), ("L",)),
        **dict.fromkeys(("error", "base", "error_half", "base_half", "weight", "base_weight", "bits", "base_bits"), ("M", "L", 2)),
        **dict.fromkeys(("error_rest", "base_rest"), ("M", "L", 2, "R")),
        "cross": ("L", 2),
        "cross_rest": ("L", 2, "R"),
        "parts": ("L", 2, 2),
        "left_out": (),
    }

    @property
    def methods(self) -> list[str]:
        """Names of the methods."""
        return decode_names(self.arrays["methods"])

    @property
    def unseen(self) -> list[str]:
        """Names of weight matrices that could not be followed."""
        return decode_names(self.arrays["unseen"])

    @property
    def layers(self) -> list[str]:
        """Names of the layers: ``block 3 mlp.down_proj``."""
        return [f"block {b:.0f} {name}" for b, name in zip(self.arrays["block"], decode_names(self.arrays["names"]), strict=True)]

    def ratios(self, method: str, in_sample: bool, grain: int = OWN) -> Figure:
        """Error of a method over that of what it is compared with, ``(L)``; NaN where a layer has neither.

        In sample the replicates leave out calibration windows, else scored ones; bases and Hessians are frozen.
        """
        a, m = self.arrays, self.methods.index(method)
        rest = _over(a["error_rest"][m, :, grain].T, a["base_rest"][m, :, grain].T)
        half = _over(a["error_half"][m, :, grain], a["base_half"][m, :, grain])
        return _figure(_over(a["error"][m, :, grain], a["base"][m, :, grain]), rest, half, in_sample)

    def weight_ratios(self, method: str, grain: int = OWN) -> Array:
        """Mean squared change of the weights over that of what it is compared with, ``(L)``. Weights are no sample: no replicates."""
        m = self.methods.index(method)
        return _over(self.arrays["weight"][m, :, grain], self.arrays["base_weight"][m, :, grain])

    def gain(self, method: str, in_sample: bool, grain: int) -> Figure:
        """Geometric mean over layers of the error of uniform levels over that of a codebook."""
        return geometric_mean(self.ratios(method, in_sample, grain)).map(lambda ratio: float(1 / ratio), 0.0)

    def cross_terms(self, in_sample: bool, grain: int = OWN) -> Figure:
        """‖ε_A B + A ε_B‖²_S over the error of direct quantisation, ``(L)``."""
        a, m = self.arrays, self.methods.index("svd")
        rest, nothing = _over(a["cross_rest"][:, grain].T, a["base_rest"][m, :, grain].T), np.full(len(a["cross"]), np.nan)
        return _figure(_over(a["cross"][:, grain], a["base"][m, :, grain]), rest, nothing, in_sample)

    def parts(self, grain: int = OWN) -> Array:
        """Output MSE of the truncation and of ε_A ε_B over the error of direct quantisation, ``(L, 2)``."""
        a, m = self.arrays, self.methods.index("svd")
        return _over(a["parts"][:, grain], np.repeat(a["base"][m, :, grain, None], 2, 1))


def _figure(value: Array, rest: Array, half: Array, in_sample: bool) -> Figure:
    """Put ratios of layers together: a layer that lacks any replicate, read in one group of windows alone, has no figure at all.

    ``half``: NaN where nothing is fitted; where something is, a layer that half the windows do not reach keeps its figure there.
    """
    missing = np.isnan(rest).any(0)
    value, rest = np.where(missing, np.nan, value), np.where(missing, np.nan, rest)
    known = ~np.isnan(value)
    fitted = None if np.isnan(half[known]).all() else np.where(known & np.isnan(half), value, np.where(known, half, np.nan))
    return Figure(value, rest if in_sample else None, None if in_sample else rest, fitted, 0.0)


def geometric_mean(ratios: Figure) -> Figure:
    """Return exp(mean log) of a vector of ratios, NaN left out; NaN when there are none.

    A ratio of nothing counts as 10⁻¹²: one layer that a method stores exactly does not decide for all.
    """

    def mean(values: Array) -> float:
        known = np.maximum(values[~np.isnan(values)], _LEAST)
        return float(np.exp(np.log(known).mean())) if len(known) else np.nan

    return ratios.map(mean, 0.0)


def by_block(values: Array, block: Array) -> dict[int, float]:
    """Geometric mean of layers' ratios ``(L)`` by block; blocks without any are left out."""
    found = {}
    for b in np.unique(block):
        here = values[(block == b) & ~np.isnan(values)]
        if len(here):
            found[int(b)] = float(np.exp(np.log(np.maximum(here, _LEAST)).mean()))
    return found


def _over(above: Array, below: Array) -> Array:
    """Divide where there is something to divide by; NaN elsewhere, as where direct quantisation is exact."""
    with np.errstate(invalid="ignore"):
        there = below > 0
    return np.where(there, above / np.where(there, below, 1), np.nan)
