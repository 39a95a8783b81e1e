"""Plots of what destroying blocks costs over depth, and of the last block without its MLP (claim 4, appendix)."""

from __future__ import annotations

from reports.plot_subject import BLOCK, NATS, PERPLEXITY, Subject, bars_or_points, compared, known, mapping, num, nums, over_blocks
from reports.plot_values import Axis, Mark, Plot, Series, figure

_PARTS = {"both": "the whole block", "attention": "its attention", "mlp": "its MLP"}
_LAST_MLP = {"baseline": "untouched", "skipped": "skipped", "mean": "its mean output"}


def profile(subject: Subject) -> list[Plot | None]:
    """KL of every block destroyed alone, whole and by part, with the middle that both ends are compared with."""
    plots = []
    for rung, e in subject.rungs("importance_u_shape", "phase_profile").items():
        kl = mapping(e.get("kl"))
        series = [Series(label, over_blocks(nums(kl.get(key)))) for key, label in _PARTS.items()]
        median, middle = num(e.get("median")), nums(e.get("middle"))
        marks, told = [], []
        whole = known(series[0])
        if whole:
            least, most = min(whole, key=lambda p: p[1]), max(whole, key=lambda p: p[1])
            told.append(
                f"On {rung}, destroying the whole block costs {figure(whole[0][1])} nats for block {whole[0][0]:g} and "
                f"{figure(whole[-1][1])} for block {whole[-1][0]:g}; least {figure(least[1])} (block {least[0]:g}), "
                f"most {figure(most[1])} (block {most[0]:g})."
            )
        if median is not None:
            marks.append(Mark("y", median, "median of the middle"))
            told.append(f"The median of the middle is {figure(median)}.")
        if len(middle) == 2:
            marks += [Mark("x", at, label) for at, label in zip(middle, ("middle from", "middle to"), strict=True) if at is not None]
        attention, mlp = (dict(known(one)) for one in series[1:])
        both = [block for block in attention if block in mlp]
        if both:
            told.append(f"Attention costs more than the MLP in {sum(attention[b] > mlp[b] for b in both)} of {len(both)} blocks.")
        title = f"Every block destroyed, alone: KL from the clean model ({rung})"
        legend = "Destroyed: weight matrices stored in four values a row (INT2)."
        plots.append(subject.plot(f"destroyed-{rung}", title, BLOCK, Axis(NATS, log=True), series, told, marks, legend))
    return plots


def last_mlp(subject: Subject) -> Plot | None:
    """Perplexity of the model with its last MLP skipped, and with the MLP's mean output in its place."""
    found = subject.rungs("mlp_skip", "mlp_mean")
    names = tuple(_LAST_MLP.values())
    values = {rung: {label: num(e.get(key)) for key, label in _LAST_MLP.items()} for rung, e in found.items()}
    told = [compared(rung, of, ", perplexity") for rung, of in values.items()]
    title = "The last block's MLP skipped, and replaced by its mean output: perplexity"
    x, y = Axis("the last MLP", names=names), Axis(PERPLEXITY, log=True)
    return subject.plot("last-mlp", title, x, y, bars_or_points(names, values), told, lying=True)
