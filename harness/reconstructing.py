"""Storing every linear layer by every method, in one sweep: errors of all methods, and what they cost downstream (claim 3).

The sweep gathers second moments of what the layers of the block at hand read; at the block's end its layers go through the arena
(:mod:`harness.contests`), and their moments are dropped. Where costs are wanted too, streams on which every block was quantised follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fixtures.naming import printable
from harness.concurrency import in_parallel
from harness.contests import HALF, Contests, Key, Side, methods_apart
from harness.downstream import Downstream
from harness.errors import MeasurementError
from harness.labels import decode_names, encode_names
from harness.layer_inputs import LayerInputs, Shared
from harness.layer_moments import ALL, CHOICES, TYPICAL, LayerMoments, most_bytes
from harness.layers import Layer
from harness.linearity import CALIBRATION, EVALUATION, contiguous_groups
from harness.measurement import CHALLENGED, Measurement
from harness.methods import CODEBOOKS, WALL, Given, Inputs, Method, challengers
from harness.reconstruction import Reconstruction
from harness.solving import names_the_block
from harness.statistics import Array
from harness.sweep import moment_device
from harness.typical import typical
from harness.visits import Visit
from harness.work import Work


@contextmanager
def visit(work: Work) -> Iterator[Visit]:
    """Measure the arena of a layout in one sweep."""
    with LayerInputs(work.anatomy) as inputs:
        visitor = ReconstructionVisitor(work, inputs, methods_of(work.strict, work.measurement is CHALLENGED), downstream=False)
        yield Visit([visitor], lambda: visitor.result(work.measurement), alone=inputs.changes_experts)


@contextmanager
def visit_quantised(work: Work) -> Iterator[Visit]:
    """Measure what quantising all layers costs, by every method, in one sweep; the arena comes with it."""
    with LayerInputs(work.anatomy) as inputs:
        visitor = ReconstructionVisitor(work, inputs, methods_of(work.strict, None), downstream=True)

        def result() -> dict[str, Array]:
            for other in work.measurement.brings:
                work.also(other, visitor.result(other))
            assert visitor.downstream is not None
            return visitor.downstream.result()

        yield Visit([visitor], result, alone=inputs.changes_experts)


def methods_of(strict: bool, slow: bool | None) -> dict[str, Method]:
    """Return the methods of a layout: those that take long, the others, or all."""
    every = [*WALL.values(), *CODEBOOKS.values(), *(challengers().values() if strict else ())]
    return {method.name: method for method in every if slow is None or method.slow is slow}


@dataclass(frozen=True)
class _Read:
    """What some layers of a block read: inputs by choice of calibration tokens, where each rung scores, and the rows of these layers."""

    inputs: Mapping[str, Inputs]
    sides: Mapping[str, Side]
    rows: int


class ReconstructionVisitor:
    """Visitor: moments of one block's layers, then the arena; and streams of quantised blocks where costs are wanted."""

    def __init__(self, work: Work, inputs: LayerInputs, methods: Mapping[str, Method], downstream: bool) -> None:
        p = work.protocol
        self._work, self._inputs = work, inputs
        self._rungs = ("strict",) if work.strict else ("paper", "held-out", "typical")
        self._contests = Contests(methods, p.reconstruction, "row" if work.strict else "tensor", halves=work.strict)
        self._groups = {split: contiguous_groups(len(ids), min(p.groups, len(ids))) for split, ids in work.ids.items()}
        if self._contests.halves:  # What is fitted is fitted to all calibration windows, or to every second group.
            self._groups[CALIBRATION] = [group % 2 for group in self._groups[CALIBRATION]]
        counts = {split: max(groups) + 1 for split, groups in self._groups.items()}
        need = most_bytes(work.anatomy.blocks, counts[CALIBRATION], counts[EVALUATION], work.width)
        self._device = moment_device(work.subject.device, need)
        self.downstream = Downstream(work, self._contests) if downstream else None
        self._layers: list[dict[str, Array]] = []
        self._names: list[str] = []
        self._unseen: list[str] = []
        self._scored_tokens = np.zeros(2)  # typical, all
        self._reset()

    def _reset(self) -> None:
        self._moments: dict[tuple[str, tuple[str, ...]], LayerMoments] = {}
        self._of: dict[str, tuple[str, ...]] = {}

    def see(self, split: str, first: int, before: Tensor, after: Tensor) -> None:
        """Accumulate what the layers have read of a batch."""
        shared = self._inputs.take(*before.shape[:2])
        marked = typical(before, after, self._work.protocol.typical_factor)
        if self.downstream:
            self.downstream.see(split, first, before, after, marked)
        if split not in (CALIBRATION, EVALUATION):
            return
        if split == EVALUATION:
            self._scored_tokens += [float(marked.sum()), marked.numel()]
        delta = after.to(self._device).double() - before.to(self._device).double()
        batch = self._groups[split][first : first + len(before)]
        for group in sorted(set(batch)):
            rows = torch.tensor([g == group for g in batch], device=marked.device)[:, None]
            for is_typical, mask in ((True, marked & rows), (False, ~marked & rows)):
                if is_typical or not self._work.strict:
                    self._add(split, group, is_typical, mask, delta, shared)

    def _add(self, split: str, group: int, is_typical: bool, mask: Tensor, delta: Tensor, shared: list[Shared]) -> None:
        if not bool(mask.any()):
            return
        for each in shared:
            y = delta[mask.to(self._device)] if split == CALIBRATION else None
            self._moments_of(split, each, y is not None).add(group, each.x[mask.to(each.x.device)].to(self._device), y, is_typical)
        for each in self._inputs.routed(mask):  # Which token a row belongs to is lost, and so is its Δ.
            self._moments_of(split, each, False).add(group, each.x[0].to(self._device), None, is_typical)

    def _moments_of(self, split: str, shared: Shared, contribution: bool) -> LayerMoments:
        names = tuple(layer.name for layer in shared.layers)
        self._of |= dict.fromkeys(names, names)
        if (split, names) not in self._moments:
            e = self._work.width if contribution else 0
            self._moments[split, names] = LayerMoments(max(self._groups[split]) + 1, shared.x.shape[-1], e, self._device)
        return self._moments[split, names]

    def end_split(self, split: str) -> None:
        """Nothing to do: calibration and evaluation meet at the block's end."""

    def end_block(self, block: int) -> None:
        """Send the block's layers through the arena, and drop their moments."""
        layers = self._inputs.layers(block)
        self._unseen = list(dict.fromkeys([*self._unseen, *self._inputs.unseen]))
        sizes = {layer.name: layer.shape[0] for layer in layers}
        read: dict[tuple[str, ...], _Read] = {}
        for names in dict.fromkeys(self._of[name] for name in sizes if name in self._of):
            calibration, evaluation = (self._moments.get((split, names)) for split in (CALIBRATION, EVALUATION))
            if calibration is not None and evaluation is not None:  # Else an expert that no token reached.
                read[names] = self._read(calibration, evaluation, sum(sizes[name] for name in names))
        with names_the_block(block, "it has no PCs or canonical directions"):
            if {"pca", "cca"} & set(self._contests.methods):
                # Bases first: layers that share an input share them, and would each find them anew.
                every = [inputs for one in read.values() for inputs in one.inputs.values()]
                in_parallel(Inputs.find_bases, every, self._device, lambda inputs: len(inputs.sums.x))
            reached = [layer for layer in layers if self._of.get(layer.name) in read]
            self._layers += in_parallel(lambda layer: self._measured(layer, read[self._of[layer.name]]), reached, self._device, _operations)
        self._names += [layer.name for layer in reached]
        unreached = [layer for layer in layers if self._of.get(layer.name) not in read]
        self._unseen += [f"block {block} {layer.name} is reached by no token of one of the splits" for layer in unreached if layer.expert]
        if self.downstream:
            self.downstream.end_block(block, layers)
        self._reset()

    def _read(self, calibration: LayerMoments, evaluation: LayerMoments, rows: int) -> _Read:
        choices = sorted({CHOICES[rung] for rung in self._rungs})
        inputs = {choice: Inputs(calibration.total(choice)) for choice in choices}
        if self._contests.halves:
            inputs[HALF] = Inputs(calibration.total(TYPICAL, [0]))
        scored = {choice: evaluation.scored(choice) for choice in choices}
        sides = {rung: Side(CHOICES[rung], calibration.scored(ALL) if rung == "paper" else scored[CHOICES[rung]]) for rung in self._rungs}
        return _Read(inputs, sides, rows)

    def _measured(self, layer: Layer, read: _Read) -> dict[str, Array]:
        weight, p = layer.matrix().to(self._device), self._work.protocol
        anything = next(iter(read.inputs.values()))
        given = Given(weight, self._contests.own, anything, len(weight) / read.rows, p.reconstruction, p.seed, self._work.strict)

        def keep(key: Key, matrix: Tensor) -> None:
            if self.downstream:
                self.downstream.keep(key, layer, matrix)

        try:
            found = self._contests.measure(given, read.inputs, read.sides, keep)
        except MeasurementError as error:
            raise MeasurementError(f"block {layer.block}, {layer.name}: {error}") from error
        arrays = {f"{rung}/{name}": array for rung, by_name in found.items() for name, array in by_name.items()}
        tokens = {f"{rung}/tokens": float(read.inputs[CHOICES[rung]].sums.n) for rung in self._rungs}
        about = {"block": layer.block, "entries": weight.numel(), "inputs": weight.shape[1], **tokens}
        return {**{name: np.array(float(value)) for name, value in about.items()}, **arrays}

    def state(self) -> dict[str, Array]:
        """Return what has been found so far, for a checkpoint."""
        kept = {name: np.stack([layer[name] for layer in self._layers]) for name in self._layers[0]} if self._layers else {}
        kept |= {"names": encode_names(self._names), "unseen": encode_names(self._unseen), "scored tokens": self._scored_tokens}
        return kept | (self.downstream.state() if self.downstream else {})

    def restore(self, state: Mapping[str, Array], blocks: int) -> None:
        """Take up what a checkpoint held of so many blocks; ValueError when it is not that."""
        if not blocks:
            self._layers, self._names, self._unseen, self._scored_tokens = [], [], [], np.zeros(2)
            if self.downstream:
                self.downstream.restore({}, 0)
            return
        rest = dict(state)
        names, unseen, tokens = decode_names(rest.pop("names")), decode_names(rest.pop("unseen")), rest.pop("scored tokens")
        if self.downstream:
            self.downstream.restore({name: rest.pop(name) for name in list(rest) if name.startswith("downstream/")}, blocks)
        found = {name: (array.dtype, array.shape) for name, array in {**rest, "scored tokens": tokens}.items()}
        expected = {name: (len(names), *shape) for name, shape in self._shapes().items() if names} | {"scored tokens": (2,)}
        if found != {name: (np.dtype(np.float64), shape) for name, shape in expected.items()}:
            raise ValueError(f"arrays {found} of {len(names)} layers")
        if names and set(rest["block"]) - set(range(blocks)):
            raise ValueError("layers of other blocks")
        self._layers = [{name: array[i] for name, array in rest.items()} for i in range(len(names))]
        self._names, self._unseen, self._scored_tokens = names, unseen, tokens.copy()

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of what is kept of a layer."""
        found: dict[str, tuple[int, ...]] = {"block": (), "entries": (), "inputs": ()}
        for rung in self._rungs:
            left_out = 1 + max(self._groups[CALIBRATION if rung == "paper" else EVALUATION])
            sizes: dict[str | int, int] = {"M": len(self._contests.methods), "R": left_out, 2: 2}
            shapes = {name: tuple(sizes[size] for size in Reconstruction.SHAPES[name] if size != "L") for name in _BY_RUNG}
            found |= {f"{rung}/{name}": shape for name, shape in (*shapes.items(), ("tokens", ()))}
        return found

    def result(self, measurement: Measurement) -> dict[str, Array]:
        """Return the arrays that :class:`harness.reconstruction.Reconstruction` names, by rung, of the measurement's methods."""
        if not self._layers:
            why = "; ".join(printable(name) for name in self._unseen[:3])
            raise MeasurementError(f"no linear layer of any block can be followed{f': {why}' if why else ''}")
        every = list(self._contests.methods.values())
        mine = methods_apart(every, slow=measurement is CHALLENGED)
        places = [i for i, method in enumerate(every) if method.name in mine]
        found: dict[str, Array] = {}
        for rung in measurement.rungs:
            arrays = {name: np.stack([layer[f"{rung}/{name}"] for layer in self._layers]) for name in _BY_RUNG}
            by_method = {name: array[:, places].swapaxes(0, 1) for name, array in arrays.items() if name in _BY_METHOD}
            # The parts of SVD factors: nobody else's.
            whole = {name: arrays[name] if "svd" in mine else np.full_like(arrays[name], np.nan) for name in _OF_FACTORS}
            about = {name: np.array([float(layer[name]) for layer in self._layers]) for name in ("block", "entries", "inputs")}
            about["tokens"] = np.array([float(layer[f"{rung}/tokens"]) for layer in self._layers])
            texts = {"names": self._names, "methods": list(mine), "unseen": self._unseen}
            share = 1 - self._scored_tokens[0] / self._scored_tokens[1] if CHOICES[rung] == TYPICAL else 0.0
            every_array = {**by_method, **whole, **about, **{k: encode_names(v) for k, v in texts.items()}, "left_out": np.array(share)}
            found |= {f"{rung}/{name}": np.asarray(array, dtype=np.float64, order="C") for name, array in every_array.items()}
        return found


def _operations(layer: Layer) -> float:
    """Return what the arena of a layer takes, beside others: EᵀE is most of it."""
    rows, columns = layer.shape
    return rows * columns**2


_BY_METHOD = ("error", "base", "error_half", "base_half", "weight", "base_weight", "bits", "base_bits", "error_rest", "base_rest")
_OF_FACTORS = ("cross", "cross_rest", "parts")
_BY_RUNG = (*_BY_METHOD, *_OF_FACTORS)
