"""``--tokens``: a table of single tokens says what was measured of each, and its file is whole at any time."""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.destroyed import LateBlocks
from harness.errors import MeasurementError
from harness.exits import Exit
from harness.labels import encode_names
from harness.laboratory import Laboratory
from harness.protocol import Protocol
from harness.token_table import TokenTable

COLUMNS = ["model", "corpus", "rung", "window", "position", "text", "next", "said"]
COLUMNS += ["counted", "full_confidence", "exit", "agreed", "confidence"]
COLUMNS += ["kl_late_1", "kl_late_2", "kl_late_3", "kl_late_4", "kl_together", "late_blocks"]
ODD = ["", " the", "\n", "a\r\nb", "🙂", "\ud83d", "\x00", '"\t', "\u202e", "é", "null"]
EXITS = 3


class Made(Laboratory):
    """A laboratory that was told what it finds; ``asked``: what it was asked for."""

    def __init__(self, table, name="m", blocks=12, late=(8, 9, 10, 11), windows=3, tokens=11, seed=0, text=ODD):
        self.model, self.corpus = SimpleNamespace(name=name, n_blocks=blocks), SimpleNamespace(name="text")
        self._bench = SimpleNamespace(tokens=table)
        self.asked, self.handed, self.written = [], {}, {}
        random = np.random.default_rng(seed)
        shape = (windows, tokens - 1)
        self.pieces = [text[i % len(text)] for i in random.integers(0, 99, windows * tokens)]
        self.pieces[: len(text)] = text
        self.said = [text[i % len(text)] for i in random.integers(0, 99, windows * (tokens - 1))]
        self.head = {name: np.full(1, np.nan) for name in Exit.SHAPES}
        self.head |= {
            "at": np.array([blocks / 2 - 1, 3.0, 7.0]),
            "agreed": random.integers(0, 2, (EXITS, *shape)).astype(float),
            "confidence": random.random((EXITS, *shape)),
            "full_confidence": random.random(shape),
            "counted": random.integers(0, 2, shape).astype(float),
            "pieces": encode_names([json.dumps(self.pieces)]),
            "said": encode_names([json.dumps(self.said)]),
        }
        self.late = {
            "blocks": np.array(late, float),
            "kl": random.exponential(size=(len(late), *shape)),
            "together": random.exponential(size=shape),
        }

    def exit(self, rung):
        """What is made up of exits."""
        self.asked.append(("exit", rung))
        return Exit(self.head)

    def late_blocks(self, rung):
        """What is made up of late blocks."""
        self.asked.append(("late_blocks", rung))
        return LateBlocks(self.late)


@pytest.fixture
def table(tmp_path):
    """A table that is written to a folder of its own."""
    return TokenTable(tmp_path / "tokens.parquet", Protocol())


def read(table):
    """The columns of a file by name, as Python's own values."""
    return pyarrow.parquet.read_table(table.file).to_pydict()


def whole(text):
    """A text as UTF-8 can hold it: half a character is replaced."""
    return "".join("\ufffd" if 0xD800 <= ord(c) < 0xE000 else c for c in text)


def expected(lab, rung):
    """The columns written out, position by position."""
    windows, positions = lab.head["counted"].shape
    rows = []
    for w in range(windows):
        for p in range(positions):
            at = w * (positions + 1) + p
            row = [lab.model.name, "text", rung, w, p, whole(lab.pieces[at]), whole(lab.pieces[at + 1]), whole(lab.said[w * positions + p])]
            row += [lab.head["counted"][w, p] == 1, lab.head["full_confidence"][w, p], int(lab.head["at"][0])]
            row += [lab.head["agreed"][0, w, p] == 1, lab.head["confidence"][0, w, p]]
            if lab.model.n_blocks < 10:
                row += [None] * 6
            else:
                kl = [*lab.late["kl"][:, w, p], None, None, None, None]
                row += [*kl[:4], lab.late["together"][w, p], ",".join(f"{b:.0f}" for b in lab.late["blocks"])]
            rows.append(row)
    return {name: list(column) for name, column in zip(COLUMNS, zip(*rows, strict=True), strict=True)}


def test_every_column_says_what_was_measured(table):
    """To the last bit, of every position; newlines, emoji, NUL and empty texts survive, half a character is replaced."""
    lab = Made(table)
    assert lab.keep_tokens("strict") == str(table.file)
    found = read(table)
    assert list(found) == COLUMNS
    assert found == expected(lab, "strict")
    assert len(found["text"]) == 3 * 10
    assert "🙂" in found["text"]
    assert "\ufffd" in found["text"]
    assert found["late_blocks"][0] == "8,9,10,11"
    kinds = {field.name: str(field.type) for field in pyarrow.parquet.read_schema(table.file)}
    assert [kinds[name] for name in ("model", "window", "counted", "exit", "kl_late_4")] == ["string", "int32", "bool", "int32", "double"]


