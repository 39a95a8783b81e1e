"""Running small, independent solves side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(function: Callable[[T], R], items: Iterable[T], device: torch.device, size: Callable[[T], float] | None = None) -> list[R]:
    """Map a function over items under inference mode; the results are in the items' order.

    On a CPU each core takes whole items with one thread inside torch: eigenvectors of matrices of d ≈ 600 gain far less
    from threads inside LAPACK than from running two at a time. On an accelerator the items run one after another.

    ``size``: how long an item takes beside others. The longest are begun first, so that no core waits for one that was begun last. The
    error of the first item, in their order, is the caller's.
    """

    def guarded(item: T) -> R:
        with torch.inference_mode():  # The mode belongs to a thread.
            return function(item)

    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        return [guarded(item) for item in items]
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            given = list(items)
            order = range(len(given)) if size is None else sorted(range(len(given)), key=lambda i: -size(given[i]))
            begun = {i: pool.submit(guarded, given[i]) for i in order}
            try:
                return [begun[i].result() for i in range(len(given))]
            finally:  # After an error what has not begun never does.
                for each in begun.values():
                    each.cancel()
    finally:
        torch.set_num_threads(threads)
