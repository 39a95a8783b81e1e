"""Rows of all claims' core cells on a saved model, in a laboratory of its own: ``python -m tests.core_rows MODEL TEXT`` prints them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from harness.protocol import Protocol
from reports.ledger import Row
from tests import families
from tests.family_laboratory import PROTOCOL, cells, laboratory, row_of, texts_of

BLOCKS, WIDTH, HEADS, WORDS = 8, 16, 2, 64
FIGURES = ("value", "low", "high")


def save(folder: Path, family: str = "llama") -> tuple[Path, Path]:
    """Save a small model of a family, deep enough for every cell, and a text in its own words."""
    model = families.model_of(families.config_of(family, BLOCKS, WIDTH, HEADS, WORDS))
    return families.save(folder / "model", family, model), texts_of(folder, family, model)[0]


def core_rows(path: Path, text: Path, protocol: Protocol = PROTOCOL, **placement: Any) -> list[Row]:
    """Return the rows of the core cells on both judged rungs; whatever a cell raises is raised. ``placement``: ``device``, ``dtype``."""
    lab = laboratory(path, [text], protocol, measured=(), **placement)
    n = lab.model.n_blocks
    core = [cell for cell in cells(n) if cell[0].measures.predicate.is_core(cell[1], cell[2], n)]
    return [row_of(lab, *cell) for cell in core]


def differences(expected: Iterable[Row], found: Iterable[Row], relative: float, absolute: float) -> list[str]:
    """Say, a line each, where rows differ: in their cell or verdict, or in a figure or an end of its interval by more than is allowed."""
    said = []
    for one, other in zip(expected, found, strict=True):
        if (one.cell, one.verdict) != (other.cell, other.verdict):
            said.append(f"{one.cell.ident}: {one.verdict}, and {other.cell.ident}: {other.verdict}")
        for name in FIGURES:
            a, b = (np.nan if (x := getattr(row, name)) is None else x for row in (one, other))
            if not np.isclose(b, a, rtol=relative, atol=absolute, equal_nan=True):
                said.append(f"{one.cell.ident}: {name} {a!r}, and {b!r}")
    return said


if __name__ == "__main__":
    print(json.dumps([row.as_json() for row in core_rows(*map(Path, sys.argv[1:3]))]))
