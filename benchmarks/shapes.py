"""What core claims take on models of known shapes, random weights: ``python -m benchmarks.shapes --shape mistral-7b [--scale 0.01]``.

Random weights have the same cost as trained ones, block by block and product by product: seconds and memory are those of the shape. Their
figures mean nothing and are not printed. Three things that depend on weights are cheaper or dearer than in a trained model: tokens with
massive activations are hardly found, so that rows beside the moments are few; maps of a share of energy have other ranks; k-means takes
other numbers of steps. Weights are made on the device and never written; text is random words, of which each is a token.

``--blocks 4 8 16`` or ``--windows 16 32 64`` runs one size after another, on the windows of ``paper``, and prints the exponent of cost by
size, the slope of a line fitted by least squares to both logarithms: 1 where cost is linear; less where some of it is fixed.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from benchmarks import core_figures
from fixtures.described import model_at
from fixtures.text_files import corpus_at
from harness import layouts
from harness.bench import Bench
from harness.errors import MeasurementError
from harness.loading import choose_device
from harness.measurement import PAPER, STRICT, Measurement
from harness.protocol import Protocol
from harness.store import Store
from harness.subject import Placement

_CORE = core_figures.wanted(range(1, 6))
_MIB = 2**20
SHAPES = {
    "mistral-7b": {"class": "Mistral", "blocks": 32, "heads": 32, "kv": 8, "head": 128, "ffn": 14336, "words": 32000, "tied": False},
    "llama-3.2-1b": {"class": "Llama", "blocks": 16, "heads": 32, "kv": 8, "head": 64, "ffn": 8192, "words": 128256, "tied": True},
}
"""Mistral 7B v0.1 (d = 4096) and Llama 3.2 1B (d = 2048): d = heads × head."""


def config_of(name: str, scale: float, blocks: int | None) -> Any:
    """Return the config of a shape; ``scale`` shrinks heads, their size, the MLP and the vocabulary, not the number of blocks."""
    shape: dict[str, Any] = SHAPES[name]
    kv = max(1, round(shape["kv"] * scale))
    head = max(8, 2 * round(shape["head"] * scale / 2))
    heads = kv * shape["heads"] // shape["kv"]
    return getattr(transformers, f"{shape['class']}Config")(
        vocab_size=max(512, round(shape["words"] * scale)),
        hidden_size=heads * head,
        intermediate_size=max(3 * head, round(shape["ffn"] * scale)),
        num_hidden_layers=blocks or shape["blocks"],
        num_attention_heads=heads,
        num_key_value_heads=kv,
        head_dim=head,
        tie_word_embeddings=shape["tied"],
        bos_token_id=None,
        eos_token_id=None,
    )


def tokenizer_of(words: int) -> Any:
    """Return a tokenizer of so many words, ``w0`` and on, each one token."""
    inner = Tokenizer(WordLevel({f"w{i}": i for i in range(words)}, unk_token="w0"))
    inner.pre_tokenizer = Whitespace()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner)


def write_text(folder: Path, words: int, tokens: int) -> None:
    """Write random words, as many tokens in each split."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    for split in ("train", "test"):
        (folder / f"{split}.txt").write_text(" ".join(f"w{i}" for i in draw.integers(words, size=tokens)))