def test_the_file_says_by_which_protocol(table):
    """Version of the columns and the protocol are in the file's metadata."""
    Made(table).keep_tokens("paper")
    about = pyarrow.parquet.read_schema(table.file).metadata
    assert about[b"assay.schema"] == b"1"
    assert json.loads(about[b"assay.protocol"]) == json.loads(json.dumps(Protocol().as_dict()))


@pytest.mark.parametrize("late", [(), (10,), (8, 9, 11)])
def test_fewer_late_blocks_leave_nulls(table, late):
    """A column of a block that is not there is null, of the same type; the others stand."""
    lab = Made(table, late=late)
    lab.keep_tokens("typical")
    found = pyarrow.parquet.read_table(table.file)
    assert found.to_pydict() == expected(lab, "typical")
    assert [found.column(f"kl_late_{i + 1}").null_count == len(found) for i in range(4)] == [i >= len(late) for i in range(4)]
    assert {str(found.schema.field(f"kl_late_{i + 1}").type) for i in range(4)} == {"double"}


@pytest.mark.parametrize(("blocks", "asked"), [(9, ["exit"]), (10, ["exit", "late_blocks"])])
def test_late_blocks_are_destroyed_in_models_of_ten_blocks(table, blocks, asked):
    """They are measured for the table itself; below ten blocks nothing is, and their columns are null."""
    lab = Made(table, blocks=blocks)
    lab.keep_tokens("paper")
    assert sorted(lab.asked) == [(what, "paper") for what in asked]
    assert read(table) == expected(lab, "paper")


def test_what_is_no_number_is_null(table):
    """NaN stands for no finding in a measurement, and is null here; infinity is a number."""
    lab = Made(table)
    lab.late["together"][0, :2] = np.nan, np.inf
    lab.head["agreed"][0, 0, 0] = np.nan
    lab.keep_tokens("paper")
    found = read(table)
    assert found["kl_together"][:2] == [None, np.inf]
    assert (found["agreed"][0], found["agreed"][1]) == (None, lab.head["agreed"][0, 0, 1] == 1)


def test_parts_of_several_models_and_rungs_stand_in_one_file(table):
    """Each comes after those before it, whatever the sizes; one measured again takes its own place; the file is always whole."""
    parts = [(Made(table), "paper"), (Made(table, "small", 6, windows=2, tokens=12, seed=1), "paper"), (Made(table, seed=2), "strict")]
    for so_far, (lab, rung) in enumerate(parts):
        lab.keep_tokens(rung)
        wanted = [expected(*part) for part in parts[: so_far + 1]]
        assert read(table) == {name: [value for part in wanted for value in part[name]] for name in COLUMNS}
    parts[0][0].keep_tokens("paper")
    assert read(table) == {name: [value for part in wanted for value in part[name]] for name in COLUMNS}
    assert list(table.file.parent.iterdir()) == [table.file]


@pytest.mark.parametrize("step", ["fsync", "fdopen"])
def test_a_failed_write_leaves_the_old_file_and_the_next_brings_all(table, monkeypatch, step):
    """A full disk is one error that names the option and the file; the old table stands, and no row is lost once there is room."""

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    first, second, third = Made(table), Made(table, "second", seed=1), Made(table, "third", seed=2)
    first.keep_tokens("paper")
    monkeypatch.setattr(os, step, full)
    with pytest.raises(MeasurementError, match=r"--tokens: .*tokens\.parquet: cannot be written \(No space left on device\)"):
        second.keep_tokens("paper")
    monkeypatch.undo()
    assert read(table) == expected(first, "paper")
    assert list(table.file.parent.iterdir()) == [table.file]
    third.keep_tokens("paper")
    assert list(dict.fromkeys(read(table)["model"])) == ["m", "second", "third"]


def test_findings_of_other_windows_are_not_put_side_by_side(table):
    """Exits and late blocks of different shapes are an error, and nothing is written."""
    lab = Made(table)
    lab.late = Made(table, windows=2).late
    with pytest.raises(MeasurementError, match="m on text were scored on other windows"):
        lab.keep_tokens("paper")
    assert not table.file.exists()


def test_nothing_is_kept_unless_asked_for():
    """Without ``--tokens`` nothing is measured for it."""
    lab = Made(None)
    assert lab.keep_tokens("paper") is None
    assert lab.asked == []


