"""A protocol under which a small model goes through every claim in seconds; the rows that all claims' own tests make of a saved one."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from claims.claim import Measures
from claims.verdicts import Verdict
from fixtures.described import model_at
from fixtures.text_files import corpus_at
from harness.bench import Bench
from harness.easy_protocol import EasyProtocol
from harness.laboratory import Laboratory
from harness.measurement import MEASUREMENTS, Measurement
from harness.protocol import Protocol, VarianceProtocol
from harness.store import Store
from harness.subject import Placement
from reports.ledger import Cell, Row
from tests import families
from tests.planted_laboratory import judged

SIZE, WINDOWS = 16, {"train": 20, "test": 12}
PROTOCOL = Protocol(
    window=SIZE,
    calibration_windows=8,
    evaluation_windows=6,
    groups=4,
    folds=4,
    grid=(-4.0, 2.0, 1.0),
    strict_tokens_per_width=16,
    fewest_tokens_per_width=8,
    strict_evaluation_windows=8,
    variance=VarianceProtocol(
        boundaries=3, noise_seeds=2, nulls=5, directions=8, all_up_to=8, ablated=4, sketch=16, sketch_kept=4, null_subspaces=3
    ),
    easy=EasyProtocol(
        steps=8,
        warmup=2,
        trial_steps=3,
        trial_warmup=1,
        trial_windows=2,
        batch=2,
        looks=2,
        look_stride=2,
        lora_rank=4,
        strata=1,
        thresholds=(0.1, 0.05),
    ),
)
CLAIMS = [import_module(f"claims.{file.stem}") for file in sorted((Path(__file__).parent.parent / "claims").glob("claim_*.py"))]
TESTS = [test for claim in CLAIMS for test in vars(claim).values() if hasattr(test, "measures")]


def texts_of(folder: Path, family: str, model: Any, count: int = 1) -> list[Path]:
    """Write texts in a model's own words, enough for the small protocol."""
    tokenizer = families.tokenizer_of(family, model.config.vocab_size)
    return [families.write_text(folder / f"text-{i}", model, tokenizer, WINDOWS, SIZE, seed=i) for i in range(count)]


def laboratory(
    path: Path, texts: list[Path], protocol: Protocol = PROTOCOL, measured: tuple[Measurement, ...] = MEASUREMENTS, **options: Any
) -> Laboratory:
    """Return the laboratory of a model on disk on the first of some texts, as a run with ``--long`` over all of them has it.

    ``measured``: what that run asks for, and so what comes with other measurements.
    """
    model, corpora = model_at(str(path)), tuple(corpus_at(str(text)) for text in texts)
    wanted = {(model.name, corpora[0].name): measured}
    placement = Placement(**{"device": "cpu", **options})
    bench = Bench(placement, protocol, Store(None), lambda name: lambda done, total: None, long=True, wanted=wanted, corpora=corpora)
    return bench.laboratory(model, corpora[0])


def cells(blocks: int) -> Iterator[tuple[Any, str, int | None]]:
    """Yield every cell that the claims' tests have on a model of so many blocks: the test, the rung, the block."""
    for test in TESTS:
        measures: Measures = test.measures
        for rung, block in measures.predicate.cells(blocks):
            if rung in measures.rungs:
                yield test, rung, block


def row_of(lab: Laboratory, test: Any, rung: str, block: int | None) -> Row:
    """Return the row that a claim's test makes of a cell; whatever it raises is raised."""
    measures: Measures = test.measures
    cell = Cell(lab.model.name, lab.corpus.name, measures.claim.key, measures.predicate.name, rung, block)
    if why := measures.predicate.inapplicable(lab.model.n_blocks):
        return Row(cell, Verdict.NOT_APPLICABLE, measures.predicate.unit, False, reason=why)
    return judged(test, lab, rung, block)


def all_rows(lab: Laboratory) -> list[Row]:
    """Return the rows of every cell of every claim."""
    return [row_of(lab, *cell) for cell in cells(lab.model.n_blocks)]
