"""The ledger: rows of single cells, and the verdicts on claims that follow from them. Pure; knows no pytest and no torch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from claims import CLAIMS, Bound, Claim, Predicate, Verdict
from claims.declared import all_predicates
from fixtures.naming import printable
from harness.errors import LongWorkError
from harness.protocol import RUNGS
from harness.settings import Setting

SCHEMA = 1

_NOT_SELECTED, _NO_MEASUREMENT, STOPPED = "not selected", "this version has no measurement of it", "selected, but the session ended early"
_NO_TEST = "no test of it was found"
_ONE_TEXT = "compares texts: give --corpus more than once"
UNRUN = (_NOT_SELECTED, _NO_MEASUREMENT, STOPPED, _NO_TEST, _ONE_TEXT, LongWorkError.REASON)
"""Why a declared cell did not run; any other reason of an UNTESTED row is a fault in the input."""
LEFT_OUT = (_NOT_SELECTED, _ONE_TEXT, LongWorkError.REASON)
"""Of these, the reasons that lie in what a run was asked for."""


@dataclass(frozen=True)
class Cell:
    """What is tested: one predicate of a claim, on a rung, of a model, on a corpus, at a block where it has one."""

    model: str
    corpus: str
    claim: int | Literal["appendix"]
    predicate: str
    rung: str
    block: int | None = None

    @property
    def ident(self) -> str:
        """The cell in a test's id: ``r2-smollm2-pydocs-paper-block29``."""
        return f"{self.predicate}-{self.model}-{self.corpus}-{self.rung}" + ("" if self.block is None else f"-block{self.block}")

    def place(self) -> str:
        """Say where, safe for a terminal: ``smollm2/block 29 · wikitext-2 · strict``."""
        return printable(f"{self.model}{'' if self.block is None else f'/block {self.block}'} · {self.corpus} · {self.rung}")


@dataclass(frozen=True)
class Row:
    """The outcome of a cell. ``value``, ``low``, ``high`` and ``margin`` are in ``unit``; None where there is no figure.

    ``would``: on a rung that carries no verdict, what it would be, where it is not the interval that decides.
    ``standard_error``: that of the figure in ``unit``, or of ln(value − ``origin``) where ``origin`` is given; None where there is no
    interval.
    """

    cell: Cell
    verdict: Verdict
    unit: str
    core: bool
    value: float | None = None
    low: float | None = None
    high: float | None = None
    level: float | None = None
    bound: Bound | None = None
    margin: float | None = None
    caveats: tuple[str, ...] = ()
    reason: str | None = None
    quick: bool = False
    would: Verdict | None = None
    standard_error: float | None = None
    origin: float | None = None

    def judged(self, verdict: Verdict, bound: Bound, margin: float | None, reason: str | None) -> Row:
        """Return the same figure with a verdict."""
        return replace(self, verdict=verdict, bound=bound, margin=margin, reason=reason)

    def against(self, bound: Bound) -> Verdict:
        """Say what a bound makes of the figure: the verdict, or on a rung that carries none, what it would be."""
        if self.verdict is not Verdict.MEASURED or self.low is None or self.high is None:
            return self.verdict
        if self.would is not None:
            return self.would
        return bound.judge(self.low, self.high)[0]

    def as_json(self) -> dict[str, Any]:
        """Return the row of ``report.json``."""
        bound = None if self.bound is None else asdict(self.bound)
        rest = {k: v for k, v in asdict(self).items() if k not in {"cell", "bound"}}
        words = {"verdict": str(self.verdict), "would": None if self.would is None else str(self.would)}
        return {**asdict(self.cell), **rest, **words, "bound": bound, "caveats": list(self.caveats)}

    @classmethod
    def from_json(cls, row: Mapping[str, Any], bound: Bound | None) -> Row:
        """Rebuild a row that crossed a process border."""
        cell = Cell(**{k: row[k] for k in Cell.__dataclass_fields__})
        rest = {k: row[k] for k in cls.__dataclass_fields__ if k not in {"cell", "bound", "verdict", "caveats"}}
        would = None if row["would"] is None else Verdict(row["would"])
        return cls(cell=cell, bound=bound, verdict=Verdict(row["verdict"]), caveats=tuple(row["caveats"]), **{**rest, "would": would})

    def message(self) -> str:
        """Say the outcome in one line, safe for a terminal: value, bound, subject."""
        name = claim_of(self.cell.claim).label
        figure = "" if self.value is None else f": {figure_text(self)}"
        against = f", {self.bound.describe(self.verdict)}" if self.bound else ""
        why = f" ({self.reason})" if self.reason and self.verdict is not Verdict.FALSIFIED else ""
        return printable(f"{name} · {self.cell.predicate} · {self.verdict.word}{figure}{against}{why} · {self.cell.place()}")


