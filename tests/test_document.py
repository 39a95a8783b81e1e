"""A report file is read back as it was written, or refused in one line; set-ups and commands are taken from it."""

from __future__ import annotations

import copy
import json
import shlex

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claims import Bound, Verdict
from reports import report_file
from reports.commands import command_of
from reports.document import ReportError, from_contents, read
from reports.ledger import SCHEMA, Cell, ClaimVerdict, Ledger, Row
from reports.schema import json_schema
from reports.setups import Difference, differences, setup_of

FACTS = {
    "protocol": {"window": 256, "variance": {"share": 0.9}, "seed": 0},
    "bounds": {"sha256": "b" * 64, "locked": True, "amendments": []},
    "environment": {
        "python": "3.12.1",
        "packages": {"torch": "2.13.0", "rich": "15.0.0"},
        "command": ["pytest", "claims", "-m", "claim4", "--model=m", "--corpus", "c", "-k", "depth", "--report", "x.json", "-n2"],
        "code": {"version": "0.1.0", "sha256": "c" * 64, "measurements": {"linearity": 1}},
    },
    "models": {
        "m": {
            "n_blocks": 8,
            "weights": "w" * 64,
            "about": "a model",
            "provenance": "as saved",
            "dtype": "float32",
            "device": "cpu",
            "attention": "sdpa",
        }
    },
    "corpora": {"c": {"text": "t" * 64, "edition": "an edition", "splitting": "two files", "chosen": "read from the path given"}},
}


def written(*rows, **facts):
    """A report as a run writes it, as read from its file."""
    ledger = Ledger({("m", "c"): 8})
    for row in rows:
        ledger.add(row)
    contents = report_file.contents(ledger, copy.deepcopy({**FACTS, **facts}))
    return json.loads(json.dumps(contents))


def row(value=0.5, low=0.4, high=0.6, bound=None, **more):
    """A judged row of claim 4."""
    cell = Cell("m", "c", 4, "depth_gain", "strict")
    return Row(cell, Verdict.HOLDS, "R²", True, value, low, high, 0.975, bound or Bound(0.3, 0.0), 0.1, **more)


def as_file(rows):
    """Rows as a file has them."""
    return json.loads(json.dumps([r.as_json() for r in rows]))


NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)
BOUNDS = st.one_of(
    st.builds(Bound, NUMBERS, NUMBERS, st.sampled_from(["at_least", "at_most"]), st.booleans(), st.booleans()),
    st.builds(Bound, st.tuples(NUMBERS, NUMBERS), st.tuples(NUMBERS, NUMBERS), st.just("inside")),
)


@settings(deadline=None)
@given(
    st.lists(NUMBERS, min_size=3, max_size=3).map(sorted),
    BOUNDS,
    st.sampled_from(Verdict),
    st.lists(st.text(max_size=20), max_size=3).map(tuple),
    st.none() | st.text(max_size=20),
)
def test_a_row_is_read_back_as_it_was_written(numbers, bound, verdict, caveats, reason):
    """Figures, the file's own bound and all words: the same row, whatever it holds."""
    low, value, high = numbers
    before = Row(Cell("m", "c", 4, "depth_gain", "strict"), verdict, "R²", True, value, low, high, 0.95, bound, -1.5, caveats, reason)
    document = from_contents("r.json", written(before))
    assert [r for r in document.rows if r.cell == before.cell] == [before]


def test_a_document_is_the_ledger_it_was_written_from():
    """Rows of every declared cell, verdicts on claims, blocks of every model."""
    contents = written(row())
    document = from_contents("r.json", contents)
    ledger = document.ledger()
    assert as_file(ledger.complete()) == contents["rows"]
    assert ledger.claims(ledger.complete()) == list(document.claims)
    assert document.pairs == {("m", "c"): 8}
    assert document.of("m", "c") == list(document.rows)
    assert document.of("m", "other") == []
    assert ClaimVerdict("m", "c", "strict", 4, Verdict.UNTESTED, ("depth_trend",)) in document.claims


