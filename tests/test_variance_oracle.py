"""Every figure of claim 1 is what its definition says: the same numbers from whole forwards and plain linear algebra on all rows."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from harness.subspaces import random_orthonormal
from harness.variance import METHODS
from tests import small_llama
from tests import variance_oracle as oracle
from tests.small_llama import BLOCKS, GROUPS, MID, WIDTH, WORDS
from tests.variance_oracle import Boundary, Fit, K, every_second, rows, without

FACTORS = (0.01, 1.0, 100.0)
INTERVENED = ("paper", "typical", "strict")

STREAMS = {"rtol": 1e-8, "atol": 1e-10}
"""Of what follows in float64 from the clean streams, which are the same bit for bit."""
LOGITS = {"rtol": 1e-6, "atol": 0.0}
"""Of what follows from logits, which are float32 and of other batches."""
DIVERGENCES = {"rtol": 1e-5, "atol": 0.0}
"""A divergence is of second order in changes of logits that have themselves lost a digit or two."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The laboratory, and the windows of a rung to be run whole."""
    lab, runs = small_llama.measured(tmp_path_factory.mktemp("oracle"))
    return lambda rung: (lab, runs["strict" if rung == "strict" else "paper"])


def joint(run, rung):
    """Rows of mid and of the final stream by split and windows, and λ over tr/d of a rung fitted to some groups."""
    splits = ("calibration", "evaluation")
    marks = {split: run.typical(split, MID, BLOCKS - 1) if rung in ("typical", "strict") else None for split in splits}
    x, y = ({split: run.after(block, split) for split in splits} for block in (MID, BLOCKS - 1))

    def sample(windows, split="calibration"):
        return rows(x[split], marks[split], windows), rows(y[split], marks[split], windows)

    def penalty(groups):
        if rung != "strict":
            return 1e-4, np.nan
        return oracle.cross_validated(x["calibration"], y["calibration"], marks["calibration"], groups)

    return SimpleNamespace(sample=sample, penalty=penalty, windows=len(x["calibration"]), scored=len(x["evaluation"]))


def test_the_subject_tells_the_rungs_apart(measured):
    """Some tokens are massive from the start, some after mid alone: rungs and boundaries have other tokens, half the text another k."""
    run = measured("paper")[1]
    shares = [run.typical("calibration", *blocks).mean() for blocks in ((MID,), (MID, BLOCKS - 1))]
    assert 1 - 1 / 32 > shares[0] > shares[1] > 0.9
    assert (run.typical("evaluation", 2) != run.typical("evaluation", 4)).any()
    run = measured("strict")[1]
    assert Boundary(run, "strict", MID).k != Boundary(run, "strict", MID, every_second(24)).k


@pytest.mark.parametrize("rung", ["paper", "held-out", "typical", "strict"])
def test_overlaps_equal_an_independent_computation(measured, rung):
    """Generalised eigenvectors, least squares on augmented rows and SciPy's principal angles: value, refits, windows, halves."""
    (lab, run), strict = measured(rung), rung == "strict"
    found, text = lab.subspaces(rung).arrays, joint(run, rung)
    everywhere = range(text.scored)
    penalty, predicted = text.penalty(range(GROUPS))
    whole = Fit(*text.sample(range(text.windows)), penalty)

    def overlaps(fit, windows=None):
        if strict:
            return [fit.share(factor) for factor in FACTORS]
        top = oracle.pcs(fit.x if windows is None else text.sample(windows, "evaluation")[0])[1][:, :K]
        return [oracle.overlap(top, fit.weights("cca", K, factor)) for factor in FACTORS]

    outside = None if rung in ("paper", "strict") else everywhere
    refits = [Fit(*text.sample(without(text.windows, g)), penalty, (whole.x, whole.y)) for g in range(GROUPS)]
    np.testing.assert_allclose(found["overlap"], overlaps(whole, outside), **STREAMS)
    np.testing.assert_allclose(found["overlap_fit"], [overlaps(fit, outside) for fit in refits], **STREAMS)
    if outside is None:
        assert found["overlap_score"].shape == (0, 3)
    else:
        left = [overlaps(whole, [i for i in everywhere if i != w]) for w in everywhere]
        np.testing.assert_allclose(found["overlap_score"], left, **STREAMS)
    on_half = Fit(*text.sample(every_second(text.windows)), text.penalty(range(0, GROUPS, 2))[0])
    np.testing.assert_allclose(found["overlap_half"], overlaps(on_half) if strict else [np.nan] * 3, **STREAMS)
    halves = [Fit(*text.sample(every_second(text.windows, first)), penalty) for first in (0, 1)]
    directions = [fit.weights("rrr" if strict else "cca", K) for fit in halves]
    if strict:
        directions = [oracle.whitened(whole.x, whole.lam_x, weights) for weights in directions]
    assert found["self"] == pytest.approx(oracle.overlap(*directions), rel=1e-6)
    np.testing.assert_allclose([found["penalty"], found["predicted"]], [penalty, predicted], **STREAMS)
    left_out = 1 - len(text.sample(everywhere, "evaluation")[0]) / run.ids["evaluation"].size
    np.testing.assert_allclose([found["fitted"], found["left_out"]], [len(whole.x), left_out], **STREAMS)


