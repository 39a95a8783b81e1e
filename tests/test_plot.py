"""A plot as SVG and as a table: well-formed, escaped, where it should be, the same data in both."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.plot import Axis, Mark, Plot, Point, Series, ident_of, svg, table
from reports.plot_axes import scale_for
from reports.plot_text import apart, line, rows_of_labels, width
from reports.plot_values import figure

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "\"><script>alert('x')</script>&amp;\x00\x1b\ud800]]>"


def plot(*series: Series, x: Axis | None = None, y: Axis | None = None, **rest) -> Plot:
    """Return a plot of some series."""
    given = {"name": "p", "title": "Title", "sentence": "It rises.", **rest}
    return Plot(x=x or Axis("block"), y=y or Axis("R²"), series=series, **given)


def drawn(shown: Plot) -> ElementTree.Element:
    """Return the parsed SVG."""
    return ElementTree.fromstring(svg(shown))


def data(shown: Plot) -> list[tuple[float, float, str]]:
    """Return pixel and hover text of every datum."""
    found = []
    for path in drawn(shown).iter(f"{SVG}path"):
        if told := path.get("data-told"):
            assert path.find(f"{SVG}title").text == told
            at = re.match(r"M(-?[\d.]+) (-?[\d.]+)", path.get("d"))
            found.append((float(at[1]), float(at[2]), told))
    return found


def line_of(*values: float | None, name: str = "a", kind: str = "line") -> Series:
    """Return a series over 0, 1, …."""
    return Series(name, tuple(Point(float(i), value) for i, value in enumerate(values)), kind)


def test_points_lie_where_their_values_do():
    """Pixels are an affine function of values, upwards, and of x, to the right; on logarithmic axes, of their logarithms."""
    values = [0.1, 0.4, 0.9, 0.2]
    (x0, y0, _), (x1, y1, _), (x2, y2, _), (_, y3, _) = data(plot(line_of(*values)))
    assert (y1 - y0) / (y2 - y0) == pytest.approx(0.3 / 0.8, abs=2e-3)
    assert (y3 - y0) / (y2 - y0) == pytest.approx(0.1 / 0.8, abs=2e-3)
    assert y2 < y0
    assert x0 < x1
    assert x2 - x1 == pytest.approx(x1 - x0, abs=0.11)
    points = tuple(Point(x, y) for x, y in [(1.0, 1.0), (10.0, 1000.0), (1000.0, 10.0)])
    (x0, y0, _), (x1, y1, _), (x2, y2, _) = data(plot(Series("a", points), x=Axis("k", log=True), y=Axis("PPL", log=True)))
    assert (y2 - y0) / (y1 - y0) == pytest.approx(1 / 3, abs=2e-3)
    assert (x1 - x0) / (x2 - x0) == pytest.approx(1 / 3, abs=2e-3)


def test_a_lying_plot_has_its_categories_downwards_and_values_to_the_right():
    """Each category lies below the one before; the greater value further right."""
    first, second = data(plot(line_of(3, 1, kind="points"), x=Axis("method", names=("one", "two")), lying=True))
    assert first[0] > second[0]
    assert first[1] < second[1]
    assert (first[2], second[2]) == ("a, one: 3", "a, two: 1")


def test_a_reference_mark_stands_at_its_value():
    """The line of a bound goes through a point that lies on it."""
    shown = plot(line_of(0.1, 0.8), marks=(Mark("y", 0.8, "holds ≥ 0.8"),))
    (mark,) = (g for g in drawn(shown).iter(f"{SVG}g") if g.get("data-told") == "holds ≥ 0.8")
    assert re.match(r"M[\d.]+ ([\d.]+)H", mark.find(f"{SVG}path").get("d"))[1] == f"{data(shown)[1][1]:g}"
    assert mark.find(f"{SVG}text").text == "holds ≥ 0.8"


def test_gaps_are_not_drawn_and_break_the_line():
    """None and NaN have no datum, and no line leads over them."""
    shown = plot(line_of(0.1, None, 0.3, math.nan, 0.5, 0.6))
    assert [told.split(": ")[1] for _, _, told in data(shown)] == ["0.100", "0.300", "0.500", "0.600"]
    (path,) = (p.get("d") for p in drawn(shown).iter(f"{SVG}path") if p.get("stroke-width") == "1.8")
    assert path.count("L") == 1


def test_what_a_logarithmic_axis_cannot_show_is_counted_in_the_legend():
    """Zero and negative values are left out, and the name of the series says how many."""
    shown = plot(line_of(0.0, -2.0, 3.0, None), y=Axis("KL", log=True))
    assert len(data(shown)) == 1
    assert "a (2 not above 0)" in "".join(drawn(shown).itertext())


def test_foreign_text_is_escaped_everywhere():
    """Names of series, categories, axes, marks and titles with markup and control characters are text, and cut nowhere into markup."""
    names = (HOSTILE, "b")
    series = Series(HOSTILE, (Point(0.0, 1.0, 0.5, 2.0), Point(1.0, 2.0, told=HOSTILE)), "points")
    for lying in (False, True):
        shown = plot(
            series,
            x=Axis(HOSTILE, names=names),
            y=Axis(HOSTILE),
            name=HOSTILE,
            title=HOSTILE,
            sentence=HOSTILE,
            marks=(Mark("y", 1.0, HOSTILE),),
            legend=HOSTILE,
            lying=lying,
        )
        assert not list(drawn(shown).iter(f"{SVG}script"))
        assert "<script" not in svg(shown)
        assert "<script" not in table(shown)
        ElementTree.fromstring(table(shown))


def test_ids_are_unique_to_names_and_name_the_drawing():
    """Two plots of a page never share an id, even where their names differ in what no id may hold; title and description are named."""
    one, other = (plot(line_of(1, 2), name=f"r2 model{c}") for c in "/.")
    assert ident_of(one) != ident_of(other)
    assert re.fullmatch(r"[a-z][a-z0-9-]*", ident_of(one))
    root = drawn(one)
    assert root.get("role") == "img"
    parts = {part.get("id"): part.text for part in root if part.get("id")}
    assert [parts[ident] for ident in root.get("aria-labelledby").split()] == ["Title", "It rises."]


def test_series_differ_in_colour_and_in_dash_or_shape():
    """No two of eight series look alike without colour, in lines and in points; a tone of its own keeps a series' look."""
    looks = set()
    for i in range(8):
        root = drawn(plot(Series("a", (Point(0.0, 1.0), Point(1.0, 2.0)), tone=i)))
        group = next(g for g in root.iter(f"{SVG}g") if g.get("stroke"))
        stroke = next(p for p in group if p.tag == f"{SVG}path" and p.get("stroke-width") == "1.8")
        datum = next(p for p in group.iter(f"{SVG}path") if p.get("data-told"))
        looks.add((group.get("stroke"), stroke.get("stroke-dasharray"), re.sub(r"^M\S+ [\d.]+", "", datum.get("d"))))
    assert [len({look[i] for look in looks}) for i in range(3)] == [8, 8, 8]
    assert (
        drawn(plot(line_of(1), Series("b", (Point(0.0, 1.0),), tone=0))).findall(f".//{SVG}g[@stroke='var(--s1,#0072b2)']")[1] is not None
    )


