"""Claim 5 the plain way: an exit head trained by torch's AdamW on kept activations, and blocks destroyed in place.

The head never runs the model: its inputs are kept. Destroyed blocks are forward passes of the whole model with other weights.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.naive_claim3 import check, linears, matrix
from benchmarks.naive_fits import jackknife
from benchmarks.naive_model import Array, Change, Clean, Ids, NaiveRun, Variant
from harness.anatomy import finish
from harness.quantizers import Uniform

Figures = dict[str, float]


def figures(run: NaiveRun) -> Figures:
    """Return value, standard error (``/se``) and, where heads are trained on half the text too, ``/half`` of every figure."""
    found: Figures = {}
    for rungs in (("paper", "typical"), ("strict",)):
        exits = _exits(run, rungs[0])
        for step, (nll, agreed) in exits.curve.items():
            found |= {f"5/nll after {step} steps/{rungs[0]}": nll, f"5/agreement after {step} steps/{rungs[0]}": agreed}
        for rung, kl in _destroyed(run, rungs).items():
            found |= _figures(run, rung, exits, kl)
    return found


class _Head(nn.Module):
    """The model's final norm and an untied copy of its head, in float32; on a GPU trained in bfloat16 products."""

    def __init__(self, run: NaiveRun) -> None:
        super().__init__()
        self.norm = copy.deepcopy(run.norm).float().requires_grad_(True)
        self.weight = nn.Parameter(run.head.weight.detach().clone().float())
        self.bias = None if run.head.bias is None else nn.Parameter(run.head.bias.detach().clone().float())
        self._model = [run.model]

    def forward(self, hidden: Tensor) -> Tensor:
        """Map streams to logits."""
        with torch.autocast(hidden.device.type, torch.bfloat16, enabled=hidden.device.type == "cuda" and torch.is_grad_enabled()):
            logits = functional.linear(self.norm(hidden.float()), self.weight, self.bias)
        found: Tensor = finish(logits.float(), self._model[0])
        return found


@dataclass
class _Lesson:
    """Streams, tokens and counted positions of some calibration windows."""

    hidden: Tensor
    ids: Ids
    marked: Tensor

    def part(self, windows: Sequence[int]) -> _Lesson:
        """Return that of some of them."""
        rows = list(windows)
        return _Lesson(self.hidden[rows], self.ids[rows], self.marked[rows])

    def loss(self, head: _Head) -> Tensor:
        """Next-token cross-entropy, mean over counted positions."""
        counted = self.marked[:, :-1]
        targets = torch.from_numpy(self.ids[:, 1:].copy()).to(counted.device)[counted]
        logits: Tensor = head(self.hidden[:, :-1][counted])
        return functional.cross_entropy(logits, targets) if len(targets) else logits.sum()


def _train(
    run: NaiveRun,
    lesson: _Lesson,
    rate: float,
    steps: int,
    warmup: int,
    looks: Sequence[int] = (),
    look: Callable[[_Head], None] = lambda head: None,
) -> _Head:
    """Train a head: windows in random order, all before any comes again; warm-up, then half a cosine to 0."""
    count, batch = len(lesson.ids), run.protocol.easy.batch_on(run.device.type == "cuda")
    epochs = math.ceil(steps * batch / count)
    order = np.concatenate([np.random.default_rng([run.protocol.seed, epoch]).permutation(count) for epoch in range(epochs)])
    head = _Head(run)
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=0.0, fused=run.device.type in ("cpu", "cuda"))

    def share(step: int) -> float:
        return (step + 1) / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    for step in range(steps):
        if step in looks:
            look(head)
        optimizer.zero_grad()
        lesson.part(order[step * batch : (step + 1) * batch].tolist()).loss(head).backward()
        optimizer.step()
        schedule.step()
    if steps in looks:
        look(head)
    return head


@dataclass
class _Exits:
    """What was said at mid and by controls: 1 where it is what the whole model says, ``(H, W, P)``, H of all and of half the text.

    ``curve``: steps → NLL and agreement on some windows, of the head of all the text.
    """

    agreed: Array
    bigram: Array
    confidence: Array
    curve: dict[int, tuple[float, float]]


