"""What is said not to add up in the paper does not, computed from its own figures and from definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from claims.inconsistencies import INCONSISTENCIES, KINDS, inconsistencies_of
from claims.published import MODELS as OF_THE_PAPER
from claims.published import PUBLISHED
from fixtures import MODELS
from reports.ledger import claim_of

FIGURES = {figure.ident: figure for figure in PUBLISHED}
SAID = {one.ident: f"{one.says} {one.against}" for one in INCONSISTENCIES}
GPT2_R2 = [FIGURES[f"r2-gpt2-{row}"].value for row in (0, 5, 15, 25, 31)]
GPT2, MISTRAL = MODELS["gpt2"], MODELS["mistral"]


def value(ident):
    """A figure of the paper."""
    return FIGURES[ident].value


def printed(ident, digits=0):
    """From where to where a figure may lie before rounding: half the last printed digit either way; ``digits``, where it ends in 0."""
    low, high = FIGURES[ident].ends
    digits = max(digits, *(len(f"{end:g}".partition(".")[2]) for end in (low, high)))
    digits = max(digits, 2) if FIGURES[ident].kind == "share" else digits  # 30% has no fewer digits than 35%.
    half = 0.5 * 10.0**-digits
    return low - half, high + half


def explained(x, delta):
    """The share of a change that least squares explains, in sample and uncentred."""
    fitted = x @ np.linalg.lstsq(x, delta, rcond=None)[0]
    return 1 - ((delta - fitted) ** 2).sum() / (delta**2).sum()


def gini(values):
    """The Gini coefficient of non-negative numbers, from their order."""
    ordered = np.sort(values)
    count = len(ordered)
    return float((2 * np.arange(1, count + 1) - count - 1) @ ordered / (count * ordered.sum()))


def eq3():
    """With sensitivity within a fifth of uniform, the PCs that hold 90% of variance hold 85% of importance, and have its order."""
    few, width = int(value("dimensions-90")), value("gpt2-width")
    rng = np.random.default_rng(0)
    rest = rng.exponential(size=width - few)
    variance = np.concatenate([np.full(few, 0.9 / few), 0.1 * rest / rest.sum()])
    importance = variance * rng.uniform(0.8, 1.2, size=width)
    assert importance[:few].sum() / importance.sum() > 0.85
    assert stats.spearmanr(variance, importance).statistic > 0.95
    assert str(width) in SAID["eq3-against-title"]


def overlap():
    """Random subspaces of 128 of 4,096 overlap by 3.1%, within a point and a half of 4% however that is rounded."""
    k, width = value("overlap-rank"), MISTRAL.width
    assert f"{k / width:.1%}" == "3.1%"
    rng, share = np.random.default_rng(0), 1 / 32
    first, second = (np.linalg.qr(rng.standard_normal((512, 16)))[0] for _ in range(2))
    assert np.sum((first.T @ second) ** 2) / 16 == pytest.approx(share, abs=0.01)
    assert value("overlap") + value("uncorrelated") == pytest.approx(1)
    assert all(abs(end - k / width) < 0.015 for end in printed("overlap"))


def table_2_rows():
    """Three of its five rows are beyond the last block."""
    rows = [int(ident.rpartition("-")[2]) for ident in FIGURES if ident.startswith("r2-gpt2-") and ident[-1].isdigit()]
    assert [row for row in rows if row >= GPT2.n_blocks] == [15, 25, 31]
    assert value("gpt2-blocks") == GPT2.n_blocks


def r2_of_gpt2():
    """No row, however rounded, is one that rounds to 0.94."""
    assert min(printed(f"r2-gpt2-{row}", 3)[0] for row in (0, 5, 15, 25, 31)) > printed("r2-gpt2-text")[1]
    assert (value("r2-gpt2-text"), value("r2-gpt2-abstract")) == (0.94, 0.95)


def r2_cap():
    """A map into V_k explains no more than V_k holds, here of a Δ that is a linear map of its input exactly."""
    assert max(GPT2_R2) <= value("energy") == 0.95
    assert min(GPT2_R2) >= 0.948
    rng = np.random.default_rng(1)
    x = rng.standard_normal((400, 30))
    delta = x @ rng.standard_normal((30, 30))
    energies = np.linalg.svd(delta, compute_uv=False) ** 2
    k = int(np.searchsorted(np.cumsum(energies) / energies.sum(), 0.95)) + 1
    v = np.linalg.svd(delta)[2][:k]
    fitted = x @ np.linalg.lstsq(x, delta @ v.T, rcond=None)[0] @ v
    assert 1 - ((delta - fitted) ** 2).sum() / (delta**2).sum() == pytest.approx(energies[:k].sum() / energies.sum())


def r2_of_noise():
    """Least squares on noise gives rank/N in sample: d/N, times what V_k holds; where rows repeat, as at B0, distinct rows over N."""
    tokens, width = value("calibration-tokens"), MISTRAL.width
    assert (tokens, width / tokens) == (value("calibration-samples") * value("sample-tokens"), 0.5)
    rng = np.random.default_rng(2)
    x, delta = rng.standard_normal((2, 400, 200))
    assert explained(x, delta) == pytest.approx(0.5, abs=0.02)
    repeated = x[rng.integers(80, size=400)]
    rank = np.linalg.matrix_rank(repeated)
    assert rank <= 80
    assert explained(repeated, delta) == pytest.approx(rank / 400, abs=0.02)
    assert printed("r2-mistral-5")[1] < value("energy") * width / tokens == 0.475
    assert "B0" not in SAID["r2-below-noise"]


def rotated():
    """24.8 lies outside of 20 to 21, rounded or not."""
    assert printed("wall-rotated")[0] > printed("wall-pca")[1]
    assert value("wall-pca") == value("wall-cca") == (20, 21)


def strictly():
    """Table 3 has three methods beside the direct one, of GPT-2 alone."""
    methods = [figure for ident, figure in FIGURES.items() if ident.startswith("mse-") and ident != "mse-direct"]
    assert len(methods) == 3
    assert {model for figure in methods for model in figure.models} == {"gpt2"}


def flat():
    """GPT-2's rows are within 0.002 of one another, Mistral's rise by 0.76."""
    assert max(GPT2_R2) - min(GPT2_R2) == pytest.approx(0.002)
    assert GPT2_R2[-1] - GPT2_R2[0] == pytest.approx(0.001)
    assert value("r2-mistral-31") - value("r2-mistral-0") == pytest.approx(0.762)


def monotonic():
    """Five figures of 32 blocks are there."""
    assert sum(ident.startswith("r2-mistral-") for ident in FIGURES) == 5
    assert MISTRAL.n_blocks == value("mistral-blocks") == 32


def late():
    """The last block costs no less than any from B3 to B10, however the figures were rounded, and more as printed."""
    others = [f"destroyed-{block}" for block in range(3, 11)]
    assert printed("destroyed-11")[0] >= max(printed(one)[1] for one in others) - 1e-9
    assert value("destroyed-11") > max(max(value(one)) for one in others)


def low_kl():
    """Half of numbers without ties are below their median, which 30.1% is not."""
    kl = np.random.default_rng(3).lognormal(size=1000)
    assert np.mean(kl < np.median(kl)) > printed("low-kl")[1]


def plateau():
    """The range of the longer training, Mistral's among it, begins above 30%, however both are rounded."""
    assert printed("plateau")[1] < printed("long-training")[0]
    assert set(FIGURES["plateau"].models) < set(FIGURES["long-training"].models)
    assert value("long-steps") > value("head-steps")


