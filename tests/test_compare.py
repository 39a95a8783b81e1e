"""``python -m reports compare``: the right pairs, what differs, and equal files that show no difference."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claims import Verdict
from reports import __main__ as command
from reports.comparison import Side, chosen, compare
from reports.comparison_shown import as_json, as_markdown, as_text
from reports.document import ReportError
from tests.small_reports import contents, document, row, save

CLAIMS = [(2, "paper", "holds"), (2, "strict", "falsified")]
HOSTILE = "x\x1b[31m|`<script>*\n'; DROP TABLE rows;--"


def of(a, b):
    """The comparison of the only pair of each."""
    return compare(*chosen(a, b, None, None)[0])


def pairs(a, b, *named):
    """What would be compared."""
    return [((one.model, one.corpus), (other.model, other.corpus)) for one, other in chosen(a, b, *(named or (None, None)))]


def several(*names):
    """A report of several models and texts."""
    return document(*(row(model=m, corpus=c) for m, c in (name.split("/") for name in names)))


def test_pairs_of_equal_names_are_compared_and_an_only_pair_with_an_only_pair():
    """In A's order, each once; other names only where there is nothing to mistake."""
    a, b = several("m/c", "m/d", "n/c"), several("n/c", "m/c", "k/c")
    assert pairs(a, b) == [(("m", "c"), ("m", "c")), (("n", "c"), ("n", "c"))]
    assert pairs(several("m/c"), several("n/d")) == [(("m", "c"), ("n", "d"))]
    with pytest.raises(ReportError, match=r"no model and text is in both.* m/c, m/d.* k/d.*--a MODEL/CORPUS"):
        chosen(several("m/c", "m/d"), several("k/d"), None, None)


def test_pairs_are_chosen_by_name():
    """Within one file too; without the digest of a local file's name; a side left out is the only one, or that of the same name."""
    a = several("m/c", "m/d", "local-0a1b2c3d/text-9a9b9c9d")
    assert pairs(a, a, "m/c", "m/d") == [(("m", "c"), ("m", "d"))]
    assert pairs(a, a, "local/text", None) == [(("local-0a1b2c3d", "text-9a9b9c9d"),) * 2]
    assert pairs(a, several("k/e"), "m/d", None) == [(("m", "d"), ("k", "e"))]
    with pytest.raises(ReportError, match=r"--b m/cc: r.json has m/c, m/d, .* \(did you mean 'm/c'\?\)"):
        chosen(a, a, "m/c", "m/cc")
    with pytest.raises(ReportError, match="say which with --b"):
        chosen(several("k/e"), a, "k/e", None)


def test_local_files_are_matched_although_their_content_changed():
    """Whole names first; then without digests, where one fits on either side; what is ambiguous is not guessed."""
    a = several("m1-aaaaaaa1/t", "m2/t-00000a00")
    assert pairs(a, several("m2/t-00000a00", "m1-bbbbbbb1/t")) == [
        (("m1-aaaaaaa1", "t"), ("m1-bbbbbbb1", "t")),
        (("m2", "t-00000a00"),) * 2,
    ]
    assert pairs(a, several("m2/t-11111b11", "m1-bbbbbbb1/t")) == [
        (("m1-aaaaaaa1", "t"), ("m1-bbbbbbb1", "t")),
        (("m2", "t-00000a00"), ("m2", "t-11111b11")),
    ]
    twins = several("m1-bbbbbbb1/t", "m1-ccccccc1/t", "m2/t-00000a00")
    assert pairs(a, twins) == [(("m2", "t-00000a00"),) * 2]
    assert pairs(several("m1-ccccccc1/t", "m1-aaaaaaa1/t"), twins) == [
        (("m1-ccccccc1", "t"),) * 2,
        (("m1-aaaaaaa1", "t"), ("m1-bbbbbbb1", "t")),
    ]
    assert pairs(a, several("m1-bbbbbbb1/t", "k/t"), "m1/t", None) == [(("m1-aaaaaaa1", "t"), ("m1-bbbbbbb1", "t"))]


