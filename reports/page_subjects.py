"""What a page is about: every model on every text of every report, each with a name of its own in links."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal
from urllib.parse import quote

from claims import CLAIMS, Claim, Verdict
from reports.document import Document
from reports.ledger import UNRUN, ClaimVerdict, Row

Key = int | Literal["appendix"]


@dataclass(frozen=True)
class Subject:
    """A model on a text, of one report. ``parts`` name it in links; ``told_apart``: the file, where two have one of these names."""

    number: int
    document: Document
    model: str
    corpus: str
    n_blocks: int
    parts: tuple[str, str]
    told_apart: str = ""

    @property
    def link(self) -> str:
        """The fragment that opens everything of it."""
        return "/".join(quote(part, safe="") for part in self.parts)

    @cached_property
    def rows(self) -> list[Row]:
        """Its rows, in the order of the file."""
        return self.document.of(self.model, self.corpus)

    @cached_property
    def verdicts(self) -> dict[Key, list[ClaimVerdict]]:
        """The verdicts on each claim, one a judged rung."""
        found: dict[Key, list[ClaimVerdict]] = {}
        for c in self.document.claims:
            if (c.model, c.corpus) == (self.model, self.corpus):
                found.setdefault(c.claim, []).append(c)
        return found


def subjects_of(documents: Iterable[Document]) -> list[Subject]:
    """Return the models on texts of all reports; texts of one model stand together, as the files have them otherwise."""
    found = [(document, model, corpus, n_blocks) for document in documents for (model, corpus), n_blocks in document.pairs.items()]
    models = list(dict.fromkeys(model for _, model, _, _ in found))
    found.sort(key=lambda entry: models.index(entry[1]))
    twice = Counter((model, corpus) for _, model, corpus, _ in found)
    taken: set[tuple[str, str]] = set()
    subjects = []
    for number, (document, model, corpus, n_blocks) in enumerate(found):
        parts, count = (model, corpus), 1
        while parts in taken:
            count += 1
            parts = (model, f"{corpus}~{count}")
        taken.add(parts)
        subjects.append(Subject(number, document, model, corpus, n_blocks, parts, document.name if twice[model, corpus] > 1 else ""))
    return subjects


@dataclass(frozen=True)
class Heading:
    """A claim as the page names it; ``claim`` is None where this version declares none of that number."""

    key: Key
    claim: Claim | None
    predicates: tuple[str, ...] = field(default=())

    @property
    def label(self) -> str:
        """``claim 4`` or ``appendix``."""
        return f"claim {self.key}" if isinstance(self.key, int) else self.key

    @property
    def marker(self) -> str:
        """``claim4`` or ``appendix``: in links."""
        return f"claim{self.key}" if isinstance(self.key, int) else self.key

    @property
    def title(self) -> str:
        """What it says, in a few words."""
        return self.claim.title if self.claim else "not declared by this version"


def headings_of(subjects: Sequence[Subject]) -> list[Heading]:
    """Return the claims this version declares, then those that only a file has; each with the predicates of both."""
    names: dict[Key, dict[str, None]] = {claim.key: dict.fromkeys(p.name for p in claim.predicates) for claim in CLAIMS}
    for subject in subjects:
        for row in subject.rows:
            names.setdefault(row.cell.claim, {})[row.cell.predicate] = None
    declared = {claim.key: claim for claim in CLAIMS}
    return [Heading(key, declared.get(key), tuple(predicates)) for key, predicates in names.items()]


def ran(row: Row) -> bool:
    """Whether there is an outcome; a fault of the input is one."""
    return row.verdict is not Verdict.UNTESTED or row.reason not in UNRUN
