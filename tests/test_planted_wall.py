"""Claim 3 and the codebooks against planted truths: weights that one method stores without loss, and all others not."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft

from claims import claim_3_the_reconstruction_wall as claim_3
from claims import claim_appendix_extended_experiments as appendix
from claims.declared import WALL
from harness.statistics import Array
from reports.ledger import judge_claim
from tests import planted, planted_wall
from tests.conftest import ROOT
from tests.planted_laboratory import JUDGED, Planted, judged, measured_in, table

TESTED = measured_in(claim_3) | measured_in(appendix)
TRUTHS = {
    "wall_dct": {"holds": "levelled", "falsified": "cosine"},
    "wall_svd": {"holds": "levelled", "falsified": "factored"},
    "wall_random": {"holds": "levelled", "falsified": "rotated"},
    "wall_pca": {"holds": "levelled", "falsified": "narrow"},
    "wall_cca": {"holds": "levelled", "falsified": "narrow"},
    "strictly": {"holds": "levelled", "falsified": "one"},
    "cross_terms": {"holds": "levelled", "falsified": "factored"},
    "challenger_rotation": {"holds": "levelled", "falsified": "rotated"},
    "challenger_hadamard": {"holds": "levelled", "falsified": "mixed"},
    "challenger_gptq_factors": {"holds": "levelled", "falsified": "factored"},
    "spectral_gini_excess": {"holds": "cosine", "falsified": "drawn"},
    "spectral_gini_excess_embeddings": {"holds": "cosine", "falsified": "drawn"},
    "kmeans_gain": {"holds": "normal", "falsified": "small"},
    "nf4_gain": {"holds": "normal", "falsified": "small"},
}
TABLE = [row for row in table(TRUTHS) if row[1] in TESTED[row[0]].measures.predicate.bounds]
WALL_METHODS = [f"wall_{name}" for name in ("dct", "svd", "random", "pca", "cca")]


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory):
    """Laboratories of planted subjects, by name."""
    folder = tmp_path_factory.mktemp("walled")
    return Planted(folder, planted.corpus(folder / "text", evaluation=64 * 256), planted_wall.save, planted_wall.SUBJECTS)


@pytest.mark.parametrize(("predicate", "rung", "subject", "verdict"), TABLE)
def test_each_predicate_finds_the_planted_truth(laboratory, predicate, rung, subject, verdict):
    """What holds by construction HOLDS, what is false by construction is FALSIFIED, and nothing is in doubt."""
    row = judged(TESTED[predicate], laboratory(subject), rung)
    assert row.verdict == verdict, row.message()
    assert not row.caveats


@pytest.mark.parametrize("rung", JUDGED)
@pytest.mark.parametrize(
    ("subject", "verdict", "decided_by"), [("levelled", "holds", WALL_METHODS), ("most", "falsified", ["wall_random"])]
)
def test_the_claim_is_what_its_core_makes_it(laboratory, subject, verdict, decided_by, rung):
    """All of the wall's methods lose, and the claim holds; one that wins by the mean of all layers falsifies it, and is named."""
    rows = [judged(TESTED[p.name], laboratory(subject), rung) for p in WALL.predicates if rung in p.bounds]
    assert judge_claim(rows) == (verdict, tuple(decided_by))


@pytest.mark.parametrize("rung", JUDGED)
def test_one_layer_of_four_falsifies_that_every_layer_loses_and_not_that_the_mean_does(laboratory, rung):
    """The layer and the method are named; the mean over layers is above 1 and decides nothing, nor do methods that lose on the layer."""
    lab, name = laboratory("one"), "block 0 layers.2"
    least, mean, other = (judged(TESTED[predicate], lab, rung) for predicate in ("strictly", "wall_dct", "wall_random"))
    ratios = lab.arena(rung).ratios("dct", rung == "paper").value
    assert least.value == min(ratios) == ratios[2]
    assert f"{name} by dct" in least.reason
    assert least.level == 1 - 0.05 / (4 * len(WALL_METHODS))
    assert (mean.verdict, mean.value > 1) == ("inconclusive", True)
    assert mean.value == pytest.approx(np.exp(np.log(ratios).mean()))
    assert mean.reason.startswith(f"1 of 4 wholly below 1 ({name} ")
    assert other.verdict == "holds"


