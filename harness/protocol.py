"""The protocol of a run: every choice that a figure depends on, recorded beside it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True)
class Rung:
    """One rung of the control ladder; ``judged`` rungs carry verdicts, the others show which control moves one.

    ``control`` says what this rung adds to the one before.
    """

    name: str
    judged: bool
    summary: str
    control: str


RUNGS: dict[str, Rung] = {
    rung.name: rung
    for rung in (
        Rung("paper", True, "as published: in sample, all tokens, uncentred, maps of rank k", ""),
        Rung("held-out", False, "the same maps, scored on text they were not fitted to", "scoring on held-out text"),
        Rung("typical", False, "held out, and without first tokens and massive activations", "leaving out massive activations"),
        Rung(
            "strict",
            True,
            "typical tokens, affine full-rank maps, cross-validated ridge, larger samples",
            "centring, full rank and cross-validated ridge on larger samples",
        ),
    )
}


@dataclass(frozen=True)
class Protocol:
    """Sizes and rules of all rungs (arXiv:2604.20682, set-up, and Eq. 2).

    ``window``: tokens a window, BOS included. ``energy``: share of ‖Δ‖² that the k output directions of a map hold.
    ``ridge``: λ over tr(XᵀX)/d on ``paper``, ``held-out`` and ``typical``. ``groups``: groups of calibration windows that the jackknife
    leaves out in turn. ``typical_factor``: a token is atypical when its norm is more than so many times its window's median.

    On ``strict``: ``strict_tokens_per_width`` calibration tokens for each dimension of the stream (and no fewer windows than
    ``calibration_windows``), ``strict_evaluation_windows``, λ from ``grid`` (exponents of ten: first, last, step) times tr/d by
    cross-validation over ``folds`` contiguous groups; below ``fewest_tokens_per_width``, or when half the calibration windows
    move it by more than ``half_sample_change``, a figure is not judged.

    The paper states neither its λ nor any interval; those rules are ours.
    """

    window: int = 256
    calibration_windows: int = 32
    evaluation_windows: int = 16
    energy: float = 0.95
    ridge: float = 1e-4
    groups: int = 16
    typical_factor: float = 10.0
    strict_tokens_per_width: int = 32
    strict_evaluation_windows: int = 64
    fewest_tokens_per_width: int = 16
    half_sample_change: float = 0.05
    folds: int = 8
    grid: tuple[float, float, float] = (-8.0, 2.0, 0.5)
    seed: int = 0
    quick: bool = False

    def quickened(self) -> Protocol:
        """Return a protocol of quarter sizes. Its figures are MEASURED and never judged."""
        return replace(
            self,
            calibration_windows=self.calibration_windows // 4,
            evaluation_windows=self.evaluation_windows // 4,
            strict_tokens_per_width=self.strict_tokens_per_width // 4,
            strict_evaluation_windows=self.strict_evaluation_windows // 4,
            fewest_tokens_per_width=self.fewest_tokens_per_width // 4,
            groups=self.groups // 2,
            quick=True,
        )

    def strict_calibration_windows(self, width: int) -> int:
        """max(calibration windows, ⌈tokens per width · d / window⌉): 72 for d = 576, 512 for d = 4,096."""
        return max(self.calibration_windows, math.ceil(self.strict_tokens_per_width * width / self.window))

    def penalties(self) -> list[float]:
        """The grid of λ over tr(XᵀX)/d, ascending."""
        first, last, step = self.grid
        return [10 ** (first + step * i) for i in range(round((last - first) / step) + 1)]

    def as_dict(self) -> dict[str, object]:
        """Return the fields, for reports and keys."""
        return {**asdict(self), "grid": list(self.grid)}
