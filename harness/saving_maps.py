"""Keeping the maps of replaced blocks: fitted once, written, and the last one's cost measured from the file (``--save-maps``)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import map_file
from harness.arithmetic import exact_arithmetic
from harness.batching import completed
from harness.errors import MapsError, MeasurementError
from harness.fitting_maps import fit_all
from harness.linear_block import replaced_by
from harness.linearity import CALIBRATION, EVALUATION
from harness.map_file import MapFile, SavedMaps
from harness.measurement import INTERVENTION
from harness.perplexity import nll_nats, perplexity
from harness.replaced_model import tensors_of
from harness.statistics import Array
from harness.store import Record
from harness.windows import Ids

if TYPE_CHECKING:
    from harness.bench import Bench
    from harness.laboratory import Laboratory


@exact_arithmetic()
def save_maps(lab: Laboratory, bench: Bench, folder: Path, rung: str) -> SavedMaps:
    """Return the file of a rung's maps in a folder. What is there with an equal header stands, anything else is replaced.

    Raises MeasurementError where it cannot be written or read back, or a map cannot be fitted.
    """
    windows = lab.windows("strict" if rung == "strict" else "paper")
    try:
        file = folder / map_file.name_for(lab.model.name, lab.corpus.name, rung)
        if not map_file.is_there(file, _about(lab, bench, rung, windows[CALIBRATION])):
            _fit(lab, bench, file, rung, windows[CALIBRATION])
        found = map_file.read(file)
    except MapsError as error:
        raise MeasurementError(f"--save-maps: {error}") from error
    last = len(found.maps) - 1
    scored = windows[INTERVENTION if INTERVENTION in windows else EVALUATION]
    return SavedMaps(file, found.size, last, found.bytes_of(last), perplexity(_nll_nats(lab, bench, found, last, scored)))


def _about(lab: Laboratory, bench: Bench, rung: str, ids: Ids) -> dict[str, Any]:
    """What the header says (:data:`harness.map_file.FIELDS`), and whatever else the maps depend on."""
    return {
        "maps": map_file.VERSION,
        "model": lab.model.name,
        "source": map_file.source_of(lab.model, bench.path(lab.model)),
        "n_blocks": lab.model.n_blocks,
        "width": lab.facts.width,
        "corpus": lab.corpus.name,
        "rung": rung,
        **lab.conditions({CALIBRATION: ids}),
    }


def _fit(lab: Laboratory, bench: Bench, file: Path, rung: str, ids: Ids) -> None:
    subject = bench.load(lab.model)
    lab.facts = subject.facts
    what, start = f"maps of every block, {rung}", time.perf_counter()
    maps = completed(lambda: fit_all(subject, ids, rung, lab.protocol, bench.announce(what)))
    map_file.write(file, _about(lab, bench, rung, ids), maps)
    seconds = round(time.perf_counter() - start, 2)
    lab.timings[what] = {"stored": False, "seconds": seconds, "windows": {CALIBRATION: len(ids)}}


def _nll_nats(lab: Laboratory, bench: Bench, found: MapFile, block: int, ids: Ids) -> Array:
    """Negative log-likelihoods ``(windows)`` of the model with one map, as the file has it, in its block's place."""
    key = {
        "measurement": "a block replaced by a map from a file",
        "version": 1,
        "file": bench.memory.of_file(found.file),
        "block": block,
        **lab.conditions({INTERVENTION: ids}),
    }

    def decode(record: Record) -> Array:
        if set(record.arrays) != {"nll"} or record.arrays["nll"].shape != (len(ids),):
            raise ValueError("not one figure a window")
        return record.arrays["nll"]

    kept = bench.store.get(key, decode)
    if kept is not None:
        return kept
    anatomy = bench.load(lab.model).anatomy
    with replaced_by(anatomy, {block: tensors_of(found, block)}):
        nll = completed(lambda: nll_nats(anatomy, ids))
    bench.store.put(key, Record({"nll": nll}))
    return nll
