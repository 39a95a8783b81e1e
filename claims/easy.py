"""What claim 5 asserts and says about exit heads: figures picked from measurements, what they rest on, what a control did."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from claims.remarks import Remarks, of_sample
from harness.easy_protocol import EasyProtocol
from harness.errors import LongWorkError, MeasurementError
from harness.exits import EMBEDDINGS, Exit, Heads, agreement, difference, share
from harness.laboratory import Laboratory
from harness.statistics import Array, Figure

_GIVEN = "the interval takes the head as given"


def exit_agreement(lab: Laboratory, rung: str) -> tuple[Figure, Remarks]:
    """Return how often the head at mid says what the whole model says."""
    found = lab.exit(rung)
    a = found.arrays
    doubts, caveats = of_heads(lab, rung, found)
    right, full = share(a["right"][0], a["counted"]), share(a["full_right"], a["counted"])
    note = f"{_head(found)}; it is right about the next token in {right:.1%}, the model in {full:.1%}{_left_out(found)}; {_GIVEN}"
    try:
        file = lab.keep_tokens(rung)
        note += f"; tokens in {file}" if file else ""
    except MeasurementError as error:  # The figure stands without them.
        caveats.append(str(error))
    figure = agreement(a["agreed"][0], a["counted"], _half(a))
    return figure, _said(doubts, caveats, note, _evidence(lab, found))


def exit_excess(lab: Laboratory, rung: str) -> tuple[Figure, Remarks]:
    """Return agreement minus that of the better control: the bigram table, and where it may be trained, a head on the embeddings."""
    found = lab.exit(rung)
    a, controls = found.arrays, {"a bigram table": found.arrays["bigram"]}
    lowest = None
    with contextlib.suppress(LongWorkError):  # The table is a control by itself.
        lowest = lab.lowest_exit(rung)
        controls["a head on the embeddings"] = lowest.arrays["agreed"]
    reached = {name: share(marks[0], a["counted"]) for name, marks in controls.items()}
    best = max(reached, key=lambda name: reached[name])
    doubts, caveats = of_heads(lab, rung, found, *([lowest] if lowest else []))
    told = ", ".join(f"{name} {value:.3f}" for name, value in reached.items())
    note = f"{share(a['agreed'][0], a['counted']):.3f} at mid; {told}"
    note += "" if lowest is not None else "; a head on the embeddings was not trained (--long)"
    evidence = {} if lowest is None else {"lowest": reached["a head on the embeddings"]}
    return _over(found, controls[best]), _said(doubts, caveats, f"{note}; {_GIVEN}", evidence)


def head_gain(lab: Laboratory, rung: str) -> tuple[Figure, Remarks]:
    """Return what training adds to the agreement of the model's own norm and head at mid."""
    found = lab.exit(rung)
    a = found.arrays
    doubts, caveats = of_heads(lab, rung, found)
    naive = share(a["naive"][0], a["counted"])
    note = f"{naive:.3f} with the model's own norm and head becomes {share(a['agreed'][0], a['counted']):.3f}; {_GIVEN}"
    return _over(found, np.stack([a["naive"][0]] * len(a["agreed"]))), _said(doubts, caveats, note, {})


def supervision(lab: Laboratory, rung: str) -> tuple[Figure, Remarks]:
    """Return agreement of the head trained to the text minus that of one trained to the model's distribution."""
    found, other = lab.exit(rung), lab.distilled_exit(rung)
    a, b = found.arrays, other.arrays
    doubts, caveats = of_heads(lab, rung, found)
    caveats += [f"distilled: {caveat}" for caveat in _of_training(lab.protocol.easy, other, 0, of_text=False)]
    nll = {name: share(x["nll"][0], a["counted"]) for name, x in (("text", a), ("model", b))}
    note = (
        f"trained to the text {share(a['agreed'][0], a['counted']):.3f}, to the model's distribution "
        f"{share(b['agreed'][0], a['counted']):.3f} (rate {b['rate'][0]:g}); NLL {nll['text']:.3f} and {nll['model']:.3f} nats; {_GIVEN}"
    )
    evidence = {"distilled": share(b["agreed"][0], a["counted"])}
    return _over(found, b["agreed"]), _said(doubts, caveats, note, evidence)


def lora_gain(lab: Laboratory, rung: str) -> tuple[Figure, Remarks]:
    """Return agreement of a head trained together with a LoRA minus that of the head alone, both with the model as it is."""
    adapted, found = lab.lora(rung), lab.exit(rung)  # The long one first: where it may not be made, nothing need be.
    a, b = found.arrays, adapted.arrays
    counted = a["counted"]
    doubts, caveats = of_heads(lab, rung, found)
    caveats += [f"with the LoRA: {caveat}" for caveat in _of_training(lab.protocol.easy, adapted, 0, of_text=False)]
    own, kept = share(b["own_agreed"], counted), share(b["final_agreed"], counted)
    left = f", none on {adapted.number('unadapted'):,.0f} other weight matrices" if adapted.number("unadapted") else ""
    reached = share(b["agreed"][0], counted)
    note = (
        f"{share(a['agreed'][0], counted):.3f} without, {reached:.3f} with a LoRA of rank {adapted.number('rank'):.0f} on "
        f"{adapted.number('adapters'):,.0f} layers{left} (rate {b['rate'][0]:g}); the head then says what the adapted model says in "
        f"{own:.3f}, and that what the model said in {kept:.3f}; perplexity {_perplexity(a['full_nll'], counted):.2f} becomes "
        f"{_perplexity(b['final_nll'], counted):.2f}; the interval takes both trainings as given"
    )
    figure = difference(b["agreed"][0], a["agreed"][0], counted)
    return figure, _said(doubts, caveats, note, {"lora": reached})


