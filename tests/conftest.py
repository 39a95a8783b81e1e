"""For the suite's own tests: no user's store is touched, simulations run when they are asked for, and ``pytest claims`` can be run."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

# No test reaches the network or a cache of the user's. Set before anything imports huggingface_hub, which reads them then.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="claims-tests-hub-")

import pytest
import torch
import transformers
from filelock import FileLock

from reports.__main__ import main
from tests import bundles, planted
from tests.forked_runs import Runs

ROOT = Path(__file__).parent.parent
LINEARITY = [
    f"{ROOT}/claims/{test}"
    for test in (
        "claim_2_linearity_is_conditional.py::test_block_is_linear_on_its_own_inputs",
        "claim_4_linearity_grows_with_depth.py::test_linearity_rises_with_depth",
        "claim_4_linearity_grows_with_depth.py::test_the_last_block_is_more_linear_than_the_first",
        "claim_4_linearity_grows_with_depth.py::test_linearity_never_falls",
    )
]


@pytest.fixture(autouse=True)
def own_store(tmp_path_factory, monkeypatch):
    """Every test has a store of its own."""
    monkeypatch.setenv("CLAIMS_STORE", str(tmp_path_factory.mktemp("store")))


def pytest_configure(config):
    """Register the opt-in marker."""
    config.addinivalue_line("markers", "simulation: minutes of repetitions, run by -m simulation")


def pytest_unconfigure():
    """Remove the cache of this process."""
    shutil.rmtree(os.environ["HF_HOME"], ignore_errors=True)


def pytest_collection_modifyitems(config, items):
    """Leave simulations out unless ``-m`` names them."""
    if "simulation" not in (config.option.markexpr or ""):
        skip = pytest.mark.skip(reason="a simulation: run it by -m simulation")
        for item in items:
            if item.get_closest_marker("simulation"):
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def outside_a_workflow(monkeypatch):
    """In a workflow of GitHub the runs that tests start would annotate it, and fill its summary."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


def save_llama(folder: Path, blocks: int = 8) -> None:
    """Save a tiny random Llama with its tokenizer: a process of its own knows no planted architecture."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=512, hidden_size=32, num_hidden_layers=blocks, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    planted.tokenizer().save_pretrained(folder)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    """Planted models and text on disk, as a user would have them."""
    folder = tmp_path_factory.mktemp("shelf")
    planted.save(folder / "rising", shares=planted.RISING)
    planted.save(folder / "falling", shares=planted.RISING[::-1])
    planted.save(folder / "short", shares=planted.RISING[-3:])
    planted.save(folder / "flat", shares=[0.6] * 8)
    planted.save(folder / "broken", shares=planted.RISING, fault="scaled")
    save_llama(folder / "llama")
    planted.corpus(folder / "text", evaluation=64 * 256)
    planted.corpus(folder / "little", calibration=32 * 256 - 1)
    return folder


@pytest.fixture(scope="session")
def bundled(tmp_path_factory, worker_id):
    """A run with falsified cells, and its bundle: made once for all processes of the suite."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "bundled"
    with FileLock(f"{folder}.lock"):
        if not (folder / "made").exists():
            folder.mkdir(exist_ok=True)
            bundles.make(folder)
            (folder / "made").touch()
    return bundles.made_in(folder)


@pytest.fixture(scope="session")
def forked():
    """Starts runs in processes of their own, with faults."""
    with Runs() as runs:
        yield runs


@pytest.fixture(scope="session")
def alone(forked, shelf, tmp_path_factory):
    """A run of the quick tests that nothing happened to, with its arguments."""
    given = (*LINEARITY, f"--model={shelf / 'llama'}", f"--corpus={shelf / 'text'}")
    return given, forked.run(tmp_path_factory.mktemp("alone"), *given)


@pytest.fixture
def bundle(bundled, tmp_path):
    """A copy of the bundle, to be damaged."""
    return Path(shutil.copytree(bundled.bundle, tmp_path / "bundle"))


@pytest.fixture
def replayed(bundle, capsys):
    """Replay the copy, with options; returns the exit code, and what was printed to either stream."""

    def run(*options):
        code = main(["replay", str(bundle), *map(str, options)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def claims(pytester, shelf):
    """Run ``pytest claims`` in this process, from an empty folder: the quick tests, of linearity, unless others are given."""

    def run(*arguments, model="rising", text="text", files=LINEARITY):
        given = [f"--model={shelf / model}"] if model else []
        given += [f"--corpus={shelf / text}"] if text else []
        result = pytester.runpytest_inprocess(
            f"--rootdir={ROOT}", "-c", ROOT / "pyproject.toml", "-p", "no:cacheprovider", *files, *given, *arguments
        )
        file = pytester.path / "report.json"
        result.report = json.loads(file.read_text()) if file.exists() else None
        return result

    return run
