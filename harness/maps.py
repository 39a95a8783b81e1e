"""The linear maps that take a block's place: what they have in common, and how each rung fits them to a block's moments.

By rank (``paper``, ``typical``): Eq. 2 of arXiv:2604.20682, no intercept, :mod:`harness.ridge`. Affine (``strict``): of full rank, with λ
by cross-validation, :mod:`harness.affine`. The figures of claim 2's R² come from the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Protocol as Interface

import torch
from torch import Tensor

from harness import affine, ridge
from harness.concurrency import in_parallel
from harness.moments import Moments, Sums
from harness.protocol import Protocol


class LinearMap(Interface):
    """A map from h_b ``(…, d)`` to what a block adds, Δ̂_b ``(…, d)`` float64."""

    def __call__(self, x: Tensor) -> Tensor:
        """Map rows."""

    @property
    def rank(self) -> int:
        """k, or d for a map of full rank."""

    @property
    def parameters(self) -> int:
        """How many numbers it consists of."""

    @property
    def centre(self) -> Tensor | float:
        """About which ‖Δ‖² is taken in its R²: the mean of Δ where there is an intercept, else 0."""


@dataclass(frozen=True)
class Constant:
    """The map x ↦ c, ``value`` c ``(d)`` float64: zero skips a block, the mean of Δ replaces it by its mean output."""

    value: Tensor
    rank = 0

    def __call__(self, x: Tensor) -> Tensor:
        """Return c for every row."""
        return self.value.expand(*x.shape[:-1], -1)

    @property
    def parameters(self) -> int:
        """The numbers of c that are not zero."""
        return int(self.value.count_nonzero())

    @property
    def centre(self) -> Tensor | float:
        """The value itself."""
        return self.value


@dataclass(frozen=True)
class Fitted:
    """The maps of one block on one rung.

    ``refits``: without each group of calibration windows, λ and k as for the whole; ``ranks``: the k that would be chosen anew there.
    ``half``: on every second group, λ chosen anew. ``mean``: of Δ ``(d)``. ``count``: tokens fitted to.
    ``edge``: whether λ stands at an end of the cross-validation's grid.
    """

    whole: LinearMap
    refits: list[LinearMap]
    ranks: list[int]
    half: LinearMap | None
    mean: Tensor
    count: int
    edge: bool = False

    def to(self, device: torch.device) -> Fitted:
        """Return the same maps with their tensors on a device."""
        whole, *rest = (placed(each, device) for each in (self.whole, *self.refits))
        half = None if self.half is None else placed(self.half, device)
        return replace(self, whole=whole, refits=rest, half=half, mean=self.mean.to(device))


def by_rank(moments: Moments, protocol: Protocol, device: torch.device, refits: bool = True) -> Fitted:
    """Fit the map of Eq. 2, of the rank that holds ``protocol.energy`` of ‖Δ‖², and its refits."""
    total = moments.total()
    lam = ridge.penalty(total, protocol.ridge)
    whole = ridge.fit(total, ridge.output_basis(total, energy=protocol.energy), lam)

    def refit(group: int) -> tuple[LinearMap, int]:
        rest = total - moments.group(group)
        values, vectors = ridge.output_directions(rest)
        return ridge.fit(rest, vectors[:, : whole.rank].clone(), lam), ridge.rank_for(values, protocol.energy)

    found = in_parallel(refit, range(moments.groups) if refits else (), device)
    return Fitted(whole, [m for m, _ in found], [k for _, k in found], None, total.y / total.n, total.n)


def affinely(moments: Moments, protocol: Protocol, device: torch.device, refits: bool = True) -> Fitted:
    """Fit the affine map of full rank with cross-validated λ, its refits, and the one on every second group."""
    total, everything = moments.total(), list(range(moments.groups))

    def fit(groups: list[int], sums: Sums) -> tuple[affine.AffineMap, float, bool]:
        penalty = affine.choose_penalty(moments, groups, protocol, device)
        lam = penalty.value * affine.scale(sums)
        return affine.fit(sums, lam), lam, penalty.edge

    whole, lam, edge = fit(everything, total)

    def refit(group: int) -> LinearMap:
        return affine.fit(total - moments.group(group), lam)

    found: list[LinearMap] = in_parallel(refit, everything if refits else (), device)
    half = fit(everything[::2], moments.total(everything[::2]))[0] if refits else None
    return Fitted(whole, found, [whole.rank] * len(found), half, whole.mean_y, total.n, edge)


def sums_of_squares(fitted: LinearMap, x: Tensor, y: Tensor, marked: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return ‖Δ − Δ̂‖² and ‖Δ‖² about the map's centre, of each window, over the marked tokens; x, y = Δ ``(windows, tokens, d)``."""
    error, energy = (y - fitted(x)).square().sum(-1), (y - fitted.centre).square().sum(-1)
    if marked is not None:
        error, energy = error * marked.to(error.device), energy * marked.to(error.device)
    return error.sum(1), energy.sum(1)


KINDS: tuple[type[ridge.RankMap] | type[affine.AffineMap], ...] = (ridge.RankMap, affine.AffineMap)
"""The kinds of map that are fitted, and kept in files."""


def parts_of(fitted: LinearMap) -> dict[str, Tensor]:
    """Return the tensors that a fitted map consists of, by the names of its fields."""
    assert isinstance(fitted, KINDS)
    return {part.name: getattr(fitted, part.name) for part in fields(fitted)}


def placed(fitted: LinearMap, device: torch.device) -> LinearMap:
    """Return a fitted map with its tensors on a device; itself where they are there."""
    parts = parts_of(fitted)
    there = all(part.device == device for part in parts.values())
    return fitted if there else of_parts({name: part.to(device) for name, part in parts.items()})


def of_parts(parts: Mapping[str, Tensor]) -> LinearMap:
    """Build the map that consists of these tensors; ValueError when no kind of map does."""
    for kind in KINDS:
        if set(parts) == {part.name for part in fields(kind)}:
            return kind(**parts)
    raise ValueError(f"no map consists of {', '.join(sorted(parts)) or 'nothing'}")
