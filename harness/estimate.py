"""What a measurement would cost, before anything is loaded: memory by what it holds, time by rates measured now on the device.

Time = forward passes + moments + solves, each in operations over a rate: products in the weights' type, products in float64,
eigenvectors in float64 (scaled by d³). Good to about a factor of two; where rates cannot be had there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

from fixtures.models import Model
from harness import layouts
from harness.linearity import CALIBRATION, EVALUATION
from harness.measurement import (
    ABLATION,
    AFFINE,
    ARENA,
    CHALLENGED,
    CONCENTRATION,
    DISTILLED_EXIT,
    EACH,
    EXIT,
    LAST_MAP,
    LAST_MLP,
    LATE_BLOCKS,
    LATER_EXITS,
    LORA,
    LOWEST_EXIT,
    PAPER,
    PROFILE,
    PROJECTION,
    QUANTISED,
    RANK,
    RUNS,
    SENSITIVITY,
    SHIFT,
    SPECTRA,
    STRICT,
    SUBSPACES,
    TRANSFER,
    Measurement,
)
from harness.protocol import Protocol
from harness.rates import Rates

_PROCESS = 700e6  # bytes of Python, torch and transformers
_FLOAT64 = 8
_HEAD = 1.3  # the head, with softmax and divergence over the vocabulary
_SORTED = 4000.0  # operations that transforming and sorting take a weight, and so does finding its grid and rounding it
_COLUMN = 1e7  # operations in the time that GPTQ takes for a column beside its products


@dataclass(frozen=True)
class Cost:
    """Windows and tokens of a measurement, seconds after loading, and peak bytes, the process and the weights included."""

    windows: tuple[int, ...]
    tokens: int
    seconds: float
    memory: float


def cost(measurement: Measurement, model: Model, protocol: Protocol, bytes_a_weight: int, rates: Rates) -> Cost:
    """Estimate a measurement of a model whose width and size are known; for interventions without the sweep that keeps streams."""
    counts = layouts.plan(measurement.layout, protocol, model.width)["count"]
    windows = tuple(counts[split] for split in measurement.needs())
    cost = _Counter(model, protocol, bytes_a_weight, rates)
    if measurement in (RANK, AFFINE):
        cost.linearity(measurement is RANK, counts[CALIBRATION], counts[EVALUATION])
    elif measurement in EACH:
        cost.linearity(measurement.layout == PAPER, counts[CALIBRATION], counts[EVALUATION])
        cost.replacing_each(len(measurement.rungs), measurement.layout == STRICT)
    elif measurement is CONCENTRATION:
        cost.transforming(model.parameters)
    elif measurement in (*ARENA, CHALLENGED, *QUANTISED):
        cost.reconstructing(measurement, counts)
    elif measurement in TRANSFER:
        cost.transferring(counts, measurement.layout == STRICT)
    elif measurement in (*EXIT, *LATER_EXITS, *LOWEST_EXIT, *DISTILLED_EXIT):
        cost.training(measurement, counts)
    elif measurement in LORA:
        cost.adapting(counts)
    elif measurement in (*LATE_BLOCKS, *PROFILE):
        cost.destroying(measurement in PROFILE, len(measurement.rungs))
    elif measurement in LAST_MLP:
        cost.forward(counts[CALIBRATION] + 3 * protocol.evaluation_windows, 1 / model.n_blocks, head=False)
        cost.forward((1 + 2 * len(measurement.rungs)) * protocol.evaluation_windows, 0.0)
    elif measurement in (*RUNS, *SHIFT, *LAST_MAP):
        cost.replacing(measurement, counts)
    elif measurement is SPECTRA:
        cost.solve(eigen=0.8 * model.n_blocks)
    elif measurement in SUBSPACES:
        cost.predictive(len(measurement.rungs), measurement.layout == STRICT)
    else:
        cost.interventions(measurement, counts)
    return Cost(windows, sum(windows) * protocol.window, cost.seconds, cost.memory)


def streams(layout: str, model: Model, protocol: Protocol, bytes_a_weight: int, rates: Rates) -> Cost:
    """Estimate the sweep over a layout's windows that keeps streams."""
    counts = layouts.plan(layout, protocol, model.width)["count"]
    windows, kept = tuple(counts.values()), len(layouts.boundaries(layout, protocol, model.n_blocks))
    cost = _Counter(model, protocol, bytes_a_weight, rates)
    tokens = sum(windows) * protocol.window
    cost.forward(sum(windows), 1.0, head=False)
    cost.products(model.n_blocks * 2 * model.width**2 * counts[CALIBRATION] * protocol.window * (layout == PAPER))
    return Cost(windows, tokens, cost.seconds, cost.memory + kept * tokens * model.width * bytes_a_weight)


