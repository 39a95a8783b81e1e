"""What a cell of the matrix opens to: a claim on a model and text, predicate by predicate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from claims import CLAIMS, Predicate, Verdict
from harness.protocol import RUNGS
from reports.commands import command_of
from reports.ledger import Row, figure_text, ladder, number
from reports.page_evidence import Section
from reports.page_subjects import Heading, Key, Subject, ran
from reports.plot import Plot, svg, table
from reports.replication import is_of_the_paper, replicated
from reports.replication_shown import Part, part_of


@dataclass(frozen=True)
class Line:
    """A row as a table shows it; ``would``: on a rung that carries no verdict, what the bound of ``paper`` makes of the figure."""

    row: Row
    figure: str
    interval: str
    level: str
    bound: str
    margin: str
    would: Verdict | None


@dataclass(frozen=True)
class Figure:
    """A plot, drawn, and the table that says the same."""

    plot: Plot
    drawn: Markup
    table: Markup


@dataclass(frozen=True)
class EveryBlock:
    """The figures of a predicate with one for every block: rungs, and by block what stands in each rung's column."""

    rungs: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]


@dataclass(frozen=True)
class PredicatePart:
    """A predicate of a claim on a subject.

    ``lines``: one a rung, of the last block where there is one for each; ``every_block`` has all. ``remarks``: caveats and reasons, each
    with its rungs. ``elsewhere``: headings of sections and plots that stand under another predicate, with its name.
    """

    name: str
    ident: str
    meaning: str
    unit: str
    core: tuple[str, ...]
    block: int | None
    lines: tuple[Line, ...]
    remarks: tuple[tuple[str, str], ...]
    ladder: str | None
    every_block: EveryBlock | None
    figures: tuple[Figure, ...]
    sections: tuple[Section, ...]
    elsewhere: tuple[tuple[str, str], ...]
    commands: tuple[tuple[str, str], ...]

    @property
    def ran(self) -> bool:
        """Whether any rung has an outcome."""
        return any(ran(line.row) for line in self.lines)

    def on(self, rung: str) -> Line | None:
        """Return the line of a rung."""
        return next((line for line in self.lines if line.row.cell.rung == rung), None)


def parts_of(subject: Subject, heading: Heading, plots: dict[str, list[Plot]], sections: Iterable[Section]) -> list[PredicatePart]:
    """Return the predicates of a claim that a subject has rows of, in the order of the claim.

    A section or plot that serves several predicates stands under the first of them, and the others say where.
    """
    by_name: dict[str, list[Row]] = {}
    for row in subject.rows:
        if row.cell.claim == heading.key:
            by_name.setdefault(row.cell.predicate, []).append(row)
    names = [name for name in heading.predicates if name in by_name]
    measured = {row.cell.predicate for row in subject.rows if ran(row)}
    placed: dict[str, list[Section]] = {}
    pointed: dict[str, list[tuple[str, str]]] = {}
    for section in sections:
        # What is made for a predicate of another claim stands there.
        if section.predicates[0] in measured and section.predicates[0] not in names:
            continue
        here = [name for name in names if name in section.predicates and name in measured]
        for name in here[:1]:
            placed.setdefault(name, []).append(section)
        for name in here[1:]:
            pointed.setdefault(name, []).append((section.heading, here[0]))
    shown: dict[str, list[Plot]] = {}
    first: dict[Plot, str] = {}
    for name in names:
        for plot in plots.get(name, ()):
            owner = first.setdefault(replace(plot, name=""), name)
            if owner == name:
                shown.setdefault(name, []).append(plot)
            else:
                pointed.setdefault(name, []).append((plot.title, owner))
    declared = {p.name: p for p in heading.claim.predicates} if heading.claim else {}
    return [
        PredicatePart(
            name,
            f"s{subject.number}-{heading.marker}-{position}",
            declared[name].meaning if name in declared else "not declared by this version",
            by_name[name][0].unit,
            tuple(dict.fromkeys(row.cell.rung for row in by_name[name] if row.core)),
            *_told(subject, declared.get(name), by_name[name]),
            tuple(Figure(plot, svg(plot), table(plot)) for plot in shown.get(name, ())),
            tuple(placed.get(name, ())),
            tuple(pointed.get(name, ())),
            tuple(_commands(subject, by_name[name])),
        )
        for position, name in enumerate(names)
    ]


