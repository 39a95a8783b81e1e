"""What keeps a figure of claim 1 from being judged: each doubt is raised by findings that deserve it, and not by those beside them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from claims import variance
from claims.remarks import Remarks
from harness.protocol import Protocol
from harness.variance import METHODS, Ablation, Findings, Sensitivity, Subspaces

WIDTH, K, PCS, WINDOWS = 576, 18, 40, 16
ENOUGH = {"fitted": 32.0 * WIDTH, "left_out": 0.0}
EXPLAINED = {"": 2, "_fit": (16, 2), "_score": (16, 2), "_half": 2}
JUDGED = ("paper", "strict")


def laboratory(found: Findings, dtype: str = "float32"):
    """What remarks need of a laboratory whose model has twelve blocks and whose text is long enough."""
    return SimpleNamespace(
        protocol=Protocol(),
        model=SimpleNamespace(n_blocks=12),
        facts=SimpleNamespace(width=WIDTH, dtype=dtype),
        unknown=lambda rung: 0.0,
        sizes=lambda rung: {"calibration": 72, "evaluation": 64},
        **dict.fromkeys(("subspaces", "ablation", "sensitivity"), lambda rung: found),
    )


def read(kind, arrays):
    """Findings of a kind, their shapes checked."""
    return kind.of({name: np.asarray(array, dtype=np.float64) for name, array in arrays.items()}, {})


def subspaces(overlap=(0.02, 0.02, 0.02), error=0.001, **changes) -> Subspaces:
    """Predictive directions with given overlaps at 0.01 λ, λ and 100 λ, and independent errors."""
    noise = np.random.default_rng(0).normal(size=(16, 3)) * error / 15**0.5
    explained = {f"{method}{part}": np.full(shape, 0.5) for method in METHODS for part, shape in EXPLAINED.items()}
    numbers = {"self": 0.9, "predicted": 0.5, "edge": 0.0, "penalty": 1e-4, "weights": 0.02, "patterns": 0.5, "whitened": 0.3}
    drawn = {"null_weights": [0.01, 0.03], "null_patterns": [0.3, 0.4]}
    fitted = {"overlap": overlap, "overlap_fit": overlap + noise, "overlap_score": np.zeros((0, 3)), "overlap_half": overlap}
    return read(Subspaces, {**ENOUGH, **explained, **numbers, **drawn, **fitted, "strengths": np.ones(K), "ranks": [6, 96], **changes})


def ablation(kl, floor=1e-12) -> Ablation:
    """Ablations of PCs with given KL by window ``(PCs, windows)``."""
    kl, variances = np.asarray(kl), np.linspace(2, 1, len(kl))
    fitted = {"variance": variances, "variance_fit": np.tile(variances, (16, 1)), "variance_half": variances}
    return read(Ablation, {**ENOUGH, **fitted, "ranks": range(len(kl)), "kl": kl, "floor": np.full(kl.shape[1], floor)})


def sensitivity(kl, floor) -> Sensitivity:
    """Pushes that cost the same in both directions and at random."""
    both = np.repeat(np.asarray(kl)[:, None], 2, axis=1)
    given = {"ranks": range(len(kl)), "variance": np.linspace(2, 1, len(kl)), "kl": both, "random": both, "norm": 1.0}
    return read(Sensitivity, {**ENOUGH, **given, "floor": np.full(both.shape[-1], floor)})


def even(count=PCS, lost=0, floor=1e-3):
    """KL of so many PCs, the same in every window: falling from 1 to 0.1, but for some that are just below twice the floor."""
    kl = np.linspace(1, 0.1, count)
    kl[count - lost :] = np.linspace(1.99, 1.5, lost) * floor
    return np.tile(kl[:, None], (1, WINDOWS))


def of_overlap(found: Subspaces, rung: str) -> Remarks:
    """Remarks on an overlap."""
    return variance.of_overlap(laboratory(found), rung)


@pytest.mark.parametrize("rung", JUDGED)
def test_sound_findings_are_not_doubted(rung):
    """Where nothing is amiss there is neither a doubt nor a caveat."""
    for remarks in (of_overlap(subspaces(), rung), variance.of_ablation(laboratory(ablation(even())), rung)):
        assert (remarks["doubts"], remarks["caveats"]) == ((), ())


@pytest.mark.parametrize("rung", ["paper", "held-out", "typical", "strict"])
def test_directions_that_do_not_come_out_again_are_doubted(rung):
    """Those of two halves overlap by less than one half, or by what is no number; at one half they are judged."""
    assert of_overlap(subspaces(self=0.5), rung)["doubts"] == ()
    expected = "directions fitted to two halves of the calibration text overlap by 0.49, below 0.5"
    assert of_overlap(subspaces(self=0.49), rung)["doubts"] == (expected,)
    assert len(of_overlap(subspaces(self=np.nan), rung)["doubts"]) == 1


def test_directions_that_predict_nothing_are_doubted_on_strict():
    """Up to a cross-validated R² of 0.02, or where it is no number; the other rungs do not cross-validate."""
    assert of_overlap(subspaces(predicted=0.021), "strict")["doubts"] == ()
    expected = "mid predicts nothing of the final stream linearly (cross-validated R² 0.020)"
    assert of_overlap(subspaces(predicted=0.02), "strict")["doubts"] == (expected,)
    assert len(of_overlap(subspaces(predicted=np.nan), "strict")["doubts"]) == 1
    assert of_overlap(subspaces(predicted=np.nan), "paper")["doubts"] == ()


@pytest.mark.parametrize(
    ("overlap", "told"),
    [
        ((0.02, 0.05, 0.3), "HOLDS at 0.01 λ (0.020), HOLDS at 1 λ (0.050), FALSIFIED at 100 λ (0.300)"),
        ((0.15, 0.05, 0.05), "INCONCLUSIVE at 0.01 λ (0.150), HOLDS at 1 λ (0.050), HOLDS at 100 λ (0.050)"),
        ((0.02, 0.05, 0.0999), "HOLDS at 0.01 λ (0.020), HOLDS at 1 λ (0.050), INCONCLUSIVE at 100 λ (0.100)"),
    ],
)
def test_a_verdict_that_depends_on_the_ridge_is_doubted_on_paper(overlap, told):
    """Another at 0.01 λ or 100 λ, by their intervals; ``strict`` cross-validates its λ, and the rungs between are not judged."""
    assert of_overlap(subspaces(overlap), "paper")["doubts"] == (f"the verdict depends on λ: {told}",)
    for rung in ("held-out", "typical", "strict"):
        assert of_overlap(subspaces(overlap), rung)["doubts"] == ()


@pytest.mark.parametrize("overlap", [(0.0, 0.05, 0.09), (0.21, 0.5, 0.9), (0.11, 0.15, 0.19)])
def test_figures_that_differ_within_one_verdict_are_not_doubted(overlap):
    """HOLDS, FALSIFIED and INCONCLUSIVE may each be had at every λ."""
    assert of_overlap(subspaces(overlap), "paper")["doubts"] == ()


def test_a_penalty_at_the_end_of_its_grid_is_a_caveat_on_strict():
    """Said of overlap and gain, and judged all the same."""
    for of in (variance.of_overlap, variance.of_gain):
        remarks = {rung: of(laboratory(subspaces(edge=1.0)), rung) for rung in JUDGED}
        assert remarks["strict"]["caveats"] == ("λ stands at an end of the cross-validation's grid",)
        assert remarks["paper"]["caveats"] == remarks["paper"]["doubts"] == remarks["strict"]["doubts"] == ()


@pytest.mark.parametrize("rung", JUDGED)
def test_ablations_and_pushes_lost_in_rounding_are_doubted(rung):
    """More than one direction in twenty below twice the KL of a rounding; one in twenty is judged."""
    expected = "the KL of 8% of directions is lost in the rounding of bfloat16 (1.0e-03 nats); try --dtype float32"
    for of, kind in ((variance.of_ablation, ablation), (variance.of_sensitivity, sensitivity)):
        doubts = {lost: of(laboratory(kind(even(lost=lost), 1e-3), "bfloat16"), rung)["doubts"] for lost in (0, 2, 3)}
        assert doubts == {0: (), 2: (), 3: (expected,)}


def test_what_stands_well_above_rounding_is_not_lost():
    """Twice the mean KL of a rounding is enough, whatever single windows are."""
    kl = np.tile(np.linspace(1, 0.1, PCS)[:, None], (1, WINDOWS))
    kl[:, ::2] *= 1e-6
    assert variance.of_ablation(laboratory(ablation(kl, floor=0.0249)), "paper")["doubts"] == ()
    doubts = variance.of_ablation(laboratory(ablation(kl, floor=0.04)), "paper")["doubts"]
    assert len(doubts) == 1
    assert doubts[0].startswith("the KL of 8% of directions is lost in the rounding of float32 (4.0e-02 nats)")


@pytest.mark.parametrize("rung", JUDGED)
def test_ablations_that_rank_pcs_differently_on_other_windows_are_doubted(rung):
    """Spearman's ρ between every second window and the others below 0.8: it is 1 for equal ranks, −1 for opposite ones."""
    opposite = even()
    opposite[:, 1::2] = opposite[::-1, 1::2] * 0.5
    doubts = variance.of_ablation(laboratory(ablation(opposite)), rung)["doubts"]
    why = (
        "KL on every second window ranks the PCs unlike KL on the others (ρ = −1.00, below 0.8), and noise pulls the correlation towards 0"
    )
    assert doubts == (why,)
    scaled = even() * np.where(np.arange(WINDOWS) % 2, 100.0, 1.0)
    assert variance.of_ablation(laboratory(ablation(scaled)), rung)["doubts"] == ()