def test_the_table_says_the_same_as_the_drawing():
    """A row for each x, a column for each series, intervals where there are any, a dash where there is nothing."""
    a = Series("a", (Point(0.0, 0.25, 0.2, 0.3), Point(2.0, None)))
    root = ElementTree.fromstring(table(plot(a, line_of(1.5, 2.5, name="b"))))
    assert root.find("caption").text == "Title (R²)"
    assert [(th.text, th.get("scope")) for th in root.find("thead/tr")] == [
        ("block", "col"),
        ("a", "col"),
        ("a: interval", "col"),
        ("b", "col"),
    ]
    rows = [[cell.text for cell in tr] for tr in root.find("tbody")]
    assert rows == [["block 0", "0.250", "[0.200, 0.300]", "1.50"], ["block 1", "–", "–", "2.50"], ["block 2", "–", "–", "–"]]
    assert all(tr[0].tag == "th" and tr[0].get("scope") == "row" for tr in root.find("tbody"))


def test_a_table_keeps_points_that_share_an_x():
    """Two points of a scatter at one place are two rows."""
    root = ElementTree.fromstring(table(plot(Series("a", (Point(1.0, 2.0), Point(1.0, 3.0)), "points"))))
    assert [tr[1].text for tr in root.find("tbody")] == ["2", "3"]


