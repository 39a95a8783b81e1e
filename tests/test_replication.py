"""Published figures beside measured ones: every counterpart is found in a real report, and each that is altered flips its row alone."""

from __future__ import annotations

import copy
import json

import pytest

from claims.published import figures_of
from claims.published_figure import KINDS, InEvidence
from fixtures import MODELS
from reports.document import from_contents
from reports.replication import is_of_the_paper, replicated, subjects_of, tally
from tests import stand_ins
from tests.altered_reports import Altered, edges
from tests.stand_ins import TEXT

NAMES = tuple(stand_ins.CONFIGS)
COMPARED = [(name, figure) for name in NAMES for figure in figures_of(name) if not isinstance(figure.measured, str)]
CASES = [(name, figure, side) for name, figure in COMPARED for side in edges(figure)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A report of each stand-in, as measured."""
    folder = tmp_path_factory.mktemp("stand-ins")
    return {name: stand_ins.report(name, folder) for name in NAMES}


def read(made, name):
    """The report of a stand-in, read."""
    return from_contents(name, copy.deepcopy(made[name]))


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_with_a_counterpart_is_found_in_a_real_report(made, name):
    """Of a model in the shape of the paper's, through the claims' own tests; the others say why there is none."""
    lines = replicated(read(made, name), name, TEXT)
    assert [line.figure for line in lines] == figures_of(name)
    assert {line.figure.ident: line.why for line in lines if line.measured is None and not isinstance(line.figure.measured, str)} == {}
    for line in lines:
        if isinstance(line.figure.measured, str):
            assert line.measured is None
            assert line.why == f"not measured: {line.figure.measured}"


@pytest.mark.parametrize("name", NAMES)
def test_figures_as_published_are_all_within_tolerance(made, name):
    """And all are counted, but for what was chosen."""
    lines = replicated(Altered(made[name], name).set_all(figures_of(name), {}), name, TEXT)
    assert {line.figure.ident for line in lines if line.within is not True} == {
        figure.ident for figure in figures_of(name) if isinstance(figure.measured, str)
    }
    counted = [figure for of, figure in COMPARED if of == name and figure.kind != "set-up"]
    assert tally(lines) == (len(counted), len(counted))


@pytest.fixture(scope="module")
def altered(made):
    """The reports, to be set again and again."""
    return {name: Altered(made[name], name) for name in NAMES}


@pytest.mark.parametrize(("name", "figure", "side"), CASES, ids=[f"{name}-{figure.ident}-{side}" for name, figure, side in CASES])
def test_a_figure_beyond_tolerance_flips_its_row_alone(altered, name, figure, side):
    """Just inside the tolerance no row flips, just outside its own does and no other."""
    inside, outside = edges(figure)[side]
    for value, flipped in ((inside, set()), (outside, {figure.ident})):
        lines = replicated(altered[name].set_all(figures_of(name), {figure.ident: value}), name, TEXT)
        assert {line.figure.ident for line in lines if line.within is False} == flipped
        (line,) = [line for line in lines if line.figure is figure]
        assert line.measured == pytest.approx(value, abs=1e-9 * max(abs(value), 1))
        low, high = figure.ends
        assert line.difference == pytest.approx(value - (high if side == "high" else low), abs=1e-6)


def test_the_interval_is_the_rows(made):
    """Where the counterpart is the figure of a row; evidence has none."""
    lines = {line.figure.ident: line for line in replicated(read(made, "gpt2"), "gpt2", TEXT)}
    row = next(r for r in made["gpt2"]["rows"] if (r["predicate"], r["rung"], r["block"]) == ("r2", "paper", 5))
    assert (lines["r2-gpt2-5"].measured, lines["r2-gpt2-5"].low, lines["r2-gpt2-5"].high) == (row["value"], row["low"], row["high"])
    assert row["low"] < row["value"] < row["high"]
    assert (lines["projection-8"].low, lines["projection-8"].high) == (None, None)


REPO = MODELS["gpt2"].source.repo


@pytest.mark.parametrize(
    ("name", "source", "is_one"),
    [
        ("gpt2", f"{REPO} at {'0' * 40}", True),
        ("gpt2", "/home/me/gpt2", False),
        ("gpt2", REPO, False),
        ("gpt2", f"someone/{REPO} at 0", False),
        ("gpt2", f"{MODELS['mistral'].source.repo} at 0", False),
        ("gpt2-0a1b2c3d", f"{REPO} at 0", False),
        ("smollm2", f"{REPO} at 0", False),
        ("gpt2", None, False),
    ],
)
def test_a_model_is_the_papers_by_name_and_repository(made, name, source, is_one):
    """A folder called gpt2 is not, nor another model under that name."""
    assert is_of_the_paper(name, source) is is_one
    if name == "gpt2":
        contents = copy.deepcopy(made["gpt2"])
        contents["models"]["gpt2"]["source"] = source
        if source is None:
            del contents["models"]["gpt2"]["source"]
        assert subjects_of(from_contents("x", contents)) == ([("gpt2", TEXT)] if is_one else [])


def whys(contents, name="gpt2"):
    """Why figures with a counterpart are not in a report, by figure."""
    lines = replicated(from_contents("x", contents), name, TEXT)
    return {line.figure.ident: line.why for line in lines if line.measured is None and not isinstance(line.figure.measured, str)}


def test_figures_of_quarter_sizes_are_not_compared(made):
    """They are no counterparts, whether they stand in rows or in evidence."""
    contents = copy.deepcopy(made["gpt2"])
    for row in contents["rows"]:
        row["quick"] = True
    told = whys(contents)
    assert set(told) == {figure.ident for name, figure in COMPARED if name == "gpt2" and figure.kind != "set-up"}
    assert set(told.values()) == {"not in this report: measured at quarter sizes (--quick)"}


def test_a_report_kept_without_evidence_says_so(made):
    """Figures of rows are there, those of evidence are not."""
    contents = copy.deepcopy(made["gpt2"])
    del contents["evidence"]
    told = whys(contents)
    assert told["projection-8"] == "not in this report: it keeps no evidence of projection_ppl_ratio"
    assert "r2-gpt2-5" not in told
    assert "sequential-perplexity" in told


def test_what_did_not_run_says_why(made):
    """Long work names its option; an error is told; what was not selected too."""
    contents = copy.deepcopy(made["mistral"])
    evidence = contents["evidence"][f"mistral/{TEXT}"]
    reasons = {"routing_cost": "long work, run with --long and by default on a GPU", "exit_agreement": "not selected"}
    for row in contents["rows"]:
        if row["predicate"] in reasons and row["rung"] == "paper":
            row.update(verdict="untested", value=None, low=None, high=None, margin=None, reason=reasons[row["predicate"]])
            evidence.pop(f"{row['predicate']}/paper", None)
    told = whys(contents, "mistral")
    assert told["saved-0.50"] == "not in this report: routing_cost takes --long"
    assert told["agreement"] == told["naive-23"] == "not in this report: exit_agreement is UNTESTED (not selected)"


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "text",
        3,
        {"baseline": 10**400},
        [],
        {},
        True,
        [None],
        {"perplexity": 1},
        {"rows": [1]},
        {"k": 8, "shares": ["x"]},
        {"shares": []},
    ],
)
def test_evidence_of_another_form_is_no_figure(made, wrong):
    """A file may hold anything: it is absent, and nothing fails."""
    contents = copy.deepcopy(made["gpt2"])
    contents["evidence"][f"gpt2/{TEXT}"] = dict.fromkeys(contents["evidence"][f"gpt2/{TEXT}"], wrong)
    told = whys(contents)
    of_evidence = {figure.ident for name, figure in COMPARED if name == "gpt2" and isinstance(figure.measured, InEvidence)}
    assert of_evidence <= set(told)
    assert all(why.startswith("not in this report: ") for why in told.values())


def test_another_rung_is_no_counterpart(made):
    """What was measured on ``strict`` is not taken for ``paper``."""
    contents = json.loads(json.dumps(made["gpt2"]).replace("/paper", "/strict"))
    for row in contents["rows"]:
        row["rung"] = {"paper": "strict", "strict": "paper"}.get(row["rung"], row["rung"])
    assert set(whys(contents)) == {figure.ident for name, figure in COMPARED if name == "gpt2" and KINDS[figure.kind].counted}
