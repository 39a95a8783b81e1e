"""Kept streams are let go when nothing that is wanted starts from them any more, and nothing is swept twice for it."""

from __future__ import annotations

import gc
import weakref
from collections import Counter

import pytest

from fixtures.described import model_at
from fixtures.text_files import corpus_at
from harness import measurement as m
from harness import streams
from harness.bench import Bench
from harness.errors import MeasurementError
from harness.store import Store
from harness.subject import Placement
from tests import families
from tests.family_laboratory import PROTOCOL, texts_of

WANTED = (m.SPECTRA, m.on(m.LOGIT_CHANGE, "paper"), m.on(m.LAST_MLP, "paper"), m.on(m.LOGIT_CHANGE, "strict"), m.RANK)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A small model and its text on disk."""
    folder = tmp_path_factory.mktemp("dropped")
    model = families.model_of(families.config_of("llama", 4, 16, 2, 64))
    return model_at(str(families.save(folder / "model", "llama", model))), corpus_at(str(texts_of(folder, "llama", model)[0]))


@pytest.fixture
def kept(monkeypatch):
    """Every set of streams that is kept, by layout, as long as it lives."""
    made, real = [], streams.Keeping.kept

    def kept(keeping):
        found = real(keeping)
        made.append(weakref.ref(found))
        return found

    monkeypatch.setattr(streams.Keeping, "kept", kept)
    return made


def bench_of(planted, store=None, wanted=WANTED):
    """A bench that knows what is wanted of a model on a text."""
    model, corpus = planted
    names = {(model.name, corpus.name): wanted}
    return Bench(Placement("cpu"), PROTOCOL, store or Store(None), lambda name: lambda done, total: None, long=True, wanted=names)


def alive(kept):
    """Which sets of streams are still there."""
    gc.collect()
    return [found() is not None for found in kept]


def test_streams_live_until_the_last_measurement_that_starts_from_them(planted, kept):
    """Those of the paper's windows are gone after its last measurement, while others stay; each layout is swept once."""
    lab = bench_of(planted).laboratory(*planted)
    lived = []
    for measurement in WANTED:
        lab._once(measurement)
        lived.append(alive(kept))
    assert lived == [[True], [True], [False], [False, False], [False, False]]
    for measurement in WANTED:
        lab._once(measurement)
    assert len(kept) == 2


def test_in_another_order_they_live_as_long_as_they_are_needed(planted, kept):
    """A layout's own measurements count, and no other's."""
    lab = bench_of(planted).laboratory(*planted)
    lived = []
    for i in (1, 3, 2, 0):
        lab._once(WANTED[i])
        lived.append(alive(kept))
    assert lived == [[True], [True, False], [True, False], [False, False]]


def test_what_is_stored_needs_no_streams(planted, kept, tmp_path):
    """Nor does what failed, or what takes too long to be made here."""
    first = bench_of(planted, Store(tmp_path)).laboratory(*planted)
    first._once(WANTED[2])
    assert alive(kept) == [True]
    bench = bench_of(planted, Store(tmp_path), WANTED[:3])
    lab = bench.laboratory(*planted)
    lab._once(WANTED[1])
    assert alive(kept)[1:] == [False]  # The spectra came with the streams, the last MLP is in the store.
    bench = bench_of(planted, None, (WANTED[1], WANTED[2]))
    lab = bench.laboratory(*planted)
    lab._failed[WANTED[2].name] = MeasurementError("it failed")
    lab._once(WANTED[1])
    assert alive(kept)[2:] == [False]


def test_a_measurement_that_fails_lets_go_of_them_too(planted, kept, monkeypatch):
    """When it was the last."""
    lab = bench_of(planted, None, (WANTED[2],)).laboratory(*planted)
    monkeypatch.setattr("harness.last_mlp._writer", lambda *args: (_ for _ in ()).throw(MeasurementError("no MLP")))
    with pytest.raises(MeasurementError, match="no MLP"):
        lab._once(WANTED[2])
    assert alive(kept) == [False]


def test_where_it_is_not_known_what_is_wanted_they_stay(planted, kept):
    """As for whoever uses a laboratory by hand."""
    lab = bench_of(planted, None, ()).laboratory(*planted)
    for measurement in (WANTED[1], WANTED[2]):
        lab._once(measurement)
    assert alive(kept) == [True]


def test_all_claims_keep_streams_once_a_layout(planted, kept):
    """Every measurement of four blocks that the claims know: two sweeps keep streams, and both are let go in the end."""
    lab, swept = bench_of(planted, None, m.MEASUREMENTS).laboratory(*planted), Counter()
    left = [each for each in m.MEASUREMENTS if each in (*m.TRANSFER, *m.SHIFT) or each.long]  # Of several texts, or more blocks.
    for measurement in m.MEASUREMENTS:
        if measurement not in left:
            lab._once(measurement)
            swept[measurement.layout] += measurement.keeps
    assert len(kept) == 2
    assert min(swept.values()) > 1
    for measurement in left:
        lab._failed[measurement.name] = MeasurementError("left out")
    lab._bench.drop_streams(*planted, lab._start_from_streams)
    assert alive(kept) == [False, False]
