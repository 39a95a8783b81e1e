"""Every figure that arXiv:2604.20682 reports, as data, beside where a report of this suite has its counterpart."""

from __future__ import annotations

from claims.published_easy import EASY
from claims.published_extended import EXTENDED
from claims.published_figure import Published
from claims.published_linearity import LINEARITY
from claims.published_variance import VARIANCE
from claims.published_wall import WALL

PUBLISHED: tuple[Published, ...] = (*VARIANCE, *LINEARITY, *WALL, *EASY, *EXTENDED)

MODELS: tuple[str, ...] = tuple(dict.fromkeys(model for figure in PUBLISHED for model in figure.models))
"""Registered names of the models that the paper has figures of."""

COMPARED: tuple[str, ...] = tuple(name for name in MODELS if any(name in f.models and not isinstance(f.measured, str) for f in PUBLISHED))
"""Those of which a report can have a counterpart of any figure."""


def figures_of(model: str) -> list[Published]:
    """Return the figures of a model, in the order of the claims."""
    return [figure for figure in PUBLISHED if model in figure.models]