def test_reports_of_runs_satisfy_the_schema_and_are_read(claims, tmp_path):
    """What ``pytest claims`` writes is what the published schema says, and the reader agrees."""
    report = claims("--verdicts=report", model="falling").report
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(report, schema)
    (tmp_path / "r.json").write_text(json.dumps(report))
    document = read(tmp_path / "r.json")
    assert as_file(document.rows) == report["rows"]
    (pair,) = document.pairs
    setup = setup_of(document, *pair)
    assert setup["weights"] == report["models"][pair[0]]["weights"]
    assert setup["text"] == report["corpora"][pair[1]]["text"]
    assert len(setup["code"]) == 64
    assert setup["protocol.window"] == "256"
    assert report["environment"]["finished"].endswith("+00:00")


def test_a_report_may_name_its_bundle():
    """As a dict of its own; what is none is refused."""
    assert from_contents("r", written(row(), bundle={"sha256": "0" * 64})).contents["bundle"]["sha256"] == "0" * 64
    with pytest.raises(ReportError, match="bundle"):
        from_contents("r", written(row(), bundle="b"))


def damaged(**changes):
    """A report's rows with one of them changed."""
    contents = written(row())
    place = next(i for i, r in enumerate(contents["rows"]) if r["value"] is not None)
    contents["rows"][place] |= changes
    return contents


WRONG = {
    "no report": ([], "no report"),
    "another object": ({"rows": []}, "no report"),
    "a later format": ({**written(), "schema": SCHEMA + 1}, f"format {SCHEMA + 1}, and this version reads format {SCHEMA}"),
    "a word for a figure": (damaged(value="high"), "rows"),
    "a number for a name": (damaged(model=3), "model"),
    "no such verdict": (damaged(verdict="proven"), "'proven' is no verdict"),
    "an interval upside down": (damaged(low=1.0, high=0.0), "an interval from 1.0 to 0.0"),
    "a bound that is none": (damaged(bound={"holds": [0, 1], "falsified": 2, "direction": "at_least"}), "bound"),
    "a missing field": ({**written(), "rows": [{"model": "m"}]}, "Field required"),
    "two rows of one cell": ({**written(), "rows": written()["rows"] * 2}, "two rows of one cell"),
    "a model without its facts": ({**written(), "models": {"m": {"n_blocks": 8, "weights": "w"}}}, "models.m.about: Field required"),
    "timings of another kind": ({**written(), "timings": {"m/c": {"linearity": 3}}}, "timings"),
    "code that is a word": ({**written(), "environment": {"code": "abc"}}, "environment.code"),
    "measurements in a list": ({**written(), "environment": {"code": {"measurements": ["a"]}}}, "environment.code.measurements"),
    "packages in a list": ({**written(), "environment": {"packages": ["torch"]}}, "environment.packages"),
    "a command in one word": ({**written(), "environment": {"command": "pytest claims"}}, "environment.command"),
    "a block beyond the model's": (damaged(predicate="r2", block=8), "the model has 8 blocks"),
}


@pytest.mark.parametrize(("contents", "said"), WRONG.values(), ids=WRONG)
def test_what_is_no_report_is_refused_in_one_line(contents, said, tmp_path):
    """It says which file, and what is wrong."""
    (tmp_path / "r.json").write_text(json.dumps(contents))
    with pytest.raises(ReportError) as error:
        read(tmp_path / "r.json")
    assert said in str(error.value)
    assert "r.json" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"{", b'{"value": NaN}', b"[" * 100_000], ids=["empty", "binary", "cut", "NaN", "deep"])
def test_what_is_not_json_is_refused(data, tmp_path):
    """Not with a traceback, whatever the bytes."""
    (tmp_path / "r\x1b.json").write_bytes(data)
    with pytest.raises(ReportError, match="not JSON") as error:
        read(tmp_path / "r\x1b.json")
    assert "\x1b" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    """A folder, a missing file, no path at all."""
    for place in (tmp_path, tmp_path / "none.json", "a\0b"):
        with pytest.raises(ReportError, match="cannot be read"):
            read(place)


