"""The common odds ratio is statsmodels', sees through a confounder, and its strata are quantiles that ties never cross."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from statsmodels.stats.contingency_tables import StratifiedTable

from harness.odds import crude_odds, mantel_haenszel, strata


def tables(first, second, stratum):
    """The 2×2 table of each stratum, one by one."""
    found = []
    for k in range(stratum.max() + 1):
        of = stratum == k
        found.append([[((first == i) & (second == j) & of).sum() for j in (1, 0)] for i in (1, 0)])
    return np.array(found, dtype=np.float64)


def marks_of(tables):
    """Marks and strata that have these tables ``[[a, b], [c, d]]``."""
    rows = [(i, j, k) for k, table in enumerate(tables) for i in (1, 0) for j in (1, 0) for _ in range(table[1 - i][1 - j])]
    first, second, stratum = np.array(rows).T
    return first.astype(float), second.astype(float), stratum


def drawn(seed, count=400, strata=5):
    """Marks that both depend on their stratum and on each other."""
    draw = np.random.default_rng(seed)
    stratum = draw.integers(0, strata, count)
    first = draw.random(count) < (stratum + 1) / (strata + 2)
    second = draw.random(count) < np.where(first, 0.6, 0.3) * (stratum + 2) / (strata + 2)
    return first.astype(float), second.astype(float), stratum


@pytest.mark.parametrize("seed", range(6))
def test_the_common_odds_ratio_is_statsmodels(seed):
    """As StratifiedTable pools it, whatever the order and shape of the tokens, those that do not count left out."""
    first, second, stratum = drawn(seed)
    truth = StratifiedTable(list(tables(first, second, stratum))).oddsratio_pooled
    assert mantel_haenszel(first, second, stratum) == pytest.approx(truth, rel=1e-12)
    padded = [np.insert(first, 0, [1, 0, 1]), np.insert(second, 0, [0, 1, 1]), np.insert(stratum, 0, [-1, -1, -1])]
    order = np.random.default_rng(seed).permutation(403)
    padded = [array[order].reshape(13, 31) for array in padded]
    assert mantel_haenszel(*padded) == pytest.approx(truth, rel=1e-12)


def test_one_stratum_has_the_crude_odds_ratio():
    """a·d/(b·c): 6·4/(2·3) = 4; over two strata (24/15 + 2/8)/(6/15 + 6/8)."""
    first, second, stratum = marks_of([[[6, 2], [3, 4]]])
    assert crude_odds(first, second) == mantel_haenszel(first, second, stratum) == pytest.approx(4)
    first, second, stratum = marks_of([[[6, 2], [3, 4]], [[1, 3], [2, 2]]])
    assert mantel_haenszel(first, second, stratum) == pytest.approx((24 / 15 + 2 / 8) / (6 / 15 + 6 / 8))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.lists(st.integers(0, 6), min_size=2, max_size=2), min_size=2, max_size=2), min_size=1, max_size=4))
def test_swapping_marks_leaves_it_and_complementing_one_inverts_it(some):
    """No choice of which mark is called easy decides a verdict; complementing both leaves it too."""
    if not np.sum(some):
        return
    first, second, stratum = marks_of(some)
    found = mantel_haenszel(first, second, stratum)
    for same in ((second, first), (1 - first, 1 - second)):
        assert mantel_haenszel(*same, stratum) == pytest.approx(found, nan_ok=True)
    if found > 0:
        assert mantel_haenszel(1 - first, second, stratum) == pytest.approx(1 / found)
        assert mantel_haenszel(first, 1 - second, stratum) == pytest.approx(1 / found)


def test_where_no_tokens_disagree_both_ways_there_is_no_ratio():
    """NaN for identical marks, for a mark that all or none have, for single marks in different strata, and for no tokens."""
    first, second, stratum = drawn(0)
    assert np.isnan(mantel_haenszel(first, first, stratum))
    assert np.isnan(mantel_haenszel(first, np.ones(400), stratum))
    assert np.isnan(mantel_haenszel(np.zeros(400), second, stratum))
    assert np.isnan(mantel_haenszel(*marks_of([[[3, 2], [0, 3]], [[3, 0], [2, 3]]])))
    assert np.isnan(mantel_haenszel(first, second, np.full(400, -1)))
    assert np.isnan(crude_odds(np.array([]), np.array([])))
    assert mantel_haenszel(first, 1 - first, stratum) == 0


def test_independent_marks_have_an_odds_ratio_of_one():
    """Independent within strata, though both depend on the stratum: the mean logarithm of 200 draws is zero within four standard errors."""
    draw, logs = np.random.default_rng(1), []
    for _ in range(200):
        stratum = draw.integers(0, 10, 3000)
        first, second = (draw.random((2, 3000)) < 0.1 + 0.08 * stratum).astype(float)
        logs.append((np.log(mantel_haenszel(first, second, stratum)), np.log(crude_odds(first, second))))
    stratified, crude = np.array(logs).T
    assert abs(stratified.mean()) < 4 * stratified.std() / np.sqrt(200)
    assert crude.min() > 0.5


def test_a_confounder_alone_makes_a_crude_ratio_and_no_stratified_one():
    """Simpson: both marks rare in one stratum and frequent in the other, independent in each."""
    first, second, stratum = marks_of([[[1, 9], [9, 81]], [[81, 9], [9, 1]]])
    assert crude_odds(first, second) == pytest.approx(82 * 82 / 18**2)
    assert mantel_haenszel(first, second, stratum) == pytest.approx(1)


def test_strata_taken_from_the_confounder_remove_it():
    """Marks that are more frequent at higher confidence, otherwise independent: deciles of confidence bring the ratio near one."""
    draw = np.random.default_rng(2)
    confidence = draw.random((40, 1000))
    first, second = (draw.random((2, 40, 1000)) < confidence).astype(float)
    counted = np.ones((40, 1000))
    assert crude_odds(first, second) > 3
    assert mantel_haenszel(first, second, strata(confidence, counted, 10)) == pytest.approx(1, abs=0.1)


@settings(max_examples=80, deadline=None)
@given(
    arrays(np.float64, (3, 8), elements=st.integers(0, 12).map(lambda v: v / 12)),
    arrays(np.float64, (3, 8), elements=st.sampled_from([0.0, 1.0])),
    st.integers(1, 10),
)
def test_strata_rise_with_the_values_and_no_tie_crosses_them(values, counted, count):
    """Equal values share a stratum, higher ones are in none that is lower; what does not count has none, and changes none."""
    found = strata(values, counted, count)
    assert (found[counted == 0] == -1).all()
    some, of = values[counted > 0], found[counted > 0]
    assert ((of >= 0) & (of < count)).all()
    for value, stratum in zip(some, of, strict=True):
        assert stratum == (some < value).sum() * count // len(some)
        assert (of[some == value] == stratum).all()
        assert (of[some > value] >= stratum).all()
    assert (strata(np.where(counted > 0, values, np.nan), counted, count) == found).all()


@pytest.mark.parametrize("n", [7, 10, 100, 1003])
def test_strata_of_distinct_values_are_deciles(n):
    """Ten of sizes that differ by one at most."""
    found = strata(np.random.default_rng(n).permutation(n) / n, np.ones(n), 10)
    sizes = np.bincount(found, minlength=10)
    assert np.ptp(sizes) <= 1
    assert sizes.sum() == n
