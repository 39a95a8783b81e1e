"""Which plots are shown when a predicate's cell is opened, and the plot of its intervals against its bounds for those without a curve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from claims import Verdict
from reports import plots_depth as depth
from reports import plots_destruction as destruction
from reports import plots_easy as easy
from reports import plots_replacement as replacement
from reports import plots_routing as routing
from reports import plots_variance as variance
from reports import plots_wall as wall
from reports.document import Document
from reports.ledger import Row, figure_text
from reports.plot_subject import Subject, bound_marks, place, row_point
from reports.plot_values import Axis, Mark, Plot, Series

Draws = Callable[[Subject], Plot | list[Plot | None] | None]

_LINEARITY = ("r2", "depth_trend", "depth_gain", "monotonic")
_EACH = ("r2_guides", "late_is_cheap")
_WIDE = 50.0  # Intervals that reach from one number to so many times it stand on a logarithmic axis.
_CODEBOOKS = ("kmeans_gain", "nf4_gain")
_OF_METHODS: list[tuple[Draws, tuple[str, ...]]] = [
    (wall.of_method(draws, name), (name,)) for name in wall.METHODS for draws in (wall.over_depth, wall.exceptions)
]
_PLOTS: tuple[tuple[Draws, tuple[str, ...]], ...] = (
    (variance.projection, ("projection_ppl_ratio",)),
    (variance.overlap, ("subspace_overlap",)),
    (variance.ablation_by_rank, ("variance_ranks_importance",)),
    (variance.gain, ("predictive_gain",)),
    (variance.sensitivity_by_rank, ("sensitivity_gini",)),
    (variance.logit_change, ("logit_change_correlation",)),
    (lambda s: variance.dimensions(s, 90, 95, 99), ("dimensions_90",)),
    (lambda s: variance.dimensions(s, 95), ("dimensions_95",)),
    (lambda s: variance.dimensions(s, 99), ("dimensions_99",)),
    (variance.scree, ("dimensions_90",)),
    (depth.r2_over_depth, _LINEARITY),
    (replacement.after_upstream_change, ("r2_lost",)),
    (replacement.last_block, ("single_replacement",)),
    (replacement.parameters, ("compression",)),
    (replacement.runs, ("multi_replacement",)),
    (replacement.teacher_forcing, ("shift_excess", "compounding")),
    (replacement.transfer, ("transfer",)),
    (wall.methods, (*wall.METHODS, "strictly")),
    *_OF_METHODS,
    (wall.cross_terms, ("cross_terms",)),
    (wall.downstream, ("downstream",)),
    (depth.replaced_alone, _EACH),
    (depth.r2_against_cost, ("r2_guides",)),
    (depth.replaced_beside_controls, _EACH),
    (destruction.profile, ("importance_u_shape", "phase_profile")),
    (easy.agreement, ("exit_agreement", "exit_excess", "head_gain", "supervision", "lora_gain")),
    (easy.training, ("exit_agreement",)),
    (easy.training_agreement, ("exit_agreement",)),
    (easy.easy_beside_chance, ("kl_easy_share",)),
    (easy.easy_by_block, ("kl_easy_share",)),
    (easy.easy_by_tau, ("kl_easy_share",)),
    (easy.odds_by_confidence, ("easy_sets_agree",)),
    (routing.routing, ("routing_cost",)),
    (routing.reliability, ("routing_cost",)),
    (lambda s: wall.spectral(s, "spectral_gini_excess", "layers' weights"), ("spectral_gini_excess",)),
    (wall.spectral_over_depth, ("spectral_gini_excess",)),
    (lambda s: wall.spectral(s, "spectral_gini_excess_embeddings", "embeddings"), ("spectral_gini_excess_embeddings",)),
    (wall.codebooks, _CODEBOOKS),
    (destruction.last_mlp, ("mlp_skip", "mlp_mean")),
)
"""What draws, and the predicates below which it stands."""


def plots_of(document: Document, model: str, corpus: str) -> dict[str, list[Plot]]:
    """Return the plots of a model on a text by predicate, in the order of showing; names are unique over models, texts and predicates.

    A judged predicate that was measured has at least the plot of its intervals. Whatever evidence lacks is left out.
    """
    subject = Subject(document, model, corpus)
    measured = {row.cell.predicate for row in subject.rows if row.verdict is not Verdict.UNTESTED}
    found: dict[str, list[Plot]] = {}
    for predicate in dict.fromkeys(row.cell.predicate for row in subject.rows):
        plot = verdict_plot(subject.rows_of(predicate))
        if plot is not None:
            found[predicate] = [plot]
    for draws, predicates in _PLOTS:
        shown = [name for name in predicates if name in measured]
        if not shown:
            continue
        drawn = draws(subject)
        for plot in filter(None, drawn if isinstance(drawn, list) else [drawn]):
            for predicate in shown:
                found.setdefault(predicate, []).append(replace(plot, name=f"{predicate} {plot.name}"))
    return found


def verdict_plot(rows: Sequence[Row]) -> Plot | None:
    """Return a predicate's intervals by rung against its bounds, of the last block where it has one; None without interval or bound."""
    last = max((row.cell.block for row in rows if row.cell.block is not None), default=None)
    mine = sorted((row for row in rows if row.cell.block == last), key=lambda row: place(row.cell.rung))
    shown = [row for row in mine if row.value is not None and row.low is not None and row.high is not None]
    bounds = {row.cell.rung: row.bound for row in mine if row.bound is not None}
    if not shown or not bounds:
        return None
    first = shown[0]
    where = "" if last is None else f", block {last}"
    marks: dict[Mark, list[str]] = {}
    for rung, bound in bounds.items():
        for mark in bound_marks(bound):
            marks.setdefault(mark, []).append(rung)
    labelled = [mark if len(on) == len(bounds) else Mark("y", mark.at, f"{mark.label} ({', '.join(on)})") for mark, on in marks.items()]
    limits = [limit for row in shown for limit in (row.low, row.high, row.value) if limit is not None]
    wide = min(limits) > 0 and max(limits) > _WIDE * min(limits)
    points = tuple(row_point(float(i), row) for i, row in enumerate(shown))
    told = [f"On {row.cell.rung}, {figure_text(row)}: {row.verdict.word}{_against(row)}." for row in shown]
    told += [f"On {row.cell.rung} there is no figure." for row in mine if row.value is None and row.verdict is not Verdict.UNTESTED]
    return Plot(
        name=f"{first.cell.predicate} verdict {first.cell.model} {first.cell.corpus}",
        title=f"{first.cell.predicate}{where}: figure and interval by rung, against the bounds",
        x=Axis("rung", names=tuple(row.cell.rung for row in shown)),
        y=Axis(f"{first.unit} (log scale)" if wide else first.unit, log=wide),
        series=(Series("figure and interval", points, "points"),),
        sentence=" ".join(told),
        marks=tuple(labelled),
        lying=True,
    )


def _against(row: Row) -> str:
    """Say the bounds of a row that is judged, and why it is undecided: its interval alone may not tell."""
    if row.bound is None or row.verdict is Verdict.MEASURED:
        return ""
    why = f"; {row.reason}" if row.verdict is Verdict.INCONCLUSIVE and row.reason else ""
    return f" ({row.bound.describe()}{why})"
