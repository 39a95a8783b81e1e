"""``--save-maps``: the maps that replace blocks are kept, fitted once, and what the last one costs is measured from the file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from claims.replacement import of_single
from fixtures.described import model_at
from fixtures.text_files import corpus_at
from harness import map_file
from harness.bench import Bench
from harness.kept_maps import fitted, moments_at
from harness.maps import parts_of
from harness.protocol import Protocol
from harness.replaced_model import load_replaced
from harness.store import Store
from harness.subject import Placement
from tests import planted, planted_variance
from tests import planted_replacement as stacked
from tests.conftest import ROOT
from tests.kept_streams import keep

RUNGS = ("paper", "typical", "strict")
CELLS = ["-m", "claim2", "-k", "one_block_is_cheap_to_replace"]


def quiet(name):
    """Announce nothing."""
    return lambda done, total: None


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Text of the planted vocabulary."""
    return planted_variance.corpus(tmp_path_factory.mktemp("maps") / "text")


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory, text):
    """Laboratories that keep maps, by what is planted; small protocol, a store each."""
    made = {}

    def get(subject):
        if subject not in made:
            folder = tmp_path_factory.mktemp(subject)
            bench = Bench(Placement("cpu"), Protocol().quickened(), Store(folder / "store"), quiet, maps=folder)
            made[subject] = bench.laboratory(model_at(str(stacked.save(folder / "m", **stacked.SUBJECTS[subject]))), corpus_at(str(text)))
        return made[subject]

    return get


def own_perplexity(model, ids):
    """Exponentiated cross-entropy by the model's own forward pass over windows, at all positions."""
    ids = torch.from_numpy(ids)
    with torch.inference_mode():
        logits = model(ids).logits[:, :-1].double()
    return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).exp())


def scored(lab, rung):
    """The windows on which a rung scores interventions."""
    return lab.windows("strict")["intervention"] if rung == "strict" else lab.windows("paper")["evaluation"]


@pytest.mark.parametrize("rung", RUNGS)
def test_the_file_holds_the_maps_that_the_rung_replaces_blocks_by(laboratory, rung):
    """Of every block, to the last bit of float32: one sweep over calibration windows gives what kept streams give."""
    lab = laboratory("fragile")
    found = map_file.read(lab.saved_maps(rung).file)
    layout = "strict" if rung == "strict" else "paper"
    anatomy = lab._bench.load(lab.model).anatomy
    streams = keep(anatomy, lab.windows(layout), lab.protocol, None, torch.device("cpu"), quiet(""))
    for block in sorted(lab.protocol.replacement.fitted(stacked.BLOCKS)):
        whole = fitted(moments_at(streams, block, rung, lab.protocol.groups), rung, lab.protocol).whole
        for name, part in parts_of(whole).items():
            assert np.array_equal(found.maps[block][name], part.float().numpy()), (block, name)
    assert len(found.maps) == stacked.BLOCKS
    about = found.about
    assert (about["rung"], about["n_blocks"], about["width"]) == (rung, stacked.BLOCKS, stacked.D)
    assert (about["model"], about["corpus"], about["text"]) == (lab.model.name, lab.corpus.name, lab.splits.fingerprint)
    protocol = {name: part for name, part in lab.protocol.as_dict().items() if name != "easy"}  # Claim 5's sizes: no map depends on them.
    assert (about["weights"], about["protocol"]) == (lab.facts.weights, protocol)
    assert about["source"]["path"].endswith("/m")


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("subject", ["opaque", "guided"])
def test_what_the_note_says_is_what_the_loaded_model_gives(laboratory, subject, rung):
    """Perplexity by an own cross-entropy of the loaded model; on paper, where all positions count, the rung's own figure too."""
    lab = laboratory(subject)
    remarks = of_single(lab, rung)
    saved = remarks["evidence"]["saved"]
    model, _ = load_replaced(saved["file"], [stacked.BLOCKS - 1])
    assert saved["perplexity"] == pytest.approx(own_perplexity(model, scored(lab, rung)), rel=1e-5)
    figure = remarks["evidence"]["perplexity"]["last"]
    assert (figure == pytest.approx(saved["perplexity"], rel=1e-5)) is (rung == "paper")
    found = map_file.read(saved["file"])
    assert (saved["bytes"], saved["map_bytes"]) == (Path(saved["file"]).stat().st_size, found.bytes_of(stacked.BLOCKS - 1))
    assert f"maps in {saved['file']} ({saved['bytes']:,} bytes, of which block 9's map is {saved['map_bytes']:,})" in remarks["note"]
    assert f"with block 9's loaded from there perplexity is {saved['perplexity']:,.2f} at all positions" in remarks["note"]
    assert ("where the figure is of typical ones alone" in remarks["note"]) is (rung != "paper")


def test_what_is_measured_is_the_file(laboratory):
    """Another map under the same header: the file stands, and the perplexity is that of the map in it."""
    lab = laboratory("damped")
    first = lab.saved_maps("paper")
    found = map_file.read(first.file)
    map_file.write(first.file, found.about, [{**parts, "weight": -parts["weight"]} for parts in found.maps])
    second = lab.saved_maps("paper")
    assert second.perplexity > first.perplexity + 1
    model, _ = load_replaced(first.file, [stacked.BLOCKS - 1])
    assert second.perplexity == pytest.approx(own_perplexity(model, scored(lab, "paper")), rel=1e-5)


