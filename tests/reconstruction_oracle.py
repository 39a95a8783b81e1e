"""Claim 3 written again from its definitions: NumPy and SciPy in float64, inputs of layers by plain hooks, the model run whole.

What has an oracle of its own is taken as it is: the quantisers, GPTQ and the drawn bases. Of PCs and factors the last digits are taken from
the harness, once all others were found to be the same: a digit decides how an entry is rounded.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from math import ceil, log2
from typing import Any

import numpy as np
import scipy.fft
import scipy.linalg
import torch

from harness import rotations
from harness.factors import factors
from harness.gptq import gptq
from harness.kmeans import KMeans
from harness.moments import Sums
from harness.quantizers import NormalFloat, Uniform
from tests.small_llama_layers import BLOCKS, LAYERS, READ, Array, Truth

Stored = tuple[Array, float]
WALL, CODEBOOKS = ("dct", "svd", "random", "pca", "cca"), ("kmeans", "nf4", "symmetric")
ROTATED, SLOW = ("rotation", "hadamard"), ("gptq", "gptq_factors")
FITTED = ("pca", "cca", *SLOW)
LEVELS, GROUP, CODEBOOK_GROUP, MOST = 16, 8, 20, 1 << 20


@dataclass(frozen=True)
class Fit:
    """Tokens that a method is fitted to: those of some groups of calibration windows, all or typical."""

    x: Array
    y: Array

    @cached_property
    def hessian(self) -> Array:
        """XᵀX/N."""
        return self.x.T @ self.x / len(self.x)

    @cached_property
    def pca(self) -> Array:
        """Right singular vectors of the centred inputs."""
        found = np.linalg.svd(self.x - self.x.mean(0), full_matrices=False)[2].T
        signed = rotations.principal(Sums.of(torch.from_numpy(self.x), torch.from_numpy(self.y))).numpy()
        np.testing.assert_allclose(found * upright(found), signed, atol=1e-6)
        return signed

    @cached_property
    def cca(self) -> Array:
        """Q of the QR decomposition of the canonical weights, by the singular vectors of the whitened cross-covariance."""
        x, y = self.x - self.x.mean(0), self.y - self.y.mean(0)
        roots = []
        for side in (x, y):
            products = side.T @ side
            penalty = 1e-4 * np.trace(products) / len(products)
            roots.append(np.linalg.inv(scipy.linalg.sqrtm(products + penalty * np.eye(len(products))).real))
        u = np.linalg.svd(roots[0] @ x.T @ y @ roots[1], full_matrices=False)[0]
        found: Array = np.linalg.qr(roots[0] @ u, mode="complete")[0]
        return found * upright(found)


def upright(columns: Array) -> Array:
    """What makes the largest entry of each column positive."""
    return np.array([1.0 if max(column, key=abs) > 0 else -1.0 for column in columns.T])


def uniform(matrix: Array, levels: int, per: Any) -> Array:
    """Quantise to evenly spaced levels."""
    return Uniform(levels, per).quantized(torch.from_numpy(matrix)).numpy()


def uniform_bits(shape: tuple[int, ...], levels: int, per: Any) -> float:
    """log2(levels) an entry, two 16-bit numbers a grid and an exponent, or two of 32 bits beyond 512 levels."""
    return shape[0] * shape[1] * log2(levels) + (64 * grids(shape, per) if levels > 512 else 32 * grids(shape, per) + 8)


def grids(shape: tuple[int, ...], per: Any) -> int:
    """How many have a scale of their own."""
    return {"tensor": 1, "row": shape[0]}.get(per) or shape[0] * ceil(shape[1] / per)


def at_as_many_bits(bits: float, shape: tuple[int, ...], per: Any) -> list[tuple[int, float]]:
    """Numbers of levels and their shares, that take so many bits together, but 16 levels at least."""
    fewer = LEVELS - 1 + max(1, bisect_right(range(LEVELS, MOST + 1), bits, key=lambda levels: uniform_bits(shape, levels, per)))
    if fewer == MOST or uniform_bits(shape, fewer, per) >= bits:
        return [(fewer, 1.0)]
    low, high = (uniform_bits(shape, levels, per) for levels in (fewer, fewer + 1))
    return [(fewer, (high - bits) / (high - low)), (fewer + 1, (bits - low) / (high - low))]


class Stores:
    """Every way to store the layers of a model, fitted to one layout's text."""

    def __init__(self, truth: Truth, strict: bool) -> None:
        self.truth, self.strict, self._fits, self._kept = truth, strict, dict[Any, Fit](), dict[Any, Any]()

    def methods(self, slow: bool) -> list[str]:
        """Names in their order."""
        return list(SLOW) if slow else [*WALL, *CODEBOOKS, *(ROTATED if self.strict else ())]

    def per(self, method: str, grain: int) -> Any:
        """What shares a scale."""
        if method in CODEBOOKS:
            return ("tensor", CODEBOOK_GROUP)[grain]
        return ("row" if self.strict else "tensor", GROUP)[grain]

    def fit(self, layer: tuple[int, str], choice: str) -> Fit:
        """Calibration tokens: ``all``, ``typical``, or those of every second group, ``half``."""
        key = layer[0], READ[layer[1]], choice
        if key not in self._fits:
            truth, name = self.truth, "calibration"
            taken = np.ones(truth.ids[name].shape, dtype=bool) if choice == "all" else truth.typical(name, layer[0])
            if choice == "half":
                taken = taken & (truth.groups(name) % 2 == 0)[:, None]
            before, after = truth.streams[name][layer[0]], truth.after(layer[0], name)
            self._fits[key] = Fit(truth.inputs[name][layer][taken], (after - before)[taken])
        return self._fits[key]

    def share(self, layer: tuple[int, str]) -> float:
        """This layer's part of the rows of those that are given the same."""
        rows = {name: len(self.truth.weight((layer[0], name))) for name in READ if READ[name] == READ[layer[1]]}
        return rows[layer[1]] / sum(rows.values())

    def stored(self, layer: tuple[int, str], method: str, grain: int, choice: str) -> Stored:
        """The matrix after storage, and its bits."""
        key = layer, method, grain, choice if method in FITTED else ""
        if key not in self._kept:
            self._kept[key] = self._store(self.truth.weight(layer), layer, method, self.per(method, grain), choice)
        return self._kept[key]

    def _store(self, w: Array, layer: tuple[int, str], method: str, per: Any, choice: str) -> Stored:
        columns = w.shape[1]
        if method == "dct":
            return scipy.fft.idctn(uniform(scipy.fft.dctn(w, norm="ortho"), LEVELS, per), norm="ortho"), uniform_bits(w.shape, LEVELS, per)
        if method in ("svd", "gptq_factors"):
            a, b = self.factors(layer)
            if method == "svd":
                inner, outer = uniform(b, LEVELS, per), uniform(a, LEVELS, per)
            else:
                h = self.fit(layer, choice).hessian
                inner = by_gptq(b, h, LEVELS, per)
                outer = by_gptq(a, inner @ h @ inner.T, LEVELS, per)
            return outer @ inner, uniform_bits(a.shape, LEVELS, per) + uniform_bits(b.shape, LEVELS, per)
        if method in ("random", "pca", "cca"):
            drawn = rotations.random_orthogonal(columns, 0).numpy()
            q = drawn if method == "random" else getattr(self.fit(layer, choice), method)
            third = columns // 3
            parts = [((w @ q)[:, :third], 256), ((w @ q)[:, third:], 4)]
            bits = sum(uniform_bits(part.shape, levels, per) for part, levels in parts)
            if method != "random" and self.strict:
                bits += 16 * columns * columns * self.share(layer)
            return np.concatenate([uniform(part, levels, per) for part, levels in parts], 1) @ q.T, bits
        if method in CODEBOOKS:
            made: Any = {"kmeans": KMeans(16, per), "nf4": NormalFloat(per), "symmetric": Uniform(16, per, symmetric=True)}[method]
            numbers = 16 if method == "kmeans" else 1
            return made.quantized(torch.from_numpy(w)).numpy(), 4 * w.size + 16 * numbers * grids(w.shape, per) + 8
        if method in ROTATED:
            drawn_by = {"rotation": rotations.random_orthogonal, "hadamard": rotations.hadamard}
            q = drawn_by[method](columns, 0).numpy()
            return uniform(w @ q, LEVELS, per) @ q.T, uniform_bits(w.shape, LEVELS, per)
        assert method == "gptq"
        return by_gptq(w, self.fit(layer, choice).hessian, LEVELS, per), uniform_bits(w.shape, LEVELS, per)

    def factors(self, layer: tuple[int, str]) -> tuple[Array, Array]:
        """A and B with as many entries as W at most, by its truncated SVD."""
        w = self.truth.weight(layer)
        rank = w.size // sum(w.shape)
        u, s, vt = scipy.linalg.svd(w, full_matrices=False)
        a, b = u[:, :rank] * np.sqrt(s[:rank]), np.sqrt(s[:rank])[:, None] * vt[:rank]
        signed = [each.numpy() for each in factors(torch.from_numpy(w), rank)]
        np.testing.assert_allclose(a * upright(u[:, :rank]), signed[0], atol=1e-9)
        np.testing.assert_allclose(upright(u[:, :rank])[:, None] * b, signed[1], atol=1e-9)
        return signed[0], signed[1]

    def base(self, layer: tuple[int, str], method: str, grain: int, choice: str) -> list[tuple[float, Array, float]]:
        """What a method is compared with: shares of matrices, and their bits."""
        key = layer, "base", method, grain, choice if method in FITTED else ""
        if key not in self._kept:
            w, per = self.truth.weight(layer), self.per(method, grain)
            mixture = at_as_many_bits(self.stored(layer, method, grain, choice)[1], w.shape, per)
            self._kept[key] = [(part, self._direct(w, layer, method, levels, per, choice), levels) for levels, part in mixture]
        return [(part, m, uniform_bits(m.shape, levels, self.per(method, grain))) for part, m, levels in self._kept[key]]

    def _direct(self, w: Array, layer: tuple[int, str], method: str, levels: int, per: Any, choice: str) -> Array:
        if method == "gptq_factors":
            return by_gptq(w, self.fit(layer, choice).hessian, levels, per)
        return uniform(w, levels, per)

    def quantised(self, method: str, everywhere: bool) -> tuple[Array, Array]:
        """The costs of storing every layer by a method."""
        choice, grain = "all" if everywhere else "typical", int(self.strict and method in CODEBOOKS)
        per = "row" if self.strict else "tensor"
        weights = {
            layer: uniform(self.truth.weight(layer), LEVELS, per) if method == "direct" else self.stored(layer, method, grain, choice)[0]
            for layer in LAYERS
        }
        return self.truth.costs(weights, everywhere)


