"""What claims 2 and 4 say beside a figure of linearity: what it rests on, and what makes it doubtful."""

from __future__ import annotations

import itertools
import math
from typing import TypedDict

import numpy as np

from harness.laboratory import Laboratory
from harness.linearity import Linearity
from harness.protocol import RUNGS
from harness.statistics import Array, jackknife_error

_NOTABLE_UNKNOWN = 0.01


class Remarks(TypedDict):
    """What :class:`reports.plugin.Judge` takes beside a figure."""

    doubts: tuple[str, ...]
    caveats: tuple[str, ...]
    note: str | None


def remarks(lab: Laboratory, rung: str, block: int | None = None, ordered: bool = False) -> Remarks:
    """Remark on the figure of a block, or, without one, on a figure over all blocks.

    On ``strict``, too few calibration tokens for the width are a doubt (such a figure is not judged); a text too short for the strict
    sizes and a λ at an end of the grid are caveats, and so is, on every rung, a text that the tokenizer does not know in part. The other
    rungs have the paper's sizes, whatever those are worth. ``ordered``: the figure is a rank correlation over blocks.
    """
    linearity, protocol = lab.linearity(rung), lab.protocol
    here = slice(None) if block is None else slice(block, block + 1)
    a = {name: array[here] for name, array in linearity.arrays.items() if array.ndim == 1}
    doubts, caveats = [], []
    if (unknown := lab.unknown(rung)) >= _NOTABLE_UNKNOWN:
        caveats.append(f"{unknown:.0%} of the tokens are the tokenizer's token for what it does not know")
    if rung == "strict":
        fewest, width, fitted = protocol.fewest_tokens_per_width, a["rank"][0], a["fitted"].min()
        if fitted < fewest * width:
            doubts.append(f"fitted to {fitted:,.0f} tokens, fewer than {fewest} for each of {width:.0f} dimensions")
        asked = {
            "calibration": protocol.strict_calibration_windows(lab.facts.width),
            "evaluation": protocol.strict_evaluation_windows,
        }
        short = [f"{found} of {asked[split]} {split} windows" for split, found in lab.sizes(rung).items() if found < asked[split]]
        if short:
            caveats.append(f"the text holds {' and '.join(short)} that the protocol asks for")
        if edges := int(a["edge"].sum()):
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
