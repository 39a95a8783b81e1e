"""What a sceptical reader of claim 5 wants to see: agreement beside controls, how heads are trained, and two criteria of easy tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from harness.protocol import RUNGS
from reports.sections import (
    Evidence,
    Value,
    as_count,
    as_percent,
    as_share,
    as_short,
    finite,
    new_table,
    print_grouped,
    print_heading,
    print_legend,
    rows_of,
    told,
)
from reports.tokens_in_context import print_tokens
from reports.unit_scale import unit_axis, unit_line

_CURVES = {"train": "training loss", "nll": "held-out NLL", "agreed": "held-out agreement"}
_AT_MID = ("half", "distilled", "lora", "bigram", "lowest")
_TOKENS = {"easiest": "least", "hardest": "most"}


def print_agreement(console: Console, at_mid: Evidence, *others: Evidence) -> None:
    """Print agreement of the heads at every exit, beside what is had without training, without depth and without context.

    ``others``: what other predicates hand over of heads that take long to train: on the embeddings, distilled, beside a LoRA, at later
    exits.
    """
    found: dict[str, Any] = {}
    for rungs in (at_mid, *others):
        for rung, e in rungs.items():
            before = found.get(rung) or {}
            found[rung] = {**e, **before, "trained": {**(before.get("trained") or {}), **(e.get("trained") or {})}}
    rungs = {rung: found[rung] for rung in RUNGS if rung in found}
    table = new_table(
        "rung", "exit", "naive", "trained", "half", "distilled", "LoRA", "bigram", "embeddings", left=2, plot=unit_axis(), gap=1
    )
    for rung, e in rungs.items():
        controls = {name: e.get(name) for name in _AT_MID}
        lines = _exits(e)
        if not finite([*controls.values(), *(value for _, *values in lines for value in values)]):
            continue
        for i, (at, naive, trained) in enumerate(lines or [("–", None, None)]):
            beside = [told(value, as_share) for value in controls.values()] if i == 0 else [""] * len(controls)
            mark = {"n": naive, "t": trained, "b": controls["bigram"], "0": controls["lowest"]}
            where = "" if i else rung
            table.add_row(where, f"block {at}", told(naive, as_share), told(trained, as_share), *beside, unit_line(mark))
    if not table.row_count:
        return
    blocks = next((f" of {as_count(e['blocks'])}" for e in rungs.values() if e.get("blocks") is not None), "")
    print_heading(console, f"Agreement over depth beside its controls: heads that read the output of a block{blocks}")
    console.print(table)
    print_legend(
        console,
        "agreement: share of positions of evaluation text at which the top-1 token is the full model's top-1 token, whether or not the "
        "text goes on with it. naive: the model's own norm and head, untrained; trained: a norm and head trained there on calibration "
        "text; half: on half of it; distilled: trained towards the full model's probabilities; LoRA: trained together with one in the "
        "blocks. bigram: a table of the model's own most frequent top-1 token after each token, not of the text's next one; embeddings: "
        "the same head on what enters block 0. These two see no context. n naive, t trained, b bigram, 0 embeddings, = where two meet."
        + _left_out({rung: e.get("left_out") for rung, e in rungs.items()}),
    )


def print_training(console: Console, rungs: Evidence) -> None:
    """Print how the head at mid was trained: which rate was taken, and whether more steps would still have helped."""
    table = new_table("rung", "tokens", "a step", "rate", "perplexity: full", "head", plot="loss of each rate tried")
    for rung, e in rungs.items():
        perplexity, trials = e.get("perplexity") or {}, e.get("trials") or {}
        scalars = [e.get("fitted"), e.get("batch"), e.get("rate"), perplexity.get("full"), perplexity.get("head")]
        if not finite([*scalars, *trials.values()]):
            continue
        each = ", ".join(f"{told(float(rate), _as_rate)}: {told(loss)}" for rate, loss in trials.items())
        fitted, batch, rate, full, head = scalars
        sizes = told(fitted, "{:,.0f}".format), as_count(batch), told(rate, _as_rate)
        table.add_row(rung, *sizes, told(full, as_short), told(head, as_short), each)
    curves = {rung: _by_steps(e.get("curve") or {}) for rung, e in rungs.items()}
    steps = sorted({step for at in curves.values() for step in at})
    if not table.row_count and not steps:
        return
    print_heading(console, "How the head at mid was trained")
    if table.row_count:
        console.print(table)
    if steps:
        groups = {
            label: {rung[0]: [told(at.get(step, {}).get(key), as_share) for step in steps] for rung, at in curves.items() if at}
            for key, label in _CURVES.items()
        }
        print_grouped(console, "steps", [as_count(step) for step in steps], groups)
    letters = ", ".join(f"{rung[0]} {rung}" for rung, at in curves.items() if at)
    print_legend(
        console,
        "a step: windows in each. rate: of AdamW, the one of least loss after a short trial, on the last calibration windows. Losses and "
        "NLL: nats per position, of the text's next token; training loss: mean since the line before. held-out: on some evaluation "
        "windows; agreement: with the full model's top-1 token. perplexity: of evaluation text, by the full model and by the head alone."
        + (f" {letters}." if letters else ""),
    )


def print_easy_share(console: Console, rungs: Evidence) -> None:
    """Print how many tokens are easy when late blocks are destroyed alone, beside chance, and together, as a curve."""
    _print_alone(console, rungs)
    curves = {rung: {tau: share for tau, share in rows_of(e, "taus", "curve") if tau is not None} for rung, e in rungs.items()}
    curves = {rung: curve for rung, curve in curves.items() if finite(curve.values())}
    if not curves:
        return
    print_heading(console, "Easy tokens, reading B: all blocks from two thirds of the depth on destroyed together, share with KL up to τ")
    table = new_table("τ", *curves, left=0, plot=unit_axis())
    for tau in sorted({tau for curve in curves.values() for tau in curve}):
        shares = {rung: curve.get(tau) for rung, curve in curves.items()}
        mark = unit_line({rung[0]: share for rung, share in shares.items()})
        table.add_row(told(tau, "{:g}".format), *(told(share, as_share) for share in shares.values()), mark)
    console.print(table)
    medians = ", ".join(f"{rung} {told(rungs[rung].get('together_median'), as_short)}" for rung in curves)
    letters = ", ".join(f"{rung[0]} {rung}" for rung in curves)
    print_legend(
        console,
        f"τ: nats. {letters}, = where two meet. Which τ makes a token easy the paper does not say, and for any share there is one. "
        f"Median KL: {medians}.",
    )


def _print_alone(console: Console, rungs: Evidence) -> None:
    found = {
        rung: e
        for rung, e in rungs.items()
        if finite([*(e.get(name) for name in ("share", "chance", "implied", "observed")), *(e.get("medians") or [])])
    }
    if not found:
        return
    names = max(([as_count(block) for block in e.get("blocks") or []] for e in found.values()), key=len)
    names += ["–"] * (max(len(e.get("medians") or []) for e in found.values()) - len(names))
    each = [f"median KL: {name}" if i == 0 else name for i, name in enumerate(names)]
    print_heading(console, "Easy tokens, reading A: KL below the median for every late block destroyed alone")
    table = new_table("rung", "share", "by chance", "at most", "ρ implied", "observed", *each)
    for rung, e in found.items():
        shares = told(e.get("share"), as_share), told(e.get("chance"), as_share), as_share(0.5)
        medians = [*(e.get("medians") or []), *[None] * len(names)][: len(names)]
        correlations = (told(e.get(name), as_share) for name in ("implied", "observed"))
        table.add_row(rung, *shares, *correlations, *(told(value, as_short) for value in medians))
    console.print(table)
    print_legend(
        console,
        "destroyed: weight matrices stored in four values a row (INT2). KL: from the clean run, nats. Half of the tokens are below each "
        "median whatever the model, so that the share says how far blocks agree, not how little they matter: by chance where they do not, "
        "a half at most. ρ: rank correlation between two late blocks' KLs; implied: by the share; observed: mean over pairs."
        + _left_out({rung: e.get("left_out") for rung, e in found.items()}),
    )


def print_sets(console: Console, rungs: Evidence) -> None:
    """Print how the two criteria agree within strata of confidence, and the tokens at both ends where they stand in the text."""
    table = new_table("rung", "confidence", "tokens", "agreed", "easy", "both", "if unrelated", "odds ratio", left=2)
    for rung, e in rungs.items():
        name = rung
        for stratum in e.get("strata") or []:
            if stratum:
                agreed, easy, both = (stratum.get(part) for part in ("agreed", "easy", "both"))
                unrelated = None if agreed is None or easy is None else agreed * easy
                shares = (told(share, as_share) for share in (agreed, easy, both, unrelated))
                limits = "–".join(told(stratum.get(limit), as_share) for limit in ("low", "high"))
                table.add_row(name, limits, as_count(stratum.get("tokens")), *shares, told(stratum.get("odds"), as_short))
                name = ""
        for label, key in (("at equal confidence", "odds"), ("without the surest", "unsure"), ("whatever the confidence", "crude")):
            if e.get(key) is not None:
                table.add_row(name, label, *[""] * 5, told(e[key], as_short))
                name = ""
    if table.row_count:
        print_heading(console, "Do the two criteria choose the same tokens? By the full model's confidence")
        console.print(table)
        print_legend(
            console,
            "confidence: the full model's top-1 probability, by deciles. agreed: share on which the head at mid agrees with the full "
            "model's top-1 token; easy: by reading A. if unrelated: agreed × easy, what both would be. odds ratio: of being easy, agreed "
            "over not; above 1 the criteria choose alike. at equal confidence: Mantel and Haenszel's, over strata; without the surest: "
            "over all but the last of them; whatever the confidence: without strata, where tokens of which the model is sure raise both.",
        )
    shown = {
        key: next(((rung, tokens) for rung in reversed(list(rungs)) if (tokens := _some(rungs[rung].get(key)))), None) for key in _TOKENS
    }
    for key, found in shown.items():
        if found:
            rung, tokens = found
            print_heading(console, f"Tokens of {_TOKENS[key]} KL where they stand in the text ({len(tokens)} of {rung})")
            print_tokens(console, tokens)
    if any(shown.values()):
        print_legend(
            console,
            "KL: mean over the late blocks destroyed alone, nats. agreed: the head at mid says what the full model says. confidence: the "
            "full model's. at: window:position of the ⟦token⟧; said: the full model's top-1 token. Characters that do not print "
            "are escaped, as \\n.",
        )


def _exits(e: Evidence) -> list[tuple[str, Value, Value]]:
    """Block, naive and trained agreement of each exit, from whichever is there."""
    trained = e.get("trained") or {}
    if not e.get("exits"):
        return [(at, None, value) for at, value in trained.items()]
    return [(as_count(at), naive, trained.get(as_count(at))) for at, naive in rows_of(e, "exits", "naive")]


def _by_steps(curve: Mapping[str, Any]) -> dict[float, dict[str, Value]]:
    lines = rows_of(curve, "steps", *_CURVES)
    return {step: dict(zip(_CURVES, values, strict=True)) for step, *values in lines if step is not None and finite(values)}


def _some(tokens: list[Evidence | None] | None) -> list[Evidence]:
    return [token for token in tokens or [] if token]


def _as_rate(rate: float) -> str:
    return f"{rate:g}".replace("-", "−")


def _left_out(shares: Mapping[str, Value]) -> str:
    """Say which share of positions does not count, where some do not."""
    some = [f"{rung} {as_percent(share)}" for rung, share in shares.items() if share is not None and math.isfinite(share) and share > 0]
    return f" Left out as not typical: {', '.join(some)} of positions." if some else ""
