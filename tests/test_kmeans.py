"""K-means codebooks are those of scikit-learn's Lloyd iteration, and exact where they can be."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans as Oracle

from harness.kmeans import KMeans, centroids
from tests.test_moments import rows


def parts(weight: np.ndarray, per: str | int) -> list[np.ndarray]:
    """The entries of each grid, row by row."""
    if per == "tensor":
        return [weight.ravel()]
    size = weight.shape[1] if per == "row" else per
    return [row[i : i + size] for row in weight for i in range(0, len(row), size)]


def oracle(entries: np.ndarray, levels: int) -> np.ndarray:
    """Scikit-learn's centroids, ascending, from the start that is documented."""
    distinct = np.unique(entries)
    start = distinct[[math.floor((i + 0.5) * len(distinct) / levels) for i in range(levels)]]
    found = Oracle(levels, init=start[:, None], n_init=1, tol=0, max_iter=10_000, algorithm="lloyd").fit(entries[:, None])
    return np.sort(found.cluster_centers_.ravel())


@pytest.mark.parametrize(("levels", "per"), [(16, "tensor"), (5, "tensor"), (4, "row"), (4, 40), (3, 64)])
def test_centroids_equal_scikit_learn(levels, per):
    """Every grid's centroids agree to 1e-9, with groups that do not divide the columns, and heavy tails; and so with ties and repeats."""
    weight = rows(9, 100, 4).double() ** 3
    weight[:, ::7] = (weight[:, ::7] * 8).round() / 8
    found = centroids(weight, levels, per).flatten(0, 1)
    grids = parts(weight.numpy(), per)
    assert len(found) == len(grids)
    for ours, entries in zip(found, grids, strict=True):
        np.testing.assert_allclose(ours, oracle(entries, levels), rtol=0, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 16), st.sampled_from(["tensor", "row", 3, 5]), st.integers(-10, 10), st.integers(0, 10**6))
def test_values_that_levels_suffice_for_are_exact(levels, per, power, seed):
    """No more distinct 16-bit values than levels: each is its own centroid."""
    random = np.random.default_rng(seed)
    choices = random.integers(-1500, 1500, levels) * 2.0**power
    weight = torch.from_numpy(random.choice(choices, (4, 13)))
    assert torch.equal(KMeans(levels, per).quantized(weight), weight)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 9), st.sampled_from(["tensor", "row", 4]), st.booleans(), st.integers(0, 10**6))
def test_entries_go_to_the_nearest_of_few_16_bit_values(levels, per, repeated, seed):
    """A grid takes at most ``levels`` values, each with 11 bits, and every entry the nearest of those, which are the centroids rounded."""
    weight = rows(3, 10, seed).double()
    weight = (weight * 3).round() if repeated else weight
    quantized = KMeans(levels, per).quantized(weight)
    assert quantized.shape == weight.shape
    means = centroids(weight, levels, per).flatten(0, 1).numpy()
    for entries, values, own in zip(parts(weight.numpy(), per), parts(quantized.numpy(), per), means, strict=True):
        used = np.unique(values)
        assert len(used) <= levels
        fraction = np.frexp(used)[0] * 2**11
        assert (fraction == np.round(fraction)).all()
        assert (np.abs(used[:, None] - own).min(1) <= np.abs(used) * 2.0**-11).all()
        np.testing.assert_array_equal(np.abs(entries - values), np.abs(entries[:, None] - used).min(1))
        best = np.abs(entries[:, None] - own).min(1)
        assert (np.abs(entries - values) <= best + np.abs(own).max() * 2.0**-11).all()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["tensor", "row", 4]), st.integers(-40, 40), st.integers(0, 10**6))
def test_a_power_of_two_passes_through(per, power, seed):
    """A tensor times 2ᵏ is quantised to the result times 2ᵏ, exactly."""
    weight, quantizer = rows(3, 10, seed).double(), KMeans(4, per)
    assert torch.equal(quantizer.quantized(weight * 2.0**power), quantizer.quantized(weight) * 2.0**power)


def test_the_iteration_has_converged():
    """Each centroid is the mean of the entries that are nearest to it."""
    weight = rows(30, 70, 8).double()
    found = centroids(weight, 16).numpy().ravel()
    entries = weight.numpy().ravel()
    nearest = np.abs(entries[:, None] - found).argmin(1)
    np.testing.assert_allclose(found, [entries[nearest == i].mean() for i in range(16)], rtol=0, atol=1e-12)


def test_entries_that_hardly_differ_far_from_zero():
    """Sums that are large beside the differences leave each centroid among its entries, in order."""
    weight = 1e8 + rows(2, 50, 3).double() * 1e-6
    found = centroids(weight, 8, "row")[:, 0]
    assert (found.diff(dim=1) > 0).all()
    assert (found[:, 0] >= weight.amin(1)).all()
    assert (found[:, -1] <= weight.amax(1)).all()


@pytest.mark.parametrize(
    ("quantizer", "bits"),
    [
        (KMeans(), 4 * 700 + 16 * 16 + 8),
        (KMeans(16, "row"), 4 * 700 + 7 * 16 * 16 + 8),
        (KMeans(16, 64), 4 * 700 + 7 * 2 * 16 * 16 + 8),
        (KMeans(3), math.log2(3) * 700 + 16 * 3 + 8),
    ],
)
def test_every_bit_is_counted(quantizer, bits):
    """Of 7 × 100 entries: the packed entries, the centroids of each grid, one exponent."""
    assert quantizer.bits(7, 100) == pytest.approx(bits, rel=1e-14)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KMeans(1), "levels are 1; expected"),
        (lambda: KMeans(per=0), "per is 0; expected"),
        (lambda: centroids(torch.ones(2, 2), 0), "levels are 0; expected"),
        (lambda: KMeans().quantized(torch.tensor([[math.nan]])), "weight has 1 entries that are not finite"),
    ],
)
def test_what_cannot_be_quantised_is_refused(make, message):
    """Bad arguments are one ValueError that says what was given and what is expected."""
    with pytest.raises(ValueError, match=message):
        make()
