"""``python -m reports html``: one self-contained page of one or many reports."""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from claims import Verdict
from fixtures.naming import printable, readable_size
from harness import atomic
from harness.protocol import RUNGS
from reports import report_file
from reports.document import Document, ReportError, read
from reports.guidance import advice
from reports.page_claims import parts_of, replication_of
from reports.page_evidence import sections_of
from reports.page_matrix import cell_of, matrix_of
from reports.page_origin import command_of_run, facts_of, timings_of
from reports.page_stability import reasons_of, tables_of
from reports.page_subjects import Heading, Subject, headings_of, subjects_of
from reports.plots import plots_of
from reports.replication_shown import COLUMNS, NUMBERS
from reports.stability_words import MEANING
from reports.verdict_symbols import SYMBOLS
from reports.warnings_first import bounds_told, warnings_of

_FOLDER = Path(__file__).parent / "page"
_PAPER = "https://arxiv.org/abs/2604.20682"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.add_argument("reports", nargs="+", metavar="REPORT", help="a report file, as 'pytest claims --report FILE' writes it")
    parser.add_argument("--output", default="report.html", metavar="FILE", help="the page (default: report.html)")


def run(options: argparse.Namespace) -> int:
    """Write the page. Raises ReportError when a report cannot be read or the page cannot be written."""
    file = Path(options.output).expanduser()
    if why := report_file.why_not_writable(file):
        raise ReportError(f"--output {printable(file)}: cannot be written, {why}")
    if any(file.resolve() == Path(report).expanduser().resolve() for report in options.reports):
        raise ReportError(f"--output {printable(file)}: is one of the reports, and the page would replace it; name another file")
    data = page([read(report) for report in options.reports]).encode()
    try:
        atomic.write(file, data)
    except OSError as error:
        raise ReportError(f"--output {printable(file)}: cannot be written ({error.strerror})") from None
    print(f"{printable(file)}: {readable_size(len(data))}")
    return 0


def page(documents: Sequence[Document]) -> str:
    """Return the page of some reports: the matrix as it opens, and what its cells open to as text that the page's script inserts."""
    subjects = subjects_of(documents)
    headings = headings_of(subjects)
    templates = _templates()
    details = {name: part for subject in subjects for name, part in _details(templates, subject, headings).items()}
    css, script = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return templates.get_template("page.html.j2").render(
        documents=documents,
        matrix=matrix_of(subjects, headings),
        warnings=warnings_of(documents),
        bounds_told=bounds_told(documents),
        islands={name: island(part) for name, part in details.items()},
        css=Markup(css),  # noqa: S704 — ours, of this folder.
        script=Markup(script),  # noqa: S704
        css_hash=_hash(css),
        script_hash=_hash(script),
        rungs=list(RUNGS.values()),
    )


def _details(templates: Environment, subject: Subject, headings: Sequence[Heading]) -> dict[str, str]:
    """What stands behind the cells of a subject, as HTML by the name that the script asks for: each claim, and ``about``."""
    # Plots and guidance ask a document for these rows again and again, which among those of fifty models takes a minute.
    document = replace(subject.document, rows=tuple(subject.rows))
    sections, plots = sections_of(subject), plots_of(document, subject.model, subject.corpus)
    claim, of_the_paper = templates.get_template("claim.html.j2"), replication_of(subject)
    made = {
        f"s{subject.number}-{heading.marker}": claim.render(
            subject=subject,
            heading=heading,
            cell=cell,
            parts=parts_of(subject, heading, plots, sections),
            stability=tables_of(subject, heading),
            uncounted=reasons_of(subject, heading),
            replication=of_the_paper.get(heading.key),
        )
        for heading in headings
        if (cell := cell_of(subject, heading)) is not None
    }
    about = templates.get_template("about.html.j2").render(
        subject=subject,
        advices=advice(document, subject.model, subject.corpus),
        facts=facts_of(subject),
        timings=timings_of(subject),
        command_line=command_of_run(subject),
    )
    return {f"s{subject.number}-about": about, **made}


def _templates() -> Environment:
    """The templates: everything is escaped, and a name that is not there is an error."""
    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    made.globals |= {"symbols": SYMBOLS, "paper": _PAPER, "judged": [r.name for r in RUNGS.values() if r.judged]}
    made.globals |= {"Verdict": Verdict, "stable_means": MEANING, "replication_columns": COLUMNS, "replication_numbers": NUMBERS}
    made.filters["quoted"] = partial(quote, safe="")
    return made


def _visible(value: Any) -> Any:
    """Escape control and format characters of foreign text, which could hide or turn around what stands beside them."""
    if isinstance(value, str) and not isinstance(value, Markup) and not value.isprintable():
        return "\n".join(printable(line) for line in value.split("\n"))
    return value


def island(html: str) -> Markup:
    r"""Return HTML as a JSON string for a ``<script type="application/json">``, which nothing in it can close: no ``</``, no ``<!``."""
    text = json.dumps(html, ensure_ascii=False).replace("</", "<\\/").replace("<!", "\\u003c!")
    return Markup(text)  # noqa: S704 — escaped above, for where it stands.


def _hash(text: str) -> str:
    """Return the hash by which a content security policy allows a text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
