"""``python -m reports history``: runs in order of time, flips as a plain loop finds them, and a database that reads nothing else."""

from __future__ import annotations

import csv
import itertools
import json
import os
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports import __main__ as command
from reports import history_query
from reports.document import ReportError, from_contents
from reports.history_files import Folder, Found, reports_of
from reports.history_query import answer, written
from reports.history_shown import cells, overview, sparkline
from reports.history_tables import load
from tests.small_reports import contents, row, save

WORDS = ("holds", "falsified", "inconclusive", "measured", "untested", "error", "not_applicable")
HOSTILE = "x\x1b[31m'; DROP TABLE rows; --\u202e\x00"


def folder(*reports):
    """Reports a minute apart, without files."""
    read = (from_contents(f"{i}.json", report) for i, report in enumerate(reports))
    return Folder(tuple(Found(one, datetime(2026, 1, 1, 0, i, tzinfo=UTC), True) for i, one in enumerate(read)), (), ())


def told(capsys, *words):
    """What the command prints, when it ends well."""
    assert command.main(["history", *map(str, words)]) == 0
    return capsys.readouterr().out


def query(found, text):
    """The lines of an answer."""
    with load(found) as database:
        return answer(database, text)[1]


def seen(word, **more):
    """A row with a verdict, that ran or did not."""
    return row(verdict=word, reason="not selected" if word == "untested" else None, **more)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=3, max_size=3), min_size=1, max_size=7))
def test_flips_and_spells_are_those_of_a_plain_loop(runs):
    """Over any verdicts, of claims and of cells: runs that did not judge are no step, and spells have their first and last run."""
    reports = [
        contents(
            *(seen(word, predicate=f"p{k}") for k, word in enumerate(words)),
            claims=[(k + 1, "strict", word) for k, word in enumerate(words)],
        )
        for words in runs
    ]
    flips, spells = [], []
    for k in range(3):
        judged = [(run, words[k]) for run, words in enumerate(runs, 1) if words[k] not in ("untested", "measured", "error")]
        flips += [(k, after, before, was, now) for (before, was), (after, now) in itertools.pairwise(judged) if was != now]
        for word, spell in itertools.groupby(judged, key=lambda step: step[1]):
            numbers = [run for run, _ in spell]
            spells.append((k, word, len(numbers), numbers[0], numbers[-1]))
    with load(folder(*reports)) as database:
        for view, which in (("cell", "predicate[2:]::INTEGER"), ("claim", "claim::INTEGER - 1")):
            found = answer(database, f"SELECT {which} AS k, run, before_run, before, verdict FROM {view}_flips ORDER BY k, run")[1]
            assert found == flips
            which = "cell[2:2]::INTEGER" if view == "cell" else which
            found = answer(database, f"SELECT {which} AS k, verdict, runs, first, last FROM {view}_spells ORDER BY k, spell")[1]
            assert found == spells
        shown = overview(database, folder(*reports), changed=True)
    assert shown.count("◄ 2026") == len(flips)
    assert ("No verdict ever flipped." in shown) is not bool(flips)


def test_a_run_that_failed_is_no_flip():
    """HOLDS, ERROR, HOLDS is one spell of two runs."""
    reports = [contents(row(verdict=word, value=None), claims=[(2, "strict", word)]) for word in ("holds", "error", "holds")]
    with load(folder(*reports)) as database:
        assert answer(database, "SELECT * FROM claim_flips")[1] == []
        assert answer(database, "SELECT verdict, runs FROM cell_spells")[1] == [("holds", 2)]


def test_a_text_is_followed_over_changes_of_its_content():
    """By its name without the digest, as models are, so that a verdict that the changed text flips is a flip; the whole name is kept."""
    texts = {"text-0a1b2c3d": "holds", "text-1b2c3d4e": "falsified"}
    reports = [contents(row(verdict=word, corpus=text), claims=[(2, "strict", word)]) for text, word in texts.items()]
    with load(folder(*reports)) as database:
        assert answer(database, "SELECT corpus, before, verdict FROM claim_flips")[1] == [("text", "holds", "falsified")]
        assert answer(database, "SELECT corpus, before, verdict FROM cell_flips")[1] == [("text", "holds", "falsified")]
        assert answer(database, "SELECT corpus_with_digest FROM runs ORDER BY run")[1] == [(text,) for text in texts]
    both = contents(*(row(corpus=text) for text in texts))
    assert query(folder(both), "SELECT corpus FROM runs ORDER BY corpus") == [(text,) for text in texts]


