"""Ways to store a weight matrix in few bits an entry, and the registry of them.

A method is a function of what it is given of a layer (:class:`Given`) that returns the matrix as it is after storage, and how many bits it
stores. Others are entered from outside (:mod:`harness.challengers`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch import Tensor

from harness import rotations
from harness.challengers import ENTERED
from harness.cosine import dct2, inverse_dct2
from harness.factors import budget_rank, factors
from harness.gptq import gptq
from harness.kmeans import KMeans
from harness.protocol import ReconstructionProtocol
from harness.quantizers import NormalFloat, Per, Uniform

if TYPE_CHECKING:
    from harness.moments import Sums

T = TypeVar("T")
Stored = tuple[Tensor, float]
"""A matrix ``(out, in) float64`` as it is after storage, and the bits that are stored."""
Make = Callable[["Given"], Stored | None]
Against = Literal["direct", "gptq"]


class Inputs:
    """What is known of the inputs that some layers share: moments of calibration tokens, and the bases that follow from them.

    ``sums``: of the layers' input x and their block's contribution Δ; Δ has no columns where rows of x cannot be told by token.
    """

    def __init__(self, sums: Sums) -> None:
        self.sums = sums

    def find_bases(self) -> None:
        """Find the bases, where there are tokens to find them from."""
        if self.sums.n:
            _ = self.principal, self.canonical

    @cached_property
    def second_moment(self) -> Tensor:
        """XᵀX/N, uncentred, ``(in, in)``."""
        return self.sums.xx / max(self.sums.n, 1)

    @cached_property
    def principal(self) -> Tensor:
        """The PCs of the inputs, ``(in, in)``, columns in descending order of variance."""
        return rotations.principal(self.sums)

    @cached_property
    def canonical(self) -> Tensor | None:
        """The canonical basis against the block's contribution, ``(in, in)``; None where Δ is not known."""
        return rotations.canonical(self.sums, axes=self.principal) if self.sums.y.numel() else None


@dataclass(frozen=True)
class Given:
    """What a method is given of a layer.

    ``weight (out, in) float64``; ``per``: what shares a scale; ``share``: this layer's part of the rows of all layers that read the same
    input; ``inputs``: what is known of that input; ``protocol``; ``seed``; ``count_bases``: whether learned bases count as stored.
    ``made``: what was computed from the weight, shared by all that is given of the layer.
    """

    weight: Tensor
    per: Per
    inputs: Inputs
    share: float
    protocol: ReconstructionProtocol
    seed: int
    count_bases: bool
    made: dict[tuple[Hashable, ...], Any] = field(default_factory=dict)

    @property
    def second_moment(self) -> Tensor:
        """XᵀX/N of the layer's inputs on calibration tokens, ``(in, in)``."""
        return self.inputs.second_moment

    def quantised(self, matrix: Tensor, levels: int | None = None) -> Stored:
        """Quantise a matrix of any shape uniformly, asymmetric, by what shares a scale; ``levels``: 16 when not given."""
        quantizer = Uniform(levels or self.protocol.levels, self.per)
        return quantizer.quantized(matrix), quantizer.bits(*matrix.shape)

    def in_basis(self, basis: Tensor, learned: bool) -> Stored:
        """Quantise W Q, the leading third of its columns with 256 levels and the rest with 4, and turn it back.

        A learned basis takes 16 bits an entry, which the layers with that input share; one drawn by a seed takes none.
        """
        p, leading = self.protocol, self.weight.shape[1] // self.protocol.leading
        rotated = self._turned(basis)
        parts = [(rotated[:, :leading], p.leading_levels), (rotated[:, leading:], p.other_levels)]
        stored = [self.quantised(part, levels) for part, levels in parts if part.numel()]
        bits = sum(bits for _, bits in stored) + (learned and self.count_bases) * p.basis_bits * basis.numel() * self.share
        return torch.cat([matrix for matrix, _ in stored], 1) @ basis.T, bits

    def drawn(self, draw: Callable[[int, int], Tensor]) -> Tensor:
        """Draw a basis of the inputs by the seed; it is brought beside the weight once a layer."""
        return self._once((draw,), lambda: draw(self.weight.shape[1], self.seed).to(self.weight.device))

    def rotated(self, basis: Tensor) -> Stored:
        """Quantise W Q uniformly and turn it back; the basis is drawn by a seed."""
        matrix, bits = self.quantised(self._turned(basis))
        return matrix @ basis.T, bits

    def factored(self) -> tuple[Tensor, Tensor] | None:
        """Return A ``(out, r)`` and B ``(r, in)``, W ≈ A B, with as many entries as W has at most; None where r would be 0."""
        rank = budget_rank(*self.weight.shape)
        return self._once(("factors",), lambda: factors(self.weight, rank) if rank else None)

    def gptq(self, levels: int | None = None) -> Stored:
        """Quantise the weight by GPTQ."""
        quantizer = Uniform(levels or self.protocol.levels, self.per)
        make = partial(gptq, self.weight, self.second_moment, quantizer, self.protocol.damping)
        return self._once((quantizer, self.inputs), make), quantizer.bits(*self.weight.shape)

    def _turned(self, basis: Tensor) -> Tensor:
        """W Q."""
        return self._once(("turned", basis), lambda: self.weight @ basis)

    def _once(self, what: tuple[Hashable, ...], make: Callable[[], T]) -> T:
        if what not in self.made:
            self.made[what] = make()
        found: T = self.made[what]
        return found


