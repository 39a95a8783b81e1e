"""What is printed below the tables of early exit: what it costs and saves, beside chance, and whether confidence is what it says."""

from __future__ import annotations

from typing import Any

from tests.printed_sections import both_widths, dashes, fits, printed, running, says, section, sentences, silent, tells, words

BINS = [
    {"low": 0.0, "high": 0.1, "tokens": 0, "confidence": None, "right": None},
    {"low": 0.1, "high": 0.2, "tokens": 731, "confidence": 0.153, "right": 0.12},
    {"low": 0.9, "high": 1.0, "tokens": 4020, "confidence": 1.0, "right": 0.875},
]
ROUTING: dict[str, Any] = {
    "exits": [14, 21, 25],
    "baseline": 10.0,
    "rows": [
        {"threshold": 0.95, "perplexity": 12.5, "random": 25.0, "saved": 0.06, "saved_with_heads": -0.2, "shares": [0.05, 0.03, 0.02, 0.9]},
        {"threshold": 0.5, "perplexity": 100.0, "random": 1e5, "saved": 0.27, "saved_with_heads": 0.02, "shares": [0.3, 0.2, 0.1, 0.4]},
    ],
    "calibration": {"14": {"error": 0.045, "bins": BINS}, "21": {"error": 0.031, "bins": []}},
}
EVIDENCE: dict[str, Any] = {
    "routing_cost/paper": {"calibration": {"14": {"error": 0.2, "bins": BINS[:2]}}},
    "routing_cost/strict": ROUTING,
}
EXIT, SAVED, CALIBRATED, RELIABLE = "Early exit", "Perplexity over the compute", "Are heads as often", "Reliability"


@sentences(
    (
        "to save 6% costs a quarter of perplexity, at random six times that, and heads cost more than they save",
        EXIT,
        "0.95 12.50 0.250 25.00 1.50 6.00% −20.00% 5.00% 3.00% 2.00% 90.00%",
    ),
    ("untouched it is 10", EXIT, "strict untouched 10.00"),
    ("saving 27% by confidence costs a decade, at random four", SAVED, "27.00% c r"),
    ("the head at mid is 4.5 points off, the next 3.1", CALIBRATED, "strict 0.045 0.031"),
    ("where the head is sure it is right in seven of eight cases", RELIABLE, "0.9–1.0 4020 1.000 0.875 r c"),
    ("no token is told with less than 0.1", RELIABLE, "block 14 0.1–0.2 731 0.153 0.120 rc"),
)
def test_a_reader_can_say_a_sentence_from_one_line(sentence, heading, line):
    """Its numbers stand on one line of the section."""
    says(section(EVIDENCE, heading), line, sentence)


def test_headings_and_legends_say_what_is_shown():
    """Baselines, what random is, what saved counts, and that being right is not agreeing."""
    text = running(printed(EVIDENCE))
    tells(
        text,
        "rung confidence perplexity ΔPPL/PPL random ΔPPL/PPL saved with heads leave: 14 21 25 never",
        "ΔPPL/PPL: over untouched. random: as many tokens leave at each exit",
        "saved: of the blocks' operations, counted by parameters that a token uses; with heads: less what the heads themselves cost",
        "u untouched, c by confidence, r at random, = where two meet.",
        "Mean |confidence − share right| over bins of confidence, by tokens.",
        "right: the head's top-1 token is the text's next one, not the full model's.",
        "Reliability of the heads' confidence (strict)",
        "r left of c is too much confidence.",
    )
    assert "Reliability of the heads' confidence (paper)" not in text  # Of the strictest rung alone.


def test_perplexities_stand_at_their_decade():
    """Of the axis above them, one line a threshold."""
    lines = section(EVIDENCE, SAVED)
    at = {label: lines[1].index(label) for label in ("10·", "10²", "10⁵")}
    assert lines[2].index("u", len("strict")) == at["10·"]
    assert (lines[4].index("c"), lines[4].index("r")) == (at["10²"], at["10⁵"])


def test_thresholds_are_drawn_in_the_order_of_what_they_save():
    """Whatever the order of thresholds; one that saves an unknown share is not drawn."""
    rows = [row | {"saved": saved} for row, saved in zip(ROUTING["rows"] * 2, (0.3, None, 0.1, 0.2), strict=True)]
    lines = section({"routing_cost/paper": ROUTING | {"rows": rows}}, SAVED)
    assert [words(line)[0] for line in lines[3:-1]] == ["10.00%", "20.00%", "30.00%"]


def test_each_part_stands_alone():
    """A curve without heads, heads without a curve, errors without bins; without numbers nothing."""
    only = section({"routing_cost/paper": {"calibration": {"14": {"error": 0.5}}}}, CALIBRATED)
    assert words(only[2]) == ["paper", "0.500"]
    assert RELIABLE not in " ".join(printed({"routing_cost/paper": {"calibration": {"14": {"error": 0.5}}}}))
    lines = printed({"routing_cost/paper": {"rows": [{"threshold": 0.95, "saved": 0.004}]}})
    assert words(lines[4]) == ["0.95", "–", "–", "–", "–", "0.400%", "–", "–"]
    assert SAVED not in " ".join(lines)
    silent(EVIDENCE, {"rows": [], "calibration": {}}, {"rows": [None, {}], "calibration": {"14": None, "21": {"bins": []}}})


def test_nulls_anywhere_are_dashes():
    """Whatever is null, the rest is printed, within the width, and no null shows as such."""
    dashes(EVIDENCE)


@both_widths
def test_lines_fit_and_nothing_is_cut(width):
    """On the narrowest console too, with all rungs of a deep model whose perplexity breaks."""
    rows = [row | {"perplexity": 1.2e7, "random": 3.4e7, "saved_with_heads": -1.2345} for row in ROUTING["rows"]]
    calibration = {str(at): {"error": 0.12345, "bins": [*BINS[:2], BINS[2] | {"tokens": 99_999_999}]} for at in (139, 159, 179)}
    wide = {"exits": [139, 159, 179], "baseline": 12.345, "rows": rows, "calibration": calibration}
    lines = printed({f"routing_cost/{rung}": wide for rung in ("paper", "typical", "strict")}, width=width)
    fits(lines, width)
