"""What is said of a comparison: in short, of a claim, of the blocks that no table shows, and how to read it."""

from __future__ import annotations

import math

from claims import Verdict
from fixtures.naming import printable
from reports.comparison import JUDGED, Compared, Comparison, largest
from reports.ledger import claim_of, number
from reports.standard_errors import Gap

_NAMED = 6
_ROUNDING = 1e-9


def summary(comparison: Comparison) -> list[str]:
    """Say in a few sentences what came of it: what flipped, how many figures differ, the largest |z|."""
    claims = [
        f"{label_of(claim)} on {printable(rung)} {a.word} → {b.word}"
        for claim in comparison.claims()
        for rung, a, b in judged(comparison, claim)
        if a and b and flip(a, b)
    ]
    cells = [f"{name_of(c)} {c.a.verdict.word} → {c.b.verdict.word}" for c in comparison.compared if c.flipped]
    said = [f"Claims that flip: {'; '.join(claims)}." if claims else "No verdict on a claim flips."]
    said += [f"Cells that flip: {_first(cells)}."] if cells else []
    figures, moved = [c for c in comparison.compared if c.gap is not None], comparison.moved
    if not figures:
        return [*said, "No figure is in both."]
    if comparison.same_measurement:
        said.append("Weights, text, protocol and code are the same, so every figure is expected to be exactly the same.")
    if not moved:
        return [*said, f"No difference: {'the only figure is' if len(figures) == 1 else f'all {len(figures)} figures are'} equal."]
    tiny = sum(_is_rounding(c) for c in moved)
    rounding = f", {'all' if tiny == len(moved) else tiny} of them by rounding alone (less than 1e-9 of the figure)" if tiny else ""
    if comparison.same_measurement:
        named = _first([f"{name_of(c)} by {difference_of(c.gap)}" for c in moved if c.gap])
        why = ", ".join(d.what for d in comparison.rounding)
        said.append(f"NOT SO: {len(moved)} of {len(figures)} differ{rounding}: {named}.")
        return [*said, f"Software or machine differ ({why}), which moves last digits." if why else "Nothing in the set-up explains it."]
    said.append(f"{len(moved)} of {len(figures)} figures differ{rounding}.")
    most, count = largest(comparison.compared), sum(c.z is not None for c in comparison.compared)
    if most is not None and most.z:
        limit = comparison.by_chance(count)
        said.append(
            f"Largest |z|: {z_of(abs(most.z))}, {name_of(most)}. Were nothing different, the largest of {count} would by chance pass "
            f"{limit:.1f} in at most one comparison of twenty."
        )
    return said


def verdicts(comparison: Comparison, claim: int | str) -> list[str]:
    """Say the verdict on a claim on each judged rung, for both sides."""
    return [
        f"{printable(rung)}: {a.word if a else '–'} | {b.word if b else '–'}{'  ◄ flipped' if flip(a, b) else ''}"
        for rung, a, b in judged(comparison, claim)
        if {a, b} - {None, Verdict.MEASURED}
    ]


def other_blocks(comparison: Comparison, claim: int | str) -> list[str]:
    """Say of each predicate of every block where, the last aside, the two differ most."""
    blocks: dict[str, list[Compared]] = {}
    for c in comparison.of(claim):
        if c.a.cell.block is not None and not c.last and c.gap is not None:
            blocks.setdefault(c.a.cell.predicate, []).append(c)
    said = [f"{printable(predicate)}, other blocks: {_where_most(comparison, here)}" for predicate, here in blocks.items()]
    if not blocks and comparison.a.n_blocks != comparison.b.n_blocks and any(c.last for c in comparison.of(claim)):
        said.append(f"the models have {comparison.a.n_blocks} and {comparison.b.n_blocks} blocks: the last is compared with the last")
    return said


def _where_most(comparison: Comparison, here: list[Compared]) -> str:
    most, count, flipped = largest(here), sum(c.z is not None for c in here), sum(c.flipped for c in here)
    differ = sum(c.gap.step != 0 for c in here if c.gap)
    if not differ:
        return f"all {len(here)} figures are equal"
    also = f"; {flipped} verdicts flip" if flipped else ""
    if most is None or not most.z:
        return f"{differ} of {len(here)} figures differ{also}"
    where = f"block {most.a.cell.block} on {printable(most.a.cell.rung)}, z = {z_of(most.z)}"
    return f"largest |z| of {count} at {where} (by chance above {comparison.by_chance(count):.1f} in at most one of twenty){also}"


