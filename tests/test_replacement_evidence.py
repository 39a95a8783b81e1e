"""What is printed below the tables for claims 2 and 4: every number in its place, sentences that a reader can say, nothing twice."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

from claims.replacement import _NAMES
from reports.replacement_evidence import _RUN
from reports.sections import LogScale, as_short
from tests.printed_sections import both_widths, dashes, fits, in_order, printed, running, says, section, sentences, silent, tells, words

B = 4
CURVE = {
    "baseline": 25.0901,
    "added": [4210.5, 1.5, -0.0123, 0.0456],
    "kl": [10.0, 0.1, 0.01, 0.001],
    "r2": [0.1234, 0.5, 0.75, 0.998],
    "compression": [14.25, 15.5, 13.0, 10.6667],
    "active": [14.25, 15.5, 13.0, 10.6667],
}
STRICT = CURVE | {
    "r2": [0.31, 0.61, 0.81, 0.91],
    "kl": [1.0, 1.0, 1.0, 1.0],
    "control_windows": 4,
    "cost_map": [5.1, 0.2, 0.04, 0.05],
    "cost_skipped": [7.2, 0.1, 0.03, 0.06],
    "cost_mean": [5.2, 0.3, 0.05, 0.07],
}
LAST = {"blocks": [25, 26, 27, 28, 29], "perplexity": dict(zip(_RUN, (95.1, 49.8, 60.2, 120.4, 90.6), strict=True))} | {
    "refitted_r2": [0.912, 0.823, 0.734, 0.645, -0.556]
}
MIDDLE = LAST | {"blocks": [15, 16, 17, 18, 19], "perplexity": dict(zip(_RUN, (33.3, 31.1, 32.2, 5130.0, 44.4), strict=True))}
EVIDENCE: dict[str, Any] = {
    "single_replacement/paper": {
        "block": 29,
        "baseline": 25.0901,
        "perplexity": {"last": 28.2264, "other": 27.9, "last skipped": 60.25, "last mean": 44.125},
        "kl": {"last": 0.123, "other": 0.0912, "last skipped": 0.81, "last mean": 0.52},
        "map": "its map of rank 214 of 576",
        "other": "a map of full rank",
    },
    "compression/paper": {"total": 3540096, "active": 3540096, "map": 246528, "other": 331776},
    "multi_replacement/paper": {"baseline": 25.0901, "runs": {"last": LAST, "middle": MIDDLE}},
    "shift_excess/strict": {"free": 1.33, "forced": 0.69, "alone": [0.1, 0.09, 0.08, 0.07, 0.12], "blocks": [25, 26, 27, 28, 29]},
    "r2_lost/held-out": {
        "curves": {
            "29": {"clean": 0.9, "shifted": [0.88, 0.8, 0.7, 0.6, -0.5], "moved": [0.0123, 0.034, 0.056, 0.12, 1.25]},
            "19": {"clean": 0.7, "shifted": [0.69, 0.68, 0.67, 0.66, 0.65], "moved": [0.01, 0.02, 0.03, 0.04, 0.05]},
        }
    },
    "r2_guides/paper": CURVE,
    "late_is_cheap/strict": STRICT,
}


@sentences(
    ("untouched, perplexity is 25", "The last block (29)", "paper the block itself 25.09 3,540,096"),
    (
        "its map, of a fourteenth of the parameters, costs 12.5%",
        "The last block (29)",
        "its map of rank 214 of 576 28.23 0.125 0.123 246,528 14.36",
    ),
    ("full rank costs a little less, and more parameters", "The last block (29)", "a map of full rank 27.90 0.112 0.091 331,776 10.67"),
    ("leaving the block out more than doubles perplexity", "The last block (29)", "nothing: skipped 60.25 1.40 0.810"),
    ("its mean output does better than nothing", "The last block (29)", "its mean output 44.12 0.759 0.520"),
    (
        "the last five maps quadruple perplexity, half of that at true inputs; refitting gets some of it back",
        "replaced together",
        "25–29 paper 25.09 95.10 49.80 60.20 120.4 90.60 0.912 0.823 0.734 0.645 −0.556",
    ),
    (
        "after mid, five maps cost less",
        "replaced together",
        "15–19 paper 25.09 33.30 31.10 32.20 5130 44.40 0.912 0.823 0.734 0.645 −0.556",
    ),
    (
        "each alone adds up to 0.46 nats, together 0.69, and the shift doubles it",
        "one by one and together",
        "strict 0.100 0.090 0.080 0.070 0.120 0.460 0.230 0.690 0.640 1.330",
    ),
    (
        "R² falls from 0.9 to below zero over five blocks, when the stream has moved further than it varies",
        "when the j blocks before",
        "29 held-out 0.900 0.880 0.800 0.700 0.600 −0.500 0.012 0.034 0.056 0.120 1.25",
    ),
    (
        "after mid it hardly falls",
        "when the j blocks before",
        "19 held-out 0.700 0.690 0.680 0.670 0.660 0.650 0.010 0.020 0.030 0.040 0.050",
    ),
    (
        "the first block cannot be replaced by its map, and is better left there than skipped",
        "Every block",
        "0 0.123 0.310 4210 4210 10.00 1.00 14.25 14.25 5.10 7.20 5.20",
    ),
    (
        "replacing block 2 lowers perplexity, and skipping it costs less than the map",
        "Every block",
        "2 0.750 0.810 −0.012 −0.012 0.010 1.00 13.00 13.00 0.040 0.030 0.050",
    ),
)
def test_a_reader_can_say_a_sentence_from_one_line(sentence, heading, line):
    """Its numbers stand on one line of the section."""
    says(section(EVIDENCE, heading), line, sentence)


def test_headings_and_legends_say_what_is_shown():
    """Units, baselines, windows, which text, and what the columns are, in the words of the predicates where they judge one."""
    text = running(printed(EVIDENCE))
    tells(
        text,
        "over untouched: ΔPPL/PPL, by the first map of a rung the figure of single_replacement.",
        "positions that are not typical stay as they were",
        "rung alone: 25 26 27 28 29 sum + together = true inputs + shift = free",
        "blocks rung untouched maps true inputs refitted skipped mean R² of refitted maps",
        "their R² is held out",
        "so that the true blocks above read its error",
        "shift: what it costs that the maps' inputs have moved, below zero what it saves.",
        "block rung R²: j = 0 1 2 3 4 5 moved: 1 2 3 4 5",
        "moved: mean ‖h̃ − h‖² over the variance of h",
        "R² ΔPPL KL compr. ΔNLL block p s p s p s p s map skipped mean",
        "p paper, s strict. R²: of the map (on paper in sample, on strict about the mean).",
        "ΔPPL: over the untouched paper 25.09, strict 25.09.",
        "nats per position on 4 windows of strict, the same for the map, skipping and the mean output",
        "there the map costs less than skipping in 2 of 4 blocks, less than the mean output in 4 of 4 blocks.",
    )
    assert "a token uses" not in text  # All parameters are active.


def test_sections_stand_in_the_order_of_the_claims():
    """Claim 2 before claim 4; each heading once."""
    headings = (
        "The last block",
        "Blocks replaced together",
        "What maps cost",
        "R² of a block's map",
        "Every block replaced",
        "KL over depth",
    )
    in_order(EVIDENCE, *headings)
    assert all(section(EVIDENCE, heading)[0].startswith(heading) for heading in headings)


@pytest.mark.parametrize("ran", [["r2_guides"], ["late_is_cheap"], ["r2_guides", "late_is_cheap"]])
def test_two_predicates_with_one_curve_print_it_once(ran):
    """From whichever ran, on whatever rungs."""
    lines = printed({f"{name}/strict": STRICT for name in ran})
    assert [words(line) for line in lines if line.startswith("    3 ")] == [words("3 0.910 0.046 1.00 10.67 0.050 0.060 0.070")]
    assert sum("alone" in line for line in lines) == 1


def test_parameters_that_a_token_does_not_use_are_told_apart():
    """Of a mixture of experts, a token uses some: compression by both counts."""
    found = section({"compression/strict": {"total": 4000, "active": 1500, "map": 100, "other": 50}}, "The last block")
    assert [words(line)[-2:] for line in found[2:5]] == [["–", "4,000"], ["100", "40.00"], ["50", "80.00"]]
    assert "Of the block's parameters a token uses: strict 1,500, 15.00 times the first map's." in " ".join(found)
    curves = section({"r2_guides/strict": {"compression": [40.0], "active": [15.0]}}, "Every block")
    assert [words(line) for line in curves[1:4]] == [["compr.", "active"], ["block", "s", "s"], ["0", "40.00", "15.00"]]
    assert "active: those that a token uses" in " ".join(curves)


def test_letters_stand_at_their_decade_over_depth():
    """KL of paper falls by decades from 10, and strict stays at 1: every letter on the line of its label, its rungs side by side."""
    lines = section(EVIDENCE, "KL over depth")[1:]
    by_label = {line.split()[0]: line[5:] for line in lines if not line.startswith("   ·")}
    assert [by_label["10"].find("p"), by_label["10⁻¹"].find("p"), by_label["10⁻²"].find("p"), by_label["10⁻³"].find("p")] == [0, 2, 4, 6]
    assert by_label["1"] == " s s s s"
    assert lines[-1].split() == ["0"]
    assert len(lines) == 4 * 3 + 2


def test_many_blocks_share_their_columns():
    """Where rungs do not fit side by side, = is where two meet; where not even blocks fit, nothing is drawn."""
    curves = {"paper": [1.0, 0.1] * 30, "strict": [1.0, 0.5] * 30}
    found = {f"r2_guides/{rung}": {"kl": kl} for rung, kl in curves.items()}
    lines = section(found, "KL over depth")
    assert lines[0].endswith("= where two rungs meet)")
    assert lines[1][5:].strip() == ("= " * 30).strip()
    assert words(lines[-1]) == [str(block) for block in range(0, 60, 5)]
    assert lines[-1].index("55") - lines[-1].index("50") == 5
    assert "KL over depth" not in " ".join(printed({"r2_guides/paper": {"kl": [1.0] * 105}}))


@pytest.mark.parametrize("kl", [[0.0, 0.0], [None, None], [math.nan, math.inf], [-1e-12]])
def test_without_a_logarithm_nothing_is_drawn(kl):
    """Blocks that are their maps cost nothing: the table says so, and there is no plot."""
    lines = printed({"r2_guides/paper": {"kl": kl, "r2": [1.0]}})
    assert "KL over depth" not in " ".join(lines)
    assert words(lines[4])[:2] == ["0", "1.000"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00"),
        (0.0123, "0.012"),
        (0.07, "0.070"),
        (-0.00123, "−0.0012"),
        (1.23e-4, "1.2e−4"),
        (123456.7, "1.2e5"),
        (-2e6, "−2.0e6"),
        (99_999.0, "99999"),
    ],
)
def test_short_numbers(value, text):
    """Two significant digits at least, seven characters at most."""
    assert as_short(value) == text


def test_an_upright_axis_is_the_flat_one_turned():
    """Labels at the same decades; what lies below is <, at the foot."""
    scale = LogScale([{"a": 100.0, "b": 1e-20}], top=2, fewest=1, width=21)
    assert scale.axis == "10⁻⁸··10⁻⁶··10⁻⁴··10⁻²··1···10²"[: len(scale.axis)]
    lines = scale.upright([{"a": 100.0}, {"b": 1e-20}], "x")
    assert (lines[0], lines[-2], lines[-1]) == (" 10² a", "10⁻⁸  <", "     x")


def test_runs_are_named_as_they_are_handed_over():
    """Every way to replace a run has its column."""
    assert set(_RUN) == set(_NAMES.values())


def test_nothing_is_printed_where_nothing_is():
    """Empty evidence, and evidence of nothing that these sections draw."""
    silent(EVIDENCE, {"other things": None}, but="shift_excess")  # Its rung has a line of dashes.


@pytest.mark.parametrize("name", EVIDENCE)
def test_each_section_stands_alone(name):
    """Evidence of one predicate and rung prints that section and no other, without columns of other rungs."""
    lines = printed({name: EVIDENCE[name]})
    assert sum(not line for line in lines) == 1 + ("kl" in EVIDENCE[name] and "r2" in EVIDENCE[name])  # Each heading after an empty line.
    first = {word for line in lines for word in words(line)[:2]} - {"p", "paper"}  # A legend begins with it.
    assert not first & {"paper", "typical", "strict"} - {name.partition("/")[2]}


def test_nulls_anywhere_are_dashes():
    """Whatever is null, the rest is printed, within the width, and no null shows as such."""
    dashes(EVIDENCE)


def test_what_is_not_a_number_is_a_dash():
    """In a run whose evidence has not been through JSON; sums and differences of it too."""
    found = {"free": math.inf, "forced": math.nan, "alone": [0.1, math.inf], "blocks": [8, 9]}
    assert words(section({"shift_excess/paper": found}, "What maps cost")[2]) == ["paper", "0.100", *"–––––––"[:6]]


@both_widths
def test_lines_fit_and_nothing_is_cut(width):
    """On the narrowest console too, with the numbers of a wide model that breaks whenever it is touched."""
    wide = {f"r2_guides/{rung}": copy.deepcopy(STRICT) for rung in ("paper", "typical", "strict")}
    for e in wide.values():
        e |= {"added": [1234567.8] * 32, "kl": [12.345] * 32, "r2": [-123.456] * 32, "compression": [4321.0] * 32, "active": [1234.0] * 32}
        e |= {f"cost_{name}": [-0.00123] * 32 for name in ("map", "skipped", "mean")}
    more = {f"{name}/{rung}": EVIDENCE[f"{name}/paper"] for name in ("single_replacement", "compression") for rung in ("paper", "strict")}
    broken = LAST | {"perplexity": dict.fromkeys(_RUN, 1234567.8), "refitted_r2": [-1.234] * 5}
    more["multi_replacement/typical"] = {"baseline": 12.0, "runs": {"last": broken}}
    more["r2_lost/held-out"] = {"curves": {"119": {"clean": -1.234, "shifted": [-12.345] * 5, "moved": [-0.00123] * 5}}}
    more["shift_excess/typical"] = {"free": -12.345, "forced": -12.345, "alone": [-12.345] * 5, "blocks": [115, 116, 117, 118, 119]}
    lines = printed(wide | more, width=width)
    fits(lines, width)
    assert sum(words(line)[0] == "31" for line in lines if line) in (1, 2)  # In two tables where one is too wide.
