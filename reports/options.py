"""The options of ``pytest claims``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fixtures import CORPORA, DEFAULT_MODEL
from fixtures.extensions import ENTRY_POINT
from harness.easy_protocol import EasyProtocol
from harness.protocol import Protocol
from harness.settings import AXES
from harness.subject import DEVICE_MAPS, DTYPES
from reports.subjects import InputError

OPTIONS: dict[str, dict[str, Any]] = {
    "--model": {
        "action": "append",
        "default": [],
        "metavar": "NAME|PATH|ID",
        "help": "a registered name, a folder with config.json and safetensors, a GGUF file, or organisation/name[@revision] on the "
        f"Hugging Face hub; repeatable (default: {DEFAULT_MODEL})",
    },
    "--all-models": {"action": "store_true", "help": "every registered model"},
    "--models": {"action": "store_true", "help": "list the registered models with size, licence and whether they are cached, and end"},
    "--models-from": {
        "action": "append",
        "default": [],
        "metavar": "FILE",
        "help": "Python that registers models of your own: 'from fixtures import Hub, Model, register'; it is run. Repeatable; "
        f"packages do the same by the entry point '{ENTRY_POINT}'",
    },
    "--corpus": {
        "action": "append",
        "default": [],
        "metavar": "auto|NAME|PATH",
        "help": f"the text: {', '.join(CORPORA)}; a folder with train or valid and test files; one text file, of which the first 60%% "
        "calibrates; auto: wikitext-2 when it is cached or the hub gives it, else pydocs. Repeatable (default: auto)",
    },
    "--plan": {
        "action": "store_true",
        "help": "show what would run: cells, tokens, downloads, estimated memory and time on this device; load and measure nothing",
    },
    "--device": {"default": "auto", "help": "cpu, cuda, cuda:N, mps, or auto: cuda, else mps, else cpu (default: auto)"},
    "--dtype": {
        "default": "auto",
        "metavar": "TYPE",
        "help": f"{', '.join(DTYPES)}: type of the weights; auto: float32 on a CPU, else the checkpoint's own (default: auto)",
    },
    "--device-map": {
        "metavar": "MAP",
        "help": f"spread a model that one device cannot hold, as accelerate does: {', '.join(DEVICE_MAPS)}, or JSON, module → device",
    },
    "--trust-remote-code": {
        "action": "store_true",
        "help": "run Python code that comes with a checkpoint; read that code first (default: it is never run)",
    },
    "--report": {"default": "report.json", "metavar": "FILE", "help": "where the report goes; replaced whole (default: report.json)"},
    "--seed": {
        "type": int,
        "default": 0,
        "help": "seed of whatever a measurement draws; recorded in the protocol, and so part of every measurement's key (default: 0)",
    },
    "--quick": {"action": "store_true", "help": "quarter sizes: a look in a quarter of the time; everything is MEASURED, nothing judged"},
    "--sweep": {
        "metavar": "AXES",
        "help": "also measure every cell that carries a verdict with one setting changed at a time: does the verdict stand? "
        + "; ".join(f"{axis}, {about}" for axis, about in AXES.items())
        + "; or all. Comma-separated; what a setting cannot change is not measured again",
    },
    "--long": {
        "action": "store_true",
        "help": "also what takes very long on a CPU (claim 1's pushes along directions and ablations off strict, claim 5's heads beyond "
        "the one at mid: hours on two cores); "
        "on a GPU it runs anyway, and what is stored is shown anyway",
    },
    "--head-steps": {
        "type": int,
        "metavar": "N",
        "help": "steps that exit heads are trained for (claim 5) in the place of the protocol's; recorded, and their figures are then not "
        f"judged (default: {EasyProtocol().steps})",
    },
    "--store": {"metavar": "DIR", "help": "where measurements are kept (default: CLAIMS_STORE, else the platform's cache folder)"},
    "--no-store": {"action": "store_true", "help": "keep nothing and look nothing up"},
    "--save-maps": {
        "metavar": "DIR",
        "help": "keep the maps that replace blocks (claim 2): one safetensors file a model, corpus and rung, with those of every block; "
        "python -m harness.replaced_model runs a model with them",
    },
    "--tokens": {
        "metavar": "FILE.parquet",
        "help": "write a table of single tokens (claim 5, exit_agreement): text, confidence, whether the exit head agrees, KL when late "
        "blocks are destroyed; one row a position, of every model, corpus and rung of the run; replaced whole",
    },
    "--bundle": {
        "metavar": "DIR",
        "help": "for every falsified cell keep what its figure is computed from, the windows' token ids and the command; "
        "'python -m reports replay DIR' computes it again, without the model. A bundle that is there is replaced whole",
    },
    "--challengers": {
        "action": "append",
        "default": [],
        "metavar": "FILE",
        "help": "Python that enters ways to store weights against direct quantisation (claim 3, strict), each a function under "
        "@challenger(name), 'from harness.challengers import challenger'; it is run. Repeatable",
    },
    "--baseline": {
        "metavar": "FILE",
        "help": "the verdicts that this build is to keep, as 'python -m reports baseline' writes them: a verdict that flips fails the run, "
        "exit code 1, and a falsification that is in the file does not",
    },
    "--verdicts": {
        "default": "fail",
        "metavar": "fail|report",
        "help": "fail: a falsified cell fails the run, exit code 1; report: it is only reported (default: fail)",
    },
}

_FEWEST_STEPS, _MOST_STEPS = 10, 10_000_000


def protocol_of(option: Any) -> Protocol:
    """Return the protocol that is asked for. Raises InputError for a number of steps that trains nothing."""
    protocol = Protocol(seed=option.seed)
    if option.quick:
        protocol = protocol.quickened()
    if option.head_steps is not None:
        if not _FEWEST_STEPS <= option.head_steps <= _MOST_STEPS:
            raise InputError(f"--head-steps {option.head_steps}: expected {_FEWEST_STEPS} to {_MOST_STEPS:,} steps")
        protocol = replace(protocol, easy=protocol.easy.trained_for(option.head_steps))
    return protocol
