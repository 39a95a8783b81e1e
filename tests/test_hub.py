"""Models and text of the hub: fetched, recorded, cached, refused; against a hub on this machine, in processes of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fixtures import Hub, ModelError, hub, hub_trouble, wikitext
from fixtures.described import model_at
from tests import hub_server
from tests.conftest import save_llama
from tests.hub_server import COMMIT

ROOT = Path(__file__).parent.parent
ADDED = "meta-llama/Llama-3.1-8B"  # The model that the README adds.
ROWS = {"train": [" = Title = \n", "", " A line . \n"] * 40, "test": [" Another line . \n", ""] * 40}


@pytest.fixture(scope="module")
def repositories(shelf, tmp_path_factory):
    """What the hub holds: a model (with a pickle beside), and WikiText-2 in miniature."""
    from datasets import Dataset

    folder = tmp_path_factory.mktemp("repositories")
    shutil.copytree(shelf / "llama", folder / "tiny")
    (folder / "tiny" / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "tiny" / "modeling_tiny.py").write_text("raise RuntimeError('run')")
    save_llama(folder / "added", blocks=32)
    (folder / "empty").mkdir()
    (folder / "empty" / "README.md").write_text("nothing")
    (folder / "wikitext" / "wikitext-2-raw-v1").mkdir(parents=True)
    for split, rows in ROWS.items():
        Dataset.from_dict({"text": rows}).to_parquet(folder / "wikitext" / f"wikitext-2-raw-v1/{split}-00000-of-00001.parquet")
    return folder


@pytest.fixture
def served(repositories):
    """A hub that serves them; ``org/gated`` is gated."""
    tiny = repositories / "tiny"
    repos = {"org/tiny": tiny, "org/gated": tiny, "org/empty": repositories / "empty", ADDED: repositories / "added"}
    with hub_server.serving(repos | {"datasets/Salesforce/wikitext": repositories / "wikitext"}, gated={"org/gated"}) as server:
        yield server


@pytest.fixture
def run(served, shelf, tmp_path):
    """Run ``pytest claims`` in a process whose hub is the one on this machine, with a cache and a store of its own."""

    def process(*arguments, corpus=shelf / "text", code=None, **environment):
        given = {
            **os.environ,
            "HF_ENDPOINT": served.address,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "CLAIMS_STORE": str(tmp_path / "store"),
            **environment,
        }
        if code is not None:
            return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=given, capture_output=True, text=True, timeout=300)
        report = tmp_path / "report.json"
        command = [sys.executable, "-m", "pytest", "claims", "-q", "-p", "no:cacheprovider", "--verdicts=report", "--report", report]
        command += ["--corpus", corpus] if corpus else []
        done = subprocess.run([*map(str, command), *arguments], cwd=ROOT, env=given, capture_output=True, text=True, timeout=300)
        done.report = json.loads(report.read_text()) if report.exists() else None
        report.unlink(missing_ok=True)
        return done

    return process


def test_a_model_on_the_hub_is_fetched_once_and_its_commit_recorded(run, served):
    """The size is said before; no pickle and no code is fetched; a second run needs no network at all."""
    done = run("--model", "org/tiny", "-k", "depth_gain")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "downloading org/tiny at 01234567: " in done.stderr
    fetched = [line.rsplit("/", 1)[1] for line in served.asked if line.startswith("GET") and "/resolve/" in line]
    assert sorted(fetched) == ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    ((name, model),) = done.report["models"].items()
    assert name == f"tiny-{COMMIT[:8]}"
    assert model["source"] == f"org/tiny at {COMMIT}"
    served.asked.clear()
    again = run("--model", "org/tiny", "-k", "depth_gain", HF_HUB_OFFLINE="1")
    assert again.returncode == 0
    assert served.asked == []
    assert again.report["rows"] == done.report["rows"]
    pinned = run("--model", f"org/tiny@{COMMIT}", "-k", "depth_gain")
    assert pinned.returncode == 0
    assert not any("resolve" in line for line in served.asked)  # with network the list is compared, and nothing fetched again


def test_the_model_that_the_readme_adds_is_measured(run, tmp_path):
    """Its block of Python, at most eight lines, and its command, as they stand: fetched from the hub that it names, and judged."""
    readme = (ROOT / "README.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```$", readme, re.S | re.M)
    (command,) = re.findall(r"`pytest claims (--models-from our_models.py [^`]*)`", readme)
    assert example.count("\n") <= 8
    (tmp_path / "our_models.py").write_text(example)
    done = run(*command.replace("our_models.py", str(tmp_path / "our_models.py")).split(), "-k", "depth_gain")
    assert done.returncode == 0, done.stdout + done.stderr
    ((name, model),) = done.report["models"].items()
    assert (command.split()[-1], model["source"]) == (name, f"{ADDED} at {COMMIT}")
    judged = [row["verdict"] for row in done.report["rows"] if row["predicate"] == "depth_gain" and row["rung"] in ("paper", "strict")]
    assert {verdict in ("holds", "falsified", "inconclusive") for verdict in judged} == {True}


def test_a_cache_that_another_program_filled_is_completed(run, served):
    """Weights without a tokenizer are no whole model: the rest is fetched where there is a network, and said where not."""
    fill = "from huggingface_hub import hf_hub_download as get; [get('org/tiny', f) for f in ('config.json', 'model.safetensors')]"
    assert run(code=fill).returncode == 0
    done = run("--model", "org/tiny", "-k", "depth_gain", HF_HUB_OFFLINE="1")
    assert done.returncode == 6
    assert "not in the cache, and HF_HUB_OFFLINE is set" in done.stdout
    more = "from huggingface_hub import hf_hub_download as get; get('org/tiny', 'tokenizer.json')"
    assert run(code=more).returncode == 0
    served.asked.clear()
    assert run("--model", "org/tiny", "-k", "depth_gain").returncode == 0
    assert any(line.endswith("tokenizer_config.json") for line in served.asked)


def test_remote_code_that_is_cached_needs_no_network(run):
    """Fetched only with the option; then the same command works without network."""
    given = ("--model", "org/tiny", "-k", "depth_gain", "--trust-remote-code")
    assert run(*given).returncode == 0
    assert run(*given, HF_HUB_OFFLINE="1").returncode == 0


@pytest.mark.parametrize("look", ["--markers", "--fixtures", "--collect-only", "--setup-plan"])
def test_what_only_looks_downloads_nothing(run, served, look):
    """No text and no weights for a list."""
    assert run(look, corpus=None).returncode in (0, 6)
    assert not any("resolve" in line for line in served.asked)


def test_models_that_cannot_be_had_are_one_error_each_and_the_others_run(run):
    """Gated, not there, no such revision, no weights: what to do is said, exit code 6, and the last model is measured."""
    given = ["org/gated", "org/none", "org/tiny@v9", "org/tiny@v8", "org/empty", "org/tiny"]
    done = run(*(word for name in given for word in ("--model", name)), "-k", "depth_gain")
    assert done.returncode == 6
    errors = [line for line in done.stdout.splitlines() if line.startswith("ERROR: ")]
    assert len(errors) == 5
    assert "org/gated: gated; accept its licence at http" in errors[0]
    assert "'hf auth login'" in errors[0]
    assert "org/none: not on the hub, or private" in errors[1]
    assert "org/tiny: no revision 'v9' on the hub; 'main' is the newest" in errors[2]
    assert "org/empty: the repository has no config.json" in errors[4]
    assert sum(row["value"] is not None for row in done.report["rows"]) == 4
    assert "Traceback" not in done.stdout


def test_workers_do_as_the_main_process_found(run, served):
    """A branch is resolved once, not in every worker."""
    done = run("--model", "org/tiny", "-k", "depth_gain", "-n", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"tiny-{COMMIT[:8]} is not in the cache and will be downloaded" in done.stderr
    assert served.asked.count("GET /api/models/org/tiny/revision/main") == 1


def test_a_plan_asks_for_sizes_and_fetches_no_weights(run, served):
    """The download's size is known before, and what cannot be had is an error already."""
    done = run("--model", "org/tiny", "--plan")
    assert done.returncode == 0
    assert f"org/tiny@{COMMIT[:8]}, a download of about 397 kB" in done.stdout
    assert "32 + 16 windows, 12,288 tokens; about " in done.stdout
    assert not any("safetensors" in line for line in served.asked)
    assert done.report is None
    assert run("--model", "org/gated", "--plan").returncode == 6