def test_what_has_no_counterpart_is_named(tmp_path, capsys):
    """In text, Markdown and JSON; not where pairs were chosen by name."""
    a = save(tmp_path, "a.json", *(row(model=m) for m in ("m", "gone", "x\x1b")))
    b = save(tmp_path, "b.json", *(row(model=m) for m in ("m", "new")))
    words = ["compare", str(a), str(b)]
    assert command.main(words) == 0
    assert capsys.readouterr().out.startswith("Not compared: only A has gone/c, x\\x1b/c; only B has new/c.\n")
    assert command.main([*words, "--format", "markdown"]) == 0
    assert "only A has gone/c" in capsys.readouterr().out
    assert command.main([*words, "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)["not_compared"]
    assert told["b"] == [{"model": "new", "corpus": "c"}]
    assert [pair["model"] for pair in told["a"]] == ["gone", "x\x1b"]
    assert command.main([*words, "--a", "m/c"]) == 0
    assert "Not compared" not in capsys.readouterr().out


def test_equal_reports_have_no_difference():
    """Everything is in both, nothing differs, and the report says so."""
    a = document(row(value=0.5, standard_error=0.1), row("dims", value=3.0, unit="PCs"), claims=CLAIMS)
    found = of(a, a)
    assert found.same_measurement
    assert found.moved == []
    assert (found.setup, found.only_a, found.only_b) == ((), (), ())
    assert "No difference: all 2 figures are equal." in as_text(found)
    assert "no difference" in as_text(found).partition("Set-up:")[2]


@pytest.mark.parametrize(
    ("change", "expected"),
    [({}, True), ({"weights": "e" * 64}, False), ({"code": "e" * 64}, False), ({"protocol": {"seed": 1}}, False), ({"old": True}, False)],
    ids=str,
)
def test_equal_set_ups_are_expected_to_give_equal_figures(change, expected):
    """A difference is then called out, however small; not where weights, protocol or code differ, or are not stated."""
    a, b = document(row(value=0.5, standard_error=0.1), **({"old": True} if "old" in change else {})), document(row(value=0.5001), **change)
    found = of(a, b)
    assert found.same_measurement is expected
    assert ("NOT SO: 1 of 1 differ" in as_text(found)) is expected
    told = [d.what for d in found.setup]
    assert told == [{"protocol": "protocol.seed"}.get(name, name) for name in change if name != "old"]


def test_other_software_explains_last_digits():
    """Where the machine or a library differs, the report says that rounding does."""
    a, b = document(row(value=0.5)), document(row(value=0.5 + 1e-15), packages={"torch": "2.14.0"})
    assert "1 of 1 differ, all of them by rounding alone" in as_text(of(a, b))
    assert "Software or machine differ (torch), which moves last digits." in as_text(of(a, b))
    assert "Nothing in the set-up explains it." in as_text(of(a, document(row(value=0.6))))


def test_flips_are_marked():
    """Of claims and of cells, where both judge; from UNTESTED to a verdict nothing flips."""
    a = document(row(verdict="holds"), row("x", "measured"), claims=[*CLAIMS, (4, "strict", "untested")])
    b = document(row(verdict="inconclusive"), row("x", "holds"), claims=[(2, "paper", "falsified"), CLAIMS[1], (4, "strict", "holds")])
    found = of(a, b)
    assert [c.flipped for c in found.compared] == [True, False]
    text = as_text(found)
    assert "Claims that flip: claim 2 on paper HOLDS → FALSIFIED.\n" in text
    assert "Cells that flip: r2 on strict HOLDS → INCONCLUSIVE.\n" in text
    assert "paper: HOLDS | FALSIFIED  ◄ flipped" in text
    assert [c["flipped"] for c in as_json(found)["claims"]] == [True, False]


def test_the_last_block_is_in_the_table_and_the_others_in_a_line():
    """The largest |z| of the others is named; of models of different depth the last is held against the last."""
    a = document(*(row(value=0.5, standard_error=0.1, block=i) for i in range(8)))
    b = document(*(row(value=0.5 + 0.1 * (i == 3), standard_error=0.1, block=i) for i in range(8)), weights="e" * 64)
    text = as_text(of(a, b))
    assert "r2, block 7" in text
    assert "r2, block 3 " not in text
    assert "largest |z| of 7 at block 3 on strict, z = 0.7" in text
    shallow = document(*(row(value=0.7, standard_error=0.1, block=i) for i in range(4)), n_blocks=4)
    found = of(a, shallow)
    assert [(c.a.cell.block, c.b.cell.block) for c in found.compared] == [(7, 3)]
    assert "r2, block 7 | 3" in as_text(found)
    assert "the models have 8 and 4 blocks" in as_text(found)


def test_the_legend_says_what_the_two_have_in_common():
    """Same text and weights, same text, other text: what z then is."""
    a = document(row(standard_error=0.1))
    same = document(row(value=0.6, standard_error=0.1), code="e" * 64)
    tuned = document(row(value=0.6, standard_error=0.1), weights="e" * 64)
    other = document(row(value=0.6, standard_error=0.1, corpus="d"))
    assert "They are the same weights on the same text" in as_text(of(a, same))
    assert "Both read the same text" in as_text(of(a, tuned))
    assert "as samples of different texts are" in as_text(of(a, other))


def test_older_reports_are_compared_and_marked(tmp_path, capsys):
    """Without stated errors, code or time: ≈ before every error, and that the code is not known."""
    files = [save(tmp_path, f"{v}.json", row(value=v, half=0.1), old=True) for v in (0.5, 0.6)]
    assert command.main(["compare", *map(str, files)]) == 0
    shown = capsys.readouterr().out
    assert "≈0.066" in shown  # 0.1 / 2.131 · √2
    assert "≈: from the width of the interval, taken to have 15 degrees of freedom" in shown
    assert "neither report states the code that measured it" in shown
    new = save(tmp_path, "new.json", row(value=0.6, standard_error=0.047))
    assert command.main(["compare", str(files[0]), str(new)]) == 0
    assert "only B states code cccccccc" in capsys.readouterr().out


def test_what_only_one_ran_is_named_and_nothing_in_common_is_no_error(tmp_path, capsys):
    """Two reports of different claims: set-up and names, exit code 0."""
    files = [save(tmp_path, f"{n}.json", row(f"p{n}", claim=n), row("lost", verdict="error", value=None, claim=n)) for n in (1, 2)]
    assert command.main(["compare", *map(str, files)]) == 0
    shown = capsys.readouterr().out
    assert "No figure is in both." in shown
    assert "only A ran: p1 (strict), lost (strict)" in shown
    assert "only B ran: p2 (strict), lost (strict)" in shown


def test_claims_and_predicates_of_other_versions_are_shown_by_name():
    """A claim 9 with predicates that nobody declares here."""
    a = document(row("unheard_of", claim=9), claims=[(9, "paper", "holds")])
    assert "claim 9 (not a claim of this version)" in as_text(of(a, a))
    assert "unheard_of" in as_text(of(a, a))


@pytest.mark.parametrize("form", [as_text, as_markdown])
def test_names_do_no_harm(form):
    """Control characters, markup and columns in names of models, texts, predicates and rungs stay text."""
    a = document(row(HOSTILE, model=HOSTILE, corpus=HOSTILE, rung=HOSTILE, unit=HOSTILE, half=0.1), claims=[(2, HOSTILE, "holds")])
    b = document(row(HOSTILE, model=HOSTILE, corpus=HOSTILE, rung=HOSTILE, unit=HOSTILE, half=0.1, value=1.0), protocol={HOSTILE: HOSTILE})
    shown = form(of(a, b))
    assert "\x1b" not in shown
    assert "\n'; DROP" not in shown
    if form is as_markdown:
        assert "<script>" not in shown
        table = [line for line in shown.splitlines() if line.startswith("|")]
        assert {line.replace("\\|", "").count("|") for line in table} == {9}


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from((1e308, -1e308, 5e-324))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(NUMBERS, NUMBERS, st.floats(0, 1e300), st.sampled_from(Verdict)), min_size=1, max_size=6))
def test_any_figures_are_shown(figures):
    """Whatever their size: text, Markdown and JSON that a strict reader takes."""
    a = document(*(row(f"p{i}", v, x, standard_error=e) for i, (x, _, e, v) in enumerate(figures)))
    b = document(*(row(f"p{i}", v, y, low=y, high=y, level=0.95) for i, (_, y, _, v) in enumerate(figures)), code="e" * 64)
    found = of(a, b)
    assert all(f"p{i}" in text for i in range(len(figures)) for text in (as_text(found), as_markdown(found)))
    json.dumps(as_json(found), allow_nan=False)