def test_runs_are_in_the_order_in_which_they_were_made(tmp_path, capsys):
    """By the time that a report states, in any zone; else by the file's, and the report says so."""
    save(tmp_path, "b.json", row(value=0.1), finished="2026-03-01T12:00:00+00:00")
    save(tmp_path, "deep/er/a.json", row(value=0.22), finished="2026-03-01T12:30:00+02:00")
    save(tmp_path, "c.json", row(value=0.3), finished="not a time")
    os.utime(tmp_path / "c.json", (0, datetime(2026, 2, 1, tzinfo=UTC).timestamp()))
    found = reports_of(tmp_path)
    assert [(one.document.name, one.stated) for one in found.reports] == [("c.json", False), ("deep/er/a.json", True), ("b.json", True)]
    assert query(found, "SELECT file, time_from FROM runs ORDER BY run")[0] == ("c.json", "file")
    shown = told(capsys, tmp_path)
    assert "3 reports, 2026-02-01 00:00 … 2026-03-01 12:00 UTC" in shown
    assert "1 report does not say when it was made" in shown
    assert "█▅▁" in shown
    assert "0.300 → 0.100" in shown


def test_what_is_no_report_is_named_and_left_out(tmp_path, capsys):
    """Other JSON, broken JSON, other formats, copies; a folder without any report is an error."""
    save(tmp_path, "r.json", row())
    (tmp_path / "copy.json").write_bytes((tmp_path / "r.json").read_bytes())
    os.utime(tmp_path / "r.json", (0, 1))
    (tmp_path / "other.json").write_text('{"a": 1}')
    (tmp_path / "broken\x1b.json").write_text("{")
    (tmp_path / "later.json").write_text(json.dumps({**contents(row()), "schema": 99}))
    (tmp_path / "gone.json").symlink_to(tmp_path / "none")
    (tmp_path / "folder.json").mkdir()
    shown = " ".join(told(capsys, tmp_path).split())
    assert "3 files left out, no report: broken\\x1b.json (not JSON" in shown
    assert "other.json (JSON, but no report)" in shown
    assert "later.json (format 99, and this version reads format 1)" in shown
    assert "1 file left out, a copy of another: copy.json" in shown
    assert "1 report, " in shown
    (tmp_path / "r.json").unlink()
    (tmp_path / "copy.json").unlink()
    with pytest.raises(ReportError, match="no report under it; 3 other JSON files, the first: "):
        reports_of(tmp_path)


def test_a_flip_says_what_changed_in_set_up():
    """From the run before that judged the cell, past those that did not; not from the first of its spell."""
    reports = [
        contents(row(verdict="holds"), claims=[(2, "strict", "holds")], protocol={"seed": 1}),
        contents(row(verdict="holds"), claims=[(2, "strict", "holds")]),
        contents(row(verdict="measured", quick=True, value=9.0), weights="e" * 64, claims=[(2, "strict", "measured")]),
        contents(row(verdict="falsified"), code="d" * 64, claims=[(2, "strict", "falsified")]),
        contents(row(verdict="falsified", value=0.4), claims=[(2, "strict", "falsified")]),
    ]
    found = folder(*reports)
    with load(found) as database:
        shown, cell = overview(database, found, changed=True), cells(database, found, "r2-*", changed=True)
    said = "◄ 2026-01-01 00:03 HOLDS → FALSIFIED in 3.json: code: cccccccc → dddddddd"
    assert f"claim 2  strict  HOLDS ×2 → FALSIFIED ×2\n      {said}\n" in shown
    assert "0.500 → 0.400  4×  HOLDS ×2 → FALSIFIED ×2" in shown  # What quarter sizes gave is not among them.
    assert said in cell
    assert [line.split()[:4] for line in cell.splitlines() if "≥ 0.8" in line][2:] == [
        [str(run), "2026-01-01", f"00:0{run - 1}", "FALSIFIED"] for run in (4, 5)
    ]


def test_models_are_followed_without_the_digest_of_their_files():
    """A folder that was trained on is the same series; two models of one report that would share a name are not."""
    one, other = (contents(row(model=name, verdict="holds")) for name in ("local-a1a1a1a1", "local-b2b2b2b2"))
    both = contents(*(row(model=name) for name in ("local-a1a1a1a1", "local-b2b2b2b2")))
    assert query(folder(one, other), "SELECT DISTINCT model FROM rows") == [("local",)]
    assert query(folder(both), "SELECT count(DISTINCT model) FROM rows") == [(2,)]
    found = folder(one, other)
    with load(found) as database:
        named = cells(database, found, "r2-local-c-strict", changed=False)
        assert cells(database, found, "r2-local-b2b2b2b2-*", changed=False) == named


def test_cells_are_chosen_by_pattern(tmp_path, capsys):
    """Blocks other than the last too; nothing found is an error that says what there is."""
    save(tmp_path, "r.json", *(row(block=i, half=0.1) for i in range(8)))
    shown = told(capsys, tmp_path, "--cell", "r2-*-block[02]")
    assert [line.split()[0] for line in shown.splitlines() if line.startswith("r2-")] == ["r2-m-c-strict-block0", "r2-m-c-strict-block2"]
    assert "r2, block 7" in told(capsys, tmp_path)
    assert "block 2" not in told(capsys, tmp_path)
    assert "No cell of r2-* ever flipped." in told(capsys, tmp_path, "--cell", "r2-*", "--changed")
    assert command.main(["history", str(tmp_path), "--cell", "r2-m-c-strict-blok7"]) == 4
    assert "(did you mean 'r2-m-c-strict-block7'?)" in capsys.readouterr().err


