"""What can go wrong while measuring, told apart by what the user can do about it."""

from __future__ import annotations


class SubjectError(Exception):
    """The model cannot be had, or its parts do not recompose it; nothing about it can be measured."""


class TextError(Exception):
    """The corpus, tokenised by this model, is too short or not usable."""


class MeasurementError(Exception):
    """Measuring began and failed (a non-finite stream, memory); never a verdict."""
