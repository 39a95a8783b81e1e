"""Whole models with linear blocks, saved to a folder and loaded again bit for bit, without the checkpoint they came from.

A folder holds ``config.json``, ``generation_config.json``, the tokenizer's files, and ``replaced.safetensors``: every parameter and every
buffer, those too that a model computes for itself, so that nothing rests on their being computed alike. Its header names the blocks
that are linear. It is no ``model.safetensors``, because ``from_pretrained`` would fill the missing blocks with random weights.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fixtures.naming import printable
from harness.errors import MapsError
from harness.linear_block import LinearBlock, in_place_of

VERSION = "1"
WEIGHTS = "replaced.safetensors"


def save_replaced(model: Any, folder: str | Path, tokenizer: Any = None) -> None:
    """Save a model with linear blocks, and its tokenizer when given, in a new or empty folder, whole or not at all.

    Raises MapsError for a folder that holds something or cannot be written, for a model without linear blocks, and for one whose
    parameters are not those that its configuration makes: quantised ones, spread over disks, or of code that came with a checkpoint.
    """
    folder = Path(folder)
    linear = {name: module.yields_tuple for name, module in model.named_modules() if isinstance(module, LinearBlock)}
    if not linear:
        raise MapsError("the model has no linear block; save it by its own save_pretrained()")
    forget_quantisation(model)
    config = copy.deepcopy(model.config)
    config.architectures = [type(model).__name__]
    tensors, aliases = _tensors(model)
    chosen = {name: getattr(config, f"_{name}_implementation", None) for name in ("attn", "experts")}
    header = {"format": "pt", "version": VERSION, "linear": linear, "aliases": aliases, "implementations": chosen}
    _check_rebuilt(model, config, tensors, header)
    with _new(folder) as part:
        config.to_json_file(part / "config.json")
        if getattr(model, "generation_config", None) is not None:
            (part / "generation_config.json").write_text(model.generation_config.to_json_string(), encoding="utf-8")
        if tokenizer is not None:
            tokenizer.save_pretrained(part)
        from safetensors.torch import save_file

        texts = {name: part if isinstance(part, str) else json.dumps(part) for name, part in header.items()}
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, part / WEIGHTS, metadata=texts)


def load_saved(folder: str | Path, device: str | torch.device = "cpu") -> tuple[Any, Any]:
    """Load what :func:`save_replaced` wrote: the model, in eval mode and without gradients, and its tokenizer, None if none was saved.

    No code is run that comes with the folder. Raises MapsError for a folder that is none, of another version, or damaged.
    """
    import transformers

    folder, shown = Path(folder), printable(folder)
    if not (folder / WEIGHTS).is_file():
        raise MapsError(f"{shown}: no {WEIGHTS} there; expected a folder as save_replaced() writes it")
    try:
        header, tensors = _read(folder / WEIGHTS, torch.device(device))
        options = {"local_files_only": True, "trust_remote_code": False}
        model = _built(transformers.AutoConfig.from_pretrained(folder, **options), header, tensors)
        _fill(model, tensors, header["aliases"])
        if (folder / "generation_config.json").is_file():
            stated = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
            model.generation_config = transformers.GenerationConfig.from_dict(stated)
        named = (folder / "tokenizer_config.json").is_file()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options) if named else None
    except MapsError:
        raise
    except Exception as error:  # Loaders raise every kind of exception on damaged files: one clear message instead.
        why = printable(next(iter(str(error).strip().splitlines()), ""))
        raise MapsError(f"{shown}: cannot be loaded ({type(error).__name__}: {why})") from error
    return model.requires_grad_(False).eval(), tokenizer


def forget_quantisation(model: Any) -> None:
    """Let a model that was de-quantised on loading no longer call itself quantised: it would refuse to be saved.

    One whose weights are still packed is left as it is.
    """
    quantizer = getattr(model, "hf_quantizer", None)
    method = getattr(model, "quantization_method", None)
    if quantizer is None or str(getattr(method, "value", method)) != "gguf" or not all(p.is_floating_point() for p in model.parameters()):
        return
    quantizer.remove_quantization_config(model)
    for module in model.modules():
        config: Any = getattr(module, "config", None)
        if hasattr(config, "_is_quantized"):
            del config._is_quantized


def _tensors(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return parameters and buffers by name, each memory once, and the other names of those that have several."""
    found: dict[str, Tensor] = {}
    first: dict[tuple[Any, ...], str] = {}
    aliases: dict[str, str] = {}
    for name, tensor in (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)):
        if tensor.device.type == "meta":
            raise MapsError(f"{name} is kept elsewhere until it is used; load the model without --device-map")
        memory = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) if tensor.numel() else (id(tensor),)
        known = first.setdefault(memory, name)
        if known == name:
            found[name] = tensor
        else:
            aliases[name] = known
    return found, aliases