def test_auto_takes_wikitext_when_the_hub_gives_it(run):
    """Rows joined as in the released file; kept, so that a later run without network takes it too; else pydocs, with the reason."""
    code = "from fixtures.corpora import choose; corpus, why = choose('auto'); print(corpus.name, '|', why, '|', corpus.read().fingerprint)"
    first = run(code=code)
    assert first.stdout.startswith("wikitext-2 | auto: wikitext-2, as in the paper | "), first.stderr
    assert run(code=code, HF_HUB_OFFLINE="1").stdout == first.stdout
    texts = {split: "".join(row or " \n" for row in rows) for split, rows in ROWS.items()}
    show = "from fixtures import CORPORA; s = CORPORA['wikitext-2'].read(); print(repr((s.calibration, s.evaluation)))"
    assert run(code=show).stdout.strip() == repr((texts["train"], texts["test"]))
    other = run(code=code, HF_HUB_OFFLINE="1", HF_HOME="/nonexistent")
    assert other.stdout.startswith("pydocs | auto: wikitext-2 cannot be had (")
    assert "HF_HUB_OFFLINE is set" in other.stdout


def test_text_that_cannot_be_had_is_an_error_before_a_model_is_loaded(run, served):
    """One line, exit code 6."""
    served.repos.pop("datasets/Salesforce/wikitext")
    done = run("--model", "org/tiny", "-k", "depth_gain", corpus="wikitext-2")
    assert done.returncode == 6
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("ERROR: ")]
    assert "Salesforce/wikitext: not on the hub, or private" in line
    assert "models" not in done.report