def test_a_name_is_safe_to_print(tmp_path):
    """Escapes in a path reach no terminal."""
    table = TokenTable(tmp_path / "a\x1b[31m.parquet", Protocol())
    assert Made(table).keep_tokens("paper").endswith("a\\x1b[31m.parquet")
    assert read(table)["rung"][0] == "paper"


@settings(max_examples=25, deadline=None)
@given(text=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=6))
def test_any_text_survives(tmp_path_factory, text):
    """Whatever a tokenizer's tokens say is read back as it was."""
    table = TokenTable(tmp_path_factory.mktemp("any") / "t.parquet", Protocol())
    lab = Made(table, windows=1, tokens=8, text=text)
    lab.keep_tokens("paper")
    found = read(table)
    assert [*found["text"], found["next"][-1]] == lab.pieces
    assert found["said"] == lab.said


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("tokens.csv", "expected a name that ends in .parquet"),
        ("tokens", "expected a name that ends in .parquet"),
        ("", "empty; expected a file"),
        ("none/tokens.parquet", "cannot be written, the folder .*none does not exist"),
        ("folder.parquet", "cannot be written, it is a folder"),
        ("/proc/tokens.parquet", "cannot be written"),
        ("x" * 300 + ".parquet", "too long"),
        ("~nobody-of-this-name/x.parquet", "home"),
        ("a\x1b.parquet/b.parquet", r"the folder .*a\\x1b\.parquet does not exist"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_loaded(claims, pytester, monkeypatch, given, message):
    """Exit code 4, one message that names the option, nothing written."""
    monkeypatch.setattr("harness.loading.load", lambda *_: pytest.fail("loaded"))
    (pytester.path / "folder.parquet").mkdir()
    result = claims(f"--tokens={given}")
    assert result.ret == 4
    result.stderr.re_match_lines([rf".*--tokens .*({message})"])
    assert result.report is None
    assert [file.name for file in pytester.path.iterdir()] == ["folder.parquet"]


def test_the_report_is_not_replaced_by_the_table(claims):
    """One file for both is refused."""
    result = claims("--tokens=r.parquet", "--report=r.parquet")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--tokens r.parquet: the report goes there"])


def test_workers_would_replace_the_file_of_one_another(claims, pytester):
    """``-n`` is refused, and none is started."""
    result = claims("--tokens=t.parquet", "-n", "2")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--tokens t.parquet: written by one process, and each worker would replace it; leave out -n"])
    assert list(pytester.path.iterdir()) == []


def test_without_pyarrow_it_is_said_what_to_install(claims, monkeypatch):
    """Where the option is given, at once; without it a run needs no pyarrow."""
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    result = claims("--tokens=t.parquet")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--tokens t.parquet: needs pyarrow, which cannot be imported (*); pip install * pyarrow"])
    assert claims("--collect-only", "-q").ret == 0


def test_the_file_that_the_option_names_is_the_one_written(claims, pytester, monkeypatch):
    """From the command line to the table: the model that is measured, by the run's protocol, on every rung that asks."""
    monkeypatch.setattr(Laboratory, "exit", lambda lab, rung: Made(None).exit(rung))
    monkeypatch.setattr(Laboratory, "late_blocks", lambda lab, rung: Made(None).late_blocks(rung))
    linearity, said = Laboratory.linearity, []

    def keeping(lab, rung):
        said.append(lab.keep_tokens(rung))
        return linearity(lab, rung)

    monkeypatch.setattr(Laboratory, "linearity", keeping)
    result = claims("-k", "depth_gain and (paper or typical)", "--tokens=t.parquet", "--seed=3")
    assert {row["rung"] for row in result.report["rows"] if row["value"] is not None} == {"paper", "typical"}
    assert set(said) == {str(pytester.path / "t.parquet")}
    found = pyarrow.parquet.read_table("t.parquet")
    assert {(row["model"], row["rung"]) for row in found.to_pylist()} == {(*result.report["models"], rung) for rung in ("paper", "typical")}
    assert json.loads(found.schema.metadata[b"assay.protocol"])["seed"] == 3


def test_a_selection_without_the_exit_head_is_said_at_the_end(claims, pytester):
    """One line where nothing came of the option, none where it was not given or nothing was to be measured; no file either way."""
    line, cells = "--tokens: nothing written, no cell of exit_agreement (claim 5) is selected", ["-m", "paper", "-k", "depth_gain"]
    for result in (claims(*cells, "--tokens=t.parquet"), claims("-k", "no_such_cell", "--tokens=t.parquet")):
        assert result.stdout.lines.count(line) == 1
    for more in (["--tokens=t.parquet", "--collect-only"], ["--tokens=t.parquet", "--plan"], []):
        assert line not in claims(*cells, *more).stdout.lines
    assert not (pytester.path / "t.parquet").exists()
