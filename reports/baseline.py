"""A baseline: the verdicts that a build is to keep, as a file that is kept beside a model. Read, checked, written.

Kept are cells on which a verdict can be lost: HOLDS, FALSIFIED, INCONCLUSIVE, and NOT APPLICABLE where there is a bound. MEASURED and
UNTESTED promise nothing, and an ERROR is no verdict. Names made from paths end in eight digits of the content, which change with it:
ids are kept without them, and each entry names the set-up that its figure comes from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from claims import Bound, Verdict
from claims.declared import all_predicates
from fixtures.naming import printable
from harness import atomic
from harness.protocol import RUNGS
from reports.document import ReportError
from reports.ledger import Cell, ClaimVerdict, Row
from reports.schema import BoundPart, Number

VERSION = 1
DEFAULT_FILE = "assay-baseline.json"
FIGURE = ("value", "low", "high", "level", "standard_error", "origin")
KEPT = (Verdict.HOLDS, Verdict.FALSIFIED, Verdict.INCONCLUSIVE, Verdict.NOT_APPLICABLE)

_ONE_LINE = 110
LONGEST = 2000
"""Characters of a reason."""

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST)]


def _a_date(text: str) -> str:
    date.fromisoformat(text)
    return text


Day = Annotated[str, AfterValidator(_a_date)]


class _Part(BaseModel):
    """An unknown field is an error: this file is edited by hand."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Held(_Part):
    """A verdict that was accepted, with its figure, why, and since when."""

    verdict: Literal["holds", "falsified", "inconclusive", "not_applicable"]
    value: Number | None = None
    low: Number | None = None
    high: Number | None = None
    level: Number | None = None
    standard_error: Number | None = None
    origin: Number | None = None
    bound: BoundPart | None = None
    reason: Text
    since: Day

    @property
    def judged(self) -> Verdict:
        """The verdict as such."""
        return Verdict(self.verdict)

    def against(self) -> Bound | None:
        """Return the bound that it was judged by."""
        return None if self.bound is None else Bound(**{name: getattr(self.bound, name) for name in Bound.__dataclass_fields__})


class Entry(Held):
    """What is kept of a cell or a claim: the verdict that stands, its set-up, and those that stood before, oldest first."""

    setup: str
    history: tuple[Held, ...] = ()

    def succeeded_by(self, new: Entry) -> Entry:
        """Return the entry that takes this one's place and remembers it."""
        past = Held.model_validate({name: getattr(self, name) for name in Held.model_fields})
        return new.model_copy(update={"history": (*self.history, past)})


class Subject(_Part):
    """A model on a text, named as when its entries were last changed. ``removed``: entries that were taken out, with their reasons."""

    model: str
    corpus: str
    claims: dict[str, Entry] = Field(default_factory=dict)
    cells: dict[str, Entry] = Field(default_factory=dict)
    removed: dict[str, Entry] = Field(default_factory=dict)


class Baseline(_Part):
    """The whole file. ``subjects``: ``model/corpus``, without digits of their content, → what is kept."""

    version: int = Field(alias="baseline")
    subjects: dict[str, Subject]
    setups: dict[str, dict[str, str]]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for key, subject in self.subjects.items():
            if key.count("/") != 1:
                raise ValueError(f"'{key}' is not of the form model/corpus")
            for ident, entry in [*subject.claims.items(), *subject.cells.items(), *subject.removed.items()]:
                if entry.setup not in self.setups:
                    raise ValueError(f"'{ident}' names a set-up '{entry.setup}' that the file has not")
        return self


def ident_of(key: str, cell: Cell) -> str:
    """Return the id of a cell in a subject: ``depth_gain-my-model-wikitext-2-strict``."""
    model, _, corpus = key.partition("/")
    return replace(cell, model=model, corpus=corpus).ident


def claim_ident(claim: ClaimVerdict) -> str:
    """Return the key of a claim on a rung: ``claim 4 · strict``."""
    return f"{'claim ' if isinstance(claim.claim, int) else ''}{claim.claim} · {claim.rung}"


