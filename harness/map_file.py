"""Files of linear maps: those of every block of one model, fitted to one text by the rule of one rung. No torch, no pickle.

A file is a safetensors file as the store writes its entries (:mod:`harness.store`): float32 tensors, and in the header ``key``, which is
JSON that says what the maps are of and all that they depend on (:data:`FIELDS`), with a digest over everything, checked on every read.
Tensors of block b: ``b.weight (d, k)`` A and ``b.basis (d, k)`` V of h ↦ h + h A Vᵀ (``paper``, ``typical``), or ``b.weight (d, d)`` W,
``b.mean_x (d)``, ``b.mean_y (d)`` of h ↦ h + ȳ + (h − x̄) W (``strict``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fixtures.errors import ModelError
from fixtures.models import MODELS, MOST_BLOCKS, Model
from fixtures.naming import printable
from fixtures.sources import Folder, Gguf, Hub, Wheel
from harness import atomic, store
from harness.errors import MapsError

VERSION = 1
RUNGS = ("paper", "typical", "strict")
FIELDS: dict[str, type] = {
    "maps": int,
    "model": str,
    "source": dict,
    "weights": str,
    "n_blocks": int,
    "width": int,
    "corpus": str,
    "text": str,
    "rung": str,
    "protocol": dict,
    "tokens": dict,
    "dtype": str,
}
"""What the header states: version of the format; the model with its source, the SHA-256 of its weights, blocks and width; the corpus with
the SHA-256 of its text; rung and protocol; digests of the token ids fitted to; the type of the stream. More may be there."""

_KINDS = ({"weight": "dk", "basis": "dk"}, {"weight": "dd", "mean_x": "d", "mean_y": "d"})
_PART = re.compile(r"[a-z0-9][a-z0-9.-]{0,79}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_WIDEST = 1 << 20

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class MapFile:
    """What a file holds, verified: ``about`` the fields of its header, ``maps[b]`` the tensors of block b, ``size`` in bytes."""

    file: Path
    about: Mapping[str, Any]
    maps: Sequence[Mapping[str, Array]]
    size: int

    def chosen(self, blocks: Iterable[int]) -> list[int]:
        """Return blocks ascending, each once. Raises MapsError for none, and for one that the model does not have."""
        wanted = sorted(set(blocks))
        if not wanted:
            raise MapsError("no blocks are named; expected at least one")
        if wrong := [b for b in wanted if type(b) is not int or not 0 <= b < len(self.maps)]:
            raise MapsError(f"block {wrong[0]}: {printable(self.about['model'])} has blocks 0 to {len(self.maps) - 1}")
        return wanted

    def bytes_of(self, block: int) -> int:
        """Size of one block's map in bytes."""
        return sum(part.nbytes for part in self.maps[block].values())


@dataclass(frozen=True)
class SavedMaps:
    """A file that was written or found, and what its map of the last ``block`` costs in that block's place, at all positions.

    ``size`` of the file and ``map_size`` of that map in bytes; ``perplexity`` on the rung's windows for interventions.
    """

    file: Path
    size: int
    block: int
    map_size: int
    perplexity: float

    def __str__(self) -> str:
        return f"{printable(self.file)} ({self.size:,} bytes, of which block {self.block}'s map is {self.map_size:,})"


def name_for(model: str, corpus: str, rung: str) -> str:
    """Return the name of a file: the three, which are slugs, joined by underscores, which slugs have none of. MapsError for other names."""
    for part in (model, corpus, rung):
        if not _PART.fullmatch(part):
            raise MapsError(f"'{printable(part)}' cannot be part of a file's name: expected a-z, 0-9, dot and dash")
    return f"{model}_{corpus}_{rung}.safetensors"


def write(file: Path, about: Mapping[str, Any], maps: Sequence[Mapping[str, Array]]) -> None:
    """Write a file whole or not at all; maps in float32. Raises MapsError where it cannot be written."""
    arrays = {f"{b}.{name}": part.astype(np.float32) for b, parts in enumerate(maps) for name, part in parts.items()}
    try:
        atomic.write(file, store.encode(about, store.Record(arrays)))
    except OSError as error:
        raise MapsError(f"{printable(file)}: cannot be written ({error.strerror})") from None


