"""Solves that run side by side: the results are in order, and the longest is begun first."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from harness.concurrency import in_parallel


@pytest.fixture
def two_threads():
    """Two threads for torch, whatever the test process has."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_are_in_the_order_of_the_items(two_threads):
    """Whatever is begun first; and torch has its threads back."""
    given = [3, 1, 2, 5, 4]
    for size in (None, float, lambda item: -item):
        assert in_parallel(lambda item: item * 10, iter(given), torch.device("cpu"), size) == [30, 10, 20, 50, 40]
    assert in_parallel(lambda item: item, [], torch.device("cpu"), float) == []
    assert torch.get_num_threads() == 2


def test_the_longest_are_begun_first(two_threads):
    """Two threads take what is begun first: the two longest, though they are last of the items."""
    together, begun = threading.Barrier(2, timeout=30), []

    def work(item):
        begun.append(item)
        if item > 5:
            together.wait()  # Neither is done before both are begun.
        return item

    assert in_parallel(work, [1, 2, 3, 8, 9], torch.device("cpu"), float) == [1, 2, 3, 8, 9]
    assert sorted(begun[:2]) == [8, 9]


@pytest.mark.parametrize("size", [None, float, lambda item: -item])
def test_the_error_of_the_first_item_is_the_callers(two_threads, size):
    """Whatever was begun first, as it would be one after another; what had not begun never does, and torch has its threads back."""
    begun = []

    def work(item):
        begun.append(item)
        if item in (2, 9):
            raise ZeroDivisionError(item)
        time.sleep(0.05)

    with pytest.raises(ZeroDivisionError, match="2"):
        in_parallel(work, [1, 2, *[3] * 50, 9], torch.device("cpu"), size)
    assert torch.get_num_threads() == 2
    assert size is not None or len(begun) < 50
