"""Claim 4 the plain way: R² of every block's map from the kept clean run, and its trend with depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from benchmarks.naive_fits import Fits, Map, Rows, fit_block, grouped, jackknife, total
from benchmarks.naive_model import Array, NaiveRun

Figures = dict[str, float]


@torch.inference_mode()
def figures(run: NaiveRun) -> Figures:
    """Return value, standard error (``/se``) and, where fits are repeated on half the text, ``/half`` of every figure."""
    found: Figures = {}
    for rungs in (("paper", "held-out", "typical"), ("strict",)):
        each: dict[str, list[R2]] = {rung: [] for rung in rungs}
        for block in range(len(run.blocks)):
            learned, held = (rows_of(run, rungs, block, s, n) for s, n in (("calibration", run.protocol.groups), ("evaluation", 1)))
            for rung in rungs:
                if rung != "held-out":  # Its maps are those of ``paper``.
                    fits = fit_block(learned[rung], run.protocol, rung == "strict")
                each[rung].append(r2_of(run, rung, block, fits, held[rung][0]))
        for rung, blocks in each.items():
            for block, one in enumerate(blocks):
                found |= one.figures(f"4/r2 of block {block}/{rung}")
            found |= _over_depth(blocks, rung)
    return found


@dataclass
class R2:
    """R² of a block's map, refitted without each group, scored without each window (None in sample), of half the groups (None: not)."""

    value: float
    fit: Array
    score: Array | None
    half: float | None

    def figures(self, name: str) -> Figures:
        """Return them by name."""
        found = {name: self.value, f"{name}/se": jackknife(self.value, self.fit, self.score)}
        return found if self.half is None else {**found, f"{name}/half": self.half}


def rows_of(run: NaiveRun, rungs: Sequence[str], block: int, split: str, groups: int) -> dict[str, list[Rows]]:
    """Sum a block's inputs and contributions on the rungs of one layout; all tokens are the typical ones and few others."""
    clean = run.clean(rungs[0])
    x, after, marked = clean.after(block - 1, split), clean.after(block, split), clean.typical(split, block)
    typical = grouped(x, after, marked, groups, difference=True)
    if rungs == ("strict",):
        return {"strict": typical}
    every = [a + b for a, b in zip(typical, grouped(x, after, ~marked, groups, difference=True), strict=True)]
    return {"paper": every, "held-out": every, "typical": typical}


def r2_of(run: NaiveRun, rung: str, block: int, fits: Fits, held: Rows) -> R2:
    """Score a block's maps: in sample on ``paper``, else on evaluation windows, of which ``held`` are the sums."""
    if rung == "paper":
        whole = total(fits.rows)
        fit = [each.r2(whole - part) for each, part in zip(fits.refits, fits.rows, strict=True)]
        return R2(fits.whole.r2(whole), np.array(fit), None, None)
    clean = run.clean(rung)
    x, after = clean.after(block - 1, "evaluation"), clean.after(block, "evaluation")
    error, energy = errors(fits.whole, x, after, clean.typical("evaluation", block) if rung != "held-out" else None)
    half = None if fits.half is None else fits.half.r2(held)
    score = 1 - (error.sum() - error) / (energy.sum() - energy)
    return R2(float(1 - error.sum() / energy.sum()), np.array([each.r2(held) for each in fits.refits]), score, half)


def errors(each: Map, x: Tensor, after: Tensor, marked: Tensor | None) -> tuple[Array, Array]:
    """Return ‖Δ − Δ̂‖² and ‖Δ − ȳ‖² of each window ``(windows)``, over marked tokens."""
    found = []
    for w in range(len(x)):
        rows = slice(None) if marked is None else marked[w]
        h = x[w][rows].double()
        y = after[w][rows].double() - h
        found.append([float((y - each(h)).square().sum()), float((y - each.mean_y).square().sum())])
    error, energy = np.array(found).T
    return error, energy


def _over_depth(blocks: list[R2], rung: str) -> Figures:
    """Spearman's correlation of R² with depth, and R² of the last block minus that of the first."""
    value, fit = np.array([one.value for one in blocks]), np.stack([one.fit for one in blocks], 1)
    score = None if blocks[0].score is None else np.stack([one.score for one in blocks if one.score is not None], 1)
    half = None if blocks[0].half is None else np.array([one.half for one in blocks])
    found: Figures = {}
    for name, of in (
        ("depth_trend", lambda r2: float(spearmanr(np.arange(len(r2)), r2).statistic)),
        ("depth_gain", lambda r2: float(r2[-1] - r2[0])),
    ):
        rows = [None if part is None else np.array([of(row) for row in part]) for part in (fit, score)]
        found |= R2(of(value), rows[0], rows[1], None if half is None else of(half)).figures(f"4/{name}/{rung}")
    return found
