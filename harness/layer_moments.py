"""Second moments of what linear layers read at one block, by group of windows, of typical tokens and of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.moments import Moments, Sums

ALL, TYPICAL = "all", "typical"
"""Of which tokens."""
CHOICES = {"paper": ALL, "held-out": ALL, "typical": TYPICAL, "strict": TYPICAL}
"""The calibration tokens that a rung fits to, and those that it scores."""


@dataclass(frozen=True)
class Scored:
    """Second moments by group of windows: ``tokens (G)`` and ``xx (G, in, in)``, uncentred sums, float64."""

    tokens: Tensor
    xx: Tensor

    def errors(self, products: Tensor, rows: int) -> tuple[Tensor, Tensor]:
        """Output MSE of changes E of weights, from ``products`` EᵀE ``(k, in, in)``: tr(E S Eᵀ)/out = Σ (EᵀE ∘ S)/out, S = XᵀX/N.

        Returns it for all groups, ``(k)``, and with each group left out, ``(k, G)``; NaN where no tokens are left. ``rows``: out. The inner
        product with EᵀE makes every group cost in² operations, and not the in²·out of a product with S.
        """
        by_group = products.flatten(1) @ self.xx.flatten(1).T
        whole = by_group.sum(1)
        rest, tokens = whole[:, None] - by_group, self.tokens.sum() - self.tokens
        # Rounding may leave what is nothing a little below nothing.
        return (whole / (self.tokens.sum() * rows)).clamp_min(0), (rest / (tokens * rows)).clamp_min(0)


class LayerMoments:
    """Moments of one input, x ``(tokens, in)``, and of its block's contribution Δ, by group of windows.

    Atypical tokens are few: their rows are kept, so that the bulk is accumulated once. ``contribution``: columns of Δ, 0 where it is not
    wanted. Memory: 8·groups·(in² + in·e + e²) bytes.
    """

    def __init__(self, groups: int, width: int, contribution: int, device: torch.device) -> None:
        self._typical = Moments(groups, width, contribution, device)
        self._atypical: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(groups)]
        self._empty = torch.zeros(0, contribution, dtype=torch.float64, device=device)

    def add(self, group: int, x: Tensor, y: Tensor | None, typical: bool) -> None:
        """Add rows to a group: ``x (n, in)`` and ``y (n, e)``, None where there is no contribution."""
        x = x.double()
        y = self._empty.new_zeros(len(x), self._empty.shape[1]) if y is None else y
        if typical:
            self._typical.add(group, x, y)
        elif len(x):
            self._atypical[group].append((x, y))

    def total(self, choice: str, groups: list[int] | None = None) -> Sums:
        """Sums over all groups, or over those given."""
        sums = self._typical.total(groups)
        of = range(self._typical.groups) if groups is None else groups
        rows = [row for group in of for row in self._atypical[group]] if choice == ALL else []
        return sums + Sums.of(torch.cat([x for x, _ in rows]), torch.cat([y for _, y in rows])) if rows else sums

    def scored(self, choice: str) -> Scored:
        """Second moments by group."""
        groups = [self._typical.group(group) for group in range(self._typical.groups)]
        xx, tokens = self._typical.seconds(), [group.n for group in groups]
        if choice == ALL and any(self._atypical):
            xx = xx.clone()
        for group, rows in enumerate(self._atypical if choice == ALL else ()):
            for x, _ in rows:
                xx[group].addmm_(x.T, x)
                tokens[group] += len(x)
        return Scored(torch.tensor(tokens, dtype=torch.float64, device=xx.device), xx)


def most_bytes(blocks: Sequence[nn.Module], fitted: int, scored: int, width: int) -> int:
    """Return the bytes that the moments of one block's inputs take at most, in ``fitted`` and ``scored`` groups; ``width``: the stream's.

    Every weight matrix is taken to read an input of its own, as many numbers as it has columns: more than is so, where several share one.
    """
    return max(
        sum(
            (p.shape[0] if p.ndim > 2 else 1) * (Moments.bytes_of(fitted, p.shape[-1], width) + Moments.bytes_of(scored, p.shape[-1], 0))
            for p in block.parameters()
            if p.ndim >= 2
        )
        for block in blocks
    )
