"""With workers: one report, every model loaded once in all, shared cores, a device each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest
import torch
import transformers

from fixtures.described import model_at
from harness import loading
from harness.errors import LongWorkError, SubjectError
from tests import planted
from tests.conftest import LINEARITY
from tests.test_models import load

ROOT = Path(__file__).parent.parent

COUNTING = """
import os
from harness import loading

real = loading.load

def counted(model, *given):
    with open(os.environ["LOADS"], "a") as stream:
        stream.write(f"{model.name} {os.getpid()}\\n")
    return real(model, *given)

loading.load = counted
"""


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three models of one architecture that every process knows."""
    folder = tmp_path_factory.mktemp("three")
    for seed in range(3):
        torch.manual_seed(seed)
        config = transformers.LlamaConfig(
            vocab_size=512, hidden_size=16, num_hidden_layers=8, num_attention_heads=2, num_key_value_heads=1, intermediate_size=32
        )
        transformers.LlamaForCausalLM(config).save_pretrained(folder / f"m{seed}")
        planted.tokenizer().save_pretrained(folder / f"m{seed}")
    return folder


@pytest.mark.parametrize("distribution", [[], ["--dist=loadgroup"], ["--dist=loadfile"], ["--dist=worksteal"], ["--dist=each"]])
def test_every_model_is_loaded_once_in_all(three, shelf, tmp_path, distribution):
    """Whatever ``--dist`` says, and although each model is asked for on two corpora: three models, three loads; one whole report."""
    (tmp_path / "counting.py").write_text(COUNTING)
    more = planted.corpus(tmp_path / "more", evaluation=17 * 256)
    files = (
        LINEARITY if distribution else [ROOT / "claims", "--quick", "-m", "paper"]
    )  # All claims once, at quarter sizes: they take a while.
    command = [sys.executable, "-m", "pytest", *map(str, files), "-q", "-p", "no:cacheprovider", "-p", "counting", "--verdicts=report"]
    command += ["-n", "2"]
    command += [word for i in range(3) for word in ("--model", str(three / f"m{i}"))]
    command += ["--corpus", str(shelf / "text"), "--corpus", str(more), "--report", str(tmp_path / "r.json"), *distribution]
    command += ["--junitxml", str(tmp_path / "j.xml"), "--no-store"]
    loads = tmp_path / "loads"
    given = {**os.environ, "LOADS": str(loads), "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    names, processes = zip(*(line.split() for line in loads.read_text().splitlines()), strict=True)
    assert Counter(names).most_common(1)[0][1] == 1, Counter(names)
    assert len(names) == 3
    assert len(set(processes)) == 2
    rows = json.loads((tmp_path / "r.json").read_text())["rows"]
    assert len({(row["model"], row["corpus"]) for row in rows if row["value"] is not None}) == 6
    # The settled rule for JUnit: what is not decided, and long work, is <skipped>, what is falsified a <failure>.
    suite = ET.parse(tmp_path / "j.xml").getroot().find("testsuite")
    long = sum(row["reason"] == LongWorkError.REASON for row in rows)
    ran = [row for row in rows if row["verdict"] != "untested"]
    assert bool(long) is not bool(distribution)
    counts = Counter(row["verdict"] for row in ran)
    assert int(suite.get("tests")) == len(ran) + long
    assert int(suite.get("failures")) == counts["falsified"]
    assert int(suite.get("skipped")) == counts["inconclusive"] + counts["not_applicable"] + long


def test_workers_share_the_cores(monkeypatch):
    """Threads = cores ÷ workers, at least one."""
    threads = torch.get_num_threads()
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    try:
        for workers, expected in (("2", 4), ("3", 2), ("16", 1)):
            monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", workers)
            loading.share_cores()
            assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(threads)


def test_a_model_is_loaded_with_its_share_of_the_cores(monkeypatch, tmp_path):
    """The share is taken before the weights are."""
    taken = []
    monkeypatch.setattr(loading, "share_cores", lambda: taken.append(True))
    load(model_at(str(planted.save(tmp_path / "m", shares=[0.5] * 2))))
    assert taken


def test_workers_take_the_gpus_in_turn(monkeypatch):
    """gw0 → cuda:0, gw1 → cuda:1, gw2 → cuda:0 of two; a GPU that is named is taken, one that is not there refused."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    assert str(loading.choose_device("auto")) == "cuda"
    for worker, expected in (("gw0", "cuda:0"), ("gw1", "cuda:1"), ("gw2", "cuda:0")):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        assert str(loading.choose_device("auto")) == expected
        assert str(loading.choose_device("cuda")) == expected
        assert str(loading.choose_device("cuda:1")) == "cuda:1"
        assert str(loading.choose_device("cpu")) == "cpu"
    with pytest.raises(SubjectError, match="no such device"):
        loading.choose_device("cuda:2")
