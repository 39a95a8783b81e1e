"""What is printed below the tables for claim 3 and the codebooks: every number in its place, and nothing where nothing is known."""

from __future__ import annotations

from typing import Any

from claims.wall import WALL
from harness.methods import CHALLENGERS, CODEBOOKS
from harness.methods import WALL as METHODS
from reports.evidence import _METHODS
from reports.method_names import METHOD_NAMES
from reports.wall_evidence import _STEPS
from tests.printed_sections import NARROW, dashes, fits, printed, says, section, sentences


def ratio(value: float, low: float, high: float, below: int, weight: float, bits: tuple[float, float]) -> dict[str, Any]:
    """What is handed over of a method at one scale."""
    spread = {"least": 0.91, "most": 27.5, "below": below, "layers": 210, "weight_below": 0}
    return {"output": [value, low, high], "weight": weight, "bits": list(bits), **spread}


DCT = {
    "own": ratio(2.81, 2.75, 2.87, 3, 1.52, (4.0, 4.0)),
    "grouped": ratio(1.25, 1.21, 1.29, 0, 1.33, (4.25, 4.25)),
    "by_block": {"0": 0.9, "1": 1.4, "2": 2.5, "3": 101.0},
}
EVERY, ALL = "Every layer stored", "All linear layers of all blocks"
EVIDENCE: dict[str, Any] = {
    "wall_dct/paper": {"methods": {"dct": DCT}},
    "wall_dct/typical": {"methods": {"dct": DCT}},
    "challenger_gptq_factors/strict": {
        "methods": {
            "gptq_factors": {"own": ratio(7.5, 7.1, 7.9, 0, 4.4, (4.06, 4.06)), "by_block": {"0": 7.0}},
            "gptq": {"own": ratio(0.62, 0.6, 0.64, 210, 1.21, (4.06, 4.06)), "by_block": {"0": 0.6}},
        }
    },
    "challenger_rotation/strict": {
        "methods": {"mine": {"label": "a name that is far too long for a table", "own": ratio(1.0, 1.0, 1.0, 0, 1.0, (4.0, 4.0))}}
    },
    "cross_terms/paper": {"parts": {"truncation": 0.71, "cross": 1.31, "product": 0.021, "total": 2.04}, "grouped": 1.17},
    "downstream/paper": {
        "baseline": 36.1,
        "variants": {
            "direct": {"bits": 4.06, "perplexity": 72.2, "low": 70.0, "high": 75.0, "kl": 0.693},
            "pca": {"bits": 13.7, "perplexity": 1.5e6, "low": 1.2e6, "high": 1.9e6, "kl": 10.6},
        },
    },
    "kmeans_gain/paper": {"methods": {"kmeans": {"own": ratio(0.5, 0.4, 0.8, 0, 0.25, (4.0, 4.0))}}},
    "nf4_gain/strict": {
        "methods": {
            "nf4": {"grouped": ratio(0.8, 0.75, 1.0, 0, 0.9, (4.25, 4.5))},
            "symmetric": {"grouped": ratio(1.25, 1.2, 1.3, 0, 1.3, (4.25, 4.5))},
        }
    },
    "spectral_gini_excess/paper": {
        "gini": [0.662, 0.6, 0.7],
        "shuffled": [0.637, 0.63, 0.64],
        "excess": [0.025, 0.001, 0.11],
        "energy": [0.75, 0.7, 0.8],
        "energy_shuffled": [0.72, 0.71, 0.73],
    },
    "spectral_gini_excess_embeddings/strict": {
        name: [value, value, value]
        for name, value in (("gini", 0.7), ("shuffled", 0.65), ("excess", 0.05), ("energy", 0.8), ("energy_shuffled", 0.7))
    },
}


