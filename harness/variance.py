"""What claim 1 measured: arrays, and the figures that follow from them. Results; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np

from harness.findings import Findings, Shape
from harness.statistics import Array, Figure, gini, spearman, without_each

METHODS = ("pca", "cca", "rrr")
CURVES = ("pca", "random", "predictive")
SIGNS = 2


class Projection(Findings):
    """Negative log-likelihoods in nats per position, by evaluation window.

    - ``clean (W)``, ``projected (W)``: untouched, and projected onto the PCs that hold 90% of variance
    - ``refit (G, R)``, on windows ``refit_windows (R)``: the same with bases fitted without each group
    - ``noise (seeds, W)``, ``refit_noise (G', R)``: noise of the dropped variance instead, each refit with the noise of one seed
    - ``half_projected (H, W)``, ``half_noise (H', W)``: bases and noise fitted to half the calibration windows
    - ``curve (3, c, W)``: onto ``curve_ranks (c)`` PCs, a random subspace, the most predictive directions
    - ``blocks``, ``ranks``, ``held (b)``: where, k, and the share of variance held there
    """

    SHAPES: ClassVar[Mapping[str, Shape]] = {
        "clean": ("W",),
        "projected": ("W",),
        "noise": ("seeds", "W"),
        "refit": ("G", "R"),
        "refit_noise": ("noise refits", "R"),
        "refit_windows": ("R",),
        "half_projected": ("halves", "W"),
        "half_noise": ("half seeds", "W"),
        "curve": (len(CURVES), "c", "W"),
        "curve_ranks": ("c",),
        "blocks": ("b",),
        "ranks": ("b",),
        "held": ("b",),
        "fitted": (),
        "left_out": (),
    }

    @property
    def perplexity_ratio(self) -> Figure:
        """Perplexity after projection over perplexity before: exp(NLL(projected) − NLL(clean))."""
        a = self.arrays
        some = a["refit_windows"].astype(int)
        cost = a["projected"] - a["clean"]
        change = (a["refit"] - a["projected"][some]).mean(-1)
        return Figure(float(np.exp(cost.mean())), np.exp(cost.mean() + change), np.exp(without_each(cost)), None, 0.0)

    @property
    def over_noise(self) -> Figure:
        """ΔNLL of the projection over ΔNLL of noise of the dropped variance; NaN where the noise costs nothing.

        Few seeds are drawn, so that their own chance is part of the interval.
        """
        a = self.arrays
        some, seeds = a["refit_windows"].astype(int), len(a["noise"])
        value = _over(a["clean"], a["projected"], a["noise"])
        # What refitting changes on some windows, and for one seed each, is added to the costs on all of them.
        above, below = self.costs
        above_g = above + (a["refit"] - a["projected"][some]).mean(-1)
        below_g = below + (a["refit_noise"] - a["noise"][np.arange(len(a["refit_noise"])) % seeds][:, some]).mean(-1)
        fit = np.where(below_g > 0, above_g / np.where(below_g > 0, below_g, 1), np.nan)
        rest = [np.delete(np.arange(len(a["clean"])), w) for w in range(len(a["clean"]))]
        score = np.array([_over(a["clean"][w], a["projected"][w], a["noise"][:, w]) for w in rest])
        half = _over(a["clean"], a["half_projected"][0], a["half_noise"])
        further = np.array([_over(a["clean"], a["projected"], np.delete(a["noise"], i, 0)) for i in range(seeds)]) if seeds > 1 else None
        return Figure(value, fit, score, half, 0.0, further)

    @property
    def costs(self) -> tuple[float, float]:
        """ΔNLL of the projection and of the noise, in nats."""
        a = self.arrays
        return float((a["projected"] - a["clean"]).mean()), float((a["noise"] - a["clean"]).mean()) if len(a["noise"]) else np.nan


def _over(clean: Array, projected: Array, noise: Array) -> float:
    below = float((noise - clean).mean())
    return float((projected - clean).mean()) / below if below > 0 else np.nan


class Subspaces(Findings):
    """Predictive directions of mid and how they lie to the PCs.

    - ``overlap (factors)``, ``overlap_fit (G, factors)``, ``overlap_score (S', factors)``, ``overlap_half``: o for 0.01 λ, λ and 100 λ
    - ``self``: overlap of the directions fitted to two halves of the calibration windows
    - ``weights``, ``patterns``, ``whitened``: overlap of each with the top-k PCs; ``null_weights``, ``null_patterns (n)``: of random
      whitened subspaces through the same maps
    - ``strengths (k)``: canonical correlations, or on ``strict`` the roots of what each direction explains
    - ``pca``, ``cca``, ``rrr (m)``, each with ``_fit (G, m)``, ``_score (S, m)``, ``_half (m)``: held-out R² of h_B from ``ranks (m)``
    - ``penalty``, ``edge``, ``predicted``: λ over tr/d, whether it stands at an end of the grid, cross-validated R²
    """

    SHAPES: ClassVar[Mapping[str, Shape]] = {
        "overlap": ("factors",),
        "overlap_fit": ("G", "factors"),
        "overlap_score": ("windows of PCs", "factors"),
        "overlap_half": ("factors",),
        **dict.fromkeys(("self", "weights", "patterns", "whitened", "penalty", "edge", "predicted", "fitted", "left_out"), ()),
        "null_weights": ("n",),
        "null_patterns": ("n",),
        "strengths": ("k",),
        "ranks": ("m",),
        **{
            f"{method}{part}": shape
            for method in METHODS
            for part, shape in {"": ("m",), "_fit": ("G", "m"), "_score": ("S", "m"), "_half": ("m",)}.items()
        },
    }

    @property
    def k(self) -> int:
        """The number of directions compared."""
        return len(self.arrays["strengths"])

    def overlap(self, factor: int) -> Figure:
        """Overlap for a factor on λ, by its place."""
        a = self.arrays
        score = a["overlap_score"][:, factor] if len(a["overlap_score"]) else None
        half = a["overlap_half"][factor]
        return Figure(float(a["overlap"][factor]), a["overlap_fit"][:, factor], score, None if np.isnan(half) else float(half))

    def beyond_chance(self, factor: int, width: int) -> Figure:
        """(o − k/d)/(1 − k/d): 0 by chance, 1 for the same subspace."""
        chance = self.k / width
        return self.overlap(factor).map(lambda o: (float(o) - chance) / (1 - chance))

    def gain(self, least_r2: float) -> tuple[Figure, int]:
        """Return R²(predictive)/R²(PCs) − 1 at the k where it is least, and that k; NaN and 0 where PCs predict too little at every k."""
        a = self.arrays
        enough = np.flatnonzero(a["pca"] >= least_r2)
        if not len(enough):
            return Figure(np.nan), 0
        with np.errstate(divide="ignore", invalid="ignore"):
            at = int(enough[np.argmin(a["cca"][enough] / a["pca"][enough])])
            ratios = {part: a[f"cca{part}"][..., at] / a[f"pca{part}"][..., at] - 1 for part in ("", "_fit", "_score", "_half")}
        half = None if np.isnan(ratios["_half"]) else float(ratios["_half"])
        return Figure(float(ratios[""]), ratios["_fit"], ratios["_score"], half, -1.0), int(a["ranks"][at])


class Ablation(Findings):
    """KL(clean ‖ ablated) in nats per position for each of n PCs: ``kl (n, W)``.

    ``ranks (n)`` from 0; ``variance (n)`` along each, ``variance_fit (G, n)`` without each group, ``variance_half (n)`` on half of them;
    ``floor (W)``: KL of a change as small as the stream's rounding.
    """

    SHAPES: ClassVar[Mapping[str, Shape]] = {
        "ranks": ("n",),
        "variance": ("n",),
        "variance_fit": ("G", "n"),
        "variance_half": ("n",),
        "kl": ("n", "W"),
        "floor": ("W",),
        "fitted": (),
        "left_out": (),
    }

    @property
    def reliability(self) -> float:
        """Spearman's ρ of the KL on every second evaluation window with that on the others: low where noise levels the ranks."""
        kl = self.arrays["kl"]
        return spearman(kl[:, ::2].mean(1), kl[:, 1::2].mean(1)) if kl.shape[1] > 1 else np.nan

    @property
    def rank_correlation(self) -> Figure:
        """Spearman's ρ of variance with mean KL over the PCs."""
        a = self.arrays
        kl = a["kl"].mean(1)
        fit = np.array([spearman(variance, kl) for variance in a["variance_fit"]])
        score = np.array([spearman(a["variance"], rest) for rest in without_each(a["kl"]).T])
        return Figure(spearman(a["variance"], kl), fit, score, spearman(a["variance_half"], kl))


class Sensitivity(Findings):
    """KL(clean ‖ pushed) in nats per position: ``kl (n, 2, W)`` along n PCs and against, ``random (n, 2, W)`` along random directions.

    ``ranks``, ``variance (n)`` of the PCs; ``norm`` of the push; ``floor (W)``: KL of a change as small as the stream's rounding.
    """

    SHAPES: ClassVar[Mapping[str, Shape]] = {
        "ranks": ("n",),
        "variance": ("n",),
        "kl": ("n", SIGNS, "W"),
        "random": ("n", SIGNS, "W"),
        "norm": (),
        "floor": ("W",),
        "fitted": (),
        "left_out": (),
    }

    @property
    def inequality(self) -> Figure:
        """Gini of the mean KL over the PCs."""
        s = self.arrays["kl"].mean(1)
        return Figure(gini(s.mean(-1)), None, np.array([gini(rest) for rest in without_each(s).T]))

    @property
    def beside(self) -> dict[str, float]:
        """Gini over random directions, Gini of the variance, Spearman's ρ of variance with sensitivity."""
        a = self.arrays
        return {
            "random": gini(a["random"].mean((1, 2))),
            "variance": gini(a["variance"]),
            "spearman": spearman(a["variance"], a["kl"].mean((1, 2))),
        }


class LogitChange(Findings):
    """First held-out canonical correlation: ``correlation (1 + nulls)``, of the PCs first, then of random subspaces.

    ``correlation_fit (G, …)``, ``correlation_score (W, …)``, ``correlation_half``; ``ablated``: how many PCs, of the ``rank`` that hold
    90%; ``held``: the share of variance they hold.
    """

    SHAPES: ClassVar[Mapping[str, Shape]] = {
        "correlation": ("subspaces",),
        "correlation_fit": ("G", "subspaces"),
        "correlation_score": ("W", "subspaces"),
        "correlation_half": ("subspaces",),
        **dict.fromkeys(("ablated", "rank", "held", "fitted", "left_out"), ()),
    }

    @property
    def all(self) -> Figure:
        """The correlations as a vector of figures."""
        a = self.arrays
        return Figure(a["correlation"], a["correlation_fit"], a["correlation_score"], a["correlation_half"])

    @property
    def correlation(self) -> Figure:
        """That of the PCs."""
        figure = self.all.at(0)
        return Figure(figure.value, figure.fit, figure.score)

    @property
    def excess(self) -> Figure:
        """That of the PCs minus the mean over random subspaces of equal dimension."""
        r = np.asarray(self.all.value)
        return replace(self.all.map(lambda r: float(r[0] - r[1:].mean())), further=r[0] - without_each(r[1:]))