def _over(found: Exit, control: Array) -> Figure:
    """Return agreement of the head at mid minus a control's, ``(H, W, P)`` marks; on half the calibration windows both are of the half."""
    agreed, counted = found.arrays["agreed"], found.arrays["counted"]
    half = share(agreed[1], counted) - share(control[1], counted) if len(agreed) > 1 else None
    return difference(agreed[0], control[0], counted, half)


def _said(doubts: list[str], caveats: list[str], note: str, evidence: dict[str, Any]) -> Remarks:
    absent = "no figure: no position is typical at all exits and late blocks"
    return Remarks(doubts=tuple(doubts), caveats=tuple(caveats), note=note, absent=absent, evidence=evidence)


def of_heads(lab: Laboratory, rung: str, *every: Heads) -> tuple[list[str], list[str]]:
    """Return doubts and caveats about trained heads, the one at mid first.

    Another number of steps than the protocol's is a doubt: the bounds are for its recipe.
    """
    doubts, caveats = of_sample(lab, rung, every[0].number("fitted"), lab.facts.width)
    easy, usual = lab.protocol.easy, (EasyProtocol().quickened() if lab.protocol.quick else EasyProtocol()).steps
    if easy.steps != usual:
        doubts.append(f"heads are trained for {easy.steps:,} steps, the protocol's are {usual}")
    for i, heads in enumerate(every):
        for place in range(heads.wholes):
            caveats += [f"{_named(heads, place)}{caveat}" if i else caveat for caveat in _of_training(easy, heads, place)]
    return doubts, caveats


def _of_training(easy: EasyProtocol, heads: Heads, place: int, of_text: bool = True) -> list[str]:
    """Say whether a head was still improving or already worse, knew its text by heart, and might have done better at another rate.

    ``of_text``: its loss is the NLL of the text alone, so that it can be compared with that of other text.
    """
    a, caveats = {name: heads.arrays[name][place] for name in ("held_agreed", "held_nll", "train", "rate")}, list[str]()
    halfway = int(np.searchsorted(heads.arrays["steps"], easy.steps / 2))
    before, after, most = (float(value) for value in (a["held_agreed"][halfway], a["held_agreed"][-1], a["held_agreed"].max()))
    if after - before > easy.still_improving:
        caveats.append(f"the head was still improving: agreement rose from {before:.3f} to {after:.3f} over the second half of its steps")
    if most - after > easy.still_improving:
        caveats.append(f"the head agreed more before the end: {most:.3f}, then {after:.3f}")
    if of_text and a["held_nll"][-1] - a["train"][-1] > easy.by_heart:
        caveats.append(f"the head knows its text by heart: NLL {a['train'][-1]:.2f} nats there, {a['held_nll'][-1]:.2f} on other text")
    if a["rate"] in (min(easy.rates), max(easy.rates)):
        which = "largest" if a["rate"] == max(easy.rates) else "smallest"
        caveats.append(f"the learning rate {a['rate']:g} is the {which} that is tried")
    return caveats


def _named(heads: Heads, place: int) -> str:
    at = heads.arrays["at"][place]
    return "on the embeddings: " if at == EMBEDDINGS else f"at block {at:.0f}: "


def _half(a: Any) -> float | None:
    """Agreement of the head trained on half the calibration windows, where there is one."""
    return share(a["agreed"][1], a["counted"]) if len(a["agreed"]) > 1 else None


def _head(found: Exit) -> str:
    a = found.arrays
    return f"head at block {a['at'][0]:.0f}, learning rate {a['rate'][0]:g}, {a['steps'][-1]:.0f} steps on {a['fitted']:,.0f} tokens"


def _left_out(found: Heads) -> str:
    return f"; {found.number('left_out'):.2%} of positions left out as atypical" if found.number("left_out") else ""


def _evidence(lab: Laboratory, found: Exit) -> dict[str, Any]:
    a = found.arrays
    counted, exits = a["counted"], [int(block) for block in a["exits"]]
    return {
        "blocks": lab.model.n_blocks,
        "exits": exits,
        "naive": [share(marks, counted) for marks in a["naive"]],
        "trained": {str(exits[0]): share(a["agreed"][0], counted)},
        "bigram": share(a["bigram"][0], counted),
        "half": _half(a),
        "rate": float(a["rate"][0]),
        "trials": {f"{rate:g}": float(loss) for rate, loss in zip(lab.protocol.easy.rates, a["trials"][0], strict=True)},
        "batch": int(found.number("batch")),
        "fitted": int(found.number("fitted")),
        "perplexity": {"full": _perplexity(a["full_nll"], counted), "head": _perplexity(a["nll"][0], counted)},
        "curve": {
            "steps": [int(step) for step in a["steps"]],
            **{name: [float(v) for v in a[key][0]] for name, key in (("train", "train"), ("nll", "held_nll"), ("agreed", "held_agreed"))},
        },
        "left_out": found.number("left_out"),
    }


def _perplexity(nll: Array, counted: Array) -> float:
    return float(np.exp(share(nll, counted)))
