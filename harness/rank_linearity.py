"""Linearity by rank-k ridge maps (Eq. 2), on the rungs ``paper``, ``held-out`` and ``typical``, in one sweep."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness import ridge
from harness.concurrency import in_parallel
from harness.linearity import CALIBRATION, EVALUATION, Linearity, contiguous_groups, flattened, scored_without, share, stack, unstack
from harness.moments import Moments, Sums
from harness.protocol import Protocol
from harness.solving import names_the_block
from harness.statistics import Array
from harness.sweep import moment_device
from harness.typical import typical
from harness.visits import Visit
from harness.work import Work

RUNGS = ("paper", "held-out", "typical")


@contextmanager
def visit(work: Work) -> Iterator[Visit]:
    """Measure all three rungs in one sweep."""
    visitor = RankLinearity(len(work.ids[CALIBRATION]), len(work.ids[EVALUATION]), work.width, work.protocol, work.subject.device)
    yield Visit([visitor], lambda: flattened(visitor.result()))


class RankLinearity:
    """Visitor: one block's moments, its maps and their leave-one-group-out refits, scored; then the next block.

    Atypical tokens are few: their rows are kept as they are, so that the moments of all tokens are those of the typical ones plus
    theirs, and the bulk is accumulated once.
    """

    def __init__(self, calibration: int, evaluation: int, width: int, protocol: Protocol, device: torch.device | str) -> None:
        self._protocol, self._width = protocol, width
        self._device = moment_device(device, Moments.bytes_of(protocol.groups + 1, width, width))
        self._group = contiguous_groups(calibration, protocol.groups)
        self._evaluation = evaluation
        self.blocks: list[dict[str, dict[str, Array]]] = []
        self._reset()

    def _reset(self) -> None:
        d = self._width
        self._typical = Moments(self._protocol.groups, d, d, self._device)
        self._atypical: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(self._protocol.groups)]
        self._scored_typical = Moments(1, d, d, self._device)
        self._scored_atypical: list[tuple[Tensor, Tensor]] = []
        self._fits: dict[str, _Fit] = {}
        self._refits: dict[str, list[ridge.RankMap]] = {}

    def see(self, split: str, first: int, before: Tensor, after: Tensor) -> None:
        """Accumulate a batch; evaluation windows are also scored one by one with the maps fitted just before."""
        mask = typical(before, after, self._protocol.typical_factor).to(self._device)
        # The difference is taken in float64: in float32 it would lose what a block adds to a massive activation.
        x = before.to(self._device).double()
        y = after.to(self._device).double() - x
        if split == CALIBRATION:
            for i in range(len(x)):
                group = self._group[first + i]
                self._typical.add(group, x[i][mask[i]], y[i][mask[i]])
                self._atypical[group].append((x[i][~mask[i]], y[i][~mask[i]]))
            return
        self._scored_typical.add(0, x[mask], y[mask])
        self._scored_atypical.append((x[~mask], y[~mask]))
        for name, fit in self._fits.items():
            fit.score(first, x, y, mask if name == "typical" else None)

    def end_split(self, split: str) -> None:
        """Fit once the calibration windows have passed, so that evaluation windows meet a map."""
        if split != CALIBRATION:
            return
        self._rest = [_rows(rows) for rows in self._atypical]
        typical_only = self._typical.total()
        everything = typical_only + _rows([row for rows in self._atypical for row in rows])
        for name, total in (("all", everything), ("typical", typical_only)):
            with names_the_block(len(self.blocks)):
                self._fits[name] = _Fit(total, self._protocol, self._evaluation)

    def end_block(self, block: int) -> None:
        """Score everything, the refits too, and drop the moments."""
        scored = {"typical": self._scored_typical.total()}
        scored["all"] = scored["typical"] + _rows(self._scored_atypical)
        tokens = scored["all"].n
        found = {}
        for name, fit in self._fits.items():
            refits = self._refitted(name)

            def score(group: int, name: str = name, refits: list[ridge.RankMap] = refits) -> tuple[float, float]:
                rest, other = self._without(name, group), refits[group]
                inside = share(other.squared_error(rest), rest.energy) if name == "all" else np.nan
                return inside, share(other.squared_error(scored[name]), scored[name].energy)

            inside, outside = zip(*in_parallel(score, range(self._typical.groups), self._device), strict=True)
            found[name] = fit.result(np.array(inside), np.array(outside), 1 - scored[name].n / tokens)
        paper, held_out = found["all"]
        self.blocks.append({"paper": paper, "held-out": held_out, "typical": found["typical"][1]})
        self._reset()

    def _without(self, name: str, group: int) -> Sums:
        part = self._typical.group(group)
        return self._fits[name].total - (part if name == "typical" else part + self._rest[group])

    def _refitted(self, name: str) -> list[ridge.RankMap]:
        """Refit without each group, λ and k frozen; once a block."""
        if name not in self._refits:
            fit, block = self._fits[name], len(self.blocks)

            def refit(group: int) -> ridge.RankMap:
                with names_the_block(block):
                    return fit.refit(self._without(name, group))

            self._refits[name] = in_parallel(refit, range(self._typical.groups), self._device)
        return self._refits[name]

    @property
    def refits(self) -> dict[str, list[ridge.RankMap]]:
        """The maps refitted without each group, by rung, of the block at which the sweep stands."""
        return {"paper": self._refitted("all"), "typical": self._refitted("typical")}

    @property
    def maps(self) -> dict[str, ridge.RankMap]:
        """The maps of the block at which the sweep stands, by rung: from the end of its calibration windows to the block's end."""
        return {"paper": self._fits["all"].map, "held-out": self._fits["all"].map, "typical": self._fits["typical"].map}

    def state(self) -> dict[str, Array]:
        """Return what has been found so far, for a checkpoint."""
        return {
            f"{b}/{rung}/{name}": a for b, rungs in enumerate(self.blocks) for rung, arrays in rungs.items() for name, a in arrays.items()
        }

    def restore(self, state: dict[str, Array], blocks: int) -> None:
        """Take up what a checkpoint held of so many blocks; ValueError when it is not that."""
        groups, parts = self._protocol.groups, {}
        for rung in RUNGS:
            mine = {name.replace(f"/{rung}/", "/"): array for name, array in state.items() if f"/{rung}/" in name}
            parts[rung] = unstack(mine, blocks, groups, 0 if rung == "paper" else self._evaluation)
        if len(state) != sum(len(block) for part in parts.values() for block in part):
            raise ValueError("it holds more than the findings of these blocks")
        self.blocks = [{rung: parts[rung][b] for rung in RUNGS} for b in range(blocks)]

    def result(self) -> dict[str, Linearity]:
        """Return the linearity of every rung."""
        return {rung: stack([block[rung] for block in self.blocks]) for rung in RUNGS}