def is_kept(row: Row, blocks: int) -> bool:
    """Whether a row carries a verdict that a build can keep."""
    if row.verdict not in KEPT or row.quick:
        return False
    return row.bound is not None or (row.verdict is Verdict.NOT_APPLICABLE and _bounded(row.cell, blocks))


def _bounded(cell: Cell, blocks: int) -> bool:
    """Whether this version judges a cell."""
    if cell.rung not in RUNGS or not RUNGS[cell.rung].judged:
        return False
    mine = [p for claim, p in all_predicates() if (claim.key, p.name) == (cell.claim, cell.predicate)]
    return any(p.judged(cell.rung, cell.block, blocks) is not None for p in mine)


def rounded(value: float | None) -> float | None:
    """Return a number to six significant digits: what differs beyond them is noise in a diff."""
    return None if value is None else float(f"{value:.6g}")


def setup_name(setup: Mapping[str, str]) -> str:
    """Return a set-up's name: eight digits of its content."""
    return hashlib.sha256(json.dumps(dict(sorted(setup.items())), ensure_ascii=False).encode()).hexdigest()[:8]


def read(file: str | Path) -> Baseline:
    """Read a baseline. Raises ReportError when it is not there, is none, or contradicts itself."""
    name, expected = printable(file), "expected a baseline as 'python -m reports baseline REPORT' writes it"
    try:
        text = Path(file).expanduser().read_bytes().decode("utf-8-sig")
        contents = json.loads(text, object_pairs_hook=_once, parse_constant=_once)
    except (OSError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ReportError(f"{name}: cannot be read ({printable(why)}); {expected}") from None
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{name}: not JSON ({printable(error)}); {expected}") from None
    if not isinstance(contents, dict) or "baseline" not in contents:
        told = " (this is a report)" if isinstance(contents, dict) and {"schema", "rows"} <= set(contents) else ""
        raise ReportError(f"{name}: no baseline{told}; {expected}")
    if contents["baseline"] != VERSION:
        raise ReportError(f"{name}: format {printable(contents['baseline'])}, and this version reads format {VERSION}")
    try:
        return Baseline.model_validate_json(json.dumps(contents))
    except ValidationError as error:
        first = error.errors()[0]
        where = " → ".join(map(str, first["loc"])) or "the file"
        raise ReportError(f"{name}: {printable(where)}: {printable(first['msg'])}") from None


def write(file: Path, baseline: Baseline) -> None:
    """Replace a file by a baseline, sorted, with set-ups that no entry names left out. Raises OSError."""
    everywhere = baseline.subjects.values()
    named = {e.setup for s in everywhere for e in [*s.claims.values(), *s.cells.values(), *s.removed.values()]}
    contents = baseline.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    contents["setups"] = {name: setup for name, setup in contents["setups"].items() if name in named}
    data = _text({"baseline": VERSION, "subjects": contents["subjects"], "setups": contents["setups"]})
    atomic.write(file, f"{data}\n".encode())


def _text(value: Any, indent: str = "") -> str:
    """JSON in which what holds no further objects and fits stands on one line; names sorted but for the fields of an entry."""
    flat = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if not isinstance(value, dict | list) or (len(flat) <= _ONE_LINE - len(indent) and not _nested(value)):
        return flat
    inner = f"{indent} "
    if isinstance(value, list):
        return "[\n" + ",\n".join(inner + _text(part, inner) for part in value) + f"\n{indent}]"
    names: Iterable[str] = value if "verdict" in value or "model" in value or not indent else sorted(value)
    lines = [f"{inner}{json.dumps(name, ensure_ascii=False)}: {_text(value[name], inner)}" for name in names]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def _nested(value: Any) -> bool:
    parts = value.values() if isinstance(value, dict) else value
    return (isinstance(value, dict) and "verdict" in value and "setup" in value) or any(isinstance(part, dict) for part in parts)


def _once(pairs: Any) -> Any:
    """Refuse a name that stands twice in one object, as a merge may leave it, and constants that are no JSON."""
    if isinstance(pairs, str):
        raise ValueError(f"{pairs} is not a number of JSON")
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"'{twice[0]}' stands twice")
    return dict(pairs)