def kmeans_shares():
    """By the gain, its logarithm and the error removed, NF4 has less than 60% of what k-means has, however both are rounded."""
    readings = {"35%": lambda ratio: ratio - 1, "41%": np.log, "46%": lambda ratio: 1 - 1 / ratio}
    for told, read in readings.items():
        assert f"{read(value('nf4')) / read(value('kmeans')):.0%}" == told
        assert told in SAID["shares-of-kmeans"]
        assert read(printed("nf4")[1]) / read(printed("kmeans")[0]) < printed("kmeans-levels")[0]


def blocks_saved():
    """The shares are those of blocks from the exit on, and by no rounding those of blocks after it."""
    total = MISTRAL.n_blocks
    for block, left in ((15, 16), (23, 8), (27, 4)):
        low, high = printed(f"blocks-saved-{block}")
        assert low <= (total - block) / total <= high
        assert total - block - 1 == left
        assert not low <= left / total <= high


def gini_of_random():
    """2/π, by its definition and in a sample; the layers' range holds it."""
    squares = np.random.default_rng(4).standard_normal(200_000) ** 2
    assert gini(squares) == pytest.approx(2 / np.pi, abs=0.005)
    low, high = value("gini-layers")
    assert low < 2 / np.pi < high
    assert f"{2 / np.pi:.3f}" == "0.637"
    assert 2 / np.pi - value("gini-random") > 0.3


