"""What a user would write without the harness' engine gives its figures, claim by claim, on every rung: two opinions on each."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch

from benchmarks.naive import CLAIMS, main
from benchmarks.naive_claim3 import METHODS, check
from benchmarks.naive_model import NaiveRun
from claims import easy, easy_sets, variance
from harness.easy_protocol import EasyProtocol
from harness.protocol import ReplacementProtocol
from harness.reconstruction import geometric_mean
from harness.replacement import MIDDLE
from harness.statistics import spearman_with_depth
from harness.variance import CURVES
from tests import small_llama

PROTOCOL = replace(
    small_llama.PROTOCOL,
    typical_factor=1.3,  # So that every block has tokens of its own.
    replacement=ReplacementProtocol(run=3, refit_stride=2),
    easy=EasyProtocol(steps=40, warmup=4, trial_steps=10, trial_warmup=2, look_stride=3),
)
INTERVENED, FITTED = ("paper", "typical", "strict"), ("paper", "held-out", "typical", "strict")
CLOSE = {"rel": 1e-3, "abs": 1e-3}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The laboratory of a small Llama, which trains no head on the embeddings: that is no core predicate."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_llama, "PROTOCOL", PROTOCOL)
        made = small_llama.measured(tmp_path_factory.mktemp("naive"))[0]
    made._bench.long = False
    return made


@pytest.fixture(scope="module")
def run(lab):
    """The same model and windows, measured the plain way."""
    return NaiveRun.of(lab)


def listed(figure):
    """Value, standard error and the figure of half the text, as both sides name them."""
    interval = figure.interval(0.95)
    return {"": interval.value, "/se": interval.error} | ({} if figure.half is None else {"/half": float(figure.half)})


def of_claim_1(lab):
    """Projections with all that is run beside them, overlaps for every factor on λ, ranks of importance."""
    found = {}
    for rung in INTERVENED:
        projection = lab.projection(rung)
        found[f"1/projection_ppl_ratio/{rung}"] = projection.over_noise if rung == "strict" else projection.perplexity_ratio
        for i, factor in enumerate(lab.protocol.variance.ridge_factors):
            name = "1/subspace_overlap" if factor == 1 else f"1/subspace_overlap at {factor:g} λ"
            found[f"{name}/{rung}"] = variance.overlap(lab, rung, i)
        found |= {
            f"1/log perplexity onto {k:g} {kind}/{rung}": float(projection.arrays["curve"][i, j].mean())
            for i, kind in enumerate(CURVES)
            for j, k in enumerate(projection.arrays["curve_ranks"])
        }
    return found | {"1/variance_ranks_importance/strict": lab.ablation("strict").rank_correlation}


def of_claim_2(lab):
    """R² of the last block, what it loses, and what every variant of a replacement costs."""
    found = {}
    for rung in FITTED:
        linearity, shift = lab.linearity(rung), lab.shift(rung)
        found |= {f"2/r2/{rung}": linearity.r2.at(linearity.blocks - 1), f"2/r2_lost/{rung}": shift.lost(rung == "paper")}
        for i, target in enumerate(shift.arrays["targets"]):
            curve = [shift.clean(i), *shift.shifted(i)]
            found |= {f"2/r2 of block {target:g} after {j}/{rung}": float(value) for j, value in enumerate(curve)}
    for rung in INTERVENED:
        runs = lab.runs(rung)
        a = runs.arrays
        found |= {f"2/single_replacement/{rung}": runs.single, f"2/multi_replacement/{rung}": runs.multiple}
        names = ["last", "last, other kind", "last skipped", "last mean", *(f"run {kind}" for kind in MIDDLE)]
        named = [*zip(names, a["nll"], strict=True), *zip([f"middle {kind}" for kind in MIDDLE], a["middle_nll"], strict=True)]
        named += [(f"block {b:g} alone", nll) for b, nll in zip(a["run"], a["alone"], strict=True)]
        found |= {f"2/cost of {name}/{rung}": runs.cost(nll) for name, nll in named}
        for part in ("", "middle_"):
            blocks = a["run" if not part else "middle"]
            found |= {f"2/r2 of block {b:g} refitted/{rung}": float(r2) for b, r2 in zip(blocks, a[f"{part}refitted_r2"], strict=True)}
    return found


def of_claim_3(lab):
    """Every method of the wall, with what shares a scale on the rung and with groups of columns."""
    return {
        f"3/wall_{method}{name}/{rung}": geometric_mean(lab.arena(rung).ratios(method, rung == "paper", grain))
        for rung in FITTED
        for method in METHODS
        for grain, name in enumerate(("", " in groups"))
    }


def of_claim_4(lab):
    """R² of every block, and its trend."""
    found = {}
    for rung in FITTED:
        r2 = lab.linearity(rung).r2
        found |= {f"4/r2 of block {block}/{rung}": r2.at(block) for block in range(lab.model.n_blocks)}
        found |= {f"4/depth_trend/{rung}": r2.map(spearman_with_depth), f"4/depth_gain/{rung}": r2.map(lambda v: float(v[-1] - v[0]))}
    return found


def of_claim_5(lab):
    """What the head at mid says, which tokens are easy, and whether they are the same."""
    found = {}
    for rung in INTERVENED:
        found |= {f"5/exit_agreement/{rung}": easy.exit_agreement(lab, rung)[0], f"5/exit_excess/{rung}": easy.exit_excess(lab, rung)[0]}
        found |= {f"5/kl_easy_share/{rung}": lab.late_blocks(rung).share}
        found |= {f"5/easy_sets_agree/{rung}": easy_sets.easy_sets_agree(lab, rung)[0]}
    for rung in ("paper", "strict"):
        a = lab.exit(rung).arrays
        for name, curve in (("nll", a["held_nll"][0]), ("agreement", a["held_agreed"][0])):
            found |= {f"5/{name} after {step:g} steps/{rung}": float(value) for step, value in zip(a["steps"], curve, strict=True)}
    return found


HARNESS = {1: of_claim_1, 2: of_claim_2, 3: of_claim_3, 4: of_claim_4, 5: of_claim_5}


@pytest.mark.parametrize("claim", CLAIMS)
def test_both_sides_give_the_same_figures(lab, run, claim):
    """Every figure of either side, its standard error and the same of half the text, to a thousandth."""
    expected = {}
    for name, figure in HARNESS[claim](lab).items():
        parts = {"": figure} if isinstance(figure, float) else listed(figure)
        expected |= {f"{name}{part}": value for part, value in parts.items()}
    assert CLAIMS[claim](run) == pytest.approx(expected, **CLOSE)


def test_clean_run_counts_every_block(run):
    """One pass of all windows of a layout is tokens times blocks, and is not repeated."""
    run.forget()
    before = run.passes
    clean = run.clean("paper")
    assert run.passes - before == sum(clean.ids[split].size for split in ("calibration", "evaluation")) * small_llama.BLOCKS
    assert run.clean("typical") is clean
    assert run.passes - before == sum(clean.ids[split].size for split in ("calibration", "evaluation")) * small_llama.BLOCKS


def test_command_prints_and_keeps_figures(shelf, tmp_path, monkeypatch, capsys):
    """Seconds, what was run and every figure, with its error, of the claims that are asked for."""
    kept = tmp_path / "naive.json"
    options = ["--model", str(shelf / "llama"), "--corpus", str(shelf / "text"), "--device", "cpu", "--quick", "--claims", "4"]
    monkeypatch.setattr("sys.argv", ["naive", *options, "--json", str(kept)])
    main()
    printed = capsys.readouterr()
    (part,) = json.loads(kept.read_text())["claims"].values()
    assert part["token-blocks"] == (8 + 4 + 8 + 16 + 4) * 256 * 8
    assert f"  4/depth_trend/paper {part['figures']['4/depth_trend/paper']:.6g} ± " in printed.out
    assert "claim 4: " in printed.err


@pytest.mark.parametrize("claims", ["", "6", "1,two"])
def test_unknown_claims_are_refused(claims, monkeypatch, capsys):
    """What is no claim is named, with those that are."""
    monkeypatch.setattr("sys.argv", ["naive", "--claims", claims])
    with pytest.raises(SystemExit):
        main()
    assert f"no claim {claims.split(',')[-1]!r}; expected some of 1,2,3,4,5" in capsys.readouterr().err


def test_experts_are_refused(run):
    """A block with a matrix that is no linear layer is named."""
    block = run.blocks[0]
    with pytest.raises(NotImplementedError, match="block 3: table"):
        check(with_table(block), 3)


def with_table(block):
    """A copy of a block with a parameter of three dimensions."""
    copied = copy.deepcopy(block)
    copied.table = torch.nn.Parameter(torch.zeros(2, 3, 4))
    return copied
