"""A table of single tokens: how sure the model is of each, whether an exit agrees, what destroying late blocks costs there (``--tokens``).

A Parquet file with a row for every position 0 … T − 2 of every scored window of every model, corpus and rung that a run has measured.
pyarrow is imported where a table is made: a run without ``--tokens`` needs none.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from fixtures.naming import printable
from harness import atomic
from harness.destroyed import LateBlocks
from harness.errors import MeasurementError
from harness.exits import Exit
from harness.protocol import Protocol
from harness.statistics import Array

SCHEMA = 1
"""Version of the columns, in the file's metadata as ``assay.schema``; the protocol is there as JSON, ``assay.protocol``."""


class TokenTable:
    """The rows of a run, and the file that is replaced as they come."""

    def __init__(self, file: Path, protocol: Protocol) -> None:
        self.file, self._protocol = file, protocol
        self._parts: dict[tuple[str, str, str], Any] = {}

    def keep(self, model: str, corpus: str, rung: str, head: Exit, late: LateBlocks | None) -> str:
        """Take the tokens of a model on a corpus and rung in, in the place of any before, and write all so far; returns the file's name.

        Raises MeasurementError where findings are of other windows than one another, or the file cannot be written: the old one stands.
        """
        if late is not None and late.arrays["together"].shape != head.arrays["counted"].shape:
            raise MeasurementError(f"--tokens: exits and late blocks of {model} on {corpus} were scored on other windows than one another")
        names = {"model": model, "corpus": corpus, "rung": rung}
        self._parts[model, corpus, rung] = self._part(names, _arrays(head, late, self._protocol.easy.late))
        try:
            atomic.write(self.file, self._encoded())
        except OSError as error:
            raise MeasurementError(f"--tokens: {printable(self.file)}: cannot be written ({error.strerror})") from None
        return printable(self.file)

    def _part(self, names: dict[str, str], arrays: dict[str, Any]) -> Any:
        """Return the table of one model, corpus and rung. What is not a number is no finding, and so null."""
        import pyarrow

        about = {"assay.schema": str(SCHEMA), "assay.protocol": json.dumps(self._protocol.as_dict())}
        kinds = columns(self._protocol.easy.late)
        schema = pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in kinds.items()], about)
        rows = len(arrays["window"])
        values = {**{name: [value] * rows for name, value in names.items()}, **arrays}
        return pyarrow.table([pyarrow.array(values[f.name], f.type, from_pandas=True) for f in schema], schema=schema)

    def _encoded(self) -> bytes:
        import pyarrow
        import pyarrow.parquet

        data = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.concat_tables(self._parts.values()), data, write_page_checksum=True)
        return data.getvalue()


def columns(late: int) -> dict[str, str]:
    """Return the columns of a table with so many late blocks, name → type as pyarrow calls it; probabilities, and KL in nats."""
    return {
        **dict.fromkeys(("model", "corpus", "rung"), "string"),
        **dict.fromkeys(("window", "position"), "int32"),
        **dict.fromkeys(("text", "next", "said"), "string"),
        "counted": "bool_",
        "full_confidence": "float64",
        "exit": "int32",
        "agreed": "bool_",
        "confidence": "float64",
        **{f"kl_late_{i + 1}": "float64" for i in range(late)},
        "kl_together": "float64",
        "late_blocks": "string",
    }


def _arrays(head: Exit, late: LateBlocks | None, most: int) -> dict[str, Any]:
    """Return the columns of one part, but for its names: arrays or lists of W·P values, window by window."""
    found = head.arrays
    windows, positions = found["counted"].shape
    pieces, said = head.texts("pieces"), head.texts("said")
    window, position = np.indices((windows, positions))
    nothing = np.full((windows, positions), np.nan)
    kl = [] if late is None else list(late.arrays["kl"])
    return {
        "window": window.ravel(),
        "position": position.ravel(),
        "text": [_encodable(text) for texts in pieces for text in texts[:-1]],
        "next": [_encodable(text) for texts in pieces for text in texts[1:]],
        "said": [_encodable(text) for texts in said for text in texts],
        "counted": _marks(found["counted"]),
        "full_confidence": found["full_confidence"].ravel(),
        "exit": np.full(windows * positions, int(found["at"][0])),
        "agreed": _marks(found["agreed"][0]),
        "confidence": found["confidence"][0].ravel(),
        **{f"kl_late_{i + 1}": (kl[i] if i < len(kl) else nothing).ravel() for i in range(most)},
        "kl_together": (nothing if late is None else late.arrays["together"]).ravel(),
        "late_blocks": [None if late is None else ",".join(str(int(b)) for b in late.arrays["blocks"])] * (windows * positions),
    }


def _marks(values: Array) -> list[bool | None]:
    """Return marks of 0 and 1 as truth values, None where there is none."""
    return [None if np.isnan(value) else bool(value) for value in values.ravel()]


def _encodable(text: str) -> str:
    """Put U+FFFD for half a surrogate pair, which UTF-8 cannot hold; a tokenizer's bytes need not be whole characters."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
