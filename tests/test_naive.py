"""What a user would write without the harness' engine gives its figures, claim by claim, on every rung: two opinions on each."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch

from benchmarks.core_figures import figures
from benchmarks.naive import CLAIMS, main
from benchmarks.naive_claim3 import check
from benchmarks.naive_model import NaiveRun
from harness.easy_protocol import EasyProtocol
from harness.errors import SubjectError
from harness.protocol import ReplacementProtocol
from tests import small_llama

PROTOCOL = replace(
    small_llama.PROTOCOL,
    typical_factor=1.3,  # So that every block has tokens of its own.
    replacement=ReplacementProtocol(run=3, refit_stride=2),
    easy=EasyProtocol(steps=40, warmup=4, trial_steps=10, trial_warmup=2, look_stride=3),
)
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


@pytest.mark.parametrize("claim", CLAIMS)
def test_both_sides_give_the_same_figures(lab, run, claim):
    """Every figure of either side, its standard error and the same of half the text, to a thousandth."""
    assert CLAIMS[claim](run) == pytest.approx(figures(lab, claim), **CLOSE)


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
    with pytest.raises(SubjectError, match="block 3: table"):
        check(with_table(block), 3)


def with_table(block):
    """A copy of a block with a parameter of three dimensions."""
    copied = copy.deepcopy(block)
    copied.table = torch.nn.Parameter(torch.zeros(2, 3, 4))
    return copied