def read(given: str | Path) -> MapFile:
    """Read a file and verify it. Raises MapsError for one that is missing, damaged, of another version, or not of maps."""
    file, shown = Path(given), printable(given)
    try:
        about, record = store.read(file)
        size = file.stat().st_size
    except OSError as error:
        raise MapsError(f"{shown}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise MapsError(f"{shown}: damaged, or not a file of maps ({printable(next(iter(str(error).splitlines()), ''))})") from None
    if type(about.get("maps")) is not int:
        raise MapsError(f"{shown}: not a file of maps; expected one that --save-maps wrote")
    if about["maps"] != VERSION:
        raise MapsError(f"{shown}: format version {about['maps']}; this program reads version {VERSION}")
    try:
        _check_about(about)
        return MapFile(file, about, _by_block(record.arrays, about["n_blocks"], about["width"]), size)
    except ValueError as error:
        raise MapsError(f"{shown}: not what it says it is ({printable(error)})") from None


def is_there(file: Path, about: Mapping[str, Any]) -> bool:
    """Whether a file holds exactly these maps, whole: one that is damaged does not."""
    try:
        return bool(read(file).about == json.loads(json.dumps(about)))
    except MapsError:
        return False


def source_of(model: Model, path: Path) -> dict[str, str]:
    """Say where a model's files were: repository and commit, a file of an installed package, or a path."""
    source = model.source
    if isinstance(source, Hub):
        return {"kind": "hub", "repo": source.repo, "revision": path.name}
    if isinstance(source, Wheel):
        return {"kind": "package", "package": source.package, "file": source.file}
    return {"kind": "gguf" if isinstance(source, Gguf) else "folder", "path": str(path.resolve())}


def model_of(about: Mapping[str, Any]) -> Model:
    """Describe the model that maps are of, from what their file says. Raises ModelError where that is no source.

    A file may come from anybody: a package is looked for only when it is that of a registered model.
    """
    name, source = about["model"], about["source"]
    if source.get("kind") == "package":
        known = MODELS.get(name)
        if known is None or not isinstance(known.source, Wheel) or source_of(known, Path()) != source:
            raise ModelError(f"the weights of {printable(name)} are in a package that is not registered here")
        return known
    return Model(name, "unknown", about["n_blocks"], _source(source), blocks=about.get("blocks"))


def _source(given: Mapping[str, Any]) -> Hub | Gguf | Folder:
    kind, path, revision = given.get("kind"), given.get("path"), given.get("revision")
    if kind == "hub" and isinstance(revision, str) and _COMMIT.fullmatch(revision):
        return Hub(given.get("repo"), revision)  # type: ignore[arg-type]  # It refuses what is no repository.
    if kind in ("gguf", "folder") and isinstance(path, str):
        return Gguf(path) if kind == "gguf" else Folder(path)
    raise ModelError(f"the file names no place where it is ({printable(dict(given))})")


def _check_about(about: Mapping[str, Any]) -> None:
    for name, kind in FIELDS.items():
        if type(about.get(name)) is not kind:
            raise ValueError(f"'{name}' is missing, or no {kind.__name__}")
    if about["rung"] not in RUNGS:
        raise ValueError(f"rung '{about['rung']}', expected {', '.join(RUNGS)}")
    if not (1 <= about["n_blocks"] <= MOST_BLOCKS and 1 <= about["width"] <= _WIDEST):
        raise ValueError(f"{about['n_blocks']} blocks of width {about['width']}")
    if not isinstance(about.get("blocks"), str | None):
        raise ValueError("'blocks' is no name")


def _by_block(arrays: Mapping[str, Array], blocks: int, width: int) -> list[dict[str, Array]]:
    """Return the tensors of each block; ValueError unless they are exactly one map a block, finite, of this width."""
    found: list[dict[str, Array]] = [{} for _ in range(blocks)]
    for path, array in arrays.items():
        block, _, name = path.partition(".")
        if not block.isdecimal() or int(block) >= blocks or str(int(block)) != block:
            raise ValueError(f"tensor '{path}' belongs to none of {blocks} blocks")
        found[int(block)][name] = array
    for b, parts in enumerate(found):
        shapes = next((kind for kind in _KINDS if set(kind) == set(parts)), None)
        if shapes is None:
            raise ValueError(f"block {b}: {', '.join(sorted(parts)) or 'no tensors'}, which is no map")
        sizes = {"d": width, "k": parts["weight"].shape[-1] if parts["weight"].ndim else 0}
        for name, part in parts.items():
            if part.dtype != np.float32 or part.shape != tuple(sizes[letter] for letter in shapes[name]) or not part.size:
                raise ValueError(f"block {b}: '{name}' is {part.dtype} of shape {part.shape}")
            if not np.isfinite(part).all():
                raise ValueError(f"block {b}: '{name}' is not finite")
    return found
