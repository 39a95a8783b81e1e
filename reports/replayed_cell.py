"""From the files of a bundle to the laboratory that a cell's test is given."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import layouts, store
from harness.errors import LongWorkError, MeasurementError
from harness.guarded import as_keyed
from harness.layouts import Windows
from harness.map_file import SavedMaps
from harness.measurement import MEASUREMENTS
from harness.protocol import Protocol
from harness.replayed import Kept, Replayed, protocol_from
from harness.subject import SubjectFacts
from reports.bundle_schema import BundlePart, CellPart, FailurePart

_KINDS: dict[str, type[LongWorkError] | type[MeasurementError]] = {"LongWorkError": LongWorkError, "MeasurementError": MeasurementError}


def laboratory_of(folder: Path, bundle: BundlePart, cell: CellPart) -> Replayed:
    """Return the laboratory of a cell. Raises ValueError where the bundle's parts do not belong together, KeyError where one lacks."""
    row, protocol = cell.row, protocol_from(bundle.protocol)
    of_model = bundle.models[row.model].model_dump()
    facts = SubjectFacts.from_notes({name: of_model[name] for name in SubjectFacts.__dataclass_fields__})
    windows = {layout: _windows(folder / file, layout, protocol, facts.width) for layout, file in cell.windows.items()}
    versions, arrays = {}, {}
    layout_of = {measurement.name: measurement.layout for measurement in MEASUREMENTS}
    for name, file in cell.records.items():
        if name not in layout_of:
            continue  # No test of this version asks for it.
        key, record = store.read(folder / file)
        _check(name, key, windows.get(layout_of[name], {}), facts, bundle)
        versions[name], arrays[name] = key["version"], record.arrays
    maps = None if cell.maps is None else SavedMaps(**{**cell.maps.model_dump(), "file": Path(cell.maps.file)})
    tokens = MeasurementError(cell.tokens.text) if isinstance(cell.tokens, FailurePart) else cell.tokens
    failures = {name: _KINDS[failure.kind](failure.text) for name, failure in cell.failures.items()}
    kept = Kept(windows, versions, arrays, failures, maps, tokens)
    return Replayed(row.model, of_model["n_blocks"], row.corpus, facts, protocol, kept)


def _windows(file: Path, layout: str, protocol: Protocol, width: int) -> Windows:
    key, record = store.read(file)
    if key.get("layout") != layout:
        raise ValueError(f"{file.name[:8]}… holds the windows of another layout than {layout}")
    return layouts.decode(record, layouts.plan(layout, protocol, width))


def _check(name: str, key: Mapping[str, Any], windows: Windows, facts: SubjectFacts, bundle: BundlePart) -> None:
    """Raise ValueError unless a record is of this measurement, these windows, these weights and this protocol."""
    tokens = {split: [list(ids.shape), hashlib.sha256(ids.tobytes()).hexdigest()] for split, ids in windows.items()}
    measurement = next(measurement for measurement in MEASUREMENTS if measurement.name == name)
    stated = {part: value for part, value in key["protocol"].items() if part != "easy"}
    # Of a run's protocol a key has what its measurement depends on; before keys were so, it had all but claim 5's part.
    keyed = as_keyed(protocol_from(bundle.protocol), measurement.depends, ())
    fits = {
        "measurement": key["measurement"] == name,
        "windows": all(tokens.get(split) == stated for split, stated in key["tokens"].items()),
        "weights": key["weights"] == facts.weights,
        "protocol": stated in (keyed, {part: value for part, value in bundle.protocol.items() if part != "easy"}),
    }
    if wrong := [what for what, does in fits.items() if not does]:
        raise ValueError(f"the record of '{name}' is of another {' and '.join(wrong)}")