REFUSED = {
    "a file": ("SELECT * FROM read_csv('{file}')", "disabled by configuration"),
    "a file by name": ("SELECT * FROM '{file}'", "disabled by configuration"),
    "writing": ("COPY rows TO '{file}.csv'", "takes one SELECT"),
    "attaching": ("ATTACH '{file}.db'", "takes one SELECT"),
    "opening it up": ("SET enable_external_access = true", "takes one SELECT"),
    "two statements": ("SELECT 1; DROP TABLE rows", "takes one SELECT"),
    "nothing": ("", "takes one SELECT"),
    "a variable of Python": ("SELECT * FROM visible", "Table with name visible does not exist"),
    "no SQL": ("selec 1", 'syntax error at or near "selec"'),
    "a wrong name": ("SELECT * FROM rowss", 'Table with name rowss does not exist! (Did you mean "rows"?)'),
    "a parameter": ("SELECT ?", "--sql: "),
    "no text": ("SELECT '\udcff'", "not text in UTF-8"),
}


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED)
def test_a_query_reads_the_reports_and_nothing_else(tmp_path, monkeypatch, text, said):
    """Each is refused in one line, and no file is read or made."""
    monkeypatch.setattr(history_query, "visible", np.arange(3.0), raising=False)
    file = tmp_path / "secret.csv"
    file.write_text("a\n1\n")
    with pytest.raises(ReportError) as refused:
        query(folder(contents(row())), text.format(file=file))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == [file]


def test_an_answer_is_a_table_csv_or_json(tmp_path, capsys):
    """The same lines in each; NULL is nothing, lists stay lists."""
    save(tmp_path, "r.json", row(value=0.5, half=0.1), row("x", value=None, verdict="error"), claims=[(2, "strict", "holds")])
    text = "SELECT predicate, value, [1, 2] AS l, TIMESTAMP '2026-01-02' AS t, 'nan'::DOUBLE AS n FROM rows ORDER BY predicate"
    as_json = json.loads(told(capsys, tmp_path, "--sql", text, "--format", "json"))
    assert as_json[0] == {"predicate": "r2", "value": 0.5, "l": [1, 2], "t": "2026-01-02 00:00:00", "n": None}
    as_csv = list(csv.DictReader(told(capsys, tmp_path, "--sql", text, "--format", "csv").splitlines()))
    assert as_csv[1] == {"predicate": "x", "value": "", "l": "[1, 2]", "t": "2026-01-02 00:00:00", "n": ""}
    table = told(capsys, tmp_path, "--sql", text)
    assert "predicate  value" in table
    assert "(2 lines)" in table
    assert written(["a"], [], "csv") == "a"
    assert command.main(["history", str(tmp_path), "--format", "csv"]) == 4
    assert command.main(["history", str(tmp_path), "--sql", text, "--changed"]) == 4


def test_names_do_no_harm():
    """SQL, control characters and NUL in names of models, texts, predicates and set-ups are text, in tables and on a terminal."""
    named = {"model": HOSTILE, "corpus": HOSTILE, "rung": HOSTILE, "predicate": HOSTILE}
    first = contents(row(**named, verdict="holds"), claims=[(2, HOSTILE, "holds")])
    second = contents(row(**named, verdict="falsified"), claims=[(2, HOSTILE, "falsified")], protocol={HOSTILE: HOSTILE})
    found = folder(first, second)
    assert query(found, "SELECT DISTINCT model, corpus, rung, predicate FROM rows") == [(HOSTILE,) * 4]
    with load(found) as database:
        table = written(*answer(database, "SELECT * FROM rows"), "text")
        for shown in (overview(database, found, False), cells(database, found, "*", True), table):
            assert "x\\x1b[31m'; DROP TABLE" in shown
            assert not {"\x1b", "\u202e", "\x00"} & set(shown)


def test_old_reports_and_those_of_other_versions_are_in_it():
    """Without standard errors or code; with claims and predicates that nobody declares here."""
    found = folder(contents(row(half=0.1), old=True), contents(row("unheard_of", claim=9), claims=[(9, "strict", "holds")]))
    assert query(found, "SELECT standard_error, code FROM rows JOIN runs USING (run) WHERE run = 1") == [(None, None)]
    with load(found) as database:
        assert "claim 9  unheard_of" in overview(database, found, False)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(-1.7e308, 1.7e308), min_size=1, max_size=60))
def test_bars_follow_the_figures(values):
    """A bar for each of the last 40, in their order: no greater figure has a lower bar; the least and the greatest have the ends."""
    bars, shown = sparkline(values), values[-40:]
    assert len(bars) == len(shown)
    assert all(p <= q for (v, p), (w, q) in itertools.combinations(zip(shown, bars, strict=True), 2) if v < w)
    if min(shown) < max(shown) and max(shown) / 2 - min(shown) / 2 > 0:
        assert (bars[shown.index(min(shown))], bars[shown.index(max(shown))]) == ("▁", "█")
