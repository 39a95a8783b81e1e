"""Verdicts: what a figure and its interval say about a bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Verdict(StrEnum):
    """The outcome of one cell. Only HOLDS, FALSIFIED and INCONCLUSIVE judge a claim."""

    HOLDS = "holds"
    FALSIFIED = "falsified"
    INCONCLUSIVE = "inconclusive"
    MEASURED = "measured"
    NOT_APPLICABLE = "not_applicable"
    UNTESTED = "untested"
    ERROR = "error"

    @property
    def word(self) -> str:
        """The word as a report prints it."""
        return self.value.replace("_", " ").upper()

    @property
    def letter(self) -> str:
        """The letter as the progress line prints it."""
        return {"holds": ".", "falsified": "F", "inconclusive": "i", "measured": "m", "not_applicable": "n", "untested": "u", "error": "E"}[
            self.value
        ]


@dataclass(frozen=True)
class Bound:
    """Where a predicate holds and where it is falsified, with a dead zone between.

    ``at_least``: holds at q ≥ holds, falsified at q ≤ falsified; ``at_most`` the other way round; ``inside``: holds within the
    pair ``holds``, falsified outside the pair ``falsified``. ``open_holds`` and ``open_falsified`` turn ≥ into > and ≤ into <.
    """

    holds: float | tuple[float, float]
    falsified: float | tuple[float, float]
    direction: Literal["at_least", "at_most", "inside"] = "at_least"
    open_holds: bool = False
    open_falsified: bool = False

    def judge(self, low: float, high: float) -> tuple[Verdict, float]:
        """Judge an interval; return the verdict and the margin to flipping.

        HOLDS when the whole interval lies beyond ``holds``, FALSIFIED when it lies wholly beyond ``falsified``, else INCONCLUSIVE.
        The margin is in the figure's unit: how far the interval may move before the verdict changes; negative for
        INCONCLUSIVE, where it is how far it would have to move to decide.
        """
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"an interval must be finite to be judged, not [{low}, {high}]")
        to_hold, to_fail = self._slack(low, high)
        if to_hold > 0 or (to_hold == 0 and not self.open_holds):
            return Verdict.HOLDS, to_hold
        if to_fail > 0 or (to_fail == 0 and not self.open_falsified):
            return Verdict.FALSIFIED, to_fail
        return Verdict.INCONCLUSIVE, max(to_hold, to_fail)

    def _slack(self, low: float, high: float) -> tuple[float, float]:
        """How far the interval lies beyond each bound; negative when it does not."""
        if isinstance(self.holds, tuple) and isinstance(self.falsified, tuple):
            inner, outer = self.holds, self.falsified
            return min(low - inner[0], inner[1] - high), max(outer[0] - high, low - outer[1])
        assert not isinstance(self.holds, tuple)
        assert not isinstance(self.falsified, tuple)
        if self.direction == "at_least":
            return low - self.holds, self.falsified - high
        return self.holds - high, low - self.falsified

    def narrowing(self, value: float, low: float, high: float) -> float | None:
        """Return how much narrower an undecided interval must be to decide, its figure staying: a factor below 1.

        None when the figure itself lies in the dead zone or on a bound: no precision decides there.
        """
        if isinstance(self.holds, tuple) and isinstance(self.falsified, tuple):
            (a, b), (outer_a, outer_b) = self.holds, self.falsified
            rooms = [(value - a, value - low), (b - value, high - value)] if a <= value <= b else []
            rooms = [(outer_a - value, high - value)] if value < outer_a else rooms
            rooms = [(value - outer_b, value - low)] if value > outer_b else rooms
        else:
            assert not isinstance(self.holds, tuple)
            assert not isinstance(self.falsified, tuple)
            up = self.direction == "at_least"
            above = (value - (self.holds if up else self.falsified), value - low)
            below = ((self.falsified if up else self.holds) - value, high - value)
            rooms = [room for room in (above, below) if room[0] > 0]
        factor = min((room / half for room, half in rooms if half > 0), default=0.0)
        return factor if 0 < factor < 1 else None

    def sides(self) -> tuple[str, str]:
        """Write both bounds: ``("≥ 0.8", "≤ 0.5")``."""
        if isinstance(self.holds, tuple) and isinstance(self.falsified, tuple):
            return f"in {self.holds[0]:g} … {self.holds[1]:g}", f"outside {self.falsified[0]:g} … {self.falsified[1]:g}"
        above, below = ("≥", ">"), ("≤", "<")
        good, bad = (above, below) if self.direction == "at_least" else (below, above)
        return f"{good[self.open_holds]} {self.holds:g}", f"{bad[self.open_falsified]} {self.falsified:g}"

    def short(self) -> str:
        """Write both bounds for a table: ``≥ 0.8 | ≤ 0.5``, ``0.25–0.35 | ∉0.2–0.4``."""
        return " | ".join(side.removeprefix("in ").replace("outside ", "∉").replace(" … ", "–") for side in self.sides())

    def describe(self, verdict: Verdict | None = None) -> str:
        """Say the bound in words: both sides, or the one that a verdict rests on."""
        good, bad = self.sides()
        good = f"holds {good}" if good.startswith("in ") else f"holds at {good}"
        bad = f"falsified {bad}" if bad.startswith("outside") else f"falsified at {bad}"
        return {Verdict.HOLDS: good, Verdict.FALSIFIED: bad}.get(verdict, f"{good}, {bad}") if verdict else f"{good}, {bad}"
