"""Two models, texts or runs side by side: which pairs are compared, what differs in set-up, and every figure that both have."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from claims import Verdict
from fixtures.naming import did_you_mean, printable, without_digest
from reports.document import Document, ReportError
from reports.ledger import UNRUN, Row
from reports.pairing import Pair, matched
from reports.setups import Difference, Setup, differences, setup_of
from reports.standard_errors import Gap, gap, t_quantile

JUDGED = (Verdict.HOLDS, Verdict.FALSIFIED, Verdict.INCONCLUSIVE)
_GROUPS = 16
_ROUNDING = ("dtype", "device_kind", "attention", "torch", "transformers", "numpy", "scipy", "python")


@dataclass(frozen=True)
class Side:
    """A model on a text, in one report."""

    document: Document
    model: str
    corpus: str

    @cached_property
    def setup(self) -> Setup:
        """What it was measured with."""
        return setup_of(self.document, self.model, self.corpus)

    @cached_property
    def rows(self) -> list[Row]:
        """Rows of cells that ran."""
        return [r for r in self.document.of(self.model, self.corpus) if r.verdict is not Verdict.UNTESTED or r.reason not in UNRUN]

    @property
    def n_blocks(self) -> int:
        """Of the model."""
        return self.document.pairs[self.model, self.corpus]

    @property
    def freedom(self) -> int:
        """Degrees of freedom of most intervals: groups of windows minus 1."""
        groups = self.document.contents.get("protocol", {}).get("groups")
        return groups - 1 if isinstance(groups, int) and groups > 1 else _GROUPS - 1

    def verdict(self, claim: int | str, rung: str) -> Verdict | None:
        """The verdict on a claim, None where the report has none."""
        here = (self.model, self.corpus, claim, rung)
        return next((c.verdict for c in self.document.claims if (c.model, c.corpus, c.claim, c.rung) == here), None)


@dataclass(frozen=True)
class Compared:
    """A cell in both reports. ``last``: it is the one of the model's last block, whose number may differ between the two."""

    a: Row
    b: Row
    gap: Gap | None
    last: bool

    @property
    def flipped(self) -> bool:
        """Whether both are judged, and differently."""
        return self.a.verdict in JUDGED and self.b.verdict in JUDGED and self.a.verdict is not self.b.verdict

    @property
    def z(self) -> float | None:
        """The difference in standard errors."""
        return None if self.gap is None else self.gap.z


@dataclass(frozen=True)
class Comparison:
    """Side ``b`` against side ``a``. ``only_a``, ``only_b``: rows of cells that ran for one alone."""

    a: Side
    b: Side
    setup: tuple[Difference, ...]
    compared: tuple[Compared, ...]
    only_a: tuple[Row, ...]
    only_b: tuple[Row, ...]

    @property
    def same_text(self) -> bool:
        """Whether both read the same text."""
        return _states_the_same(self.a.setup, self.b.setup, "text")

    @property
    def same_weights(self) -> bool:
        """Whether both are the same weights."""
        return _states_the_same(self.a.setup, self.b.setup, "weights")

    @property
    def same_measurement(self) -> bool:
        """Whether weights, text, protocol and code are the same, so that every difference should be 0."""
        alike = not any(d.what in {"weights", "text", "code"} or d.what.startswith("protocol.") for d in self.setup)
        return alike and self.same_text and self.same_weights and _states_the_same(self.a.setup, self.b.setup, "code")

    @property
    def rounding(self) -> list[Difference]:
        """What differs in software and machine, which moves last digits."""
        return [d for d in self.setup if d.what in _ROUNDING]

    @property
    def moved(self) -> list[Compared]:
        """Cells whose figures differ."""
        return [c for c in self.compared if c.gap is not None and c.gap.step != 0]

    def of(self, claim: int | str) -> list[Compared]:
        """Return the cells of a claim."""
        return [c for c in self.compared if c.a.cell.claim == claim]

    def claims(self) -> list[int | str]:
        """Return the claims of which either ran a cell, in the reports' order."""
        run = {row.cell.claim for side in (self.a, self.b) for row in side.rows}
        return [claim for claim in dict.fromkeys(row.cell.claim for s in (self.a, self.b) for row in s.document.rows) if claim in run]

    def by_chance(self, count: int) -> float:
        """Return the |z| that the largest of ``count`` passes by chance in one comparison of twenty (Bonferroni, Student's t)."""
        return t_quantile(1 - 0.025 / max(count, 1), min(self.a.freedom, self.b.freedom))