def _exits(run: NaiveRun, rung: str) -> _Exits:
    """Train the head at mid, on half the text too on ``strict``; read it, naive heads and the bigram table."""
    p, easy, clean, strict = run.protocol, run.protocol.easy, run.clean(rung), rung == "strict"
    exits = easy.exits_of(len(run.blocks))
    mid, ids, learned = exits[0], clean.ids["intervention"], clean.ids["calibration"]
    marked = clean.typical("calibration", *easy.looked_at(len(run.blocks))) if strict else torch.ones(learned.shape, dtype=torch.bool)
    lesson = _Lesson(clean.after(mid, "calibration").clone(), learned, marked.to(run.device))
    full, confidence = _said(run.logits, clean.after(run.last, "intervention"))
    heard = clean.after(mid, "intervention")
    some = list(range(0, len(ids), easy.look_stride))
    curve: list[tuple[float, float]] = []
    scored = clean.typical("intervention", *easy.looked_at(len(run.blocks))) if strict else torch.ones(ids.shape, dtype=torch.bool)
    reached = scored[some, :-1].cpu().numpy()

    @torch.inference_mode()
    def look(head: _Head) -> None:
        """Score the head while it is trained, as a report draws it."""
        log_p = [torch.log_softmax(head(heard[w, :-1]), -1) for w in some]
        targets = torch.from_numpy(ids[some, 1:]).to(run.device)
        nll = np.stack([-each.gather(-1, t[:, None])[:, 0].double().cpu().numpy() for each, t in zip(log_p, targets, strict=True)])
        agreed = np.stack([each.argmax(-1).cpu().numpy() == full[w] for each, w in zip(log_p, some, strict=True)])
        curve.append((float(nll[reached].mean()), float(agreed[reached].mean())))

    looks = sorted({round(easy.steps * i / easy.looks) for i in range(easy.looks + 1)})
    tried: list[tuple[float, float]] = []
    held = range(len(learned) - easy.trial_windows, len(learned))
    for rate in easy.rates:
        head = _train(run, lesson.part(range(held[0])), rate, easy.trial_steps, easy.trial_warmup)
        counts = lesson.marked[list(held), :-1].sum(1).cpu().numpy()
        with torch.no_grad():
            losses = [float(lesson.part([w]).loss(head)) for w in held]
        tried.append((float((counts * losses).sum() / counts.sum()), rate))
    rate = min(each for each in tried if math.isfinite(each[0]))[1]
    group = np.arange(len(learned)) * min(p.groups, len(learned)) // len(learned)
    parts = [list(range(len(learned)))] + ([np.flatnonzero(group % 2 == 0).tolist()] if strict else [])
    heads = (_train(run, lesson.part(windows), rate, easy.steps, easy.warmup, looks, look) for windows in parts)
    agreed = [_said(head, heard)[0] == full for head in heads]
    for at in exits:  # The model's own norm and head, a control that is shown.
        _said(run.logits, clean.after(at, "intervention"))
    answers = _said(run.logits, clean.after(run.last, "calibration"))[0]
    counted = marked[:, :-1].cpu().numpy()
    tables = [_bigram(learned[w][:, :-1][counted[w]], answers[w][counted[w]], ids[:, :-1]) == full for w in parts]
    return _Exits(np.stack(agreed), np.stack(tables), confidence, dict(zip(looks, curve, strict=False)))


@torch.inference_mode()
def _said(read: Callable[[Tensor], Tensor], hidden: Tensor) -> tuple[Ids, Array]:
    """Return the most probable token and its probability at positions that have a next token: ``(windows, tokens − 1)``."""
    found = [torch.log_softmax(read(h[:-1]), -1).max(-1) for h in hidden]
    return np.stack([each.indices.cpu().numpy() for each in found]), np.stack([each.values.double().exp().cpu().numpy() for each in found])


def _bigram(tokens: Ids, answers: Ids, asked: Ids) -> Ids:
    """Return the most frequent answer to each token, of equally frequent ones the smaller; overall for one that was never seen."""
    counts: dict[int, dict[int, int]] = {}
    for token, answer in zip(tokens.tolist(), answers.tolist(), strict=True):
        of = counts.setdefault(token, {})
        of[answer] = of.get(answer, 0) + 1
    best = {token: min(of, key=lambda answer, of=of: (-of[answer], answer)) for token, of in counts.items()}
    values, total = np.unique(answers, return_counts=True)
    common = int(values[np.argmax(total)])
    return np.array([[best.get(token, common) for token in row] for row in asked.tolist()])


@contextlib.contextmanager
def _in_two_bits(run: NaiveRun, blocks: Sequence[int], stored: dict[int, list[Tensor]]) -> Iterator[None]:
    """Have four values a row in the place of blocks' weight matrices."""
    held = []
    for block in blocks:
        for module, weight in zip(linears(run.blocks[block]).values(), stored[block], strict=True):
            held.append((module, module.weight.detach().clone()))
            module.weight.data.copy_(weight)
    try:
        yield
    finally:
        for module, weight in held:
            module.weight.data.copy_(weight)


