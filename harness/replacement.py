"""What claim 2 measured by replacing blocks with linear maps: arrays, and the figures that follow from them. Results; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np

from harness.findings import Findings, Shape
from harness.linearity import share
from harness.statistics import Array, Figure, spearman, without_each

VARIANTS = ("last", "other", "last skipped", "last mean", "free", "forced", "refitted", "skipped", "mean")
"""What is replaced, and by what: the last block by its map, by the other kind of map, by nothing, by its mean output; the run by its maps,
by maps at true inputs, by maps refitted one after another, by nothing, by its mean outputs."""
MIDDLE = ("free", "forced", "refitted", "skipped", "mean")
"""The same of the run after mid."""
REFITTED = ("last", "free", "forced")
"""Those whose maps are also refitted."""


class Runs(Findings):
    """Negative log-likelihoods and KL from the clean run, in nats per position, by evaluation window.

    - ``clean (W)``; ``nll``, ``kl (9, W)`` for :data:`VARIANTS`; ``middle_nll``, ``middle_kl (m, W)`` for :data:`MIDDLE`, m = 0 without one
    - ``alone (r, W)``: each block of the run replaced by its map and no other, at the positions at which the run is replaced
    - ``last_refit``, ``free_refit``, ``forced_refit (G, R)``: negative log-likelihoods with maps fitted without each group, on
      ``refit_windows (R)``
    - ``half (H, 3, W)``: the same with maps fitted to half the calibration windows
    - ``run (r)``, ``middle (m')``: the blocks; ``ranks (r)``: k of their maps
    - ``refitted_r2 (r)``, ``middle_refitted_r2 (m')``: held-out R² of maps refitted one after another, on the stream that the maps before
      have shifted
    - ``parameters (2)``: of the last block, all and active (NaN where that is not known); ``map_parameters``, with
      ``map_parameters_fit (G)`` for the rank chosen anew without each group; ``other_parameters``: of the other kind of map
    - ``left_out (3)``: share of positions left as they are by the replacement of the last block, of the run, and of the one after mid
    - ``edges``: blocks of the run whose λ stands at an end of the cross-validation's grid
    """

    SHAPES: ClassVar[Mapping[str, Shape]] = {
        "clean": ("W",),
        "nll": (len(VARIANTS), "W"),
        "kl": (len(VARIANTS), "W"),
        "middle_nll": ("middle variants", "W"),
        "middle_kl": ("middle variants", "W"),
        "alone": ("r", "W"),
        **{f"{name}_refit": ("G", "R") for name in REFITTED},
        "refit_windows": ("R",),
        "half": ("halves", len(REFITTED), "W"),
        "run": ("r",),
        "middle": ("m",),
        "ranks": ("r",),
        "refitted_r2": ("r",),
        "middle_refitted_r2": ("m",),
        "parameters": (2,),
        "map_parameters": (),
        "map_parameters_fit": ("G",),
        "other_parameters": (),
        "fitted": (),
        "left_out": (3,),
        "edges": (),
    }

    @property
    def single(self) -> Figure:
        """ΔPPL/PPL of replacing the last block by its map."""
        return self._cost("last").map(lambda cost: float(np.expm1(cost)), -1.0)

    @property
    def multiple(self) -> Figure:
        """ΔPPL/PPL of replacing the run by its maps, fitted to the clean run."""
        return self._cost("free").map(lambda cost: float(np.expm1(cost)), -1.0)

    @property
    def shift_excess(self) -> Figure:
        """ΔNLL of the run's maps on the stream that they shift over ΔNLL of the same maps at the true inputs."""
        return _ratio(self._cost("free"), self._cost("forced"))

    @property
    def compounding(self) -> Figure:
        """ΔNLL of the run's maps at the true inputs over the sum of ΔNLL of each alone.

        Of those the refits are not run, so that the interval, which takes them as given, is on the wide side: both move together.
        """
        a = self.arrays
        alone = (a["alone"] - a["clean"]).sum(0)
        below = Figure(float(alone.mean()), np.full(len(a["forced_refit"]), alone.mean()), without_each(alone))
        return replace(_ratio(self._cost("forced"), below), half=None)

    @property
    def compression(self) -> Figure:
        """Parameters of the last block over those of its map. A count: its replicates choose k anew."""
        a = self.arrays
        total = float(a["parameters"][0])
        return Figure(total / self.number("map_parameters"), total / a["map_parameters_fit"], None, None, 0.0)

    def cost(self, nll: Array) -> float:
        """ΔNLL in nats of some variant, ``nll (W)``."""
        return float((nll - self.arrays["clean"]).mean())

    def _cost(self, name: str) -> Figure:
        """ΔNLL in nats of one of :data:`REFITTED`; what refitting changes on some windows is added to the cost on all of them."""
        a = self.arrays
        nll, some = a["nll"][VARIANTS.index(name)], a["refit_windows"].astype(int)
        cost = nll - a["clean"]
        change = (a[f"{name}_refit"] - nll[some]).mean(-1)
        half = (a["half"][0, REFITTED.index(name)] - a["clean"]).mean() if len(a["half"]) else None
        return Figure(float(cost.mean()), cost.mean() + change, without_each(cost), half)


def _ratio(above: Figure, below: Figure) -> Figure:
    """Divide two costs that have the same replicates; NaN where there is nothing to divide by."""

    def over(up: Array | float | None, down: Array | float | None) -> Array:
        a, b = np.asarray(up, dtype=np.float64), np.asarray(down, dtype=np.float64)
        return np.where(b > 0, a / np.where(b > 0, b, 1), np.nan)

    half = None if above.half is None or below.half is None else float(over(above.half, below.half))
    return Figure(float(over(above.value, below.value)), over(above.fit, below.fit), over(above.score, below.score), half, 0.0)


class Shift(Findings):
    """Linearity after upstream change: sums of squares by scored window, for t blocks, the last one first.

    - ``targets (t)``; ``clean_error``, ``clean_energy (t, scored)`` on the clean input
    - ``error``, ``energy (t, j, scored)``: on the input that the maps of the 1 … j blocks before have shifted, against the true block
    - ``moved (t, j)``: mean ‖h̃ − h‖² over the variance of h at the scored tokens
    - ``fit (2, G)``: R² of the last block, clean and after j = 5, with maps fitted without each group; ``half (2)``: to half the windows
    - ``edges``: of these six maps, those whose λ stands at an end of the cross-validation's grid
    """

    SHAPES: ClassVar[Mapping[str, Shape]] = {
        "targets": ("t",),
        "clean_error": ("t", "scored"),
        "clean_energy": ("t", "scored"),
        "error": ("t", "j", "scored"),
        "energy": ("t", "j", "scored"),
        "moved": ("t", "j"),
        "fit": (2, "G"),
        "half": (2,),
        "fitted": (),
        "left_out": (),
        "edges": (),
    }

    def clean(self, target: int = 0) -> float:
        """R² on the clean input."""
        a = self.arrays
        return share(a["clean_error"][target].sum(), a["clean_energy"][target].sum())

    def shifted(self, target: int = 0) -> Array:
        """R² on the shifted input, by the number of blocks replaced before: ``(j)``."""
        a = self.arrays
        return np.array([share(e.sum(), t.sum()) for e, t in zip(a["error"][target], a["energy"][target], strict=True)])

    def lost(self, in_sample: bool) -> Figure:
        """R² that the last block loses when the most blocks before it are replaced. In sample the refits alone are its replicates."""
        a = self.arrays
        each = [a["clean_error"][0], a["clean_energy"][0], a["error"][0, -1], a["energy"][0, -1]]
        rest = np.stack([part.sum() - part for part in each])
        score = np.array([share(e, t) - share(f, u) for e, t, f, u in rest.T])
        half = float(a["half"][0] - a["half"][1])
        value = self.clean() - float(self.shifted()[-1])
        return Figure(value, a["fit"][0] - a["fit"][1], None if in_sample else score, None if np.isnan(half) else half)


class Each(Findings):
    """The cost of replacing every single block, in nats per position, by evaluation window.

    - ``clean (W)``; ``nll``, ``kl (B, W)``: by its map
    - ``refit (B, G)``: by maps fitted without each group, each on one window, ``refit_window (G)``
    - ``half``, ``skipped``, ``mean (b, R)``, on ``some (R)`` windows of ``strict``, where b = B: by a map fitted to half the calibration
      windows, by nothing, by its mean output; b = 0 elsewhere
    - ``parameters (B, 3)``: of the block, all and active (NaN where that is not known), and of its map
    """

    SHAPES: ClassVar[Mapping[str, Shape]] = {
        "clean": ("W",),
        "nll": ("B", "W"),
        "kl": ("B", "W"),
        **dict.fromkeys(("half", "skipped", "mean"), ("b", "R")),
        "some": ("R",),
        "refit": ("B", "G"),
        "refit_window": ("G",),
        "parameters": ("B", 3),
    }

    @property
    def cost(self) -> Array:
        """ΔNLL in nats of replacing each block by its map, ``(B)``."""
        found: Array = (self.arrays["nll"] - self.arrays["clean"]).mean(1)
        return found

    @property
    def cheapness(self) -> Figure:
        """−ΔPPL of every block's replacement.

        What a refit changes on one window, and a map fitted to half the calibration windows on some, is added to the cost on all. What a
        refit changes differs from window to window, so that the interval is on the wide side.
        """
        a = self.arrays
        base = np.exp(a["clean"].mean())
        value = base - np.exp(a["nll"].mean(1))
        score = np.exp(without_each(a["clean"]))[:, None] - np.exp(without_each(a["nll"])).T
        one = a["refit_window"].astype(int)
        fit = base - np.exp(a["nll"].mean(1) + (a["refit"] - a["nll"][:, one]).T)
        half = None
        if len(a["half"]):
            some = a["some"].astype(int)
            change = (a["half"] - a["nll"][:, some]).mean(1)
            half = base - np.exp(a["nll"].mean(1) + change)
        return Figure(value, fit, score, half)


def rank_agreement(r2: Figure, cheapness: Figure, same_windows: bool) -> Figure:
    """Spearman's ρ over blocks of R² with cheapness; a group of calibration windows leaves the fits of both.

    ``same_windows``: both are scored on the same windows, which are left out together; else on two choices of windows of one text, taken
    as independent though they overlap in part.
    """
    first, second = np.asarray(r2.value), np.asarray(cheapness.value)
    assert r2.fit is not None
    assert cheapness.fit is not None
    assert cheapness.score is not None
    pairs = (
        list(zip(r2.score, cheapness.score, strict=True))
        if same_windows and r2.score is not None
        else [(first, c) for c in cheapness.score]
    )
    apart = None if same_windows or r2.score is None else np.array([spearman(rest, second) for rest in r2.score])
    fit = np.array([spearman(rest, cheap) for rest, cheap in zip(r2.fit, cheapness.fit, strict=True)])
    half = None if r2.half is None or cheapness.half is None else spearman(np.asarray(r2.half), np.asarray(cheapness.half))
    return Figure(spearman(first, second), fit, np.array([spearman(a, b) for a, b in pairs]), half, None, apart)