def by_gptq(matrix: Array, hessian: Array, levels: int, per: Any) -> Array:
    """Quantise by GPTQ."""
    return gptq(torch.from_numpy(matrix), torch.from_numpy(hessian), Uniform(levels, per), 0.01).numpy()


class Rung:
    """The errors of every method on a rung."""

    def __init__(self, stores: Stores, rung: str) -> None:
        self.stores, self.truth, self.strict = stores, stores.truth, rung == "strict"
        self.choice = "all" if rung in ("paper", "held-out") else "typical"
        self.split = "calibration" if rung == "paper" else "evaluation"

    def moments(self, layer: tuple[int, str]) -> Array:
        """XᵀX/N of the scored tokens, and with each group of windows left out: ``(1 + R, in, in)``."""
        x, groups = self.truth.inputs[self.split][layer], self.truth.groups(self.split)
        taken = np.ones(x.shape[:2], dtype=bool) if self.choice == "all" else self.truth.typical(self.split, layer[0])
        sets = [taken, *(taken & (groups != g)[:, None] for g in range(groups.max() + 1))]
        return np.stack([x[rows].T @ x[rows] / rows.sum() for rows in sets])

    def arrays(self, slow: bool) -> dict[str, Array]:
        """Every array of :class:`harness.reconstruction.Reconstruction` but the texts."""
        stores, names = self.stores, self.stores.methods(slow)
        shape, rest = (len(names), len(LAYERS), 2), self.truth.groups(self.split).max() + 1
        halves = ("error_half", "base_half")
        found = {name: np.full(shape, np.nan) for name in ("error", "base", *halves, "weight", "base_weight", "bits", "base_bits")}
        found |= {name: np.full((*shape, rest), np.nan) for name in ("error_rest", "base_rest")}
        found |= {"cross": np.full(shape[1:], np.nan), "parts": np.full((*shape[1:], 2), np.nan)}
        found |= {"cross_rest": np.full((*shape[1:], rest), np.nan)}
        for i, layer in enumerate(LAYERS):
            w, s = self.truth.weight(layer), self.moments(layer)
            for m, method in enumerate(names):
                for grain in (0, 1):
                    at = m, i, grain
                    for choice, half in ((self.choice, ""), ("half", "_half")):
                        if half and not (self.strict and method in FITTED):
                            continue
                        matrix, bits = stores.stored(layer, method, grain, choice)
                        base = stores.base(layer, method, grain, choice)
                        errors, bases = output(matrix - w, s), sum(part * output(other - w, s) for part, other, _ in base)
                        found[f"error{half}"][at], found[f"base{half}"][at] = errors[0], bases[0]
                        if not half:
                            found["error_rest"][at], found["base_rest"][at] = errors[1:], bases[1:]
                            found["weight"][at] = np.square(matrix - w).mean()
                            found["base_weight"][at] = sum(part * np.square(other - w).mean() for part, other, _ in base)
                            found["bits"][at], found["base_bits"][at] = bits / w.size, sum(part * bit for part, _, bit in base) / w.size
            for grain in (0, 1) if "svd" in names else ():
                a, b = stores.factors(layer)
                of_a, of_b = (uniform(each, LEVELS, stores.per("svd", grain)) - each for each in (a, b))
                cross = output(of_a @ b + a @ of_b, s)
                found["cross"][i, grain], found["cross_rest"][i, grain] = cross[0], cross[1:]
                found["parts"][i, grain] = output(a @ b - w, s)[0], output(of_a @ of_b, s)[0]
        shapes = [self.truth.weight(layer).shape for layer in LAYERS]
        typical = np.mean([self.truth.typical(self.split, b) for b in range(BLOCKS)])
        return found | {
            "block": np.array([b for b, _ in LAYERS]),
            "entries": np.array([rows * columns for rows, columns in shapes]),
            "inputs": np.array([columns for _, columns in shapes]),
            "tokens": np.array([len(stores.fit(layer, self.choice).x) for layer in LAYERS]),
            "left_out": np.array(0.0 if self.choice == "all" else 1 - typical),
        }


def output(change: Array, moments: Array) -> Array:
    """tr(E S Eᵀ)/out for several S."""
    return ((change @ moments) * change).sum((1, 2)) / len(change)
