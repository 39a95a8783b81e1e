"""Sizes and rules of claim 5: exit heads, destroyed blocks, routing."""

from __future__ import annotations

from dataclasses import dataclass, replace

FEWEST_BLOCKS = 10
"""Models of fewer have fewer than four late blocks."""

_DEPTHS = ("exits", "late")
TRAINING = (
    *_DEPTHS,
    *("steps", "warmup", "rates", "trial_steps", "trial_warmup", "trial_windows", "batch", "gpu_batch", "looks", "look_stride"),
)
ADAPTING = ("lora_rank", "lora_early")
DESTRUCTION = (*_DEPTHS, "levels")
"""The fields that heads, a LoRA beside them, and destroyed blocks depend on; all others say how what is measured is read."""


@dataclass(frozen=True)
class EasyProtocol:
    """How exit heads are trained, which blocks are destroyed, and when a token counts as easy.

    ``exits``: shares of the depth; a head reads the output of block share·B − 1. ``steps`` of AdamW without decay, one ``batch`` of windows
    each (``gpu_batch`` on a GPU), ``warmup`` of them linear, then a cosine to 0. ``rates``: learning rates that are tried for
    ``trial_steps``, the whole schedule in small (``trial_warmup``), and scored on the last ``trial_windows`` calibration windows.
    ``looks``: how often the head is scored while it is trained, on every ``look_stride``-th evaluation window. ``still_improving``:
    agreement gained over the second half of the steps that is a caveat, or lost since any look; ``by_heart``: nats between the loss on the
    text that is learned and NLL on other text that are one.
    ``lora_rank``: of the LoRA that is trained beside a head, at most d/2; its loss is the final one plus ``lora_early`` times the head's.

    ``late``: how many blocks from 2B/3 on are destroyed alone, by ``levels`` values a row (INT2). ``taus``: KLs in nats up to which a token
    counts as easy when all blocks from 2B/3 on are destroyed. ``strata``: of the full model's confidence, within which two criteria are
    compared. ``thresholds`` of routing, the first of them judged, where it saves at least ``least_saved`` of the blocks' operations;
    ``bins`` of confidence for calibration. ``dominates``: KL of one side over the other's from which it dominates a block.
    ``shown``: the easiest and the hardest tokens that a report lists.
    """

    exits: tuple[tuple[int, int], ...] = ((1, 2), (3, 4), (7, 8))
    steps: int = 500
    warmup: int = 50
    rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3)
    trial_steps: int = 50
    trial_warmup: int = 5
    trial_windows: int = 4
    batch: int = 1
    gpu_batch: int = 8
    looks: int = 10
    look_stride: int = 4
    still_improving: float = 0.02
    by_heart: float = 1.0
    lora_rank: int = 64
    lora_early: float = 0.5
    late: int = 4
    levels: int = 4
    taus: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    strata: int = 10
    thresholds: tuple[float, ...] = (0.95, 0.80, 0.70, 0.50)
    least_saved: float = 0.01
    bins: int = 10
    dominates: float = 2.0
    shown: int = 20

    def quickened(self) -> EasyProtocol:
        """Return quarter sizes of whatever is repeated."""
        return replace(
            self, steps=self.steps // 4, warmup=self.warmup // 4, trial_steps=self.trial_steps // 4, trial_warmup=1, look_stride=1
        )

    def trained_for(self, steps: int) -> EasyProtocol:
        """Return the same with heads trained for so many steps; of fewer than usual the same share warms up."""
        return replace(self, steps=steps, warmup=min(self.warmup, max(1, self.warmup * steps // self.steps)))

    def lora_rank_of(self, width: int) -> int:
        """Return the rank of a LoRA in a model of width d: 64, at most d/2, at least 1."""
        return max(1, min(self.lora_rank, width // 2))

    def batch_on(self, cuda: bool) -> int:
        """Return how many windows a step takes."""
        return self.gpu_batch if cuda else self.batch

    def exits_of(self, blocks: int) -> list[int]:
        """Return the blocks whose outputs heads read: B/2 − 1, 3B/4 − 1, 7B/8 − 1, equal ones merged; none in a model of one block."""
        return sorted({over * blocks // under - 1 for over, under in self.exits} - {-1})

    def destroyed_from(self, blocks: int) -> int:
        """Return the first of the late blocks: 2B/3."""
        return 2 * blocks // 3

    def late_of(self, blocks: int) -> list[int]:
        """Return four blocks evenly spaced over 2B/3 … B − 1, ends included: 8 to 11 of 12; fewer where there are fewer."""
        first, steps = self.destroyed_from(blocks), self.late - 1
        return sorted({first + (2 * (blocks - 1 - first) * i + steps) // (2 * steps) for i in range(self.late)})

    def looked_at(self, blocks: int) -> list[int]:
        """Return the blocks at all of which a token must be typical to be counted off ``paper``: exits and late blocks."""
        return sorted({*self.exits_of(blocks), *self.late_of(blocks)})

    def middle(self, blocks: int) -> range:
        """Return the blocks whose median the first and the last are compared with: B/4 … 3B/4."""
        return range(blocks // 4, 3 * blocks // 4 + 1)
