"""``python -m reports replay``: a bundle's figures come out again, and a bundle that was tampered with does not pass."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys

import pytest

from claims import claim_2_linearity_is_conditional as of_linearity
from harness.easy_protocol import EasyProtocol
from harness.protocol import Protocol
from harness.replayed import protocol_from
from reports import replay
from reports.bundle_schema import BundlePart
from reports.replayed_cell import laboratory_of
from tests.bundles import ROOT, first, forge, forge_file, manifest, refused


def test_every_cell_comes_out_as_reported(replayed, bundled):
    """Figure, interval and verdict of every cell, one line each; nothing differs, and the report knows the bundle."""
    digest = manifest(bundled.bundle)["sha256"]
    code, out, _ = replayed("--report", bundled.report, "--digest", digest.upper())
    lines = out.splitlines()
    rows = [row for row in json.loads(bundled.report.read_text())["rows"] if row["verdict"] == "falsified"]
    assert code == 0
    assert digest in lines[0]
    assert lines[0].endswith("as --digest and --report has it")
    assert lines[1] == "code and bounds are those of the run"
    assert [line.split()[0] for line in lines[2:-1]] == ["same"] * len(rows)
    assert all(f" {row['predicate']} " in line and "FALSIFIED" in line for row, line in zip(rows, lines[2:-1], strict=True))


ALONE = """
import socket, sys
class Missing:  # As where they are not installed: SciPy looks for torch in sys.modules, so None must not stand there.
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "tokenizers", "datasets", "gguf"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
def refuse(*given, **named):
    raise OSError("no network here")
socket.socket.connect = socket.getaddrinfo = refuse
from reports.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_neither_torch_nor_model_nor_network_is_needed(bundled, tmp_path):
    """In a process that cannot import torch, with model, text and store gone, from another machine's folder."""
    moved = shutil.copytree(bundled.bundle, tmp_path / "copied")
    given = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", ALONE, "replay", str(moved)]
    done = subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "differs" not in done.stdout
    assert "refused" not in done.stdout


FORGED = {
    "value": 0.5,
    "low": -3.0,
    "high": 7.0,
    "level": 0.5,
    "margin": 9.0,
    "verdict": "holds",
    "caveats": ["all is well"],
    "reason": "another reason",
}


def test_a_row_that_was_altered_comes_out_otherwise(bundle, replayed, bundled):
    """Each field of a row, digests made to fit: the line says what was reported and what is; the report of the run is not fooled."""
    cells = len(manifest(bundle)["cells"])
    fields = list(FORGED)
    for start in range(0, len(fields), cells):
        taken = fields[start : start + cells]
        forge(
            bundle, lambda c, taken=taken: [cell["row"].update({name: FORGED[name]}) for name, cell in zip(taken, c["cells"], strict=False)]
        )
        code, out, _ = replayed()
        lines = out.splitlines()[2:]
        assert code == 1
        for name, line in zip(taken, lines, strict=False):
            assert line.startswith("differs")
            assert f"; {name} was reported as {json.dumps(FORGED[name])}, and is " in line
            assert line.count("was reported") == 1
        assert refused(replayed("--report", bundled.report), "another bundle")
        shutil.rmtree(bundle)
        shutil.copytree(bundled.bundle, bundle)


def test_rounding_is_no_difference(bundle, replayed):
    """A value off by less than 1e-12 of itself, as another processor may have it, is the same and said; one off by more is not."""
    forge(bundle, lambda c: c["cells"][0]["row"].update(value=c["cells"][0]["row"]["value"] * (1 + 3e-14)))
    code, out, _ = replayed()
    assert code == 0
    assert re.search(r"FALSIFIED .*; to [23]e-14 of the figure\n", out)
    forge(bundle, lambda c: c["cells"][0]["row"].update(value=c["cells"][0]["row"]["value"] * (1 + 3e-11)))
    assert replayed()[0] == 1


def reported(**changed):
    """A row as a bundle has it: a ratio whose logarithm has a standard error."""
    return {"value": 2.0, "low": 1.9, "high": 2.1, "level": 0.95, "margin": 0.1, "standard_error": 0.25, "origin": 0.0, **changed}


@pytest.mark.parametrize("name", ["value", "low", "high", "level", "margin", "standard_error"])
@pytest.mark.parametrize("origin", [None, 0.0, 2.0])
def test_every_number_of_a_row_may_be_rounded(name, origin):
    """One unit in the last place is no difference, in a standard error as little as in the figure; a billionth is."""
    found = reported(origin=origin)
    wrong, most = replay._differences({**found, name: math.nextafter(found[name], 9)}, found)
    assert wrong == []
    assert 0 < most < 1e-15
    wrong, _ = replay._differences({**found, name: found[name] * (1 + 1e-9)}, found)
    assert len(wrong) == 1
    assert wrong[0].startswith(f"{name} was reported as ")


def test_a_small_standard_error_is_rounded_as_its_figure_is():
    """That of ln(value − origin) has the rounding of value − origin, of which the value may be a million times as much."""
    found = reported(value=1 + 1e-6, low=1.0, high=1 + 2e-6, origin=1.0, standard_error=0.01)
    assert replay._differences({**found, "standard_error": 0.01 + 1e-8}, found)[0] == []
    assert len(replay._differences({**found, "standard_error": 0.01 + 1e-5}, found)[0]) == 1
    large = reported(value=1e6, low=1e6, high=1e6)
    assert len(replay._differences({**large, "level": 0.95 + 1e-9}, large)[0]) == 1