@sentences(
    ("the DCT is 2.81 times worse, with 3 exceptions", EVERY, "paper DCT tensor 2.81 [2.75, 2.87] 0.910–27.50 3/210 1.52 4.00/4.00"),
    ("with groups of 128 it is 1.25 times worse", EVERY, "128 1.25 [1.21, 1.29] 0.910–27.50 0/210 1.33 4.25/4.25"),
    ("off the judged rungs groups are not shown", EVERY, "typical DCT tensor 2.81 [2.75, 2.87] 0.910–27.50 3/210 1.52 4.00/4.00"),
    ("GPTQ on factors loses to GPTQ", EVERY, "GPTQ on SVD factors row 7.50 [7.10, 7.90] 0.910–27.50 0/210 4.40 4.06/4.06"),
    ("GPTQ beats direct in all layers", EVERY, "GPTQ row 0.620 [0.600, 0.640] 0.910–27.50 210/210 1.21 4.06/4.06"),
    ("a long label is cut", EVERY, "strict a name that is far too … row 1.00 [1.00, 1.00] 0.910–27.50 0/210 1.00 4.00/4.00"),
    ("block 0 is an exception, block 3 beyond a hundred", "Method × block, paper", "DCT ×▁▃█"),
    ("by GPTQ block 0 loses", "Method × block, strict", "GPTQ ×"),
    ("cross-terms are 1.31 times the direct error", "The error of quantised SVD", "paper 0.710 1.31 0.021 2.04 1.17"),
    ("direct quantisation doubles perplexity", ALL, "direct INT4 4.06 72.20 [70.00, 75.00] 1.00 0.693"),
    ("a million is written short", ALL, "INT8/INT2, PCA basis 13.70 1.5e6 [1.2e6, 1.9e6] 41550 10.60"),
    ("untouched it is 36.1", ALL, "paper untouched 36.10"),
    ("k-means halves the error, of weights to a quarter", "Codebooks", "paper k-means tensor 2.00 [1.25, 2.50] 4.00 4.00/4.00"),
    ("NF4 stores a quarter of a bit less", "Codebooks", "strict NF4 64 weights 1.25 [1.00, 1.33] 1.11 4.25/4.50"),
    ("symmetric levels lose", "Codebooks", "symmetric INT4 64 weights 0.800 [0.769, 0.833] 0.769 4.25/4.50"),
    ("layers are 0.025 more unequal than shuffled", "Concentration of", "layers 0.662 0.637 0.025 0.001 0.110 75.00% 72.00%"),
    ("embeddings by 0.05", "Concentration of", "embeddings 0.700 0.650 0.050 0.050 0.050 80.00% 70.00%"),
)  # fmt: skip
def test_a_reader_can_say_it(sentence, heading, line):
    """Each sentence is a line of the section that its heading opens, word for word."""
    found = section(EVIDENCE, heading)
    assert found[0].startswith(heading)
    says(found, line, sentence)


def test_shades_are_explained_and_in_order():
    """The legend names every step; a greater ratio never has a lower shade."""
    rising = {str(i): step * 1.001 for i, step in enumerate((1.0, *_STEPS))}
    lines = printed({"wall_svd/strict": {"methods": {"svd": {"by_block": rising}}}})
    assert any("▁▂▃▄▅▆▇█" in line for line in lines)
    assert all(f"to {step:g}" in " ".join(lines) for step in _STEPS)


def test_nulls_anywhere_are_dashes():
    """Whatever is null, the rest is printed, within the width, and no null shows as such."""
    dashes(EVIDENCE)


def test_no_line_is_wider_than_the_page():
    """At 110 columns nothing is cut by the table itself."""
    fits(printed(EVIDENCE), NARROW, but="a name that is far too")


def test_every_method_has_a_name_and_a_section():
    """All methods of the arena are labelled, and every predicate that hands them over is shown."""
    assert set(METHOD_NAMES) == {"direct", *METHODS, *CODEBOOKS, *CHALLENGERS}
    assert set(_METHODS) == {*(f"wall_{name}" for name in WALL), "challenger_rotation", "challenger_hadamard", "challenger_gptq_factors"}
    assert tuple(METHODS) == WALL
