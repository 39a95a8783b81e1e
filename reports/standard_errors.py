"""The standard error behind a row's interval, and the gap between two figures in standard errors. No SciPy: it takes long to start."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from reports.ledger import Row

_ORIGINS = (0.0, -1.0)
_SYMMETRIC = 1e-6


@dataclass(frozen=True)
class StandardError:
    """``size``: of the figure in its unit, or of ln(value − ``origin``) where there is an origin. ``exact``: the report states it."""

    size: float
    origin: float | None
    exact: bool

    def linear(self, value: float) -> float:
        """Return it in the figure's unit, by the delta method where it is one of a logarithm: SE·(value − origin)."""
        return self.size if self.origin is None else self.size * (value - self.origin)


@dataclass(frozen=True)
class Gap:
    """How a figure b differs from a.

    ``step``: b − a, or ln((b − o)/(a − o)) where both intervals are on the log scale from ``origin`` o. ``error``: the standard error of
    ``step``, √(SE_a² + SE_b²), None where a figure has no interval. ``exact``: both reports state their standard errors.
    """

    step: float
    origin: float | None
    error: float | None
    exact: bool

    @property
    def z(self) -> float | None:
        """The step in standard errors; infinite for a step between figures without any spread, None where there is no error."""
        if self.error is None:
            return None
        if self.error == 0:
            return math.copysign(math.inf, self.step) if self.step else 0.0
        return self.step / self.error


def standard_error(row: Row, freedom: int) -> StandardError | None:
    """Return the standard error of a row's figure, or None where it has no interval.

    Where the report does not state it, it follows from the interval: half-width / t, t the quantile at the interval's level with
    ``freedom`` degrees of freedom (a report does not state those either). The scale is the one on which the interval is symmetric: the
    figure's own, or the logarithm of a ratio, from 0 or −1. A limit that was clipped to the figure's range makes the interval asymmetric
    on all of them; then the further limit counts, and with both limits clipped there is no telling.
    """
    value, low, high = row.value, row.low, row.high
    if value is None:
        return None
    if row.standard_error is not None:
        origin = row.origin if row.origin is not None and value > row.origin else None
        return StandardError(row.standard_error, origin, exact=True)
    if low is None or high is None or row.level is None or not 0 < row.level < 1:
        return None
    scale = t_quantile((1 + row.level) / 2, freedom)
    if abs((high - value) - (value - low)) <= _SYMMETRIC * (high - low):
        return StandardError((high - low) / 2 / scale, None, exact=False)
    for origin in _ORIGINS:
        if low > origin and value > origin:
            up, down = _log_ratio(high - origin, value - origin), _log_ratio(value - origin, low - origin)
            if abs(up - down) <= _SYMMETRIC * (up + down):
                return StandardError((up + down) / 2 / scale, origin, exact=False)
    further = max(high - value, value - low)
    return StandardError(further / scale, None, exact=False) if further > 0 else None


def gap(a: Row, b: Row, freedom: tuple[int, int]) -> Gap | None:
    """Return how b differs from a, taking their errors as independent; None where one has no figure or their units differ.

    Two ratios are compared on the log scale when both have their intervals there; when one has not, both are compared in their unit.
    """
    if a.value is None or b.value is None or a.unit != b.unit:
        return None
    one, other = standard_error(a, freedom[0]), standard_error(b, freedom[1])
    if one is None or other is None:
        return Gap(b.value - a.value, None, None, exact=True)
    if one.origin is not None and one.origin == other.origin:
        origin, step = one.origin, _log_ratio(b.value - one.origin, a.value - one.origin)
        return Gap(step, origin, math.hypot(one.size, other.size), one.exact and other.exact)
    mixed = one.origin != other.origin
    error = math.hypot(one.linear(a.value), other.linear(b.value))
    return Gap(b.value - a.value, None, error, one.exact and other.exact and not mixed)


def _log_ratio(over: float, under: float) -> float:
    """Return ln(over / under) of two positive numbers, also where the quotient is no number of float64."""
    quotient = over / under
    return math.log(quotient) if 0 < quotient < math.inf else math.log(over) - math.log(under)


def t_quantile(probability: float, freedom: int) -> float:
    """Return Student's t quantile by the Cornish–Fisher expansion about the normal one, to 1/ν⁴.

    Within 0.01% of the true one for 15 degrees of freedom up to a probability of 0.9999, within 0.3% for 7; too small for fewer than 4.
    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z, v = NormalDist().inv_cdf(probability), float(max(freedom, 1))
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / v ** (i + 1) for i, term in enumerate(terms))
