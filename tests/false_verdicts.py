"""Count false verdicts in records of :mod:`tests.simulated`, and say it in tables. Pure.

The truth of a cell is what a null is by construction, or the mean of its figure over the seeds that share weights (of the logarithm, where
the interval is taken on the log scale; of both costs, where the figure is a ratio of two), which is the rung's own estimand at these sizes.
A verdict is false where the truth, judged as if its interval were a point, has another one; INCONCLUSIVE and NOT APPLICABLE never are.
The worst case puts the bound at the truth: the share of seeds whose whole interval lies above it, and below.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scipy.stats import beta

from claims import CLAIMS
from claims.verdicts import Bound, Verdict
from tests.simulated_nulls import NULLS, TESTED, UNDEFINED

Record = Mapping[str, Any]
ALLOWED = 0.05
"""A rate is too high where its interval lies above."""


def clopper_pearson(count: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact binomial interval of a rate; (0, 1) of nothing."""
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, count, total - count + 1)) if count else 0.0
    high = float(beta.ppf(1 - tail, count + 1, total - count)) if count < total else 1.0
    return low, high


def centre(values: Sequence[float], origin: float | None = None) -> float:
    """Return the mean, on the scale of ln(value − origin) where all values have one."""
    if origin is not None and all(value > origin for value in values):
        return origin + math.exp(math.fsum(math.log(value - origin) for value in values) / len(values))
    return math.fsum(values) / len(values)


def ratio_of_costs(costs: Sequence[Sequence[float]]) -> float | None:
    """Return mean cost over mean cost, None unless the one below is above 0 by more than two standard errors."""
    below = [cost[1] for cost in costs]
    mean = math.fsum(below) / len(below)
    spread = math.fsum((cost - mean) ** 2 for cost in below) / max(len(below) - 1, 1)
    return math.fsum(cost[0] for cost in costs) / len(costs) / mean if mean > 2 * math.sqrt(spread / len(below)) else None


@dataclass(frozen=True)
class Truth:
    """What is true of a cell: of its figure, None where there is no truth; ``least``: of the part that has to hold, where it has parts.

    ``parts``: of every part, None for one without a figure, where the figure is one of them: which one, a row chooses by what it found.
    """

    figure: float | None
    least: float | None = None
    parts: tuple[float | None, ...] = ()

    def of(self, row: Record) -> float | None:
        """Return what the interval of a row should cover."""
        if not self.parts or row["value"] is None:
            return self.figure
        gaps = [math.inf if part is None else abs(part - row["value"]) for part in row["parts"]]
        return self.parts[gaps.index(min(gaps))]

    def verdicts(self, bound: Bound) -> set[Verdict]:
        """Return the verdicts that are not false."""
        if self.figure is None:
            return set()
        found = bound.judge(self.figure, self.figure)[0]
        if self.least is None:
            return {found} - {Verdict.INCONCLUSIVE}
        holds = {Verdict.HOLDS} if bound.judge(self.least, self.least)[0] is Verdict.HOLDS else set()
        return holds | ({Verdict.FALSIFIED} if found is Verdict.FALSIFIED else set())


def truth_of(rows: Sequence[Record], by_construction: float | str | None) -> Truth:
    """Return the truth of the rows of one cell that share weights."""
    if by_construction == UNDEFINED:
        return Truth(None)
    if by_construction is not None:
        return Truth(float(by_construction))
    costs = [row["costs"] for row in rows if row.get("costs")]
    if costs:
        return Truth(ratio_of_costs(costs))
    known = [row for row in rows if row["value"] is not None]
    if not known:
        return Truth(None)
    origin = next((row["origin"] for row in known if row["origin"] is not None), None)
    if known[0].get("parts") is None:
        return Truth(centre([row["value"] for row in known], origin))
    parts = [None if None in part else centre(part, 0.0) for part in zip(*(row["parts"] for row in known), strict=True)]
    least = min(part for part in parts if part is not None)
    # The figure of one that falsifies alone is that part; of the others it is the mean of all.
    if known[0]["predicate"] == "strictly":
        return Truth(least, least, tuple(parts))
    return Truth(centre([row["value"] for row in known], origin), least)


