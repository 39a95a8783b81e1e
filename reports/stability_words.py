"""What a sweep says of verdicts, in sentences: the same on a terminal, in Markdown and on the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from claims import Verdict
from reports.ledger import ClaimVerdict, Row, claim_of
from reports.stability import Flip, Kind, Stability, Sweep

MEANING = (
    "settings of the sweep in which the verdict is the same, of those that can change it and in which it could be judged; each changes one "
    "thing. HOLDS turning FALSIFIED, or back, is a contradiction; turning INCONCLUSIVE is not: less text, say, widens intervals and "
    "raises doubts. The settings are few and were chosen, so their share is no probability."
)


def sentence(found: Stability) -> str:
    """Say how often a verdict stands and which settings flip it, the gravest first.

    ``HOLDS stands in 7 of 9 settings; reversed to FALSIFIED with corpus=pydocs (0.01 [−0.02, 0.03]); not measured with windows=×2``.
    """
    parts = [f"{found.verdict.word} stands in {found.told}"] if found.counted else [f"{found.verdict.word}, and {found.told}"]
    by_verdict: dict[tuple[Kind, Verdict], list[Flip]] = {}
    for flip in found.flips:
        by_verdict.setdefault((flip.kind, flip.verdict), []).append(flip)
    for (kind, _), flips in by_verdict.items():
        lead = "reversed to " if kind is Kind.REVERSED else ""
        parts.append(f"{lead}{found.became(flips[0])} with {', '.join(_with(flip) for flip in flips)}")
    if {flip.verdict for flip in found.flips if flip.kind is Kind.DECIDED} == {Verdict.HOLDS, Verdict.FALSIFIED}:
        parts.append("so settings contradict one another")
    if found.unmeasured:
        parts.append(f"not measured with {', '.join(name for name, _ in found.unmeasured)}")
    return "; ".join(parts)


def _with(flip: Flip) -> str:
    return f"{flip.setting} ({flip.told})" if flip.told else flip.setting


def of_claims(sweep: Sweep, claims: Iterable[ClaimVerdict], rows: Sequence[Row]) -> Iterator[str]:
    """Yield a sentence for every claim that some setting flips: ``claim 4 · strict: HOLDS stands in 7 of 9 settings; …``."""
    for claim in claims:
        found = sweep.of_claim(claim, rows)
        if found is not None and not found.firm:
            yield f"{_label(claim.claim)} · {claim.rung}: {sentence(found)}"


def of_cells(sweep: Sweep, rows: Iterable[Row]) -> Iterator[str]:
    """Yield a sentence for every cell that some setting flips."""
    for row in rows:
        found = sweep.of_cell(row)
        if found is not None and not found.firm:
            block = "" if row.cell.block is None else f", block {row.cell.block}"
            yield f"{row.cell.predicate}{block} · {row.cell.rung}: {sentence(found)}"


def unmeasured(sweep: Sweep, rows: Sequence[Row]) -> Iterator[str]:
    """Yield why which of some cells could not be measured under which setting, a sentence for every reason."""
    judged = [row for row in rows if sweep.of_cell(row)]
    for (setting, reason), cells in sweep.reasons(judged).items():
        if len(cells) == sum(sweep.under(row, setting) is not None for row in judged):
            yield f"{setting} counts for nothing here: {reason}"
            continue
        names: dict[str, dict[str, None]] = {}
        for cell in cells:
            names.setdefault(cell.predicate, {})[cell.rung] = None
        told = [f"{name} on {' and '.join(rungs)}" for name, rungs in names.items()]
        yield f"{setting} does not count for {', '.join(told)}: {reason}"


def described(sweep: Sweep) -> Sequence[str]:
    """Return a line for every setting: its name and what it changes."""
    return [f"{setting.name}: {setting.about}" if setting.about else setting.name for setting in sweep.settings]


def _label(key: int | str) -> str:
    try:
        return claim_of(key).label
    except StopIteration:  # A file may have a claim that this version does not declare.
        return f"claim {key}" if isinstance(key, int) else key
