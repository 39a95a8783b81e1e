"""Maps fitted to kept streams, once for all measurements that start from them."""

from __future__ import annotations

from torch import Tensor

from harness import maps
from harness.linearity import CALIBRATION
from harness.maps import Fitted
from harness.moments import Moments
from harness.protocol import Protocol
from harness.solving import names_the_block
from harness.streams import Streams, grouped
from harness.sweep import moment_device
from harness.work import Work


def fitted_at(work: Work, streams: Streams, rung: str, block: int) -> Fitted:
    """Return the maps of a block on a rung; refits only for blocks whose figures are judged."""
    p, kind = work.protocol, _kind(rung)
    judged = block in p.replacement.judged(work.blocks)
    # All that a fit depends on is read even where the map is there already, so that whoever takes it declares it.
    rule = (p.groups, p.grid, p.folds) if rung == "strict" else (p.groups, p.ridge, p.energy)
    place = (kind, block, judged, rule)
    if place not in streams.fitted:
        with names_the_block(block):
            x, y = streams.at[block - 1][CALIBRATION], streams.at[block][CALIBRATION]
            streams.fitted[place] = fitted_to(x, y, marked_at(streams, rung, CALIBRATION, block), rung, p, refits=judged)
    return streams.fitted[place]


def fitted(moments: Moments, rung: str, protocol: Protocol, refits: bool = False) -> Fitted:
    """Fit a block's maps by the rule of a rung: of rank k but on ``strict``."""
    device = moment_device(moments.total().x.device)
    return (maps.affinely if rung == "strict" else maps.by_rank)(moments, protocol, device, refits)


def fitted_to(x: Tensor, y: Tensor, marked: Tensor | None, rung: str, protocol: Protocol, refits: bool = False) -> Fitted:
    """Fit a block's maps to its streams ``x``, ``y (windows, tokens, d)``, on the host where the moments do not fit beside them."""
    where = moment_device(x.device, Moments.bytes_of(protocol.groups, x.shape[-1], y.shape[-1]))
    moments = grouped(x, y, marked, protocol.groups, difference=True, device=where)
    return fitted(moments, rung, protocol, refits).to(moment_device(x.device))


def moments_at(streams: Streams, block: int, rung: str, groups: int) -> Moments:
    """Moments of (h_b, Δ_b) over the calibration tokens that a rung fits to."""
    x, y = streams.at[block - 1][CALIBRATION], streams.at[block][CALIBRATION]
    return grouped(x, y, marked_at(streams, rung, CALIBRATION, block), groups, difference=True)


def marked_at(streams: Streams, rung: str, split: str, *blocks: int) -> Tensor | None:
    """Return the tokens that count on a rung: those that are typical at all of these blocks, or None for all."""
    return None if _kind(rung) == "all" else streams.typical_at(split, *blocks)


def _kind(rung: str) -> str:
    """What tells maps apart: ``paper`` and ``held-out`` share theirs."""
    return "all" if rung in ("paper", "held-out") else rung
