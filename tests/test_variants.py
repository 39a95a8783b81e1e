"""What varies within families and checkpoints: heads tied or not, groups of heads, odd widths, few blocks, types, shards, folders, GGUF."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from claims.declared import INTERVENTIONS
from claims.verdicts import Verdict
from harness.protocol import RUNGS
from tests import families, planted_maps
from tests.family_laboratory import cells, laboratory, row_of, texts_of
from tests.whole_model import EXACT, Close, agrees

BLOCKS = 3
CONFIGS = {
    **{f"{family} tied": (family, {"tie_word_embeddings": True}) for family in ("llama", "opt", "falcon", "phi3")},
    **{f"{family} untied": (family, {"tie_word_embeddings": False}) for family in ("gpt2", "opt", "gemma2", "bloom", "falcon")},
    "biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "grouped heads": ("llama", {"heads": 4, "num_key_value_heads": 2}),
    "one head of keys": ("llama", {"heads": 4, "num_key_value_heads": 1}),
    "falcon of 40B": ("falcon", {"heads": 4, "new_decoder_architecture": True, "num_kv_heads": 2}),
    "odd width": ("gpt2", {"width": 21, "heads": 3}),
    "odd width of MLPs, biases of Phi": ("phi", {"width": 24, "heads": 3, "wide": 31}),
    "wider than groups of 128": ("llama", {"width": 132, "heads": 2, "wide": 30}),
}


def made(name, family, changes, folder, dtype=torch.float32, texts=1, **options):
    """A model of a family, saved, and a text of its own."""
    sizes = {"blocks": BLOCKS, "width": 16, "heads": 2, "vocabulary": 64}
    model = families.model_of(families.config_of(family, **{**sizes, **changes}))
    return families.save(folder / name, family, model, dtype, **options), texts_of(folder, family, model, texts)


def measured(lab):
    """Linearity, and where something is intervened on destruction and an exit, give figures on every rung."""
    for rung in RUNGS:
        assert np.isfinite(lab.linearity(rung).r2.value).all()
    for rung in INTERVENTIONS:
        assert (lab.profile(rung).kl("both") > 0).all()
        exits = lab.exit(rung).arrays
        assert np.isfinite(exits["nll"]).all()
        assert np.exp(exits["full_nll"].mean()) == pytest.approx(lab.profile(rung).baseline, rel=1e-5)


@pytest.mark.parametrize("variant", CONFIGS)
def test_variants_of_a_family(variant, tmp_path):
    """Linearity, destruction and exits run, and the figures are those of the model run whole."""
    path, texts = made("model", *CONFIGS[variant], tmp_path)
    lab = laboratory(path, texts)
    measured(lab)
    agrees(lab, path, 1)


DIGITS = {"auto": EXACT, "bfloat16": Close(perplexity=0.02, kl=0.2, r2=0.005), "float16": Close(perplexity=0.001, kl=0.02, r2=0.005)}
"""What a run in a type keeps: float16 has three more bits than bfloat16; R² is fitted in float64, whatever the type."""


@pytest.mark.parametrize("asked", ["auto", "bfloat16", "float16"])
@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_checkpoints_and_runs_of_other_types(stored, asked, tmp_path):
    """A checkpoint of a half type runs in float32 on a CPU, as exactly as any; asked for a half type, to that type's digits."""
    path, texts = made("model", "llama", {}, tmp_path, stored)
    lab = laboratory(path, texts, dtype=asked)
    measured(lab)
    assert lab.facts.dtype == {"auto": "float32"}.get(asked, asked)
    agrees(lab, path, 1, close=DIGITS[asked])


@pytest.mark.parametrize(("name", "options"), [("sharded", {"max_shard_size": "5KB"}), ("a folder, of ünusual [name] & 100% odd's", {})])
def test_shards_and_odd_folders(name, options, tmp_path):
    """Several files, an index; a path of marks, blanks and letters beyond ASCII."""
    path, texts = made(name, "llama", {}, tmp_path, **options)
    assert (len(list(path.glob("*.safetensors"))) > 2) == bool(options)
    lab = laboratory(path, texts)
    measured(lab)
    agrees(lab, path, 1)


def test_a_gguf_file_is_measured_as_what_it_is_dequantised_to(tmp_path):
    """Eight bits, a tied head: figures are those of the weights that transformers reads from it."""
    path = planted_maps.save_gguf(tmp_path / "tiny.gguf")
    text = tmp_path / "text"
    text.mkdir()
    (text / "train.txt").write_text("that the cat sat on the mat with them. " * 40)
    (text / "test.txt").write_text("then they thought of this, and that was the end. " * 30)
    lab = laboratory(path, [text])
    measured(lab)
    assert lab.facts.provenance.startswith("de-quantised from Q8_0")
    agrees(lab, tmp_path, 1, file=path.name)


RUNS = {"r2_lost", "multi_replacement", "shift_excess", "compounding"}
TRENDS = {"depth_trend", "monotonic", "importance_u_shape", "r2_guides", "late_is_cheap"}
LATE = {"kl_easy_share", "easy_sets_agree"}
FEWEST = {2: (RUNS, TRENDS, LATE), 6: (TRENDS, LATE), 8: (LATE,)}
"""Blocks → what so few cannot express: runs of five take 6, rank trends and the U-shape 8, four late blocks 10."""


COSTLESS = {(6, "shift_excess", "strict")}
"""Where the denominator drawn is not above zero."""


@pytest.mark.parametrize("blocks", FEWEST)
def test_what_few_blocks_cannot_express_is_not_applicable(blocks, tmp_path):
    """It says how many it needs, on every rung; of 2 blocks all else, in every claim, has a finite figure.

    Of 6 and 8 the same of what 2 cannot express.
    """
    path, texts = made("model", "gpt2", {"blocks": blocks}, tmp_path, texts=2)
    lab = laboratory(path, texts)
    rows = [row_of(lab, *cell) for cell in cells(blocks) if blocks == 2 or cell[0].measures.predicate.name in RUNS | TRENDS | LATE]
    assert {row.cell.claim for row in rows} == ({1, 2, 3, 4, 5, "appendix"} if blocks == 2 else {2, 4, 5})
    few = set().union(*FEWEST[blocks])
    for row in rows:
        if row.cell.predicate in few:
            assert row.verdict is Verdict.NOT_APPLICABLE
            assert row.reason.endswith(f"blocks, the model has {blocks}")
        else:
            costless = row.verdict is Verdict.NOT_APPLICABLE
            assert costless == ((blocks, row.cell.predicate, row.cell.rung) in COSTLESS)
            assert "cost nothing" in row.reason if costless else np.isfinite(row.value)
    assert few <= {row.cell.predicate for row in rows}
