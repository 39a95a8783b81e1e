"""Memory of large tensors is kept between uses."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

TENSORS = """
import resource, sys, threading
if "kept" in sys.argv:
    import harness
import torch

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def twice():
    global found
    rounds = []
    for _ in range(60):
        before = faults()
        torch.ones(20 << 20).mul(2)  # Two of 80 MB, freed at once: more than a thread's own heap would hold.
        rounds.append(faults() - before)
    found = sorted(rounds[-20:])[10]

if "thread" in sys.argv:
    thread = threading.Thread(target=twice)
    thread.start()
    thread.join()
else:
    twice()
print(found)
"""
PAGES = 2 * (80 << 20) // 4096


def faults(*given: str) -> int:
    """Page faults of two tensors of 80 MB after others of their size, in a process of their own.

    Pages are small, for one huge page is one fault; and of 20 rounds it is the median: a heap begins with a few dozen rounds in which small
    blocks that glibc caches lie between freed tensors, so that now and then none of the gaps is large enough.
    """
    environment = {**os.environ, "THP_MEM_ALLOC_ENABLE": "0"}
    command, root = [sys.executable, "-c", TENSORS, *given], Path(__file__).parent.parent
    return int(subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, env=environment).stdout)


ALWAYS = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
@pytest.mark.skipif(ALWAYS.exists() and "[always]" in ALWAYS.read_text(), reason="pages are huge without being asked for")
def test_a_large_tensor_takes_the_pages_of_the_one_before():
    """Next to none is asked of the system again; without the package imported all of them are."""
    if not ctypes.CDLL(None).mallopt(-3, 256 << 20):
        pytest.skip("this glibc keeps no block of 256 MB")
    for where in ([], ["thread"]):
        assert faults("kept", *where) < PAGES // 200
        assert faults(*where) > PAGES // 2
