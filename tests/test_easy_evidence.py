"""What is printed below the tables for claim 5: every number in its place, foreign text on safe lines, nothing where nothing is known."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

from reports.unit_scale import unit_axis, unit_line
from tests.printed_sections import both_widths, dashes, fits, in_order, printed, running, says, section, sentences, silent, tells, words

AGREEMENT: dict[str, Any] = {
    "blocks": 30,
    "exits": [14, 21, 25],
    "naive": [0.0512, 0.2, 0.45],
    "trained": {"14": 0.312, "21": 0.41, "25": None},
    "bigram": 0.2,
    "lowest": 0.21,
    "distilled": 0.33,
    "lora": 0.34,
    "half": 0.304,
    "rate": 3e-4,
    "trials": {"0.0001": 7.9, "0.0003": 7.5, "0.001": 7.61},
    "batch": 1,
    "fitted": 127500,
    "perplexity": {"full": 32.41, "head": 150.2},
    "curve": {"steps": [0, 50, 500], "train": [None, 9.125, 5.25], "nll": [10.5, 8.0, 5.012], "agreed": [0.05, 0.12, 0.31]},
    "left_out": 0.0123,
}
SHARE: dict[str, Any] = {
    "blocks": [20, 23, 26, 29],
    "medians": [0.0456, 0.0512, 0.0789, 0.912],
    "share": 0.301,
    "chance": 0.0625,
    "implied": 0.81,
    "observed": 0.792,
    "taus": [0.001, 0.1, 10.0],
    "curve": [0.0, 0.25, 0.99],
    "together_median": 1.23,
    "left_out": 0.0,
}
TOKEN: dict[str, Any] = {
    "window": 3,
    "position": 41,
    "before": "and so he sat on",
    "token": " the",
    "next": " cat",
    "said": " dog",
    "kl": 0.0012,
    "agreed": True,
    "confidence": 0.93,
}
SETS: dict[str, Any] = {
    "odds": 1.52,
    "crude": 4.25,
    "strata": [
        {"low": 0.05, "high": 0.12, "tokens": 1632, "agreed": 0.1, "easy": 0.2, "both": 0.03, "odds": 1.75},
        {"low": 0.12, "high": 1.0, "tokens": 1633, "agreed": 0.5, "easy": 0.6, "both": 0.31, "odds": None},
    ],
    "easiest": [TOKEN, TOKEN | {"token": " of", "agreed": False}],
    "hardest": [TOKEN | {"kl": 12.5, "next": "\n"}],
}
EVIDENCE: dict[str, Any] = {
    "exit_agreement/paper": AGREEMENT | {"left_out": 0.0},
    "exit_agreement/strict": AGREEMENT | {"trained": {"14": 0.222, "21": None, "25": None}},
    "kl_easy_share/paper": SHARE,
    "kl_easy_share/typical": SHARE | {"share": 0.19, "curve": [0.5, 0.25, 1.0], "left_out": 0.02},
    "easy_sets_agree/paper": SETS | {"easiest": [TOKEN | {"before": "not shown"}]},
    "easy_sets_agree/strict": SETS,
}
AGREED, TRAINED, READING_A, READING_B = "Agreement over depth", "How the head", "reading A", "reading B"
SAME, EASIEST, HARDEST = "Do the two criteria", "Tokens of least KL", "Tokens of most KL"


@sentences(
    (
        "at mid a trained head agrees on 31%, untrained on 5%, and a bigram table already on 20%",
        AGREED,
        "paper block 14 0.051 0.312 0.304 0.330 0.340 0.200 0.210 n b0 t",
    ),
    ("on strict the embeddings alone do as well", AGREED, "strict block 14 0.051 0.222 0.304 0.330 0.340 0.200 0.210 n b="),
    ("at block 25 no head was trained, and without training 45% agree", AGREED, "block 25 0.450 – b0 n"),
    (
        "0.0003 was the best of three rates; the head's perplexity is 150, the model's 32",
        TRAINED,
        "paper 127,500 1 0.0003 32.41 150.2 0.0001: 7.90, 0.0003: 7.50, 0.001: 7.61",
    ),
    ("in 450 steps held-out agreement rose from 12 to 31%", TRAINED, "500 5.250 5.250 5.012 5.012 0.310 0.310"),
    ("before the first step there is no training loss", TRAINED, "0 – – 10.500 10.500 0.050 0.050"),
    (
        "30% are easy where chance gives 6% and no model more than 50%; the last block matters most",
        READING_A,
        "paper 0.301 0.062 0.500 0.810 0.792 0.046 0.051 0.079 0.912",
    ),
    ("a quarter of tokens cost up to 0.1 nats", READING_B, "0.1 0.250 0.250 ="),
    ("at ten nats nearly all are easy", READING_B, "10 0.990 1.000 ="),
    ("of unsure tokens both criteria take 3% where 2% would be chance", SAME, "paper 0.050–0.120 1632 0.100 0.200 0.030 0.020 1.75"),
    ("of sure tokens they are hardly related", SAME, "0.120–1.000 1633 0.500 0.600 0.310 0.300 –"),
    ("confidence explains most of the odds ratio of 4.25", SAME, "whatever the confidence 4.25"),
    ("what remains is 1.52", SAME, "at equal confidence 1.52"),
    (
        "after `and so he sat on the` the model says dog, and so does the head",
        EASIEST,
        "0.0012 yes 0.930 3:41 …and so he sat on ⟦ the⟧ said ⟦ dog⟧, text goes on ⟦ cat⟧",
    ),
    ("the head does not say it after of", EASIEST, "0.0012 no 0.930 3:41 …and so he sat on ⟦ of⟧ said ⟦ dog⟧, text goes on ⟦ cat⟧"),
    (
        "a line ends in the text where the model says dog",
        HARDEST,
        r"12.50 yes 0.930 3:41 …and so he sat on ⟦ the⟧ said ⟦ dog⟧, text goes on ⟦\n⟧",
    ),
)
def test_a_reader_can_say_a_sentence_from_one_line(sentence, heading, line):
    """Its numbers stand on one line of the section."""
    says(section(EVIDENCE, heading), line, sentence)


def test_headings_and_legends_say_what_is_shown():
    """Units, baselines, which text, and what readers take for something else: agreement is not being right."""
    tells(
        running(printed(EVIDENCE)),
        "heads that read the output of a block of 30",
        "the full model's top-1 token, whether or not the text goes on with it.",
        "bigram: a table of the model's own most frequent top-1 token after each token, not of the text's next one",
        "embeddings: the same head on what enters block 0. These two see no context.",
        "n naive, t trained, b bigram, 0 embeddings, = where two meet. Left out as not typical: strict 1.23% of positions.",
        "nats per position, of the text's next token",
        "perplexity: of evaluation text, by the full model and by the head alone. p paper, s strict.",
        "Half of the tokens are below each median whatever the model",
        "by chance where they do not, a half at most. ρ: rank correlation between two late blocks' KLs; implied: by the share;",
        "Left out as not typical: typical 2.00% of positions.",
        "Median KL: paper 1.23, typical 1.23.",
        "above 1 the criteria choose alike",
        "(2 of strict)",
        "KL: mean over the late blocks destroyed alone, nats.",
        "said: the full model's top-1 token. Characters that do not print are escaped, as \\n.",
    )


def test_sections_stand_in_the_order_of_the_predicates():
    """Each heading once."""
    in_order(EVIDENCE, AGREED, TRAINED, READING_A, READING_B, SAME, EASIEST, HARDEST)


def test_letters_stand_at_their_share():
    """Below the labels of the axis; two that meet are =, what is no number is nowhere, what is too much stands at the end."""
    places = {label: unit_axis().index(label) for label in ("0·", "0.25", "0.5·", "0.75")}
    for share, label in zip((0.0, 0.25, 0.5, 0.75), places, strict=True):
        assert unit_line({"x": share}).index("x") == places[label]
    assert unit_line({"x": 1.0}).index("x") == len(unit_axis()) - 1
    assert unit_line({"a": 0.5, "b": 0.51, "c": None, "d": math.nan, "e": 7.0}) == f"{'=':>17}{'e':>16}"


def test_nothing_is_printed_where_nothing_is():
    """Empty evidence, and evidence of nothing that these sections draw."""
    silent(EVIDENCE, {"other things": None})


@pytest.mark.parametrize(
    ("name", "headings"),
    [
        ("exit_agreement/strict", 2),
        ("kl_easy_share/typical", 2),
        ("easy_sets_agree/strict", 3),
    ],
)
def test_each_section_stands_alone(name, headings):
    """Evidence of one predicate and rung prints its sections and no other, without other rungs."""
    lines = printed({name: EVIDENCE[name]})
    assert sum(not line for line in lines) == headings
    first = {words(line)[0] for line in lines if line}
    assert not first & {"paper", "typical", "strict"} - {name.partition("/")[2]}


def test_what_one_part_lacks_the_others_do_not():
    """Exits without their number, a bigram table alone, a rung with chance alone."""
    assert words(section({"exit_agreement/paper": {"trained": {"14": 0.3}}}, AGREED)[2])[:5] == ["paper", "block", "14", "–", "0.300"]
    assert words(section({"exit_agreement/paper": {"bigram": 0.2}}, AGREED)[2])[:3] == ["paper", "block", "–"]
    assert words(section({"kl_easy_share/paper": {"chance": 0.125}}, READING_A)[2])[:3] == ["paper", "–", "0.125"]


def test_nulls_anywhere_are_dashes():
    """Whatever is null, the rest is printed, within the width, and no null shows as such."""
    dashes(EVIDENCE)


def test_what_is_not_a_number_is_a_dash():
    """In a run whose evidence has not been through JSON."""
    lines = section({"exit_agreement/paper": AGREEMENT | {"naive": [math.nan] * 3, "bigram": math.inf}}, AGREED)
    assert words(lines[2]) == ["paper", "block", "14", "–", "0.312", "0.304", "0.330", "0.340", "–", "0.210", "0", "t"]


@both_widths
def test_lines_fit_and_nothing_is_cut(width):
    """On the narrowest console too, with all rungs of a deep model whose perplexity breaks."""
    wide = {f"{name.partition('/')[0]}/{rung}": copy.deepcopy(e) for name, e in EVIDENCE.items() for rung in ("paper", "typical", "strict")}
    for name, e in wide.items():
        if name.startswith("exit"):
            e |= {"exits": [139, 159, 179], "fitted": 99_999_999, "batch": 64, "perplexity": {"full": 1e6, "head": 1.5e7}}
            e["curve"] |= {"train": [-123.456] * 3, "nll": [123.456] * 3}
            e["trials"] = dict.fromkeys(e["trials"], 123.456)
        if name.startswith("kl"):
            e |= {"blocks": [160, 166, 173, 179], "medians": [1.2e-5] * 4, "implied": -0.123, "observed": -0.123, "together_median": 1.2e-5}
    lines = printed(wide, width=width)
    fits(lines, width, but="⟦")  # Around what is not ours, text is cut.


def test_heads_of_other_predicates_stand_beside_the_one_at_mid():
    """Whatever long heads were trained for other predicates: on the embeddings, distilled, beside a LoRA, at later exits."""
    whole = section({"exit_agreement/strict": AGREEMENT}, "Agreement over depth")
    mid = {**AGREEMENT, "trained": {"14": 0.312}, "lowest": None, "distilled": None}
    del mid["lowest"], mid["distilled"], mid["lora"]
    parts = {
        "exit_agreement/strict": mid,
        "exit_excess/strict": {"lowest": 0.21},
        "supervision/strict": {"distilled": 0.33},
        "lora_gain/strict": {"lora": 0.34},
        "routing_cost/strict": {"trained": {"14": 0.312, "21": 0.41}},
    }
    assert section(parts, "Agreement over depth") == whole
    assert section({name: parts[name] for name in ("exit_agreement/strict",)}, "Agreement over depth") != whole
    assert any("block 21" in line for line in section({"routing_cost/strict": parts["routing_cost/strict"]}, "Agreement over depth"))