@pytest.mark.parametrize(("one", "other"), [(1e308, 1e-308), (1e308, -1e308), (5e-324, 1e308)])
def test_ratios_and_differences_beyond_float64_are_shown(one, other):
    """Their logarithms are finite where both are positive; what is not is ∞, and null in JSON."""
    a, b = (document(row(value=v, standard_error=0.1, origin=0.0), code=c * 64) for v, c in ((one, "c"), (other, "e")))
    found = of(a, b)
    assert "r2" in as_text(found)
    step = as_json(found)["rows"][0]["difference"]
    assert step == (None if other < 0 else pytest.approx(math.log(other) - math.log(one)))
    json.dumps(as_json(found), allow_nan=False)


def test_json_has_what_the_table_has(tmp_path, capsys):
    """Differences, errors and z as numbers; one entry a pair."""
    a, b = (save(tmp_path, f"{v}.json", row(value=v, standard_error=0.04), code=str(v) * 20) for v in (0.5, 0.7))
    assert command.main(["compare", str(a), str(b), "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["comparisons"]
    (only,) = found["rows"]
    assert only["difference"] == pytest.approx(0.2)
    assert only["z"] == pytest.approx(0.2 / 0.04 / 2**0.5)
    assert found["setup"] == [{"what": "code", "a": "0.5" * 20, "b": "0.7" * 20}]


BAD = {
    "not there": (["none.json", "none.json"], "none.json: cannot be read"),
    "one alone": (["none.json"], "the following arguments are required: B"),
    "a pair that is not there": (["r.json", "r.json", "--a", "m/x"], "--a m/x: r.json has m/c (did you mean 'm/c'?)"),
    "a format that is not there": (["r.json", "r.json", "--format", "yaml"], "invalid choice: 'yaml'"),
}


@pytest.mark.parametrize(("words", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_in_a_line(tmp_path, monkeypatch, capsys, words, said):
    """Exit code 4 and what is wrong."""
    save(tmp_path, "r.json", row())
    monkeypatch.chdir(tmp_path)
    try:
        code = command.main(["compare", *words])
    except SystemExit as ended:
        code = ended.code
    assert code == 4
    assert said in capsys.readouterr().err


def test_degrees_of_freedom_are_those_of_the_protocol():
    """Groups of windows minus 1: of 8 groups 7, of a report that does not say so 15."""
    given = [contents(row(), protocol={"groups": groups})["protocol"]["groups"] for groups in (8, 16)]
    assert given == [8, 16]
    sides = [Side(document(row(), protocol={"groups": groups}), "m", "c") for groups in (8, 16, "many", 1)]
    assert [side.freedom for side in sides] == [7, 15, 15, 15]
