"""What ``report.json`` holds: models that check a file when it is read, and of which its JSON Schema is made."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from claims import Verdict
from reports.ledger import SCHEMA

Name = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Key = Literal["appendix"] | Annotated[int, Field(ge=1)]
Limit = Number | tuple[Number, Number]


class _Part(BaseModel):
    """Fields that a later version adds are kept; none is turned into another type."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)


class BoundPart(_Part):
    """Where a predicate holds and where it is falsified."""

    holds: Limit = Field(description="the figure holds beyond it, or inside the pair")
    falsified: Limit = Field(description="the figure is falsified beyond it, or outside the pair")
    direction: Literal["at_least", "at_most", "inside"]
    open_holds: bool = Field(False, description="the bound itself does not hold")
    open_falsified: bool = Field(False, description="the bound itself is not falsified")

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        pairs = {isinstance(self.holds, tuple), isinstance(self.falsified, tuple)}
        if pairs != {self.direction == "inside"}:
            raise ValueError("'inside' takes pairs, the other directions numbers")
        return self


class RowPart(_Part):
    """One cell: a predicate of a claim, on a rung, of a model, on a text, at a block where it has one."""

    model: Name
    corpus: Name
    claim: Key
    predicate: Name
    rung: Name
    block: Annotated[int, Field(ge=0)] | None
    verdict: str = Field(json_schema_extra={"enum": [str(v) for v in Verdict]})
    unit: str
    core: bool = Field(description="the claim stands or falls with it")
    value: Number | None
    low: Number | None
    high: Number | None
    level: Number | None = Field(description="of the interval")
    margin: Number | None = Field(description="how far the interval may move before the verdict changes; negative: how far to a verdict")
    bound: BoundPart | None
    caveats: tuple[str, ...]
    reason: str | None
    quick: bool = Field(description="measured at quarter sizes, so not judged")
    would: str | None = Field(description="on a rung that carries no verdict, what it would be")
    standard_error: Annotated[Number, Field(ge=0)] | None = Field(
        None, description="of the figure, or of ln(value − origin) where there is an origin"
    )
    origin: Number | None = Field(None, description="where a ratio has its zero: its interval is taken on the log scale")

    @model_validator(mode="after")
    def _known(self) -> Self:
        known = [str(v) for v in Verdict]
        for word in (self.verdict, self.would):
            if word is not None and word not in known:
                raise ValueError(f"'{word}' is no verdict; there are: {', '.join(known)}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"an interval from {self.low} to {self.high}")
        return self


class ClaimPart(_Part):
    """The verdict on a claim, of a model on a text and rung."""

    model: Name
    corpus: Name
    rung: Name
    claim: Key
    verdict: str = Field(json_schema_extra={"enum": [str(v) for v in Verdict]})
    decided_by: tuple[str, ...]

    @model_validator(mode="after")
    def _known(self) -> Self:
        Verdict(self.verdict)
        return self


class ModelPart(_Part):
    """A model as it turned out when it was loaded."""

    n_blocks: Annotated[int, Field(ge=1)]
    weights: str = Field(description="SHA-256 of the weights")
    family: str = ""
    about: str
    provenance: str
    dtype: str
    device: str
    attention: str


class CorpusPart(_Part):
    """A text."""

    text: str = Field(description="SHA-256 of both splits")
    edition: str
    splitting: str
    chosen: str


class BoundsPart(_Part):
    """The lock on bounds and protocol."""

    sha256: str
    locked: bool
    amendments: tuple[str, ...]


class TimingPart(_Part):
    """Where a measurement comes from."""

    stored: bool
    windows: dict[str, int] = Field(description="windows of each split")
    seconds: Number | None = None


class CodePart(_Part):
    """The code that measured and judged."""

    version: str | None = None
    sha256: str | None = Field(None, description="over the files of fixtures, harness and claims")
    measurements: dict[str, int] | None = Field(None, description="version of each measurement")


class EnvironmentPart(_Part):
    """Software, machine, and the command that was given."""

    python: str | None = None
    packages: dict[str, str] | None = Field(None, description="name → version")
    arithmetic: str | None = Field(None, description="how measurements are computed, on any device")
    command: tuple[str, ...] | None = None
    code: CodePart | None = None


class SettingPart(_Part):
    """What was changed around the run."""

    name: Name
    axis: Name
    about: str


class SweptRowPart(RowPart):
    """A cell of the run under another setting; a setting of another text keeps the name of the run's."""

    setting: Name = Field(description="its name")


class SweepPart(_Part):
    """What --sweep measured: the cells that carry a verdict, with one setting changed at a time."""

    settings: tuple[SettingPart, ...]
    rows: tuple[SweptRowPart, ...]

    @model_validator(mode="after")
    def _known(self) -> Self:
        names = [setting.name for setting in self.settings]
        if len(set(names)) < len(names):
            raise ValueError("two settings of one name")
        if other := {row.setting for row in self.rows} - set(names):
            raise ValueError(f"a row of the setting '{min(other)}', which is not listed")
        return self


class ReportPart(_Part):
    """A report: rows, the verdicts on claims, and what they were measured on and with."""

    format: int = Field(alias="schema", description=f"version of this format, {SCHEMA}")
    rows: tuple[RowPart, ...]
    claims: tuple[ClaimPart, ...]
    models: dict[str, ModelPart] = Field(default_factory=dict)
    corpora: dict[str, CorpusPart] = Field(default_factory=dict)
    protocol: dict[str, Any]
    bounds: BoundsPart
    environment: EnvironmentPart
    timings: dict[str, Number | dict[str, TimingPart]] = Field(default_factory=dict)
    evidence: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="of 'model/corpus': by 'predicate/rung' what stands beside a figure"
    )
    sweep: SweepPart | None = Field(None, description="what --sweep measured")
    bundle: dict[str, Any] | None = Field(None, description="what --bundle wrote: folder, SHA-256, number of falsified cells")
    baseline: dict[str, Any] | None = Field(None, description="what came of the comparison with --baseline")
    sha256: str | None = Field(None, description="over the canonical JSON of all the rest: keys sorted, no spaces, ASCII")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of ``report.json``."""
    schema = ReportPart.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Transformer Assay report"}
