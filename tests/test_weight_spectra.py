"""Concentration is large where it was planted and none in noise, and equals sums over all pairs and sorted coefficients."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import weight_spectra
from harness.concentration import MEASURES, Concentration, assembled
from harness.labels import decode_names, encode_names
from harness.statistics import gini
from harness.weight_spectra import concentration_of
from tests.test_moments import rows


def smooth(m, n, seed):
    """A matrix of few waves, with little noise, of mean zero."""
    i, j = torch.linspace(0, 3, m, dtype=torch.float64)[:, None], torch.linspace(0, 2, n, dtype=torch.float64)
    waves = torch.sin(i + j) + i * j
    return waves - waves.mean() + 0.01 * rows(m, n, seed)


def result(matrices, shuffles=4, head=False):
    """Concentration of matrices, two to a block, and of embeddings that are as the first of them."""
    found = [concentration_of(matrix, shuffles, (0, i)) for i, matrix in enumerate(matrices)]
    layers = [(f"blocks.{i // 2}.w{i % 2}", i // 2, each) for i, each in enumerate(found)]
    embeddings = [("embed", found[0])] + ([("head", found[1])] if head else [])
    return Concentration.of(assembled(layers, embeddings), {})


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1e-20, 1.0, 1e8]), st.integers(0, 10**6))
def test_both_measures_equal_sums_over_pairs_and_sorted_coefficients(m, n, scale, seed):
    """Σ|v_i − v_j|/(2n²v̄) of the squares and the share of the largest quarter, in float64, whatever the unit, layout and type."""
    weight = rows(m, n, seed).double() * scale
    squares = scipy.fft.dctn(weight.numpy() / scale, norm="ortho").ravel() ** 2
    found = concentration_of(weight, 1, seed)
    truth = np.abs(squares[:, None] - squares).sum() / (2 * len(squares) ** 2 * squares.mean())
    assert found["gini"] == pytest.approx(truth, abs=1e-5)
    assert found["gini"] == pytest.approx(gini(squares), abs=1e-5)
    assert found["energy"] == pytest.approx(np.sort(squares)[::-1][: int(np.ceil(m * n / 4))].sum() / squares.sum(), abs=1e-5)
    assert concentration_of(weight.T.contiguous().T, 1, seed) == found


def test_chunks_add_up(monkeypatch):
    """Coefficients that are summed in many chunks, the last one short and the largest quarter across their edges, give the same."""
    weight = rows(37, 29, 0)
    whole = concentration_of(weight, 2, 0)
    monkeypatch.setattr(weight_spectra, "_CHUNK", 100)
    for name, found in concentration_of(weight, 2, 0).items():
        np.testing.assert_allclose(found, whole[name], rtol=1e-12)


def test_float32_is_enough_beside_a_massive_entry():
    """Gini and energy agree with those of float64 coefficients to 1e-5, where one entry is 10⁵ times the others too."""
    for massive in (0.0, 1e5):
        weight = rows(300, 200, 1).double()
        weight[17, 5] += massive
        squares = np.sort(scipy.fft.dctn(weight.numpy(), norm="ortho").ravel() ** 2)
        found = concentration_of(weight, 0, 0)
        assert found["gini"] == pytest.approx(gini(squares), abs=1e-5)
        assert found["energy"] == pytest.approx(squares[-15_000:].sum() / squares.sum(), abs=1e-5)


def test_noise_is_as_concentrated_as_squares_of_normal_numbers_are():
    """Gaussian entries: Gini 2/π of χ²₁, the share of its largest quarter, the same shuffled, and an excess of zero within its chance."""
    found = concentration_of(rows(400, 400, 2), 4, 0)
    quarter = scipy.stats.chi2.ppf(0.75, 1)
    share = scipy.stats.chi2.sf(quarter, 3)  # ∫_q^∞ x f₁(x) dx is the upper tail with two more degrees of freedom.
    for name, truth in (("gini", 2 / np.pi), ("energy", share)):
        np.testing.assert_allclose([found[name], *found[f"{name}_shuffled"]], truth, atol=0.005)
    noise = result([rows(60, 50, seed) for seed in range(24)])
    assert noise.excess.value == pytest.approx(0, abs=0.003)


def test_planted_smoothness_is_concentration_and_shuffling_ends_it():
    """Few waves hold nearly everything; the same entries shuffled are as noise; mixed with noise, an excess between."""
    waves = result([smooth(48, 40, seed) for seed in range(4)])
    mixed = result([smooth(48, 40, seed) + 3 * rows(48, 40, 90 + seed) for seed in range(4)])
    assert (waves.arrays["gini"] > 0.99).all()
    assert (waves.arrays["energy"] > 0.99).all()
    np.testing.assert_allclose(waves.arrays["gini_shuffled"], 2 / np.pi, atol=0.03)
    for excess in (waves.excess, waves.embedding_excess):
        assert excess.interval(0.95).low > 0.3
    assert mixed.excess.interval(0.95).low > 0.01
    assert mixed.excess.value < waves.excess.value


def test_the_mean_of_the_entries_survives_shuffling():
    """A matrix that is concentrated by its mean alone has no excess: its shuffles have the same mean, in the same coefficient."""
    found = result([rows(40, 30, seed) + 5 for seed in range(8)])
    assert (found.arrays["gini"] > 0.9).all()
    assert found.excess.value == pytest.approx(0, abs=0.001)


def test_shuffled_entries_are_the_same_entries(monkeypatch):
    """Every transform sees each entry once; permutations differ, follow from the seed, and begin alike however many there are."""
    weight, seen = rows(12, 9, 3), []
    transform = weight_spectra.dct2
    monkeypatch.setattr(weight_spectra, "dct2", lambda w: (seen.append(w.clone()), transform(w))[1])
    found = concentration_of(weight, 3, (5, 1))
    for matrix in seen:
        assert matrix.shape == weight.shape
        assert torch.equal(matrix.flatten().sort().values, weight.flatten().sort().values)
    assert torch.equal(seen[0], weight)
    assert torch.equal(weight, rows(12, 9, 3))
    assert len({tuple(matrix.flatten().tolist()) for matrix in seen}) == 4
    assert concentration_of(weight, 2, (5, 1))["gini_shuffled"].tolist() == found["gini_shuffled"][:2].tolist()
    assert concentration_of(weight, 3, (5, 2))["gini_shuffled"].tolist() != found["gini_shuffled"].tolist()


def test_shuffles_are_uniform():
    """Over many seeds each entry of a column stands in each place equally often: χ² of the table is within its 0.999 quantile."""
    places, transform = np.zeros((6, 6)), weight_spectra.dct2
    weight = torch.arange(6.0)[:, None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weight_spectra, "dct2", lambda w: (places.__iadd__(np.eye(6)[w[:, 0].long()]), transform(w))[1])
        for seed in range(400):
            concentration_of(weight, 3, seed)
    places -= 400 * np.eye(6)  # The matrix itself, unshuffled.
    assert places.sum() == 400 * 3 * 6
    assert ((places - 200) ** 2 / 200).sum() < scipy.stats.chi2.ppf(0.999, 25)


def test_a_matrix_of_zeros_is_concentrated_nowhere():
    """NaN, not a number that could be judged."""
    assert all(np.isnan(found).all() for found in concentration_of(torch.zeros(4, 4), 2, 0).values())


def test_parameters_in_half_precision_are_measured_as_they_are():
    """Bfloat16 parameters give what the same numbers give in float32."""
    weight = rows(16, 12, 4).bfloat16()
    assert concentration_of(torch.nn.Parameter(weight), 2, 0)["gini"] == concentration_of(weight.float(), 2, 0)["gini"]


def test_the_excess_and_its_interval_are_those_of_the_shuffles():
    """Mean of Gini less mean over shuffles; replicates leave one shuffle out; Student's interval of the mean over matrices."""
    found = result([smooth(20, 16, 0), rows(20, 16, 1), rows(16, 20, 2)], head=True)
    a = found.arrays
    for excess, kind in ((found.excess, ""), (found.embedding_excess, "embedding_")):
        draws = a[f"{kind}gini"].mean() - a[f"{kind}gini_shuffled"].mean(0)
        low, high = scipy.stats.t.interval(0.95, 3, loc=draws.mean(), scale=scipy.stats.sem(draws))
        interval = excess.interval(0.95)
        assert (interval.value, interval.low, interval.high) == (pytest.approx(draws.mean()), pytest.approx(low), pytest.approx(high))
    assert (found.excess.fit, found.excess.score, len(a["embedding_gini"])) == (None, None, 2)


