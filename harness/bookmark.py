"""Where an unfinished sweep is kept in the store, so that the same command goes on where it was interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from harness.errors import MeasurementError, MemoryShortageError
from harness.store import Key, Record, Store

_SHARE = 0.05  # of the sweep's time that may go into saving
_State = dict[str, np.ndarray[Any, Any]]


def unfinished(key: Key) -> Key:
    """Return the key under which a measurement's unfinished sweep is kept."""
    return {**key, "unfinished": True}


class StoreBookmark:
    """Keeps the state before a block under the key of the measurement, marked as unfinished.

    Saving costs a copy of the stream, so it is done as often as it takes at most a twentieth of the time.
    """

    def __init__(self, store: Store, key: Key) -> None:
        self._store, self._key = store, key
        self._last, self._cost = time.monotonic(), 0.0

    def load(self, take_up: Callable[[int, _State], None]) -> int:
        """Hand over the block to go on at and the state before it; return that block, or 0 when there is none.

        A state that ``take_up`` rejects is set aside like any entry that is not what it should be.
        """

        def decode(record: Record) -> int:
            block = record.notes["block"]
            if type(block) is not int:
                raise ValueError(f"block {block!r}")
            take_up(block, dict(record.arrays))
            return block

        return self._store.get(unfinished(self._key), decode) or 0

    def save(self, block: int, state: Callable[[], _State]) -> None:
        """Keep the state before ``block``, unless the last saving is too recent for its cost."""
        start = time.monotonic()
        if start - self._last < self._cost / _SHARE:
            return
        self._store.put(unfinished(self._key), Record(state(), {"block": block}))
        self._last = time.monotonic()
        self._cost = self._last - start

    @contextmanager
    def dropped_on_failure(self) -> Iterator[None]:
        """Forget it where measuring fails, but for want of memory: it would fail again."""
        try:
            yield
        except MeasurementError as error:
            if not isinstance(error, MemoryShortageError):
                self.drop()
            raise

    def drop(self) -> None:
        """Forget it: the sweep is finished."""
        self._store.drop(unfinished(self._key))
