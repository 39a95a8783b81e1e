"""Every claim runs on every family: tiny random models, saved as any checkpoint is, through the real loader and the claims' own tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from claims.declared import all_predicates
from claims.verdicts import Verdict
from harness.measurement import MEASUREMENTS
from tests import families
from tests.family_laboratory import SIZE, TESTS, all_rows, laboratory, texts_of
from tests.whole_model import agrees

ROOT = Path(__file__).parent.parent
BLOCKS, WIDTH, HEADS, WORDS = 10, 16, 2, 64
CLAIMED = [family for family in families.TABLE if family not in ("granite", "cohere")]
DESTROYED = 4
LONG = {"routing_cost", "supervision", "lora_gain"}
"""What claim 5 measures only when asked to."""
WHY = {
    "projection_ppl_ratio": "noise of the dropped variance costs nothing",
    "shift_excess": "the maps at true inputs cost nothing",
    "compounding": "the costs of each map alone do not sum to more than zero",
    "easy_sets_agree": "in no stratum are there tokens that only agree and others that only have a low KL",
    "routing_cost": "of the blocks' operations, less than 1%",
}
"""What may be NOT APPLICABLE to so small a model on so little text, and why; it depends on the numbers drawn, not on the architecture."""
ABSENT = {
    "gpt2": {("shift_excess", "strict")},
    "qwen2": {("shift_excess", "paper")},
    "qwen3": {("easy_sets_agree", "strict")},
    "olmo2": {("projection_ppl_ratio", "strict")},
    "falcon": {("projection_ppl_ratio", "strict"), ("shift_excess", "strict")},
    "bloom": {("shift_excess", "strict"), ("compounding", "strict")},
}
"""Family → the cells of which that is so; a new one fails the test, and one that is gone."""
SEEDS = {"qwen2": 1, "gemma2": 3, "bloom": 3}
"""Family → what its model is drawn by, where with 0 some predicate has no figure on any rung."""


@pytest.mark.parametrize("family", CLAIMED)
def test_every_claim_runs_on_every_family(family, tmp_path):
    """Each cell of each rung, long ones too, has a finite figure, or is NOT APPLICABLE for the reason that is known of it.

    Every predicate of every claim has a figure on some rung.

    Perplexity, R² of every block and the KL of a destroyed one are those of the model run whole in float64; the windows begin with BOS
    where the family's do.
    """
    model = families.model_of(families.config_of(family, BLOCKS, WIDTH, HEADS, WORDS), SEEDS.get(family, 0))
    path, texts = families.save(tmp_path / "model", family, model), texts_of(tmp_path, family, model, 2)
    lab = laboratory(path, texts)
    rows = all_rows(lab)
    assert {row.verdict for row in rows} <= {
        Verdict.HOLDS,
        Verdict.FALSIFIED,
        Verdict.INCONCLUSIVE,
        Verdict.MEASURED,
        Verdict.NOT_APPLICABLE,
    }
    absent = {(row.cell.predicate, row.cell.rung): row.reason for row in rows if row.verdict is Verdict.NOT_APPLICABLE}
    assert set(absent) == ABSENT.get(family, set())
    assert all(WHY[predicate] in why for (predicate, _), why in absent.items())
    figures = [row for row in rows if row.verdict is not Verdict.NOT_APPLICABLE]
    assert all(np.isfinite(row.value) for row in figures)
    assert {row.cell.predicate for row in figures} == {test.measures.predicate.name for test in TESTS}
    assert set(lab.timings) == {measurement.name for measurement in MEASUREMENTS}

    ids = lab.windows("paper")
    assert all((split[:, 0] == WORDS - 2).all() == families.TABLE[family].bos for split in ids.values())
    agrees(lab, path, DESTROYED)
    assert ids["calibration"].shape[1] == SIZE > families.LOCAL


def test_a_family_goes_through_the_command_line(tmp_path, claims):
    """``pytest claims`` on a saved Gemma 2: a figure on ``strict`` for all of claims 4 and 5 without ``--long``, no warning."""
    path = families.save(tmp_path / "model", "gemma2", families.model_of(families.config_of("gemma2", BLOCKS, WIDTH, HEADS, 512)))
    result = claims("-m", "(claim4 or claim5) and strict", "--quick", "--verdicts=report", model=path, files=[f"{ROOT}/claims"])
    assert result.ret == 0
    found = {row["predicate"]: row for row in result.report["rows"] if row["claim"] in (4, 5) and row["rung"] == "strict"}
    assert found.keys() == {predicate.name for claim, predicate in all_predicates() if claim.key in (4, 5)}
    assert {name for name, row in found.items() if row["verdict"] != "measured"} == LONG
    assert all(np.isfinite(row["value"]) for name, row in found.items() if name not in LONG)
    assert result.parseoutcomes().keys() == {"deselected", "measured", "untested"}
    assert "warning" not in result.stdout.str().lower()
    assert not [line for line in result.errlines if "shards" not in line]