@pytest.mark.parametrize(
    ("values", "log", "labels"),
    [
        ([0.02, 0.98], False, ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([-4, 11], False, ["0", "5", "10"]),
        ([0, 3], False, ["0", "1", "2", "3"]),
        ([1e7, 2.5e7], False, ["1·10⁷", "1.5·10⁷", "2·10⁷", "2.5·10⁷"]),
        ([1e-3, 10], True, ["10⁻³", "10⁻²", "10⁻¹", "1", "10"]),
        ([1.5, 60], True, ["2", "5", "10", "20", "50"]),
        ([30, 45], True, ["30", "40", "50", "60"]),
        ([1e-6, 1e6], True, ["10⁻⁶", "10⁻³", "1", "10³", "10⁶"]),
    ],
)
def test_ticks_are_round_numbers(values, log, labels):
    """Multiples of 1, 2 or 5 times a power of ten; decades, or 1, 2 and 5 within few of them."""
    assert [text for _, text in scale_for(values, 0, 220, log=log, each=36).ticks] == labels


def test_labels_are_moved_apart_and_stay_in_their_room():
    """Neighbours end up a gap apart in their order, no further than need be."""
    assert apart([10, 11, 50], 13, 0, 100) == [10, 23, 50]
    assert apart([95, 96], 13, 0, 100) == [87, 100]
    assert rows_of_labels([(0, 10), (5, 15), (12, 20)]) == [0, 1, 0]
    assert width(line("m" * 99, 100)) <= 100
    assert line("\x1b[31m") == "\\x1b[31m"


numbers = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.floats(-10, 10), st.just(0.0))
points = st.builds(Point, st.one_of(st.integers(0, 5).map(float), st.floats()), numbers, numbers, numbers)
axes = st.builds(Axis, st.text(max_size=5), st.booleans(), st.sampled_from([(), ("one", "two", "a name that is rather long, and more")]))
series_of = st.builds(Series, st.text(max_size=9), st.lists(points, max_size=6).map(tuple), st.sampled_from(["line", "points", "bars"]))
marks = st.builds(Mark, st.sampled_from("xy"), st.floats(), st.text(max_size=60))


@given(st.lists(series_of, max_size=5), axes, axes, st.lists(marks, max_size=5), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_data_gives_well_formed_svg_with_everything_inside(series, x, y, shown_marks, lying):
    """Whatever numbers and texts come, all that is drawn starts within the view box, and the table parses."""
    shown = plot(*series, x=x, y=Axis(y.label, y.log), marks=tuple(shown_marks), lying=lying, legend=y.label)
    root = drawn(shown)
    _, _, wide, high = map(float, root.get("viewBox").split())
    for path in root.iter(f"{SVG}path"):
        for at in re.finditer(r"[ML](-?[\d.]+) (-?[\d.]+)", path.get("d")):
            assert 0 <= float(at[1]) <= wide
            assert 0 <= float(at[2]) <= high
    for text in root.iter(f"{SVG}text"):
        assert 0 <= float(text.get("x")) <= wide
        assert 0 <= float(text.get("y")) <= high
    ElementTree.fromstring(table(shown))
    drawable = [p for s in series for p in s.points if p.y is not None and math.isfinite(p.y) and math.isfinite(p.x)]
    if not x.log and not y.log and not x.names:
        assert len(data(shown)) == len(drawable)


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.9261, "0.926"), (105.0, "105"), (-3.0, "−3"), (2e6, "2.00e6"), (math.inf, "∞"), (-math.inf, "−∞")],
)
def test_numbers_are_written_whatever_their_size(value, said):
    """Counts as counts, others to three digits; what no number can hold is said, and does not raise."""
    assert figure(value) == said


def test_labels_that_do_not_fit_stay_inside():
    """Five labels 13 apart need 52; in 36 they share it, in order."""
    assert apart([0.0] * 5, 13, 0.0, 36.0) == pytest.approx([0, 9, 18, 27, 36])
    assert apart([5.0], 13, 0.0, 36.0) == [5.0]
