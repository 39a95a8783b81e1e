"""A run that follows one which ran out of memory starts with the windows that fitted there, and figures stay what they were."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fixtures.described import model_at
from fixtures.text_files import corpus_at
from harness import measurement as m
from harness.anatomy import Anatomy
from harness.bench import Bench
from harness.errors import MemoryShortageError
from harness.store import Store
from harness.subject import Placement
from tests import families
from tests.family_laboratory import PROTOCOL, texts_of
from tests.test_batches import ABSOLUTE, RELATIVE


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A small model and its text on disk."""
    folder = tmp_path_factory.mktemp("short")
    model = families.model_of(families.config_of("llama", 4, 16, 2, 64))
    return model_at(str(families.save(folder / "model", "llama", model))), corpus_at(str(texts_of(folder, "llama", model)[0]))


def run(planted, store, monkeypatch, most, measurement=m.RANK):
    """Measure where block 2 has room for so many windows; the laboratory, the arrays, lines said, and what ran: block, windows."""
    said, ran, real = [], [], Anatomy.run

    def short(self, block, hidden, call):
        ran.append((block, len(hidden)))
        if len(hidden) > most and block == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(self, block, hidden, call)

    bench = Bench(Placement("cpu"), PROTOCOL, store, lambda name: lambda done, total: None, said.append)
    lab = bench.laboratory(*planted)
    bench.load(planted[0])
    with monkeypatch.context() as patch:
        patch.setattr(Anatomy, "run", short)
        try:
            lab._once(measurement)
        except MemoryShortageError as error:
            said.append(str(error))
    return lab, store.get(lab.key(measurement), lambda record: dict(record.arrays)), said, ran


def most(ran):
    """The most windows that ran together."""
    return max(windows for _, windows in ran)


def test_a_run_after_memory_ran_out_starts_with_what_fitted(planted, tmp_path, monkeypatch):
    """Two windows in the run that is short, two from the start in the next one, which says nothing; the figures are those of eight."""
    plenty, short = Store(tmp_path / "plenty"), Store(tmp_path / "short")
    lab, whole, said, ran = run(planted, plenty, monkeypatch, 8)
    assert (said, most(ran)) == ([], 8)
    _, found, said, ran = run(planted, short, monkeypatch, 3)
    assert said == [f"out of memory with {n} windows at a time: going on with {n // 2}" for n in (8, 4)]
    assert most(ran) == 8
    short.drop(lab.key(m.RANK))
    _, again, said, ran = run(planted, short, monkeypatch, 3)
    assert (said, most(ran)) == ([], 2)
    for name, array in whole.items():
        for other in (found, again):
            np.testing.assert_allclose(other[name], array, rtol=RELATIVE, atol=ABSOLUTE, err_msg=name)


def test_a_run_that_has_no_room_for_one_window_says_so_and_keeps_its_place(planted, tmp_path, monkeypatch):
    """The text names what to do; a run with more room goes on where that one had got to, and not at the first block."""
    store = Store(tmp_path)
    _, found, said, ran = run(planted, store, monkeypatch, 0)
    assert found is None
    assert said[-1].startswith("out of memory with one window at a time (CUDA out of memory); give --dtype bfloat16")
    assert {block for block, _ in ran} == {0, 1, 2}
    _, found, said, ran = run(planted, store, monkeypatch, 8)
    assert found is not None
    assert (said, most(ran)) == ([], 1)
    assert min(ran)[0] > 0