def compare(a: Side, b: Side) -> Comparison:
    """Match the cells of two sides: by predicate, rung and block, the last block with the last; other blocks where there are as many."""
    ours, theirs = {_place(a, row): row for row in a.rows}, {_place(b, row): row for row in b.rows}
    both = [place for place in ours if place in theirs]
    compared = tuple(
        Compared(ours[place], theirs[place], gap(ours[place], theirs[place], (a.freedom, b.freedom)), place[3] == "last") for place in both
    )
    return Comparison(
        a,
        b,
        tuple(differences(a.setup, b.setup)),
        compared,
        tuple(row for place, row in ours.items() if place not in theirs),
        tuple(row for place, row in theirs.items() if place not in ours),
    )


def chosen(a: Document, b: Document, of_a: str | None, of_b: str | None) -> list[tuple[Side, Side]]:
    """Return the pairs to compare: those named, else those of equal names, else the only one of each. Raises ReportError.

    Names are equal that differ in nothing but the digests of local files, where only one on either side fits.
    """
    if of_a is None and of_b is None:
        common = matched(a.pairs, b.pairs, without_digest)
        if not common and len(a.pairs) == len(b.pairs) == 1:
            return [(Side(a, *next(iter(a.pairs))), Side(b, *next(iter(b.pairs))))]
        if not common:
            raise ReportError(
                f"no model and text is in both: {a.name} has {named(a.pairs)}; {b.name} has {named(b.pairs)}; "
                "say which to compare with --a MODEL/CORPUS --b MODEL/CORPUS"
            )
        return [(Side(a, *pair), Side(b, *other)) for pair, other in common.items()]
    first = None if of_a is None else _resolved(a, of_a, "--a")
    second = None if of_b is None else _resolved(b, of_b, "--b")
    return [(Side(a, *(first or _counterpart(a, second, "--a"))), Side(b, *(second or _counterpart(b, first, "--b"))))]


def left_out(a: Document, b: Document, compared: Iterable[tuple[Side, Side]]) -> tuple[list[Pair], list[Pair]]:
    """Return the pairs of A and those of B that are in no comparison."""
    sides = list(compared)
    of_a, of_b = {(one.model, one.corpus) for one, _ in sides}, {(other.model, other.corpus) for _, other in sides}
    return [pair for pair in a.pairs if pair not in of_a], [pair for pair in b.pairs if pair not in of_b]


def _resolved(document: Document, name: str, option: str) -> Pair:
    """Return the pair of a name, with or without the digests that names of local files end in."""
    known = {f"{model}/{corpus}": (model, corpus) for model, corpus in document.pairs}
    if name in known:
        return known[name]
    close = [pair for full, pair in known.items() if without_digest(full) == without_digest(name)]
    if len(close) == 1:
        return close[0]
    raise ReportError(f"{option} {printable(name)}: {document.name} has {named(document.pairs)}{did_you_mean(name, known)}")


def _counterpart(document: Document, pair: Pair | None, option: str) -> Pair:
    """Return the pair of a document that goes with one named for the other: its only one, or that of the same name."""
    if len(document.pairs) == 1:
        return next(iter(document.pairs))
    if pair is not None and (found := matched([pair], document.pairs, without_digest)):
        return found[pair]
    raise ReportError(f"{document.name} has {named(document.pairs)}; say which with {option} MODEL/CORPUS")


def named(pairs: Iterable[Pair]) -> str:
    """Name pairs for one line of a terminal."""
    return ", ".join(printable(f"{model}/{corpus}") for model, corpus in pairs) or "no model"


def _place(side: Side, row: Row) -> tuple[int | str, str, str, str]:
    """Where a row belongs: other blocks of a model with another number of blocks are not the same place."""
    cell = row.cell
    block = "" if cell.block is None else "last" if cell.block == side.n_blocks - 1 else f"{cell.block} of {side.n_blocks}"
    return cell.claim, cell.predicate, cell.rung, block


def _states_the_same(a: Setup, b: Setup, what: str) -> bool:
    return what in a and a[what] == b.get(what)


def largest(compared: Iterable[Compared]) -> Compared | None:
    """Return the cell with the largest |z|, None where none has one."""
    found = [(abs(c.z), i, c) for i, c in enumerate(compared) if c.z is not None and not math.isnan(c.z)]
    return max(found, key=lambda one: (one[0], -one[1]))[2] if found else None
