"""Claim 2 the plain way: linear maps in the place of blocks, by hooks on the whole model.

The clean streams are at hand, so that maps are fitted without another pass. What a block adds to a shifted stream, and what a run of maps
costs, is a forward pass of the whole model each time; the replaced blocks run too, and hooks overwrite what they give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks.naive_claim4 import errors, r2_of, rows_of
from benchmarks.naive_fits import Fits, Map, by_rank, fit_block, grouped, jackknife, through_origin, total, without_each
from benchmarks.naive_model import BATCH, Array, Change, NaiveRun, Variant, edited

Figures = dict[str, float]
Maps = Mapping[int, Map]


@torch.inference_mode()
def figures(run: NaiveRun) -> Figures:
    """Return value, standard error (``/se``) and, where fits are repeated on half the text, ``/half`` of every figure."""
    found: Figures = {}
    p, blocks = run.protocol.replacement, len(run.blocks)
    for rungs in (("paper", "held-out", "typical"), ("strict",)):
        learned = {block: rows_of(run, rungs, block, "calibration", run.protocol.groups) for block in p.fitted(blocks)}
        held = rows_of(run, rungs, run.last, "evaluation", 1)
        for rung in rungs:
            if rung != "held-out":  # Its maps are those of ``paper``.
                fits = {b: fit_block(rows[rung], run.protocol, rung == "strict", b in p.judged(blocks)) for b, rows in learned.items()}
                found |= _costs(run, rung, fits)
            found |= r2_of(run, rung, run.last, fits[run.last], held[rung][0]).figures(f"2/r2/{rung}")
            found |= _lost(run, rung, fits)
    return found


def _replaced(maps: Maps, marked: Tensor | None, clean: Mapping[int, Tensor]) -> Variant:
    """Put h + m(h) in the place of blocks' outputs at marked positions, and what the clean run has elsewhere."""

    def change(block: int) -> Change:
        return edited(lambda given, after, windows: given + maps[block](given), marked, clean[block])

    return {block: change(block) for block in maps}


def _costs(run: NaiveRun, rung: str, fits: Mapping[int, Fits]) -> Figures:
    """What replacing the last block and the last run costs, with all its controls; on ``paper`` windows and positions as they are."""
    p, clean, strict = run.protocol, run.clean(rung), rung == "strict"
    blocks, ids, last = len(run.blocks), clean.ids["intervention"], run.last
    runs = [r for r in (p.replacement.last_run(blocks), p.replacement.mid_run(blocks)) if r]
    after = {b: clean.after(b, "intervention") for r in runs for b in r}
    some = list(range(0, len(ids), p.replacement.refit_stride))

    def marked(over: Sequence[int]) -> Tensor | None:
        return None if rung == "paper" else clean.typical("intervention", *over)

    def at_the_end(over: Sequence[int], at: Sequence[int] | None, edit: Callable[[Tensor, list[int]], Tensor]) -> Variant:
        """Make what a run of blocks gives of its clean input, at marked positions; the hook of its last block is enough."""
        start = clean.after(over[0] - 1, "intervention")
        made = edited(lambda given, output, windows: edit(start[windows].double(), windows), marked(at or over), after[over[-1]])
        return {over[-1]: made}

    def replaced(over: Sequence[int], maps: Callable[[int], Map], at: Sequence[int] | None = None) -> Variant:
        def edit(h: Tensor, windows: list[int]) -> Tensor:
            for b in over:
                h = h + maps(b)(h)
            return h

        return at_the_end(over, at, edit)

    def forced(over: Sequence[int], maps: Callable[[int], Map]) -> Variant:
        """Add what every map makes of its block's true input to the stream where the run starts."""
        inputs = {b: clean.after(b - 1, "intervention") for b in over}
        return at_the_end(over, None, lambda h, windows: h + sum(maps(b)(inputs[b][windows].double()) for b in over))

    def constant(share: float) -> Callable[[int], Map]:
        nothing = torch.zeros(run.width, dtype=torch.float64, device=run.device)
        return lambda b: Map(nothing[:, None].expand(-1, run.width), None, nothing, share * fits[b].mean)

    def three(pick: Callable[[Fits], Map]) -> list[Variant]:
        """The last block, the run, and the run at true inputs, by maps that were fitted to some of the text."""
        return [replaced([last], lambda b: pick(fits[b])), *(kind(runs[0], lambda b: pick(fits[b])) for kind in (replaced, forced))]

    def whole(b: int) -> Map:
        return fits[b].whole

    rows = total(fits[last].rows)
    lam = p.ridge * float(rows.xx.diagonal().mean())
    other = by_rank(rows, lam, None, p.energy) if strict else through_origin(rows, lam)
    named: dict[str, Variant] = {
        "last": replaced([last], whole),
        "last, other kind": replaced([last], lambda b: other),
        "last skipped": replaced([last], constant(0)),
        "last mean": replaced([last], constant(1)),
    }
    found: Figures = {}
    for place, over in zip(("run", "middle"), runs, strict=False):
        again, r2 = _refitted(run, rung, over)
        kinds = {"free": whole, "refitted": again.__getitem__, "skipped": constant(0), "mean": constant(1)}
        named |= {f"{place} {kind}": replaced(over, maps) for kind, maps in kinds.items()} | {f"{place} forced": forced(over, whole)}
        found |= {f"2/r2 of block {b} refitted/{rung}": value for b, value in zip(over, r2, strict=True)}
    named |= {f"block {b} alone": replaced([b], whole, at=runs[0]) for b in runs[0]}
    refits = [variant for g in range(p.groups) for variant in three(_refit(g))]
    halves = three(_half) if strict else []
    base = run.nll(rung, clean.after(last, "intervention")[None])[0]
    costs = dict(zip(named, run.nll_of(rung, list(named.values())) - base, strict=True))
    refitted = (run.nll_of(rung, refits, some) - base[some]).reshape(p.groups, 3, len(some))
    halved = run.nll_of(rung, halves) - base if strict else None
    found |= {f"2/cost of {name}/{rung}": float(cost.mean()) for name, cost in costs.items()}
    for i, (name, kind) in enumerate((("single_replacement", "last"), ("multi_replacement", "run free"))):
        cost = costs[kind]
        fit = cost.mean() + (refitted[:, i] - cost[some]).mean(1)
        value, full = float(np.expm1(cost.mean())), f"2/{name}/{rung}"
        found |= {full: value, f"{full}/se": jackknife(value, np.expm1(fit), np.expm1(without_each(cost)), origin=-1)}
        if halved is not None:
            found[f"{full}/half"] = float(np.expm1(halved[i].mean()))
    return found