def taken(config: Any, placement: Placement, protocol: Protocol, chosen: Sequence[Measurement]) -> dict[str, Any]:
    """Make the measurements on a model of random weights; return seconds of each, in all, and peak MiB beside the weights."""
    device = choose_device(placement.device)
    with tempfile.TemporaryDirectory() as place:
        folder, words = Path(place) / "model", config.vocab_size
        counts = [sum(layouts.plan(layout, protocol, config.hidden_size)["count"].values()) for layout in (PAPER, STRICT)]
        write_text(Path(place) / "text", words, (max(counts) + 2) * protocol.window)
        config.save_pretrained(folder)
        tokenizer = tokenizer_of(words)
        tokenizer.save_pretrained(folder)
        save_file({}, folder / "model.safetensors")  # A folder without weights is no model.
        model, corpus = model_at(str(folder)), corpus_at(str(Path(place) / "text"))
        assert corpus is not None
        with torch.device(device):
            network = transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, placement.dtype))
        weights = sum(part.numel() * part.element_size() for part in {id(p): p for p in network.parameters()}.values())
        wanted = {(model.name, corpus.name): tuple(chosen)}
        bench = Bench(placement, protocol, Store(None), lambda name: lambda done, total: None, wanted=wanted, corpora=(corpus,))
        with mock.patch("harness.loading._from_pretrained", return_value=(network, tokenizer)):
            laboratory = bench.laboratory(model, corpus)
        loaded = _held(device, weights)
        seconds: dict[str, Any] = {}
        peaks: dict[str, float] = {}
        for measurement in chosen:
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            start = time.perf_counter()
            try:
                laboratory._once(measurement)
            except MeasurementError as error:
                seconds[measurement.name] = f"not measured: {error}"
                continue
            of_it = laboratory.timings[measurement.name]
            seconds[measurement.name] = f"with {of_it['with']}" if "with" in of_it else round(time.perf_counter() - start, 3)
            peaks[measurement.name] = round((_peak(device) - loaded) / _MIB, 1)
            print(measurement.name, seconds[measurement.name], peaks[measurement.name], "MiB", file=sys.stderr, flush=True)
    missing = [name for name, each in seconds.items() if isinstance(each, str) and each.startswith("not measured")]
    # Of less than all the total would say nothing, and neither would its growth.
    total = float("nan") if missing else round(sum(each for each in seconds.values() if isinstance(each, float)), 3)
    return {
        "blocks": config.num_hidden_layers,
        "calibration windows": protocol.calibration_windows,
        "weights MiB": round(weights / _MIB, 1),
        "seconds": seconds,
        "total": total,
        "peak MiB beside weights": peaks,
    }


def _peak(device: torch.device) -> float:
    """Most bytes held so far: by tensors on CUDA since it was last reset, elsewhere by the process since it began."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _held(device: torch.device, weights: int) -> float:
    """Bytes to set against a peak: the weights on CUDA, elsewhere what the process held at most when the model was loaded."""
    return weights if device.type == "cuda" else _peak(device)


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return the slope of log cost over log size, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def main() -> None:
    """Run the sizes asked for and print one JSON record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=list(SHAPES), default="mistral-7b")
    parser.add_argument("--scale", type=float, default=1.0, help="of heads, their size, MLP and vocabulary: 0.01 runs on any CPU")
    parser.add_argument("--blocks", type=int, nargs="+", help="instead of all; several show how cost grows with them")
    parser.add_argument("--windows", type=int, nargs="+", help="that are calibrated on, and half as many that are scored; several likewise")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", choices=["bfloat16", "float16", "float32"], default="bfloat16")
    parser.add_argument("--quick", action="store_true", help="quarter sizes")
    parser.add_argument("--only", default="", help="measurements whose name holds this")
    given = parser.parse_args()
    blocks, windows = given.blocks or [None], given.windows or [None]
    if not 0 < given.scale <= 1 or min([*filter(None, blocks), 1]) < 1 or min(filter(None, windows), default=4) < 4:
        parser.error("expected 0 < --scale ≤ 1, --blocks of 1 or more, --windows of 4 or more")
    if len(blocks) > 1 and len(windows) > 1:
        parser.error("several --blocks or several --windows: one of them grows at a time")
    grows = len(blocks) > 1 or len(windows) > 1
    run = Protocol().replacement.run
    if min(filter(None, blocks), default=run + 1) <= run:
        parser.error(
            f"--blocks {min(filter(None, blocks))}: linearity after upstream change replaces {run} blocks before one; expected more"
        )
    chosen = [m for m in _CORE if given.only in m.name and (m.layout == PAPER or not grows)]
    runs = []
    for count in blocks:
        for some in windows:
            protocol = Protocol().quickened() if given.quick else Protocol()
            if some is not None:
                sizes = {"calibration_windows": some, "evaluation_windows": some // 2}
                protocol = replace(protocol, **sizes, groups=min(protocol.groups, some // 2))
            placement = Placement(given.device, given.dtype)
            runs.append(taken(config_of(given.shape, given.scale, count), placement, protocol, chosen))
    record: dict[str, Any] = {"shape": given.shape, "scale": given.scale, "dtype": given.dtype, "torch": torch.__version__, "runs": runs}
    record["device"] = str(choose_device(given.device))
    if grows:
        sizes_of = [run["blocks" if len(blocks) > 1 else "calibration windows"] for run in runs]
        timed = [n for n in runs[0]["seconds"] if all(isinstance(run["seconds"][n], float) and run["seconds"][n] > 0 for run in runs)]
        record["exponents"] = {name: round(exponent(sizes_of, [run["seconds"][name] for run in runs]), 2) for name in timed}
        record["exponents"]["total"] = round(exponent(sizes_of, [run["total"] for run in runs]), 2)
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
