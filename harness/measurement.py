"""What can be measured: for each measurement its windows, its rungs, the code that makes it and the result it is read back as.

Torch is imported by the code that measures, and not here: results from the store need none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import destroyed, exits, replacement, variance
from harness.arithmetic import exact_arithmetic
from harness.concentration import Concentration
from harness.easy_protocol import ADAPTING, DESTRUCTION, TRAINING
from harness.findings import Findings
from harness.linearity import CALIBRATION, EVALUATION, Linearity
from harness.quantised import Quantised
from harness.reconstruction import Reconstruction
from harness.spectra import Spectra
from harness.statistics import Array
from harness.transfer import LastMap, Scores

if TYPE_CHECKING:
    from harness.work import Work

INTERVENTION = "intervention"
"""The windows on which interventions are scored: those for evaluation, but for ``strict``, which has some of its own."""

PAPER, STRICT = "paper", "strict"
LAYOUTS = {PAPER: (CALIBRATION, EVALUATION), STRICT: (CALIBRATION, EVALUATION, INTERVENTION)}
"""Layout of windows → its splits. PAPER: contiguous from the start. STRICT: evenly spaced over each split."""

Arrays = dict[str, Array]


@dataclass(frozen=True)
class Sizes:
    """What a stored result must fit: blocks, width, groups of calibration windows, windows of each split."""

    blocks: int
    width: int
    groups: int
    windows: Mapping[str, int]


@dataclass(frozen=True)
class Measurement:
    """One measurement: ``code`` is ``module:function``, called with :class:`Work`; ``read`` checks what it returned, or the store kept.

    ``version`` is raised when figures change, so that stored ones are no longer found. ``splits``: of its layout, those it depends on.
    ``result``: rung → what ``read`` makes of the rung's arrays. ``long``: takes very long on a CPU.
    ``keeps``: starts from kept streams. ``brings``: other measurements that come with it at no cost. ``of_weights``: no text is run.
    ``depends``: the fields of the protocol that it depends on, no others can be read while it is made (:mod:`harness.guarded`);
    ``easy``: those of claim 5's part. What a field does by way of the windows alone is in the key as the windows' tokens.
    """

    name: str
    version: int
    layout: str
    rungs: tuple[str, ...]
    code: str
    result: Callable[[str, Arrays, Sizes], Any]
    splits: tuple[str, ...] = ()
    long: bool = False
    keeps: bool = True
    brings: tuple[Measurement, ...] = ()
    of_weights: bool = False
    easy: tuple[str, ...] = ()
    depends: tuple[str, ...] = ()

    @property
    def visits(self) -> bool:
        """Whether ``code`` is a visit to a sweep (:mod:`harness.visits`), which several measurements can share."""
        return self.code.partition(":")[2].startswith("visit")

    @exact_arithmetic()
    def measure(self, work: Work) -> Arrays:
        """Make it: arrays named ``rung/name``. What is made anew when memory runs out says :mod:`harness.batching`."""
        from harness.batching import completed
        from harness.visits import make_alone

        return completed(lambda: make_alone(work, self.function()) if self.visits else self.function()(work))

    def function(self) -> Callable[[Work], Any]:
        """Return what ``code`` names."""
        module, function = self.code.split(":")
        found: Callable[[Work], Any] = getattr(import_module(module), function)
        return found

    def read(self, arrays: Mapping[str, Array], sizes: Sizes) -> dict[str, Any]:
        """Return rung → result. Raises ValueError for arrays that are not this measurement's."""
        rungs: dict[str, Arrays] = {}
        for path, array in arrays.items():
            rung, _, name = path.partition("/")
            rungs.setdefault(rung, {})[name] = np.asarray(array)
        if set(rungs) != set(self.rungs):
            raise ValueError(f"rungs {sorted(rungs)}, expected {sorted(self.rungs)}")
        return {rung: self.result(rung, rungs[rung], sizes) for rung in self.rungs}

    def needs(self) -> tuple[str, ...]:
        """The splits whose windows are part of its key."""
        return () if self.of_weights else self.splits or LAYOUTS[self.layout]


def _linearity(rung: str, arrays: Arrays, sizes: Sizes) -> Linearity:
    found = Linearity(arrays)
    found.check(sizes.blocks, sizes.groups, 0 if rung == "paper" else sizes.windows[EVALUATION])
    return found


def _findings(kind: type[Findings]) -> Callable[[str, Arrays, Sizes], Findings]:
    def read(rung: str, arrays: Arrays, sizes: Sizes) -> Findings:
        windows = sizes.windows
        scored = windows.get(INTERVENTION, windows[EVALUATION])
        return kind.of(arrays, {"G": sizes.groups, "W": scored, "S": windows[EVALUATION], "d": sizes.width, "B": sizes.blocks})

    return read


