"""A model run the plain way: whole, eight windows at a time, with forward hooks; what the clean run gives is kept.

What a competent user would do, and why:

- ``torch.inference_mode``, the model's own attention kernels, no key–value cache, and the backbone without its head: logits are made where
  they are read, at positions that have a next token.
- One clean forward keeps the output of every block, since five claims read them; the text is never run again for a fit.
- Every intervention is a forward pass of the whole model with hooks: it is right for any model that has blocks, where to enter a model in
  its middle takes its masks and rotary tables. Different interventions share a batch, so that no batch is small.
- Hooks compute in float64: their products are small beside a block's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from harness.anatomy import Anatomy, finish
from harness.laboratory import Laboratory
from harness.protocol import Protocol

BATCH = 8
TOGETHER = 8  # variants whose final streams are held together
Array = NDArray[np.float64]
Ids = NDArray[np.int64]
Change = Callable[[Tensor, Tensor, list[int]], Tensor]
"""What a block was given and gave, ``(rows, tokens, d)``, and the windows of the rows → what stands in the place of its output."""
Variant = Mapping[int, Change]
"""Block → change: what is changed in one forward pass."""
Edit = Callable[[Tensor, Tensor, list[int]], Tensor]
"""The same in float64, at all positions."""


@dataclass
class Clean:
    """The clean run on the windows of a layout: tokens, h_0 … h_B ``(windows, tokens, d)`` and typical tokens at every block, by split."""

    ids: dict[str, Ids]
    h: dict[str, list[Tensor]] = field(default_factory=dict)
    marks: dict[str, Tensor] = field(default_factory=dict)
    log_p: dict[int, Tensor] = field(default_factory=dict)

    def after(self, block: int, split: str) -> Tensor:
        """The output of a block; of block −1 the embeddings."""
        return self.h[split][block + 1]

    def typical(self, split: str, *blocks: int) -> Tensor:
        """Tokens that are typical at all of these blocks: ``(windows, tokens) bool``."""
        return self.marks[split][list(blocks)].all(0)


class NaiveRun:
    """A model, its windows by layout, and its clean run; ``passes`` counts tokens times blocks that were run."""

    def __init__(self, anatomy: Anatomy, windows: Mapping[str, Mapping[str, Ids]], protocol: Protocol) -> None:
        self.protocol, self.blocks, self.width = protocol, anatomy.blocks, anatomy.width
        self.norm, self.head, self.model, self.device = anatomy.norm, anatomy.head, anatomy.model, anatomy.device
        self.windows, self.passes = windows, 0
        self._clean: dict[str, Clean] = {}

    @classmethod
    def of(cls, laboratory: Laboratory) -> NaiveRun:
        """Take the model and the windows of a laboratory, and none of its measurements."""
        windows = {layout: laboratory.windows(layout) for layout in ("paper", "strict")}
        return cls(laboratory._bench.load(laboratory.model).anatomy, windows, laboratory.protocol)

    @property
    def last(self) -> int:
        """The last block."""
        return len(self.blocks) - 1

    def forget(self) -> None:
        """Let go of the clean runs: what comes next begins with nothing."""
        self._clean.clear()

    @torch.inference_mode()
    def clean(self, rung: str) -> Clean:
        """Return the clean run on the windows of a rung, made once."""
        layout = layout_of(rung)
        if layout not in self._clean:
            ids = dict(self.windows[layout])
            found = Clean(ids)
            for split in ids:
                streams = self.streams(ids[split], [{}], list(range(-1, len(self.blocks))))
                found.h[split] = [streams[b][0] for b in range(-1, len(self.blocks))]
                found.marks[split] = _typical(found.h[split], self.protocol.typical_factor)
            if "intervention" not in ids:  # They are those for evaluation.
                for kept in (found.ids, found.h, found.marks):
                    kept["intervention"] = kept["evaluation"]
            self._clean[layout] = found
        return self._clean[layout]

    @torch.inference_mode()
    def streams(
        self, ids: Ids, variants: Sequence[Variant], blocks: Sequence[int], windows: Sequence[int] | None = None
    ) -> dict[int, Tensor]:
        """Run the whole model for every variant; return what some blocks gave: block → ``(variants, windows, tokens, d)``."""
        chosen = list(range(len(ids))) if windows is None else list(windows)
        rows = [(v, w) for v in range(len(variants)) for w in chosen]
        kept: dict[int, Tensor] = {}
        hooked = sorted({*(max(b, 0) for b in blocks), *(b for variant in variants for b in variant)})
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]

            def keep(block: int, stream: Tensor, start: int = start) -> None:
                if block not in kept:
                    kept[block] = stream.new_empty((len(rows), *stream.shape[1:]))
                kept[block][start : start + len(stream)] = stream

            def hook(block: int, part: list[tuple[int, int]] = part, keep: Callable[[int, Tensor], None] = keep) -> Any:
                def act(module: nn.Module, args: Any, kwargs: Any, out: Any) -> Any:
                    given = args[0] if args else kwargs["hidden_states"]
                    after = out[0] if isinstance(out, tuple) else out
                    if block == 0 and -1 in blocks:
                        keep(-1, given)
                    at, pieces = 0, []
                    for v, mine in groupby(part, key=lambda row: row[0]):
                        ws = [w for _, w in mine]
                        mine_of = slice(at, at + len(ws))
                        change = variants[v].get(block)
                        pieces.append(after[mine_of] if change is None else change(given[mine_of], after[mine_of], ws))
                        at += len(ws)
                    new = torch.cat(pieces) if any(block in variant for variant in variants) else after
                    if block in blocks:
                        keep(block, new)
                    return (new, *out[1:]) if isinstance(out, tuple) else new

                return act

            held = [self.blocks[block].register_forward_hook(hook(block), with_kwargs=True) for block in hooked]
            try:
                self.forward(ids[[w for _, w in part]])
            finally:
                for each in held:
                    each.remove()
        return {block: stream.reshape(len(variants), len(chosen), *stream.shape[1:]) for block, stream in kept.items()}

    def forward(self, ids: Ids) -> None:
        """Run one batch of windows through all blocks."""
        self.model.base_model(torch.from_numpy(ids).to(self.device), use_cache=False)
        self.passes += ids.size * len(self.blocks)

    def finals(self, ids: Ids, variants: Sequence[Variant], windows: Sequence[int] | None = None) -> Tensor:
        """Run the whole model for every variant; return h_B ``(variants, windows, tokens, d)``."""
        return self.streams(ids, variants, [self.last], windows)[self.last]

    def nll_of(self, rung: str, variants: Sequence[Variant], windows: Sequence[int] | None = None) -> Array:
        """Run variants whole; negative log-likelihoods of the next token, mean of each window in nats: ``(variants, windows)``."""
        ids = self.clean(rung).ids["intervention"]
        parts = [variants[i : i + TOGETHER] for i in range(0, len(variants), TOGETHER)]
        return np.concatenate([self.nll(rung, self.finals(ids, part, windows), windows) for part in parts])

    def kl_of(self, rung: str, variants: Sequence[Variant]) -> Array:
        """Run variants whole; KL(clean ‖ other) in nats at each position: ``(variants, windows, tokens − 1)``."""
        ids = self.clean(rung).ids["intervention"]
        parts = [variants[i : i + TOGETHER] for i in range(0, len(variants), TOGETHER)]
        return np.concatenate([self.kl(rung, self.finals(ids, part)) for part in parts])

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits of h_B in float32; a head of half precision is applied in float32, or its rounding would be a divergence."""
        normed = self.norm(hidden[None])[0].float()
        bias = None if self.head.bias is None else self.head.bias.float()
        found: Tensor = finish(functional.linear(normed, self.head.weight.float(), bias), self.model)
        return found

    @torch.inference_mode()
    def nll(self, rung: str, finals: Tensor, windows: Sequence[int] | None = None) -> Array:
        """Negative log-likelihood of the next token, mean of each window in nats: ``(variants, windows)``."""
        ids = self.clean(rung).ids["intervention"]
        chosen = range(len(ids)) if windows is None else windows
        found = np.zeros(finals.shape[:2])
        for i, w in enumerate(chosen):
            targets = torch.from_numpy(ids[w, 1:]).to(finals.device)
            for v in range(len(finals)):
                found[v, i] = float(functional.cross_entropy(self.logits(finals[v, i, :-1]), targets, reduction="none").double().mean())
        return found

    @torch.inference_mode()
    def kl(self, rung: str, finals: Tensor) -> Array:
        """KL(clean ‖ other) in nats at each position: ``(variants, windows, tokens − 1)``; the clean distributions are made once."""
        clean = self.clean(rung)
        found = np.zeros((*finals.shape[:2], finals.shape[2] - 1))
        for w in range(finals.shape[1]):
            if w not in clean.log_p:
                clean.log_p[w] = torch.log_softmax(self.logits(clean.after(self.last, "intervention")[w, :-1]), -1)
            for v in range(len(finals)):
                other = torch.log_softmax(self.logits(finals[v, w, :-1]), -1)
                kl = functional.kl_div(other, clean.log_p[w], reduction="none", log_target=True).sum(-1)
                found[v, w] = kl.double().cpu().numpy()
        return found


def layout_of(rung: str) -> str:
    """Return the layout whose windows a rung is measured on."""
    return "strict" if rung == "strict" else "paper"


def edited(edit: Edit, marked: Tensor | None = None, instead: Tensor | None = None) -> Change:
    """Make a hook's change of one in float64, at marked positions; elsewhere stands the output as it is, or ``instead``."""

    def change(given: Tensor, after: Tensor, windows: list[int]) -> Tensor:
        new = edit(given.double(), after.double(), windows).to(after.dtype)
        if marked is None:
            return new
        return torch.where(marked[windows][..., None], new, after if instead is None else instead[windows])

    return change


def _typical(streams: list[Tensor], factor: float) -> Tensor:
    """Mark, for each block, what is neither first nor above ``factor`` times its window's median norm before or after it."""
    small = []
    for stream in streams:
        norm = stream.float().norm(dim=-1)
        small.append(norm <= factor * norm.median(dim=1, keepdim=True).values)
    marks = torch.stack([before & after for before, after in pairwise(small)])
    marks[:, :, 0] = False
    return marks
