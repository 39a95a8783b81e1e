"""The protocol of a run: every choice that a figure depends on, recorded beside it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from harness.easy_protocol import EasyProtocol


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
class VarianceProtocol:
    """Sizes and rules of claim 1: at *mid*, the output of block B/2 − 1, unless said otherwise.

    ``share``: variance that the projection keeps. ``boundaries``: how many are projected at once on ``paper``. ``curve``, ``gain``,
    ``overlap``: divisors of d that give k. ``noise_seeds``: draws of the noise that a projection is compared with.
    ``refit_stride``: refits of a projection are scored on every so-manieth evaluation window. ``directions``: PCs, evenly spaced in
    rank, that are ablated and pushed along one by one (all of them up to ``all_up_to`` dimensions). ``push``: norm of the vector added,
    over the median norm of typical tokens. ``nulls``: random subspaces beside the overlap. ``ablated``: most PCs ablated together;
    their effect on the logits is sketched by ``sketch`` Gaussian directions, of which ``sketch_kept`` PCs are kept, and compared with
    ``null_subspaces`` random subspaces. ``least_self_overlap``, ``least_r2``: below them a figure of predictive directions is not judged.
    ``least_reliability``: nor is a rank correlation whose KL ranks the PCs less alike on two halves of the windows. ``above_rounding``,
    ``most_rounding``: nor figures where more than this share of KLs is less than so many times that of the stream's rounding.
    """

    share: float = 0.90
    boundaries: int = 6
    curve: tuple[int, ...] = (96, 12, 3)
    gain: tuple[int, ...] = (96, 32, 12, 6)
    overlap: int = 32
    overlap_fewest: int = 8
    ridge_factors: tuple[float, ...] = (0.01, 1.0, 100.0)
    nulls: int = 100
    least_self_overlap: float = 0.5
    least_r2: float = 0.02
    least_reliability: float = 0.8
    above_rounding: float = 2.0
    most_rounding: float = 0.05
    noise_seeds: int = 8
    refit_stride: int = 4
    directions: int = 128
    all_up_to: int = 256
    push: float = 0.05
    ablated: int = 32
    sketch: int = 256
    sketch_kept: int = 32
    null_subspaces: int = 20

    def quickened(self) -> VarianceProtocol:
        """Return quarter sizes of whatever is repeated."""
        return replace(
            self,
            noise_seeds=self.noise_seeds // 4,
            refit_stride=1,
            directions=self.directions // 4,
            all_up_to=self.all_up_to // 4,
            null_subspaces=self.null_subspaces // 4,
        )

    def mid(self, blocks: int) -> int:
        """Return the block whose output is mid: B/2 − 1."""
        return mid(blocks)

    def range(self, blocks: int) -> list[int]:
        """Return the blocks whose outputs are projected together: evenly spaced over B/4 … min(2B/3, B − 2), equal ones merged."""
        first, last = blocks // 4, min(2 * blocks // 3, blocks - 2)
        if last < first:
            return []
        steps = self.boundaries - 1
        return sorted({first + (2 * (last - first) * i + steps) // (2 * steps) for i in range(self.boundaries)})

    def overlap_rank(self, width: int) -> int:
        """K = max(8, round(d/32)), at most d/2: 18 for d = 576, 128 for d = 4,096."""
        return min(max(self.overlap_fewest, round(width / self.overlap)), max(width // 2, 1))

    def ranks(self, width: int, divisors: tuple[int, ...]) -> list[int]:
        """Return d over each divisor, at least 1, ascending, without duplicates."""
        return sorted({max(1, width // divisor) for divisor in divisors})

    def chosen(self, width: int) -> list[int]:
        """Return the ranks of the PCs that are looked at one by one, from 0: evenly spaced, ends included."""
        if width <= self.all_up_to or width <= self.directions:
            return list(range(width))
        return [(width - 1) * i // (self.directions - 1) for i in range(self.directions)]


def mid(blocks: int) -> int:
    """Return the block whose output is mid: B/2 − 1."""
    return blocks // 2 - 1


@dataclass(frozen=True)
class ReplacementProtocol:
    """Sizes of claim 2's interventions: ``run`` blocks are replaced together, at the end and, in models of twice as many, after mid.

    Costs of maps refitted without a group of calibration windows are taken on every ``refit_stride``-th evaluation window, and so are the
    controls of every single block; where every single block is replaced, those of each refit on one window.
    """

    run: int = 5
    refit_stride: int = 4

    def last_run(self, blocks: int) -> list[int]:
        """Return the last blocks that are replaced together: five, or where nothing would be left before them the last one alone."""
        return list(range(blocks - self.run, blocks)) if blocks > self.run else [blocks - 1]

    def mid_run(self, blocks: int) -> list[int]:
        """Return the blocks mid + 1 … mid + 5; none in a model that lacks them after mid, or where they are the last run."""
        first = mid(blocks) + 1
        return list(range(first, first + self.run)) if blocks > 2 * self.run else []

    def shifted(self, blocks: int) -> list[int]:
        """Return the blocks whose linearity is measured after upstream change: the last, and mid + 5 where there is one."""
        last, middle = blocks - 1, mid(blocks) + self.run
        return [last, *([middle] if blocks > 2 * self.run else [])] if blocks > self.run else []

    def upstream(self, target: int) -> list[int]:
        """Return the blocks before a block that are replaced to shift its input."""
        return list(range(target - self.run, target))

    def judged(self, blocks: int) -> list[int]:
        """Return the blocks whose maps a judged figure rests on, ascending: they are refitted."""
        return sorted({*self.last_run(blocks), *(b for last in self.shifted(blocks)[:1] for b in self.upstream(last))})

    def fitted(self, blocks: int) -> list[int]:
        """Return the blocks whose maps these interventions take, ascending."""
        shifted = {b for target in self.shifted(blocks) for b in (*self.upstream(target), target)}
        return sorted({*self.last_run(blocks), *self.mid_run(blocks), *shifted})

    def boundaries(self, blocks: int) -> set[int]:
        """Return the blocks whose outputs they start from, −1 for the embeddings."""
        return {boundary for block in self.fitted(blocks) for boundary in (block - 1, block)}


@dataclass(frozen=True)
class ReconstructionProtocol:
    """Sizes of claim 3 and the codebooks: how a weight matrix is stored in four bits an entry.

    ``levels`` of direct quantisation, of factors, of coefficients and of codebooks. ``groups``: neighbouring columns of a row that share a
    scale where groups are reported, ``codebook_groups`` for codebooks. In a rotated basis one in ``leading`` columns, the first ones, has
    ``leading_levels``, the rest ``other_levels``. ``basis_bits``: of an entry of a learned basis. ``damping``: GPTQ's, over the mean of the
    Hessian's diagonal. ``shuffles``: how often entries are shuffled for the null of their concentration. ``expert_tokens``: an expert that
    fewer calibration tokens a dimension reached carries a caveat.
    """

    levels: int = 16
    groups: int = 128
    codebook_groups: int = 64
    leading: int = 3
    leading_levels: int = 256
    other_levels: int = 4
    basis_bits: int = 16
    damping: float = 0.01
    shuffles: int = 4
    expert_tokens: int = 2


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
    variance: VarianceProtocol = VarianceProtocol()
    replacement: ReplacementProtocol = ReplacementProtocol()
    reconstruction: ReconstructionProtocol = ReconstructionProtocol()
    easy: EasyProtocol = field(default_factory=EasyProtocol)
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
            variance=self.variance.quickened(),
            easy=self.easy.quickened(),
            quick=True,
        )

    def strict_calibration_windows(self, width: int) -> int:
        """max(calibration windows, ⌈tokens per width · d / window⌉): 72 for d = 576, 512 for d = 4,096."""
        return max(self.calibration_windows, math.ceil(self.strict_tokens_per_width * width / self.window))

    def penalties(self) -> list[float]:
        """The grid of λ over tr(XᵀX)/d, ascending."""
        first, last, step = self.grid
        return [10 ** (first + step * i) for i in range(round((last - first) / step) + 1)]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON holds them, for reports and keys."""
        fields: dict[str, Any] = _as_json(asdict(self))
        return fields


def _as_json(value: Any) -> Any:
    """Turn tuples into lists, at any depth."""
    if isinstance(value, dict):
        return {name: _as_json(part) for name, part in value.items()}
    return [_as_json(part) for part in value] if isinstance(value, tuple) else value
