"""Claim 3 the plain way: every linear layer stored by every method, its output error read off the second moments of its inputs.

One forward pass keeps what the layers of as many blocks as fit into :data:`ROOM` are given. An error is tr(E S Eᵀ), which for many groups
of windows is cheapest as the inner product of EᵀE with each S. Bases and factors are made once a layer. Dense layers alone: a block with
experts is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from benchmarks.naive_fits import Predictive, Rows, grouped, jackknife, total
from benchmarks.naive_model import BATCH, Array, Ids, NaiveRun
from harness.errors import SubjectError
from harness.quantizers import Per, Uniform

ROOM = 8e9
"""Bytes of layer inputs that are held at once."""
METHODS = ("dct", "svd", "random", "pca", "cca")
Figures = dict[str, float]
Ratio = tuple[float, Array, float]
"""Of one layer the ratio of errors, with each group left out, and with what is fitted fitted to half the text."""
Ratios = dict[tuple[str, str, str], list[Ratio]]
"""(rung, method, grain) → that of every layer."""


@torch.inference_mode()
def figures(run: NaiveRun) -> Figures:
    """Return value, standard error (``/se``) and, where bases are found on half the text too, ``/half`` of every figure."""
    for block, module in enumerate(run.blocks):
        check(module, block)
    ratios: Ratios = {}
    for rungs in (("paper", "held-out", "typical"), ("strict",)):
        for weight, share, inputs in _layers(run, rungs[-1]):
            for key, ratio in _measured(run, rungs, weight, share, inputs).items():
                ratios.setdefault(key, []).append(ratio)
    found: Figures = {}
    for (rung, method, grain), each in ratios.items():
        name = f"3/wall_{method}{grain}/{rung}"
        value, rest, half = (np.array(part) for part in zip(*each, strict=True))
        means = [_geometric(part) for part in (value, *rest.T)]
        found |= {name: means[0], f"{name}/se": jackknife(means[0], np.array(means[1:]), origin=0)}
        if not np.isnan(half).any():
            found[f"{name}/half"] = _geometric(half)
    return found


def _geometric(ratios: Array) -> float:
    return float(np.exp(np.log(np.maximum(ratios, 1e-12)).mean()))


def linears(block: nn.Module) -> dict[str, nn.Module]:
    """Return the linear layers of a block, by name."""
    return {name: module for name, module in block.named_modules() if isinstance(module, nn.Linear | Conv1D)}


def matrix(module: nn.Module) -> Tensor:
    """Return W ``(out, in)`` float64."""
    weight: Tensor = module.weight.detach().double()
    return weight.T.contiguous() if isinstance(module, Conv1D) else weight


def check(module: nn.Module, block: int) -> None:
    """Raise SubjectError for a block with matrices that no linear layer holds: experts, whose tokens only the model's own code knows."""
    held = {id(layer.weight) for layer in linears(module).values()}
    other = [name for name, p in module.named_parameters() if p.ndim >= 2 and (id(p) not in held or ".experts." in f".{name}")]
    if other:
        raise SubjectError(f"block {block}: {other[0]} is no plain linear layer, as experts are not; give --claims 1,2,4")


class Inputs:
    """What layers that share an input are given: x ``(windows, tokens, in)`` by split, the block's Δ and its typical tokens."""

    def __init__(self, x: dict[str, Tensor], delta: Tensor, typical: dict[str, Tensor], groups: int) -> None:
        self._x, self._delta, self._typical, self._groups = x, delta, typical, groups
        self._made: dict[tuple[str, bool], list[Rows]] = {}
        self._seconds: dict[tuple[str, bool], Tensor] = {}
        self._bases: dict[tuple[bool, bool], tuple[Tensor, Tensor]] = {}

    def rows(self, split: str, typical: bool) -> list[Rows]:
        """Sums by group of windows, of calibration beside Δ; of all tokens those of typical ones plus those of the few others."""
        if (split, typical) not in self._made:
            if typical:
                self._made[split, True] = self._sums(split, self._typical[split])
            else:
                rest = self._sums(split, ~self._typical[split])
                self._made[split, False] = [a + b for a, b in zip(self.rows(split, True), rest, strict=True)]
        return self._made[split, typical]

    def _sums(self, split: str, marked: Tensor) -> list[Rows]:
        x = self._x[split]
        y = self._delta if split == "calibration" else x[..., :0]
        return grouped(x, y, marked, min(self._groups, len(x)))

    def second(self, split: str, typical: bool) -> Tensor:
        """XᵀX of every group, ``(groups, in · in)``."""
        if (split, typical) not in self._seconds:
            self._seconds[split, typical] = torch.stack([rows.xx.flatten() for rows in self.rows(split, typical)])
        return self._seconds[split, typical]

    def bases(self, typical: bool, half: bool) -> tuple[Tensor, Tensor]:
        """Return the PCA and the CCA basis of the inputs, largest entry of each column positive."""
        key = typical, half
        if key not in self._bases:
            parts = self.rows("calibration", typical)
            self._bases[key] = _bases(total(parts[::2] if half else parts))
        return self._bases[key]