def sweep(layout: str, model: Model, protocol: Protocol, bytes_a_weight: int, rates: Rates) -> Cost:
    """Estimate a sweep over calibration and evaluation windows without anything that visits it: what sharing one saves."""
    counts, cost = layouts.plan(layout, protocol, model.width)["count"], _Counter(model, protocol, bytes_a_weight, rates)
    windows = counts[CALIBRATION], counts[EVALUATION]
    cost.forward(sum(windows), 1.0, head=False)
    return Cost(windows, sum(windows) * protocol.window, cost.seconds, cost.memory)


class _Counter:
    """Adds up seconds; ``memory`` is the process, the weights and two streams, and grows with what is held."""

    def __init__(self, model: Model, protocol: Protocol, bytes_a_weight: int, rates: Rates) -> None:
        self._model, self._protocol, self._rates, self.seconds = model, protocol, rates, 0.0
        self._d, self._tokens = float(model.width), protocol.window
        self.memory = _PROCESS + float(model.parameters) * bytes_a_weight

    def forward(self, windows: float, blocks: float, head: bool = True) -> None:
        """Run windows through a share of the blocks, and the head."""
        embedding = self._model.vocabulary * self._d
        weights = blocks * max(self._model.parameters - embedding, 0) + head * _HEAD * embedding
        self.seconds += 2 * weights * windows * self._tokens / self._rates.product

    def products(self, operations: float) -> None:
        """Multiply in float64."""
        self.seconds += operations / self._rates.product64

    def solve(self, eigen: float = 0.0, products: float = 0.0) -> None:
        """Find so many sets of eigenvectors, and make so many products of matrices, of size d."""
        self.seconds += eigen * self._d**3 / self._rates.eigen + products * 2 * self._d**3 / self._rates.product64

    def hold(self, matrices: float) -> None:
        """Hold so many matrices of size d in float64."""
        self.memory += matrices * self._d**2 * _FLOAT64

    def linearity(self, by_rank: bool, calibration: int, evaluation: int) -> None:
        """Moments, maps and refits of every block."""
        p, d, b = self._protocol, self._d, self._model.n_blocks
        tokens = (calibration + evaluation) * p.window
        self.forward(calibration + evaluation, 1.0, head=False)
        self.products(b * (3 * 2 * d**2 * tokens + (3 if by_rank else 1) * 2 * d**2 * evaluation * p.window))
        if by_rank:
            fits = 2 * (p.groups + 1)
            self.solve(b * fits, b * fits * (1 / 6 + 2))
        else:
            self.solve(b * 2 * p.folds, b * ((p.groups + 2) * (1 / 6 + 2) + 2 * p.folds * 6))
        # Moments of every group, of the scored rows and, for cross-validation, of every fold; and what each solve works on.
        self.hold(3 * (p.groups + 1) + 3 * p.folds * (not by_rank) + 12 * min(self._rates.cores, 2))

    def replacing_each(self, rungs: int, strict: bool) -> None:
        """Run a map in the place of every block, half of the blocks above it on average; on ``strict`` three controls on some windows."""
        p, b = self._protocol, self._model.n_blocks
        variants = rungs + 3 * strict / p.replacement.refit_stride
        self.forward(b * (variants * p.evaluation_windows + rungs * p.groups), 0.5)
        self.hold(2 * p.evaluation_windows * p.window / self._d)

    def transforming(self, weights: int) -> None:
        """Transform every weight, as it is and shuffled, and sort the coefficients."""
        self.seconds += (1 + self._protocol.reconstruction.shuffles) * weights * _SORTED / self._rates.product
        self.memory += 5 * self._model.vocabulary * self._d * 4

    def reconstructing(self, measurement: Measurement, counts: dict[str, int]) -> None:
        """Moments of what layers read, bases, products with every changed weight; a block of the usual shape, twelve d² weights."""
        p, d, b = self._protocol, self._d, self._model.n_blocks
        strict, quantised, gptq = measurement.layout == STRICT, measurement in QUANTISED, measurement is CHALLENGED
        calibration, evaluation = counts[CALIBRATION] * p.window, counts[EVALUATION] * p.window
        self.forward(counts[CALIBRATION] + counts[EVALUATION], 1.0, head=False)
        # Attention of 3 d² and three matrices of the MLP; three inputs of size d and the MLP's inner one, w times as wide.
        weights = max(self._model.parameters - self._model.vocabulary * d, 0) / b / d**2
        w = max((weights - 3) / 3, 1.0)
        inputs, deltas = 3 + w**2, 3 * 2 + w + 1
        self.products(b * 2 * d**2 * (calibration * (inputs + deltas) + evaluation * inputs))
        cheap, slow = (0 if gptq else 34), (6 if gptq or (quantised and strict) else 0)
        bases = 2 if strict else 3
        self.solve(b * bases * (4 + w**3), b * (cheap + slow) * weights * (1 + w) / 2)
        self.products(slow * b * 3 * (3 + w) * d * _COLUMN)
        if quantised:
            self.forward(len(measurement.rungs) * 10 * p.evaluation_windows, 1.0)
        scored = min(p.groups, counts[EVALUATION])
        # On ``paper`` both splits are scored over all tokens too, on a copy of the moments of typical ones.
        held = 2 * (inputs + deltas) + scored * inputs if strict else p.groups * (2 * inputs + deltas) + 2 * scored * inputs
        self.hold(held)

    def destroying(self, every: bool, rungs: int) -> None:
        """Run a block and what lies above it with INT2 weights: every one and its two sides, or late ones, alone and together."""
        p, b = self._protocol, self._model.n_blocks
        first, late, windows = p.easy.destroyed_from(b), p.easy.late_of(b), p.evaluation_windows
        above = sum(range(b)) * 3 if every else sum(b - 1 - block for block in late)
        below = 3 * b if every else len(late) + (1 + rungs) * (b - first)
        self.forward((1 + every) * windows, 1.0, head=False)
        self.forward(windows, (rungs * above + below) / b, head=False)
        self.forward((1 + rungs * (3 * b if every else len(late) + 1)) * windows, 0.0)
        weights = max(self._model.parameters - self._model.vocabulary * self._d, 0) * (1 if every else (b - first) / b)
        self.seconds += weights * _SORTED / self._rates.product

    def training(self, measurement: Measurement, counts: dict[str, int]) -> None:
        """Train heads: forward and twice back through the head alone, each step on a batch; with the looks at them on the way."""
        easy, d, exits = self._protocol.easy, self._d, len(self._protocol.easy.exits_of(self._model.n_blocks))
        heads = max(exits - 1, 1) if measurement in LATER_EXITS else 1
        batch, strict = easy.batch_on(self._rates.cuda), measurement.layout == STRICT
        steps = heads * ((1 + strict) * easy.steps + len(easy.rates) * easy.trial_steps)
        scored = heads * (1 + easy.looks / easy.look_stride) * self._protocol.evaluation_windows
        passes = 4 if measurement in DISTILLED_EXIT else 3  # A teacher's logits are had anew in every step.
        self.forward(steps * batch * passes + scored, 0.0)
        if measurement in EXIT:
            self.forward((1 + exits) * self._protocol.evaluation_windows + counts[CALIBRATION], 0.0)
        elif not measurement.keeps:
            self.forward(counts[CALIBRATION] + self._protocol.evaluation_windows, 1.0, head=False)
        # The head, its gradient and two moments of each, and logits of a batch with theirs.
        self.memory += 4 * self._model.vocabulary * (4 * d + 4 * batch * self._tokens)

    def adapting(self, counts: dict[str, int]) -> None:
        """Train a LoRA and a head: each step through all blocks and back, two heads forward, back, and one of them for its gradient."""
        easy, d, p = self._protocol.easy, self._d, self._protocol
        batch = easy.batch_on(self._rates.cuda)
        steps = easy.steps + len(easy.rates) * (easy.trial_steps + easy.trial_windows / batch / 2)
        looks = (1 + easy.looks / easy.look_stride) * p.evaluation_windows
        self.forward(steps * batch * 2 + looks + counts[CALIBRATION] + p.evaluation_windows, 1.0, head=False)
        self.forward(steps * batch * 5 + 2 * looks + p.evaluation_windows, 0.0)
        # The heads as above and a frozen one; inputs and outputs of weights on the way back; adapters, their gradient and two moments.
        weights = max(self._model.parameters - self._model.vocabulary * d, 0)
        self.memory += 4 * self._model.vocabulary * (6 * d + 6 * batch * self._tokens)
        self.memory += 4 * weights / d * (3 * batch * self._tokens + 4 * 2 * easy.lora_rank_of(self._model.width))

    def transferring(self, counts: dict[str, int], strict: bool) -> None:
        """Run the text once, and the maps of two texts in the last block's place."""
        p, texts = self._protocol, 2
        self.forward(counts[EVALUATION] + strict * p.evaluation_windows, 1.0, head=False)
        self.forward((1 + texts) * p.evaluation_windows, 0.0)

    def replacing(self, measurement: Measurement, counts: dict[str, int]) -> None:
        """Maps of some blocks, refitted for those that are judged; the blocks that they shift, or what lies above."""
        p, r, b, rungs = self._protocol, self._protocol.replacement, self._model.n_blocks, len(measurement.rungs)
        strict, alone = measurement.layout == STRICT, measurement in LAST_MAP
        blocks, judged, windows = (1, 1, 0) if alone else (len(r.fitted(b)), len(r.judged(b)), p.evaluation_windows)
        fits, kinds = blocks + p.groups * judged, 1 if strict else 2
        self.products(kinds * blocks * 3 * 2 * self._d**2 * counts[CALIBRATION] * p.window)
        self.solve(kinds * (fits if not strict else 2 * p.folds * blocks), kinds * fits * 3)
        if measurement in SHIFT:
            self.forward(rungs * (p.groups + 3 * r.run) * counts[EVALUATION], 1 / b, head=False)
        elif not alone:
            self.forward(rungs * (14 + r.run + 3 * p.groups / r.refit_stride) * windows, 1 / b)
            self.forward(rungs * 2 * r.run * counts[CALIBRATION], 1 / b, head=False)
            self.forward(rungs * 5 * windows, 0.5 * bool(r.mid_run(b)), head=False)
        self.hold((p.groups + 2) * judged * kinds)

    def predictive(self, rungs: int, strict: bool) -> None:
        """Canonical correlations and regressions, refitted without each group: two bases and four directions each."""
        p, fits = self._protocol, self._protocol.groups + 4
        sides = 1 if strict else min(rungs, 2)  # paper and held-out share theirs.
        counts = layouts.plan(STRICT if strict else PAPER, p, self._model.width)["count"]
        self.products(sides * 3 * 2 * self._d**2 * (counts[CALIBRATION] + counts[EVALUATION]) * p.window)
        self.solve(sides * (6 * fits + p.evaluation_windows + 2 * p.folds * strict), sides * fits * 12)
        self.hold(3 * (p.groups + (1 if strict else p.evaluation_windows)) + 24 * min(self._rates.cores, 2))

    def interventions(self, measurement: Measurement, counts: dict[str, int]) -> None:
        """Variants, each run from where it acts."""
        p, v, b, rungs = self._protocol, self._protocol.variance, self._model.n_blocks, len(measurement.rungs)
        scored, strict = p.evaluation_windows, measurement.layout == STRICT
        upper = 1 - (v.mid(b) + 1) / b
        chosen = len(v.chosen(self._model.width))
        if measurement in PROJECTION:
            start = upper if strict else 1 - (v.range(b)[0] + 1) / b
            whole = 1 + 3 * len(v.curve) + (2 * v.noise_seeds + 1) * strict
            again = p.groups * (1 + strict) / v.refit_stride
            self.forward(rungs * (whole + again) * scored, start)
            self.solve(rungs * (p.groups + 4) * (1 if strict else len(v.range(b))))
            self.hold(p.groups * (2 if strict else 4))
        elif measurement in ABLATION:
            self.forward(rungs * chosen * scored, upper)
        elif measurement in SENSITIVITY:
            self.forward((1 + rungs) * 2 * chosen * scored, upper)
        else:
            self.forward(rungs * (1 + v.null_subspaces * strict) * (counts[CALIBRATION] + scored), upper, head=False)
