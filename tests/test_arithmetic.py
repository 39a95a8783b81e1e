"""Measurements are computed in IEEE float32 and in one order, whatever a process is set to, and its settings stand after."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
import torch
from torch import _C
from torch.backends import cuda, cudnn
from torch.nn.modules.module import register_module_forward_pre_hook

from harness.arithmetic import ARITHMETIC, exact_arithmetic, ordered_attention
from harness.replaced_model_command import main
from tests import core_rows

ROOT = Path(__file__).parent.parent
PLACES = [("generic", "all"), *((backend, what) for backend in ("cuda", "mkldnn") for what in ("all", "matmul", "conv", "rnn"))]


def settings():
    """All that decides how torch computes, as it stands."""
    precision = {place: _C._get_fp32_precision_getter(*place) for place in PLACES}
    sums = {name: getattr(cuda.matmul, f"allow_{name}") for name in ("fp16_accumulation", *REDUCTIONS)}
    return {
        **precision,
        **sums,
        "math": cuda.fp16_bf16_reduction_math_sdp_allowed(),
        "ordered": torch.are_deterministic_algorithms_enabled(),
        "warns": torch.is_deterministic_algorithms_warn_only_enabled(),
        "fills": torch.utils.deterministic.fill_uninitialized_memory,
        "benchmark": cudnn.benchmark,
    }


REDUCTIONS = [f"{kind}_reduced_precision_reduction{split}" for kind in ("fp16", "bf16") for split in ("", "_split_k")]
EXACT = {
    **{("cuda", what): "ieee" for what in ("matmul", "conv", "rnn")},
    **{("mkldnn", what): "ieee" for what in ("matmul", "conv", "rnn")},
    **dict.fromkeys(("fp16_accumulation", *REDUCTIONS[::2], "math", "fills", "benchmark"), False),
    **{"ordered": True, "warns": True},
}
"""What holds while measuring."""


def every_setting():
    """Change each setting that would make figures worse, by the attributes that users set."""
    torch.backends.fp32_precision = "tf32"
    cudnn.conv.fp32_precision = "ieee"
    cuda.matmul.allow_fp16_accumulation = True
    cuda.matmul.allow_bf16_reduced_precision_reduction = (False, False)
    cuda.allow_fp16_bf16_reduction_math_sdp(True)
    cudnn.benchmark = True


def by_the_older_functions():
    """Ask for TF32 as one did before torch 2.9, which warns or not by version."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.set_float32_matmul_precision("medium")


USERS = {
    "untouched": lambda: None,
    "every setting": every_setting,
    "a parent": lambda: _C._set_fp32_precision_setter("cuda", "all", "tf32"),
    "one product": lambda: setattr(cuda.matmul, "fp32_precision", "tf32"),
    "older functions": by_the_older_functions,
    "strictly ordered": lambda: torch.use_deterministic_algorithms(True),
}
"""How a user's process may be set up."""


@pytest.fixture(autouse=True)
def own_settings():
    """Every test has torch's settings for itself."""
    before = settings()
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.set_float32_matmul_precision("highest")
    for place in PLACES[::-1]:
        _C._set_fp32_precision_setter(*place, "none" if place in (PLACES[0], ("cuda", "all"), ("mkldnn", "all")) else before[place])
    for kind in ("fp16", "bf16"):
        setattr(cuda.matmul, f"allow_{kind}_reduced_precision_reduction", True)
    cuda.matmul.allow_fp16_accumulation = False
    cuda.allow_fp16_bf16_reduction_math_sdp(False)
    torch.use_deterministic_algorithms(False)
    cudnn.benchmark = False
    assert settings() == before


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("fails", [False, True])
def test_settings_hold_inside_and_are_put_back(user, fails):
    """Whatever was set: exact inside, nested too; after it, also when it fails, each is what it was, and follows whom it followed."""
    USERS[user]()
    before = settings()
    with pytest.raises(ZeroDivisionError) if fails else warnings.catch_warnings(), exact_arithmetic():
        assert settings().items() >= EXACT.items()
        with exact_arithmetic():
            assert settings().items() >= EXACT.items()
        assert settings().items() >= EXACT.items()
        _ = 1 / (not fails)
    assert settings() == before
    if user == "every setting":  # What stated nothing of its own follows its parent still.
        torch.backends.fp32_precision = "none"
        assert settings()["cuda", "matmul"] == settings()["mkldnn", "matmul"] == "none"
        assert settings()["cuda", "conv"] == "ieee"


def test_no_module_of_a_model_runs_otherwise(claims, shelf, tmp_path):
    """Loading, measuring, keeping maps, and running a model with maps in the place of blocks; the report says so."""
    every_setting()
    before, seen = settings(), []
    hook = register_module_forward_pre_hook(lambda module, given: seen.append((type(module).__name__, settings().items() >= EXACT.items())))
    try:
        files = [f"{ROOT}/claims/claim_2_linearity_is_conditional.py::test_one_block_is_cheap_to_replace"]
        result = claims("-m", "paper", "--quick", f"--save-maps={tmp_path}", "--device=cpu", model="llama", files=files)
        assert result.report["environment"]["arithmetic"] == ARITHMETIC
        run, ran = len(seen), main([str(next(tmp_path.glob("*.safetensors"))), f"--corpus={shelf / 'text'}", "--blocks=7", "--device=cpu"])
    finally:
        hook.remove()
    assert ran == 0
    assert 0 < run < len(seen)
    assert {name for name, exact in seen if not exact} == set()
    assert settings() == before


def test_workspaces_are_fixed_unless_they_were(saved, monkeypatch):
    """A model is loaded with cuBLAS told to work in a fixed size; what the user told it stands."""
    for told, expected in ((None, ":4096:8"), (":16:8", ":16:8")):
        if told is None:
            monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
        else:
            monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", told)
        lab = core_rows.laboratory(saved[0], [saved[1]], core_rows.PROTOCOL)
        assert lab.facts.device == "cpu"
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == expected


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small model and its text."""
    return core_rows.save(tmp_path_factory.mktemp("arithmetic"))


def test_only_an_accelerators_figures_are_keyed_by_it(saved):
    """A CPU computes the same with and without, and its stored figures stand; an accelerator's are others."""
    lab = core_rows.laboratory(saved[0], [saved[1]], core_rows.PROTOCOL)
    assert "arithmetic" not in lab.conditions({})
    lab.facts = lab.facts.__class__(**{**lab.facts.as_dict(), "device": "cuda:0"})
    assert lab.conditions({})["arithmetic"] == ARITHMETIC


def test_training_through_attention_takes_plain_products_on_cuda():
    """Faster kernels are off on CUDA alone, and on again after."""
    kernels = cuda.flash_sdp_enabled, cuda.mem_efficient_sdp_enabled, cuda.cudnn_sdp_enabled, cuda.math_sdp_enabled
    before = [enabled() for enabled in kernels]
    with ordered_attention(torch.device("cuda", 1)):
        assert [enabled() for enabled in kernels] == [False, False, False, True]
    with ordered_attention(torch.device("cpu")):
        assert [enabled() for enabled in kernels] == before
    assert [enabled() for enabled in kernels] == before
