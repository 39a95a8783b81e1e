"""The protocol of a run: every choice that a figure depends on, recorded beside it."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Rung:
    """One rung of the control ladder; ``judged`` rungs carry verdicts, the others show which control moves one."""

    name: str
    judged: bool
    summary: str


RUNGS: dict[str, Rung] = {
    rung.name: rung
    for rung in (
        Rung("paper", True, "as published: in sample, all tokens, uncentred, maps of rank k"),
        Rung("held-out", False, "the same maps, scored on text they were not fitted to"),
        Rung("typical", False, "held out, and without the first token and massive activations"),
        Rung("strict", True, "typical tokens, affine full-rank maps, cross-validated ridge, larger samples"),
    )
}


@dataclass(frozen=True)
class Protocol:
    """Sizes and rules of the ``paper`` and ``held-out`` rungs (arXiv:2604.20682, set-up, and Eq. 2).

    ``window``: tokens a window, BOS included. ``energy``: share of ‖Δ‖² that the k output directions of a map hold.
    ``ridge``: λ over tr(XᵀX)/d. ``groups``: groups of calibration windows that the jackknife deletes in turn.
    The paper states neither λ nor intervals; both are ours.
    """

    window: int = 256
    calibration_windows: int = 32
    evaluation_windows: int = 16
    energy: float = 0.95
    ridge: float = 1e-4
    groups: int = 16
    seed: int = 0

    def as_dict(self) -> dict[str, object]:
        """Return the fields, for the report."""
        return asdict(self)