def test_an_older_bundle_is_held_against_what_it_states(bundle, replayed):
    """Rows of a version that had no standard errors come out as reported; what they do state is compared all the same."""

    def older(contents):
        for cell in contents["cells"]:
            for name in ("standard_error", "origin"):
                del cell["row"][name]

    forge(bundle, older)
    assert replayed()[0] == 0
    forge(bundle, lambda c: c["cells"][0]["row"].update(standard_error=None))
    assert "standard_error was reported as null, and is " in replayed()[1]


def test_numbers_that_were_altered_come_out_otherwise(bundle, replayed, bundled):
    """A record with every digest made to fit gives another figure; who knows the bundle's digest does not get that far."""
    forge_file(bundle, first(bundle), lambda key, arrays: arrays["paper/value"].__imul__(0.5))
    code, out, _ = replayed()
    assert code == 1
    assert [line.split()[0] for line in out.splitlines()[2:-1]].count("differs") == 1
    assert refused(replayed("--digest", manifest(bundled.bundle)["sha256"]), "another bundle", "--digest")


MISPLACED = {
    "records": (lambda key, arrays: key.update(version=0), "was measured by its version 0, and this code has version 1"),
    "windows": (lambda key, arrays: arrays["evaluation"].__iadd__(1), "is of another windows"),
    "weights": (lambda key, arrays: key.update(weights="0" * 64), "is of another weights"),
    "protocol": (lambda key, arrays: key["protocol"].update(seed=1), "is of another protocol"),
    "shape": (lambda key, arrays: arrays.update({"paper/value": arrays["paper/value"][1:]}), "cannot be computed (ValueError"),
}


@pytest.mark.parametrize("what", MISPLACED)
def test_what_does_not_belong_together_is_refused_for_that_cell(bundle, replayed, what):
    """A record of another version, of other windows, weights or protocol, or of another shape: no figure, the reason, exit code 1."""
    change, words = MISPLACED[what]
    forge_file(bundle, first(bundle, "windows" if what == "windows" else "records"), change)
    code, out, _ = replayed()
    line = next(line for line in out.splitlines() if "· r2 ·" in line)
    assert code == 1
    assert line.startswith("refused")
    assert words in line


def test_what_was_not_kept_is_said(bundle, replayed):
    """A cell without the record, or of a predicate, that this version's test needs."""
    forge(bundle, lambda c: c["cells"][-1]["failures"].clear())
    code, out, _ = replayed()
    assert code == 1
    assert "'exit head on the embeddings, paper windows', which this version's test asks for, was not kept" in out
    forge(bundle, lambda c: c["cells"][0]["row"].update(predicate="r3"))
    assert "r3" in (out := replayed()[1])
    assert "this version has no such cell" in out


def test_other_code_and_bounds_are_named(replayed, monkeypatch):
    """Figures that come out alike under other code still do, and it is said that it is other code."""
    monkeypatch.setattr(replay, "of_code", lambda: {"version": "9.9", "sha256": "f" * 64})
    monkeypatch.setattr(replay.lock, "bounds_hash", lambda: "e" * 64)
    code, out, _ = replayed()
    assert code == 0
    assert "this code is 9.9 (ffffffff), and the run's was" in out
    assert "these bounds are eeeeeeee" in out


def test_a_report_that_says_otherwise_is_refused(bundled, replayed, tmp_path):
    """The report of another run, one whose rows were altered, one that hides a cell, and what is no digest."""
    report = json.loads(bundled.report.read_text())
    del report["sha256"]  # As whoever alters a report on purpose would.
    falsified = next(row for row in report["rows"] if row["verdict"] == "falsified")
    for change, words in (
        (lambda: falsified.update(value=0.25), ("say different things", "r2-")),
        (lambda: falsified.update(verdict="holds"), ("say different things", "r2-")),
        (lambda: report["bundle"].update(sha256="0" * 64), ("another bundle",)),
        (lambda: report.pop("bundle"), ("names no bundle",)),
    ):
        change()
        (tmp_path / "r.json").write_text(json.dumps(report))
        assert refused(replayed("--report", tmp_path / "r.json"), *words)
    assert refused(replayed("--digest", "0" * 63), "64 hexadecimal digits")


def test_a_note_on_a_file_of_maps_comes_out_again(bundle):
    """What was said of files that a run writes beside its figures is kept with them."""
    file = {"file": "/x/maps.safetensors", "size": 2_000, "block": 9, "map_size": 1_000, "perplexity": 12.5}

    def change(contents):
        cell = next(cell for cell in contents["cells"] if cell["row"]["predicate"] == "multi_replacement")
        cell["maps"] = file

    contents = BundlePart.model_validate_json(json.dumps(forge(bundle, change)))
    cell = next(cell for cell in contents.cells if cell.maps)
    notes = []
    of_linearity.test_one_block_is_cheap_to_replace(
        "paper", laboratory_of(bundle, contents, cell), lambda figure, note, **rest: notes.append(note)
    )
    assert "maps in /x/maps.safetensors (2,000 bytes, of which block 9's map is 1,000); with block 9's loaded" in notes[0]


def test_a_protocol_is_rebuilt_exactly_or_refused():
    """From its JSON, with every nested part; other fields and other types are no protocol."""
    protocol = Protocol(seed=3, easy=EasyProtocol().trained_for(20)).quickened()
    stated = json.loads(json.dumps(protocol.as_dict()))
    assert protocol_from(stated) == protocol
    for wrong in (
        {**stated, "more": 1},
        {**stated, "window": "256"},
        {**stated, "quick": 1},
        {**stated, "grid": 3},
        {**stated, "easy": {}},
    ):
        with pytest.raises(ValueError, match="protocol"):
            protocol_from(wrong)
