"""The paper's figures as data: each is one that the paper has, of a kind whose tolerance is known, and its counterpart is declared."""

from __future__ import annotations

import pytest

from claims.declared import all_predicates
from claims.published import COMPARED, PUBLISHED, figures_of
from claims.published import MODELS as OF_THE_PAPER
from claims.published_figure import KINDS, RUNG, Difference, InProtocol, InRow, Kind, Published, SumOfFirst, predicates_of
from fixtures import MODELS, Hub
from harness.protocol import Protocol
from reports.ledger import claim_of
from tests.altered_reports import edges

PREDICATES = {predicate.name: predicate for _, predicate in all_predicates()}
DEPTH = {name: MODELS[name].n_blocks for name in OF_THE_PAPER}
BOTH, LONGER = "gpt2+mistral", "mistral+llama-3.2-3b+tinyllama"
AGAIN = {
    "set-up": f"gpt2 12; gpt2 768; mistral 32; mistral 4096; gpt2 124e6; mistral 7.24e9; {BOTH} 32; {BOTH} 256; {BOTH} 8192; {BOTH} 16; "
    f"{BOTH} 46; {BOTH} 500",
    "Eq. 2": f"{BOTH} 0.95",
    "§4.1": f"gpt2 2; mistral 0.04; mistral 128; mistral 0.96; {BOTH} 0.23",
    "§4.1, Table 1": "gpt2 3,441; gpt2 524; gpt2 145; gpt2 47; gpt2 0.95; gpt2 0.99; gpt2 0.999",
    "reviews": f"{BOTH} 0.2",
    "§4.2, Table 2, row 0": "gpt2 0.949; mistral 0.168",
    "§4.2, Table 2, row 5": "gpt2 0.950; mistral 0.452",
    "§4.2, Table 2, row 15": "gpt2 0.948; mistral 0.580",
    "§4.2, Table 2, row 25": "gpt2 0.948; mistral 0.638",
    "§4.2, Table 2, row 31": "gpt2 0.950; mistral 0.930",
    "abstract": "gpt2 0.95",
    "§4.2": "gpt2 0.94; mistral 773; mistral 6.3e6; mistral 218e6; mistral 34; mistral 1.71; mistral 11.32; "
    f"gpt2 0.94; gpt2 0.60; mistral 0.94; mistral 0.60; {BOTH} 5; {BOTH} 151",
    "§4.3, Table 3": "gpt2 16; gpt2 256; gpt2 4; gpt2 0.000679; gpt2 0.001935; gpt2 0.001359; gpt2 0.016882; gpt2 1; gpt2 2.8; gpt2 2.0; "
    "gpt2 384; gpt2 24.8",
    "§5.5": f"{BOTH} 20–21 ×2",
    "§4.3, Eq. 4": "gpt2 1",
    "§4.4": "mistral 0.17; mistral 0.93; gpt2 4; gpt2 3–4.5 ×3; gpt2 0.5–1.0 ×4; gpt2 0.23–0.27 ×4; gpt2 1.1",
    "§4.5": f"mistral 0.302; mistral 0.30; mistral 0; {LONGER} 10,000; {LONGER} 866,000; {LONGER} 0.35–0.53; gpt2 0.301; mistral 64; "
    "mistral 0.5; mistral 500; mistral 32; mistral 0.002",
    "§4.5, Table 4": "mistral 0.95; mistral 0.80; mistral 0.70; mistral 0.50; mistral 11.32; mistral 15.63; mistral 0.064; mistral 21.98; "
    "mistral 0.133; mistral 27.35; mistral 0.174; mistral 47.07; mistral 0.269",
    "§4.5, Table 8": "mistral 0.055; mistral 0.302; mistral 0.196; mistral 0.404; mistral 0.337; mistral 0.494; mistral 0.53; "
    "mistral 0.28; mistral 0.16",
    "§5.1, Table 5": f"{BOTH} 0.79–0.81; {BOTH} 0.63–0.65; {BOTH} 0.30",
    "§5.1": f"{BOTH} 0.72; {BOTH} 0.90",
    "§5.2, Table 6": "mistral 16; mistral 1.6",
    "§5.2": "mistral 1.21; mistral 0.60; mistral 0.40",
    "§5.3, Table 7": "gpt2 4.7; gpt2 1.1; gpt2 0.2–0.3 ×3; gpt2 0.3–2.1 ×3; gpt2 0.09–0.26 ×5; gpt2 0.09–0.29 ×5; gpt2 0.80; gpt2 0.18",
    "§5.3": "gpt2 4; mistral 3.05; mistral 4.51",
    "companion study": f"{BOTH} 4–364",
}
"""The figures written out of the paper a second time, by where they stand and with their models; ``×3`` is of three blocks."""
TABLES = {
    **{"projection-8": 3441, "projection-64": 524, "projection-256": 145, "variance-of-8": 0.95, "variance-of-64": 0.99},
    **{"threshold-0": 0.95, "routing-0.95": 15.63, "saved-0.95": 0.064, "threshold-1": 0.80, "routing-0.80": 21.98, "saved-0.80": 0.133},
    **{"threshold-2": 0.70, "routing-0.70": 27.35, "saved-0.70": 0.174, "threshold-3": 0.50, "routing-0.50": 47.07, "saved-0.50": 0.269},
    **{"naive-15": 0.055, "trained-15": 0.302, "naive-23": 0.196, "trained-23": 0.404, "naive-27": 0.337, "trained-27": 0.494},
    **{"blocks-saved-15": 0.53, "blocks-saved-23": 0.28, "blocks-saved-27": 0.16},
    **{"mse-direct": 0.000679, "mse-dct": 0.001935, "mse-svd": 0.001359, "mse-rotated": 0.016882},
    **{"attention-0": 4.7, "mlp-0": 1.1, "attention-2": (0.2, 0.3), "mlp-4": (0.3, 2.1), "attention-5": (0.09, 0.26)},
    **{
        "mlp-9": (0.09, 0.29),
        "attention-11": 0.80,
        "mlp-11": 0.18,
        "destroyed-2": (3, 4.5),
        "destroyed-6": (0.5, 1.0),
        "destroyed-11": 1.1,
    },
}
"""Cells of tables, where a row must not be another's."""