def _refitted(run: NaiveRun, rung: str, over: Sequence[int]) -> tuple[dict[int, Map], list[float]]:
    """Replace blocks one after another, each map fitted to what its block adds to the stream that those before have shifted."""
    clean, typical = run.clean(rung), rung != "paper"
    maps, r2 = dict[int, Map](), list[float]()
    for block in over:
        x, after, marks = {}, {}, {}
        for split in ("calibration", "intervention"):
            marks[split] = clean.typical(split, *over) if typical else None
            variant = _replaced(maps, marks[split], {b: clean.after(b, split) for b in maps})
            kept = run.streams(clean.ids[split], [variant], [block - 1, block])
            x[split], after[split] = kept[block - 1][0], kept[block][0]
        rows = grouped(x["calibration"], after["calibration"], marks["calibration"], run.protocol.groups, difference=True)
        maps[block] = fit_block(rows, run.protocol, rung == "strict", refits=False).whole
        error, energy = errors(maps[block], x["intervention"], after["intervention"], marks["intervention"])
        r2.append(float(1 - error.sum() / energy.sum()))
    return maps, r2


def _lost(run: NaiveRun, rung: str, fits: Mapping[int, Fits]) -> Figures:
    """R² that a block's map loses against the true block when the blocks before it are replaced by theirs."""
    p, clean = run.protocol, run.clean(rung)
    split = "calibration" if rung == "paper" else "evaluation"
    typical = rung in ("typical", "strict")
    targets, ids, most = p.replacement.shifted(len(run.blocks)), clean.ids[split], p.replacement.run
    if not targets:
        return {}
    group = np.arange(len(ids)) * p.groups // len(ids)
    after = {b: clean.after(b, split) for t in targets for b in range(t - most, t)}

    def shifted(target: int, kinds: Sequence[tuple[int, Callable[[Fits], Map]]]) -> list[tuple[Array, Array]]:
        """Sums of squares of a block's map, for counts of blocks before it that are replaced, and which maps are taken."""
        before = [range(target - j, target) for j, _ in kinds]
        variants = [_replaced({b: pick(fits[b]) for b in over}, at(*over), after) for over, (_, pick) in zip(before, kinds, strict=True)]
        found, together = [], max(1, BATCH // len(ids))
        for i in range(0, len(kinds), together):  # Streams of few variants are held at once.
            kept = run.streams(ids, variants[i : i + together], [target - 1, target])
            pairs = zip(kinds[i : i + together], kept[target - 1], kept[target], strict=True)
            found += [errors(pick(fits[target]), x, y, at(target)) for (_, pick), x, y in pairs]
        return found

    def unshifted(target: int, pick: Callable[[Fits], Map]) -> tuple[Array, Array]:
        return errors(pick(fits[target]), clean.after(target - 1, split), clean.after(target, split), at(target))

    def at(*blocks: int) -> Tensor | None:
        return clean.typical(split, *blocks) if typical else None

    def r2(pair: tuple[Array, Array], windows: Array | slice = slice(None)) -> float:
        return float(1 - pair[0][windows].sum() / pair[1][windows].sum())

    found: Figures = {}
    curves = {t: [unshifted(t, _whole), *shifted(t, [(j, _whole) for j in range(1, most + 1)])] for t in targets}
    for t, curve in curves.items():
        found |= {f"2/r2 of block {t} after {j}/{rung}": r2(pair) for j, pair in enumerate(curve)}
    first, name = curves[targets[0]], f"2/r2_lost/{rung}"
    picks = [_refit(g) for g in range(p.groups)] + [_half] * (rung == "strict")
    both = list(zip([unshifted(targets[0], pick) for pick in picks], shifted(targets[0], [(most, pick) for pick in picks]), strict=True))
    # In sample a group that is left out of the fit is left out of the score.
    kept = [group != g if rung == "paper" else slice(None) for g in range(p.groups)]
    fit = np.array([r2(before, windows) - r2(behind, windows) for (before, behind), windows in zip(both, kept, strict=False)])
    without = [np.arange(len(ids)) != w for w in range(len(ids))]
    score = None if rung == "paper" else np.array([r2(first[0], rest) - r2(first[-1], rest) for rest in without])
    value = r2(first[0]) - r2(first[-1])
    found |= {name: value, f"{name}/se": jackknife(value, fit, score)}
    if rung == "strict":
        found[f"{name}/half"] = r2(both[-1][0]) - r2(both[-1][1])
    return found


def _half(fits: Fits) -> Map:
    assert fits.half is not None
    return fits.half


def _whole(fits: Fits) -> Map:
    return fits.whole


def _refit(group: int) -> Callable[[Fits], Map]:
    return lambda fits: fits.refits[group]
