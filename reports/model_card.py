"""A section of a model card: what was tested on what, the verdicts, what they mean for compression, how to measure it again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from claims import CLAIMS, Verdict
from fixtures.naming import printable
from harness.protocol import RUNGS
from reports.commands import command_of
from reports.document import Document
from reports.gfm import Section, fenced, plain
from reports.markdown_sections import guidance, matrix, provenance, replication, stability, warnings
from reports.warnings_first import bounds_told

_SELECTION = 6
"""Words of a command before its options: ``pytest claims -m … -k …``."""
_PAPER = "https://arxiv.org/abs/2604.20682"
_CITATION = """@misc{salfati2026variance,
  title = {Variance Is Not Importance: Structural Analysis of Transformer Compressibility Across Model Scales},
  author = {Salfati, S.},
  year = {2026},
  eprint = {2604.20682},
  archivePrefix = {arXiv},
  url = {https://arxiv.org/abs/2604.20682}
}"""


def card(documents: Sequence[Document]) -> str:
    """Write the section, below headings of the second level as model cards have them."""
    judged = "; ".join(f"`{rung.name}`: {plain(rung.summary)}" for rung in RUNGS.values() if rung.judged)
    claims = "\n".join(f"- Claim {claim.key}, {claim.title}: {claim.statement}" for claim in CLAIMS if isinstance(claim.key, int))
    intro = (
        "## Structural claims tested\n\n"
        f"Transformer Assay tries to falsify the structural claims of [arXiv:2604.20682]({_PAPER}) on a model and a text, against "
        f"{bounds_told(documents)}.\n\n{claims}\n\n"
        f"Two rungs of controls carry verdicts. {judged}. HOLDS and FALSIFIED: the whole interval lies beyond the bound; INCONCLUSIVE: it "
        "does not; UNTESTED: not measured.\n"
    )
    sections = [
        Section("introduction", intro),
        *warnings(documents),
        matrix(documents, "### Verdicts"),
        *stability(documents),
        provenance(documents, "### What was measured on what"),
        *guidance(documents, "### What it means for compressing this model"),
        *replication(documents),
        _again(documents),
        Section("citation", f"### Citation\n\nThe claims are those of\n\n{fenced(_CITATION, 'bibtex')}\n"),
    ]
    return "\n".join(section.head + "".join(section.lines) + section.tail for section in sections)


def _again(documents: Sequence[Document]) -> Section:
    """Give the command that measures again what each report has figures of, and that of one cell."""
    commands: dict[str, None] = {}
    for document in documents:
        measured = [row for row in document.rows if row.value is not None]
        if not measured:
            continue
        options = shlex.split(command_of(document, measured[0]))[_SELECTION:]
        models = dict.fromkeys(row.cell.model for row in measured)
        markers = dict.fromkeys(f"claim{row.cell.claim}" if isinstance(row.cell.claim, int) else row.cell.claim for row in measured)
        named = " and ".join(f"({' or '.join(words)})" if len(words) > 1 else next(iter(words)) for words in (models, markers))
        commands[shlex.join(["pytest", "claims", "-m", named, *options])] = None
        one = next((row for row in measured if row.verdict is Verdict.FALSIFIED), measured[0])
        commands[f"# {one.cell.predicate} alone:\n{command_of(document, one)}"] = None
    shown = "\n".join("\n".join(map(printable, command.split("\n", 1))) for command in commands)
    body = fenced(shown, "sh") if commands else "Nothing was measured."
    return Section("reproduction", f"### How to reproduce it\n\nIn a checkout of the suite, with its dependencies installed:\n\n{body}\n")
