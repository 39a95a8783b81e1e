"""Interventions that put linear maps in the place of blocks, as values (claim 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.interventions import Intervention
from harness.maps import LinearMap


@dataclass(frozen=True, eq=False)
class Replaced(Intervention):
    """Consecutive blocks, of which ``block`` is the last, are replaced by ``maps``, one each: h ↦ h + m(h), one after another.

    The blocks are not run. At positions that are not marked the stream takes ``kept``, h_{block+1} of the clean run
    ``(windows, tokens, d)``: it is needed where positions are marked. A map acts on single tokens, so that what stands at positions that
    are not marked does not matter inside the run.
    """

    maps: tuple[LinearMap, ...]
    kept: Tensor | None = None

    def __post_init__(self) -> None:
        """Refuse a run that is empty or starts before the model, and marks without what is kept elsewhere."""
        if not 0 < len(self.maps) <= self.block + 1:
            raise ValueError(f"{len(self.maps)} maps cannot take the place of the blocks up to block {self.block}")
        if (self.positions is None) != (self.kept is None):
            raise ValueError("marked positions need the clean stream that stands elsewhere, and it needs marked positions")

    @property
    def reads(self) -> int:
        """The block before the first that is replaced."""
        return self.block - len(self.maps)

    def _changed(self, hidden: Tensor, windows: Sequence[int]) -> Tensor:
        for each in self.maps:
            hidden = hidden + each(hidden)
        return hidden

    def _elsewhere(self, hidden: Tensor, windows: Sequence[int]) -> Tensor:
        assert self.kept is not None
        return self.kept[list(windows)].to(hidden.device, hidden.dtype)


@dataclass(frozen=True, eq=False)
class TeacherForced(Replaced):
    """The same with every map at the *true* input of its block: h ↦ h + Σ_b m_b(h_b), h_b of the clean run.

    Errors of the maps add up, but no map sees a stream that an earlier one has shifted. ``inputs``: h_b ``(windows, tokens, d)`` for each
    map; where the stream is not changed before, the first is the stream itself.
    """

    inputs: tuple[Tensor, ...] = ()

    def __post_init__(self) -> None:
        """Refuse inputs that are not one for each map."""
        super().__post_init__()
        if len(self.inputs) != len(self.maps):
            raise ValueError(f"{len(self.inputs)} inputs for {len(self.maps)} maps")

    def _changed(self, hidden: Tensor, windows: Sequence[int]) -> Tensor:
        chosen = list(windows)
        added = [each(given[chosen].to(hidden.device).double()) for each, given in zip(self.maps, self.inputs, strict=True)]
        return hidden + torch.stack(added).sum(0)
