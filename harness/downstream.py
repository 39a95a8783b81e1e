"""Streams on which every block's linear layers were quantised, one for each method, in the sweep that quantises them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from harness.branches import run_block
from harness.contests import Contests, Key
from harness.labels import encode_names
from harness.language import Language
from harness.layer_moments import CHOICES
from harness.layers import Layer, replaced_weights
from harness.linearity import EVALUATION
from harness.measurement import INTERVENTION
from harness.statistics import Array
from harness.work import Work

DIRECT = "direct"


class Downstream:
    """Walks beside the sweep: at a block's end every stream passes the block with its own weights in the layers.

    On ``paper`` at every position; on other rungs positions that are not typical at the block keep their clean value.
    """

    def __init__(self, work: Work, contests: Contests) -> None:
        self._work = work
        self._split = INTERVENTION if INTERVENTION in work.ids else EVALUATION
        self._ids = work.ids[self._split]
        self._variants = {(rung, name): key for rung in work.rungs for name, key in _keys(contests, rung).items()}
        self._wanted = set(self._variants.values())
        self._weights: dict[Key, dict[str, Tensor]] = {key: {} for key in self._wanted}
        self._streams: dict[tuple[str, str], Tensor] = {}
        self._clean: Tensor | None = None
        self._marked: Tensor | None = None
        self._left_out = np.zeros(2)  # not typical, all
        self._begun = False

    def see(self, split: str, first: int, before: Tensor, after: Tensor, marked: Tensor) -> None:
        """Hold the clean stream of the windows that are scored; at the first block the variants start from the embeddings."""
        if split != self._split:
            return
        if self._clean is None:
            self._clean = before.new_empty((len(self._ids), *before.shape[1:]))
            self._marked = torch.empty(self._clean.shape[:2], dtype=torch.bool, device=before.device)
        assert self._marked is not None
        rows = slice(first, first + len(before))
        if not self._begun:
            self._begin(before, rows)
        self._clean[rows], self._marked[rows] = after, marked

    def _begin(self, before: Tensor, rows: slice) -> None:
        for variant in self._variants:
            if variant not in self._streams:
                self._streams[variant] = before.new_empty((len(self._ids), *before.shape[1:]))
            self._streams[variant][rows] = before

    def keep(self, key: Key, layer: Layer, matrix: Tensor) -> None:
        """Take a layer's stored weight when a variant runs it."""
        if key in self._wanted:
            self._weights[key][layer.name] = matrix.to(layer.parameter.dtype)

    def end_block(self, block: int, layers: Sequence[Layer]) -> None:
        """Run every variant through the block with its weights; a layer that a method does not apply to keeps its own."""
        assert self._clean is not None
        assert self._marked is not None
        self._begun = True
        self._left_out += [float((~self._marked).sum()), self._marked.numel()]
        for (rung, name), key in self._variants.items():
            weights = self._weights[key]
            mine = [layer for layer in layers if layer.name in weights]
            self._work.anatomy.bring(block)
            with replaced_weights(mine, [weights[layer.name] for layer in mine]):
                after = run_block(self._work.anatomy, block, self._streams[rung, name], self._ids)
            self._streams[rung, name] = after if rung == "paper" else torch.where(self._marked[..., None], after, self._clean)
        self._weights = {key: {} for key in self._wanted}

    def state(self) -> dict[str, Array]:
        """Return the streams, byte for byte, for a checkpoint."""
        kept = {f"downstream/{rung}/{name}": _bytes(stream) for (rung, name), stream in self._streams.items()}
        return kept | {"downstream/left out": self._left_out}

    def restore(self, state: Mapping[str, Array], blocks: int) -> None:
        """Take up what a checkpoint held; ValueError when it is not that."""
        self._streams, self._left_out, self._begun = {}, np.zeros(2), blocks > 0
        if not blocks:
            return
        left_out = state["downstream/left out"]
        if len(state) != len(self._variants) + 1 or left_out.dtype != np.float64 or left_out.shape != (2,):
            raise ValueError(f"streams {sorted(state)}")
        shape = (*self._ids.shape, self._work.width)
        dtype = next(self._work.anatomy.blocks[0].parameters()).dtype
        for rung, name in self._variants:
            array = state[f"downstream/{rung}/{name}"]
            if array.dtype != np.uint8 or array.shape != (int(np.prod(shape)) * dtype.itemsize,):
                raise ValueError(f"stream of {name}: {array.size} bytes")
            self._streams[rung, name] = torch.from_numpy(array.copy()).view(dtype).view(shape).to(self._work.subject.device)
        self._left_out = left_out.copy()

    def result(self) -> dict[str, Array]:
        """Return the arrays that :class:`harness.quantised.Quantised` names, by rung."""
        assert self._clean is not None
        language = Language(self._work.anatomy, self._clean, self._ids)
        clean = language.nll_nats(self._clean[None])[0]
        found: dict[str, Array] = {}
        for rung in self._work.rungs:
            names = [name for r, name in self._variants if r == rung]
            costs = [language.costs_nats(self._streams[rung, name][None]) for name in names]
            share = 0.0 if rung == "paper" else float(self._left_out[0] / self._left_out[1])
            found |= {
                f"{rung}/variants": encode_names(names),
                f"{rung}/clean": clean,
                f"{rung}/nll": np.concatenate([nll for nll, _ in costs]),
                f"{rung}/kl": np.concatenate([kl for _, kl in costs]),
                f"{rung}/left_out": np.array(share),
            }
        return found


def _keys(contests: Contests, rung: str) -> dict[str, Key]:
    """Return method → the weights that it runs on a rung; codebooks of the whole tensor on ``paper``, of groups on ``strict``."""
    keys = {DIRECT: contests.direct()}
    return keys | {m.name: contests.key(m, int(m.codebook and rung == "strict"), CHOICES[rung]) for m in contests.methods.values()}


def _bytes(stream: Tensor) -> Array:
    found: Array = stream.contiguous().cpu().view(torch.uint8).numpy().reshape(-1)
    return found
