"""Stand-ins for the models of the paper: random weights in their shapes, put through the claims' own tests, as a report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers

from claims import claim_1_variance_is_not_importance as claim_1
from claims import claim_2_linearity_is_conditional as claim_2
from claims import claim_3_the_reconstruction_wall as claim_3
from claims import claim_4_linearity_grows_with_depth as claim_4
from claims import claim_5_a_third_of_tokens_is_easy as claim_5
from claims import claim_appendix_extended_experiments as appendix
from claims.published import figures_of
from claims.published_figure import RUNG, Difference, InRow, predicates_of
from fixtures import MODELS
from fixtures.described import model_at
from fixtures.text_files import corpus_at
from harness.bench import Bench
from harness.easy_protocol import EasyProtocol
from harness.laboratory import Laboratory
from harness.protocol import Protocol
from harness.store import Store
from harness.subject import Placement
from reports.ledger import Ledger
from reports.plugin import _finite
from reports.report_file import contents
from tests import planted
from tests.planted_laboratory import judged_with_evidence, measured_in
from tests.small_reports import HASHES

WORDS, TOKENS, TEXT = 48, 16, "text"
PROTOCOL = Protocol(
    window=TOKENS,
    calibration_windows=4,
    evaluation_windows=2,
    groups=2,
    easy=EasyProtocol(steps=2, warmup=1, trial_steps=1, trial_warmup=1, trial_windows=1, rates=(1e-3,), looks=1, look_stride=2),
)
TESTED = {name: test for claim in (claim_1, claim_2, claim_3, claim_4, claim_5, appendix) for name, test in measured_in(claim).items()}
_SIZES = {"vocab_size": WORDS}
CONFIGS = {
    "gpt2": transformers.GPT2Config(**_SIZES, n_embd=24, n_layer=12, n_head=2, n_positions=TOKENS, initializer_range=0.3),
    "mistral": transformers.MistralConfig(
        **_SIZES,
        hidden_size=24,
        num_hidden_layers=32,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=32,
        sliding_window=None,
        initializer_range=0.3,
    ),
}
KEPT = [8, 64, 256]
"""Ranks of GPT-2's width over 96, 12 and 3, which the stand-in is too narrow for."""


def laboratory(name: str, folder: Path) -> Laboratory:
    """Return the laboratory of a stand-in, under the name that the model itself is registered by."""
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(CONFIGS[name]).save_pretrained(folder / name)
    planted.tokenizer(WORDS).save_pretrained(folder / name)
    for split, windows in (("train", 10), ("test", 6)):
        text = folder / TEXT / f"{split}.txt"
        text.parent.mkdir(exist_ok=True)
        text.write_text(planted.words(windows * TOKENS, WORDS, seed=windows))
    bench = Bench(Placement("cpu"), PROTOCOL, Store(None), lambda what: lambda done, total: None, long=True)
    return bench.laboratory(replace(model_at(str(folder / name)), name=name), replace(corpus_at(str(folder / TEXT)), name=TEXT))


def asked(name: str) -> Iterator[tuple[str, int | None]]:
    """Yield the predicates that the figures of a model rest on, each with the blocks where it has one for each."""
    cells: dict[tuple[str, int | None], None] = {}
    for figure in figures_of(name):
        places = [figure.measured]
        if isinstance(figure.measured, Difference):
            places = [figure.measured.first, figure.measured.second]
        for place in places:
            for predicate in predicates_of(place):
                each = TESTED[predicate].measures.predicate.blocks is not None
                # What mid handed over is in the evidence of a predicate with a figure for every block.
                mid = PROTOCOL.variance.mid(MODELS[name].n_blocks) if each else None
                cells[predicate, place.block if isinstance(place, InRow) else mid] = None
    yield from cells


def report(name: str, folder: Path) -> dict[str, Any]:
    """Measure a stand-in by the claims' own tests on ``paper``; return what the report of a run would be, as read from its file."""
    lab = laboratory(name, folder)
    ledger, evidence = Ledger({(name, TEXT): lab.model.n_blocks}), dict[str, Any]()
    for predicate, block in asked(name):
        test = TESTED[predicate]
        row, found = judged_with_evidence(test, lab, RUNG, block)
        ledger.add(row)
        if found:
            evidence[f"{predicate}/{RUNG}"] = _finite(found)
    source = MODELS[name].source
    about = {"n_blocks": lab.model.n_blocks, "source": f"{source.repo} at {source.revision}", "about": "a stand-in"}
    about |= {"weights": HASHES["weights"], "width": lab.facts.width, **dict.fromkeys(("provenance", "dtype", "device", "attention"), "-")}
    facts = {
        "models": {name: about},
        "corpora": {TEXT: {"text": HASHES["text"], "edition": "an edition", "splitting": "two files", "chosen": "named"}},
        "protocol": PROTOCOL.as_dict(),
        "bounds": {"sha256": HASHES["bounds"], "locked": True, "amendments": []},
        "environment": {"command": ["pytest", "claims", "-m", name]},
        "timings": {},
        "evidence": {f"{name}/{TEXT}": evidence},
    }
    made: dict[str, Any] = json.loads(json.dumps(contents(ledger, facts)))
    if name == "gpt2":
        made["evidence"][f"{name}/{TEXT}"]["projection_ppl_ratio/paper"]["k"] = KEPT
    return made
