"""One bit that flips in a file that is kept: it is read with the same contents, or refused with a reason; never with another figure.

A baseline is exempt: people edit it, in a repository that has a hash of its own for every version of it. So are the slimmed reports that a
repository keeps. For maps see ``test_map_files``, for bundles ``test_tampered_bundles``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.store import Store, StoreWarning, read
from reports import report_file
from reports.__main__ import main
from reports.digest import NAME, digest
from reports.document import ReportError
from reports.document import read as read_report
from tests import made_baselines
from tests.forked_runs import Fault

PLACES = 24
"""Bits flipped in each entry."""


@pytest.fixture(scope="module")
def entries(forked, alone, tmp_path_factory):
    """Every entry of a run, by what it holds, with a sweep that was not finished."""
    folder = tmp_path_factory.mktemp("entries")
    killed = forked.run(folder, *alone[0], fault=Fault("linearity by affine maps", 3, "begins", signal=9))
    assert killed.code == -9
    named = {}
    for file in Store(folder / "store").entries():
        key, _ = read(file)
        named[key["measurement"] + (" unfinished" if key.get("unfinished") else "")] = file
    return named


KINDS = ["file hash", "subject", "windows", "linearity by rank-k maps", "linearity by affine maps unfinished"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_in_any_kind_of_entry_is_seen(entries, kind):
    """At the ends, over the header and all over the data: the file is no entry any more, and the store sets it aside with a reason."""
    assert set(entries) == set(KINDS)
    file = entries[kind]
    data = file.read_bytes()
    key, _ = read(file)
    header = 8 + int.from_bytes(data[:8], "little")
    draw = np.random.default_rng(0)
    places = {0, 7, 8, header - 1, header, len(data) - 1}
    for start, end in ((8, header), (header, len(data))):
        if end > start:
            places |= {int(place) for place in draw.integers(start, end, PLACES)}
    kept = Store(file.parent.parent.parent)
    for place in sorted(place for place in places if place < len(data)):
        broken = bytearray(data)
        broken[place] ^= 1 << int(draw.integers(8))
        file.write_bytes(broken)
        with pytest.raises(ValueError, match=r"\w"):
            read(file)
        if place % 8 == 0:
            with pytest.warns(StoreWarning, match=r"set aside \(.+\); measuring again"):
                assert kept.get(key, lambda record: record) is None
        file.write_bytes(data)
    assert read(file)[0] == key


def test_a_run_on_a_store_with_a_bit_flipped_in_every_entry_gives_equal_rows(forked, alone, entries):
    """Hashes, facts, windows, findings and the bookmark are all set aside, each with a line, and measured again."""
    for file in entries.values():
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    folder = entries["subject"].parent.parent.parent.parent
    before = len(Store(folder / "store").set_aside())
    given, left_alone = alone
    ended = forked.run(folder, *given)
    assert (ended.code, ended.report["rows"]) == (0, left_alone.report["rows"])
    assert len(Store(folder / "store").set_aside()) == before + len(entries)
    assert ended.said.count("set aside (") == len(entries)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report as a run writes it."""
    file = tmp_path_factory.mktemp("report") / "report.json"
    report_file.write(file, made_baselines.contents(made_baselines.with_figures()))
    return file


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**9), bit=st.integers(0, 7))
def test_a_flipped_bit_in_a_report_gives_no_other_figure(report, tmp_path_factory, place, bit):
    """Anywhere in the file: the report is refused, or all that it says is what was written, but for the name of the digest itself."""
    data = bytearray(report.read_bytes())
    data[place % len(data)] ^= 1 << bit
    file = tmp_path_factory.getbasetemp() / f"flipped-{os.getpid()}.json"
    file.write_bytes(data)
    try:
        found = read_report(file).contents
    except ReportError:
        return
    written = json.loads(report.read_text())
    assert {name: part for name, part in found.items() if name in written and name != NAME} == {
        name: part for name, part in written.items() if name != NAME
    }


def test_every_digit_of_a_report_counts(report, tmp_path, capsys):
    """Every figure with one digit changed to another is refused, by the commands too, with a line that says what to do."""
    text = report.read_text()
    value = json.loads(text)["rows"]
    figures = [row[name] for row in value for name in ("value", "low", "high", "margin", "standard_error") if row.get(name)]
    assert len(figures) >= 12
    file = tmp_path / "r.json"
    for figure in figures:
        shown = json.dumps(figure)
        at = shown.index(".") + 1
        other = shown[:at] + str((int(shown[at]) + 1) % 10) + shown[at + 1 :]
        file.write_text(text.replace(f": {shown}", f": {other}", 1))
        with pytest.raises(ReportError, match="altered or damaged since it was written"):
            read_report(file)
    assert main(["show", str(file)]) == 4
    assert (
        "r.json: altered or damaged since it was written: its digest is not that of its contents; take it from" in capsys.readouterr().err
    )
    contents = json.loads(file.read_text())
    del contents[NAME]
    file.write_text(json.dumps(contents))
    assert read_report(file).rows


def test_a_number_beyond_all_is_refused(report, tmp_path):
    """1e999 is read as infinity, which has no digest: a report that is refused, and no traceback."""
    file = tmp_path / "r.json"
    file.write_text(re.sub(r'"value": -?\d[^,]*', '"value": 1e999', report.read_text(), count=1))
    assert "1e999" in file.read_text()
    with pytest.raises(ReportError, match="altered or damaged since it was written"):
        read_report(file)


def test_the_digest_is_over_the_contents_and_nothing_else(report):
    """SHA-256 of the JSON with keys sorted and no spaces, whatever the order and the layout of the file; written out with the library."""
    contents = json.loads(report.read_text())
    stated = contents.pop(NAME)
    canonical = json.dumps(contents, sort_keys=True, separators=(",", ":")).encode()
    assert stated == hashlib.sha256(canonical).hexdigest() == digest(dict(reversed(contents.items())))
    report_file.write(report, json.loads(report.read_text()))
    assert json.loads(report.read_text())[NAME] == stated


def test_a_report_of_a_run_carries_its_digest(claims):
    """With a comparison against a baseline, which is entered last, inside it."""
    assert claims("-m", "paper").ret == 0
    assert main(["baseline", "report.json", "--to", "b.json"]) == 0
    result = claims("-m", "paper", "--baseline=b.json")
    assert "baseline" in result.report
    assert result.report[NAME] == digest(result.report)


def test_a_flipped_bit_in_the_pages_of_a_table_is_seen(tmp_path):
    """A reader that verifies checksums refuses a page with a flipped bit: every page of every column has one."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    from harness.protocol import Protocol
    from harness.token_table import TokenTable

    table = TokenTable(tmp_path / "t.parquet", Protocol())
    values = np.random.default_rng(0).normal(size=500)
    table._parts["m", "c", "paper"] = pyarrow.table({"kl": values, "next": [f"w{i}" for i in range(500)]})
    data = table._encoded()
    meta = parquet.ParquetFile(pyarrow.BufferReader(data)).metadata
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    assert meta.num_rows == 500
    draw = np.random.default_rng(1)
    wanted = parquet.read_table(pyarrow.BufferReader(data))
    seen = 0
    for place in draw.integers(4, footer, 200):
        broken = bytearray(data)
        broken[place] ^= 1 << int(draw.integers(8))
        try:
            found = parquet.read_table(pyarrow.BufferReader(bytes(broken)), page_checksum_verification=True)
        except (OSError, pyarrow.ArrowException):
            seen += 1
            continue
        assert found.equals(wanted)
    assert seen > 180
