"""Challengers of direct quantisation that are entered from outside: one function, registered in one line. No torch.

::

    from harness.challengers import challenger

    @challenger("clipped")
    def clipped(layer):
        limit = 3 * layer.weight.std(dim=1, keepdim=True)
        return layer.quantised(layer.weight.clamp(-limit, limit))

The function takes a :class:`harness.methods.Given` and returns the matrix as it is after storage, ``(out, in) float64``, and the bits that
are stored; or None for a layer that it does not apply to. Layers are stored side by side, so draw from a generator of your own.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fixtures.errors import ModelError
from fixtures.extensions import run_file
from fixtures.naming import printable

OWN = ("direct", "dct", "svd", "random", "pca", "cca", "kmeans", "nf4", "symmetric", "rotation", "hadamard", "gptq", "gptq_factors")
"""Names of the methods that are always measured."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")

Make = Callable[[Any], Any]


@dataclass(frozen=True)
class Entry:
    """A challenger: its name, how tables name it, its function and the SHA-256 of the text that this is written in."""

    name: str
    label: str
    make: Make
    source: str


ENTERED: dict[str, Entry] = {}


def challenger(name: str, label: str = "") -> Callable[[Make], Make]:
    """Enter a function against direct quantisation, under a name of lower-case letters, digits, ``-`` and ``_``.

    It is measured on ``strict``, on every layer, against direct quantisation of as many bits (16 levels at least), and shown beside
    the others. Raises ValueError for a name that is taken or is none.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"challenger {printable(name)!r}: expected lower-case letters, digits, '-' and '_', 40 at most")
    if name in {*OWN, *ENTERED}:
        raise ValueError(f"challenger '{name}': there is a method of this name; give it another")

    def register(make: Make) -> Make:
        ENTERED[name] = Entry(name, printable(label or name), make, _fingerprint(make))
        return make

    return register


def register_from_file(given: str) -> None:
    """Run a Python file that enters challengers (``--challengers``). Raises ModelError when it fails or enters none."""
    before = len(ENTERED)

    def check() -> None:
        if len(ENTERED) == before:
            raise ModelError("it enters no challenger; expected a function under @challenger(name)")

    run_file("--challengers", given, check, "Python with a function under @challenger(name)")


def entered() -> dict[str, str]:
    """Return name → fingerprint of everything that was entered, for the keys of stored figures."""
    return {entry.name: entry.source for entry in ENTERED.values()}


def _fingerprint(make: Make) -> str:
    """SHA-256 of the files that the function may depend on.

    Of the one that it stands in, and of whatever was imported from the same folder or below; a fingerprint that changes too often costs a
    measurement, one that changes too seldom a wrong figure. Of no file but ours: what a decorator wraps is looked through.
    """
    function = inspect.unwrap(make)
    if not inspect.isfunction(function):
        function = getattr(function, "func", None) or type(function)  # A partial, or an instance that can be called.
    try:
        file = Path(inspect.getfile(function)).resolve()
        named = {Path(f) for module in list(sys.modules.values()) if (f := getattr(module, "__file__", None))}
        beside = [
            f.resolve() for f in named if f.is_absolute() and f.suffix == ".py" and f.is_file() and file.parent in f.resolve().parents
        ]
        texts = [file.read_bytes(), *(other.read_bytes() for other in sorted(beside))]
    except (TypeError, OSError) as error:
        raise ValueError(f"no file is found that challenger {printable(make)} stands in: {printable(error)}") from None
    return hashlib.sha256(b"\0".join(texts)).hexdigest()
