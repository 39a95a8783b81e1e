"""What is printed below the tables for claim 1: every number in its place, sentences that a reader can say, nothing where nothing is."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import pytest

from claims import Verdict
from reports import console as terminal
from reports.ledger import Cell, Ledger, Row
from tests.printed_sections import both_widths, dashes, fits, printed, says, section, sentences, silent, tells, words

D = 16
KL = [0.5, 0.05, 0.005, 0.0005, *[5e-5] * (D - 4)]
VARIANCE = [10.0 ** (1 - i / 5) for i in range(D)]
EVIDENCE: dict[str, Any] = {
    "dimensions_90/paper": {"block": 3, "shares": [0.97, *[0.002] * (D - 1)], "left_out": 0.0},
    "dimensions_90/typical": {"block": 3, "shares": [0.08, 0.075, *[0.0604] * (D - 3), 0.0598], "left_out": 0.0123},
    **{
        f"subspace_overlap/{rung}": {
            "k": 4,
            "width": D,
            "chance": 0.25,
            "self_overlap": 0.91,
            "ridge": {"0.01 λ": 0.054, "1 λ": o, "100 λ": 0.789},
            "weights": 0.144,
            "patterns": 0.78,
            "whitened": 0.669,
            "random": {"weights": [0.02, 0.01, 0.03], "patterns": [0.368, 0.334, 0.428]},
        }
        for rung, o in (("paper", 0.144), ("strict", -0.012))
    },
    "predictive_gain/held-out": {"k": [1, 4], "pca": [0.015, 0.4], "cca": [0.2, 0.44], "rrr": [0.25, 0.5]},
    "projection_ppl_ratio/paper": {
        "blocks": [2, 4],
        "ranks": [1, 5],
        "width": D,
        "baseline": 25.0901,
        "projected": 7479.5,
        "k": [1, 5],
        "perplexity": {"pca": [1918.6, 75.54], "random": [7677.0, 8974.0], "predictive": [2375.3, 202.9]},
    },
    "projection_ppl_ratio/strict": {
        "blocks": [3],
        "ranks": [7],
        "width": D,
        "baseline": 35.35,
        "projected": 40.46,
        "k": [1],
        "perplexity": {"pca": [931.1], "random": [18067.0], "predictive": [1927.5]},
    },
    "variance_ranks_importance/strict": {"rank": list(range(D)), "variance": VARIANCE, "kl": KL},
    "sensitivity_gini/paper": {"rank": list(range(D)), "variance": VARIANCE, "sensitivity": [0.008] * D}
    | {"random": [0.006, 0.01], "norm": 7.4848},
    "logit_change_correlation/paper": {"ablated": 1, "correlation": 0.68, "random": []},
    "logit_change_correlation/strict": {"ablated": 4, "correlation": 0.932, "random": [0.8, 0.7, 0.9]},
}


def dimensions(rung: str, share: int, block: int, value: float | None, verdict: Verdict = Verdict.MEASURED) -> Row:
    """A row of the predicates of dimensions."""
    return Row(Cell("m", "c", 1, f"dimensions_{share}", rung, block), verdict, "PCs", False, value)


ROWS = [
    *(dimensions("paper", share, 0, n) for share, n in ((90, 1.0), (95, 2.0), (99, 133.0))),
    *(dimensions("typical", share, 0, n) for share, n in ((90, 148.0), (95, 223.0), (99, 397.0))),
    *(dimensions(rung, share, 1, None) for rung in ("paper", "typical") for share in (90, 95, 99)),
    dimensions("paper", 90, 2, None, Verdict.UNTESTED),
]


@sentences(
    ("block 0 takes 1 PC for 90% of variance, 148 without massive activations", "How many PCs", "0 1 2 133 148 223 397"),
    ("after block 1 nothing varied", "How many PCs", "1 – – – – – –"),
    ("the top PC holds 97% of variance with sinks and 8% without", "Share of variance", "1 97.00% 97.00% 8.00% 8.00% t a"),
    ("two PCs hold 15.5% of the variance of typical tokens", "Share of variance", "2 0.200% 97.20% 7.50% 15.50% a t"),
    (
        "o is below chance at λ and three times chance at 100 λ; random patterns give 0.368",
        "Overlap o",
        "paper 0.250 0.054 0.144 0.789 0.144 (0.020, 0.010–0.030) 0.780 (0.368, 0.334–0.428) 0.669 0.910",
    ),
    (
        "beyond chance, there is less than nothing on strict",
        "Overlap o",
        "strict 0.250 0.054 −0.012 0.789 0.144 (0.020, 0.010–0.030) 0.780 (0.368, 0.334–0.428) 0.669 0.910",
    ),
    ("one PC predicts too little for a ratio", "Held-out R²", "held-out 1 0.015 0.200 0.250 –"),
    ("4 canonical directions predict 10% more than 4 PCs", "Held-out R²", "4 0.400 0.440 0.500 0.100"),
    ("onto one PC perplexity is 1,919, onto a random direction 7,677", "Perplexity", "paper 1 1919 7677 2375"),
    ("onto 1 and 5 PCs, with 90% of variance, it is 7,480", "Perplexity", "90%: 1, 5 7480"),
    ("on strict, 7 PCs suffice for 40", "Perplexity", "90%: 7 40.46"),
    ("ablating the top PC costs half a nat", "and KL of ablating", "1 1.00e+01 5.00e−01 ="),
    ("the third costs a hundredth of it, and varies 40% as much", "and KL of ablating", "3 3.98e+00 5.00e−03 k v"),
    ("a PC with a thousandth of the variance is as sensitive as the top one", "and sensitivity", "16 1.00e−02 8.00e−03 v s"),
)
def test_a_reader_can_say_a_sentence_from_one_line(sentence, heading, line):
    """Its numbers stand on one line of the section."""
    says(section(EVIDENCE, heading, rows=ROWS), line, sentence)


def test_headings_and_legends_say_what_is_shown():
    """With units, baselines, what chance is, and what the letters mean."""
    text = " ".join(printed(EVIDENCE, ROWS))
    tells(
        text,
        "at mid (the output of block 3)",
        "Of 16 PCs; a all tokens, t typical (without 1.23%: first ones, massive activations), = both; log scale.",
        "k = 4 of d = 16",
        "on strict o is in whitened coordinates and given as (o − k/d)/(1 − k/d), 0 by chance",
        "PCs predict less than 0.02, so that there is no ratio",
        "(untouched: paper 25.09, strict 35.35)",
        "paper: after block 2, 4; strict: after block 3.",
        "KL of ablating them (nats per position), by rank",
        "Spearman's ρ of the two is in the table above.",
        "mean (range): PCs 8.00e−03 (8.00e−03–8.00e−03), random directions 8.00e−03 (6.00e−03–1.00e−02); norm 7.48",
        "strict: 4 PCs 0.932; 3 random subspaces of equal dimension 0.800 (0.700–0.900)",
    )
    assert "paper: 1 PCs" not in text  # Nothing random was ablated there.


def test_letters_stand_at_their_decade():
    """KL falls by a decade a rank, variance by one in five: the letters stand below the labels, or between them."""
    lines = printed(EVIDENCE, ROWS)
    axis = next(i for i, line in enumerate(lines) if line.startswith("strict") and "KL" in line)
    assert lines[axis].endswith("10⁻⁴······10⁻³······10⁻²······10⁻¹······1")
    places = [lines[axis].index(label) for label in ("10⁻¹", "10⁻²", "10⁻³")]
    assert lines[axis + 1].rindex("=") == len(lines[axis]) - 1
    assert [lines[axis + i].index("k") for i in (2, 3, 4)] == places
    assert lines[axis + 6].index("v") == places[0]


def test_an_axis_has_at_most_ten_decades():
    """What lies below stands at its end as <; what has no logarithm is not drawn."""
    found = {"rank": [0, 1, 2], "variance": [1.0, 1e-9, 0.0], "kl": [1.0, 1e-30, -1e-9]}
    lines = printed({"variance_ranks_importance/paper": found})
    axis = next(i for i, line in enumerate(lines) if line.startswith("paper"))
    assert "10⁻¹⁰" in lines[axis]
    assert lines[axis + 2][lines[axis].index("10⁻¹⁰") :] == "<   v"
    assert words(lines[axis + 3]) == ["3", "0.00e+00", "−1.00e−09"]


def test_sixteen_ranks_are_picked_evenly():
    """The first and the last of them included."""
    n = 128
    found = {"rank": [4 * i for i in range(n)], "variance": [1.0] * n, "kl": [0.1] * n}
    lines = [words(line) for line in printed({"variance_ranks_importance/paper": found})]
    ranks = [int(line[0]) - 1 for line in lines if len(line) == 4 and line[0].isdigit()]
    assert len(ranks) == 16
    assert (ranks[0], ranks[-1]) == (0, 508)
    assert {b - a for a, b in itertools.pairwise(ranks)} <= {32, 36}


def test_nothing_is_printed_where_nothing_is():
    """No evidence, empty evidence, cells that did not run, rungs alone."""
    assert printed({}) == []
    assert printed({}, [dimensions("paper", 90, 0, None, Verdict.UNTESTED), dimensions("typical", 90, 0, None)]) == []
    silent(EVIDENCE)
    assert printed({"logit_change_correlation/paper": EVIDENCE["logit_change_correlation/paper"]}) == []


@pytest.mark.parametrize("name", EVIDENCE)
def test_each_section_stands_alone(name):
    """Evidence of one predicate and rung prints that section and no other."""
    lines = printed({name: EVIDENCE[name]})
    assert sum(not line for line in lines) == (name != "logit_change_correlation/paper")  # Every heading follows an empty line.
    assert "t typical" not in " ".join(lines) or "typical" in name


def test_dimensions_of_one_rung_have_no_empty_columns():
    """Only what ran has columns, and lines."""
    assert words(printed({}, ROWS)[-1]) == ["1", *"––––––"]
    lines = printed({}, [row for row in ROWS if row.cell.rung == "typical"])
    assert words(lines[2]) == ["block", "typical", "tokens:", "90%", "95%", "99%"]
    assert words(lines[3]) == ["0", "148", "223", "397"]


def test_nulls_anywhere_are_dashes():
    """Whatever is null, the rest is printed, within the width, and no null shows as such."""
    dashes(EVIDENCE, ROWS)


def test_what_is_not_a_number_is_a_dash():
    """Where a figure could not be had, in a run whose evidence has not been through JSON."""
    lines = printed({"predictive_gain/paper": {"k": [2], "pca": [math.nan], "cca": [0.1], "rrr": [math.inf]}})
    assert words(lines[3]) == ["paper", "2", "–", "0.100", "–", "–"]


@both_widths
def test_lines_fit_and_nothing_is_cut(width):
    """On the narrowest console too, with the numbers of a wide model."""
    wide = copy.deepcopy(EVIDENCE)
    wide["projection_ppl_ratio/paper"] |= {"ranks": [1024, 1100, 1200, 1300, 1400, 1500], "projected": 123456.7}
    wide["variance_ranks_importance/strict"] |= {"variance": [2145785.4 / 10**i for i in range(D)]}
    wide["subspace_overlap/strict"]["ridge"] = dict.fromkeys(("0.01 λ", "1 λ", "100 λ"), -0.012)
    lines = printed(wide, ROWS, width)
    fits(lines, width)


def test_the_terminal_shows_the_evidence_of_its_subject():
    """Below the tables of the model and corpus that it belongs to."""
    ledger = Ledger({("m", "c"): 8, ("m", "d"): 8})
    ledger.add(dimensions("paper", 90, 0, 3.0))
    facts = {"evidence": {"m/d": EVIDENCE}, "bounds": {"sha256": "0" * 64, "locked": True, "amendments": []}}
    text = terminal.render(ledger, facts, width=110, colour=False)
    assert text.count("Held-out R² of the final stream") == 1
    assert text.index("How many PCs hold") < text.index("Held-out R² of the final stream")
