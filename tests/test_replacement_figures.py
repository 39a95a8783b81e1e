"""Figures of claim 2 follow from made-up arrays as their definitions say, written again in plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from harness.replacement import REFITTED, VARIANTS, Each, Runs, Shift, rank_agreement
from harness.statistics import Figure

W, G, R, B = 6, 4, [0, 3], 5
SIZES = {"W": W, "G": G, "S": 8, "B": B, "d": 3}


def drawn(*shape, seed=0):
    """Numbers above zero."""
    return np.random.default_rng([seed, *shape]).uniform(0.5, 2, shape)


def runs(halves=1, **changes):
    """What a run on some rung leaves."""
    clean = drawn(W)
    arrays = {
        "clean": clean,
        "nll": clean + 0.3 * drawn(len(VARIANTS), W),
        "kl": drawn(len(VARIANTS), W),
        "middle_nll": drawn(0, W),
        "middle_kl": drawn(0, W),
        "alone": clean + 0.1 * drawn(5, W, seed=1),
        **{f"{name}_refit": clean[R] + 0.3 * drawn(G, 2, seed=2 + i) for i, name in enumerate(REFITTED)},
        "refit_windows": np.array(R, dtype=np.float64),
        "half": clean + 0.3 * drawn(halves, len(REFITTED), W, seed=9),
        "run": np.arange(5.0),
        "middle": drawn(0),
        "ranks": drawn(5),
        "refitted_r2": drawn(5),
        "middle_refitted_r2": drawn(0),
        "parameters": np.array([600.0, 300.0]),
        "map_parameters": np.array(40.0),
        "map_parameters_fit": np.array([40.0, 30.0, 60.0, 40.0]),
        "other_parameters": np.array(50.0),
        "fitted": np.array(100.0),
        "left_out": np.zeros(3),
        "edges": np.array(0.0),
    }
    return Runs.of({**arrays, **changes}, SIZES)


def costs(a, name):
    """Cost of a variant: whole, by group left out, by window left out, on half the text."""
    nll = a["nll"][VARIANTS.index(name)]
    whole = np.mean(nll - a["clean"])
    fit = [whole + np.mean(a[f"{name}_refit"][g] - nll[R]) for g in range(G)]
    score = [np.mean(np.delete(nll - a["clean"], w)) for w in range(W)]
    return whole, np.array(fit), np.array(score), np.mean(a["half"][0, REFITTED.index(name)] - a["clean"])


@pytest.mark.parametrize(("figure", "name"), [("single", "last"), ("multiple", "free")])
def test_relative_costs_of_perplexity(figure, name):
    """exp(ΔNLL) − 1, with its replicates; a ratio minus 1."""
    found = runs()
    ours, theirs = getattr(found, figure), costs(found.arrays, name)
    for mine, cost in zip((ours.value, ours.fit, ours.score, ours.half), theirs, strict=True):
        np.testing.assert_allclose(mine, np.exp(cost) - 1, rtol=1e-12)
    assert ours.origin == -1
    assert getattr(runs(halves=0), figure).half is None


def test_excess_and_compounding():
    """Ratios of costs in nats; of each alone the refits are taken as given."""
    found = runs()
    a, free, forced = found.arrays, costs(found.arrays, "free"), costs(found.arrays, "forced")
    ours = found.shift_excess
    for mine, up, down in zip((ours.value, ours.fit, ours.score, ours.half), free, forced, strict=True):
        np.testing.assert_allclose(mine, up / down, rtol=1e-12)
    ours, alone = found.compounding, a["alone"] - a["clean"]
    np.testing.assert_allclose(ours.value, forced[0] / alone.mean(1).sum())
    np.testing.assert_allclose(ours.fit, forced[1] / alone.mean(1).sum())
    np.testing.assert_allclose(ours.score, [forced[2][w] / np.delete(alone, w, 1).mean(1).sum() for w in range(W)])
    assert (found.shift_excess.origin, ours.origin, ours.half) == (0, 0, None)


def test_a_ratio_to_nothing_is_no_figure():
    """Maps that cost nothing, or less, at true inputs: NaN, and no division is tried."""
    clean = drawn(W)
    for below in (0.0, -0.1):
        nll = clean + 0.3 * drawn(len(VARIANTS), W)
        nll[VARIANTS.index("forced")] = clean + below
        assert np.isnan(runs(nll=nll).shift_excess.value)


def test_compression_counts_parameters_and_chooses_k_anew():
    """All parameters of the block over those of the map."""
    figure = runs().compression
    assert figure.value == 15
    np.testing.assert_allclose(figure.fit, [15, 20, 10, 15])
    assert (figure.score, figure.half) == (None, None)


def shift():
    """Two blocks, five numbers of blocks before, eight windows."""
    energy, shifted = drawn(2, 8), drawn(2, 5, 8)
    arrays = {
        "targets": np.array([9.0, 5.0]),
        "clean_error": energy * 0.2 * drawn(2, 8, seed=1),
        "clean_energy": energy,
        "error": shifted * 0.6 * drawn(2, 5, 8, seed=1),
        "energy": shifted,
        "moved": drawn(2, 5),
        "fit": drawn(2, G),
        "half": np.array([0.8, 0.5]),
        "fitted": np.array(100.0),
        "left_out": np.array(0.0),
        "edges": np.array(0.0),
    }
    return Shift.of(arrays, SIZES)


def test_r2_lost_is_clean_minus_shifted_each_over_its_own_energy():
    """Of the last block, with all blocks before replaced; windows leave both together; in sample the refits alone are replicates."""
    found = shift()
    a, figure = found.arrays, found.lost(in_sample=False)

    def lost(windows):
        clean = 1 - a["clean_error"][0, windows].sum() / a["clean_energy"][0, windows].sum()
        return clean - (1 - a["error"][0, 4, windows].sum() / a["energy"][0, 4, windows].sum())

    assert figure.value == pytest.approx(lost(np.arange(8)))
    np.testing.assert_allclose(figure.score, [lost(np.delete(np.arange(8), w)) for w in range(8)])
    np.testing.assert_allclose(figure.fit, a["fit"][0] - a["fit"][1])
    assert figure.half == pytest.approx(0.3)
    assert found.lost(in_sample=True).score is None
    assert found.clean(1) == pytest.approx(1 - a["clean_error"][1].sum() / a["clean_energy"][1].sum())
    np.testing.assert_allclose(found.shifted(1), 1 - a["error"][1].sum(1) / a["energy"][1].sum(1))


def each(half=B):
    """Costs of five blocks."""
    clean = drawn(W)
    arrays = {
        "clean": clean,
        "nll": clean + 0.3 * drawn(B, W),
        "kl": drawn(B, W),
        **{name: clean[R] + 0.3 * drawn(half, 2, seed=i) for i, name in enumerate(("half", "skipped", "mean"))},
        "some": np.array(R, dtype=np.float64),
        "refit": clean[:G] + 0.3 * drawn(B, G),
        "refit_window": np.arange(4.0),
        "parameters": drawn(B, 3),
    }
    return Each.of(arrays, SIZES)


def test_cheapness_is_minus_the_perplexity_added():
    """By block; a window leaves clean and replaced costs together; half the text is compared on some windows."""
    a, figure = each().arrays, each().cheapness
    np.testing.assert_allclose(figure.value, np.exp(a["clean"].mean()) - np.exp(a["nll"].mean(1)))
    for w in range(W):
        rest = np.delete(np.arange(W), w)
        np.testing.assert_allclose(figure.score[w], np.exp(a["clean"][rest].mean()) - np.exp(a["nll"][:, rest].mean(1)))
    for g in range(G):
        np.testing.assert_allclose(figure.fit[g], np.exp(a["clean"].mean()) - np.exp(a["nll"].mean(1) + a["refit"][:, g] - a["nll"][:, g]))
    changed = a["nll"].mean(1) + (a["half"] - a["nll"][:, R]).mean(1)
    np.testing.assert_allclose(figure.half, np.exp(a["clean"].mean()) - np.exp(changed))
    assert each(0).cheapness.half is None
    np.testing.assert_allclose(each().cost, (a["nll"] - a["clean"]).mean(1))


@pytest.mark.parametrize("same", [True, False])
def test_agreement_of_ranks_leaves_out_what_both_rest_on(same):
    """Windows that both are scored on leave together, others apart; refits of R² and the halves enter too."""
    r2 = Figure(drawn(B, seed=3), drawn(G, B, seed=4), drawn(W, B, seed=5), drawn(B, seed=6))
    cheap = each().cheapness
    figure = rank_agreement(r2, cheap, same)

    def rho(a, b):
        return spearmanr(a, b).statistic

    assert figure.value == pytest.approx(rho(r2.value, cheap.value))
    np.testing.assert_allclose(figure.fit, [rho(r2.fit[g], cheap.fit[g]) for g in range(G)])
    np.testing.assert_allclose(figure.score, [rho(r2.score[w] if same else r2.value, cheap.score[w]) for w in range(W)])
    if same:
        assert figure.further is None
    else:
        np.testing.assert_allclose(figure.further, [rho(r2.score[w], cheap.value) for w in range(W)])
    assert figure.half == pytest.approx(rho(r2.half, cheap.half))
    in_sample = rank_agreement(Figure(r2.value, r2.fit), cheap, same)
    np.testing.assert_allclose(in_sample.score, [rho(r2.value, cheap.score[w]) for w in range(W)])
    assert (in_sample.further, in_sample.half) == (None, None)