def only(comparison: Comparison, claim: int | str) -> list[str]:
    """Name the predicates and rungs that ran for one side alone."""
    said = []
    for side, rows in (("A", comparison.only_a), ("B", comparison.only_b)):
        found: dict[str, list[str]] = {}
        for row in rows:
            if row.cell.claim == claim:
                found.setdefault(row.cell.predicate, []).append(row.cell.rung)
        named = [f"{printable(name)} ({', '.join(map(printable, dict.fromkeys(rungs)))})" for name, rungs in found.items()]
        said += [f"only {side} ran: {', '.join(named)}"] if named else []
    return said


def legend(comparison: Comparison) -> list[str]:
    """Say how to read differences, standard errors and z, and what the two sides having text or weights in common does to them."""
    gaps = [c.gap for c in comparison.compared if c.gap is not None and c.gap.error is not None]
    if not gaps or not comparison.moved:
        return []
    said = ["difference = B − A; SE = √(SE_A² + SE_B²); z = difference / SE: how sure it is, not how large. Verdicts do not rest on it."]
    if any(g.origin is not None for g in gaps):
        said.append("× is the ratio B/A, of relative changes that of 1 + figure; its SE (ln) and z are those of its natural logarithm.")
    if any(not g.exact for g in gaps):
        freedom = comparison.a.freedom
        said.append(f"≈: from the width of the interval, taken to have {freedom} degrees of freedom, as a report did not state the SE.")
    if not ({"text"} <= comparison.a.setup.keys() & comparison.b.setup.keys()):
        said.append("z takes the two as independent; whether they read the same text, the reports do not say.")
    elif comparison.same_text and comparison.same_weights:
        said.append(
            "z takes the two as independent. They are the same weights on the same text, so their errors go together: SE is too large and "
            "|z| too small, and a small |z| does not show that nothing changed."
        )
    elif comparison.same_text:
        said.append(
            "z takes the two as independent. Both read the same text, and what is hard for one is as a rule hard for the other: SE is as a "
            "rule too large and |z| too small."
        )
    else:
        said.append("z takes the two as independent, as samples of different texts are.")
    return said


def heading(claim: int | str) -> str:
    """Return a claim's label and, where this version knows it, title."""
    try:
        known = claim_of(claim)
    except StopIteration:  # Of another version.
        return f"{label_of(claim)} (not a claim of this version)"
    return f"{known.label}: {known.title}"


def label_of(claim: int | str) -> str:
    """Return ``claim 4``, ``appendix``, or the name of a claim of another version."""
    return f"claim {claim}" if isinstance(claim, int) else printable(claim)


def judged(comparison: Comparison, claim: int | str) -> list[tuple[str, Verdict | None, Verdict | None]]:
    """Return (rung, verdict of A, verdict of B) of each rung on which a report judges the claim."""
    rungs = dict.fromkeys(c.rung for s in (comparison.a, comparison.b) for c in s.document.claims if c.claim == claim)
    return [(rung, comparison.a.verdict(claim, rung), comparison.b.verdict(claim, rung)) for rung in rungs]


def flip(a: Verdict | None, b: Verdict | None) -> bool:
    """Whether both judge, and differently."""
    return a in JUDGED and b in JUDGED and a is not b


def _first(named: list[str]) -> str:
    """Join the first few of a list and say how many more there are."""
    more = f"; {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return "; ".join(named[:_NAMED]) + more


def _is_rounding(compared: Compared) -> bool:
    a, b = compared.a.value or 0.0, compared.b.value or 0.0
    return abs(b - a) <= _ROUNDING * max(abs(a), abs(b))


def name_of(compared: Compared) -> str:
    """Name a cell: predicate, block where there is one, rung."""
    cell, other = compared.a.cell, compared.b.cell
    blocks = "" if cell.block is None else f" block {cell.block}" + (f" | {other.block}" if other.block != cell.block else "")
    return f"{printable(cell.predicate)}{blocks} on {printable(cell.rung)}"


def difference_of(found: Gap) -> str:
    """Write a difference with its sign, or as a factor where it is one of logarithms."""
    if found.step == 0:
        return "0"
    if found.origin is not None:
        return f"×{number(math.exp(found.step))}" if abs(found.step) < 700 else f"ln {number(found.step)}"
    return ("+" if found.step > 0 else "") + number(found.step)


def error_of(found: Gap) -> str:
    """Write the standard error of a difference."""
    if found.error is None:
        return ""
    return ("" if found.exact else "≈") + number(found.error) + (" ln" if found.origin is not None else "")


def z_of(z: float) -> str:
    """Write a z to one decimal."""
    if math.isinf(z):
        return "∞" if z > 0 else "−∞"
    return number(z) if abs(z) >= 1e4 else f"{round(z, 1) + 0.0:.1f}".replace("-", "−")
