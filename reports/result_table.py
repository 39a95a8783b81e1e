"""A report as a Markdown table: claim × judged rung, with the figures that decide and their intervals, and where they come from."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator

from claims import CLAIMS, Verdict
from claims.claim import JUDGED
from fixtures.naming import printable
from reports.document import Document
from reports.ledger import ClaimVerdict, Row, figure_text
from reports.stability import Sweep
from reports.stability_words import MEANING

_UNDECIDED = (Verdict.UNTESTED, Verdict.ERROR)


def table(document: Document, model: str, corpus: str) -> str:
    """Write the verdicts on the numbered claims, and the figures on which each rests; behind a sweep, in how many settings each stands."""
    verdicts = [c for c in document.claims if (c.model, c.corpus) == (model, corpus) and c.verdict is not Verdict.MEASURED]
    rows = document.of(model, corpus)
    titles = {claim.key: claim.title for claim in CLAIMS}
    sweep = Sweep(document.settings, document.swept)
    heads = ["claim", *(f"`{rung}`" for rung in JUDGED), *(["stands in"] if sweep else [])]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for key in dict.fromkeys(c.claim for c in verdicts):
        cells = [next((_cell(c, rows) for c in verdicts if (c.claim, c.rung) == (key, rung)), "") for rung in JUDGED]
        if sweep:
            cells.append("<br>".join(_stands(sweep, c, rows) for c in verdicts if c.claim == key and c.rung in JUDGED))
        lines.append(f"| {plain(key)}: {plain(titles.get(key, 'not a claim of this version'))} | {' | '.join(cells)} |")
    return "\n".join(lines)


def stability(document: Document) -> str | None:
    """Say what the column ``stands in`` is, and which settings there are; None without a sweep."""
    names = ", ".join(code(setting.name) for setting in document.settings)
    return f"Stands in: {MEANING} They are {names}." if names else None


def counted(document: Document, model: str, corpus: str) -> str:
    """Say how many cells that have a bound ended in which verdict."""
    judged = [row for row in document.of(model, corpus) if row.cell.rung in JUDGED and row.bound is not None]
    counts = Counter(row.verdict for row in judged)
    told = ", ".join(f"{counts[verdict]} {verdict.word}" for verdict in Verdict if counts[verdict])
    return f"Of the {len(judged)} cells with a bound, those that no claim rests on included: {told}." if judged else "No cell has a bound."


def provenance(document: Document, model: str, corpus: str) -> str:
    """Say in one line what was measured, on which text, against which bounds, with what, when and by which command."""
    contents = document.contents
    of_model, of_corpus = contents.get("models", {}).get(model, {}), contents.get("corpora", {}).get(corpus, {})
    bounds, environment = contents.get("bounds", {}), contents.get("environment", {})
    packages = environment.get("packages") or {}
    locked = "as locked" if bounds.get("locked") else "NOT as locked"
    software = [f"{name} {packages[name]}" for name in ("torch", "transformers") if name in packages]
    about = [of_model.get("about") or model, of_model.get("provenance"), f"{of_model.get('dtype', '?')} on {of_model.get('device', '?')}"]
    parts = [
        f"Measured on {plain(str(environment.get('finished') or 'a date not stated')[:10])}",
        f"{', '.join(plain(part) for part in about if part)}, weights {code(str(of_model.get('weights', '?'))[:8])}",
        f"text {plain(corpus)}, {plain(of_corpus.get('edition', 'not stated'))}, {code(str(of_corpus.get('text', '?'))[:8])}",
        f"bounds {code(str(bounds.get('sha256', '?'))[:8])}, {locked}",
        plain(", ".join(software) or "software not stated"),
        f"by {code(shlex.join(map(str, environment.get('command') or ['pytest', 'claims'])))}",
    ]
    return "; ".join(parts) + "."


def plain(text: object) -> str:
    """Make foreign text safe inside a line or a table cell of Markdown, HTML included."""
    shown = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|~#!])", r"\\\1", shown)


def code(text: object) -> str:
    """Put foreign text between backticks; its own become primes, as nothing escapes them there."""
    return f"`{printable(text).replace('`', '′').replace('|', '¦')}`"


def _cell(claim: ClaimVerdict, rows: list[Row]) -> str:
    core = {row.cell.predicate: row for row in rows if (row.cell.claim, row.cell.rung) == (claim.claim, claim.rung) and row.core}
    if claim.verdict in _UNDECIDED:
        return f"**{claim.verdict.word}**: {', '.join(code(name) for name in claim.decided_by)}"
    return "<br>".join([f"**{claim.verdict.word}**", *(_figure(core[name]) for name in claim.decided_by if name in core)])


def _stands(sweep: Sweep, claim: ClaimVerdict, rows: list[Row]) -> str:
    """Write in how many settings a verdict stands and what others make of it: ``paper`` 7 of 9; FALSIFIED with ``corpus=pydocs``."""
    found = sweep.of_claim(claim, rows)
    if found is None:
        return f"{code(claim.rung)} –"
    by_verdict: dict[str, list[str]] = {}
    for flip in found.flips:
        by_verdict.setdefault(found.became(flip), []).append(code(flip.setting))
    return "; ".join([f"{code(claim.rung)} {found.standing}", *(f"{word} with {', '.join(names)}" for word, names in by_verdict.items())])


def _figure(row: Row) -> str:
    """Write a core figure against the bound that its verdict rests on, and why where its interval does not say so."""
    against = f", {row.bound.describe(row.verdict)}" if row.bound else ""
    return f"{code(row.cell.predicate)} {figure_text(row)}{against}{''.join(_why(row))}".replace("|", "\\|")


def _why(row: Row) -> Iterator[str]:
    """Say what keeps a figure from the verdict that its interval would give: a doubt, or a part that it stands for."""
    if row.bound is None or row.low is None or row.high is None or row.bound.judge(row.low, row.high)[0] is row.verdict:
        return
    doubted = row.margin is None and row.caveats
    reason = row.caveats[0] if doubted else re.split(r" \(|;", row.reason or "")[0]
    if reason:
        yield f"; {'in doubt: ' if doubted else ''}{plain(reason)}"