def _bases(rows: Rows) -> tuple[Tensor, Tensor]:
    """Return the PCs of x, and Q of its canonical weights, most correlated with Δ first; λ = 1e-4 of each trace.

    Δ is mostly the narrower side: its weights are found, those of x follow by regression, and Q completes them where Δ is narrower.
    """
    fit = Predictive(Rows(rows.n, rows.y, rows.x, rows.yy, rows.xy.T, rows.xx), canonical=True)
    lam_x, lam_y = 1e-4 * rows.spread, 1e-4 * rows.spread_y
    of_y = fit.weights(lam_y, lam_x, min(len(rows.x), len(rows.y)))
    x = fit.y
    assert x is not None
    cross = (rows.xy - torch.outer(rows.x, rows.y) / rows.n) @ of_y
    weights = x.vectors @ ((x.vectors.T @ cross) / (x.values + lam_x)[:, None])
    canonical = torch.linalg.qr(weights, mode="complete")[0]
    return x.vectors * _signs(x.vectors), canonical * _signs(canonical)


def _signs(columns: Tensor) -> Tensor:
    """Return what makes the largest entry of every column positive: grids depend on the sign."""
    largest = columns.gather(0, columns.abs().argmax(0, keepdim=True))[0]
    return torch.where(largest < 0, -1.0, 1.0).to(columns)


def _layers(run: NaiveRun, rung: str) -> Iterator[tuple[Tensor, float, Inputs]]:
    """Yield weight, its part of the rows that share its input, and that input, layer by layer."""
    clean, splits = run.clean(rung), ("calibration", "evaluation")
    wide = max(sum(m.weight.shape[isinstance(m, nn.Linear)] for m in linears(block).values()) for block in run.blocks)
    tokens, size = sum(clean.ids[split].size for split in splits), clean.h["calibration"][0].element_size()
    together = max(1, int(ROOM / (tokens * size * wide)))
    for start in range(0, len(run.blocks), together):
        blocks = range(start, min(start + together, len(run.blocks)))
        given = {split: _given(run, clean.ids[split], blocks) for split in splits}
        for block in blocks:
            layers = linears(run.blocks[block])
            before, after = (clean.after(b, "calibration").double() for b in (block - 1, block))
            typical = {split: clean.typical(split, block) for split in splits}
            for names in [names for of, names in given["calibration"][1].items() if of[0] == block]:
                x = {split: given[split][0].pop((block, names[0])) for split in splits}
                inputs = Inputs(x, after - before, typical, run.protocol.groups)
                weights = [matrix(layers[name]) for name in names]
                for weight in weights:
                    yield weight, len(weight) / sum(map(len, weights)), inputs


def _given(run: NaiveRun, ids: Ids, blocks: range) -> tuple[dict[tuple[int, str], Tensor], dict[tuple[int, str], list[str]]]:
    """Run the whole model and keep what the layers of some blocks are given, once for those that share it; and who shares it."""
    kept: dict[tuple[int, str], Tensor] = {}
    shared: dict[tuple[int, str], list[str]] = {}
    first: dict[int, tuple[tuple[int, str], Tensor]] = {}  # Held, so that no other input takes its place in memory meanwhile.
    at = 0

    def keep(key: tuple[int, str], x: Tensor) -> None:
        if at == 0:
            of = first.setdefault(x.data_ptr(), (key, x))[0]
            shared.setdefault(of, []).append(key[1])
            if of == key:
                kept[key] = x.new_empty((*ids.shape, x.shape[-1]))
        if key in kept:
            kept[key][at : at + BATCH] = x.reshape(-1, ids.shape[1], x.shape[-1])

    held = [
        module.register_forward_pre_hook(lambda _, args, key=(block, name): keep(key, args[0]))
        for block in blocks
        for name, module in linears(run.blocks[block]).items()
    ]
    try:
        for at in range(0, len(ids), BATCH):
            run.forward(ids[at : at + BATCH])
            first.clear()
    finally:
        for each in held:
            each.remove()
    return kept, shared


