"""What is said beside any figure: what it rests on, what makes it doubtful, and the data that a report shows with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

from claims.everywhere import Everywhere
from harness.laboratory import Laboratory
from harness.statistics import Figure

_NOTABLE_UNKNOWN = 0.01


class Remarks(TypedDict, total=False):
    """What :class:`reports.plugin.Judge` takes beside a figure.

    ``doubts`` are caveats that keep it from being judged; ``note`` says what it rests on; ``absent`` why there is none; ``evidence`` is
    what a report draws, as JSON; ``everywhere``: the parts that a figure stands for.
    """

    doubts: tuple[str, ...]
    caveats: tuple[str, ...]
    note: str | None
    absent: str
    evidence: dict[str, Any]
    everywhere: Everywhere


def hand_over(verdict: Callable[..., None], found: tuple[Figure, Remarks]) -> None:
    """Have a figure judged with what is said beside it."""
    figure, remarks = found
    verdict(figure, **remarks)


def of_sample(lab: Laboratory, rung: str, fitted: float, width: float) -> tuple[list[str], list[str]]:
    """Return doubts and caveats about the sample behind a figure.

    On ``strict``, too few calibration tokens for the width are a doubt, and a text too short for the strict sizes a caveat; so is, on
    every rung, a text that the tokenizer does not know in part. The other rungs have the paper's sizes, whatever those are worth.
    """
    protocol, doubts, caveats = lab.protocol, [], []
    if (unknown := lab.unknown(rung)) >= _NOTABLE_UNKNOWN:
        caveats.append(f"{unknown:.0%} of the tokens are the tokenizer's token for what it does not know")
    if rung == "strict":
        fewest = protocol.fewest_tokens_per_width
        if fitted < fewest * width:
            doubts.append(f"fitted to {fitted:,.0f} tokens, fewer than {fewest} for each of {width:.0f} dimensions")
        asked = {"calibration": protocol.strict_calibration_windows(lab.facts.width), "evaluation": protocol.strict_evaluation_windows}
        sizes = lab.sizes(rung)
        short = [f"{sizes[split]} of {asked[split]} {split} windows" for split in asked if sizes[split] < asked[split]]
        if short:
            caveats.append(f"the text holds {' and '.join(short)} that the protocol asks for")
    return doubts, caveats