@pytest.mark.parametrize("rung", RUNGS)
def test_a_linear_model_is_replaced_whole_for_nothing(laboratory, rung):
    """Exactly linear blocks, every one replaced: the perplexity stands."""
    lab = laboratory("linear")
    file = lab.saved_maps(rung).file
    whole = lab._bench.load(lab.model).anatomy.model
    model, _ = load_replaced(file, range(stacked.BLOCKS))
    clean = own_perplexity(whole, scored(lab, rung))
    assert own_perplexity(model, scored(lab, rung)) == pytest.approx(clean, rel=1e-3)
    assert own_perplexity(load_replaced(file, [0])[0], scored(lab, rung)) == pytest.approx(clean, rel=1e-3)


def test_what_is_there_is_not_fitted_again_and_anything_else_is_replaced(claims, text, tmp_path, monkeypatch):
    """Measurements come from the store, maps from a sweep of their own: once; again after damage, or under another protocol."""
    folder = stacked.save(tmp_path / "m", **stacked.SUBJECTS["linear"])
    maps = tmp_path / "new" / "maps"
    cells = [*CELLS, "--quick"]

    def run(*more):
        return claims(*cells, *more, model=folder, text=text, files=[ROOT / "claims"])

    without = run()
    assert '"saved"' not in json.dumps(without.report)
    first = run("--save-maps", maps)
    assert first.ret == 0
    first.stdout.fnmatch_lines(["*replacement of five blocks, paper windows: from the store*", "*maps of every block, strict: measured*"])
    name = first.report["rows"][0]["model"], first.report["rows"][0]["corpus"]
    files = [maps.resolve() / f"{name[0]}_{name[1]}_{rung}.safetensors" for rung in RUNGS]
    assert sorted(maps.iterdir()) == sorted(files)
    before = [(file.stat().st_ino, file.read_bytes()) for file in files]
    evidence = first.report["evidence"]["/".join(name)]
    assert [evidence[f"single_replacement/{rung}"]["saved"]["file"] for rung in RUNGS] == list(map(str, files))

    with monkeypatch.context() as patched:
        patched.setattr("harness.loading.load", lambda *_: pytest.fail("loaded"))
        assert run("--save-maps", maps).report["rows"] == first.report["rows"]
    assert [(file.stat().st_ino, file.read_bytes()) for file in files] == before

    sound = map_file.read(files[0])
    files[0].write_bytes(before[0][1][:-1])
    assert run("--save-maps", maps).ret == 0
    again = map_file.read(files[0])
    assert again.about == sound.about
    assert all(np.array_equal(a[name], b[name]) for a, b in zip(again.maps, sound.maps, strict=True) for name in b)
    assert files[1].stat().st_ino == before[1][0]
    assert run("--save-maps", maps, "--seed=1").ret == 0
    assert [map_file.read(file).about["protocol"]["seed"] for file in files] == [1, 1, 1]
    assert sorted(maps.iterdir()) == sorted(files)


def test_a_file_that_cannot_be_written_is_an_error_of_its_cell(claims, text, tmp_path):
    """A folder in the file's place: ERROR, the file named, exit code 6; the other rungs are measured."""
    folder = stacked.save(tmp_path / "m", **stacked.SUBJECTS["linear"])
    name = f"{model_at(str(folder)).name}_{corpus_at(str(text)).name}_paper.safetensors"
    (tmp_path / "maps" / name).mkdir(parents=True)
    result = claims(*CELLS, "--quick", "--save-maps", tmp_path / "maps", model=folder, text=text, files=[ROOT / "claims"])
    assert result.ret == 6
    rows = {row["rung"]: row for row in result.report["rows"] if row["predicate"] == "single_replacement"}
    assert {rung: row["verdict"] for rung, row in rows.items()} == {"paper": "error", "typical": "measured", "strict": "measured"}
    assert f"{name}: cannot be written" in rows["paper"]["reason"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("/dev/null/x", "Not a directory"),
        ("/dev/null", "exists"),
        ("pyproject.toml", "exists"),
        ("/proc/maps", "No such file|cannot be written|Permission"),
        ("x" * 300, "too long"),
        ("~nobody-of-this-name/x", "home"),
        ("", "empty; expected a folder"),
    ],
)
def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_loaded(claims, monkeypatch, given, message):
    """Exit code 4, one message that names the option, no report."""
    monkeypatch.setattr("harness.loading.load", lambda *_: pytest.fail("loaded"))
    given = str(ROOT / given) if given.endswith(".toml") else given
    result = claims(f"--save-maps={given}", model="rising")
    assert result.ret == 4
    result.stderr.re_match_lines([rf".*--save-maps .*({message})"])
    assert result.report is None


def test_workers_keep_maps_too(shelf, tmp_path):
    """Two models on two workers: three whole files each, and a loader that takes them."""
    torch.manual_seed(1)
    other = type(load_model(shelf / "llama"))(load_model(shelf / "llama").config)
    other.save_pretrained(tmp_path / "other")
    planted.tokenizer().save_pretrained(tmp_path / "other")
    command = [sys.executable, "-m", "pytest", str(ROOT / "claims"), "-q", "-p", "no:cacheprovider", *CELLS, "--quick", "-n", "2"]
    command += [f"--model={shelf / 'llama'}", f"--model={tmp_path / 'other'}", f"--corpus={shelf / 'text'}"]
    command += ["--report", str(tmp_path / "r.json"), "--save-maps", str(tmp_path / "maps")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    files = sorted((tmp_path / "maps").iterdir())
    assert len(files) == 6
    assert {map_file.read(file).about["rung"] for file in files} == set(RUNGS)
    assert load_replaced(files[0], [7])[0].model.layers[7].weight.dtype == torch.float32


def load_model(folder):
    """Load a small model without the suite."""
    import transformers

    return transformers.AutoModelForCausalLM.from_pretrained(folder)
