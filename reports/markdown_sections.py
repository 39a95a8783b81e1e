"""Parts of a Markdown summary that a pull request and a model card share: verdicts by claim, what was measured, guidance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from claims import CLAIMS, Verdict
from claims.claim import JUDGED
from claims.inconsistencies import HEADING, inconsistencies_of
from reports.document import Document
from reports.gfm import Section, code, folded, plain, table
from reports.guidance import advice
from reports.ledger import claim_of
from reports.markdown_stability import beside_claim, flips
from reports.replication import replicated, subjects_of
from reports.replication_shown import COLUMNS, cells, counted, on_text
from reports.verdict_symbols import SYMBOLS
from reports.warnings_first import warnings_of


def word(verdict: Verdict) -> str:
    """Write a verdict: ``✗ FALSIFIED``."""
    return f"{SYMBOLS[verdict]} {verdict.word}"


def pairs(documents: Sequence[Document]) -> Iterator[tuple[Document, str, str]]:
    """Yield every model and text of every report."""
    for document in documents:
        yield from ((document, model, corpus) for model, corpus in document.pairs)


def subject(document: Document, model: str, corpus: str, documents: Sequence[Document]) -> list[str]:
    """Return the cells that name a model on a text, and the report where there are several."""
    return ([code(document.name)] if len(documents) > 1 else []) + [code(model), code(corpus)]


def place(document: Document, model: str, corpus: str, documents: Sequence[Document]) -> str:
    """Name a model on a text, and the report where there are several."""
    return f"{code(model)} on {code(corpus)}{f' in {code(document.name)}' if len(documents) > 1 else ''}"


def subject_names(documents: Sequence[Document]) -> list[str]:
    """Return the headings of these cells."""
    return (["report"] if len(documents) > 1 else []) + ["model", "text"]


def warnings(documents: Sequence[Document]) -> list[Section]:
    """Return what a reader must know before any verdict, as a quotation; nothing where there is nothing."""
    lines = [f"> - **{plain(line)}**\n" for line in warnings_of(documents)]
    return [Section("the warnings", "".join(lines))] if lines else []


def matrix(documents: Sequence[Document], heading: str) -> Section:
    """Return a row for every model, text and judged rung, with the verdict on each claim and what decided it where it does not hold.

    Behind it, where there was a sweep, in how many settings it stands.
    """
    judged = [claim for claim in CLAIMS if any(predicate.core for predicate in claim.predicates)]
    rows = []
    for document, model, corpus in pairs(documents):
        mine = document.of(model, corpus) if document.settings else []
        for rung in JUDGED:
            found = {c.claim: c for c in document.claims if (c.model, c.corpus, c.rung) == (model, corpus, rung)}
            cells = []
            for claim in judged:
                verdict = found[claim.key].verdict if claim.key in found else Verdict.UNTESTED
                decided = verdict in (Verdict.FALSIFIED, Verdict.INCONCLUSIVE, Verdict.ERROR)
                why = ", ".join(map(code, found[claim.key].decided_by)) if decided else ""
                stable = beside_claim(document, found[claim.key], mine) if claim.key in found else ""
                cells.append(f"{word(verdict)}{': ' if why else ''}{why}{stable}")
            rows.append([*subject(document, model, corpus, documents), rung, *cells])
    names = [*subject_names(documents), "rung", *(f"{claim.key}: {claim.title}" for claim in judged)]
    return table("the verdicts", heading, names, rows)


def stability(documents: Sequence[Document]) -> list[Section]:
    """Return, folded away, which setting flips which verdict; nothing where there was no sweep."""
    swept = [(document, model, corpus) for document, model, corpus in pairs(documents) if document.settings]
    return flips(swept, [place(*where, documents) for where in swept])


def provenance(documents: Sequence[Document], heading: str) -> Section:
    """Return a row for every model and text: weights, text, bounds, software, each with its hash."""
    rows = []
    for document, model, corpus in pairs(documents):
        contents = document.contents
        of_model, of_text = contents.get("models", {}).get(model, {}), contents.get("corpora", {}).get(corpus, {})
        environment, bounds = contents.get("environment", {}), contents.get("bounds", {})
        packages, revision = environment.get("packages") or {}, environment.get("code") or {}
        versions = [f"{name} {packages[name]}" for name in ("torch", "transformers") if name in packages]
        suite = [f"suite {revision['version']} {_digits(revision.get('sha256'))}".rstrip()] if "version" in revision else []
        locked = "as locked" if bounds.get("locked") else "NOT as locked"
        amended = f"; amended: {'; '.join(map(str, bounds['amendments']))}" if bounds.get("amendments") else ""
        machine = ", ".join(str(of_model[key]) for key in ("dtype", "device", "attention") if of_model.get(key))
        rows.append(
            [
                *subject(document, model, corpus, documents),
                plain(_told(_digits(of_model.get("weights")), of_model.get("about"), of_model.get("provenance"), machine)),
                plain(_told(_digits(of_text.get("text")), of_text.get("edition"), of_text.get("splitting"))),
                plain(f"{_digits(bounds.get('sha256'))}, {locked}{amended}"),
                plain(_told(*suite, *versions)),
            ]
        )
    return table("what was measured on what", heading, [*subject_names(documents), "weights", "text read", "bounds", "software"], rows)


def guidance(documents: Sequence[Document], heading: str) -> list[Section]:
    """Return the advice that is given, and folded away the advice that is not, with the reasons."""
    given, withheld, none = [], [], []
    several = sum(1 for _ in pairs(documents)) > 1
    for document, model, corpus in pairs(documents):
        found = advice(document, model, corpus)
        where = f" ({place(document, model, corpus, documents)})" if several else ""
        given += [f"- **{plain(one.title)}**{where}. {plain(one.text)}\n" for one in found if one.given]
        withheld += [f"**{plain(one.title)}**{where}. {plain(one.text)}" for one in found if not one.given]
        if not any(one.given for one in found):
            none.append(place(document, model, corpus, documents))
    intro = "Advice follows from a claim that holds on `strict`, and rests on the one text it was measured on."
    without = f" None is given for {', '.join(none)}." if none else ""
    head = f"{heading}\n\n{intro}{without}\n\n"
    sections = [Section("the guidance", head, tuple(given))]
    if withheld:
        sections.append(folded("advice that is not given", f"Advice that is not given, and why ({len(withheld)})", withheld))
    return sections


def replication(documents: Sequence[Document]) -> list[Section]:
    """Return, folded, a table for each model of the paper and text, and below it a list of what does not add up in the paper."""
    found = []
    for document, model, corpus in pairs(documents):
        if (model, corpus) not in subjects_of(document):
            continue
        lines = replicated(document, model, corpus)
        # Plain text: in HTML, where the title stands, a code span is none.
        where = plain(f"{model} on {corpus}{f' in {document.name}' if len(documents) > 1 else ''}")
        title = f"The paper's figures of {where}: {counted(lines)}"
        head = f"<details><summary>{title}</summary>\n\nMeasured {plain(on_text(document, corpus))}."
        made = table("the replication", head, COLUMNS, (list(map(plain, cells(line))) for line in lines))
        found.append(replace(made, tail="\n</details>\n"))
        against = [f"{claim_of(one.claim).label}. {plain(one.told)}" for one in inconsistencies_of(model)]
        if against:
            found.append(folded("what does not add up in the paper", f"{HEADING} ({where})", against))
    return found


def _digits(digest: object) -> str:
    return str(digest)[:8] if digest else ""


def _told(*parts: object) -> str:
    return ", ".join(str(part) for part in parts if part) or "not stated"
