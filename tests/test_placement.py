"""Where a model is put, and whether its code is run: device maps, and ``--trust-remote-code``."""

from __future__ import annotations

import json

import pytest

from tests import planted
from tests.planted import RISING


@pytest.mark.parametrize("given", ["gpu", "{", "[]", "{}", '{"": null}', '{"": true}', "auto,balanced"])
def test_a_device_map_that_is_none_is_refused(claims, given):
    """Words and an example of what is expected."""
    result = claims("--device-map", given)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--device-map *: expected auto, balanced, balanced_low_0, sequential, or JSON such as *"])


def test_a_device_map_that_does_not_fit_is_an_error(claims, shelf):
    """A module that the model has not: the map would be ignored."""
    result = claims("--device-map", json.dumps({"nothing": "cpu"}), model="llama")
    assert result.ret == 6
    (line,) = [line for line in result.stdout.lines if line.startswith("ERROR: ")]
    assert "--device-map names 'nothing', which is no module of the model (model, lm_head, …)" in line


@pytest.mark.parametrize("spread", ["auto", '{"": "cpu"}', "offload"])
def test_a_spread_model_gives_the_figures_of_a_whole_one(claims, shelf, spread):
    """By a word, by JSON, and with blocks kept on disk until they are used."""
    if spread == "offload":
        blocks = {f"model.layers.{b}": "disk" if b in (2, 5) else "cpu" for b in range(8)}
        rest = {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "disk"}
        spread = json.dumps(blocks | rest)
    whole = claims("-m", "paper", "--verdicts=report", model="llama").report["rows"]
    result = claims("-m", "paper", "--verdicts=report", "--device-map", spread, "--no-store", model="llama")
    assert result.ret == 0
    for a, b in zip(whole, result.report["rows"], strict=True):
        assert a["value"] == b["value"] or a["value"] == pytest.approx(b["value"], rel=1e-6)


REMOTE = """
from tests.planted import PlantedConfig, PlantedModel

class RemoteConfig(PlantedConfig):
    model_type = "remote"

class RemoteModel(PlantedModel):
    config_class = RemoteConfig
"""


def test_code_of_a_checkpoint_is_run_only_when_asked(claims, shelf, tmp_path, monkeypatch):
    """Refused with the option that allows it; with the option it runs, and is part of the weights' fingerprint."""
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path))
    folder = shelf / "remote"
    planted.save(folder, shares=RISING)
    planted.edit_config(
        folder, model_type="remote", auto_map={"AutoConfig": "code.RemoteConfig", "AutoModelForCausalLM": "code.RemoteModel"}
    )
    (folder / "code.py").write_text(REMOTE)
    result = claims("-m", "paper", model="remote")
    assert result.ret == 6
    (line,) = [line for line in result.stdout.lines if line.startswith("ERROR: ")]
    assert "it needs Python code that comes with the checkpoint; read that code, then give --trust-remote-code to run it" in line
    result = claims("-m", "paper", "--trust-remote-code", model="remote")
    assert result.ret == 0, result.stdout.str()
    (before,) = result.report["models"].values()
    (folder / "code.py").write_text(REMOTE + "# other\n")
    (after,) = claims("-m", "paper", "--trust-remote-code", model="remote").report["models"].values()
    assert after["weights"] != before["weights"]
