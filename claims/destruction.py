"""What is asserted and said of destroyed blocks: easy tokens (claim 5), which blocks matter (claim 4), their sides (appendix)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from claims.remarks import Remarks, of_sample
from harness.destroyed import BOTH, PARTS, Phase
from harness.laboratory import Laboratory
from harness.statistics import Array, Figure

_NAMES = {"attention": "attention", "mlp": "MLP", "neither": "neither"}
_LEVELS = "stored as INT2"


def easy_share(lab: Laboratory, rung: str) -> tuple[Figure, Remarks]:
    """Return the share of tokens whose KL is below the median for each late block destroyed, and what stands beside it."""
    found, easy = lab.late_blocks(rung), lab.protocol.easy
    figure, blocks, medians = found.share, found.blocks, found.medians
    share, chance = float(np.asarray(figure.value)), 0.5 ** len(blocks)
    curve = found.curve(easy.taus)
    listed = ", ".join(f"{block}: {_nats(median)}" for block, median in zip(blocks, medians, strict=True))
    note = (
        f"{share:.1%} of tokens below the median of each of {len(blocks)} late blocks {_LEVELS}; {chance:.2%} if their KLs were "
        f"independent, 50% if they ranked tokens alike; median KL in nats by block, {listed}; all blocks from {_first(lab)} on together: "
        f"{_nats(found.together_median)}{_left_out(found.number('left_out'), 'not counted')}"
    )
    evidence: dict[str, Any] = {
        "blocks": blocks,
        "medians": _listed(medians),
        "share": share,
        "chance": chance,
        "implied": _implied(share, len(blocks)),
        "observed": found.observed,
        "taus": list(easy.taus),
        "curve": curve,
        "together_median": found.together_median,
        "left_out": found.number("left_out"),
    }
    absent = "no figure: no token is typical at all exits and late blocks"
    if not np.isnan(medians).any():
        absent = "no figure: half of the tokens are not changed at all by destroying one of the late blocks"
    return figure, Remarks(caveats=_caveats(lab, rung), note=note, evidence=evidence, absent=absent)


def u_shape(lab: Laboratory, rung: str) -> tuple[Figure, Remarks]:
    """Return the lesser of the KLs of destroying the first and the last block over the median of the middle ones."""
    found = lab.profile(rung)
    kl, middle = found.kl(BOTH), lab.protocol.easy.middle(lab.model.n_blocks)
    centre, added = float(np.median(kl[middle.start : middle.stop])), found.added
    least, most = int(np.argmin(kl)), int(np.argmax(kl))
    note = (
        f"one block {_LEVELS}: KL in nats {_nats(kl[0])} for the first, {_nats(kl[-1])} for the last, {_nats(centre)} in the median of "
        f"blocks {middle[0]} to {middle[-1]}; from {_nats(kl[least])} (block {least}) to {_nats(kl[most])} (block {most}); "
        f"perplexity {found.baseline:,.2f} becomes {found.baseline + added[least]:,.2f} and {found.baseline + added[most]:,.2f} there"
    )
    share = float(found.arrays["left_out"].mean())
    evidence: dict[str, Any] = {
        "kl": {part: _listed(found.kl(part)) for part in PARTS},
        "added": _listed(added),
        "baseline": found.baseline,
        "middle": [middle[0], middle[-1]],
        "median": centre,
        "left_out": share,
    }
    absent = f"no figure: destroying the blocks {middle[0]} to {middle[-1]} costs nothing in the median ({centre:.1e} nats)"
    return found.u_shape(middle), Remarks(caveats=_caveats(lab, rung), note=f"{note}{_left_out(share)}", evidence=evidence, absent=absent)


def phases(lab: Laboratory, rung: str) -> tuple[Figure, Remarks]:
    """Return the number of runs of blocks in which the same side dominates, or neither; a count, which has no interval."""
    found, dominates = lab.profile(rung), lab.protocol.easy.dominates
    runs, undecided, caveats = found.phases(dominates), found.undecided(dominates), _caveats(lab, rung)
    if undecided:
        which = "block" if len(undecided) == 1 else "blocks"
        named = ", ".join(map(str, undecided))
        caveats += (f"{which} {named}: the 95% interval of attention over MLP reaches across {dominates:g}× or 1/{dominates:g}×",)
    evidence: dict[str, Any] = {
        "kl": {part: _listed(found.kl(part)) for part in PARTS},
        "phases": [{"first": run.first, "last": run.last, "side": run.side} for run in runs],
        "undecided": undecided,
    }
    note = f"{'; '.join(map(_told, runs))}; a side dominates when destroying it costs {dominates:g} times the KL of the other"
    share = _left_out(float(found.arrays["left_out"].mean()))
    return Figure(float(len(runs))), Remarks(caveats=caveats, note=f"{note}{share}", evidence=evidence)


def mlp(lab: Laboratory, rung: str, which: Literal["skipped", "mean"]) -> tuple[Figure, Remarks]:
    """Return what the last block's MLP is worth in perplexity: skipped, or with its mean output over calibration tokens in its place."""
    found = lab.last_mlp(rung)
    evidence: dict[str, Any] = {name: found.perplexity(name) for name in ("skipped", "mean")}
    evidence |= {f"{name}_kl": float(found.arrays[f"{name}_kl"].mean()) for name in ("skipped", "mean")}
    evidence["baseline"] = found.baseline
    did = {"skipped": "skipped", "mean": f"replaced by its mean output over {found.number('fitted'):,.0f} tokens"}
    other: Literal["skipped", "mean"] = "mean" if which == "skipped" else "skipped"
    note = (
        f"MLP of block {lab.model.n_blocks - 1} {did[which]}: perplexity {found.baseline:,.2f} becomes {evidence[which]:,.2f}, "
        f"KL {_nats(evidence[f'{which}_kl'])} nats; {did[other]}: {evidence[other]:,.2f}{_left_out(found.number('left_out'))}"
    )
    if which == "mean":
        note += "; the interval takes the mean as given"
    return found.cost(which), Remarks(caveats=_caveats(lab, rung), note=note, evidence=evidence)


def _implied(share: float, count: int) -> float:
    """Return the common rank correlation that a share of tokens below all medians implies."""
    from harness.orthants import implied_correlation

    return float(implied_correlation(share, count)) if count > 1 and not np.isnan(share) else np.nan


def _caveats(lab: Laboratory, rung: str) -> tuple[str, ...]:
    # Nothing is fitted to calibration text that too little of it would make doubtful.
    return tuple(of_sample(lab, rung, np.inf, lab.facts.width)[1])


def _first(lab: Laboratory) -> int:
    return lab.protocol.easy.destroyed_from(lab.model.n_blocks)


def _told(run: Phase) -> str:
    return f"{_NAMES[run.side]} {run.first}" if run.first == run.last else f"{_NAMES[run.side]} {run.first}–{run.last}"


def _nats(value: float) -> str:
    return f"{value:.3g}"


def _listed(values: Array) -> list[float]:
    return [float(value) for value in values]


def _left_out(share: float, how: str = "left as they were") -> str:
    return f"; {share:.2%} of positions {how}" if share else ""
