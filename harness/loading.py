"""Loading a described model: weights, tokenizer, provenance; eval mode, no gradients."""

from __future__ import annotations

import os
import platform
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fixtures.models import Folder, Gguf, Model, Wheel
from fixtures.naming import printable
from harness.admission import dissect
from harness.anatomy import Anatomy
from harness.errors import SubjectError
from harness.subject import DEVICES, EXPECTED_DEVICES, SubjectFacts

_UNQUANTISED = {"F32", "F16", "BF16", "F64"}


@dataclass(frozen=True)
class Subject:
    """A loaded model, admitted by its anatomy."""

    model: Model
    anatomy: Anatomy
    tokenizer: Any
    device: torch.device
    facts: SubjectFacts


def choose_device(asked: str) -> torch.device:
    """Resolve ``--device``: ``auto`` takes cuda, then mps, then cpu. Raises SubjectError for one that is absent."""
    if not DEVICES.fullmatch(asked):
        raise SubjectError(f"--device {printable(asked)}: no such device; expected {EXPECTED_DEVICES}")
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if asked == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    device = torch.device(asked)
    if (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()) or (device.type == "mps" and not mps):
        raise SubjectError(f"--device {asked}: this machine has no such device (this torch: {torch.__version__}); try --device cpu")
    return device


def choose_dtype(asked: str, device: torch.device) -> torch.dtype | str:
    """Resolve ``--dtype``: ``auto`` is float32 on a CPU and the checkpoint's own type on an accelerator."""
    if asked == "auto":
        return torch.float32 if device.type == "cpu" else "auto"
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[asked]


def share_cores() -> None:
    """Give this process its share of the cores when several test workers run side by side."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // workers))


def load(model: Model, weights: str, device: str = "auto", dtype: str = "auto") -> Subject:
    """Load a model and admit it; ``weights`` is the SHA-256 of its weights.

    Code from a checkpoint is never run, and pickled weights are never read. Raises ModelError when the weights are not
    installed, SubjectError when they are damaged, incomplete, not those registered, or not a causal language model.
    """
    share_cores()
    where = choose_device(device)
    path = model.source.path()
    if isinstance(model.source, Wheel) and weights != model.source.sha256:
        raise SubjectError(
            f"{model.name}: {path.name} is not the file that was registered (SHA-256 {weights[:16]}…, expected "
            f"{model.source.sha256[:16]}…); install it again: {model.source.install}"
        )
    network, tokenizer = _from_pretrained(model, path, choose_dtype(dtype, where))
    network.requires_grad_(False).eval().to(where)
    anatomy = dissect(network, blocks=model.blocks)
    if len(anatomy.blocks) != model.n_blocks:
        raise SubjectError(f"{model.name}: stated to have {model.n_blocks} blocks, but the loaded model has {len(anatomy.blocks)}")
    return Subject(
        model=model,
        anatomy=anatomy,
        tokenizer=tokenizer,
        device=where,
        facts=SubjectFacts(
            weights=weights,
            width=anatomy.width,
            vocabulary=anatomy.vocabulary,
            context=int(getattr(network.config.get_text_config(), "max_position_embeddings", 0) or 0),
            dtype=str(network.dtype).removeprefix("torch."),
            device=str(where),
            device_kind=torch.cuda.get_device_name(where) if where.type == "cuda" else f"{where.type} {platform.machine()}",
            attention=str(getattr(network.config, "_attn_implementation", None) or "unknown"),
            provenance=_provenance(model, path, network),
        ),
    )


def _from_pretrained(model: Model, path: Path, dtype: torch.dtype | str) -> tuple[Any, Any]:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    in_file = isinstance(model.source, (Gguf, Wheel))
    folder, extra = (str(path.parent), {"gguf_file": path.name}) if in_file else (str(path), {"use_safetensors": True})
    options: dict[str, Any] = {**extra, "local_files_only": True, "trust_remote_code": False}
    try:
        network, loading = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, output_loading_info=True, **options)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **{k: v for k, v in options.items() if k != "use_safetensors"})
    except Exception as error:  # Loaders raise every kind of exception on damaged files: one clear message instead.
        raise SubjectError(f"{model.name}: cannot be loaded from {printable(path)} ({printable(_first_line(error))})") from error
    for kind in ("missing_keys", "mismatched_keys", "error_msgs"):
        if loading.get(kind):
            examples = ", ".join(printable(key) for key in sorted(map(str, loading[kind]))[:3])
            raise SubjectError(
                f"{model.name}: the checkpoint does not fill the model ({len(loading[kind])} {kind.replace('_', ' ')}: "
                f"{examples}); the gaps would hold random weights"
            )
    if not tokenizer("a b c", add_special_tokens=False)["input_ids"]:
        raise SubjectError(f"{model.name}: the tokenizer yields no tokens; expected tokenizer.json or its like in {printable(path)}")
    return network, tokenizer


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _provenance(model: Model, path: Path, network: Any) -> str:
    """Say how the weights in memory came about: as stored, or de-quantised, and from what."""
    if isinstance(model.source, Folder):
        stored = getattr(network.config, "quantization_config", None)
        return f"safetensors, quantised ({printable(stored)})" if stored else "safetensors, as stored"
    from gguf import GGUFReader

    kinds = Counter[str]()
    for tensor in GGUFReader(path).tensors:
        kinds[tensor.tensor_type.name] += int(tensor.n_elements)
    main, count = kinds.most_common(1)[0]
    if main in _UNQUANTISED:
        return f"GGUF, {main}"
    return f"de-quantised from {main} ({count / kinds.total():.0%} of the weights)"
