"""A small model on which claims fail, the bundle of its run, and forgers of bundles, who know how digests are made."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from harness import store
from reports import bundle_file
from reports.digest import digest
from tests import planted

ROOT = Path(__file__).parent.parent
SELECTED = "(paper and (r2- or multi_replacement or strictly or importance_u_shape)) or exit_agreement or (exit_excess and paper)"
"""Of claims 2, 3, 4 and 5: of every block, of a run, of every layer; on both layouts; two measurements; one that was not made."""


@dataclass(frozen=True)
class Made:
    """The bundle and the report of a run; those of the same run by two workers, from the store; what either printed."""

    bundle: Path
    report: Path
    by_workers: Path
    printed: str
    printed_by_workers: str


def make(folder: Path) -> None:
    """Run ``pytest claims --bundle`` once, and once more by workers; then the model and its text are gone."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=512, hidden_size=16, num_hidden_layers=10, num_attention_heads=2, num_key_value_heads=1, intermediate_size=24
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder / "m")
    planted.tokenizer().save_pretrained(folder / "m")
    planted.corpus(folder / "text")
    command = [sys.executable, "-m", "pytest", "claims", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-k", SELECTED]
    command += ["--verdicts=report", "--store", str(folder / "store"), "--model", str(folder / "m"), "--corpus", str(folder / "text")]
    for name, more in (("one", ["--tokens", str(folder / "tokens.parquet")]), ("two", ["-n", "2"])):
        places = ["--bundle", str(folder / name), "--report", str(folder / f"{name}.json")]
        done = subprocess.run([*command, *more, *places], cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / f"{name}.txt").write_text(done.stdout)
    for gone in ("m", "text", "store"):
        shutil.rmtree(folder / gone)


def made_in(folder: Path) -> Made:
    """What :func:`make` left."""
    printed = [(folder / f"{name}.txt").read_text() for name in ("one", "two")]
    return Made(folder / "one", folder / "one.json", folder / "two", *printed)


def manifest(bundle: Path) -> dict[str, Any]:
    """What ``bundle.json`` says."""
    contents: dict[str, Any] = json.loads((bundle / "bundle.json").read_text())
    return contents


def forge(bundle: Path, change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Change ``bundle.json`` and make its digest fit; returns what it says now."""
    contents = manifest(bundle)
    change(contents)
    contents["sha256"] = digest(contents)
    (bundle / "bundle.json").write_text(json.dumps(contents, indent=1, ensure_ascii=False) + "\n")
    return contents


def forge_file(bundle: Path, name: str, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> dict[str, Any]:
    """Change key and arrays of a file, and make its name, every mention of it and the digest fit."""
    key, record = store.read(bundle / name)
    arrays = {part: array.copy() for part, array in record.arrays.items()}
    change(key, arrays)
    data = bundle_file.entry(key, arrays)
    (bundle / name).unlink()
    new = bundle_file.add(bundle, name.partition("/")[0], data)

    def rename(contents: dict[str, Any]) -> None:
        del contents["files"][name]
        contents["files"][new] = {"sha256": Path(new).stem, "bytes": len(data)}
        for cell in contents["cells"]:
            for kind in ("windows", "records"):
                cell[kind] = {what: new if file == name else file for what, file in cell[kind].items()}

    return forge(bundle, rename)


def refused(outcome: tuple[int, str, str], *words: str) -> bool:
    """Whether a bundle was refused before anything was computed, in one line that has these words."""
    code, out, err = outcome
    assert (code, out) == (4, ""), outcome
    assert err.count("\n") == 1
    assert all(word in err for word in words), err
    return True


def first(bundle: Path, kind: str = "records") -> str:
    """Some file of a kind that the cell of r2 was given."""
    return next(iter(next(cell for cell in manifest(bundle)["cells"] if cell["row"]["predicate"] == "r2")[kind].values()))