_BOTH = (CALIBRATION, EVALUATION)
_MOMENTS, _INTERVENTIONS, _STRICT = ("paper", "held-out", "typical"), ("paper", "typical"), ("strict",)

# What is read of the protocol, by layout; a setting of any other field leaves the figures as they are.
Depends = tuple[tuple[str, ...], tuple[str, ...]]
_TYPICAL, _GROUPED = ("typical_factor",), ("typical_factor", "groups")
_BY_RANK, _AFFINELY = (*_GROUPED, "ridge", "energy"), (*_GROUPED, "folds", "grid")
_DIRECTIONS = (*_GROUPED, "variance", "seed")
_PREDICTED: Depends = ((*_DIRECTIONS, "ridge"), (*_DIRECTIONS, "folds", "grid"))
_DIRECTED: Depends = (_DIRECTIONS, _DIRECTIONS)
_SKETCHED: Depends = (_PREDICTED[0], _PREDICTED[0])
_MAPPED: Depends = ((*_BY_RANK, "replacement"), (*_AFFINELY, "replacement"))
_STORED = (*_GROUPED, "reconstruction", "seed")
_TRAINED: Depends = ((*_TYPICAL, "seed"), (*_GROUPED, "seed"))

RANK = Measurement(
    "linearity by rank-k maps", 1, PAPER, _MOMENTS, "harness.rank_linearity:visit", _linearity, keeps=False, depends=_BY_RANK
)
AFFINE = Measurement(
    "linearity by affine maps", 1, STRICT, _STRICT, "harness.affine_linearity:visit", _linearity, _BOTH, keeps=False, depends=_AFFINELY
)
SPECTRA = Measurement(
    "variance at every boundary", 1, PAPER, _INTERVENTIONS, "harness.spectra_sweep:measure", _findings(Spectra), depends=_TYPICAL
)


def _on_both(
    name: str,
    kind: type[Findings],
    code: str,
    rungs: tuple[str, ...],
    long: tuple[str, ...] = (),
    brings: tuple[tuple[Measurement, ...], tuple[Measurement, ...]] = ((), ()),
    keeps: bool = True,
    splits: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
    easy: tuple[str, ...] = (),
    depends: Depends = ((), ()),
) -> tuple[Measurement, Measurement]:
    """The same measurement on the windows of both layouts; ``long``: the layouts on which it takes very long."""

    def on(place: int, layout: str, rungs: tuple[str, ...]) -> Measurement:
        named, result = f"{name}, {layout} windows", _findings(kind)
        parts = (result, splits[place], layout in long, keeps, brings[place])
        return Measurement(named, 1, layout, rungs, code, *parts, easy=easy, depends=depends[place])

    return on(0, PAPER, rungs), on(1, STRICT, _STRICT)