def test_reports_of_other_versions_are_read():
    """A predicate that is not declared here, a field of later, bounds without fields of today."""
    contents = written(row())
    for each in contents["rows"]:
        each["later"] = 1
        if each["bound"]:
            del each["bound"]["open_holds"]
    contents["rows"][0]["predicate"] = "unheard_of"
    document = from_contents("r.json", contents)
    assert document.rows[0].cell.predicate == "unheard_of"
    assert command_of(document, document.rows[0]).startswith("pytest claims")


def test_set_ups_differ_in_what_was_changed():
    """Each part alone, by name, with both values."""
    before = setup_of(from_contents("a", written()), "m", "c")
    changed = {
        "weights": {"models": {"m": {**FACTS["models"]["m"], "weights": "v" * 64}}},
        "text": {"corpora": {"c": {**FACTS["corpora"]["c"], "text": "u" * 64}}},
        "protocol.variance.share": {"protocol": {**FACTS["protocol"], "variance": {"share": 0.8}}},
        "bounds": {"bounds": {**FACTS["bounds"], "sha256": "d" * 64}},
        "code": {"environment": {**FACTS["environment"], "code": {**FACTS["environment"]["code"], "sha256": "e" * 64}}},
        "torch": {"environment": {**FACTS["environment"], "packages": {"torch": "2.11.0", "rich": "14.0.0"}}},
    }
    assert differences(before, dict(before)) == []
    for what, facts in changed.items():
        after = setup_of(from_contents("b", written(**facts)), "m", "c")
        assert differences(before, after) == [Difference(what, before[what], after[what])]
    assert differences({"a": "1"}, {"b": "2"}) == [Difference("a", "1", ""), Difference("b", "", "2")]
    assert str(Difference("a", "1", "")) == "a: 1 → not stated"


def test_a_command_selects_its_cell_under_the_options_of_the_run():
    """What was selected and where things went is left out; all else stays."""
    document = from_contents("r.json", written(row()))
    command = command_of(document, row())
    assert shlex.split(command) == [
        "pytest",
        "claims",
        "-m",
        "m and claim4 and strict",
        "-k",
        "depth_gain-m-",
        "--model=m",
        "--corpus",
        "c",
    ]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["/x/proj/claims/claim_2_y.py"], []),
        (["/x/proj/claims/claim_2_y.py::test_z[a-b]", "--quick"], ["--quick"]),
        (["../claims/", "claims", "claims/claim_3.py", "claim_3.py"], []),
        (["--corpus", "claims/text.txt", "--model", "./claims"], ["--corpus", "claims/text.txt", "--model", "./claims"]),
        (["--corpus=claims", "--models-from", "claims/claim_mine.py"], ["--corpus=claims", "--models-from", "claims/claim_mine.py"]),
        (["--quick", "claims"], ["--quick"]),
        (["--bundle", "claims", "--seed", "3"], ["--seed", "3"]),
        (["--no-store", "-x", "-vv", "--quick"], ["--quick"]),
    ],
)
def test_a_command_has_no_paths_of_tests_and_every_value(given, kept):
    """Files of claims in anybody's folder are a selection; what an option is given is not, whatever it is called."""
    facts = {"environment": {**FACTS["environment"], "command": ["pytest", *given]}}
    command = command_of(from_contents("r.json", written(row(), **facts)), row())
    assert shlex.split(command)[6:] == kept


def test_a_command_measures_its_cell(claims, pytester):
    """Given to the suite it measures this cell, and gives the same row."""
    report = claims("--verdicts=report", model="falling").report
    document = from_contents("r.json", report)
    wanted = next(r for r in document.rows if r.cell.predicate == "monotonic" and r.cell.rung == "strict")
    words = shlex.split(command_of(document, wanted))
    assert words[:2] == ["pytest", "claims"]
    own = [word for word in words[2:] if not word.startswith(("--rootdir", "--model", "--corpus", "--verdicts"))]
    again = claims(*own[: own.index("-k") + 2], "--verdicts=report", model="falling").report
    measured = [r for r in from_contents("r.json", again).rows if r.value is not None]
    assert measured == [wanted]