@torch.inference_mode()
def _destroyed(run: NaiveRun, rungs: tuple[str, ...]) -> dict[str, Array]:
    """KL by position with each late block destroyed alone, ``(L, W, P)``, by rung; all late blocks together are run as well."""
    easy, clean = run.protocol.easy, run.clean(rungs[0])
    late, last = easy.late_of(len(run.blocks)), run.last
    every = range(easy.destroyed_from(len(run.blocks)), last + 1)
    stored: dict[int, list[Tensor]] = {}
    for block in every:
        check(run.blocks[block], block)
        quantizer = Uniform(easy.levels, "row")
        kinds = linears(run.blocks[block]).values()
        stored[block] = [quantizer.quantized(matrix(m)).reshape(m.weight.shape) for m in kinds]
    found: dict[str, list[Array]] = {rung: [] for rung in rungs}
    for blocks in (*([block] for block in late), list(every)):
        with _in_two_bits(run, blocks, stored):
            variants = [{} if rung == "paper" else _kept(clean, blocks) for rung in rungs]
            kl = run.kl_of(rungs[0], variants)
        for rung, each in zip(rungs, kl, strict=True):
            found[rung].append(each)
    return {rung: np.stack(each[:-1]) for rung, each in found.items()}


def _kept(clean: Clean, blocks: Sequence[int]) -> Variant:
    """Have positions that are not typical at a destroyed block take their clean values at its output."""

    def change(block: int) -> Change:
        marked, instead = clean.typical("intervention", block), clean.after(block, "intervention")
        return lambda given, after, windows: torch.where(marked[windows][..., None], after, instead[windows])

    return {block: change(block) for block in blocks}


def _figures(run: NaiveRun, rung: str, exits: _Exits, kl: Array) -> Figures:
    """Agreement, its excess over the table, the share of tokens of low KL, and whether they are the same tokens."""
    easy, clean = run.protocol.easy, run.clean(rung)
    marks = clean.typical("intervention", *easy.looked_at(len(run.blocks)))[:, :-1].cpu().numpy()
    counted = np.ones_like(marks) if rung == "paper" else marks
    windows = np.arange(len(counted))
    every = windows >= 0

    def mean(values: Array) -> tuple[float, Array]:
        sums, sizes = np.where(counted, values, 0).sum(1), counted.sum(1)
        return float(sums.sum() / sizes.sum()), (sums.sum() - sums) / (sizes.sum() - sizes)

    def low(kept: Array) -> Array:
        """Mark positions below the median of every late block."""
        medians = np.median(kl[:, kept][:, counted[kept]], axis=1)
        return (kl[:, kept] < medians[:, None, None]).all(0) & counted[kept]

    def odds(agreed: Array, kept: Array) -> float:
        """Mantel–Haenszel over deciles of the whole model's confidence."""
        sure, marked = exits.confidence[kept][counted[kept]], agreed[kept][counted[kept]] > 0
        stratum = np.searchsorted(np.sort(sure), sure) * easy.strata // len(sure)
        other, above, below = low(kept)[counted[kept]], 0.0, 0.0
        for k in range(easy.strata):
            of = stratum == k
            n = max(of.sum(), 1)
            above += (marked & other & of).sum() * (~marked & ~other & of).sum() / n
            below += (marked & ~other & of).sum() * (~marked & other & of).sum() / n
        return above / below if below > 0 else float("nan")

    found: Figures = {}
    for name, values in (("exit_agreement", exits.agreed), ("exit_excess", exits.agreed.astype(float) - exits.bigram)):
        value, score = mean(values[0])
        found |= {f"5/{name}/{rung}": value, f"5/{name}/{rung}/se": jackknife(value, score=score)}
        if len(values) > 1:
            found[f"5/{name}/{rung}/half"] = mean(values[1])[0]
    share = float(low(every).sum() / counted.sum())
    rest = np.array([low(windows != w).sum() / counted[windows != w].sum() for w in windows])
    found |= {f"5/kl_easy_share/{rung}": share, f"5/kl_easy_share/{rung}/se": jackknife(share, score=rest)}
    value, rest = odds(exits.agreed[0], every), np.array([odds(exits.agreed[0], windows != w) for w in windows])
    found |= {f"5/easy_sets_agree/{rung}": value, f"5/easy_sets_agree/{rung}/se": jackknife(value, score=rest, origin=0)}
    if len(exits.agreed) > 1:
        found[f"5/easy_sets_agree/{rung}/half"] = odds(exits.agreed[1], every)
    return found