class _Fit:
    """The map of one choice of tokens at one block, and its score."""

    def __init__(self, total: Sums, protocol: Protocol, windows: int) -> None:
        self.total = total
        self._protocol = protocol
        self._lam = ridge.penalty(total, protocol.ridge)
        self.map = ridge.fit(total, ridge.output_basis(total, energy=protocol.energy), self._lam)
        self._error, self._energy = np.zeros(windows), np.zeros(windows)

    def score(self, first: int, x: Tensor, y: Tensor, mask: Tensor | None) -> None:
        """Score evaluation windows ``(windows, tokens, d)`` one by one, on the masked tokens."""
        error, energy = (y - self.map(x)).square().sum(-1), y.square().sum(-1)
        if mask is not None:
            error, energy = error * mask, energy * mask
        windows = slice(first, first + len(x))
        self._error[windows], self._energy[windows] = error.sum(1).cpu(), energy.sum(1).cpu()

    def refit(self, rest: Sums) -> ridge.RankMap:
        """Fit to ``rest`` with k and λ frozen."""
        return ridge.fit(rest, ridge.output_basis(rest, rank=self.map.rank), self._lam)

    def result(self, inside: Array, outside: Array, left_out: float) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the figures in sample and on evaluation text."""
        total, basis = self.total, self.map.basis
        held = float((basis * (total.yy @ basis)).sum())
        common = {
            "half": np.nan,
            "rank": self.map.rank,
            "cap": 1 - share(held, total.energy),
            "penalty": self._protocol.ridge,
            "edge": np.nan,
            "fitted": total.n,
            "left_out": left_out,
        }
        arrays = {name: np.array(value, dtype=np.float64) for name, value in common.items()}
        in_sample = np.array(share(self.map.squared_error(total), total.energy))
        scored = np.array(share(self._error.sum(), self._energy.sum()))
        return (
            {**arrays, "value": in_sample, "fit": inside, "score": np.zeros(0)},
            {**arrays, "value": scored, "fit": outside, "score": scored_without(self._error, self._energy)},
        )


def _rows(rows: list[tuple[Tensor, Tensor]]) -> Sums:
    return Sums.of(torch.cat([x for x, _ in rows]), torch.cat([y for _, y in rows]))
