"""The picture of a report: the interval of every core predicate beside its bounds, as one SVG that needs nothing else.

Every interval is drawn on one axis, on which ``falsified`` is 0 and ``holds`` is 1, so that right is always HOLDS and what lies between is
the dead zone. It is drawn by hand, not by a plotting library: the file is looked at in a README, light or dark, and compared byte by byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from claims import CLAIMS, Bound, Verdict
from claims.claim import JUDGED
from fixtures.naming import printable
from reports.ledger import Row, number

LEFT, RIGHT = -1.5, 2.5
"""Where the axis ends; what lies beyond is an arrow."""

_LABELS, _PANEL, _FIGURE, _GAP, _EDGE = 196, 230, 74, 14, 12
_TOP, _LINE, _SPACE, _BOTTOM = 62, 22, 10, 78
_WIDTH = _EDGE + _LABELS + len(JUDGED) * (_PANEL + _FIGURE) + (len(JUDGED) - 1) * _GAP + _EDGE
_DRAWN = (Verdict.HOLDS, Verdict.FALSIFIED, Verdict.INCONCLUSIVE)

_STYLE = Markup("""<style>
svg{font-family:system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;font-size:12px}
.page{fill:#fff}.text{fill:#1f2328}.quiet{fill:#59636e}.zone{fill:#e4e7eb}.edge{stroke:#8b949e}.frame{stroke:#d1d9e0}
.holds{fill:#0b6e4f;stroke:#0b6e4f}.falsified{fill:#b3261e;stroke:#b3261e}.inconclusive{fill:#8a5a00;stroke:#8a5a00}
@media (prefers-color-scheme:dark){
.page{fill:#0d1117}.text{fill:#f0f6fc}.quiet{fill:#9198a1}.zone{fill:#2a313c}.edge{stroke:#767e89}.frame{stroke:#3d444d}
.holds{fill:#4cc38a;stroke:#4cc38a}.falsified{fill:#ff8a80;stroke:#ff8a80}.inconclusive{fill:#e3b341;stroke:#e3b341}}
</style>""")


def place(bound: Bound, value: float) -> float:
    """Map a figure to the axis on which ``falsified`` is 0 and ``holds`` is 1: (q − falsified)/(holds − falsified).

    Of ``inside`` bounds, the lesser of what both sides give: (q − outer)/(inner − outer). Where both bounds are one number b there is no
    dead zone: b is ½, and b (or 1, where b is 0) is a step.
    """
    if isinstance(bound.holds, tuple) and isinstance(bound.falsified, tuple):
        (a, b), (outer_a, outer_b) = bound.holds, bound.falsified
        return min((value - outer_a) / (a - outer_a), (outer_b - value) / (outer_b - b))
    assert not isinstance(bound.holds, tuple)
    assert not isinstance(bound.falsified, tuple)
    if bound.holds == bound.falsified:
        step = abs(bound.holds) or 1.0
        return 0.5 + (value - bound.holds) / step * (1 if bound.direction == "at_least" else -1)
    return (value - bound.falsified) / (bound.holds - bound.falsified)


def span(bound: Bound, low: float, high: float) -> tuple[float, float]:
    """Map an interval to the axis: the least and the greatest place of any of its points.

    ``inside`` bounds fold the figure at the peak, where both sides give the same; an interval that holds the peak reaches to it.
    """
    ends = [place(bound, low), place(bound, high)]
    if isinstance(bound.holds, tuple) and isinstance(bound.falsified, tuple):
        (a, b), (outer_a, outer_b) = bound.holds, bound.falsified
        rise, fall = a - outer_a, outer_b - b
        peak = (outer_a * fall + outer_b * rise) / (rise + fall)
        if low <= peak <= high:
            ends.append(place(bound, peak))
    return min(ends), max(ends)


def picture(rows: Sequence[Row], subject: str) -> str:
    """Draw the core predicates of a report on the judged rungs; ``subject`` names model and text in the title."""
    lines = list(_lines(rows))
    height = _TOP + _BOTTOM + sum(_SPACE if line is None else _LINE for line in lines)
    counts = {verdict: sum(row.verdict is verdict for line in lines if line for row in line.values()) for verdict in Verdict}
    told = ", ".join(f"{count} {verdict.word}" for verdict, count in counts.items() if count)
    parts = [
        Markup('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" ').format(
            w=_WIDTH, h=height
        )
        + Markup('aria-labelledby="title desc">'),
        Markup('<title id="title">{}</title>').format(f"Core predicates of {printable(subject)}, each interval beside its bounds"),
        Markup('<desc id="desc">{}</desc>').format(f"{told}. The kept report beside the picture has every figure."),
        _STYLE,
        Markup('<rect class="page" width="{}" height="{}"/>').format(_WIDTH, height),
    ]
    parts += [part for panel, rung in enumerate(JUDGED) for part in _heading(panel, rung, height - _BOTTOM)]
    y = float(_TOP)
    for line in lines:
        if line is None:
            y += _SPACE
            continue
        first = next(iter(line.values())).cell
        label = f"{first.claim} · {first.predicate}"
        parts.append(_text(_EDGE, y + 15, label, "text"))
        parts += [part for panel, rung in enumerate(JUDGED) for part in _mark(panel, y + _LINE / 2, line.get(rung))]
        y += _LINE
    return "\n".join([*parts, *_legend(height - _BOTTOM), Markup("</svg>")]) + "\n"


def _lines(rows: Sequence[Row]) -> Iterator[dict[str, Row] | None]:
    """Yield the core rows of a predicate by rung, in the claims' order; None between claims."""
    core = [row for row in rows if row.core and row.cell.rung in JUDGED]
    for i, key in enumerate(dict.fromkeys([*(claim.key for claim in CLAIMS), *(row.cell.claim for row in core)])):
        of_claim = [row for row in core if row.cell.claim == key]
        if i and of_claim:
            yield None
        for name in dict.fromkeys(row.cell.predicate for row in of_claim):
            yield {row.cell.rung: row for row in of_claim if row.cell.predicate == name}


def _start(panel: int) -> float:
    return _EDGE + _LABELS + panel * (_PANEL + _FIGURE + _GAP)


def across(panel: int, at: float) -> float:
    """Return the x of a place on the axis of a panel, in the SVG's units, at most at its ends."""
    return round(_start(panel) + (min(max(at, LEFT), RIGHT) - LEFT) / (RIGHT - LEFT) * _PANEL, 2)


def _heading(panel: int, rung: str, bottom: float) -> Iterator[Markup]:
    yield _text(across(panel, 0.5), 20, rung, "text", "middle", bold=True)
    yield _text(across(panel, -0.1), 38, "◂ FALSIFIED", "quiet", "end")
    yield _text(across(panel, 0.5), 38, "dead zone", "quiet", "middle")
    yield _text(across(panel, 1.1), 38, "HOLDS ▸", "quiet")
    for at in (0, 1):
        x = across(panel, at)
        yield Markup('<line class="frame" x1="{}" x2="{}" y1="46" y2="{}"/>').format(x, x, round(bottom, 2))


def _mark(panel: int, y: float, row: Row | None) -> Iterator[Markup]:
    """Draw one interval with its dead zone and figure; what has none says why in a word."""
    if row is None:
        yield _text(across(panel, 0.5), y + 4, "not core here", "quiet", "middle")
        return
    if row.bound is None or row.value is None or row.verdict not in _DRAWN:
        yield _text(across(panel, 0.5), y + 4, row.verdict.word, "quiet", "middle")
        return
    if row.bound.holds == row.bound.falsified:
        x = across(panel, 0.5)
        yield Markup('<line class="edge" x1="{}" x2="{}" y1="{}" y2="{}" stroke-width="2"/>').format(x, x, y - 9, y + 9)
    else:
        x, width = across(panel, 0), round(across(panel, 1) - across(panel, 0), 2)
        yield Markup('<rect class="zone" x="{}" y="{}" width="{}" height="18"/>').format(x, y - 9, width)
    name = str(row.verdict)
    if row.low is not None and row.high is not None:
        low, high = span(row.bound, row.low, row.high)
        drawn = Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}" stroke-width="3"/>')
        yield drawn.format(name, across(panel, low), across(panel, high), y, y)
        for off in sorted({LEFT - 1.0 if end < LEFT else RIGHT + 1.0 for end in (low, high) if not LEFT <= end <= RIGHT}):
            yield _arrow(panel, y, name, off)
    if LEFT <= (at := place(row.bound, row.value)) <= RIGHT:
        yield _shape(name, across(panel, at), y)
    yield _shape(name, _start(panel) + _PANEL + 16, y)  # Again, as a mark that runs off the axis is an arrow whatever the verdict.
    yield _text(_start(panel) + _PANEL + _FIGURE, y + 4, number(row.value), "text", "end")


def _arrow(panel: int, y: float, name: str, end: float) -> Markup:
    """Point to where an end of an interval lies off the axis."""
    back = 9 if end < LEFT else -9
    return Markup('<path class="{}" d="M{} {}l{} 6v-12z"/>').format(name, across(panel, end), y, back)


def _shape(name: str, x: float, y: float) -> Markup:
    """Draw a verdict's mark: HOLDS a disc, FALSIFIED a diamond, INCONCLUSIVE an open square."""
    if name == "holds":
        return Markup('<circle class="holds" cx="{}" cy="{}" r="5.5"/>').format(x, y)
    if name == "falsified":
        return Markup('<path class="falsified" d="M{} {}l7 7l-7 7l-7 -7z"/>').format(x, y - 7)
    return Markup('<rect class="inconclusive" style="fill:none" stroke-width="2.5" x="{}" y="{}" width="10" height="10"/>').format(
        round(x - 5, 2), y - 5
    )


def _legend(top: float) -> Iterator[Markup]:
    x = float(_EDGE)
    for verdict in _DRAWN:
        yield _shape(str(verdict), x + 7, top + 20)
        yield _text(x + 20, top + 24, verdict.word, "text")
        x += 124
    yield _text(x, top + 24, "▸ runs off the axis; the number is the figure", "quiet")
    for i, told in enumerate(
        (
            "Shaded: between the bounds. A line: both bounds are one number. HOLDS and FALSIFIED need the whole interval beyond a bound;",
            "of claim 3, HOLDS needs that of every layer, so a mean far to the right can be INCONCLUSIVE.",
        )
    ):
        yield _text(_EDGE, top + 46 + 17 * i, told, "quiet")


def _text(x: float, y: float, text: str, style: str, anchor: str = "start", bold: bool = False) -> Markup:
    weight = Markup(' font-weight="600"') if bold else ""
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}"{}>{}</text>').format(style, x, y, anchor, weight, printable(text))
