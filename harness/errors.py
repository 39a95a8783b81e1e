"""What can go wrong while measuring, told apart by what the user can do about it."""

from __future__ import annotations


class SubjectError(Exception):
    """The model cannot be had, or its parts do not recompose it; nothing about it can be measured."""


class TextError(Exception):
    """The corpus, tokenised by this model, is too short or not usable."""


class MeasurementError(Exception):
    """Measuring began and failed (a non-finite stream, memory); never a verdict."""


class MemoryShortageError(MeasurementError):
    """Memory ran out, and fewer windows at a time do not help; what was kept of an unfinished sweep stays."""


class TooManyTogetherError(Exception):
    """Memory ran out after a visitor had seen part of a batch: the measurement begins anew, with fewer windows at a time."""


class MapsError(Exception):
    """A file of maps, or a saved model, that cannot be read, written, or used as asked."""


class LongWorkError(Exception):
    """A measurement that takes very long here and was not asked for."""

    REASON = "long work, run with --long and by default on a GPU"

    def __init__(self, reason: str = REASON) -> None:
        super().__init__(reason)


def again(error: Exception) -> Exception:
    """Return a copy of an exception, to be raised once more.

    Without the frames of the first time: they hold on to whatever was at hand, half a model perhaps, and grow with every raise.
    """
    # Not by its constructor, which may want other arguments than those it passed on.
    fresh = type(error).__new__(type(error), *error.args)
    fresh.__dict__.update(error.__dict__)
    return fresh if str(fresh) == str(error) else RuntimeError(f"{type(error).__name__}: {error}")