class _Layer:
    """A layer and a grain: stored by every method once, as EᵀE and the bits it takes."""

    def __init__(self, run: NaiveRun, weight: Tensor, per: Per, share: float, strict: bool, factors: tuple[Tensor, Tensor]) -> None:
        self.p, self.seed, self.weight, self.per = run.protocol.reconstruction, run.protocol.seed, weight, per
        self.share, self.strict, self._factors = share, strict, factors
        self._made: dict[tuple[object, ...], tuple[Tensor, float]] = {}

    def product(self, method: str, inputs: Inputs, typical: bool = False, half: bool = False, levels: int = 0) -> tuple[Tensor, float]:
        """Return EᵀE of a method's error, and its bits."""
        fitted = method in ("pca", "cca")
        key = (method, levels, *((typical, half) if fitted else ()))
        if key not in self._made:
            basis = inputs.bases(typical, half)[method == "cca"] if fitted else None
            stored, bits = self.quantised(self.weight, levels) if method == "direct" else self._stored(method, basis)
            change = stored - self.weight
            self._made[key] = (change.T @ change).flatten(), bits
        return self._made[key]

    def quantised(self, held: Tensor, levels: int) -> tuple[Tensor, float]:
        """Quantise a matrix; return it with the bits it takes."""
        quantizer = Uniform(levels, self.per)
        return quantizer.quantized(held), quantizer.bits(*held.shape)

    def _stored(self, method: str, basis: Tensor | None) -> tuple[Tensor, float]:
        weight, levels = self.weight, self.p.levels
        if method == "dct":
            stored, bits = self.quantised(_cosine(weight, scipy.fft.dctn), levels)
            return _cosine(stored, scipy.fft.idctn), bits
        if method == "svd":
            (a, first), (b, second) = (self.quantised(factor, levels) for factor in self._factors)
            return a @ b, first + second
        drawn = _random(weight.shape[1], self.seed).to(weight.device) if basis is None else basis
        return self._rotated(drawn, learned=basis is not None)

    def _rotated(self, basis: Tensor, learned: bool) -> tuple[Tensor, float]:
        """Quantise W Q with 256 levels in the leading third of its columns and 4 in the rest, and turn it back."""
        p, turned, leading = self.p, self.weight @ basis, self.weight.shape[1] // self.p.leading
        first, bits = self.quantised(turned[:, :leading], p.leading_levels) if leading else (turned[:, :0], 0.0)
        second, more = self.quantised(turned[:, leading:], p.other_levels)
        bases = p.basis_bits * basis.numel() * self.share if learned and self.strict else 0
        return torch.cat([first, second], 1) @ basis.T, bits + more + bases

    def matched(self, bits: float) -> list[tuple[int, float]]:
        """Return numbers of levels of direct quantisation and the share of entries that has each, for as many bits; 16 at least."""
        fewest, most = self.p.levels, 1 << 20

        def stored(levels: int) -> float:
            return Uniform(levels, self.per).bits(*self.weight.shape)

        if bits <= stored(fewest):
            return [(fewest, 1.0)]
        low, high = fewest, most
        while low < high:  # The most levels that are paid for.
            middle = (low + high + 1) // 2
            low, high = (middle, high) if stored(middle) <= bits else (low, middle - 1)
        if low == most:
            return [(low, 1.0)]
        more = (bits - stored(low)) / (stored(low + 1) - stored(low))
        return [(low, 1 - more), (low + 1, more)] if more > 0 else [(low, 1.0)]


def _measured(run: NaiveRun, rungs: tuple[str, ...], weight: Tensor, share: float, inputs: Inputs) -> dict[tuple[str, str, str], Ratio]:
    """Return (rung, method, grain) → the ratio of errors of one layer, with each group left out, and with bases of half the text."""
    strict, found = rungs == ("strict",), dict[tuple[str, str, str], Ratio]()
    factors = _factors(weight)
    for grain, per in (("", "row" if strict else "tensor"), (" in groups", run.protocol.reconstruction.groups)):
        layer = _Layer(run, weight, per, share, strict, factors)

        def ratio(rung: str, method: str, half: bool, layer: _Layer = layer) -> tuple[float, Array]:
            typical = rung in ("typical", "strict")
            second = inputs.second("calibration" if rung == "paper" else "evaluation", typical)
            product, bits = layer.product(method, inputs, typical, half)
            direct = sum(part * layer.product("direct", inputs, levels=levels)[0] for levels, part in layer.matched(bits))
            above, below = ((second @ each).cpu().numpy() for each in (product, direct))
            return above.sum() / below.sum(), (above.sum() - above) / (below.sum() - below)

        for rung in rungs:
            for method in METHODS:
                value, rest = ratio(rung, method, half=False)
                half = ratio(rung, method, half=True)[0] if strict and method in ("pca", "cca") else float("nan")
                found[rung, method, grain] = value, rest, half
    return found


def _factors(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A = U√Σ and B = √ΣVᵀ of the rank at which they have as many entries as W."""
    m, n = weight.shape
    u, s, vt = torch.linalg.svd(weight, full_matrices=False)
    u, root = u[:, : m * n // (m + n)], s[: m * n // (m + n)].sqrt()
    sign = _signs(u)
    return u * (sign * root), (sign * root)[:, None] * vt[: len(root)]


@lru_cache(maxsize=4)
def _random(size: int, seed: int) -> Tensor:
    """Draw an orthogonal matrix of Haar's distribution."""
    q, r = torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    return q * r.diagonal().sign()


def _cosine(matrix: Tensor, transform: Callable[..., Any]) -> Tensor:
    found = transform(matrix.cpu().numpy(), norm="ortho", workers=torch.get_num_threads())
    return torch.from_numpy(found).to(matrix.device)
