"""Interventions on the residual stream, as values: what is changed at a block's output, at which positions.

An intervention belongs to a fixed list of windows: positions are marked for each of them, and noise is drawn for each, so that the
result does not depend on how windows are batched. It is applied to a stream that is at hand (:mod:`harness.branches`) or inside the
model's own forward (:func:`intervened`), with equal effect.
"""

from __future__ import annotations

import contextlib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from harness.anatomy import Anatomy, take_hidden


@dataclass(frozen=True, eq=False)
class Intervention(ABC):
    """A change of h_{b+1}, the output of ``block``; ``positions (windows, tokens) bool`` marks where, None everywhere.

    What is not marked keeps its value bit for bit. Arithmetic is in float64 where the device has it: in float32 a massive activation
    would lose the digits of everything that is projected beside it.
    """

    block: int
    positions: Tensor | None

    @property
    def reads(self) -> int:
        """The block whose output it starts from, −1 for the embeddings: its own ``block``, but for one that takes the place of blocks."""
        return self.block

    @abstractmethod
    def _changed(self, hidden: Tensor, windows: Sequence[int]) -> Tensor:
        """Map h ``(rows, tokens, d) float64`` to its changed value, as if everywhere were marked."""

    def _elsewhere(self, hidden: Tensor, windows: Sequence[int]) -> Tensor:
        """What stands at positions that are not marked: ``(rows, tokens, d)`` in the stream's type."""
        return hidden

    def apply(self, hidden: Tensor, windows: Sequence[int]) -> Tensor:
        """Return the changed stream ``(rows, tokens, d)`` in its own type; row i belongs to window ``windows[i]``."""
        if len(windows) != len(hidden):
            raise ValueError(f"{len(hidden)} rows of the stream, {len(windows)} windows named")
        if self.positions is not None and not all(0 <= window < len(self.positions) for window in windows):
            raise ValueError(f"positions are marked for windows 0 to {len(self.positions) - 1}, not for all of {list(windows)}")
        # In two steps: one device has no float64 to convert to on the way.
        changed = self._changed(hidden.to(self._device).double(), windows).to(hidden.dtype).to(hidden.device)
        if self.positions is None:
            return changed
        marked = self.positions[list(windows)].to(hidden.device)
        if marked.shape != hidden.shape[:2]:
            raise ValueError(f"positions are marked for {tuple(marked.shape)}, the stream has {tuple(hidden.shape[:2])} windows and tokens")
        return torch.where(marked[..., None], changed, self._elsewhere(hidden, windows))

    @property
    def _device(self) -> torch.device:
        """Where the parts of the intervention are, and the arithmetic is done."""
        return next(part.device for name, part in _tensors(self) if name != "positions")

    @cached_property
    def key(self) -> str:
        """SHA-256 over the kind of intervention and all it consists of: equal keys, equal effects."""
        digest = hashlib.sha256(type(self).__name__.encode())
        for name, part in _parts(self):
            if isinstance(part, Tensor):
                array = part.detach().cpu().contiguous()
                digest.update(f"\0{name}\0{array.dtype}\0{tuple(array.shape)}\0".encode())
                digest.update(array.view(torch.uint8).numpy().tobytes() if array.numel() else b"")
            else:
                digest.update(f"\0{name}\0{part!r}".encode())
        return digest.hexdigest()


