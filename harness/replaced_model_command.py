"""``python -m harness.replaced_model``: what linear maps in the place of blocks save and cost, and what the model then writes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fixtures.corpora import CORPORA, choose
from fixtures.corpus import Corpus
from fixtures.described import model_at
from fixtures.errors import CorpusError, ModelError
from fixtures.naming import printable
from harness import layouts
from harness.arithmetic import exact_arithmetic
from harness.batching import completed
from harness.errors import MapsError, MeasurementError, SubjectError, TextError
from harness.linearity import EVALUATION
from harness.loading import Subject, choose_device
from harness.map_file import MapFile, read
from harness.measurement import INTERVENTION, PAPER, STRICT
from harness.perplexity import nll_nats, perplexity
from harness.replaced_model import open_model, replace_blocks
from harness.saved_model import check_free, save_replaced
from harness.subject import DTYPES, Placement
from harness.windows import Ids

_NEW_TOKENS = 40
_MOST = 1 << 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Replace blocks and say what comes of it. Returns 0; 4 for bad input; 6 for a model that cannot be had or measured."""
    given = _parser().parse_args(arguments)
    try:
        return _run(given)
    except (MapsError, CorpusError, TextError) as error:
        print(printable(error), file=sys.stderr)
        return 4
    except (ModelError, SubjectError, MeasurementError) as error:
        print(printable(error), file=sys.stderr)
        return 6


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m harness.replaced_model",
        description="Put linear maps in the place of a model's blocks; print size, perplexity and text, before and after.",
    )
    parser.add_argument("file", metavar="FILE", help="maps, as pytest claims --save-maps DIR writes them")
    parser.add_argument("--blocks", required=True, metavar="LIST", help="blocks to replace, from 0: 29, or 3,7, or 25-29")
    parser.add_argument("--prompt", metavar="TEXT", help=f"also let the model go on with this text, greedily, for {_NEW_TOKENS} tokens")
    parser.add_argument("--save", metavar="FOLDER", help="also save the whole model here; harness.replaced_model.load_saved loads it")
    parser.add_argument("--corpus", metavar="NAME|PATH", help="text for the perplexity (default: that which the maps were fitted to)")
    parser.add_argument("--model", metavar="NAME|PATH|ID", help="where the model is, when not where the file says")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:N, mps or auto (default: auto)")
    parser.add_argument("--dtype", default="auto", choices=DTYPES, help="type of the weights (default: auto, float32 on a CPU)")
    parser.add_argument("--trust-remote-code", action="store_true", help="run Python code that comes with the checkpoint")
    return parser


def _run(given: argparse.Namespace) -> int:
    found = read(given.file)
    blocks = found.chosen(_listed(given.blocks))
    if given.save is not None:
        check_free(Path(given.save))
    try:
        choose_device(given.device)
        if given.model is not None:
            model_at(given.model)
    except (ModelError, SubjectError) as error:  # Bad input, found out before anything is loaded.
        raise MapsError(str(error)) from None
    corpus = _corpus(given.corpus, found)
    subject = open_model(found, given.model, Placement(given.device, given.dtype, None, given.trust_remote_code), _say)
    ids = None if corpus is None else _windows(found, corpus, subject)
    about = found.about
    print(printable(f"maps        {about['model']}, {about['corpus']}, {about['rung']}: {about['n_blocks']} blocks, d = {about['width']}"))
    before = _measured(subject, ids, given.prompt)
    replace_blocks(subject, found, blocks)
    after = _measured(subject, ids, given.prompt)
    print(f"replaced    {'block' if len(blocks) == 1 else 'blocks'} {', '.join(map(str, blocks))}")
    print(f"size        {before[0][0]:,} bytes, {before[0][1]:,} parameters; after {after[0][0]:,} bytes, {after[0][1]:,} parameters")
    if corpus is None or ids is None:
        print(f"perplexity  not measured: '{printable(about['corpus'])}' is no corpus of the suite; say by --corpus where it is")
    else:
        where = f"{len(ids)} windows of {ids.shape[1]} tokens of {corpus.name}, at all positions"
        print(f"perplexity  {before[1]:,.4f}; after {after[1]:,.4f} ({where})")
    if given.prompt is not None:
        print(f"text        {printable(before[2])}\nafter       {printable(after[2])}")
    if given.save is not None:
        save_replaced(subject.anatomy.model, given.save, subject.tokenizer)
        print(f"saved       {printable(given.save)}")
    return 0


@exact_arithmetic()
def _measured(subject: Subject, ids: Ids | None, prompt: str | None) -> tuple[tuple[int, int], float, str]:
    """Return (bytes, parameters), perplexity and text of a model as it stands."""
    cost = float("nan") if ids is None else perplexity(completed(lambda: nll_nats(subject.anatomy, ids)))
    return _size(subject.anatomy.model), cost, "" if prompt is None else _continued(subject, prompt)


def _size(model: Any) -> tuple[int, int]:
    """Bytes of all parameters and buffers, and the number of parameters."""
    tensors = (*model.parameters(), *model.buffers())
    return sum(t.numel() * t.element_size() for t in tensors), sum(p.numel() for p in model.parameters())


def _continued(subject: Subject, prompt: str) -> str:
    model: Any = subject.anatomy.model
    if not model.can_generate():
        raise SubjectError(f"{type(model).__name__} cannot generate; leave --prompt out")
    given = subject.tokenizer(prompt, return_tensors="pt")
    if not given["input_ids"].numel():
        raise MapsError("--prompt: it gives no tokens")
    tokens = {name: given[name].to(subject.device) for name in ("input_ids", "attention_mask")}
    padding = subject.tokenizer.pad_token_id if subject.tokenizer.pad_token_id is not None else subject.tokenizer.eos_token_id
    written = model.generate(**tokens, max_new_tokens=_NEW_TOKENS, do_sample=False, pad_token_id=padding)
    return str(subject.tokenizer.decode(written[0], skip_special_tokens=True))


def _listed(text: str) -> list[int]:
    """Read a list of blocks: numbers and ranges, separated by commas."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        ends = (first, last if dash else first)
        if not all(end.isascii() and end.isdecimal() and len(end) < 7 for end in ends):
            raise MapsError(f"--blocks {printable(text)}: expected numbers from 0, such as 29, or 3,7, or 25-29")
        found += range(int(ends[0]), int(ends[1]) + 1)
    return found


def _corpus(given: str | None, found: MapFile) -> Corpus | None:
    if given is None and found.about["corpus"] not in CORPORA:
        return None
    return choose(given or found.about["corpus"], _say)[0]


def _windows(found: MapFile, corpus: Corpus, subject: Subject) -> Ids:
    """Cut the windows on which the maps' rung scores interventions, of this corpus."""
    stated, strict = found.about["protocol"], found.about["rung"] == "strict"
    window, count = stated.get("window"), stated.get("evaluation_windows")
    if not all(type(number) is int and 2 <= number <= _MOST for number in (window, count)):
        raise MapsError(f"{printable(found.file)}: its protocol states no windows")
    split, size = INTERVENTION if strict else EVALUATION, {"window": window, "layout": STRICT if strict else PAPER}
    planned = {**size, "count": {split: count}, "fewest": {split: count}}
    name = subject.model.name
    cut = layouts.cut(planned, subject.tokenizer, corpus, corpus.read(_say), name)
    layouts.check_fit(cut, subject.facts, name, corpus.name, window)
    return cut[split]


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)
