"""What exit heads say is read back as it was kept, or refused; its figures are means over positions that count."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.exits import Exit, Heads, agreement, difference, share
from harness.labels import encode_names

SIZES = {"H": 2, "W": 3, "P": 4, "R": 3, "C": 5, "E": 3, "B": 8, "bytes of pieces": 7, "bytes of said": 9}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


def made(kind, **changes):
    """Arrays of one kind, of the sizes above, but for some."""
    draw = np.random.default_rng(0)
    arrays = {
        name: draw.random(tuple(size if isinstance(size, int) else SIZES[size] for size in shape)) for name, shape in kind.SHAPES.items()
    }
    return {**arrays, **changes}


def as_bytes(texts):
    """Texts as a measurement keeps them."""
    return encode_names([json.dumps(texts)])


@pytest.mark.parametrize("kind", [Heads, Exit])
def test_arrays_of_the_right_shapes_are_read_back(kind):
    """As they are, whatever sizes are given from outside."""
    arrays = made(kind)
    found = kind.of(arrays, {"W": 3, "B": 8, "G": 4, "d": 16})
    assert found.arrays.keys() == kind.SHAPES.keys()
    assert all((found.arrays[name] == array).all() for name, array in arrays.items())


@pytest.mark.parametrize("name", Exit.SHAPES)
def test_a_shape_that_does_not_fit_is_refused(name):
    """One dimension more; one entry more where something else has that dimension; another type; the array missing."""
    array = made(Exit)[name]
    for wrong in (array[None], array.astype(np.float32)):
        with pytest.raises(ValueError, match=f"'{name}'"):
            Exit.of(made(Exit, **{name: wrong}), {"W": 3, "B": 8})
    alone = ("pieces", "said")
    if array.ndim and name not in alone:
        with pytest.raises(ValueError, match="does not fit"):
            Exit.of(made(Exit, **{name: np.concatenate([array, array[:1]])}), {"W": 3, "B": 8})
    with pytest.raises(ValueError, match="expected arrays"):
        Exit.of({key: value for key, value in made(Exit).items() if key != name}, {"W": 3, "B": 8})


def test_sizes_from_outside_are_heeded():
    """Another number of windows or of blocks than was asked for."""
    for sizes in ({"W": 4, "B": 8}, {"W": 3, "B": 7}):
        with pytest.raises(ValueError, match="does not fit"):
            Exit.of(made(Exit), sizes)


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT, min_size=3 * 5, max_size=3 * 5), st.lists(TEXT, min_size=3 * 4, max_size=3 * 4))
def test_texts_come_back_by_window(pieces, said):
    """Whatever a token's text holds: newlines, quotes, nothing, any script; five tokens a window, and four positions."""
    found = Exit.of(made(Exit, pieces=as_bytes(pieces), said=as_bytes(said)), {"W": 3})
    assert found.texts("pieces") == [pieces[:5], pieces[5:10], pieces[10:]]
    assert found.texts("said") == [said[:4], said[4:8], said[8:]]


def test_texts_that_look_like_their_own_encoding_come_back():
    """Newlines, escapes, quotes, empty strings, and text that is not ASCII."""
    texts = ["\n", "", "\\n", '"', "é", "日本", "\u2028", "🙂", "\r\n\x00", "[", "]", ","]
    found = Exit.of(made(Exit, said=as_bytes(texts)), {"W": 3})
    assert found.texts("said") == [texts[:4], texts[4:8], texts[8:]]


TABLES = st.tuples(st.integers(1, 5), st.integers(1, 6)).flatmap(
    lambda shape: arrays(np.float64, (3, *shape), elements=st.sampled_from([0.0, 1.0]))
)


def without(w, *tables):
    """Tables without one window."""
    return [np.delete(table, w, axis=0) for table in tables]


@settings(max_examples=80, deadline=None)
@given(TABLES)
def test_agreement_is_the_share_of_what_counts_and_each_replicate_that_of_the_other_windows(tables):
    """Positions weigh alike, not windows; NaN where none is left."""
    marks, _, counted = tables
    found = agreement(marks, counted)
    some = marks[counted > 0]
    assert found.value == pytest.approx(some.mean() if len(some) else np.nan, nan_ok=True)
    assert found.value == pytest.approx(share(marks, counted), nan_ok=True)
    assert found.score == pytest.approx([share(*without(w, marks, counted)) for w in range(len(marks))], nan_ok=True)
    assert found.fit is None
    assert found.origin is None


@settings(max_examples=80, deadline=None)
@given(TABLES)
def test_a_difference_is_that_of_two_agreements_replicate_by_replicate(tables):
    """So that what moves both moves it not at all; turned over, it changes its sign."""
    first, second, counted = tables
    found, one, two = difference(first, second, counted), agreement(first, counted), agreement(second, counted)
    assert found.value == pytest.approx(one.value - two.value, nan_ok=True)
    assert found.score == pytest.approx(one.score - two.score, nan_ok=True)
    turned = difference(second, first, counted)
    assert turned.value == pytest.approx(-found.value, nan_ok=True)
    assert turned.score == pytest.approx(-found.score, nan_ok=True)


def test_pairing_narrows_the_interval_of_heads_that_agree_on_the_same_windows():
    """Windows differ far more than heads do: the paired interval is a small part of each head's own, and holds the truth."""
    draw = np.random.default_rng(0)
    level, counted = draw.uniform(0.1, 0.8, (40, 1)), np.ones((40, 400))
    chance = draw.random((40, 400))
    first, second = (chance < level + 0.1).astype(float), (chance < level).astype(float)
    own, paired = agreement(first, counted).interval(0.99), difference(first, second, counted).interval(0.99)
    assert paired.high - paired.low < (own.high - own.low) / 3
    assert paired.low < 0.1 < paired.high


def test_a_figure_takes_along_what_half_the_windows_gave():
    """Of a head trained on half; None where there is none."""
    marks, counted = np.eye(3), np.ones((3, 3))
    assert agreement(marks, counted, 0.25).half == 0.25
    assert difference(marks, 1 - marks, counted, -0.5).half == -0.5
    assert agreement(marks, counted).half is None
    assert difference(marks, marks, counted).half is None


def test_positions_that_do_not_count_may_be_no_numbers():
    """They take no part; nor does a window that has none that counts."""
    marks = np.array([[1.0, np.nan], [0.0, 1.0], [np.nan, np.nan]])
    found = agreement(marks, np.array([[1.0, 0], [1, 1], [0, 0]]))
    assert found.value == pytest.approx(2 / 3)
    assert found.score.tolist() == [0.5, 1, pytest.approx(2 / 3)]
