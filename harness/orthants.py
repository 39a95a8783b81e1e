"""How often equally correlated quantities are all below their medians, and the correlation that a share of that implies. No torch."""

from __future__ import annotations

from functools import cache

import numpy as np

from harness.statistics import Array

_NODES = 128
_FAR = 9.0
"""Standard deviations beyond which the normal distribution holds 1e-19."""
_ROUNDING = 1e-12


def share_below_all(correlation: float, count: int) -> float:
    """Return the probability that ``count`` standard normals, each two correlated by r, are all below their median 0.

    P = ∫ Φ(−√r z / √(1 − r))^count φ(z) dz for r in [0, 1): each is √r z + √(1 − r) times a variable of its own. 0.5^count at r = 0, 0.5
    at r = 1. Exact to about 1e-14. Raises ValueError for r outside [0, 1] or a count below 1.

    Source: Dunnett and Sobel, Biometrika 42 (1955) 258–260.
    """
    from scipy.special import ndtr

    if not 0 <= correlation <= 1 or count < 1:
        raise ValueError(f"no {count} normals are correlated by {correlation} each")
    # ½ − ∫₀^∞ (1 − Φ(−az)^count − Φ(az)^count) φ(z) dz, a = √r/√(1 − r), is the same. Its integrand ends where the first of φ(z) and
    # Φ(−az) does, and in units of that length it is smooth for every r, where the step of the other one grows steep as r nears 1.
    shared, own = np.sqrt(correlation), np.sqrt(1 - correlation)
    steep, wide = shared / max(shared, own), own / max(shared, own)
    x, weights = _quadrature()
    inside = 1 - ndtr(-steep * x) ** count - ndtr(steep * x) ** count
    density = wide * np.exp(-((wide * x) ** 2) / 2) / np.sqrt(2 * np.pi)
    # Rounding must not put it below what it is without any correlation.
    return max(float(0.5 - (weights * density * inside).sum()), 0.5**count)


def implied_correlation(share: float, count: int) -> float:
    """Return Spearman's ρ at which ``count`` equally correlated quantities are all below their medians in that share of cases.

    Inverts :func:`share_below_all` for r and returns ρ_s = (6/π) asin(r/2), the rank correlation of two normals correlated by r; ranks are
    all that the share depends on, that they are joined as normals are is assumed. 0 at the share by chance, 0.5^count, and 1 from 0.5 on,
    each up to rounding. NaN below chance: normals that share one positive correlation are never below their medians together more rarely.
    Raises ValueError for a count below 2, where the share says nothing of a correlation.
    """
    from scipy.optimize import brentq

    if count < 2:
        raise ValueError(f"{count} quantity has no correlation")
    chance = 0.5**count
    if not share >= chance - _ROUNDING:
        return np.nan
    if share >= 0.5 - _ROUNDING:
        return 1.0
    if share <= chance + _ROUNDING:
        return 0.0
    r = brentq(lambda r: share_below_all(r, count) - share, 0.0, 1.0, xtol=1e-15)
    return float(6 / np.pi * np.arcsin(r / 2))


@cache
def _quadrature() -> tuple[Array, Array]:
    """Gauss–Legendre nodes and weights on [0, 9]."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return _FAR * (nodes + 1) / 2, _FAR * weights / 2
