"""Every plot of a report: what it shows of small made-up evidence, and that no evidence, however odd, breaks one."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claims import Bound, Verdict
from claims.declared import all_predicates
from reports import plots
from reports.plot import svg, table
from reports.plot_subject import Subject, bound_marks
from reports.plots import plots_of, verdict_plot
from tests.expected_plots import EXPECTED
from tests.made_evidence import EVIDENCE, MODEL, TEXT, document, row
from tests.printed_sections import hollow

DRAWN = plots_of(document(), MODEL, TEXT)


@pytest.mark.parametrize(("predicate", "title", "sentence", "series"), EXPECTED, ids=[f"{e[0]}: {e[1]}"[:60] for e in EXPECTED])
def test_a_plot_shows_what_was_measured(predicate, title, sentence, series):
    """Its sentence is the one that the numbers say, and its points are the numbers with their intervals."""
    (plot,) = (plot for plot in DRAWN[predicate] if plot.title == title)
    assert plot.sentence == sentence
    assert {one.name: [as_tuple(point) for point in one.points] for one in plot.series} == series


def as_tuple(point):
    """(x, value), and the limits where there are any."""
    return (point.x, point.y) if point.low is None else (point.x, point.y, point.low, point.high)


def test_every_plot_is_expected_somewhere():
    """No plot is drawn of the small report that the table above does not know, and everything that draws does."""
    assert {plot.title for shown in DRAWN.values() for plot in shown} == {title for _, title, _, _ in EXPECTED}
    subject = Subject(document(), MODEL, TEXT)
    every = [(draws, predicates) for draws, predicates in plots._PLOTS if (draws, predicates) not in plots._OF_METHODS[2:]]
    for draws, predicates in every:
        drawn = draws(subject)
        assert any(drawn if isinstance(drawn, list) else [drawn]), predicates
    assert {name for _, predicates in plots._PLOTS for name in predicates} <= {predicate.name for _, predicate in all_predicates()}


def test_names_are_unique_and_tell_models_and_texts_apart():
    """A page may show plots of all predicates, models and texts: no two share an id."""
    names = [plot.name for shown in DRAWN.values() for plot in shown]
    assert len(set(names)) == len(names)
    assert all(MODEL in name.split() and TEXT in name.split() for name in names)


def test_nothing_is_drawn_without_a_measurement():
    """A predicate that did not run has no plot, though another's evidence would draw it."""
    rows = [row("r2_guides", "strict"), row("late_is_cheap", "strict", verdict=Verdict.UNTESTED)]
    assert set(plots_of(document(of=rows), MODEL, TEXT)) == {"r2_guides"}
    assert plots_of(document(), MODEL, "another text") == {}


def test_evidence_of_rungs_and_methods_of_another_version_is_shown_by_name():
    """An unknown rung comes after the known ones, an unknown method by the label that came with it."""
    evidence = {
        "downstream/stricter": {"variants": {"new": {"perplexity": 5, "label": "their own"}}},
        "downstream/strict": {"variants": {"direct": {"perplexity": 9}}},
    }
    (plot,) = plots_of(document(evidence, [row("downstream", "strict")]), MODEL, TEXT)["downstream"]
    assert [one.name for one in plot.series] == ["strict", "stricter"]
    assert plot.x.names == ("direct INT4", "their own")


def test_intervals_stand_against_the_bounds_of_the_file():
    """One mark a bound; where rungs differ, its rung; a cell without a figure is said; without any bound there is no plot."""
    at = {"value": 2.0, "low": 1.5, "high": 3.0, "unit": "ratio"}
    paper = row("p", "paper", bound=Bound(2.0, 1.1), verdict=Verdict.INCONCLUSIVE, reason="in doubt, so not judged", **at)
    strict = row("p", "strict", bound=Bound(2.0, 1.0), verdict=Verdict.INCONCLUSIVE, reason="no figure")
    plot = verdict_plot([strict, paper])
    assert [(mark.axis, mark.at, mark.label) for mark in plot.marks] == [
        ("y", 2.0, "holds ≥ 2"),
        ("y", 1.1, "falsified ≤ 1.1 (paper)"),
        ("y", 1.0, "falsified ≤ 1 (strict)"),
    ]
    told = "INCONCLUSIVE (holds at ≥ 2, falsified at ≤ 1.1; in doubt, so not judged)"
    assert plot.sentence == f"On paper, 2.00 [1.50, 3.00]: {told}. On strict there is no figure."
    assert plot.x.names == ("paper",)
    assert verdict_plot([strict]) is None
    assert verdict_plot([row("p", "paper", **at)]) is None


@pytest.mark.parametrize(
    ("bound", "labels"),
    [
        (Bound(1.0, 1.0, open_holds=True), ["holds > 1, falsified ≤ 1"]),
        (Bound(0.1, 0.2, "at_most"), ["holds ≤ 0.1", "falsified ≥ 0.2"]),
        (Bound((0.25, 0.35), (0.2, 0.4), "inside"), ["holds from 0.25", "falsified below 0.2", "holds to 0.35", "falsified above 0.4"]),
    ],
)
def test_bounds_are_marks(bound, labels):
    """Each side once, in words; both in one where they are one number."""
    assert [mark.label for mark in bound_marks(bound)] == labels


def test_a_wide_spread_stands_on_a_logarithmic_axis_unless_something_is_not_above_zero():
    """Ratios from 1 to a million would be two heaps on a linear axis."""
    near, far = (row("p", rung, value=v, low=v, high=v, bound=Bound(1.0, 1.0)) for rung, v in (("paper", 1.5), ("strict", 2e6)))
    assert verdict_plot([near, far]).y.log
    assert not verdict_plot([near]).y.log
    assert not verdict_plot([row("p", "paper", value=-1.0, low=-1.0, high=0.0, bound=Bound(1.0, 1.0)), far]).y.log


def twisted(value: Any, random: Random) -> Any:
    """Return the same evidence with some parts of a wrong type, hostile, too short or beyond any axis."""
    if random.random() < 0.08:
        return random.choice([None, "</title><script>", [], {}, [[1], {"x": 2}], True, 10**400, -1e308, 5e-324, {"0": [None]}, -3])
    if isinstance(value, dict):
        return {name if random.random() < 0.97 else "<b>\x1b&": twisted(part, random) for name, part in value.items()}
    if isinstance(value, list):
        return [twisted(part, random) for part in value][: len(value) - (random.random() < 0.1)]
    return value


@pytest.mark.parametrize("spoil", [hollow, twisted])
def test_whatever_evidence_is_like_plots_are_well_formed(spoil):
    """With nulls anywhere, or wrong types, short lists and hostile names, what can be drawn is, and nothing raises."""

    @given(st.randoms(use_true_random=False))
    @settings(max_examples=25, deadline=None)
    def whatever(random: Random) -> None:
        for shown in plots_of(document(spoil(EVIDENCE, random)), MODEL, TEXT).values():
            for plot in shown:
                assert ElementTree.fromstring(svg(plot)).tag.endswith("svg")
                assert ElementTree.fromstring(table(plot)).tag == "table"
                assert "nan" not in plot.sentence.split()
                assert "None" not in plot.sentence
                assert plot.sentence

    whatever()
