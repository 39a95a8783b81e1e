"""Differences in standard errors: those of NumPy and SciPy, right about chance, and the same in any unit."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import jarque_bera, t

from harness.statistics import Figure, without_each
from reports.ledger import Row
from reports.standard_errors import gap, standard_error, t_quantile
from tests.small_reports import row
from tests.test_judgement import judged

FREEDOM = (15, 15)


def measured(figure: Figure, inside=(-math.inf, math.inf), level=0.95, **more) -> Row:
    """A row of a figure, as the judge makes it."""
    found = figure.interval(level, inside)
    stated = {"low": found.low, "high": found.high, "level": level, "standard_error": found.error, "origin": found.origin}
    return row(value=found.value, **stated, **more)


def old(one: Row) -> Row:
    """The row as a report had it before it stated standard errors."""
    return replace(one, standard_error=None, origin=None)


@pytest.mark.parametrize(("freedom", "most"), [(7, 3e-3), (15, 1e-4), (63, 1e-6)])
def test_quantiles_are_students(freedom, most):
    """Those of SciPy from the median to 0.9999."""
    for probability in (0.6, 0.9, 0.975, 0.9875, 0.999, 0.9999):
        assert t_quantile(probability, freedom) == pytest.approx(t.ppf(probability, freedom), rel=most)


def test_the_judge_states_the_error_behind_the_interval():
    """Of a mean s/√n; of a ratio that of its logarithm, with its origin; of a ratio that is not positive throughout its own."""
    x = np.random.default_rng(0).normal(1, 0.1, 16)
    plain, ratio = (judged(Figure(x.mean() - 1, score=without_each(x) - 1, origin=origin)) for origin in (None, -1.0))
    assert plain.standard_error == pytest.approx(x.std(ddof=1) / 4, rel=1e-12)
    assert plain.origin is None
    logs = np.log(without_each(x))
    assert ratio.standard_error == pytest.approx(np.sqrt(15 / 16 * ((logs - logs.mean()) ** 2).sum()), rel=1e-12)
    assert ratio.origin == -1.0
    crossing = judged(Figure(0.1, score=np.array([0.1, 0.2, -0.1, 0.2]), origin=0.0))
    assert (crossing.origin, crossing.standard_error > 0) == (None, True)


@settings(deadline=None, max_examples=60)
@given(st.floats(0.05, 50), st.floats(1e-3, 0.3), st.sampled_from([None, 0.0, -1.0]), st.sampled_from([0.95, 0.9875, 0.9983]))
def test_an_older_reports_errors_follow_from_its_intervals(value, spread, origin, level):
    """The same error on the same scale, where the groups are as many as was taken; told apart from those that are stated."""
    z = np.array([1.0, -1.0] * 8) * spread / 4
    replicates = value + z if origin is None else origin + (value - origin) * np.exp(z)
    stated = measured(Figure(value, fit=replicates, origin=origin), level=level)
    exact, found = standard_error(stated, 15), standard_error(old(stated), 15)
    assert (exact.exact, found.exact) == (True, False)
    assert (exact.origin, found.origin) == (origin, origin)
    assert found.size == pytest.approx(exact.size, rel=1e-4)


def test_a_clipped_limit_does_not_make_the_error_smaller():
    """A correlation of 0.9 ± 0.3, cut off at 1: the lower limit counts; of a point at its very edge there is no telling."""
    z = np.array([1.0, -1.0] * 8) * 0.3 / t.ppf(0.975, 15) / math.sqrt(15)
    clipped = measured(Figure(0.9, fit=0.9 + z), inside=(-1, 1))
    assert clipped.high == 1
    assert standard_error(old(clipped), 15).size == pytest.approx(standard_error(clipped, 15).size, rel=1e-4)
    assert standard_error(row(value=0.5), 15) is None


def test_z_is_the_difference_over_the_root_of_the_summed_squares():
    """By hand: 0.7 ± 0.03 against 0.5 ± 0.04 is four standard errors; of ratios on the log scale."""
    a, b = row(value=0.5, standard_error=0.04), row(value=0.7, standard_error=0.03)
    found = gap(a, b, FREEDOM)
    assert (found.step, found.error, found.z) == pytest.approx((0.2, 0.05, 4.0))
    a, b = (row(value=v, standard_error=0.1, origin=-1.0) for v in (0.0, 1.0))
    assert gap(a, b, FREEDOM).z == pytest.approx(math.log(2) / (0.1 * math.sqrt(2)))


def test_a_ratio_against_a_figure_without_logarithm_is_compared_in_its_unit():
    """The delta method, 0.1 of 1 + 2 being 0.3; marked, as it is an approximation."""
    a, b = row(value=2.0, standard_error=0.1, origin=-1.0), row(value=2.5, standard_error=0.4)
    found = gap(a, b, FREEDOM)
    assert (found.step, found.error, found.origin, found.exact) == (pytest.approx(0.5), pytest.approx(0.5), None, False)


def test_what_has_no_error_has_no_z():
    """A count has a difference alone; figures in different units have none; between exact figures any step is infinite."""
    assert gap(row(value=3.0), row(value=5.0, half=0.1), FREEDOM).z is None
    assert gap(row(value=3.0), row(value=5.0), FREEDOM).step == 2.0
    assert gap(row(value=3.0, unit="PCs"), row(value=5.0), FREEDOM) is None
    assert gap(row(value=None), row(value=5.0), FREEDOM) is None
    exact = [gap(row(value=10.0, half=0.0), row(value=v, half=0.0), FREEDOM).z for v in (9.0, 10.0, 11.0)]
    assert exact == [-math.inf, 0.0, math.inf]


@pytest.mark.parametrize("origin", [None, 0.0])
def test_equal_truths_are_two_errors_apart_one_time_in_twenty(origin):
    """2,000 pairs of samples of one distribution, the error estimated anew in each: z is about standard normal."""
    rng = np.random.default_rng(1)
    samples = rng.gamma(4, 0.25, (2, 2000, 64))
    rest = without_each(samples)
    errors = np.log(rest) if origin == 0 else rest
    sizes = np.sqrt(63 / 64 * ((errors - errors.mean(-1, keepdims=True)) ** 2).sum(-1))
    means = samples.mean(-1)
    for i in range(3):  # What the loop below takes is what the harness states.
        assert measured(Figure(means[0, i], fit=rest[0, i], origin=origin)).standard_error == pytest.approx(sizes[0, i])
    rows = [[row(value=m, standard_error=s, origin=origin) for m, s in zip(means[k], sizes[k], strict=True)] for k in (0, 1)]
    z = np.array([gap(a, b, FREEDOM).z for a, b in zip(*rows, strict=True)])
    assert 0.035 < (np.abs(z) > 2).mean() < 0.06
    assert abs(z.mean()) < 0.07
    assert z.std() == pytest.approx(1.0, abs=0.06)
    assert jarque_bera(z).pvalue > 1e-4


VALUES = st.floats(0.01, 1e3)


@settings(deadline=None, max_examples=80)
@given(VALUES, VALUES, st.floats(1e-3, 1), st.floats(1e-3, 1), st.sampled_from([None, 0.0]), st.floats(1e-3, 1e3))
def test_exchanging_the_sides_or_the_unit_changes_no_more_than_the_sign(a, b, of_a, of_b, origin, unit):
    """z(b, a) = −z(a, b), and a figure in other units has other errors and the same z."""

    def rows(scale):
        by = scale if origin is None else 1.0  # The error of a logarithm has no unit.
        return row(value=a * scale, standard_error=of_a * by, origin=origin), row(value=b * scale, standard_error=of_b * by, origin=origin)

    here, there = rows(1.0), rows(unit)
    z = gap(*here, FREEDOM).z
    assert gap(*reversed(here), FREEDOM).z == pytest.approx(-z, rel=1e-9, abs=1e-9)
    assert gap(*there, FREEDOM).z == pytest.approx(z, rel=1e-6, abs=1e-6)
    assert gap(here[0], here[0], FREEDOM).z == 0
