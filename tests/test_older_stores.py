"""What another version of the program left in the store is never taken for this one's: it is left alone, or set aside and measured anew."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from harness import measurement as m
from harness import measuring, store, store_command
from harness.store import Record, Store, StoreWarning, encode, read
from tests.conftest import LINEARITY

KEY = {"measurement": "test", "version": 2}
RECORD = Record({"a": np.arange(6.0)}, {"seconds": 1.5})


def written(header, arrays=RECORD.arrays):
    """An entry as another version would have written it: whole, its digest right by that version's lights, with another header."""
    from safetensors.numpy import save

    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    return save(arrays, metadata={**header, "digest": store._digest(header, arrays)})


PLAIN = {"format": store.FORMAT, "key": store._canonical(KEY), "notes": store._canonical(RECORD.notes)}
OTHERS = {
    "older": {**PLAIN, "format": "0"},
    "newer": {**PLAIN, "format": "2"},
    "without a format": {name: part for name, part in PLAIN.items() if name != "format"},
    "with a field that is not known": {**PLAIN, "unit": "bits"},
    "without notes": {name: part for name, part in PLAIN.items() if name != "notes"},
}


@pytest.mark.parametrize("what", OTHERS)
def test_an_entry_of_another_format_is_set_aside_and_says_so(tmp_path, capsys, what):
    """Though its digest fits: one line names its format and fields, what it was is kept, and the place is free for what is measured."""
    kept = Store(tmp_path)
    kept.put(KEY, RECORD)
    (file,) = kept.entries()
    assert kept.get(KEY, lambda record: record) is not None
    file.write_bytes(written(PLAIN))
    assert kept.get(KEY, lambda record: record) is not None
    data = written(OTHERS[what])
    file.write_bytes(data)
    assert store_command.main(["--store", str(tmp_path), "verify"]) == 1
    assert "this version reads format 1 with format, key, notes" in capsys.readouterr().out
    with pytest.warns(StoreWarning, match=r"set aside \(format .* with .*; this version reads format 1 .*; measuring again"):
        assert kept.get(KEY, lambda record: record) is None
    assert [aside.read_bytes() for aside in kept.set_aside()] == [data]
    kept.put(KEY, RECORD)
    assert read(file)[0] == KEY


def test_a_measurement_of_another_version_is_left_alone(claims, tmp_path, monkeypatch):
    """Its entry has another name: it is not read, though it holds other figures, and stays; the run measures, and its rows are right."""
    given = ("-m", "paper", f"--store={tmp_path}", "--verdicts=report")
    real = measuring.Measuring._key

    def older(lab, measurement, ids):
        key = real(lab, measurement, ids)
        return {**key, "version": key["version"] - 1} if measurement is m.RANK else key

    expected = claims("-m", "paper", "--no-store", "--verdicts=report").report["rows"]
    with monkeypatch.context() as patch:
        patch.setattr(measuring.Measuring, "_key", older)
        claims(*given)
    (file,) = [file for file in Store(tmp_path).entries() if read(file)[0]["measurement"] == m.RANK.name]
    key, record = read(file)
    wrong = {name: array + 0.01 for name, array in record.arrays.items()}
    file.write_bytes(encode(key, replace(record, arrays=wrong)))
    before = file.read_bytes()
    result = claims(*given)
    assert result.report["rows"] == expected
    assert file.read_bytes() == before
    assert Store(tmp_path).set_aside() == []
    assert "from the store" not in str(result.stdout)


def test_a_store_of_another_format_costs_a_measurement_and_no_figure(claims, tmp_path):
    """Every entry of a run, with other figures under another format: all are set aside, each said once, and the rows stand."""
    given = ("-m", "paper", f"--store={tmp_path}", "--verdicts=report")
    expected = claims(*given, files=LINEARITY[1:]).report["rows"]
    entries = list(Store(tmp_path).entries())
    for file in entries:
        key, record = read(file)
        arrays = {name: array + 1 if array.dtype.kind == "f" else array for name, array in record.arrays.items()} or {"empty": np.zeros(0)}
        file.write_bytes(written({"format": "0", "key": json.dumps(key), "notes": json.dumps(record.notes)}, arrays))
    result = claims(*given, files=LINEARITY[1:])
    assert result.ret == 0
    assert result.report["rows"] == expected
    assert len(Store(tmp_path).set_aside()) == len(entries)
    assert str(result.stdout).count("set aside (format 0 with format, key, notes; this version reads format 1") == len(entries)
    assert sorted(Store(tmp_path).entries()) == sorted(entries)