@dataclass
class Tally:
    """What was counted of a cell over seeds."""

    case: str
    predicate: str
    rung: str
    truths: list[float] = field(default_factory=list)
    total: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    doubted: int = 0
    false: int = 0
    level: float | None = None
    worst: dict[str, list[int]] = field(default_factory=lambda: {"all": [0, 0, 0], "judged": [0, 0, 0]})
    """Of all intervals, and of those that no doubt keeps from being judged: how many, above the truth, below it."""

    def add(self, row: Record, truth: Truth, bound: Bound, covers: bool) -> None:
        """Count a row; ``covers``: its interval should cover this truth."""
        self.total += 1
        self.verdicts[row["verdict"]] += 1
        self.doubted += row["doubted"]
        self.level = row["level"] if row["level"] is not None else self.level
        decided = row["verdict"] in (Verdict.HOLDS, Verdict.FALSIFIED)
        self.false += decided and row["verdict"] not in truth.verdicts(bound)
        asked = truth.of(row)
        if not covers or asked is None or row["low"] is None:
            return
        rounding = 1e-9 * max(1.0, abs(asked))  # A count has an interval of no width, and a mean of logarithms its rounding.
        for counts in (self.worst["all"], *([] if row["doubted"] else [self.worst["judged"]])):
            counts[0] += 1
            counts[1] += row["low"] > asked + rounding
            counts[2] += row["high"] < asked - rounding

    @property
    def too_high(self) -> bool:
        """Whether the rate of false verdicts is above what is allowed, beyond sampling error."""
        return clopper_pearson(self.false, self.total)[0] > ALLOWED

    @property
    def misses_too_often(self) -> bool:
        """Whether more intervals than are allowed lie on one side of the truth, beyond sampling error, where no doubt keeps them back."""
        total, *sides = self.worst["judged"]
        return any(clopper_pearson(count, total)[0] > ALLOWED for count in sides)

    def misses(self, which: str = "judged") -> float:
        """Return the larger of the shares of intervals that lie above and below the truth; NaN without intervals."""
        total, *sides = self.worst[which]
        return max(sides) / total if total else math.nan


def tallied(records: Iterable[Record]) -> list[Tally]:
    """Count every cell of null subjects."""
    cells: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        if record["kind"] == "null":
            for row in record["rows"]:
                cells.setdefault((record["case"], row["predicate"], row["rung"]), []).append({**row, "weights": record["weights"]})
    found = []
    for (case, predicate, rung), rows in cells.items():
        tally = Tally(case, predicate, rung)
        covers, bound = covered(case, predicate, rung), TESTED[predicate].measures.predicate.bounds[rung]
        for group, truth in truths(case, predicate, rung, rows):
            tally.truths += [] if truth.figure is None else [truth.figure]
            for row in group:
                tally.add(row, truth, bound, covers)
        found.append(tally)
    return found


def truths(case: str, predicate: str, rung: str, rows: Sequence[Record]) -> list[tuple[list[Record], Truth]]:
    """Return the rows of a cell by what is true of them: of all alike, or of each draw of the weights."""
    null = NULLS[case]
    by_construction = null.truth(predicate, rung)
    if null.models is None or by_construction is not None:
        return [(list(rows), truth_of(rows, by_construction))]
    groups = [[row for row in rows if row["weights"] == weights] for weights in range(null.models)]
    return [(group, truth_of(group, None)) for group in groups if group]


def covered(case: str, predicate: str, rung: str) -> bool:
    """Whether each interval of a cell should cover the cell's truth: it is one of the same model, or known, and no mean over models."""
    null = NULLS[case]
    if predicate.startswith("spectral") and null.models is None:
        return False  # Its interval is of shuffles of given weights.
    return null.models is not None or null.truth(predicate, rung) is not None or predicate in null.alike


def claims_tallied(records: Iterable[Record]) -> list[tuple[str, str, int, Counter[str], int]]:
    """Return (case, claim/rung, seeds, verdicts, false ones) of claims all of whose core was asked.

    HOLDS is false unless it is the truth of every core predicate, FALSIFIED unless it is that of one.
    """
    records = [record for record in records if record["kind"] == "null"]
    allowed: dict[tuple[str, str, str, int], set[Verdict]] = {}
    cells: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        for row in record["rows"]:
            cells.setdefault((record["case"], row["predicate"], row["rung"]), []).append({**row, "weights": record["weights"]})
    for (case, predicate, rung), rows in cells.items():
        bound = TESTED[predicate].measures.predicate.bounds[rung]
        for group, truth in truths(case, predicate, rung, rows):
            for weights in {row["weights"] for row in group}:
                allowed[case, predicate, rung, weights] = truth.verdicts(bound)
    found: dict[tuple[str, str], list[Any]] = {}
    for record in records:
        for place, verdict in record["claims"].items():
            key, rung = place.split("/")
            claim = next(claim for claim in CLAIMS if str(claim.key) == key)
            core = [allowed[record["case"], p.name, rung, record["weights"]] for p in claim.predicates if rung in p.core]
            true = {Verdict.HOLDS} if all(Verdict.HOLDS in one for one in core) else set()
            true |= {Verdict.FALSIFIED} if any(Verdict.FALSIFIED in one for one in core) else set()
            counts = found.setdefault((record["case"], place), [0, Counter(), 0])
            counts[0] += 1
            counts[1][verdict] += 1
            counts[2] += verdict in (Verdict.HOLDS, Verdict.FALSIFIED) and verdict not in true
    return [(case, place, *counts) for (case, place), counts in found.items()]
