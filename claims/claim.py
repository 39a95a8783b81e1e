"""A claim and its predicates, stated once; markers, test ids, table rows and reports are read from here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from claims.verdicts import Bound
from harness.measurement import Measurement
from harness.protocol import RUNGS

MOMENTS = ("paper", "held-out", "typical", "strict")
INTERVENTIONS = ("paper", "typical", "strict")
JUDGED = tuple(rung.name for rung in RUNGS.values() if rung.judged)

Test = TypeVar("Test", bound=Callable[..., None])


@dataclass(frozen=True)
class Predicate:
    """One measurable statement of a claim.

    ``bounds``: rung → bound; a rung without one is MEASURED. ``core``: rungs on which the claim stands or falls with it.
    ``rungs``: where it exists. ``blocks``: ``"each"`` for one cell a block, of which only the last is judged. ``fewest_blocks``:
    smaller models cannot express it. ``fewest_texts``: how many corpora a run must have. ``inside``: the range the figure cannot leave.
    ``controls``: rung → what it adds to the one before, where that is not what the rung adds for others. ``measured_by``: the
    measurements that give it. ``unmoved``: rung → axes of a sweep that a measurement of it may read and on which neither the judged figure
    rests nor a doubt: of ``SEEDS``, say, where only what stands beside it is drawn.
    """

    name: str
    meaning: str
    unit: str
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    core: tuple[str, ...] = ()
    rungs: tuple[str, ...] = MOMENTS
    blocks: Literal["each"] | None = None
    fewest_blocks: int = 1
    fewest_texts: int = 1
    inside: tuple[float, float] = (float("-inf"), float("inf"))
    controls: Mapping[str, str] = field(default_factory=dict)
    measured_by: tuple[Measurement, ...] = ()
    unmoved: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def control(self, rung: str) -> str:
        """Say which control a rung adds."""
        return self.controls.get(rung, RUNGS[rung].control)

    def judged(self, rung: str, block: int | None, n_blocks: int) -> Bound | None:
        """Return the bound that judges a cell, or None when the cell is only measured."""
        return self.bounds.get(rung) if block is None or block == n_blocks - 1 else None

    def is_core(self, rung: str, block: int | None, n_blocks: int) -> bool:
        """Whether the claim's verdict on a rung rests on this cell."""
        return rung in self.core and (block is None or block == n_blocks - 1)

    def cells(self, n_blocks: int) -> Iterator[tuple[str, int | None]]:
        """Yield (rung, block) of every cell on a model; block is None where the predicate has none."""
        for rung in self.rungs:
            yield from ((rung, block) for block in (range(n_blocks) if self.blocks else (None,)))

    def inapplicable(self, n_blocks: int) -> str | None:
        """Say why a model cannot express this predicate, or None when it can."""
        return f"needs {self.fewest_blocks} blocks, the model has {n_blocks}" if n_blocks < self.fewest_blocks else None


@dataclass(frozen=True)
class Claim:
    """A structural claim of arXiv:2604.20682: what it says, what would falsify it, where it is made, how it is tested."""

    key: int | Literal["appendix"]
    title: str
    statement: str
    falsifier: str
    source: str
    predicates: tuple[Predicate, ...]

    @property
    def marker(self) -> str:
        """``claim1`` … ``claim5`` or ``appendix``."""
        return f"claim{self.key}" if isinstance(self.key, int) else self.key

    @property
    def label(self) -> str:
        """``claim 4`` or ``appendix``."""
        return f"claim {self.key}" if isinstance(self.key, int) else self.key

    def named(self, name: str) -> Predicate:
        """Return a predicate by name; KeyError names those there are."""
        for predicate in self.predicates:
            if predicate.name == name:
                return predicate
        raise KeyError(f"{self.label} has no predicate '{name}'; it has: {', '.join(p.name for p in self.predicates)}")

    def predicate(self, name: str, rungs: tuple[str, ...] | None = None) -> Callable[[Test], Test]:
        """Make a test function the measurement of a declared predicate, on all its rungs or on those given."""
        predicate = self.named(name)

        def declare(test: Test) -> Test:
            tested: Any = test
            tested.measures = Measures(self, predicate, rungs or predicate.rungs)
            return test

        return declare

    def level(self, predicate: Predicate, rung: str, block: int | None, n_blocks: int) -> float:
        """Return the level of a cell's interval, so that 95% holds for the whole family it is read with.

        Core cells: 1 − 0.05/m for the m core cells of the claim on the rung; other per-block rows: 1 − 0.05/n for n
        blocks (Bonferroni); 95% for the rest. Rungs that are not judged use the levels of ``strict``, to be comparable.
        """
        judged = rung if rung in JUDGED else "strict"
        if predicate.is_core(judged, block, n_blocks):
            return 1 - 0.05 / sum(judged in p.core for p in self.predicates)
        return 1 - 0.05 / n_blocks if block is not None else 0.95


@dataclass(frozen=True)
class Measures:
    """What a test function measures."""

    claim: Claim
    predicate: Predicate
    rungs: tuple[str, ...]
