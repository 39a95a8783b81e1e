"""Simulate verdicts on subjects whose truth is known: ``python -m tests.simulated --seeds 0:200 --out FILE``.

For every case and seed weights and text are drawn, the model goes through the loader, the laboratory and the claims' own tests, and a line
of JSON with all rows is added to FILE. What FILE holds already is not run again, so an interrupted run goes on where it was. One process
uses one core. Tables of what was found: ``--tables``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers

from claims import CLAIMS
from claims.claim import Measures
from claims.everywhere import Everywhere
from fixtures.described import model_at
from fixtures.text_files import corpus_at
from harness.bench import Bench
from harness.errors import MeasurementError
from harness.laboratory import Laboratory
from harness.protocol import Protocol
from harness.statistics import Figure
from harness.store import Store
from harness.subject import Placement
from reports.judgement import judge
from reports.ledger import Cell, Row, judge_claim
from tests.simulated_nulls import NULLS, TESTED
from tests.simulated_plants import PLANTS

FEWER_STEPS = "heads are trained for"  # The doubt that says so is left out: sizes are small on purpose.
COSTS = {"shift_excess": ("free", "forced"), "projection_ppl_ratio": ("cost", "noise_cost")}
Record = dict[str, Any]


def laboratory(folder: Path, model: Path, text: tuple[str, str], protocol: Protocol) -> Laboratory:
    """Return the laboratory of a saved model on a text for calibration and one for evaluation."""
    written = folder / "text"
    written.mkdir()
    for name, part in zip(("train", "test"), text, strict=True):
        (written / f"{name}.txt").write_text(part)
    bench = Bench(Placement("cpu"), protocol, Store(None), lambda name: lambda done, total: None, long=True)
    return bench.laboratory(model_at(str(model)), corpus_at(str(written)))


def asked(lab: Laboratory, name: str, rung: str) -> tuple[Row, Record]:
    """Return the row that a claim's own test makes, and its record: with the parts that a figure stands for, and both costs of a ratio."""
    tested = TESTED[name]
    measures: Measures = tested.measures
    blocks = lab.model.n_blocks
    block = blocks - 1 if measures.predicate.blocks else None
    cell = Cell(lab.model.name, lab.corpus.name, measures.claim.key, name, rung, block)
    found: list[tuple[Row, Record]] = []

    def verdict(figure: Figure, doubts: Iterable[str] = (), caveats: Any = (), note: str | None = None, **more: Any) -> None:
        kept = tuple(doubt for doubt in doubts if not doubt.startswith(FEWER_STEPS))
        everywhere: Everywhere | None = more.get("everywhere")
        row = judge(cell, measures, blocks, figure, kept, caveats, note, lab, more.get("absent", "absent"), everywhere)
        record: Record = {"predicate": name, "rung": rung, "verdict": str(row.verdict), "value": row.value, "low": row.low}
        record |= {"high": row.high, "level": row.level, "origin": row.origin, "core": row.core}
        record["doubted"] = row.verdict == "inconclusive" and row.margin is None
        if record["doubted"] or row.value is None:
            record["why"] = "; ".join(row.caveats[:1] if row.low is not None else [row.reason or ""])[:120]
        if everywhere is not None and row.level is not None:
            claim_level = measures.claim.level(measures.predicate, rung, block, blocks)
            record["lowest"] = everywhere.lowest(claim_level)
            values = [float(value) for value in everywhere.parts.value]  # type: ignore[union-attr]
            record["parts"] = [None if math.isnan(value) else round(value, 6) for value in values]
        evidence = more.get("evidence") or {}
        if name in COSTS and all(evidence.get(key) is not None for key in COSTS[name]):
            record["costs"] = [evidence[key] for key in COSTS[name]]
        found.append((row, record))

    try:
        tested(**({} if block is None else {"block": block}), rung=rung, lab=lab, verdict=verdict)
    except MeasurementError as error:
        missing = Row(cell, judge_error(), measures.predicate.unit, measures.predicate.is_core(rung, block, blocks), reason=str(error))
        blank = dict.fromkeys(("value", "low", "high", "level", "origin"))
        return missing, {"predicate": name, "rung": rung, "verdict": "error", **blank, "core": missing.core, "doubted": False}
    return found[0]