@dataclass(frozen=True)
class Method:
    """A way to store a matrix. ``fitted``: depends on calibration inputs. ``against``: what it is compared with, at as many bits.

    ``codebook``: its groups are those of codebooks. ``slow``: takes long beside the others. ``own``: not entered from outside.
    """

    name: str
    make: Make
    fitted: bool = False
    against: Against = "direct"
    codebook: bool = False
    slow: bool = False
    own: bool = True


def _dct(given: Given) -> Stored:
    coefficients, bits = given.quantised(dct2(given.weight))
    return inverse_dct2(coefficients), bits


def _svd(given: Given) -> Stored | None:
    if (found := given.factored()) is None:
        return None
    (a, first), (b, second) = given.quantised(found[0]), given.quantised(found[1])
    return a @ b, first + second


def _random(given: Given) -> Stored:
    return given.in_basis(given.drawn(rotations.random_orthogonal), learned=False)


def _pca(given: Given) -> Stored:
    return given.in_basis(given.inputs.principal, learned=True)


def _cca(given: Given) -> Stored | None:
    basis = given.inputs.canonical
    return None if basis is None else given.in_basis(basis, learned=True)


def _kmeans(given: Given) -> Stored:
    quantizer = KMeans(given.protocol.levels, given.per)
    return quantizer.quantized(given.weight), quantizer.bits(*given.weight.shape)


def _nf4(given: Given) -> Stored:
    quantizer = NormalFloat(given.per)
    return quantizer.quantized(given.weight), quantizer.bits(*given.weight.shape)


def _symmetric(given: Given) -> Stored:
    quantizer = Uniform(given.protocol.levels, given.per, symmetric=True)
    return quantizer.quantized(given.weight), quantizer.bits(*given.weight.shape)


def _rotation(given: Given) -> Stored:
    return given.rotated(given.drawn(rotations.random_orthogonal))


def _hadamard(given: Given) -> Stored:
    return given.rotated(given.drawn(rotations.hadamard))


def _gptq(given: Given) -> Stored:
    return given.gptq()


def _gptq_factors(given: Given) -> Stored | None:
    """B by the second moment of x, A by that of what the quantised B makes of x."""
    if (found := given.factored()) is None:
        return None
    quantizer, damping = Uniform(given.protocol.levels, given.per), given.protocol.damping
    a, b = found
    inner = gptq(b, given.second_moment, quantizer, damping)
    outer = gptq(a, inner @ given.second_moment @ inner.T, quantizer, damping)
    return outer @ inner, quantizer.bits(*a.shape) + quantizer.bits(*b.shape)


WALL = {
    method.name: method
    for method in (
        Method("dct", _dct),
        Method("svd", _svd),
        Method("random", _random),
        Method("pca", _pca, fitted=True),
        Method("cca", _cca, fitted=True),
    )
}
"""The methods of the wall."""
CODEBOOKS = {
    method.name: method
    for method in (
        Method("kmeans", _kmeans, codebook=True),
        Method("nf4", _nf4, codebook=True),
        Method("symmetric", _symmetric, codebook=True),
    )
}
"""Codebooks, and beside them the uniform levels that store one number a group as NF4 does."""
CHALLENGERS = {
    method.name: method
    for method in (
        Method("rotation", _rotation),
        Method("hadamard", _hadamard),
        Method("gptq", _gptq, fitted=True, slow=True),
        Method("gptq_factors", _gptq_factors, fitted=True, against="gptq", slow=True),
    )
}
"""What may get over the wall; measured on ``strict``."""


def challengers() -> dict[str, Method]:
    """Return what may get over the wall, those that were entered from outside last."""
    return CHALLENGERS | {entry.name: Method(entry.name, entry.make, fitted=True, own=False) for entry in ENTERED.values()}