def figure_text(row: Row) -> str:
    """Write a figure with its interval: ``0.41 [0.37, 0.45]``."""
    if row.value is None:
        return "–"
    interval = "" if row.low is None or row.high is None else f" [{number(row.low)}, {number(row.high)}]"
    return number(row.value) + interval


def plus_minus(row: Row) -> str:
    """Write a figure with half the width of its interval: ``0.926 ±0.012``."""
    if row.value is None:
        return "–"
    return number(row.value) + ("" if row.low is None or row.high is None else f" ±{number((row.high - row.low) / 2)}")


def number(value: float) -> str:
    """Write a number to three significant digits, at least two decimals below 10, with a true minus sign; ``∞`` beyond all."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "∞" if value > 0 else "−∞"
    size = abs(value)
    digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 or value == 0 else 3
    text = _power(value) if size >= 1e6 else f"{value:.{digits}f}"
    if 0 < size < 0.0005:
        text = f"{value:.1e}"
    return text.replace("-", "−")


def _power(value: float) -> str:
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def claim_of(key: int | str) -> Claim:
    """Return the claim of a number, or the appendix."""
    return next(claim for claim in CLAIMS if claim.key == key)


@dataclass(frozen=True)
class ClaimVerdict:
    """A claim on a model, corpus and rung: the verdict, and the cells that decided it."""

    model: str
    corpus: str
    rung: str
    claim: int | Literal["appendix"]
    verdict: Verdict
    decided_by: tuple[str, ...] = ()


def judge_claim(rows: Iterable[Row]) -> tuple[Verdict, tuple[str, ...]]:
    """Judge a claim from all its rows on one rung.

    FALSIFIED if a core predicate is; else ERROR or UNTESTED if a core one is; HOLDS if every applicable core one holds and there is
    one; else INCONCLUSIVE. Returns the verdict and the predicates it rests on. Without core predicates: MEASURED.
    """
    core = [row for row in rows if row.core]
    if not core:
        return Verdict.MEASURED, ()
    for decisive in (Verdict.FALSIFIED, Verdict.ERROR, Verdict.UNTESTED):
        if found := tuple(row.cell.predicate for row in core if row.verdict is decisive):
            return decisive, found
    applicable = [row for row in core if row.verdict is not Verdict.NOT_APPLICABLE]
    if not applicable:
        return Verdict.INCONCLUSIVE, tuple(row.cell.predicate for row in core)
    if any(row.quick for row in core):
        return Verdict.MEASURED, ()
    undecided = tuple(row.cell.predicate for row in applicable if row.verdict is not Verdict.HOLDS)
    return (Verdict.INCONCLUSIVE, undecided) if undecided else (Verdict.HOLDS, tuple(row.cell.predicate for row in applicable))


def ladder(predicate: Predicate, rows: Iterable[Row], n_blocks: int) -> str | None:
    """Say in one sentence which control moves the verdict of a predicate, from its rows on one model and corpus.

    Rungs that carry no verdict are read against the bound of ``paper``. Where rungs between did not run, all their controls are named.
    None when fewer than two rungs have a figure.
    """
    order = list(RUNGS)
    steps: list[tuple[int, Verdict]] = []
    doubted = []
    for row in sorted(rows, key=lambda row: order.index(row.cell.rung)):
        bound = predicate.judged(row.cell.rung if RUNGS[row.cell.rung].judged else "paper", row.cell.block, n_blocks)
        if bound is None or row.value is None or row.quick:
            continue
        if row.verdict is Verdict.INCONCLUSIVE and row.margin is None:
            doubted.append(row.cell.rung)  # What a doubt did is not what the rung's control did.
        else:
            steps.append((order.index(row.cell.rung), row.against(bound)))
    in_doubt = f"; in doubt on {' and '.join(doubted)}" if doubted else ""
    if len(steps) < 2:
        return in_doubt.removeprefix("; ") or None
    moves = []
    for (before, was), (after, now) in itertools.pairwise(steps):
        if now is not was:
            between = [order[i] for i in range(before + 1, after + 1) if order[i] in predicate.rungs]
            controls = " or ".join(predicate.control(rung) for rung in between)
            moves.append(f"{controls} ({order[after]}) makes it {now.word}")
    first, last = order[steps[0][0]], order[steps[-1][0]]
    if not moves:
        return f"no control moves it: {steps[0][1].word} from {first} to {last}{in_doubt}"
    return f"{steps[0][1].word} on {first}; {'; '.join(moves)}{in_doubt}"


@dataclass
class Ledger:
    """All rows of a run. ``pairs`` maps each selected (model, corpus) to the model's number of blocks.

    ``settings``: what was changed around the run, one at a time; ``swept``: by cell and the setting's name, the cell under that setting.
    """

    pairs: dict[tuple[str, str], int]
    selected: set[str] = field(default_factory=set)
    """Identifiers of the cells that the session set out to test."""
    untested: set[tuple[str, str]] = field(default_factory=set)
    """Predicates, with rungs, of which the session looked for tests and found none."""
    quick: bool = False
    rows: dict[Cell, Row] = field(default_factory=dict)
    settings: tuple[Setting, ...] = ()
    swept: dict[tuple[Cell, str], Row] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Enter a row; a cell measured twice keeps the last."""
        self.rows[row.cell] = row

    def cells(self) -> Iterator[Cell]:
        """Yield every declared cell of every model and corpus."""
        for (model, corpus), n_blocks in self.pairs.items():
            for claim, predicate in all_predicates():
                for rung, block in predicate.cells(n_blocks):
                    yield Cell(model, corpus, claim.key, predicate.name, rung, block)

    def select(self, idents: Iterable[str]) -> None:
        """Note cells that the session set out to test; models and corpora that have none of them leave the report."""
        self.selected |= set(idents)
        if self.selected:
            kept = {(cell.model, cell.corpus) for cell in self.cells() if cell.ident in self.selected}
            self.pairs = {pair: n_blocks for pair, n_blocks in self.pairs.items() if pair in kept}

    def complete(self) -> list[Row]:
        """Return the rows of every declared cell, those that did not run as UNTESTED with the reason, in the claims' order."""
        complete = []
        for (model, corpus), n_blocks in self.pairs.items():
            texts = sum(other == model for other, _ in self.pairs)
            for claim, predicate in all_predicates():
                can = {rung for measurement in predicate.measured_by for rung in measurement.rungs}
                for rung, block in predicate.cells(n_blocks):
                    cell = Cell(model, corpus, claim.key, predicate.name, rung, block)
                    why = _NO_TEST if (predicate.name, rung) in self.untested else _NOT_SELECTED
                    why = STOPPED if cell.ident in self.selected else why if rung in can else _NO_MEASUREMENT
                    why = _ONE_TEXT if texts < predicate.fewest_texts else why
                    complete.append(
                        self.rows.get(cell)
                        or Row(
                            cell,
                            Verdict.UNTESTED,
                            predicate.unit,
                            predicate.is_core(rung, block, n_blocks),
                            bound=predicate.judged(rung, block, n_blocks),
                            reason=why,
                            quick=self.quick,
                        )
                    )
        return complete

    def claims(self, rows: list[Row]) -> list[ClaimVerdict]:
        """Judge every claim on every judged rung of every model and corpus."""
        judged = []
        for (model, corpus), claim in itertools.product(self.pairs, CLAIMS):
            for rung in (r.name for r in RUNGS.values() if r.judged):
                here = [r for r in rows if (r.cell.model, r.cell.corpus, r.cell.claim, r.cell.rung) == (model, corpus, claim.key, rung)]
                judged.append(ClaimVerdict(model, corpus, rung, claim.key, *judge_claim(here)))
        return judged

    def exit_code(self, falsified_fails: bool) -> int:
        """0 all selected cells measured, none falsified; 1 a cell falsified; 6 an ERROR, whatever else, or cells that did not run."""
        verdicts = {row.verdict for row in self.rows.values()}
        if Verdict.ERROR in verdicts:
            return 6
        if self.selected - {cell.ident for cell in self.rows}:
            return 1 if falsified_fails and Verdict.FALSIFIED in verdicts else 6
        unrun = [row for row in self.rows.values() if row.verdict is Verdict.UNTESTED]
        if any(row.reason not in UNRUN for row in unrun):
            return 4
        if len(unrun) == len(self.rows):
            return 5
        return int(falsified_fails and Verdict.FALSIFIED in verdicts)