def replication_of(subject: Subject) -> dict[Key, Part]:
    """Return the paper's figures of a subject beside the measured ones, by claim; empty for a model that the paper has none of."""
    about = subject.document.contents.get("models", {}).get(subject.model) or {}
    if not is_of_the_paper(subject.model, about.get("source")):
        return {}
    lines = replicated(subject.document, subject.model, subject.corpus)
    found = {claim.key: part_of(lines, subject.model, claim.key) for claim in CLAIMS}
    return {key: part for key, part in found.items() if part is not None}


def _told(
    subject: Subject, predicate: Predicate | None, rows: list[Row]
) -> tuple[int | None, tuple[Line, ...], tuple[tuple[str, str], ...], str | None, EveryBlock | None]:
    """Block, lines, remarks, ladder and the figures of every block."""
    last = max((row.cell.block for row in rows if row.cell.block is not None), default=None)
    shown = [row for row in rows if row.cell.block == last]
    judged = next((row.bound for row in shown if row.bound is not None and row.cell.rung == "paper"), None)
    lines = tuple(_line(row, None if judged is None else row.against(judged)) for row in shown)
    remarks: dict[str, list[str]] = {}
    for row in shown:
        for remark in (*row.caveats, *filter(None, [row.reason])):
            remarks.setdefault(remark, []).append(row.cell.rung)
    sentence = None
    if predicate is not None:
        # The bounds are the file's, as its verdicts are.
        as_filed = replace(predicate, bounds={row.cell.rung: row.bound for row in shown if row.bound is not None})
        sentence = ladder(as_filed, [row for row in shown if row.cell.rung in RUNGS], subject.n_blocks)
    told = tuple((remark, ", ".join(rungs)) for remark, rungs in remarks.items())
    return last, lines, told, sentence, _every_block(rows) if last is not None else None


def _line(row: Row, would: Verdict | None) -> Line:
    level = f"{100 * row.level:.4g}%" if row.level is not None else ""
    interval = f"{number(row.low)} … {number(row.high)}" if row.low is not None and row.high is not None else ""
    return Line(
        row,
        "" if row.value is None else number(row.value),
        interval,
        level if interval else "",
        row.bound.describe() if row.bound else "",
        "" if row.margin is None else number(row.margin),
        would if row.verdict is Verdict.MEASURED and row.bound is None and would is not Verdict.MEASURED else None,
    )


def _every_block(rows: Sequence[Row]) -> EveryBlock | None:
    """The figures by block and rung; None where no block has one."""
    with_figure = [row for row in rows if row.value is not None]
    rungs = tuple(dict.fromkeys(row.cell.rung for row in with_figure))
    at = {(row.cell.block, row.cell.rung): row for row in rows}
    blocks = sorted({row.cell.block for row in with_figure if row.cell.block is not None})

    def told(block: int, rung: str) -> str:
        row = at.get((block, rung))
        return "" if row is None else figure_text(row) if row.value is not None else row.verdict.word

    return EveryBlock(rungs, tuple((block, tuple(told(block, rung) for rung in rungs)) for block in blocks)) if blocks else None


def _commands(subject: Subject, rows: Sequence[Row]) -> list[tuple[str, str]]:
    """The commands that measure the cells again, each with its rungs: one a rung, whatever the block."""
    commands: dict[str, dict[str, None]] = {}
    for row in rows:
        commands.setdefault(command_of(subject.document, row), {})[row.cell.rung] = None
    return [(", ".join(rungs), command) for command, rungs in commands.items()]
