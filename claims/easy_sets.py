"""What claim 5 asserts and says of two criteria for easy tokens, side by side: which tokens, and whether the same ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from claims.easy import of_heads
from claims.remarks import Remarks
from harness.destroyed import LateBlocks
from harness.exits import Exit, share
from harness.laboratory import Laboratory
from harness.odds import NOT_COUNTED, crude_odds, mantel_haenszel, strata
from harness.statistics import Array, Figure

_CONTEXT = 60
"""Characters of text shown before a token."""


def easy_sets_agree(lab: Laboratory, rung: str) -> tuple[Figure, Remarks]:
    """Return the odds ratio of agreeing at mid and of having a low KL for each late block, at equal confidence of the whole model.

    Mantel–Haenszel over deciles of the full model's top-1 probability; in a replicate without a window medians and deciles are anew.
    """
    found, late, count = lab.exit(rung), lab.late_blocks(rung), lab.protocol.easy.strata
    a = found.arrays
    agreed, confidence, counted = a["agreed"][0], a["full_confidence"], a["counted"]
    windows = np.arange(len(counted))

    def odds(marks: Array, kept: NDArray[np.bool_], surest: bool = True) -> float:
        of = strata(confidence[kept], counted[kept], count)
        return mantel_haenszel(marks[kept], late.of_windows(kept).easy, of if surest else np.where(of == of.max(), NOT_COUNTED, of))

    def figured(surest: bool) -> Figure:
        score = np.array([odds(agreed, windows != w, surest) for w in windows])
        half = odds(a["agreed"][1], windows >= 0, surest) if len(a["agreed"]) > 1 else None
        return Figure(odds(agreed, windows >= 0, surest), None, score, half, 0.0)

    figure, without = figured(True), figured(False)
    doubts, caveats = of_heads(lab, rung, found)
    unsure = float(without.value)
    if not np.isnan(unsure) and not without.interval(0.95).low > 1:
        caveats.append(
            f"without the tenth of tokens of which the model is surest it is {unsure:.3g}, and not above 1 beyond doubt: those may carry it"
        )
    easy, marked = late.easy, counted > 0
    crude = crude_odds(agreed[marked], easy[marked])
    both = share(agreed * easy, counted)
    note = (
        f"{share(agreed, counted):.1%} of tokens agree at mid, {share(easy, counted):.1%} have a low KL, {both:.1%} both; odds ratio "
        f"without regard to confidence {crude:.3g}, without the tenth of which the model is surest "
        f"{'–' if np.isnan(unsure) else f'{unsure:.3g}'}; "
        "the interval takes the head as given"
    )
    evidence = {
        "odds": float(figure.value),
        "crude": crude,
        "unsure": unsure,
        "strata": _strata(agreed, easy, confidence, strata(confidence, counted, count)),
        **_tokens(found, late, lab.protocol.easy.shown),
    }
    absent = "no figure: in no stratum are there tokens that only agree and others that only have a low KL"
    return figure, Remarks(doubts=tuple(doubts), caveats=tuple(caveats), note=note, absent=absent, evidence=evidence)


def _strata(agreed: Array, easy: Array, confidence: Array, of: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Return both shares within each stratum of confidence."""
    found = []
    for k in np.unique(of[of != NOT_COUNTED]):
        mine = of == k
        found.append(
            {
                "low": float(confidence[mine].min()),
                "high": float(confidence[mine].max()),
                "tokens": int(mine.sum()),
                "agreed": float(agreed[mine].mean()),
                "easy": float(easy[mine].mean()),
                "both": float((agreed * easy)[mine].mean()),
                "odds": crude_odds(agreed[mine], easy[mine]),
            }
        )
    return found


def _tokens(found: Exit, late: LateBlocks, shown: int) -> dict[str, list[dict[str, Any]]]:
    """Return the easiest and the hardest tokens in context: by the mean over late blocks of the rank of their KL."""
    marked, kl = late.arrays["counted"] > 0, late.arrays["kl"]
    places = np.argwhere(marked)
    ranks = rankdata(kl[:, marked], axis=1).mean(0)
    order = np.argsort(ranks, kind="stable")
    pieces, said = found.texts("pieces"), found.texts("said")
    agreed, confidence = found.arrays["agreed"][0], found.arrays["full_confidence"]

    def token(place: Array) -> dict[str, Any]:
        w, t = int(place[0]), int(place[1])
        return {
            "window": w,
            "position": t,
            "before": "".join(pieces[w][max(t - _CONTEXT, 0) : t])[-_CONTEXT:],
            "token": pieces[w][t],
            "next": pieces[w][t + 1],
            "said": said[w][t],
            "kl": float(kl[:, w, t].mean()),
            "agreed": bool(agreed[w, t]),
            "confidence": float(confidence[w, t]),
        }

    return {
        "easiest": [token(places[i]) for i in order[:shown]],
        "hardest": [token(places[i]) for i in order[::-1][:shown]],
    }