@pytest.mark.parametrize("rung", ["paper", "held-out", "typical", "strict"])
def test_explained_variance_equals_an_independent_computation(measured, rung):
    """scikit-learn's ridge regression on the directions of each method at each k: value, refits, windows, half sample."""
    (lab, run), strict = measured(rung), rung == "strict"
    found, text = lab.subspaces(rung).arrays, joint(run, rung)
    everywhere, penalty = range(text.scored), text.penalty(range(GROUPS))[0]
    whole = Fit(*text.sample(range(text.windows)), penalty)
    refits = [Fit(*text.sample(without(text.windows, g)), penalty, (whole.x, whole.y)) for g in range(GROUPS)]
    half = Fit(*text.sample(every_second(text.windows)), text.penalty(range(0, GROUPS, 2))[0])
    held = text.sample(everywhere, "evaluation")
    assert found["ranks"].tolist() == [2, 6]
    for method in METHODS:

        def r2(fit, windows, method=method):
            return [fit.r2(method, k, *text.sample(windows, "evaluation")) for k in (2, 6)]

        np.testing.assert_allclose(found[method], r2(whole, everywhere), **STREAMS)
        np.testing.assert_allclose(found[f"{method}_fit"], [r2(fit, everywhere) for fit in refits], **STREAMS)
        left = [r2(whole, [i for i in everywhere if i != w]) for w in everywhere]
        np.testing.assert_allclose(found[f"{method}_score"], left, **STREAMS)
        np.testing.assert_allclose(found[f"{method}_half"], r2(half, everywhere) if strict else [np.nan] * 2, **STREAMS)
    # Two PCs predict more than 2% on every rung.
    gains = [whole.r2("cca", k, *held) / whole.r2("pca", k, *held) - 1 for k in (2, 6)]
    figure, k = lab.subspaces(rung).gain(0.02)
    assert (figure.value, k) == (pytest.approx(min(gains), rel=1e-6), (2, 6)[int(np.argmin(gains))])


@pytest.mark.parametrize("rung", INTERVENED)
def test_shown_overlaps_equal_an_independent_computation(measured, rung):
    """Weights, patterns, whitened directions and strengths beside the top PCs, and random whitened directions through the same maps."""
    lab, run = measured(rung)
    found, text = lab.subspaces(rung).arrays, joint(run, rung)
    fit = Fit(*text.sample(range(text.windows)), text.penalty(range(GROUPS))[0])
    method = oracle.rrr if rung == "strict" else lambda x, y, lam, k: oracle.cca(x, y, lam, fit.lam_y, k)
    weights, strengths = method(fit.x, fit.y, fit.lam_x, K)
    values, q = oracle.pcs(fit.x)

    def seen(weights):
        patterns = oracle.centred(fit.x).T @ oracle.centred(fit.x) @ weights
        return [oracle.overlap(q[:, :K], directions) for directions in (weights, patterns)]

    random = [seen(q @ (random_orthonormal(WIDTH, K, 0, i).numpy() / np.sqrt(values + fit.lam_x)[:, None])) for i in range(100)]
    np.testing.assert_allclose([found["weights"], found["patterns"]], seen(weights), **STREAMS)
    np.testing.assert_allclose(np.stack([found["null_weights"], found["null_patterns"]], axis=1), random, **STREAMS)
    basis = scipy.linalg.orth(oracle.whitened(fit.x, fit.lam_x, weights))
    assert found["whitened"] == pytest.approx((basis[:K] ** 2).sum() / K, rel=1e-6)
    np.testing.assert_allclose(found["strengths"], strengths, **STREAMS)


def directions(run, rung):
    """Mean, PCs and variances at mid of the tokens that a rung looks at, and the ranks that are chosen."""
    marked = None if rung == "paper" else run.typical("calibration", MID)
    stream = run.after(MID, "calibration")
    x = rows(stream, marked, range(len(stream)))
    values, q = oracle.pcs(x)
    return x.mean(0), q, values / len(x), np.linspace(0, WIDTH - 1, 7).astype(int)