SUBSPACES = _on_both("predictive directions", variance.Subspaces, "harness.predictive:measure", _MOMENTS, depends=_PREDICTED)
PROJECTION = _on_both("projection onto PCs", variance.Projection, "harness.projection:measure", _INTERVENTIONS, depends=_PREDICTED)
ABLATION = _on_both(
    "ablation of single PCs", variance.Ablation, "harness.directions:measure_ablation", _INTERVENTIONS, (PAPER,), depends=_DIRECTED
)
SENSITIVITY = _on_both(
    "sensitivity to directions",
    variance.Sensitivity,
    "harness.directions:measure_sensitivity",
    _INTERVENTIONS,
    (PAPER, STRICT),
    depends=(_DIRECTIONS,) * 2,
)
LOGIT_CHANGE = _on_both(
    "change of logits", variance.LogitChange, "harness.logit_change:measure", _INTERVENTIONS, (STRICT,), depends=(_PREDICTED[0],) * 2
)
LAST_MAP = _on_both("the last block's map", LastMap, "harness.transferring:measure_map", _INTERVENTIONS, depends=_MAPPED)
RUNS = _on_both(
    "replacement of five blocks",
    replacement.Runs,
    "harness.replacing_runs:measure",
    _INTERVENTIONS,
    brings=((LAST_MAP[0],), (LAST_MAP[1],)),
    depends=(_MAPPED[0], (*_MAPPED[1], "ridge", "energy")),  # Ranks and refits of the paper's maps stand beside those of strict.
)
SHIFT = _on_both("linearity after upstream change", replacement.Shift, "harness.shifting:measure", _MOMENTS, depends=_MAPPED)
EACH = _on_both(
    "replacement of every block",
    replacement.Each,
    "harness.replacing_each:visit",
    _INTERVENTIONS,
    brings=((RANK,), (AFFINE,)),
    keeps=False,
    depends=_MAPPED,
)
TRANSFER = _on_both(
    "maps of other texts",
    Scores,
    "harness.transferring:measure",
    _INTERVENTIONS,
    keeps=False,
    splits=((EVALUATION,), (EVALUATION, INTERVENTION)),
    depends=(_TYPICAL, _TYPICAL),
)
ARENA = _on_both(
    "reconstruction of every layer",
    Reconstruction,
    "harness.reconstructing:visit",
    _MOMENTS,
    keeps=False,
    splits=(_BOTH, _BOTH),
    depends=(_STORED, _STORED),
)
CHALLENGED = Measurement(
    "reconstruction by GPTQ",
    1,
    STRICT,
    _STRICT,
    "harness.reconstructing:visit",
    _findings(Reconstruction),
    _BOTH,
    keeps=False,
    depends=_STORED,
)
QUANTISED = _on_both(
    "all layers quantised",
    Quantised,
    "harness.reconstructing:visit_quantised",
    _INTERVENTIONS,
    brings=((ARENA[0],), (ARENA[1], CHALLENGED)),
    keeps=False,
    depends=(_STORED, _STORED),
)
CONCENTRATION = Measurement(
    "concentration of weights",
    1,
    PAPER,
    ("paper", "strict"),
    "harness.weight_spectra:measure",
    _findings(Concentration),
    keeps=False,
    of_weights=True,
    depends=("reconstruction", "seed"),
)

_LEARNED = (_BOTH, (CALIBRATION, INTERVENTION))
_LONG = (PAPER, STRICT)
_head = partial(_on_both, rungs=_INTERVENTIONS, splits=_LEARNED, easy=TRAINING, depends=_TRAINED)
EXIT = _head("exit head at mid", exits.Exit, "harness.exit_head:measure")
LATER_EXITS = _head("exit heads above mid", exits.Heads, "harness.exit_head:measure_later", long=_LONG, keeps=False)
LOWEST_EXIT = _head("exit head on the embeddings", exits.Heads, "harness.exit_head:measure_lowest", long=_LONG, keeps=False)
DISTILLED_EXIT = _head("exit head distilled at mid", exits.Heads, "harness.exit_head:measure_distilled", long=_LONG)
LORA = _on_both(
    "LoRA beside the exit head",
    exits.Adapted,
    "harness.lora:measure",
    _INTERVENTIONS,
    _LONG,
    keeps=False,
    splits=_LEARNED,
    easy=(*TRAINING, *ADAPTING),
    depends=(_TRAINED[0], _TRAINED[0]),
)
_scored = partial(_on_both, rungs=_INTERVENTIONS, keeps=False, splits=((EVALUATION,), (INTERVENTION,)), easy=DESTRUCTION)
LATE_BLOCKS = _scored("late blocks destroyed", destroyed.LateBlocks, "harness.destroying:measure_late", depends=(_TYPICAL, _TYPICAL))
PROFILE = _scored("every block destroyed", destroyed.Profile, "harness.destroying:measure_profile", depends=(_TYPICAL, _TYPICAL))
LAST_MLP = _on_both("the last block's MLP", destroyed.LastMlp, "harness.last_mlp:measure", _INTERVENTIONS, depends=(_TYPICAL, _TYPICAL))

_CLAIM_1 = (SPECTRA, *SUBSPACES, *PROJECTION, *ABLATION, *SENSITIVITY, *LOGIT_CHANGE)
_CLAIM_3 = (*ARENA, CHALLENGED, *QUANTISED, CONCENTRATION)
_CLAIM_5 = (*EXIT, *LATER_EXITS, *LOWEST_EXIT, *DISTILLED_EXIT, *LORA, *LATE_BLOCKS, *PROFILE, *LAST_MLP)
MEASUREMENTS = (RANK, AFFINE, *_CLAIM_1, *LAST_MAP, *RUNS, *SHIFT, *EACH, *TRANSFER, *_CLAIM_3, *_CLAIM_5)


def on(measurements: tuple[Measurement, ...], rung: str) -> Measurement:
    """Return the one of several measurements that gives a rung."""
    return next(m for m in measurements if rung in m.rungs)


def all_on(measurements: tuple[Measurement, ...], rung: str) -> list[Measurement]:
    """Return those of several measurements that give a rung: a figure may rest on more than one."""
    return [m for m in measurements if rung in m.rungs]
