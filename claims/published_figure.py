"""What a published figure is: its value, its kind with the tolerance that follows from it, and where a report has its counterpart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

RUNG = "paper"
"""The rung that measures as published: counterparts of published figures are figures of this one."""


@dataclass(frozen=True)
class Kind:
    """What sort of figure it is. ``tolerance``: how far a measured one may be from it, of the figure where ``relative``.

    ``reason``: why so far. Set-up figures (``counted`` is False) are shown, and do not count as replicated figures.
    """

    name: str
    tolerance: float
    relative: bool
    reason: str
    counted: bool = True

    def around(self, low: float, high: float) -> tuple[float, float]:
        """Return the range that counts as within tolerance of a figure, or of a range of figures."""
        if self.relative:
            return low - self.tolerance * abs(low), high + self.tolerance * abs(high)
        return low - self.tolerance, high + self.tolerance

    def describe(self) -> str:
        """Say the tolerance in a few words: ``±25%``, ``±5 points``, ``±0.05``, ``exact``."""
        if self.tolerance == 0:
            return "exact"
        if self.relative:
            return f"±{self.tolerance:.0%}"
        return f"±{100 * self.tolerance:g} points" if self.name == "share" else f"±{self.tolerance:g}"


_FIXED = "fixed with the bounds, before any model was measured"
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("r2", 0.05, False, _FIXED),
        Kind("share", 0.05, False, _FIXED),
        Kind("perplexity", 0.25, True, f"{_FIXED}; of an added perplexity, 25% of what is added"),
        Kind("kl", 0.25, True, _FIXED),
        Kind("ratio", 0.30, True, _FIXED),
        Kind("gain", 0.30, True, "a ratio minus 1: 30% of the gain, as 30% of the ratio would let no gain pass for one of 23%"),
        Kind("gini", 0.05, False, "as R²: both lie between 0 and 1"),
        Kind("error", 0.30, True, "as the ratios that are formed of it"),
        Kind("rank", 0.30, True, "proportional to the parameters of the map"),
        Kind("map parameters", 0.30, True, "proportional to the rank of the map"),
        Kind("parameters", 0.01, True, "known from the architecture, and printed to three digits"),
        Kind("count", 1.0, False, "a whole number: one more or less, as one component or block near a threshold makes"),
        Kind("set-up", 0.0, False, "chosen, and not measured", counted=False),
    )
}


@dataclass(frozen=True)
class Matching:
    """A step into a list: the place that a value has in another list, at the top of the evidence (``k`` of 8)."""

    names: str
    value: float


@dataclass(frozen=True)
class With:
    """A step into a list of records: the one in which a field has a value (``threshold`` of 0.95)."""

    field: str
    value: float


@dataclass(frozen=True)
class SumOfFirst:
    """A last step: the sum of so many leading numbers of a list."""

    count: int


Step = str | int | Matching | With | SumOfFirst


@dataclass(frozen=True)
class InRow:
    """The figure of a predicate's row, at a block where it has one for each."""

    predicate: str
    block: int | None = None


@dataclass(frozen=True)
class InEvidence:
    """A number in what the test of a predicate handed over."""

    predicate: str
    path: tuple[Step, ...]


@dataclass(frozen=True)
class InModel:
    """A number in what a report says of the model: ``n_blocks``, ``width``."""

    field: str


@dataclass(frozen=True)
class InProtocol:
    """A number in the protocol that a report records."""

    path: tuple[str | int, ...]


@dataclass(frozen=True)
class Difference:
    """The number in one place minus that in another."""

    first: Place
    second: Place


Place = InRow | InEvidence | InModel | InProtocol | Difference


@dataclass(frozen=True)
class Published:
    """A figure of the paper.

    ``models``: registered names of the models it is of; both main ones where the paper does not say. ``claim`` as of ``Claim.key``.
    ``value``: a number, or a range (least, greatest); ``above``: the paper only says that it is above ``value``. ``measured``: where a
    report has the counterpart, or as text why there is none. ``differs``: how the set-up of the counterpart is another than the paper's.
    """

    ident: str
    models: tuple[str, ...]
    claim: int | Literal["appendix"]
    what: str
    where: str
    kind: str
    value: float | tuple[float, float]
    measured: Place | str
    differs: str = ""
    above: bool = False

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest value; equal where it is one number."""
        return self.value if isinstance(self.value, tuple) else (self.value, self.value)

    @property
    def tolerance(self) -> str:
        """The tolerance in words; a bound is met or not."""
        return "a bound" if self.above else KINDS[self.kind].describe()

    def within(self, measured: float) -> bool:
        """Whether a measured figure is within tolerance, or beyond the bound."""
        if self.above:
            return measured > self.ends[0]
        low, high = KINDS[self.kind].around(*self.ends)
        slack = 1e-9 * max(1.0, abs(low), abs(high))  # Decimal figures and tolerances have no exact sum.
        return low - slack <= measured <= high + slack

    def difference(self, measured: float) -> float:
        """Return how far a measured figure is from the published one, or from the nearer end of its range; 0 inside a range."""
        low, high = self.ends
        if self.above or measured < low:
            return measured - low
        return measured - high if measured > high else 0.0


GPT2, MISTRAL = ("gpt2",), ("mistral",)
EITHER = (*GPT2, *MISTRAL)
"""Where it is not clear of which of the paper's two models a figure is."""
NOT_SAID = "shown for both models: it is not clear of which it is"


def predicates_of(place: Place | str) -> tuple[str, ...]:
    """Return the predicates on which a counterpart rests; none of what a model or a protocol says."""
    if isinstance(place, InRow | InEvidence):
        return (place.predicate,)
    found: list[Any] = [place.first, place.second] if isinstance(place, Difference) else []
    return tuple(dict.fromkeys(name for each in found for name in predicates_of(each)))