@pytest.mark.parametrize("rung", INTERVENED)
def test_ablations_equal_an_independent_computation(measured, rung):
    """Each PC takes its mean at typical positions of a whole forward: KL by window, and variance along it on parts of the text."""
    lab, run = measured(rung)
    found, (mean, q, variance, ranks) = lab.ablation(rung), directions(run, rung)
    a, stream = found.arrays, run.after(MID, "calibration")
    marked = None if rung == "paper" else run.typical("calibration", MID)
    assert a["ranks"].tolist() == ranks.tolist()
    np.testing.assert_allclose(a["variance"], variance[ranks], **STREAMS)
    parts = [*(without(len(stream), g) for g in range(GROUPS)), every_second(len(stream))]
    along = [(rows(stream, marked, windows) @ q[:, ranks]).var(0) for windows in parts]
    np.testing.assert_allclose(a["variance_fit"], along[:-1], **STREAMS)
    np.testing.assert_allclose(a["variance_half"], along[-1], **STREAMS)
    clean, positions = run.logits("intervention", {}), {MID: run.typical("intervention", MID)}
    assert a["left_out"] == pytest.approx(1 - positions[MID].mean())
    cost = []
    for direction in q[:, ranks].T:
        changed = run.logits("intervention", {MID: lambda h, u=direction: h - ((h - mean) @ u)[..., None] * u}, positions)
        cost.append(oracle.kl(clean, changed))
    np.testing.assert_allclose(a["kl"], cost, **DIVERGENCES)
    figure = found.rank_correlation
    expected = [scipy.stats.spearmanr(v, np.mean(cost, axis=1)).statistic for v in (variance[ranks], along[-1])]
    np.testing.assert_allclose([figure.value, figure.half], expected, rtol=1e-12)


