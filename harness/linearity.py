"""How linear each block is: R² of the best rank-k ridge map from its input to what it adds (claims 2 and 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness import ridge
from harness.anatomy import Anatomy
from harness.concurrency import in_parallel
from harness.errors import MeasurementError
from harness.moments import Moments, Sums
from harness.protocol import Protocol
from harness.statistics import Array, Figure
from harness.sweep import Progress, sweep
from harness.windows import Ids

CALIBRATION, EVALUATION = "calibration", "evaluation"


@dataclass(frozen=True)
class Linearity:
    """R² of every block on the ``paper`` and ``held-out`` rungs.

    R² = 1 − ‖Δ − Δ̂‖²_F / ‖Δ‖²_F, uncentred, with Δ_b = h_{b+1} − h_b and Δ̂ the ridge map of Eq. 2; at most 1, and
    negative where the map does worse than predicting zero. ``r2[rung]`` is a figure over blocks ``(B,)``. ``rank`` is k and
    ``cap`` the share of ‖Δ‖² inside span(V_k), the most that R² can be in sample.

    The paper reports the in-sample figure. On pure noise that one is about min(k, …)·d/N > 0: compare ``held-out``.
    """

    r2: dict[str, Figure]
    rank: Array
    cap: Array
    tokens: dict[str, int]


@torch.inference_mode()
def measure(
    anatomy: Anatomy,
    calibration: Ids,
    evaluation: Ids,
    protocol: Protocol,
    device: torch.device | str = "cpu",
    progress: Progress = lambda done, total: None,
) -> Linearity:
    """Sweep once and return the linearity of every block.

    ``calibration`` and ``evaluation``: token ids ``(windows, tokens) int64``.
    Raises MeasurementError when the stream is not finite or a map cannot be fitted.
    """
    visitor = _LinearityVisitor(len(calibration), len(evaluation), protocol, anatomy.width, device)
    sweep(anatomy, {CALIBRATION: calibration, EVALUATION: evaluation}, [visitor], device, progress)
    return visitor.result({CALIBRATION: calibration.size, EVALUATION: evaluation.size})


class _LinearityVisitor:
    """Accumulate one block's moments, fit the map and its leave-one-group-out refits, score them, forget the moments."""

    def __init__(self, calibration: int, evaluation: int, protocol: Protocol, width: int, device: torch.device | str) -> None:
        if protocol.groups > calibration:
            raise ValueError(f"{protocol.groups} groups need as many calibration windows, not {calibration}")
        self._protocol = protocol
        self._width = width
        # MPS has no float64: its moments are kept on the host.
        self._device = torch.device("cpu") if torch.device(device).type == "mps" else torch.device(device)
        self._group = [window * protocol.groups // calibration for window in range(calibration)]
        self._windows = evaluation
        self._blocks: list[dict[str, Array]] = []
        self._reset()

    def _reset(self) -> None:
        self._fitted = Moments(self._protocol.groups, self._width, self._width, self._device)
        self._scored = Moments(1, self._width, self._width, self._device)
        self._window_sse = np.full(self._windows, np.nan)
        self._window_energy = np.full(self._windows, np.nan)
        self._map: ridge.RankMap | None = None

    def see(self, split: str, first: int, before: Tensor, after: Tensor) -> None:
        """Accumulate a batch; an evaluation batch is also scored window by window."""
        # The difference is taken in float64: in float32 it would lose what a block adds to a massive activation.
        x = before.to(self._device).double()
        delta = after.to(self._device).double() - x
        if split == CALIBRATION:
            groups = self._group[first : first + len(x)]
            for group in sorted(set(groups)):
                members = slice(groups.index(group), groups.index(group) + groups.count(group))
                self._fitted.add(group, x[members].flatten(0, 1), delta[members].flatten(0, 1))
        else:
            assert self._map is not None
            windows = slice(first, first + len(x))
            self._window_energy[windows] = delta.square().sum((1, 2)).cpu()
            self._window_sse[windows] = (delta - self._map(x)).square().sum((1, 2)).cpu()
            self._scored.add(0, x.flatten(0, 1), delta.flatten(0, 1))

    def end_split(self, split: str) -> None:
        """Fit once the calibration windows have passed, so that evaluation windows meet a map."""
        if split == CALIBRATION:
            self._total = self._fitted.total()
            self._lam = ridge.penalty(self._total, self._protocol.ridge)
            basis = ridge.output_basis(self._total, energy=self._protocol.energy)
            self._map = self._fit(self._total, basis)

    def end_block(self, block: int) -> None:
        """Refit without each group (λ and k frozen), score everything, and drop the moments."""
        assert self._map is not None
        scored = self._scored.total()
        rank = self._map.rank

        def refit(group: int) -> tuple[float, float]:
            rest = self._fitted.without(group, self._total)
            other = self._fit(rest, ridge.output_basis(rest, rank=rank))
            return _r2(other.squared_error(rest), rest.energy), _r2(other.squared_error(scored), scored.energy)

        in_sample, out_of_sample = zip(*in_parallel(refit, range(self._fitted.groups), self._device), strict=True)
        sse, energy = self._window_sse, self._window_energy
        inside = float((self._map.basis * (self._total.yy @ self._map.basis)).sum())
        self._blocks.append(
            {
                "paper": np.array(_r2(self._map.squared_error(self._total), self._total.energy)),
                "paper_fit": np.array(in_sample),
                "held": np.array(_r2(sse.sum(), energy.sum())),
                "held_fit": np.array(out_of_sample),
                "held_score": np.array([_r2(sse.sum() - s, energy.sum() - e) for s, e in zip(sse, energy, strict=True)]),
                "rank": np.array(self._map.rank),
                "cap": np.array(inside / self._total.energy if self._total.energy > 0 else np.nan),
            }
        )
        self._reset()

    def result(self, tokens: dict[str, int]) -> Linearity:
        """Stack the blocks: values ``(B,)``, replicates ``(G, B)`` and ``(W, B)``."""
        stacked = {key: np.stack([b[key] for b in self._blocks], axis=-1) for key in self._blocks[0]}
        return Linearity(
            r2={
                "paper": Figure(stacked["paper"], fit=stacked["paper_fit"]),
                "held-out": Figure(stacked["held"], fit=stacked["held_fit"], score=stacked["held_score"]),
            },
            rank=stacked["rank"],
            cap=stacked["cap"],
            tokens=tokens,
        )

    def _fit(self, sums: Sums, basis: Tensor) -> ridge.RankMap:
        try:
            return ridge.fit(sums, basis, self._lam)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            raise MeasurementError(f"block {len(self._blocks)}: its input is zero or degenerate; no ridge map can be fitted") from None


def _r2(sse: float, energy: float) -> float:
    """1 − SSE/‖Δ‖²; NaN when the block adds nothing."""
    return 1 - sse / energy if energy > 0 else float("nan")
