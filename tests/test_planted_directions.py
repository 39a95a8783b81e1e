"""Predictive directions are found where they were planted, and noise lies by chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness import affine, subspaces
from harness.moments import Moments, Sums
from harness.predictive import choose_ridge
from harness.protocol import Protocol
from tests.test_moments import rows
from tests.test_subspaces import pca, turn

CPU = torch.device("cpu")


def planted(chosen, n=20_000, d=8, whiten=True, noise=1e-3):
    """Fits of y, which follows directions ``chosen (d, k)`` given in whitened coordinates, or of x itself; λ next to none."""
    spread, basis = torch.logspace(0, -1.5, d, dtype=torch.float64), turn(d, 1)
    z = rows(n, d, 2).double()
    y = (z if whiten else z * spread) @ chosen
    y = y @ torch.diag(torch.linspace(2, 1, chosen.shape[1], dtype=torch.float64)) + noise * rows(n, chosen.shape[1], 3)
    found = Sums.of((z * spread) @ basis.T, y)
    a, b, cross = subspaces.sides(found)
    k, lam = chosen.shape[1], 1e-8 * affine.scale(found)
    return a, subspaces.cca(a, b, cross, lam, 1e-8 * float(b.values.mean()), k), subspaces.rrr(a, cross, lam, k)


@pytest.mark.parametrize(("first", "truth"), [(0, 1.0), (1, 0.5), (2, 0.0), (6, 0.0)])
def test_predictive_directions_are_found_among_the_pcs_that_were_planted(first, truth):
    """Y that follows the two top PCs overlaps by 1, one of them by ½, lower ones by 0: whitened, as weights and as patterns."""
    pcs, *fits = planted(torch.eye(8, dtype=torch.float64)[:, first : first + 2])
    for fit in fits:
        assert subspaces.within_top(fit.whitened) == pytest.approx(truth, abs=0.01)
        assert subspaces.overlap(pcs.top(2), fit.span(2)) == pytest.approx(truth, abs=0.01)
        assert subspaces.overlap(pcs.top(2), subspaces.orthonormal(subspaces.patterns_of(fit.x, fit.weights))) == pytest.approx(
            truth, abs=0.05
        )


@pytest.mark.parametrize("angle", [0.2, 0.8, 1.3])
def test_a_planted_angle_is_measured(angle):
    """One direction of two on a top PC, the other at θ to the next: (1 + cos²θ)/2, whitened or in the stream as it was planted."""
    eye = torch.eye(8, dtype=torch.float64)
    chosen = torch.stack([eye[:, 0], np.cos(angle) * eye[:, 1] + np.sin(angle) * eye[:, 6]], dim=1)
    truth = pytest.approx((1 + np.cos(angle) ** 2) / 2, abs=0.015)
    _, *fits = planted(chosen)
    assert [subspaces.within_top(fit.whitened) for fit in fits] == [truth, truth]
    pcs, *fits = planted(chosen, whiten=False)
    assert [subspaces.overlap(pcs.top(2), fit.span(2)) for fit in fits] == [truth, truth]


def test_noise_lies_by_chance_in_whitened_coordinates_alone():
    """On a spectrum of three decades q = (o − k/d)/(1 − k/d) of noise is 0 ± 0.03 for every k; weights lie below, patterns above.

    A huge λ makes the same noise look aligned, which is why ``choose_ridge`` falls back to the least.
    """
    d, found = 64, {k: [] for k in (2, 6, 13, 19)}
    least, most = Protocol().penalties()[0], Protocol().penalties()[-1]
    for seed in range(12):
        x = rows(32 * d, d, seed).double() * torch.logspace(0, -1.5, d, dtype=torch.float64) @ turn(d, seed + 500)
        sums = Sums.of(x, rows(32 * d, d, 1000 + seed) * torch.logspace(0, -1, d))
        side, _, cross = subspaces.sides(sums)
        fit, drawn = (subspaces.rrr(side, cross, penalty * affine.scale(sums), 19) for penalty in (least, most))
        for k, seen in found.items():
            top, patterns = side.top(k), subspaces.orthonormal(subspaces.patterns_of(fit.x, fit.weights[:, :k]))
            whitened = [subspaces.within_top(f.whitened[:, :k]) for f in (fit, drawn)]
            seen.append([*whitened, subspaces.overlap(top, fit.span(k)), subspaces.overlap(top, patterns)])
    for k, seen in found.items():
        by_least, by_most, weights, patterns = (np.mean(seen, axis=0) - k / d) / (1 - k / d)
        assert by_least == pytest.approx(0, abs=0.03)
        assert by_most > 0.3
        assert weights < -k / d / 2
        assert patterns > 0.1


def test_where_nothing_is_predicted_the_least_ridge_is_taken():
    """Cross-validation runs to the largest λ on noise; ``choose_ridge`` says so and takes the least, and keeps what a signal asks for."""
    noise, signal = Moments(8, 12, 12), Moments(8, 12, 12)
    for group in range(8):
        x, y = rows(60, 12, group).double(), rows(60, 12, 50 + group).double()
        noise.add(group, x, y)
        signal.add(group, x, x + y)
    groups, p = list(range(8)), Protocol()
    assert affine.choose_penalty(noise, groups, p, CPU).value == p.penalties()[-1]
    found, with_signal = (choose_ridge(moments, groups, p, True, CPU) for moments in (noise, signal))
    assert (found.value, found.edge, found.r2 < 0.02) == (p.penalties()[0], True, True)
    assert with_signal == affine.choose_penalty(signal, groups, p, CPU)
    assert with_signal.r2 == pytest.approx(0.5, abs=0.05)
    assert choose_ridge(noise, groups, p, False, CPU).value == p.ridge


def test_agreement_is_one_for_equal_fits_and_chance_for_independent_noise():
    """Whichever rows the coordinates come from."""
    d, k, found, spread = 24, 4, [], torch.logspace(0, -1, 24)
    reference = pca(rows(600, d, 999) * spread)
    for seed in range(0, 200, 10):
        sides = [subspaces.sides(Sums.of(rows(600, d, s) * spread, rows(600, d, s + 5))) for s in (seed, seed + 1)]
        a, b = (subspaces.rrr(side, cross, 1e-6, k) for side, _, cross in sides)
        assert subspaces.agreement(a, a, reference, 1e-6) == pytest.approx(1)
        found.append(subspaces.agreement(a, b, reference, 1e-6))
    assert np.mean(found) == pytest.approx(k / d, abs=0.04)