@pytest.mark.parametrize("rung", JUDGED)
def test_where_direct_is_exact_there_is_nothing_to_compare_with(laboratory, rung):
    """Entries on 16 levels that 16-bit numbers name: no ratio, and no verdict, but of what stores more than direct quantisation needs."""
    lab = laboratory("exact")
    for predicate in ("wall_dct", "challenger_rotation", "challenger_hadamard"):
        if rung in TESTED[predicate].measures.predicate.bounds:
            row = judged(TESTED[predicate], lab, rung)
            assert (row.verdict, row.value) == ("not_applicable", None)
            assert row.reason.startswith("no figure: ")


@pytest.mark.parametrize(
    ("predicate", "rung", "reason"),
    [
        ("kmeans_gain", "paper", "the whole tensor; 4.06 bits a weight against 4.06;"),
        ("kmeans_gain", "strict", "groups of 64; 8.00 bits a weight against 8.00;"),
        ("nf4_gain", "paper", "the whole tensor; 4.01 bits a weight against 4.01;"),
        ("nf4_gain", "strict", "groups of 64; 4.25 bits a weight against 4.50;"),
    ],
)
def test_codebooks_are_stored_with_the_weights(laboratory, predicate, rung, reason):
    """64² weights: 16 numbers of 16 bits a codebook, one a scale of NF4, two a grid, of which direct quantisation keeps 16 levels."""
    assert judged(TESTED[predicate], laboratory("normal"), rung).reason.startswith(reason)


def test_planted_weights_are_what_they_say():
    """By SciPy and NumPy alone: one coefficient, σ all but equal, products of rows of four values, inputs of a third of the rank."""

    def saved(subject: str, name: str = "blocks.0.layers.1.weight") -> Array:
        model = planted_wall.WallModel(planted_wall.WallConfig(**planted_wall.SUBJECTS[subject]))
        return model.state_dict()[name].double().numpy()

    energy = scipy.fft.dctn(saved("cosine"), norm="ortho") ** 2
    assert energy.max() > 0.9999 * energy.sum()
    sizes, rank = np.linalg.svd(saved("factored"), compute_uv=False), planted_wall.D // 2
    np.testing.assert_allclose(sizes, np.r_[np.linspace(1 + planted_wall.NOISE, 1, rank), np.zeros(rank)], atol=1e-6)
    for subject in ("rotated", "mixed"):
        products = 256 * saved(subject) @ saved(subject).T  # No basis changes those of rows: whole numbers.
        np.testing.assert_allclose(products, np.round(products), atol=1e-3)
        assert len(np.unique(np.round(saved(subject), 6))) > 3 * 16  # Levels of their own they have none.
    spread = np.linalg.svd(saved("narrow", "embed.weight"), compute_uv=False)
    leading = planted_wall.LEADING
    expected = np.r_[np.ones(leading), np.full(planted_wall.D - leading, planted_wall.FAINT)]
    np.testing.assert_allclose(spread / spread[0], expected, atol=1e-6)


def test_the_whole_claim_runs_on_layers_that_direct_quantisation_stores(claims, laboratory):
    """``pytest claims -m claim3`` end to end: cells, claim, exit code, and what all layers quantised cost."""
    folder = planted_wall.save(laboratory.folder / "whole", **planted_wall.SUBJECTS["levelled"])
    result = claims("-m", "claim3", model=folder, text=laboratory.text, files=[ROOT / "claims"])
    assert result.ret == 0
    for rung in JUDGED:
        found = planted.verdicts(result.report, rung)
        bounded = [p.name for p in WALL.predicates if rung in p.bounds]
        assert {name: found[name] for name in bounded} == dict.fromkeys(bounded, "holds")
        assert found["downstream"] == "measured"
    claim = {(c["claim"], c["rung"]): (c["verdict"], c["decided_by"]) for c in result.report["claims"]}
    assert claim[3, "paper"] == claim[3, "strict"] == ("holds", WALL_METHODS)
