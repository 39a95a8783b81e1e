"""What ``bundle.json`` holds: models that check it when it is read. Nothing that they do not name is let in."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from reports.schema import BoundsPart, CorpusPart, ModelPart, Name, Number, RowPart

Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
RecordName = Annotated[str, StringConstraints(pattern=r"^records/[0-9a-f]{64}\.safetensors$")]
WindowsName = Annotated[str, StringConstraints(pattern=r"^windows/[0-9a-f]{64}\.safetensors$")]
Line = Annotated[str, StringConstraints(max_length=10_000)]


class _Part(BaseModel):
    """Fields of these types and no others."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FilePart(_Part):
    """A file beside ``bundle.json``: SHA-256 of its bytes, and how many there are."""

    sha256: Sha256
    bytes: Annotated[int, Field(ge=1)]


class FailurePart(_Part):
    """What a test was told in the place of a measurement."""

    kind: Literal["LongWorkError", "MeasurementError"]
    text: Line


class MapsPart(_Part):
    """The file of maps that a note speaks of."""

    file: Line
    size: int
    block: int
    map_size: int
    perplexity: Number


class CellPart(_Part):
    """A falsified cell: its row as reported, the command that measures it again, and what its test was given."""

    row: RowPart
    command: Line
    windows: dict[Name, WindowsName]
    records: dict[Name, RecordName]
    failures: dict[Name, FailurePart]
    maps: MapsPart | None
    tokens: Line | FailurePart | None


class BundlePart(_Part):
    """A bundle."""

    kind: Literal["Transformer Assay bundle"]
    format: int
    command: tuple[Line, ...]
    code: dict[str, Any]
    packages: dict[str, str]
    bounds: BoundsPart
    protocol: dict[str, Any]
    models: dict[Name, ModelPart]
    corpora: dict[Name, CorpusPart]
    cells: tuple[CellPart, ...]
    files: dict[RecordName | WindowsName, FilePart]
    sha256: Sha256
