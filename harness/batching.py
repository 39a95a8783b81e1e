"""How many windows run together: found for a device and a model, halved where memory runs out, and remembered.

What is redone when memory runs out. In the run of a block, or whatever else is handed to :meth:`Batching.each`: that batch alone, with half
the windows, before anyone has seen anything of it. In a visitor of a sweep, which may have added half of a batch: the measurement, from
its bookmark or its start, with visitors made anew (:func:`completed`). Elsewhere (a solve, training): nothing; it is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from fixtures.naming import printable
from harness.device_memory import MOST, free_bytes, out_of_memory, release, window_bytes, windows_that_fit
from harness.errors import MemoryShortageError, TooManyTogetherError
from harness.store import Record, Store

BATCH = 8
"""Windows run together where nothing else was found. 2,048 tokens keep a CPU's matrix products efficient."""
ADVICE = "give --dtype bfloat16, --device-map auto, or another --device"

T = TypeVar("T")


class Remembered(Protocol):
    """Where the numbers of windows are kept between runs, by kind of work."""

    def get(self, work: str) -> int | None:
        """Return what is kept, or None."""

    def put(self, work: str, windows: int) -> None:
        """Keep it."""


class KeptInStore:
    """Keeps numbers of windows in the store; ``about``: weights, dtype, device and tokens a window."""

    def __init__(self, store: Store, about: dict[str, Any]) -> None:
        self._store, self._about = store, about

    def _key(self, work: str) -> dict[str, Any]:
        return {"measurement": "windows run together", "version": 1, **self._about, "work": work}

    def get(self, work: str) -> int | None:
        """Return what is kept, or None."""

        def decode(record: Record) -> int:
            windows = record.notes["windows"]
            if type(windows) is not int or not 1 <= windows <= MOST:
                raise ValueError(f"{windows!r} windows run together")
            return windows

        return self._store.get(self._key(work), decode)

    def put(self, work: str, windows: int) -> None:
        """Keep it in the place of what was there."""
        self._store.put(self._key(work), Record(notes={"windows": windows}))


class Batching:
    """Says how many windows run together, by kind of work, and runs them so.

    ``estimate``: how many to begin with where nothing is remembered; :data:`BATCH` when None. ``say`` is told once of every halving.
    """

    def __init__(
        self,
        estimate: Callable[[], int] | None = None,
        remembered: Remembered | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._estimate, self._remembered, self._say = estimate, remembered, say
        self._sizes: dict[str, int] = {}
        self._told: set[str] = set()
        self._asked: set[str] = set()

    def windows(self, work: str) -> int:
        """Return how many windows to run together."""
        if work in self._sizes:
            return self._sizes[work]
        found = None
        if self._remembered and work not in self._asked:  # Once, and not for every batch.
            self._asked.add(work)
            found = self._remembered.get(work)
        if found is None and self._estimate is None:
            return BATCH
        if found is None:
            assert self._estimate is not None
            found = self._estimate()
            # What is free differs from run to run: a sweep that is taken up goes on with the same.
            self._keep(work, found)
        self._sizes[work] = found
        return found

    def each(self, work: str, count: int, run: Callable[[slice], T]) -> Iterator[tuple[slice, T]]:
        """Yield what ``run`` makes of rows 0 … count − 1, in order, as many at a time as memory holds.

        ``run`` is called again with fewer rows where memory ran out, and leaves nothing behind when it raises. Raises MemoryShortageError
        when one row is too much.
        """
        start = 0
        while start < count:
            rows, why = slice(start, min(start + self.windows(work), count)), ""
            try:
                done = run(rows)
            except Exception as error:
                if not out_of_memory(error):
                    raise
                why = described(error)
            if why:  # Outside of the handler, where the frames that held what did not fit are gone.
                self.halve(work, rows.stop - rows.start, why)
                continue
            yield rows, done
            del done
            start = rows.stop

    def halve(self, work: str, tried: int, why: str) -> None:
        """Go on with half of the windows that were tried. Raises MemoryShortageError when it was one."""
        release()
        if tried <= 1:
            raise MemoryShortageError(f"out of memory with one window at a time ({why}); {ADVICE}")
        self._sizes[work] = tried // 2
        self._keep(work, tried // 2)
        line = f"out of memory with {tried} windows at a time: going on with {tried // 2}"
        if line not in self._told:
            self._told.add(line)
            self._say(line)

    def _keep(self, work: str, windows: int) -> None:
        if self._remembered:
            self._remembered.put(work, windows)


def estimate(model: nn.Module, blocks: Sequence[nn.Module], device: torch.device, width: int, tokens: int) -> Callable[[], int] | None:
    """Return what estimates how many windows of so many tokens to begin with, from free memory; None where that is not known."""
    if free_bytes(device) is None:
        return None
    config: Any = model.config.get_text_config()  # type: ignore[union-attr, operator]
    heads = int(getattr(config, "num_attention_heads", 0) or 0)
    each = max(window_bytes(block, width, heads, tokens) for block in blocks)

    def fit() -> int:
        free = free_bytes(device)
        return BATCH if free is None else windows_that_fit(free, each)

    return fit


def completed(measure: Callable[[], T]) -> T:
    """Return what ``measure`` does, called anew as often as fewer windows are to run together.

    Raises MemoryShortageError where memory runs out in anything that fewer windows do not help.
    """
    while True:
        try:
            return measure()
        except TooManyTogetherError:
            continue
        except Exception as error:
            if not out_of_memory(error):
                raise
            why = described(error)
        release()
        raise MemoryShortageError(f"out of memory ({why}); {ADVICE}")


def described(error: BaseException) -> str:
    """Return the first sentence of what an error says of memory."""
    said = next(iter(str(error).strip().splitlines()), "").split(". ")[0].rstrip(".")
    return printable(said) or type(error).__name__
