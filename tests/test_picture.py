"""The picture of a report puts every interval where its bounds say, and says by colour and shape what the verdict is."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claims import Bound, Verdict
from claims.declared import all_predicates
from reports.ledger import Cell, Row
from reports.picture import LEFT, RIGHT, picture, place, span

SVG = "{http://www.w3.org/2000/svg}"
INSIDE = Bound((0.25, 0.35), (0.20, 0.40), "inside")


def independent(bound, q):
    """The place on the axis by linear interpolation between the bounds, written the other way round."""
    if isinstance(bound.holds, tuple):
        (a, b), (c, d) = bound.holds, bound.falsified
        rise, fall = 1 / (a - c), 1 / (d - b)
        return float(min(1 + (q - a) * rise, 1 + (b - q) * fall))
    if bound.holds == bound.falsified:
        return 0.5 + (q - bound.holds) * np.copysign(1, 1 if bound.direction == "at_least" else -1) / (abs(bound.holds) or 1)
    slope, offset = np.polyfit([bound.falsified, bound.holds], [0.0, 1.0], 1)
    return float(slope * q + offset)


BOUNDS = list(dict.fromkeys(bound for _, predicate in all_predicates() for bound in predicate.bounds.values()))


@pytest.mark.parametrize("bound", [*BOUNDS, Bound((0.2, 0.3), (0.0, 0.35), "inside")], ids=str)
@settings(deadline=None, max_examples=15)
@given(low=st.floats(-3, 3), size=st.floats(0, 3))
def test_places_agree_with_the_verdict(bound, low, size):
    """An interval lies from 1 on exactly when it HOLDS, up to 0 exactly when it is FALSIFIED; ends are where interpolation puts them."""
    high = low + size
    left, right = span(bound, low, high)
    grid = [low + size * i / 400 for i in range(401)]
    places = [independent(bound, q) for q in grid]
    assert place(bound, low) == pytest.approx(places[0], abs=1e-9)
    assert left == pytest.approx(min(places), abs=1e-9)
    assert right == pytest.approx(max(places), abs=max(1e-9, size / 400 * 20))
    assert right >= max(places) - 1e-9
    verdict = bound.judge(low, high)[0]
    hold, fail = (0.5, 0.5) if bound.holds == bound.falsified else (1.0, 0.0)
    if min(abs(left - hold), abs(right - fail)) > 1e-9:
        assert (left > hold) == (verdict is Verdict.HOLDS)
        assert (right < fail) == (verdict is Verdict.FALSIFIED)


def drawn_row(value, low, high, bound, verdict=None, name="depth_trend", claim=4):
    """A core row on paper; its verdict is its interval's unless given."""
    judged = verdict or bound.judge(low, high)[0]
    return Row(Cell("m", "c", claim, name, "paper"), judged, "", True, value, low, high, 0.95, bound, 0.0)


def lines_of(svg, verdict):
    """The x positions of the intervals of a verdict."""
    return [
        (float(line.get("x1")), float(line.get("x2"))) for line in ET.fromstring(svg).iter(f"{SVG}line") if line.get("class") == verdict
    ]


@pytest.mark.parametrize(
    ("bound", "value", "low", "high"),
    [
        (Bound(0.8, 0.4), 0.9, 0.85, 0.95),
        (Bound(0.1, 0.2, "at_most"), 0.22, 0.21, 0.23),
        (Bound(1.0, 1.0), 1.5, 1.2, 1.8),
        (INSIDE, 0.22, 0.19, 0.26),
    ],
)
def test_the_picture_has_every_end_where_interpolation_between_its_gridlines_puts_it(bound, value, low, high):
    """Ends of intervals, marks and shaded zones, read back from the SVG, are where the bounds' own lines say."""
    root = ET.fromstring(picture([drawn_row(value, low, high, bound)], "m"))
    zero, one = sorted({float(line.get("x1")) for line in root.iter(f"{SVG}line") if line.get("class") == "frame"})[:2]
    verdict = str(bound.judge(low, high)[0])
    (ends,) = lines_of(picture([drawn_row(value, low, high, bound)], "m"), verdict)
    expected = sorted(zero + independent(bound, q) * (one - zero) for q in (low, high))
    assert ends == pytest.approx(expected, abs=0.02)
    zones = [(float(r.get("x")), float(r.get("width"))) for r in root.iter(f"{SVG}rect") if r.get("class") == "zone"]
    if bound.holds == bound.falsified:
        edges = [float(line.get("x1")) for line in root.iter(f"{SVG}line") if line.get("class") == "edge"]
        assert (zones, edges) == ([], [pytest.approx((zero + one) / 2, abs=0.02)])
    else:
        assert zones == [(pytest.approx(zero, abs=0.02), pytest.approx(one - zero, abs=0.02))]


