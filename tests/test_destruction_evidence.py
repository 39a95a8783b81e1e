"""What is printed below the tables of destroyed blocks and the last MLP: every number in its place, and nothing where nothing is known."""

from __future__ import annotations

import math
from typing import Any

import pytest

from claims.declared import all_predicates
from harness.destroyed import PARTS
from reports.destruction_evidence import _PARTS
from reports.evidence import _SECTIONS
from tests.printed_sections import both_widths, dashes, fits, printed, running, says, section, sections, sentences, silent, tells, words

PROFILE: dict[str, Any] = {
    "kl": {
        "both": [10.0, 1.0, 0.25, 0.1, 0.12, 0.25, 0.3, 1.0],
        "attention": [4.7, 0.2, 0.1, 0.05, 0.06, 0.1, 0.1, 0.8],
        "mlp": [1.1, 0.4, 0.15, 0.05, 0.03, 0.15, 0.2, 0.18],
    },
    "added": [1234.5, 12.5, 1.25, 0.5, 0.6, 1.25, 1.5, 5.25],
    "baseline": 25.0901,
    "middle": [2, 6],
    "median": 0.25,
    "left_out": 0.0,
}
STRICT = PROFILE | {
    "kl": {part: [value / 10 for value in values] for part, values in PROFILE["kl"].items()},
    "median": 0.025,
    "left_out": 0.0123,
}
PHASES: dict[str, Any] = {
    "kl": PROFILE["kl"],
    "phases": [
        {"first": 0, "last": 0, "side": "attention"},
        {"first": 1, "last": 1, "side": "mlp"},
        {"first": 2, "last": 6, "side": "neither"},
        {"first": 7, "last": 7, "side": "attention"},
    ],
    "undecided": [4, 6],
}
MLP: dict[str, Any] = {"baseline": 11.32, "skipped": 14.37, "mean": 15.83, "skipped_kl": 0.25, "mean_kl": 0.335}
EVIDENCE: dict[str, Any] = {
    "importance_u_shape/paper": PROFILE,
    "importance_u_shape/strict": STRICT,
    "phase_profile/paper": PHASES,
    "phase_profile/typical": PHASES | {"undecided": []},
    "mlp_skip/paper": MLP,
    "mlp_mean/paper": MLP,
    "mlp_mean/strict": MLP | {"skipped_kl": None},
}
EACH, ENDS, OVER, PHASE, LAST = "Every block destroyed", "Both ends", "KL over depth of destroyed", "Phases", "The last block without"


@sentences(
    (
        "the first block matters forty times as much as the middle, the last four times",
        ENDS,
        "paper 10.00 1.00 0.250 2–6 40.00 4.00 0.00%",
    ),
    ("so do typical tokens say", ENDS, "strict 1.00 0.100 0.025 2–6 40.00 4.00 1.23%"),
    (
        "destroying block 0 costs 10 nats, its attention more than twice its MLP, and perplexity over a thousand",
        EACH,
        "0 10.00 1.00 4.70 0.470 1.10 0.110 att att 1234 1234",
    ),
    ("in block 1 the MLP dominates", EACH, "1 1.00 0.100 0.200 0.020 0.400 0.040 MLP MLP 12.50 12.50"),
    ("in block 2, of the middle, neither part does", EACH, "2│ 0.250 0.025 0.100 0.010 0.150 0.015 · · 1.25 1.25"),
    ("block 4's attention costs just twice its MLP", EACH, "4│ 0.120 0.012 0.060 0.0060 0.030 0.0030 att att 0.600 0.600"),
    ("the middle ends with block 6", EACH, "6│ 0.300 0.030 0.100 0.010 0.200 0.020 MLP MLP 1.50 1.50"),
    ("and does not hold the last one", EACH, "7 1.00 0.100 0.800 0.080 0.180 0.018 att att 5.25 5.25"),
    ("attention dominates block 0", PHASE, "paper 0 attention 4.70 1.10"),
    ("nothing dominates blocks 2 to 6", PHASE, "2–6 neither 0.050–0.100 0.030–0.200"),
    ("the last block is attention again", PHASE, "7 attention 0.800 0.180"),
    ("without the last MLP perplexity rises by 3", LAST, "skipped 14.37 3.05 0.250"),
    ("its mean output costs more than nothing in its place", LAST, "its mean output 15.83 4.51 0.335"),
    ("untouched it is 11.3", LAST, "paper untouched 11.32"),
)
def test_a_reader_can_say_a_sentence_from_one_line(sentence, heading, line):
    """Its numbers stand on one line of the section."""
    found = section(EVIDENCE, heading)
    assert found[0].startswith(heading)
    says(found, line, sentence)


