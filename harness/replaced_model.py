"""Models in which blocks are linear maps: loaded from a file of maps and a checkpoint, saved whole, loaded again.

    model, tokenizer = load_replaced("maps/smollm2_pydocs_strict.safetensors", blocks=[29])
    save_replaced(model, "smollm2-29-linear", tokenizer)
    model, tokenizer = load_saved("smollm2-29-linear")

``python -m harness.replaced_model FILE --blocks 29`` prints sizes, perplexity and text.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fixtures.described import model_at
from fixtures.errors import ModelError
from fixtures.naming import printable
from fixtures.sources import Say
from harness.admission import dissect
from harness.arithmetic import exact_arithmetic
from harness.errors import SubjectError
from harness.fingerprints import Memory
from harness.linear_block import LinearBlock, put_in_place
from harness.loading import Subject, load
from harness.map_file import MapFile, model_of, read
from harness.saved_model import forget_quantisation, load_saved, save_replaced
from harness.store import Store
from harness.subject import Placement, weights_fingerprint

__all__ = ["LinearBlock", "load_replaced", "load_saved", "open_model", "replace_blocks", "save_replaced", "tensors_of"]


def load_replaced(
    file: str | Path,
    blocks: Iterable[int],
    model: str | None = None,
    placement: Placement | None = None,
    say: Say = lambda line: None,
) -> tuple[Any, Any]:
    """Load a model with maps from a file in the place of ``blocks``; returns it, as transformers knows it, and its tokenizer.

    Each of these blocks is a :class:`harness.linear_block.LinearBlock`; its weights are gone. ``model``: where the model is (name, path or
    id, as ``--model`` takes it) when it is not where the file says; its weights must be the same to the byte. ``placement``: device and
    type, as the command line chooses them when None. ``say`` is told of a download before it begins.

    Raises MapsError for a file or blocks that cannot be used, ModelError for a model that cannot be had, and SubjectError for one that
    is another than the maps were fitted to, cannot be loaded, or does not run with these blocks replaced.
    """
    found = read(file)
    wanted = found.chosen(blocks)
    subject = open_model(found, model, placement, say)
    replace_blocks(subject, found, wanted)
    return subject.anatomy.model, subject.tokenizer


def open_model(found: MapFile, model: str | None = None, placement: Placement | None = None, say: Say = lambda line: None) -> Subject:
    """Load the model that maps were fitted to, as it is. Raises ModelError and SubjectError."""
    placement = placement or Placement()
    try:
        described = model_of(found.about) if model is None else replace(model_at(model), blocks=found.about.get("blocks"))
        if described.unavailable:
            raise ModelError(described.unavailable)
        path = described.source.fetch(say, placement.trust_remote_code)
    except ModelError as error:
        hint = "; if it is elsewhere, name it (model=…, --model)" if model is None else ""
        raise ModelError(f"the model of {printable(found.file)} cannot be had: {error}{hint}") from None
    weights, expected = weights_fingerprint(path, Memory(Store(None)), placement.trust_remote_code), found.about["weights"]
    if weights != expected:
        raise SubjectError(
            f"{printable(path)}: other weights than the maps of {printable(found.file)} were fitted to "
            f"(SHA-256 {weights[:16]}…, expected {printable(expected[:16])}…)"
        )
    subject = load(described, path, weights, placement)
    if subject.anatomy.onloader:
        say(f"{described.name} does not fit on {subject.facts.device}: its blocks are there while they run; writing to them does nothing")
    forget_quantisation(subject.anatomy.model)
    return subject


@exact_arithmetic()
def replace_blocks(subject: Subject, found: MapFile, blocks: Iterable[int]) -> None:
    """Put maps in the place of a loaded model's blocks for good, and see that the model still runs and is made of its parts."""
    put_in_place(subject.anatomy, {b: tensors_of(found, b) for b in blocks})
    try:
        dissect(subject.anatomy.model, blocks=subject.anatomy.blocks_name)
    except SubjectError as error:
        raise SubjectError(f"with blocks {', '.join(map(str, blocks))} replaced: {error}") from error


def tensors_of(found: MapFile, block: int) -> dict[str, Tensor]:
    """Return one block's map as tensors."""
    return {name: torch.from_numpy(part) for name, part in found.maps[block].items()}


if __name__ == "__main__":
    from harness.replaced_model_command import main

    sys.exit(main())