def judge_error() -> Any:
    """Return the verdict of what could not be measured."""
    from claims.verdicts import Verdict

    return Verdict.ERROR


def rows_of(lab: Laboratory, cells: Iterable[tuple[str, str]]) -> tuple[list[Record], dict[str, str]]:
    """Return records of (predicate, rung), and the verdicts on claims of which all core predicates were asked, as ``claim/rung``."""
    rows, records = [], []
    for name, rung in cells:
        row, record = asked(lab, name, rung)
        rows.append(row)
        records.append(record)
    claims = {}
    for claim in CLAIMS:
        for rung in {row.cell.rung for row in rows}:
            here = [row for row in rows if (row.cell.claim, row.cell.rung) == (claim.key, rung)]
            core = {p.name for p in claim.predicates if rung in p.core}
            if core and core <= {row.cell.predicate for row in here}:
                claims[f"{claim.key}/{rung}"] = str(judge_claim(here)[0])
    return records, claims


def null(name: str, seed: int, folder: Path) -> Record:
    """Run one seed of a null subject through all of its predicates."""
    case = NULLS[name]
    calibration, evaluation = (windows * case.protocol.window for windows in case.windows)
    text = case.text(calibration, 2 * seed + 1), case.text(evaluation, 2 * seed + 2)
    lab = laboratory(folder, case.save(folder / "model", case.weights(seed)), text, case.of(seed))
    cells = [(p, rung) for p in case.predicates for rung in case.rungs if rung in TESTED[p].measures.predicate.bounds]
    rows, claims = rows_of(lab, cells)
    return {"kind": "null", "case": name, "seed": seed, "weights": case.weights(seed), "rows": rows, "claims": claims}


def plant(name: str, seed: int, folder: Path) -> Record:
    """Run one seed of a planted subject through the predicates that it is planted for."""
    case = PLANTS[name]
    lab = laboratory(folder, case.save(folder / "model", seed), case.text(seed), case.protocol)
    rows, _ = rows_of(lab, list(case.expected))
    for row in rows:
        row["expected"] = case.expected[row["predicate"], row["rung"]]
    return {"kind": "plant", "case": name, "seed": seed, "rows": rows}


def read(file: Path) -> list[Record]:
    """Return the records of a file; a line that an interrupted run left unfinished is dropped."""
    found = []
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def run(kind: str, names: Iterable[str], seeds: range, file: Path) -> None:
    """Add what is missing to a file, all cases of a seed before the next seed."""
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    done = {(r["kind"], r["case"], r["seed"]) for r in read(file)}
    names = list(names)
    simulate = {"null": null, "plant": plant}[kind]
    with file.open("a") as out:
        if file.stat().st_size and not file.read_text().endswith("\n"):
            out.write("\n")
        for seed in seeds:
            for name in names:
                if (kind, name, seed) in done:
                    continue
                start, folder = time.process_time(), Path(tempfile.mkdtemp(prefix="simulated-"))
                try:
                    record = simulate(name, seed, folder)
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
                out.write(json.dumps({**record, "seconds": round(time.process_time() - start, 2)}) + "\n")
                out.flush()


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0:200", help="first:end")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--power", action="store_true", help="planted subjects instead of null subjects")
    parser.add_argument("--cases", nargs="*", help="some of them")
    parser.add_argument("--tables", action="store_true", help="print tables of what FILE holds, and run nothing")
    given = parser.parse_args()
    if given.tables:
        from tests.false_verdict_tables import tables

        print(tables(read(given.out)))
        return
    cases: dict[str, Any] = dict(PLANTS) if given.power else dict(NULLS)
    if unknown := set(given.cases or ()) - set(cases):
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(cases)}")
    first, _, end = given.seeds.partition(":")
    run("plant" if given.power else "null", given.cases or cases, range(int(first), int(end)), given.out)


if __name__ == "__main__":
    main()