def test_headings_and_legends_say_what_is_shown():
    """Units, baselines, what is destroyed, and which blocks are the middle."""
    tells(
        running(printed(EVIDENCE)),
        "KL: both attention MLP 2× the other ΔPPL: both block p s p s p s p s p s",
        "p paper, s strict. destroyed: weight matrices stored in four values a row (INT2), of the block, its attention or its MLP.",
        "KL: from the clean model, nats per position. 2× the other: att or MLP where its KL is at least 2 times the other's.",
        "ΔPPL: over the untouched paper 25.09, strict 25.09. │ the middle.",
        "The lesser of both ratios is the figure of importance_u_shape.",
        "KL over depth of destroyed blocks, paper (nats per position, log scale)",
        "KL over depth of destroyed blocks, strict (nats per position, log scale)",
        "b both, a attention, m MLP. ─ the middle, whose median both ends are compared with.",
        "For GPT-2 (12 blocks) the paper names four phases: context building (block 0, attention), feature construction (2–4, MLP), "
        "refinement (5–9), prediction assembly (11, attention).",
        "Undecided, as the interval of the ratio reaches across the limit: paper 4, 6.",
        "ΔPPL: over untouched. KL: from the clean model, nats per position. mean output: over calibration text.",
    )


def test_sections_stand_with_their_claims():
    """Destroyed blocks after claim 4's replaced ones, claim 5 after them, phases and MLP at the end; every predicate is one."""
    order = [predicates[0] for _, *predicates in _SECTIONS]
    assert order.index("r2_guides") < order.index("importance_u_shape") < order.index("exit_agreement") < order.index("kl_easy_share")
    assert order.index("easy_sets_agree") < order.index("routing_cost") < order.index("phase_profile") < order.index("mlp_skip")
    assert {predicate for _, *predicates in _SECTIONS for predicate in predicates} <= {predicate.name for _, predicate in all_predicates()}
    assert tuple(_PARTS) == PARTS


def test_a_profile_is_printed_once():
    """Above for rungs that claim 4 measured, with the phases for those it did not."""
    lines = printed(EVIDENCE)
    assert sum(line.startswith(EACH) for line in lines) == 2  # Paper and strict; typical.
    alone = sections({"phase_profile/typical": PHASES, "importance_u_shape/paper": PROFILE}, EACH)
    assert [words(found[2])[1:4] for found in alone] == [["p"] * 3, ["t"] * 3]
    assert len(sections({"phase_profile/paper": PHASES, "importance_u_shape/paper": PROFILE}, EACH)) == 1
    assert len(sections({"phase_profile/paper": PHASES, "importance_u_shape/paper": {"median": 1.0}}, EACH)) == 1


def test_letters_stand_at_their_decade_over_depth():
    """KL falls from 10 in block 0 to 0.1 in block 3: three letters a block, and the middle underlined."""
    first, *lines, _ = section(EVIDENCE, OVER)
    assert first.startswith(OVER)
    assert lines[-1].split() == ["0", "5"]
    start = lines[-1].index("0")
    by_label = {words(line)[0]: line[start:] for line in lines[:-2] if not line.startswith("   ·")}
    assert by_label["10"].index("b") == 0
    assert [i for i, letter in enumerate(by_label["1"]) if letter == "b"] == [3, 21]
    assert by_label["10⁻¹"].index("b") == 9
    assert [i for i, letter in enumerate(by_label["10⁻¹"]) if letter == "a"] == [7, 16, 19]
    assert lines[-2][start:] == " " * 6 + "─" * 15
    assert lines[-1].index("5") == start + 15