def test_arrays_are_assembled_by_matrix():
    """Rows follow the layers given, with their blocks and names; embeddings apart; unequal numbers of shuffles are refused."""
    one, two = ({name: np.full([2] * len(shape), float(i)) for name, shape in MEASURES.items()} for i in (1, 2))
    found = Concentration.of(assembled([("a", 0, one), ("é", 3, two)], [("embed", two)]), {})
    assert found.arrays["block"].tolist() == [0, 3]
    assert found.names == (["a", "é"], ["embed"])
    for name in MEASURES:
        assert found.arrays[name].reshape(2, -1)[:, 0].tolist() == [1, 2]
        assert np.unique(found.arrays[f"embedding_{name}"]).tolist() == [2]
    shorter = {**two, "gini_shuffled": np.zeros(1)}
    with pytest.raises(ValueError, match="shape"):
        assembled([("a", 0, one), ("b", 0, shorter)], [("embed", two)])


@given(st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1)))
def test_names_come_back(names):
    """As they were, among float64 arrays."""
    kept = encode_names(names)
    assert kept.dtype == np.float64
    assert decode_names(kept) == names


@pytest.mark.parametrize("array", [[97.5], [-1.0], [256.0], [np.nan], [np.inf], [255.0]])
def test_what_is_no_name_is_refused(array):
    """Empty names and those with a newline could not be told apart again; numbers that are no bytes, or no UTF-8, are no names."""
    for name in ("", "a\nb"):
        with pytest.raises(ValueError, match="is no name"):
            encode_names(["a", name])
    with pytest.raises(ValueError, match=r"bytes|decode"):
        decode_names(np.array(array))