def test_without_network_a_registered_model_is_one_error(claims):
    """Named with what to do; exit code 6; nothing is tried again for every cell."""
    hub_trouble.unreachable.cache_clear()
    result = claims("-m", "gpt2", model=None)
    assert result.ret == 6
    lines = [line for line in result.stdout.lines if line.startswith("ERROR: ")]
    assert len(lines) == 1
    assert "openai-community/gpt2: not in the cache, and HF_HUB_OFFLINE is set. Unset HF_HUB_OFFLINE; or " in lines[0]
    assert "hf download openai-community/gpt2 --revision 607a30d783dfa663caf39e06633721c8d4cfcd7e --include " in lines[0]
    assert {row["model"] for row in result.report["rows"]} == {"gpt2"}


@pytest.mark.parametrize("hangs", ["lookup", "refused", "proxy"])
def test_a_network_that_does_not_answer_does_not_hold_us_up(monkeypatch, hangs):
    """A name server that hangs, a refused connection, a proxy that is not there: no, in finite time."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(hub_trouble, "_CONNECT_SECONDS", 0.2)
    released, asked, ended = threading.Event(), [], []

    def connect(address, timeout):
        asked.append(address)
        if hangs == "lookup":
            released.wait(60)
            ended.append(True)
        raise OSError("no")

    monkeypatch.setattr(socket, "create_connection", connect)
    if hangs == "proxy":
        monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    hub_trouble.unreachable.cache_clear()
    try:
        why = hub_trouble.unreachable()
        assert not ended  # The answer came before the lookup did.
    finally:
        released.set()
        hub_trouble.unreachable.cache_clear()
    host = "proxy.example" if hangs == "proxy" else "huggingface.co"
    assert why == f"no network: {host} cannot be reached"
    assert asked == [(host, 3128 if hangs == "proxy" else 443)]


def test_a_disk_that_is_too_small_is_named_before_the_download(monkeypatch):
    """With the size, and what to set."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 9, 1))
    listing = hub.Listing(COMMIT, {"model.safetensors": 5_000_000_000})
    with pytest.raises(ModelError, match=r"the download takes 5\.0 GB, .* has 1 bytes free; set HF_HOME"):
        hub.fetch("org/x", listing, ["model.safetensors"], lambda line: pytest.fail("announced"))


@pytest.mark.parametrize(
    ("names", "index", "message"),
    [
        ({"pytorch_model.bin": 1}, None, r"pytorch_model\.bin is a pickle, which is never loaded"),
        ({"model.safetensors.index.json": 1}, {"weight_map": {"a": "s1"}}, "names shards that are not there"),
        ({"model.safetensors.index.json": 1}, [], "names shards that are not there"),
        ({}, None, "no model.safetensors"),
    ],
)
def test_a_repository_without_whole_safetensors_is_refused(names, index, message):
    """Pickles, missing shards, a broken index."""
    with pytest.raises(ModelError, match=message):
        hub.weights_of(names, "org/x", lambda name: index)


def test_shards_are_those_the_index_names():
    """Other safetensors of the repository (consolidated copies) are left alone."""
    names = {"model.safetensors.index.json": 1, "a": 1, "b": 1, "consolidated.safetensors": 9}
    index = {"weight_map": {"x": "b", "y": "a", "z": "b"}}
    assert hub.weights_of(names, "org/x", lambda name: index) == ["model.safetensors.index.json", "a", "b"]


def test_an_id_on_the_hub_without_network_says_what_to_do():
    """The model is described as one that cannot be had."""
    hub_trouble.unreachable.cache_clear()
    found = model_at("org/name@v1")
    assert "hf download org/name --revision v1" in found.unavailable
    assert found.name.startswith("org-name-")
    assert found.name != model_at("org/name@v2").name


@pytest.mark.parametrize(
    ("name", "value"), [("HF_ENDPOINT", "http://x:abc"), ("https_proxy", "http://h:port"), ("HF_ENDPOINT", "http://x:99999")]
)
def test_an_address_without_a_port_number_is_no_network(monkeypatch, name, value):
    """Said with the variable that holds it."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv(name, value)
    hub_trouble.unreachable.cache_clear()
    try:
        assert "is no number (HF_ENDPOINT, or a proxy's variable)" in hub_trouble.unreachable()
    finally:
        hub_trouble.unreachable.cache_clear()


def test_the_pinned_data_set_is_a_commit():
    """Text that changes under a name would change every figure."""
    assert Hub(wikitext.REPOSITORY, wikitext.COMMIT).pinned