def test_many_blocks_share_their_columns():
    """Where parts do not fit side by side, = is where two meet; where not even blocks fit, nothing is drawn."""
    kl = {"both": [1.0, 0.1] * 20, "attention": [1.0, 0.5] * 20, "mlp": [0.01] * 40}
    found = section({"importance_u_shape/paper": {"kl": kl, "middle": [10, 30]}}, OVER)
    assert found[1][5:].strip() == ("= " * 20).strip()
    assert found[-3].endswith("─" * 21)
    assert words(found[-2]) == [str(block) for block in range(0, 40, 5)]
    assert "= where two meet" in found[-1]
    assert sections({"importance_u_shape/paper": {"kl": {"both": [1.0] * 105}}}, OVER) == []


@pytest.mark.parametrize("kl", [[0.0, 0.0], [-1e-12, 0.0]])
def test_without_a_logarithm_nothing_is_drawn(kl):
    """Blocks that destroying does not change cost nothing: the table says so, and there is no plot."""
    found = {"importance_u_shape/paper": {"kl": {"both": kl, "attention": kl, "mlp": kl}}}
    assert sections(found, OVER) == []
    assert words(section(found, EACH)[4])[-1] == "·"


def test_two_predicates_with_one_mlp_print_it_once():
    """From whichever ran, rung by rung."""
    lines = section(EVIDENCE, LAST)
    assert [words(line)[0] for line in lines[2:8]] == ["paper", "skipped", "its", "strict", "skipped", "its"]
    assert words(lines[6]) == ["skipped", "14.37", "3.05", "–"]
    assert [words(line)[0] for line in section({"mlp_mean/typical": MLP}, LAST)[2:5]] == ["typical", "skipped", "its"]


def test_nothing_is_printed_where_nothing_is():
    """Empty evidence, and evidence of nothing that these sections draw."""
    silent(
        EVIDENCE,
        {"other things": None},
        {"kl": {"both": [None], "attention": [], "mlp": None}},
        {"phases": [], "undecided": []},
    )


def test_nulls_anywhere_are_dashes():
    """Whatever is null, the rest is printed, within the width, and no null shows as such."""
    dashes(EVIDENCE)


def test_what_is_not_a_number_is_a_dash():
    """In a run whose evidence has not been through JSON; a side that was not destroyed dominates nothing."""
    kl = {"both": [1.0, math.inf], "attention": [math.nan, 0.5, 0.5], "mlp": [0.1, math.inf, 0.1]}
    lines = section({"importance_u_shape/paper": {"kl": kl, "added": [math.nan, 1.0]}}, EACH)
    assert [words(line) for line in lines[3:6]] == [
        ["0", "1.00", "–", "0.100", "–", "–"],
        ["1", "–", "0.500", "–", "–", "1.00"],
        ["2", "–", "0.500", "0.100", "att", "–"],
    ]
    assert "middle" not in " ".join(lines)


@both_widths
def test_lines_fit_and_nothing_is_cut(width):
    """On the narrowest console too, with all rungs of a deep model that breaks whenever it is touched."""
    broken = {"both": [12.345] * 40, "attention": [1.2e-5] * 40, "mlp": [-1.2e-5] * 40}
    deep = {"kl": broken, "added": [1.2e7] * 40, "baseline": 12.3, "middle": [10, 30], "median": 1.2e-5, "left_out": 0.123}
    run = {"phases": [{"first": 10, "last": 39, "side": "attention"}] * 3, "undecided": list(range(40))}
    found = {f"{name}/{rung}": deep | run for name in ("importance_u_shape", "phase_profile") for rung in ("paper", "typical", "strict")}
    found |= {f"mlp_skip/{rung}": dict.fromkeys(MLP, 1.234e7) for rung in ("paper", "typical", "strict")}
    lines = printed(found, width=width)
    fits(lines, width)
    assert sum(line.startswith(EACH) for line in lines) == 1
    assert sum(words(line)[0] == "39" for line in lines if line) in (1, 2)  # In two tables where one is too wide.
