"""How stable a verdict is: in how many settings of a sweep it stands, and which setting flips it. Pure.

A sweep judges the cells of a run again with one thing changed at a time, such as the seed or the text. Settings that cannot change a cell
are not counted, nor those in which nothing was judged. A share of settings is no probability: they are few, and not drawn at random.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from claims import Verdict
from harness.settings import Setting
from reports.ledger import Cell, ClaimVerdict, Row, figure_text, judge_claim

_DECIDED = (Verdict.HOLDS, Verdict.FALSIFIED)
_NO_OUTCOME = (Verdict.UNTESTED, Verdict.ERROR, Verdict.NOT_APPLICABLE)
JUDGED = (*_DECIDED, Verdict.INCONCLUSIVE)

_RESTS_ON = {
    Verdict.FALSIFIED: "by {}",
    Verdict.INCONCLUSIVE: "undecided {}",
    Verdict.UNTESTED: "{} not run",
    Verdict.ERROR: "{} not measured",
}


class Kind(IntEnum):
    """What a flip means, the gravest first."""

    REVERSED = 0
    """HOLDS became FALSIFIED, or the other way round: the two settings contradict one another."""
    DECIDED = 1
    """INCONCLUSIVE became HOLDS or FALSIFIED: the setting decides what the run leaves open."""
    UNDECIDED = 2
    """HOLDS or FALSIFIED became INCONCLUSIVE, as wider intervals and doubts alone make it: no contradiction."""
    LIFTED = 3
    """A claim is FALSIFIED no longer, and what else it stands or falls with was not measured in the run."""

    @classmethod
    def of(cls, before: Verdict, after: Verdict) -> Kind:
        """Say what a change of verdict means."""
        if before in _DECIDED and after in _DECIDED:
            return cls.REVERSED
        if before is Verdict.INCONCLUSIVE and after in _DECIDED:
            return cls.DECIDED
        return cls.UNDECIDED if after is Verdict.INCONCLUSIVE else cls.LIFTED


@dataclass(frozen=True)
class Flip:
    """A setting under which a verdict is another one. ``told``: the figure, or of a claim the predicates that it rests on."""

    setting: str
    verdict: Verdict
    kind: Kind
    told: str


@dataclass(frozen=True)
class Stability:
    """What a sweep says of one verdict: the settings in which it stands, those that flip it, and those that say nothing, with reasons."""

    verdict: Verdict
    stands: tuple[str, ...]
    flips: tuple[Flip, ...]
    unmeasured: tuple[tuple[str, str], ...]

    def became(self, flip: Flip) -> str:
        """What the verdict is under a setting that flips it, in words."""
        return f"no longer {self.verdict.word}" if flip.kind is Kind.LIFTED else flip.verdict.word

    @property
    def counted(self) -> int:
        """Settings that can change the verdict and in which what it rests on was judged."""
        return len(self.stands) + len(self.flips)

    @property
    def firm(self) -> bool:
        """Whether there are settings that count, and none of them flips it."""
        return bool(self.stands) and not self.flips

    @property
    def share(self) -> str:
        """``7/9``, for a column; a dash where no setting counts."""
        return self.standing.replace(" of ", "/")

    @property
    def standing(self) -> str:
        """``7 of 9``; a dash where no setting counts."""
        return f"{len(self.stands)} of {self.counted}" if self.counted else "–"

    @property
    def told(self) -> str:
        """``7 of 9 settings``, for a sentence."""
        return f"{self.standing} setting{'s'[: self.counted != 1]}" if self.counted else "no setting counts"


@dataclass(frozen=True)
class Sweep:
    """The settings of a sweep, and by cell and name of a setting the row under it; empty where there was none."""

    settings: Sequence[Setting]
    swept: Mapping[tuple[Cell, str], Row]

    def __bool__(self) -> bool:
        """Whether there was a sweep."""
        return bool(self.settings)

    def under(self, row: Row, setting: str) -> Row | None:
        """Return the row of a cell under a setting; None where that cannot change it, or where the run has no verdict that could."""
        return self.swept.get((row.cell, setting)) if row.verdict in JUDGED else None

    def of_cell(self, row: Row) -> Stability | None:
        """Count the settings in which the verdict on a cell stands; None where there is none, or nothing that can change it."""
        found = {setting.name: under for setting in self.settings if (under := self.under(row, setting.name)) is not None}
        if not found:
            return None
        outcomes = {name: under for name, under in found.items() if under.verdict not in _NO_OUTCOME}
        return Stability(
            row.verdict,
            tuple(name for name, under in outcomes.items() if under.verdict is row.verdict),
            _ordered(_flip(row, name, under) for name, under in outcomes.items() if under.verdict is not row.verdict),
            tuple((name, under.reason or under.verdict.word) for name, under in found.items() if under.verdict in _NO_OUTCOME),
        )

    def of_claim(self, claim: ClaimVerdict, rows: Iterable[Row]) -> Stability | None:
        """Count the settings in which the verdict on a claim stands, judged from its core rows as the run's are.

        A core row takes part as it is under the setting, or as it is in the run where the setting cannot change it, or where the run has no
        verdict on it. A setting that can change no core row is left out; one under which a core row that the run judged has no outcome
        says nothing of the claim, even where another row falsifies it: else only failures would count where something is missing. A claim
        that one row falsifies while others were not measured can lose that verdict and have none. ``rows`` may hold those of other claims.
        """
        core = [row for row in rows if row.core and _belongs(row.cell, claim)]
        if claim.verdict not in JUDGED or not core:
            return None
        stands, flips, unmeasured = list[str](), list[Flip](), list[tuple[str, str]]()
        for name in (setting.name for setting in self.settings):
            changed = [under for row in core if (under := self.under(row, name)) is not None]
            if not changed:
                continue
            if missing := [under for under in changed if under.verdict in _NO_OUTCOME]:
                unmeasured.append((name, "; ".join(f"{one.cell.predicate}: {one.reason or one.verdict.word}" for one in missing)))
                continue
            verdict, by = judge_claim(self.under(row, name) or row for row in core)
            if verdict is claim.verdict:
                stands.append(name)
            else:
                flips.append(Flip(name, verdict, Kind.of(claim.verdict, verdict), _RESTS_ON.get(verdict, "").format(", ".join(by))))
        if not (stands or flips or unmeasured):
            return None
        return Stability(claim.verdict, tuple(stands), _ordered(flips), tuple(unmeasured))

    def reasons(self, rows: Iterable[Row]) -> dict[tuple[str, str], list[Cell]]:
        """Return why cells that have a verdict in the run have none under a setting: by its name and the reason, the cells."""
        found: dict[tuple[str, str], list[Cell]] = {}
        for row in rows:
            if (stability := self.of_cell(row)) is not None:
                for missing in stability.unmeasured:
                    found.setdefault(missing, []).append(row.cell)
        return found


def _belongs(cell: Cell, claim: ClaimVerdict) -> bool:
    return (cell.model, cell.corpus, cell.claim, cell.rung) == (claim.model, claim.corpus, claim.claim, claim.rung)


def _flip(row: Row, name: str, under: Row) -> Flip:
    in_doubt = under.verdict is Verdict.INCONCLUSIVE and under.margin is None and under.low is not None
    told = f"{figure_text(under)}{', in doubt' if in_doubt else ''}" if under.value is not None else under.reason or ""
    return Flip(name, under.verdict, Kind.of(row.verdict, under.verdict), told)


def _ordered(flips: Iterable[Flip]) -> tuple[Flip, ...]:
    """The gravest first, those of a kind as the settings stand."""
    return tuple(sorted(flips, key=lambda flip: flip.kind))