def places(figure):
    """The places that a figure's counterpart is made of."""
    at = figure.measured
    return [] if isinstance(at, str) else [at.first, at.second] if isinstance(at, Difference) else [at]


def written(text):
    """The models and values of one place: ``gpt2 0.5–1.0 ×4`` is a range of four figures."""
    found = []
    for entry in text.split("; "):
        names, said, *times = entry.split()
        ends = tuple(float(end.replace(",", "")) for end in said.split("–"))
        found += [(frozenset(names.split("+")), ends)] * (int(times[0].lstrip("×")) if times else 1)
    return found


def test_figures_are_those_written_down_a_second_time():
    """A slip of the pen in one of both transcriptions does not stay."""
    found = {}
    for figure in PUBLISHED:
        ends = figure.value if isinstance(figure.value, tuple) else (figure.value,)
        found.setdefault(figure.where, []).append((frozenset(figure.models), ends))
    for where in {**found, **AGAIN}:
        assert sorted(map(told, found.get(where, []))) == sorted(map(told, written(AGAIN[where]))), where


def told(entry):
    """An entry in words, whose order does not hang on that of a set."""
    models, ends = entry
    return f"{sorted(models)} {[float(end) for end in ends]}"


def test_cells_of_tables_are_in_their_rows():
    """Values of one table are not swapped among its rows."""
    values = {figure.ident: figure.value for figure in PUBLISHED}
    assert {ident: values[ident] for ident in TABLES} == TABLES


def test_tolerances_of_the_main_kinds_are_the_protocols():
    """R² ±0.05, shares ±5 points, perplexity and KL ±25%, ratios ±30%; of every other kind the reason is given."""
    fixed = {"r2": (0.05, False), "share": (0.05, False), "perplexity": (0.25, True), "kl": (0.25, True), "ratio": (0.30, True)}
    assert {name: (KINDS[name].tolerance, KINDS[name].relative) for name in fixed} == fixed
    assert all(kind.reason for kind in KINDS.values())
    assert [name for name, kind in KINDS.items() if not kind.counted] == ["set-up"]
    told = {name: kind.describe() for name, kind in KINDS.items()}
    assert [told[name] for name in ("r2", "share", "kl", "ratio", "count", "set-up")] == [
        "±0.05",
        "±5 points",
        "±25%",
        "±30%",
        "±1",
        "exact",
    ]