def energy_of_random():
    """E[x² ; |x| above its upper quartile] of a normal x."""
    q = stats.norm.ppf(0.875)
    held = 2 * (q * stats.norm.pdf(q) + stats.norm.sf(q))
    assert f"{held:.1%}" == "72.4%"
    assert value("top-quarter") == pytest.approx(held, abs=0.005)


def phases():
    """Table 7 has 10 of 12 blocks."""
    shown = {int(ident.rpartition("-")[2]) for ident in FIGURES if ident.startswith("attention-")}
    missing = sorted(set(range(GPT2.n_blocks)) - shown)
    assert f"{len(shown)} of {GPT2.n_blocks} blocks: B{missing[0]} and B{missing[1]} are" in SAID["phases-leave-out"]
    assert len(missing) == 2


def part_above_whole():
    """The attention of B0 lies above the range of whole blocks, however both are rounded."""
    assert printed("attention-0")[0] > printed("destroyed-0")[1]


def side_of_b2():
    """The most that attention costs there, as printed, is the least that the MLP does; in B0, it is attention that costs more."""
    assert max(value("attention-2")) <= min(value("mlp-2"))
    assert value("attention-0") > value("mlp-0")


SHOWN = {
    "eq3-against-title": eq3,
    "overlap-is-chance": overlap,
    "table-2-rows": table_2_rows,
    "r2-of-gpt2": r2_of_gpt2,
    "r2-is-the-cap": r2_cap,
    "r2-below-noise": r2_of_noise,
    "rotated": rotated,
    "strictly-superior": strictly,
    "gpt2-does-not-rise": flat,
    "monotonic": monotonic,
    "late-is-not-cheap": late,
    "low-kl-below-median": low_kl,
    "plateau": plateau,
    "blocks-saved": blocks_saved,
    "shares-of-kmeans": kmeans_shares,
    "gini-of-random": gini_of_random,
    "energy-of-random": energy_of_random,
    "phases-leave-out": phases,
    "part-above-whole": part_above_whole,
    "which-side-of-b2": side_of_b2,
}


@pytest.mark.parametrize("ident", SHOWN)
def test_an_inconsistency_is_one(ident):
    """By arithmetic on the paper's figures, or by what a definition gives."""
    SHOWN[ident]()


def test_every_inconsistency_is_shown_to_be_one():
    """None is only stated, and each belongs to a claim and to models of the paper."""
    assert list(SHOWN) == list(SAID)
    assert {one.kind for one in INCONSISTENCIES} == set(KINDS)
    for one in INCONSISTENCIES:
        assert claim_of(one.claim).key == one.claim
        assert set(one.models) <= set(OF_THE_PAPER)
        assert one.says.endswith(".")
        assert one.against.endswith(".")
    assert "rotated" in {one.ident for one in inconsistencies_of("gpt2")} - {one.ident for one in inconsistencies_of("mistral")}


def test_numbers_of_the_set_up_agree_with_one_another():
    """What is consistent: a map of rank 773, the parameters of a block, those of both models, the rank of the SVD."""
    d, wide, narrow = MISTRAL.width, 14_336, 1_024
    assert 773 * 2 * d == pytest.approx(value("map-parameters"), rel=0.01)
    block = 2 * d * d + 2 * d * narrow + 3 * d * wide + 2 * d
    assert block == pytest.approx(value("block-parameters"), rel=0.001)
    assert int(block / (773 * 2 * d)) == value("compression")
    assert GPT2.parameters == pytest.approx(value("gpt2-parameters"), rel=0.01)
    assert MISTRAL.parameters == pytest.approx(value("mistral-parameters"), rel=0.001)
    assert GPT2.width * GPT2.width / (2 * GPT2.width) == value("svd-rank")
    assert value("map-rank") == 773
