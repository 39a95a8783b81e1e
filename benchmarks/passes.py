"""The passes that the core predicates of the five claims need, whatever makes them: what a roofline is drawn from.

Counted from the protocol alone, with perfect reuse: every window passes every block once for all measurements of a layout; an intervention
runs only what lies above it; the clean run's logits are had once. Eigenvectors, solves, sorting and whatever is done to single logits are
left out: this is the least that the products of matrices take, and no program that measures these figures can take less.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness import layouts
from harness.linearity import CALIBRATION, EVALUATION
from harness.measurement import INTERVENTION, PAPER, STRICT
from harness.protocol import Protocol


@dataclass(frozen=True)
class Shape:
    """What a pass costs depends on: blocks B, width d, weights that act on a token in a block, in the head, widths of what layers read."""

    blocks: int
    width: int
    block: float
    head: float
    attended: int
    """Heads times the size of a head."""
    inputs: tuple[int, ...]
    """Widths of the different inputs that the layers of a block read: of attention, its output, the MLP, its inner layer."""


@dataclass(frozen=True)
class Passes:
    """``blocks``: runs of one block on one window; ``heads``: of the head on one; ``steps``: of a head forward and back on one.

    ``moments``: operations of products in float64.
    """

    blocks: float = 0.0
    heads: float = 0.0
    steps: float = 0.0
    moments: float = 0.0

    def __add__(self, other: Passes) -> Passes:
        return Passes(*(a + b for a, b in zip(self.parts(), other.parts(), strict=True)))

    def parts(self) -> tuple[float, float, float, float]:
        """Return the four counts."""
        return self.blocks, self.heads, self.steps, self.moments

    def operations(self, shape: Shape, window: int) -> float:
        """Return the operations in the weights' type: two for each weight and token, those of causal attention, the head forward and back.

        A query meets half of the window's keys on average. Backward is twice forward; the stream that a head reads needs no gradient of
        its own, which saves nothing here: the gradient of the norm's weight needs that of its output.
        """
        block = 2 * shape.block * window + 2 * shape.attended * window * (window + 1)
        return self.blocks * block + (self.heads + 3 * self.steps) * 2 * shape.head * (window - 1)


def needed(protocol: Protocol, shape: Shape) -> dict[str, Passes]:
    """Return the passes of each part, by name: ``layout: part``. Both layouts; all rungs of a layout, as its measurements give them."""
    found = {}
    for layout in (PAPER, STRICT):
        part = _Layout(protocol, shape, layout)
        found |= {f"{layout}: {name}": passes for name, passes in part.passes().items()}
    return found


class _Layout:
    """One layout of windows: C for calibration, E for evaluation, W on which interventions are scored."""

    def __init__(self, protocol: Protocol, shape: Shape, layout: str) -> None:
        self.p, self.s, self.strict = protocol, shape, layout == STRICT
        counts = layouts.plan(layout, protocol, shape.width)["count"]
        self.C, self.E = counts[CALIBRATION], counts[EVALUATION]
        self.W = counts.get(INTERVENTION, self.E)
        self.windows = sum(counts.values())
        self.rungs = 1 if self.strict else 2
        """Rungs on which interventions are measured: strict, or paper and typical."""

    def passes(self) -> dict[str, Passes]:
        """Return the passes by part."""
        found = {
            "one sweep": Passes(blocks=self.windows * self.s.blocks, heads=self.W + self.C),  # Top-1 of calibration, for the bigram table.
            "linearity": self.linearity(),
            "layers": self.layers(),
            "projection": self.projection(),
            "replacement": self.replacement(),
            "shift": self.shift(),
            "exit head": self.exit_head(),
            "late blocks": self.late_blocks(),
        }
        return found | ({"ablation": self.ablation()} if self.strict else {})

    def linearity(self) -> Passes:
        """XᵀX, of which half is enough, XᵀΔ and, for the rank, ΔᵀΔ of every block; on paper's layout of typical tokens and of the rest."""
        tokens, d = (self.C + self.E) * self.p.window, self.s.width
        return Passes(moments=self.s.blocks * tokens * d * d * (1 + 2 + (not self.strict)))

    def layers(self) -> Passes:
        """Second moments of what layers read, on calibration and evaluation."""
        tokens = (self.C + self.E) * self.p.window
        return Passes(moments=self.s.blocks * tokens * sum(width**2 for width in self.s.inputs))

    def projection(self) -> Passes:
        """PCs, the curve of three kinds, and refits; on strict noise, half samples, and refits of noise, from mid alone."""
        v, b, g = self.p.variance, self.s.blocks, self.p.groups
        start = v.mid(b) if self.strict else v.range(b)[0]
        whole = 1 + 3 * len(v.ranks(self.s.width, v.curve)) + (2 * v.noise_seeds + 1) * self.strict
        windows = self.rungs * (whole * self.W + g * (1 + self.strict) * self._some(v.refit_stride))
        return Passes(blocks=windows * (b - 1 - start), heads=windows)

    def ablation(self) -> Passes:
        """Every chosen PC, and the rounding that KLs are compared with."""
        v = self.p.variance
        windows = (len(v.chosen(self.s.width)) + 1) * self.W
        return Passes(blocks=windows * (self.s.blocks - 1 - v.mid(self.s.blocks)), heads=windows)

    def replacement(self) -> Passes:
        """The last block's four maps; a run's five variants, each of its blocks alone, and refits; the same five after mid."""
        r, b = self.p.replacement, self.s.blocks
        run, middle = r.last_run(b), r.mid_run(b)
        again = 3 * (self.p.groups * self._some(r.refit_stride) + self.strict * self.W)
        heads = (4 + 5 + len(run) + 5 * bool(middle)) * self.W + again
        above = sum(b - 1 - block for block in run) + 5 * (b - 1 - middle[-1] if middle else 0)
        # Refitted one after another: the first of a run is given the clean stream, and what it adds to that is known.
        refitted = (len(run) - 1 + max(len(middle) - 1, 0)) * (self.C + self.W)
        return Passes(blocks=self.rungs * (above * self.W + refitted), heads=self.rungs * heads)

    def shift(self) -> Passes:
        """The true block on inputs that one to five maps have shifted, for two blocks; refits for the last one."""
        r, b = self.p.replacement, self.s.blocks
        runs = len(r.shifted(b)) * r.run + self.p.groups + self.strict
        return Passes(blocks=runs * (self.E if self.strict else self.C + 2 * self.E))

    def exit_head(self) -> Passes:
        """Trials, the run, on strict once more on half the windows; looks on the way, trials scored, the naive heads, the trained one."""
        easy, heads = self.p.easy, 1 + self.strict
        trials = len(easy.rates) * easy.trial_steps
        looks = (easy.looks + 1) * self._some(easy.look_stride) + self.W
        return Passes(
            heads=heads * looks + len(easy.rates) * easy.trial_windows + len(easy.exits_of(self.s.blocks)) * self.W,
            steps=(trials + heads * easy.steps) * easy.batch,
        )

    def late_blocks(self) -> Passes:
        """Each late block destroyed alone, and all from 2B/3 on together; on paper and typical the destroyed block itself runs once."""
        easy, b, last = self.p.easy, self.s.blocks, self.s.blocks - 1
        late, together = easy.late_of(b), b - easy.destroyed_from(b)
        runs = len(late) + self.rungs * (sum(last - block for block in late) + together)
        return Passes(blocks=runs * self.W, heads=self.rungs * (len(late) + 1) * self.W)

    def _some(self, stride: int) -> int:
        return len(range(0, self.W, stride))
