"""The store gives back what was put in, exactly, or nothing: never something else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from harness import atomic, store_command
from harness.fingerprints import Memory
from harness.layouts import decode
from harness.linearity import Linearity, flattened
from harness.measurement import RANK, Sizes
from harness.store import Record, Store, StoreWarning, encode, read

ROOT = Path(__file__).parent.parent
KEY = {"measurement": "test", "version": 1}
RECORD = Record(
    {"a": np.arange(6.0).reshape(2, 3), "b": np.array([np.nan, -0.0]), "scalar": np.array(2.5), "none": np.zeros((0, 4))}, {"seconds": 1.5}
)


def whole(record: Record) -> Record:
    """Decode everything."""
    return record


def the_file(store: Store) -> Path:
    """The one entry."""
    (file,) = store.entries()
    return file


def test_what_is_put_in_comes_out(tmp_path):
    """Bit for bit, also through another Store; another key finds nothing."""
    Store(tmp_path).put(KEY, RECORD)
    found = Store(tmp_path).get(KEY, whole)
    assert found.notes == {"seconds": 1.5}
    for name, array in RECORD.arrays.items():
        assert found.arrays[name].tobytes() == array.tobytes()
        assert found.arrays[name].shape == array.shape
    assert Store(tmp_path).get({**KEY, "version": 2}, whole) is None
    Store(tmp_path).drop(KEY)
    assert Store(tmp_path).get(KEY, whole) is None


def test_without_a_folder_nothing_is_kept():
    """Opting out."""
    store = Store(None)
    store.put(KEY, RECORD)
    assert store.get(KEY, whole) is None
    assert list(store.entries()) == []


def test_every_flipped_bit_is_noticed(tmp_path):
    """One bit anywhere in the file: set aside with a warning, and the place is free again."""
    data = encode(KEY, RECORD)
    draw = np.random.default_rng(0)
    for place in [*range(12), *draw.choice(np.arange(12, len(data)), 60, replace=False)]:
        store = Store(tmp_path / str(place))
        store.put(KEY, RECORD)
        broken = bytearray(data)
        broken[place] ^= 1 << int(draw.integers(8))
        the_file(store).write_bytes(broken)
        with pytest.warns(StoreWarning, match="set aside .* measuring again"):
            assert store.get(KEY, whole) is None
        assert list(store.entries()) == []
        assert len(store.set_aside()) == 1
        store.put(KEY, RECORD)
        assert store.get(KEY, whole) is not None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200), cut=st.integers(0, 10**6))
def test_truncated_and_crafted_files_are_set_aside(tmp_path_factory, data, cut):
    """Random bytes, and any prefix of a true entry."""
    store = Store(tmp_path_factory.mktemp("s"))
    true = encode(KEY, RECORD)
    for content in (data, true[: cut % len(true)], true + data if data else b""):
        store.put(KEY, RECORD)
        the_file(store).write_bytes(content)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert store.get(KEY, whole) is None
        assert [w.category for w in caught] == [StoreWarning]


@pytest.mark.parametrize(
    "content",
    [
        (2**63).to_bytes(8, "little") + b"{}",
        (2**40).to_bytes(8, "little") + b"{}",
        save({"a": np.zeros(3)}),
        save({"a": np.zeros(3)}, metadata={"format": "1", "key": json.dumps(KEY), "notes": "{}", "digest": "0" * 64}),
        encode({"measurement": "another"}, RECORD),
        (100_002).to_bytes(8, "little") + b"[" * 100_002 + b" " * 9,
        (88).to_bytes(8, "little") + b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},"__metadata__":{"format":"1"}}   ' + b"0000",
    ],
)
def test_crafted_entries_are_set_aside(tmp_path, content):
    """Lies about sizes, no digest, a wrong digest, a true entry of another key."""
    store = Store(tmp_path)
    store.put(KEY, RECORD)
    the_file(store).write_bytes(content)
    with pytest.warns(StoreWarning, match="set aside"):
        assert store.get(KEY, whole) is None


def test_an_entry_that_does_not_decode_is_set_aside(tmp_path):
    """A whole entry of wrong shapes is no result either."""
    store = Store(tmp_path)
    store.put(KEY, Record({name: np.zeros(3) for name in Linearity.NAMES}))
    with pytest.warns(StoreWarning, match="does not fit"):
        assert store.get(KEY, lambda record: Linearity(record.arrays)) is None


def test_results_of_other_sizes_are_not_results(tmp_path):
    """Fewer blocks, groups or windows than asked for, a rung missing: set aside."""
    sizes = Sizes(blocks=4, width=8, groups=16, windows={"calibration": 32, "evaluation": 16})

    def found(blocks=4, groups=16, windows=16):
        ones = {name: np.ones(blocks) for name in Linearity.NAMES}
        rungs = {"paper": 0, "held-out": windows, "typical": windows}
        return {r: Linearity({**ones, "fit": np.ones((groups, blocks)), "score": np.ones((w, blocks))}) for r, w in rungs.items()}

    def readable(arrays):
        store = Store(tmp_path)
        store.put(KEY, Record(arrays))
        return store.get(KEY, lambda record: RANK.read(record.arrays, sizes)) is not None

    assert readable(flattened(found()))
    missing = found()
    del missing["typical"]
    for wrong in (found(blocks=2), found(groups=0), found(windows=3), missing, {}):
        with pytest.warns(StoreWarning, match="set aside"):
            assert not readable(flattened(wrong))


@pytest.mark.parametrize(
    "ids", [np.zeros((3, 7), np.int64), np.zeros((0, 8), np.int64), np.full((4, 8), -1), np.zeros((4, 8)), np.zeros(32, np.int64)]
)
def test_windows_of_other_sizes_are_not_windows(ids):
    """Wrong shapes, negative or fractional ids."""
    counts = {"calibration": 4, "evaluation": 4}
    plan = {"layout": "paper", "window": 8, "count": counts, "fewest": counts}
    good = np.zeros((4, 8), np.int64)
    decode(Record({"calibration": good, "evaluation": good}), plan)
    with pytest.raises(ValueError, match="windows"):
        decode(Record({"calibration": good, "evaluation": ids}), plan)


@pytest.mark.parametrize("step", ["fsync", "fdopen"])
def test_a_full_disk_is_a_warning_and_leaves_nothing_behind(tmp_path, monkeypatch, step):
    """The run goes on; no part is left."""

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.warns(StoreWarning, match="No space left"):
        Store(tmp_path).put(KEY, RECORD)
    monkeypatch.undo()
    assert not [f for f in tmp_path.rglob("*") if f.is_file()]


def test_a_store_that_cannot_be_made_is_a_warning(tmp_path):
    """A file stands where the folder should."""
    (tmp_path / "entries").write_text("")
    with pytest.warns(StoreWarning, match="cannot be written"):
        Store(tmp_path).put(KEY, RECORD)


WRITER = """
import sys, numpy as np
from pathlib import Path
from harness.store import Record, Store
store = Store(Path(sys.argv[1]))
for i in range(100):
    store.put({"measurement": "race", "i": i}, Record({"a": np.full(2000, float(i))}, {"i": i}))
    print(i, flush=True)