@pytest.mark.parametrize(("value", "verdict", "at"), [(-50.0, "falsified", LEFT), (50.0, "holds", RIGHT)])
def test_an_interval_that_runs_off_has_one_arrow_at_the_end_of_the_axis(value, verdict, at):
    """The arrow stands where the axis ends, on the side of the figure, which has no mark on the axis and one beside its number."""
    root = ET.fromstring(picture([drawn_row(value, value - 1, value + 1, Bound(1.0, 0.0))], "m"))
    zero, one = sorted({float(line.get("x1")) for line in root.iter(f"{SVG}line") if line.get("class") == "frame"})[:2]
    arrows = [e.get("d") for e in root.iter(f"{SVG}path") if e.get("class") == verdict and e.get("d").endswith("6v-12z")]
    (arrow,) = arrows
    assert (float(arrow.partition("l")[2].split()[0]) < 0) == (at == RIGHT)  # From its tip back towards the axis.
    assert float(arrow[1:].split()[0]) == pytest.approx(zero + at * (one - zero), abs=0.02)
    assert marks(root, verdict) == 1 + 1  # Beside the number, and in the legend.
    inside = ET.fromstring(picture([drawn_row(1.5, 1.4, 1.6, Bound(1.0, 0.0))], "m"))
    assert marks(inside, "holds") == 2 + 1


def marks(root, verdict):
    """How many marks of a verdict a picture has."""
    if verdict == "holds":
        return sum(e.get("class") == "holds" for e in root.iter(f"{SVG}circle"))
    return sum((e.get("d") or "").endswith("l-7 -7z") for e in root.iter(f"{SVG}path"))


def test_verdicts_differ_in_colour_and_in_shape():
    """HOLDS is a disc, FALSIFIED a diamond, INCONCLUSIVE an open square; each has its class, in both colour schemes."""
    bound = Bound(1.0, 0.0)
    rows = [drawn_row(v, v - 0.1, v + 0.1, bound, name=n) for v, n in ((1.5, "depth_trend"), (-0.5, "depth_gain"), (0.5, "other"))]
    svg = picture(rows, "m")
    kinds = {(e.tag.removeprefix(SVG), e.get("class")) for e in ET.fromstring(svg).iter() if e.tag != f"{SVG}line"}
    assert {("circle", "holds"), ("path", "falsified"), ("rect", "inconclusive")} <= kinds
    assert svg.count("prefers-color-scheme:dark") == 1
    assert all(svg.count(f".{verdict}{{") == 2 for verdict in ("holds", "falsified", "inconclusive"))


def test_what_has_no_figure_says_so_in_a_word():
    """UNTESTED and NOT APPLICABLE stand in the place of the interval; a rung on which a predicate is not core says that."""
    bare = [
        Row(Cell("m", "c", 4, name, "paper"), verdict, "", True)
        for name, verdict in (("a", Verdict.UNTESTED), ("b", Verdict.NOT_APPLICABLE))
    ]
    words = [e.text for e in ET.fromstring(picture(bare, "m")).iter(f"{SVG}text")]
    assert "UNTESTED" in words
    assert "NOT APPLICABLE" in words
    assert words.count("not core here") == 2


def test_the_picture_describes_itself_and_needs_nothing_from_outside():
    """It has a title and a description that count verdicts, and neither loads nor links anything."""
    svg = picture([drawn_row(1.5, 1.4, 1.6, Bound(1.0, 0.0))], "m on c")
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    assert "m on c" in root.find(f"{SVG}title").text
    assert root.find(f"{SVG}desc").text.startswith("1 HOLDS.")
    assert not re.search(r"href|url\(|@import|@font-face|<script|<image", svg)
