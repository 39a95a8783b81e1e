"""Fits the last block's map to one text and scores the maps of all texts on each (claim 2)."""

from __future__ import annotations

import numpy as np
import torch

from harness.branches import branch
from harness.kept_maps import fitted_at, marked_at
from harness.language import Language
from harness.linearity import EVALUATION
from harness.maps import LinearMap, of_parts, parts_of
from harness.measurement import INTERVENTION
from harness.refitting import scored
from harness.replaced import Replaced
from harness.statistics import Array
from harness.streams import keep_some
from harness.sweep import moment_device
from harness.transfer import LastMap
from harness.work import Work


def measure_map(work: Work) -> dict[str, Array]:
    """Fit the last block's map on each rung, from kept streams."""
    streams, found = work.streams(), dict[str, Array]()
    for rung in work.rungs:
        fit = fitted_at(work, streams, rung, work.blocks - 1)
        found |= {f"{rung}/{name}": array for name, array in _arrays(fit.whole, fit.count).items()}
    return found


def measure(work: Work) -> dict[str, Array]:
    """Score the maps of all texts on this one: R² on the windows of moments, costs on those of interventions."""
    last, device, p = work.blocks - 1, moment_device(work.subject.device), work.protocol
    streams = keep_some(work.anatomy, work.ids, [last - 1, last], p.typical_factor, work.subject.device, work.progress)
    split = INTERVENTION if INTERVENTION in work.ids else EVALUATION
    before, after = (streams.at[b][split] for b in (last - 1, last))
    language = Language(work.anatomy, after, work.ids[split])
    found: dict[str, Array] = {}
    for rung in work.rungs:
        maps = [_map(kept[rung], device) for kept in work.maps().values()]
        marked = marked_at(streams, rung, split, last)
        variants = [(Replaced(last, marked, (each,), None if marked is None else after),) for each in maps]
        finals = torch.cat([final for _, final in branch(work.anatomy, before, last - 1, work.ids[split], variants)])
        nll, kl = language.costs_nats(finals)
        x, y = (streams.at[b][EVALUATION] for b in (last - 1, last))
        counted = marked_at(streams, rung, EVALUATION, last)
        sums = [scored(each, x, y, counted) for each in maps]
        arrays = {
            "clean": language.nll_nats(after[None])[0],
            "nll": nll,
            "kl": kl,
            "error": np.stack([error.cpu().numpy() for error, _ in sums]),
            "energy": sums[0][1].cpu().numpy(),  # About the mean of this text's own map.
            "left_out": np.array(0.0 if counted is None else 1 - float(counted.float().mean())),
        }
        found |= {f"{rung}/{name}": array for name, array in arrays.items()}
    return found


def _arrays(fitted: LinearMap, count: int) -> dict[str, Array]:
    """Take a map apart, as :class:`harness.transfer.LastMap` names its parts."""
    nothing: dict[str, Array] = {"basis": np.zeros((0, 0)), "mean_x": np.zeros(0), "mean_y": np.zeros(0)}
    parts = {name: part.cpu().numpy().copy() for name, part in parts_of(fitted).items()}
    return {**nothing, **parts, "fitted": np.array(count, dtype=np.float64)}


def _map(kept: LastMap, device: torch.device) -> LinearMap:
    """Put a map together again."""
    parts = {name: torch.from_numpy(array.copy()).to(device) for name, array in kept.arrays.items() if array.ndim and array.size}
    return of_parts(parts)