"""


def test_two_writers_one_killed_over_and_over(tmp_path):
    """Six rounds: the survivor's 100 entries verify, no key holds another's data, and no part outlives the next start."""
    draw = np.random.default_rng(1)
    for round_ in range(6):
        folder = tmp_path / str(round_)
        command = [sys.executable, "-c", WRITER, str(folder)]
        pair = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        for _ in range(int(draw.integers(1, 90))):
            pair[1].stdout.readline()
        pair[1].send_signal(signal.SIGKILL)
        pair[0].communicate()
        pair[1].communicate()
        assert pair[0].returncode == 0
        store = Store(folder)
        assert not list(folder.rglob("*.part"))
        assert len(list(store.entries())) == 100
        for i in range(100):
            found = store.get({"measurement": "race", "i": i}, whole)
            assert (found.arrays["a"] == i).all()
        assert store.set_aside() == []


def test_parts_of_living_writers_are_left_alone(tmp_path):
    """Only what a dead process of this machine left, or what is a day old, is removed."""
    mine = tmp_path / f".x.{atomic._HOST}-{os.getpid()}.abc.part"
    dead = tmp_path / f".x.{atomic._HOST}-999999999.abc.part"
    far, old = tmp_path / ".x.elsewhere-1.abc.part", tmp_path / ".x.elsewhere-2.abc.part"
    for part in (mine, dead, far, old):
        part.write_bytes(b"")
    os.utime(old, (time.time() - 1e5,) * 2)
    assert atomic.remove_abandoned_parts(tmp_path) == 2
    assert sorted(tmp_path.iterdir()) == sorted([mine, far])


def test_the_command_lists_verifies_and_prunes(tmp_path, capsys):
    """Sizes, ages, damage with exit code 1, and pruning of what is damaged, unfinished or old."""
    store = Store(tmp_path)
    store.put(KEY, Record(notes={"model": "m\x1b[31m", "corpus": "c"}))
    store.put({**KEY, "unfinished": True}, RECORD)
    store.put({**KEY, "version": 3}, RECORD)
    run = lambda *arguments: store_command.main(["--store", str(tmp_path), *arguments])  # noqa: E731
    assert run("ls") == 0
    listed = capsys.readouterr().out
    assert "test (unfinished)" in listed
    assert r"m\x1b[31m · c" in listed
    assert "3 entries" in listed
    assert run("verify") == 0
    victim = next(f for f in store.entries() if read(f)[0].get("version") == 3)
    victim.write_bytes(victim.read_bytes()[:-1])
    assert run("verify") == 1
    assert "DAMAGED" in capsys.readouterr().out
    assert run("prune") == 0
    assert [read(f)[0] for f in store.entries()] == [KEY]
    assert run("prune", "--older-than", "1") == 0
    assert len(list(store.entries())) == 1
    assert run("prune", "--all") == 0
    assert list(store.entries()) == []
    assert store_command.main(["--store", str(tmp_path / "none"), "ls"]) == 4
    assert store_command.main(["--store", "~nobody-of-this-name/x", "ls"]) == 4


def test_dropping_what_is_not_there_touches_nothing(tmp_path, monkeypatch):
    """A read-only file system refuses unlink even then; a warm store on one is used without a warning."""

    def refuse(*_args, **_kwargs):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    Store(tmp_path).drop(KEY)


def test_the_command_survives_whatever_lies_in_the_store(tmp_path, capsys):
    """Folders, pipes and crafted files under an entry's name are named, and pruned where that can be done."""
    folder = tmp_path / "entries" / "ab"
    folder.mkdir(parents=True)
    (folder / "folder.safetensors").mkdir()
    os.mkfifo(folder / "pipe.safetensors")
    (folder / "list.safetensors").write_bytes(save({"a": np.zeros(1)}, metadata={"format": "1", "key": "[]", "notes": "3", "digest": ""}))
    assert store_command.main(["--store", str(tmp_path), "verify"]) == 1
    assert capsys.readouterr().out.count("DAMAGED") == 3
    assert store_command.main(["--store", str(tmp_path), "prune"]) == 1
    assert [f.name for f in folder.iterdir()] == ["folder.safetensors"]
    assert store_command.main(["--store", "x" * 300, "ls"]) == 4


def test_files_are_hashed_once_and_again_when_they_change(tmp_path, monkeypatch):
    """Remembered by path, size and time across processes; a hub blob's own name is taken."""
    from harness import fingerprints

    reads = []
    real = fingerprints.of_file
    monkeypatch.setattr(fingerprints, "of_file", lambda file: reads.append(file) or real(file))
    file, store = tmp_path / "w.gguf", Store(tmp_path / "store")
    file.write_bytes(b"one")
    first = Memory(store).of_file(file)
    assert Memory(store).of_file(file) == first
    assert len(reads) == 1
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert Memory(store).of_file(file) != first
    assert len(reads) == 2
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    (blobs / ("a" * 64)).write_bytes(b"one")  # A file in the hub's cache is named by its hash, or was before it was damaged.
    (tmp_path / "model.safetensors").symlink_to(blobs / ("a" * 64))
    assert Memory(store).of_file(tmp_path / "model.safetensors") == first
