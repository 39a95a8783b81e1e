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

    ``size``: how long an item takes beside others. The longest are begun first, so that no core waits for one that was begun last.
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
            if size is None:
                return list(pool.map(guarded, items))
            given = list(items)
            order = sorted(range(len(given)), key=lambda i: -size(given[i]))
            begun = dict(zip(order, pool.map(guarded, [given[i] for i in order]), strict=True))
            return [begun[i] for i in range(len(given))]
    finally:
        torch.set_num_threads(threads)