@pytest.mark.parametrize(("ranked", "reliable"), [((2, 1, 4, 3), True), ((3, 2, 1), False)])
def test_reliability_is_judged_by_its_bound(ranked, reliable):
    """Among six PCs, two pairs of neighbours that swap leave ρ above 0.8, and three that turn round do not."""
    first = np.arange(6.0) + 1
    second = np.array([*ranked, *first[len(ranked) :]])
    found = ablation(np.stack([first, second], axis=1))
    assert found.reliability == pytest.approx(1 - 6 * ((first - second) ** 2).sum() / (6 * 35))
    assert (variance.of_ablation(laboratory(found), "strict")["doubts"] == ()) is reliable


def test_one_window_says_nothing_of_reliability():
    """NaN, which is a doubt and not a pass."""
    found = ablation(even()[:, :1])
    assert np.isnan(found.reliability)
    assert len(variance.of_ablation(laboratory(found), "paper")["doubts"]) == 1


def test_noise_alone_is_not_reliable():
    """KL that is drawn anew for every window ranks the PCs by chance."""
    kl = np.random.default_rng(0).exponential(size=(128, WINDOWS))
    found = ablation(kl)
    assert abs(found.reliability) < 0.3
    assert "ranks the PCs unlike" in variance.of_ablation(laboratory(found), "strict")["doubts"][0]


@pytest.mark.parametrize(("overlap", "beyond"), [(None, 0.0), (1.0, 1.0), (0.5, None)])
def test_the_overlap_that_is_judged_on_strict_is_beyond_chance(overlap, beyond):
    """(o − k/d)/(1 − k/d): what random subspaces share counts as nothing, the same subspace as one, and each refit goes the same way."""
    found, width = subspaces(), 40
    chance = found.k / width
    o = chance if overlap is None else overlap
    figure = subspaces(overlap=(o, o, o)).beyond_chance(1, width)
    assert figure.value == pytest.approx((o - chance) / (1 - chance) if beyond is None else beyond)
    np.testing.assert_allclose(figure.fit, (subspaces(overlap=(o, o, o)).overlap(1).fit - chance) / (1 - chance))
