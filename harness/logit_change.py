"""How far scores on ablated directions correlate with the change in next-token logits (claim 1, the falsifier that a reviewer named)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from harness import affine, subspaces
from harness.branches import branch
from harness.interventions import MeanAblated
from harness.language import LogitSketch
from harness.linearity import CALIBRATION
from harness.measurement import INTERVENTION
from harness.moments import Moments, Sums
from harness.predictive import scale_y
from harness.solving import names_the_block
from harness.statistics import Array
from harness.streams import Streams, grouped
from harness.subspaces import Principal
from harness.sweep import moment_device
from harness.work import Work


def measure(work: Work) -> dict[str, Array]:
    """First held-out canonical correlation between the scores on a subspace and what its mean-ablation does to the logits.

    The ablated subspaces are taken as given: refits without a group of calibration windows refit the canonical directions.
    """
    streams, found = work.streams(), dict[str, Array]()
    sketch = LogitSketch(work.anatomy, work.protocol.variance.sketch, work.protocol.seed, streams.at[streams.last][CALIBRATION].device)
    for rung in work.rungs:
        found |= {f"{rung}/{name}": np.asarray(a, dtype=np.float64) for name, a in _rung(work, streams, sketch, rung).items()}
    return found


def _rung(work: Work, streams: Streams, sketch: LogitSketch, rung: str) -> dict[str, object]:
    p, v, mid = work.protocol, work.protocol.variance, work.protocol.variance.mid(work.blocks)
    stream = streams.at[mid][CALIBRATION]
    sums = grouped(stream, stream[..., :0], streams.typical_at(CALIBRATION, mid) if rung != "paper" else None, 1).total()
    with names_the_block(mid):
        pca = Principal.of(sums.n, sums.x, sums.xx)
    rank = pca.rank_for(v.share)
    m = min(rank, v.ablated)
    nulls = v.null_subspaces if rung == "strict" else 0
    bases = [pca.top(m), *(subspaces.random_orthonormal(work.width, m, p.seed, i).to(pca.mean.device) for i in range(nulls))]
    value, fit, score, half = [], [], [], []
    for i, basis in enumerate(bases):
        fitted, scored = (_moments(work, streams, sketch, rung, split, pca.mean, basis) for split in (CALIBRATION, INTERVENTION))
        whole, everything = fitted.total(), scored.total()

        def correlation(rows: Sums, on: Sums) -> float:
            with names_the_block(mid):
                return _correlation(rows, on, p.ridge, v.sketch_kept)

        value.append(correlation(whole, everything))
        fit.append([correlation(whole - fitted.group(g), everything) for g in range(fitted.groups)])
        score.append([correlation(whole, everything - scored.group(w)) for w in range(scored.groups)])
        half.append(correlation(fitted.total(list(range(0, fitted.groups, 2))), everything))
        before, rungs = work.rungs.index(rung), len(work.rungs)
        work.progress(before * len(bases) + i + 1, rungs * len(bases))
    held = float(pca.values[:m].sum() / pca.values.sum())
    return {
        "correlation": value,
        "correlation_fit": np.array(fit).T,
        "correlation_score": np.array(score).T,
        "correlation_half": half,
        "ablated": m,
        "rank": rank,
        "held": held,
        "fitted": sums.n,
        "left_out": 0.0 if rung == "paper" else 1 - float(streams.typical_at(INTERVENTION, mid).float().mean()),
    }


def _moments(work: Work, streams: Streams, sketch: LogitSketch, rung: str, split: str, mean: Tensor, basis: Tensor) -> Moments:
    """Moments of scores ``(tokens, m)`` and changes of the sketched logits ``(tokens, columns)``, by group or by window."""
    mid, last = work.protocol.variance.mid(work.blocks), streams.last
    clean, final, device = streams.at[mid][split], streams.at[last][split], moment_device(streams.at[mid][split].device)
    marked = torch.ones(clean.shape[:2], dtype=torch.bool, device=clean.device) if rung == "paper" else streams.typical_at(split, mid)
    ablated = MeanAblated(mid, None if rung == "paper" else marked, mean, basis)
    windows = len(clean)
    groups = work.protocol.groups if split == CALIBRATION else windows
    moments = Moments(groups, basis.shape[1], work.protocol.variance.sketch, device)
    for w in range(0, windows, _AT_ONCE):
        chosen = list(range(w, min(w + _AT_ONCE, windows)))
        for _, changed in branch(work.anatomy, clean, mid, streams.ids[split], [(ablated,)], chosen):
            change = (sketch(changed[0]) - sketch(final[chosen])).to(device).double()
            for i, window in enumerate(chosen):
                kept = marked[window].to(device, copy=True)
                kept[-1] = False  # The last position predicts nothing within the window.
                scores = (clean[window].to(device)[kept].double() - mean) @ basis
                moments.add(window * groups // windows, scores, change[i][kept])
    return moments


_AT_ONCE = 32
"""Windows whose final streams are held together."""


def _correlation(rows: Sums, on: Sums, ridge: float, kept: int) -> float:
    """First canonical pair of (scores, the top PCs of the changes) on ``rows``; its correlation on the rows behind ``on``.

    With at most 32 directions a side and thousands of rows, λ is that of ``paper`` on every rung.
    """
    changes = Principal.of(rows.n, rows.y, rows.yy).top(min(kept, len(rows.y)))
    fitted, scored = _seen_through(rows, changes), _seen_through(on, changes)
    x, y, cross = subspaces.sides(fitted)
    lam_x, lam_y = ridge * affine.scale(fitted), ridge * scale_y(fitted)
    a = subspaces.cca(x, y, cross, lam_x, lam_y, 1).weights[:, 0]
    # The partner of a is the ridge regression of its scores on y: of the same pair even where correlations are tied, and of the same sign.
    about = fitted.about(x.mean, y.mean)
    about.yy.diagonal().add_(lam_y)
    b = torch.linalg.solve(about.yy, about.xy.T @ a)
    rest = scored.about(scored.x / scored.n, scored.y / scored.n)
    spread = float((a @ rest.xx @ a) * (b @ rest.yy @ b))
    return float(a @ rest.xy @ b) / spread**0.5 if spread > 0 else float("nan")


def _seen_through(sums: Sums, basis: Tensor) -> Sums:
    """Sums over x and the scores of y on a basis."""
    return Sums(sums.n, sums.x, sums.y @ basis, sums.xx, sums.xy @ basis, basis.T @ sums.yy @ basis)
