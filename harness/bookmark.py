"""Where an unfinished sweep is kept in the store, so that the same command goes on where it was interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from harness.store import Key, Record, Store

_SHARE = 0.05  # of the sweep's time that may go into saving
_State = dict[str, np.ndarray[Any, Any]]


class StoreBookmark:
    """Keeps the state before a block under the key of the measurement, marked as unfinished.

    Saving costs a copy of the stream, so it is done as often as it takes at most a twentieth of the time.
    """

    def __init__(self, store: Store, key: Key) -> None:
        self._store, self._key = store, {**key, "unfinished": True}
        self._last, self._cost = time.monotonic(), 0.0

    def load(self) -> tuple[int, _State] | None:
        """Return the block to go on at and the state before it, or None."""
        return self._store.get(self._key, lambda record: (int(record.notes["block"]), dict(record.arrays)))

    def save(self, block: int, state: Callable[[], _State]) -> None:
        """Keep the state before ``block``, unless the last saving is too recent for its cost."""
        start = time.monotonic()
        if start - self._last < self._cost / _SHARE:
            return
        self._store.put(self._key, Record(state(), {"block": block}))
        self._last = time.monotonic()
        self._cost = self._last - start

    def drop(self) -> None:
        """Forget it: the sweep is finished."""
        self._store.drop(self._key)
