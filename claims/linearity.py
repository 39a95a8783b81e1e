"""What claims 2 and 4 say beside a figure of linearity: what it rests on, and what makes it doubtful."""

from __future__ import annotations

import itertools
import math

import numpy as np

from claims.remarks import Remarks, of_sample
from harness.laboratory import Laboratory
from harness.linearity import Linearity
from harness.protocol import RUNGS
from harness.statistics import Array, jackknife_error


def remarks(lab: Laboratory, rung: str, block: int | None = None, ordered: bool = False) -> Remarks:
    """Remark on the figure of a block, or, without one, on a figure over all blocks.

    Beside what is said of the sample, a λ at an end of the grid is a caveat on ``strict``. ``ordered``: the figure is a rank correlation
    over blocks.
    """
    linearity = lab.linearity(rung)
    here = slice(None) if block is None else slice(block, block + 1)
    a = {name: array[here] for name, array in linearity.arrays.items() if array.ndim == 1}
    doubts, caveats = of_sample(lab, rung, a["fitted"].min(), a["rank"][0])
    if rung == "strict" and (edges := int(a["edge"].sum())):
        where = "λ stands" if block is not None else f"λ of {edges} of {len(a['edge'])} blocks stands"
        caveats.append(f"{where} at an end of the cross-validation's grid")
    if ordered and RUNGS[rung].judged and (caveat := order_caveat(linearity)):
        caveats.append(caveat)
    return Remarks(doubts=tuple(doubts), caveats=tuple(caveats), note=None if block is None else _rests_on(a, rung))


def order_caveat(linearity: Linearity) -> str | None:
    """Say how many pairs of blocks are within noise of one another, when some are.

    Noise in R² swaps such pairs, which pulls a rank correlation with depth towards zero and lets its jackknife interval, which is
    centred on the noisy figure, miss the true one (tests/README.md shows by how much).
    """
    figure = linearity.r2
    parts = [rows for rows in (figure.fit, figure.score) if rows is not None]
    values = np.asarray(figure.value)
    near = total = 0
    for i, j in itertools.combinations(range(len(values)), 2):
        error = math.sqrt(sum(jackknife_error(rows[:, j] - rows[:, i]) ** 2 for rows in parts))
        near += bool(abs(values[j] - values[i]) < 2 * error)
        total += 1
    if not near:
        return None
    return f"{near / total:.0%} of pairs of blocks are within 2 standard errors, which pulls the correlation towards 0"


def _rests_on(a: dict[str, Array], rung: str) -> str:
    values = {name: float(array[0]) for name, array in a.items()}
    if rung == "strict":
        return (
            f"λ = {values['penalty']:.1g} tr/d by cross-validation, {values['fitted']:,.0f} tokens fitted, "
            f"{values['left_out']:.2%} left out as atypical"
        )
    kept = f"V_k: k = {values['rank']:.0f}, which caps R² at {values['cap']:.3f}"
    return f"{kept}; {values['left_out']:.2%} of tokens left out as atypical" if rung == "typical" else kept
