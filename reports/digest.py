"""The digest that a JSON file carries over the rest of itself, by which a flipped bit or a lost line is seen when it is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

NAME = "sha256"


def digest(contents: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of a file's contents, but for the digest in them; hexadecimal."""
    rest = {name: value for name, value in contents.items() if name != NAME}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


def fits(contents: Mapping[str, Any]) -> bool:
    """Whether contents carry no digest, or that of their own."""
    if contents.get(NAME) is None:
        return True
    try:
        return bool(contents[NAME] == digest(contents))
    except (ValueError, RecursionError):  # Infinity, as 1e999 is read, or a nesting too deep to be written.
        return False