@pytest.mark.parametrize("figure", PUBLISHED, ids=lambda figure: figure.ident)
def test_every_entry_is_whole(figure):
    """Its kind, models and claim are known, its range is one, and what it says ends without a stop, as cells do."""
    assert figure.kind in KINDS
    assert figure.models
    assert set(figure.models) <= set(OF_THE_PAPER)
    assert claim_of(figure.claim).key == figure.claim
    low, high = figure.ends
    assert low < high if isinstance(figure.value, tuple) else low == high
    assert figure.what
    assert figure.where
    told = [figure.what, figure.differs, figure.measured if isinstance(figure.measured, str) else ""]
    assert not [text for text in told if text.endswith((".", ";", " "))]
    assert figure.measured != ""


@pytest.mark.parametrize("figure", [figure for figure in PUBLISHED if places(figure)], ids=lambda figure: figure.ident)
def test_every_counterpart_is_declared(figure):
    """Its predicates exist on the rung that measures as published, and at blocks that every model of the figure has."""
    for name in predicates_of(figure.measured):
        assert RUNG in PREDICATES[name].rungs
        assert PREDICATES[name].measured_by
    for at in places(figure):
        if isinstance(at, InRow):
            assert (at.block is None) is (PREDICATES[at.predicate].blocks is None)
            assert at.block is None or all(at.block < DEPTH[model] for model in figure.models)
        if isinstance(at, InProtocol):
            found = Protocol().as_dict()
            for step in at.path:
                found = found[step]
            assert found == figure.value, "the suite's own protocol is the paper's"


def test_no_counterpart_serves_two_figures():
    """Each would be counted, and altering one would flip both."""
    for model in OF_THE_PAPER:
        seen = [figure.measured for figure in figures_of(model) if not isinstance(figure.measured, str)]
        assert len(set(seen)) == len(seen)
    assert len({figure.ident for figure in PUBLISHED}) == len(PUBLISHED)


def test_models_of_the_paper_are_registered_with_a_repository():
    """Those whose figures are shown are recognised by it."""
    assert OF_THE_PAPER == ("gpt2", "mistral", "llama-3.2-3b", "tinyllama")
    assert COMPARED == ("gpt2", "mistral")
    assert all(isinstance(MODELS[name].source, Hub) for name in OF_THE_PAPER)


@pytest.mark.parametrize("figure", [figure for figure in PUBLISHED if places(figure)], ids=lambda figure: figure.ident)
def test_tolerance_ends_where_it_is_said_to(figure):
    """Just inside is within, just outside is not, the published figure itself is; differences have the sign of what is off."""
    if not figure.above:
        assert all(figure.within(end) for end in figure.ends)
        assert [figure.difference(end) for end in figure.ends] == [0, 0]
    for side, (inside, outside) in edges(figure).items():
        assert figure.within(inside)
        assert not figure.within(outside)
        assert figure.difference(outside) > 0 if side == "high" else figure.difference(outside) < 0


def test_a_bound_is_met_or_not():
    """No tolerance is added to it, and the number itself does not exceed itself."""
    bound = Published("x", ("gpt2",), 3, "x", "x", "ratio", 1, "x", above=True)
    assert not bound.within(1)
    assert not bound.within(0.9)
    assert bound.within(1.001)
    assert bound.tolerance == "a bound"


def test_a_range_is_widened_at_both_ends():
    """By the tolerance of each end; below zero too the range is around the figure."""
    assert Kind("k", 0.3, True, "x").around(20, 21) == pytest.approx((14, 27.3))
    assert Kind("k", 0.05, False, "x").around(0.63, 0.65) == pytest.approx((0.58, 0.70))
    assert Kind("k", 0.5, True, "x").around(-2, -2) == (-3, -1)


def test_sums_of_a_spectrum_are_of_the_ranks_that_table_1_has():
    """8, 64 and 256 PCs, in the projection and in the share of variance."""
    counts = [at.path[-1].count for figure in PUBLISHED for at in places(figure) if isinstance(getattr(at, "path", (0,))[-1], SumOfFirst)]
    assert counts == [8, 64, 256]
    assert [MODELS["gpt2"].width // divisor for divisor in Protocol().variance.curve] == counts