def _parts(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all that a value consists of, by name, at any depth."""
    if is_dataclass(value):
        for part in fields(value):
            yield from _parts(getattr(value, part.name), f"{name}.{part.name}".lstrip("."))
    elif isinstance(value, tuple):
        yield name, len(value)
        for i, part in enumerate(value):
            yield f"{name}[{i}]", type(part).__name__
            yield from _parts(part, f"{name}[{i}]")
    else:
        yield name, value


def _tensors(value: Any) -> Iterator[tuple[str, Tensor]]:
    return ((name, part) for name, part in _parts(value) if isinstance(part, Tensor))


@dataclass(frozen=True, eq=False)
class Projected(Intervention):
    """h ↦ μ + P Rᵀ(h − μ): ``mean`` μ ``(d)``, ``write`` P and ``read`` R ``(d, k)`` float64.

    Orthogonal onto an orthonormal basis: P = R = basis. Oblique onto the scores W of predictive directions: R = W,
    P = ΣW(WᵀΣW)⁻¹, which keeps the scores and takes the rest at its expectation given them.
    """

    mean: Tensor
    write: Tensor
    read: Tensor

    def _changed(self, hidden: Tensor, windows: Sequence[int]) -> Tensor:
        return self.mean + ((hidden - self.mean) @ self.read) @ self.write.T


@dataclass(frozen=True, eq=False)
class MeanAblated(Intervention):
    """h ↦ h − U Uᵀ(h − μ): the scores on ``basis`` U ``(d, k)``, orthonormal, take their mean."""

    mean: Tensor
    basis: Tensor

    def _changed(self, hidden: Tensor, windows: Sequence[int]) -> Tensor:
        return hidden - ((hidden - self.mean) @ self.basis) @ self.basis.T


@dataclass(frozen=True, eq=False)
class Noised(Intervention):
    """h ↦ h + F z, z ~ N(0, I): ``factor`` F ``(d, r)`` float64. The draw depends on seed, window and shape, not on the batch."""

    factor: Tensor
    seed: int

    def _changed(self, hidden: Tensor, windows: Sequence[int]) -> Tensor:
        shape = (hidden.shape[1], self.factor.shape[1])
        return hidden + torch.stack([self._draw(window, shape) for window in windows]).to(self.factor.device) @ self.factor.T

    def _draw(self, window: int, shape: tuple[int, int]) -> Tensor:
        # Drawn on the host: generators of devices differ.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + window)
        return torch.randn(shape, generator=generator, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Added(Intervention):
    """h ↦ h + v: ``vector`` v ``(d)`` float64, in the stream's units."""

    vector: Tensor

    def _changed(self, hidden: Tensor, windows: Sequence[int]) -> Tensor:
        return hidden + self.vector


def onto(block: int, positions: Tensor | None, mean: Tensor, basis: Tensor) -> Projected:
    """Project orthogonally onto the span of an orthonormal basis ``(d, k)`` about the mean."""
    return Projected(block, positions, mean, basis, basis)


def obliquely(block: int, positions: Tensor | None, mean: Tensor, covariance_weights: Tensor, weights: Tensor) -> Projected:
    """Project onto the scores W: h ↦ μ + ΣW(WᵀΣW)⁻¹Wᵀ(h − μ); ``covariance_weights`` is ΣW, up to the factor that Σ has."""
    inner = weights.T @ covariance_weights
    return Projected(block, positions, mean, torch.linalg.solve(inner, covariance_weights, left=False), weights)


@contextlib.contextmanager
def intervened(anatomy: Anatomy, interventions: Sequence[Intervention], windows: Sequence[int]) -> Iterator[None]:
    """Apply interventions inside the model's own forward, for as long as the context lasts; restored on any exit.

    The batch that is run must consist of ``windows``, in that order. Interventions on one block act in the order given.
    """

    def hook(intervention: Intervention, read: list[Tensor]) -> Any:
        def change(module: Any, given: Any, out: Any) -> Any:
            hidden = out[0] if isinstance(out, tuple) else out
            changed = intervention.apply(read.pop() if read else hidden, windows)
            return (changed, *out[1:]) if isinstance(out, tuple) else changed

        return change

    def reader(read: list[Tensor]) -> Any:
        # A copy: a block may change in place what it is given.
        return lambda module, args, kwargs: read.append(take_hidden(args, kwargs)[0].clone())

    for intervention in interventions:
        check_block(intervention.block, len(anatomy.blocks))
    with contextlib.ExitStack() as stack:
        for intervention in interventions:
            read: list[Tensor] = []
            if intervention.reads < intervention.block:  # It starts from what the first of the blocks is given.
                first = anatomy.blocks[intervention.reads + 1]
                stack.callback(first.register_forward_pre_hook(reader(read), with_kwargs=True).remove)
            stack.callback(anatomy.blocks[intervention.block].register_forward_hook(hook(intervention, read)).remove)
        yield


def check_block(block: int, blocks: int) -> None:
    """Refuse a block that the model does not have: left alone it would be an intervention that does nothing."""
    if not 0 <= block < blocks:
        raise ValueError(f"an intervention at block {block}; the model has blocks 0 to {blocks - 1}")