@pytest.mark.parametrize("rung", INTERVENED)
def test_pushes_equal_an_independent_computation(measured, rung):
    """A twentieth of the median norm of typical tokens along each PC, against it, and along random directions, in whole forwards."""
    lab, run = measured(rung)
    a, (_, q, _, ranks) = lab.sensitivity(rung).arrays, directions(run, rung)
    norms = np.linalg.norm(run.after(MID, "calibration")[run.typical("calibration", MID)], axis=-1)
    assert a["norm"] == pytest.approx(0.05 * np.sort(norms)[(len(norms) - 1) // 2], rel=1e-6)
    clean, positions = run.logits("intervention", {}), {MID: run.typical("intervention", MID)}

    def pushed(direction):
        both = (sign * float(a["norm"]) * direction for sign in (1, -1))
        return [oracle.kl(clean, run.logits("intervention", {MID: lambda h, v=v: h + v}, positions)) for v in both]

    random = [random_orthonormal(WIDTH, 1, 0, i)[:, 0].numpy() for i in range(len(ranks))]
    found = [pushed(q[:, rank]) for rank in ranks]
    # Which way a PC points is arbitrary.
    np.testing.assert_allclose(np.sort(a["kl"], axis=1), np.sort(found, axis=1), **DIVERGENCES)
    np.testing.assert_allclose(a["random"], [pushed(direction) for direction in random], **DIVERGENCES)
    mean = np.mean(found, axis=(1, 2))
    gini = np.abs(mean[:, None] - mean).sum() / (2 * len(mean) ** 2 * mean.mean())
    assert lab.sensitivity(rung).inequality.value == pytest.approx(gini, rel=1e-5)


@pytest.mark.parametrize("rung", INTERVENED)
def test_correlations_with_logits_equal_an_independent_computation(measured, rung):
    """Whole logits of a whole forward, sketched: canonical directions of one split, NumPy's correlation of their scores on the other."""
    lab, run = measured(rung)
    found, (mean, q, _, _) = lab.logit_change(rung).arrays, directions(run, rung)
    sketch = torch.randn(WORDS, 40, generator=torch.Generator().manual_seed(0)).double().numpy() / 40**0.5
    bases = [q[:, :3], *(random_orthonormal(WIDTH, 3, 0, i).numpy() for i in range(2 if rung == "strict" else 0))]
    for i, basis in enumerate(bases):
        scores, changes, kept = {}, {}, {}
        for split in ("calibration", "intervention"):
            marked = run.typical(split, MID) if rung != "paper" else np.ones(run.ids[split].shape, dtype=bool)
            change = {MID: lambda h, u=basis: h - (h - mean) @ u @ u.T}
            changes[split] = (run.logits(split, change, {MID: marked}) - run.logits(split, {})) @ sketch
            scores[split], kept[split] = (run.after(MID, split) - mean) @ basis, marked.copy()
            kept[split][:, -1] = False

        def correlation(fitted, scored, scores=scores, changes=changes, kept=kept):
            x, y = (rows(part["calibration"], kept["calibration"], fitted) for part in (scores, changes))
            held, other = (rows(part["intervention"], kept["intervention"], scored) for part in (scores, changes))
            top = oracle.pcs(y)[1][:, :6]
            y, other = oracle.centred(y) @ top, other @ top
            a = oracle.cca(x, y, 1e-4 * oracle.unit(x), 1e-4 * oracle.unit(y), 1)[0][:, 0]
            return np.corrcoef(held @ a, oracle.ridge(y, x @ a, 1e-4 * oracle.unit(y)).predict(other))[0, 1]

        fitted, scored = (range(len(run.ids[split])) for split in ("calibration", "intervention"))
        np.testing.assert_allclose(found["correlation"][i], correlation(fitted, scored), **LOGITS)
        left = [correlation(without(len(fitted), g), scored) for g in range(GROUPS)]
        np.testing.assert_allclose(found["correlation_fit"][:, i], left, **LOGITS)
        left = [correlation(fitted, [j for j in scored if j != w]) for w in scored]
        np.testing.assert_allclose(found["correlation_score"][:, i], left, **LOGITS)
        np.testing.assert_allclose(found["correlation_half"][i], correlation(every_second(len(fitted)), scored), **LOGITS)


@pytest.mark.parametrize("rung", INTERVENED)
def test_projections_equal_an_independent_computation(measured, rung):
    """Next-token losses of whole forwards with hooks at every boundary: PCs, refits, noise, random and predictive subspaces."""
    (lab, run), strict = measured(rung), rung == "strict"
    found, blocks, ids = lab.projection(rung), [MID] if strict else [2, 3, 4, 5], run.ids["intervention"]
    a, positions = found.arrays, None if rung == "paper" else {b: run.typical("intervention", b) for b in blocks}
    bounds, count = {b: Boundary(run, rung, b) for b in blocks}, len(run.ids["calibration"])
    refitted = [{b: Boundary(run, rung, b, without(count, g), bounds[b].k) for b in blocks} for g in range(GROUPS)]
    on_half, seeds, some = {b: Boundary(run, rung, b, every_second(count)) for b in blocks}, [0, 1], [0, 3, 6]

    def nll(changes):
        return oracle.nll(run.logits("intervention", changes, positions), ids)

    def projected(bounds):
        return nll({b: bound.projected() for b, bound in bounds.items()})

    def along(make):
        return [nll({b: make(bound, b, k) for b, bound in bounds.items()}) for k in (2, 8)]

    curve = [
        along(lambda bound, b, k: bound.onto(bound.q[:, :k])),
        along(lambda bound, b, k: bound.onto(random_orthonormal(WIDTH, k, 0, b).numpy())),
        along(lambda bound, b, k: bound.obliquely(k)),
    ]
    expected = {"clean": nll({}), "projected": projected(bounds), "refit": [projected(bounds)[some] for bounds in refitted], "curve": curve}
    if strict:
        expected["half_projected"] = [projected(on_half)]
        for name, bound in (("noise", bounds[MID]), ("half_noise", on_half[MID])):
            expected[name] = [nll({MID: bound.noised(seed)}) for seed in seeds]
        expected["refit_noise"] = [nll({MID: refitted[g][MID].noised(seeds[g % 2])})[some] for g in range(GROUPS)]
    assert (a["blocks"].tolist(), a["ranks"].tolist()) == (blocks, [bound.k for bound in bounds.values()])
    assert (a["refit_windows"].tolist(), a["curve_ranks"].tolist()) == (some, [2, 8])
    np.testing.assert_allclose(a["held"], [1 - bound.dropped for bound in bounds.values()], **STREAMS)
    for name, values in expected.items():
        np.testing.assert_allclose(a[name], values, **LOGITS, err_msg=name)
    clean, after, rest = expected["clean"], expected["projected"], [[i for i in range(8) if i != w] for w in range(8)]
    if not strict:
        ratio = found.perplexity_ratio
        np.testing.assert_allclose([ratio.value, *ratio.score], [np.exp((after - clean)[w].mean()) for w in (range(8), *rest)], **LOGITS)
        return

    def over(noise, after=after, windows=range(8)):
        return (after - clean)[windows].mean() / (np.array(noise) - clean)[:, windows].mean()

    figure, noise = found.over_noise, expected["noise"]
    parts = [over(noise), over(expected["half_noise"], expected["half_projected"][0]), over(noise[1:]), over(noise[:1])]
    # Differences of losses are a twentieth of them.
    np.testing.assert_allclose([figure.value, figure.half, *figure.further], parts, rtol=1e-4)
    np.testing.assert_allclose(figure.score, [over(noise, windows=w) for w in rest], rtol=1e-4)
