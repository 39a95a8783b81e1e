"""What stands below the verdict tables of a model and corpus: what the figures rest on, section by section."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from rich.console import Console

from harness.protocol import RUNGS
from reports import depth_evidence as depth
from reports import destruction_evidence as destruction
from reports import easy_evidence as easy
from reports import replacement_evidence as replacement
from reports import routing_evidence as routing
from reports import variance_evidence as variance
from reports import wall_evidence as wall
from reports.ledger import Row
from reports.sections import Evidence

_METHODS = (
    *(f"wall_{name}" for name in ("dct", "svd", "random", "pca", "cca")),
    *(f"challenger_{name}" for name in ("rotation", "hadamard", "gptq_factors")),
)
_SECTIONS: tuple[tuple[Callable[..., None], *tuple[str, ...]], ...] = (
    (variance.print_scree, "dimensions_90"),
    (variance.print_overlap, "subspace_overlap"),
    (variance.print_gain, "predictive_gain"),
    (variance.print_projection, "projection_ppl_ratio"),
    (partial(variance.print_by_rank, key="kl", label="KL", what="KL of ablating them"), "variance_ranks_importance"),
    (
        partial(variance.print_by_rank, key="sensitivity", label="sensitivity", what="sensitivity: KL of a push of fixed norm"),
        "sensitivity_gini",
    ),
    (variance.print_logit_change, "logit_change_correlation"),
    (replacement.print_last_block, "single_replacement", "compression"),
    (replacement.print_runs, "multi_replacement"),
    (replacement.print_teacher_forcing, "shift_excess"),
    (replacement.print_shift, "r2_lost"),
    (wall.print_methods, *_METHODS),
    (wall.print_blocks, *_METHODS),
    (wall.print_cross_terms, "cross_terms"),
    (wall.print_downstream, "downstream"),
    (depth.print_depth, "r2_guides", "late_is_cheap"),
    (destruction.print_profile, "importance_u_shape"),
    (easy.print_agreement, "exit_agreement", "exit_excess", "supervision", "routing_cost", "lora_gain"),
    (easy.print_training, "exit_agreement"),
    (easy.print_easy_share, "kl_easy_share"),
    (easy.print_sets, "easy_sets_agree"),
    (routing.print_routing, "routing_cost"),
    (wall.print_concentration, "spectral_gini_excess", "spectral_gini_excess_embeddings"),
    (wall.print_codebooks, "kmeans_gain", "nf4_gain"),
    (destruction.print_phases, "phase_profile", "importance_u_shape"),
    (destruction.print_last_mlp, "mlp_skip", "mlp_mean"),
)
"""In the order of printing: what prints a section, and the predicates whose evidence it takes, one argument each, by rung."""


def print_evidence(console: Console, evidence: Evidence, rows: list[Row]) -> None:
    """Print what was found for one model and corpus, each section only when there is something to show."""
    variance.print_dimensions(console, rows)
    for _, show in sections(evidence):
        show(console)


def sections(evidence: Evidence) -> Iterator[tuple[tuple[str, ...], Callable[[Console], None]]]:
    """Yield each section that has something to show: the predicates whose evidence it takes, and what prints it."""
    for show, *predicates in _SECTIONS:
        found = [{rung: e for rung in RUNGS if (e := evidence.get(f"{predicate}/{rung}"))} for predicate in predicates]
        if any(found):
            yield tuple(predicates), partial(_show, show, found)


def _show(show: Callable[..., None], found: list[dict[str, Evidence]], console: Console) -> None:
    show(console, *found)