def _check_rebuilt(model: Any, config: Any, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Refuse now what could not be loaded again."""
    if getattr(model, "hf_quantizer", None) is not None:
        raise MapsError(f"the model is quantised ({model.quantization_method}): its weights are no plain numbers to be saved")
    if model.is_remote_code():
        raise MapsError(f"{type(model).__name__} is code that came with its checkpoint, which load_saved() does not run")
    try:
        built = _built(copy.deepcopy(config), header, tensors)
    except Exception as error:
        raise MapsError(f"a {type(model).__name__} cannot be built anew from its configuration ({printable(error)})") from error
    _check_names(built, tensors, header["aliases"])


def _built(config: Any, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    """Build a model without its weights, linear blocks in place."""
    import transformers

    chosen = {f"{name}_implementation": value for name, value in header["implementations"].items() if value is not None}
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False, **chosen)
    for name, yields_tuple in header["linear"].items():
        stack, _, index = name.rpartition(".")
        parts = {path.removeprefix(f"{name}."): tensor for path, tensor in tensors.items() if path.startswith(f"{name}.")}
        listed = model.get_submodule(stack)
        if not isinstance(listed, nn.ModuleList):
            raise ValueError(f"{name} is no block")
        listed[int(index)] = in_place_of(listed[int(index)], int(index), bool(yields_tuple), parts)
    return model


def _check_names(model: nn.Module, tensors: Mapping[str, Tensor], aliases: Mapping[str, str]) -> None:
    """Refuse tensors that are not those of the model, by name and shape."""
    wanted = {n: t.shape for n, t in (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))}
    given = {name: t.shape for name, t in tensors.items()} | {other: tensors[name].shape for other, name in aliases.items()}
    if wrong := sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name)):
        what = "is not of the shape that" if wrong[0] in wanted and wrong[0] in given else "is not what"
        raise MapsError(f"{printable(wrong[0])} {what} the model's configuration makes ({len(wrong)} tensors differ)")


def _fill(model: nn.Module, tensors: Mapping[str, Tensor], aliases: Mapping[str, str]) -> None:
    """Give a model its tensors, one for all the names it has."""
    _check_names(model, tensors, aliases)
    named = {name: tensor if _is_buffer(model, name) else nn.Parameter(tensor, requires_grad=False) for name, tensor in tensors.items()}
    for name, tensor in {**named, **{other: named[name] for other, name in aliases.items()}}.items():
        module, _, leaf = name.rpartition(".")
        owner = model.get_submodule(module)
        (owner._buffers if leaf in owner._buffers else owner._parameters)[leaf] = tensor  # type: ignore[assignment]


def _is_buffer(model: nn.Module, name: str) -> bool:
    module, _, leaf = name.rpartition(".")
    return leaf in model.get_submodule(module)._buffers


def _read(file: Path, device: torch.device) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        stated = opened.metadata() or {}
        if stated.get("version") != VERSION:
            raise MapsError(f"{printable(file)}: version {printable(stated.get('version'))}; this program reads version {VERSION}")
        # Copies: memory that is mapped from a file may be aligned otherwise, which products can depend on in their last bit.
        tensors = {name: opened.get_tensor(name).clone().to(device) for name in opened.keys()}  # noqa: SIM118 - not a mapping
    header = {name: json.loads(stated[name]) for name in ("linear", "aliases", "implementations")}
    if not all(isinstance(part, dict) for part in header.values()):
        raise ValueError("the header is not what save_replaced() writes")
    return header, tensors


def check_free(folder: Path) -> None:
    """Raise MapsError unless a folder is empty, or not there yet."""
    try:
        free = not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir()))
    except (OSError, ValueError) as error:
        raise MapsError(f"{printable(folder)}: {printable(error.strerror if isinstance(error, OSError) else error)}") from None
    if not free:
        raise MapsError(f"{printable(folder)}: there is something already; give a new or empty folder")


@contextlib.contextmanager
def _new(folder: Path) -> Iterator[Path]:
    """Yield a folder to fill, which becomes ``folder`` when all went well. Raises MapsError where it cannot be."""
    shown = printable(folder)
    check_free(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name[:64]}."))
        try:
            yield part
            umask = os.umask(0)
            os.umask(umask)
            part.chmod(0o777 & ~umask)  # mkdtemp makes folders, and safetensors files, for their owner alone.
            (part / WEIGHTS).chmod(0o666 & ~umask)
            part.replace(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise MapsError(f"{shown}: cannot be written ({printable(error.strerror or error)})") from None
