"""Settings of a run that a verdict should not hang on, changed one at a time around the run itself (``--sweep``). No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

from fixtures.corpus import Corpus
from fixtures.naming import did_you_mean, printable
from harness.measurement import Measurement
from harness.protocol import Protocol

SEEDS, WINDOWS, LAMBDA, DTYPE, CORPORA = "seeds", "windows", "lambda", "dtype", "corpora"
AXES = {
    SEEDS: "other draws of whatever is drawn at random",
    WINDOWS: "half and twice the windows that are calibrated and scored on",
    LAMBDA: "a hundredth and a hundredfold of the ridge where it is fixed, as on paper; where strict cross-validates it there is none",
    DTYPE: "the other types of the weights; float16 on GPUs alone",
    CORPORA: "the texts of the suite that need no network",
}
"""What is changed, and how."""
ALL = "all"

OF_WINDOWS = ("window", "calibration_windows", "evaluation_windows", "strict_tokens_per_width", "strict_evaluation_windows")
"""The fields of the protocol that say which windows there are: figures depend on them by way of these alone."""
FLOATS = ("float32", "bfloat16", "float16")
ON_CPU = ("float32", "bfloat16")
"""On a CPU nobody runs a model in float16: products take tens of times as long as in float32."""
_SEEDS, _WINDOWS, _RIDGES = (1, 2), ("0.5", "2"), ("0.01", "100")
_ROOM = 9 / 8  # Tokens over the fewest that a verdict on strict takes: those that are not typical are not counted.


class AxisError(ValueError):
    """An axis that there is not; one line, for the user."""


@dataclass(frozen=True)
class Setting:
    """One thing that is otherwise than in the base run: the protocol (by ``change``), the type of the weights, or the text.

    ``name`` stands in test ids and reports: ``windows=×2``; ``axis`` is one of ``AXES``; ``about`` says in words what it changes.
    """

    name: str
    axis: str
    about: str
    change: Callable[[Protocol], Protocol] | None = field(default=None, repr=False, compare=False)
    dtype: str | None = field(default=None, repr=False, compare=False)
    corpus: Corpus | None = field(default=None, repr=False, compare=False)

    def protocol(self, base: Protocol) -> Protocol:
        """Return the protocol of the base run as this setting has it."""
        return base if self.change is None else self.change(base)

    @property
    def ident(self) -> str:
        """The name as a test's id can hold it: ``windows=x2``."""
        return self.name.replace("×", "x")


def axes_of(given: str) -> tuple[str, ...]:
    """Return the axes of a list such as ``seeds,windows``, in the order of ``AXES``, or of ``all``. Raises AxisError."""
    asked = [word.strip() for word in given.split(",")]
    for word in asked:
        if word not in (*AXES, ALL):
            meant = did_you_mean(word, (*AXES, ALL))
            raise AxisError(f"--sweep {printable(given)}: no axis '{printable(word)}'{meant}; expected {', '.join(AXES)}, or {ALL}")
    return tuple(axis for axis in AXES if axis in asked or ALL in asked)


def settings_of(
    axes: Iterable[str], base: Protocol, dtype: str | None, corpora: Collection[str], texts: Iterable[Corpus], types: Iterable[str] = FLOATS
) -> tuple[Setting, ...]:
    """Return the settings of axes around a base run, by axis.

    ``dtype``: the type of its weights, None where that differs between its models. ``corpora``: the names of its texts, ``texts``: those
    to put in their place. ``types``: those that the weights can have where the run is.
    """
    makers: dict[str, Callable[[], list[Setting]]] = {
        SEEDS: lambda: [_seed(base.seed + step) for step in _SEEDS],
        WINDOWS: lambda: [_windows(factor, base) for factor in _WINDOWS],
        LAMBDA: lambda: [_ridge(factor) for factor in _RIDGES],
        DTYPE: lambda: [_dtype(name) for name in types if name != dtype],
        CORPORA: lambda: [_corpus(text) for text in texts if text.name not in corpora],
    }
    asked = tuple(axes)
    # The types come last: each of them loads the model anew.
    return tuple(setting for axis in (SEEDS, WINDOWS, LAMBDA, CORPORA, DTYPE) if axis in asked for setting in makers[axis]())


def affects(setting: Setting, base: Protocol, measurement: Measurement) -> bool:
    """Whether a setting can change what is measured: another type always, another text or other windows where text is run."""
    if setting.dtype is not None:
        return True
    if setting.corpus is not None:
        return not measurement.of_weights
    before, after = base.as_dict(), setting.protocol(base).as_dict()
    changed = {name for name in before if before[name] != after[name]}
    return bool(changed & set(measurement.depends) or (changed & set(OF_WINDOWS) and measurement.needs()))


def _seed(seed: int) -> Setting:
    return Setting(f"seed={seed}", SEEDS, f"whatever is drawn at random is drawn from seed {seed}", lambda base: replace(base, seed=seed))


def _windows(factor: str, around: Protocol) -> Setting:
    times = float(factor)

    def change(base: Protocol) -> Protocol:
        fewest = min(math.ceil(base.fewest_tokens_per_width * _ROOM), base.strict_tokens_per_width)
        return replace(
            base,
            calibration_windows=round(base.calibration_windows * times),
            evaluation_windows=round(base.evaluation_windows * times),
            strict_tokens_per_width=max(round(base.strict_tokens_per_width * times), fewest),
            strict_evaluation_windows=round(base.strict_evaluation_windows * times),
        )

    about = f"{'half' if times < 1 else 'twice'} the windows of calibration and evaluation"
    before, after = around.strict_tokens_per_width, change(around).strict_tokens_per_width
    if after != round(before * times):
        about += (
            f"; on strict {after} calibration tokens for each dimension, not {before} ({after / before:.0%}), since a verdict takes them"
        )
    return Setting(f"windows=×{factor}", WINDOWS, about, change)


def _ridge(factor: str) -> Setting:
    about = f"the ridge λ times {factor} wherever it is fixed; where strict cross-validates it, nothing changes"
    return Setting(f"lambda=×{factor}", LAMBDA, about, lambda base: replace(base, ridge=base.ridge * float(factor)))


def _dtype(name: str) -> Setting:
    return Setting(f"dtype={name}", DTYPE, f"weights and streams in {name}", dtype=name)


def _corpus(text: Corpus) -> Setting:
    return Setting(f"corpus={text.name}", CORPORA, f"measured on {text.name} ({text.edition})", corpus=text)
