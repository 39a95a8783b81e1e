"""The wiring: options, markers, what is tested on what, and the session's laboratories."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from claims import CLAIMS, lock
from claims.claim import Measures
from fixtures import CORPORA, DEFAULT_MODEL, MODELS, Corpus, CorpusError, Model, ModelError, model_at
from fixtures.corpora import NoTextError, choose
from fixtures.naming import did_you_mean, printable
from harness.protocol import RUNGS, Protocol
from harness.store import Store, default_folder
from harness.subject import DEVICES, EXPECTED_DEVICES
from reports import plugin, provenance, report_file
from reports.ledger import Cell, Ledger

if TYPE_CHECKING:
    from harness.laboratory import Bench, Laboratory

pytest_plugins = ["pytester"]

_ROOT = Path(__file__).parent
_SELECTION = pytest.StashKey[tuple[list[Model], list[tuple[Corpus, str]]]]()
_PROTOCOL = pytest.StashKey[Protocol]()
_BENCH: pytest.StashKey[Bench] = pytest.StashKey()


OPTIONS: dict[str, dict[str, Any]] = {
    "--model": {
        "action": "append",
        "default": [],
        "metavar": "NAME_OR_PATH",
        "help": f"a registered name, a folder with config.json and safetensors, or a GGUF file; repeatable (default: {DEFAULT_MODEL})",
    },
    "--all-models": {"action": "store_true", "help": "every registered model"},
    "--corpus": {
        "action": "append",
        "default": [],
        "metavar": "auto|NAME|PATH",
        "help": f"the text: auto, {', '.join(CORPORA)}, a folder with train or valid and test files, or one text file, of which the "
        "first 60%% calibrates; repeatable (default: auto)",
    },
    "--device": {"default": "auto", "help": "cpu, cuda, cuda:N, mps, or auto: cuda, else mps, else cpu (default: auto)"},
    "--dtype": {
        "default": "auto",
        "choices": ["auto", "float32", "bfloat16", "float16"],
        "help": "type of the weights; auto: float32 on a CPU, else the checkpoint's own (default: auto)",
    },
    "--report": {"default": "report.json", "metavar": "FILE", "help": "where the report goes; replaced whole (default: report.json)"},
    "--seed": {
        "type": int,
        "default": 0,
        "help": "seed of whatever a measurement draws; recorded in the protocol, and so part of every measurement's key (default: 0)",
    },
    "--quick": {"action": "store_true", "help": "quarter sizes: a look within a minute or so; everything is MEASURED, nothing judged"},
    "--store": {"metavar": "DIR", "help": "where measurements are kept (default: CLAIMS_STORE, else the platform's cache folder)"},
    "--no-store": {"action": "store_true", "help": "keep nothing and look nothing up"},
    "--verdicts": {
        "default": "fail",
        "choices": ["fail", "report"],
        "help": "fail: a falsified cell fails the run, exit code 1; report: it is only reported (default: fail)",
    },
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of ``pytest claims``."""
    group = parser.getgroup("claims", "claims (pytest claims): which model to test, on which text")
    for name, settings in OPTIONS.items():
        group.addoption(name, **settings)


def pytest_configure(config: pytest.Config) -> None:
    """Register markers; when claims are asked for, settle what is tested and reject bad input before anything is loaded."""
    for line in _markers():
        config.addinivalue_line("markers", line)
    if not _asks_for_claims(config):
        return
    option = config.option
    try:
        models = _models(config)
        corpora = [choose(given) for given in dict.fromkeys(option.corpus or ["auto"])]
    except NoTextError as error:
        p = Protocol()
        windows = p.calibration_windows + p.evaluation_windows
        raise pytest.UsageError(f"{error}; found 0 tokens, {windows * p.window:,} are needed ({windows} windows of {p.window})") from None
    except (ModelError, CorpusError) as error:
        raise pytest.UsageError(str(error)) from None
    if not DEVICES.fullmatch(option.device):
        raise pytest.UsageError(f"--device {printable(option.device)}: no such device; expected {EXPECTED_DEVICES}")
    for kind, found in (("model", [m.name for m in models]), ("corpus", [c.name for c, _ in corpora])):
        if twice := {name for name in found if found.count(name) > 1}:
            raise pytest.UsageError(f"--{kind}: given twice: {', '.join(sorted(twice))}")
    for model in models:
        for line in (f"{model.name}: {model.about}", f"{model.family}_family: models of the {model.family} family"):
            config.addinivalue_line("markers", line)
    if option.store and option.no_store:
        raise pytest.UsageError("--store and --no-store exclude one another")
    try:
        report = Path(option.report).expanduser().resolve()
        why = report_file.why_not_writable(report)
        folder = _store_folder(config)
        if folder is not None and option.store:
            folder.mkdir(parents=True, exist_ok=True)
        elif folder is not None and folder.exists() and not folder.is_dir():
            raise ValueError("the store is not a folder")
    except (OSError, ValueError, RuntimeError) as error:  # Too long, a NUL byte, a home folder of nobody, a file in the way.
        reason = error.strerror if isinstance(error, OSError) else error
        raise pytest.UsageError(f"--report {printable(option.report)}, {_store_source(config)}: {printable(reason)}") from None
    if why:
        raise pytest.UsageError(f"--report {printable(option.report)}: cannot be written, {why}")
    protocol = Protocol(seed=option.seed)
    if option.quick:
        protocol = protocol.quickened()
    config.stash[_SELECTION] = models, corpora
    config.stash[plugin.LEDGER] = Ledger({(m.name, c.name): m.n_blocks for m in models for c, _ in corpora}, quick=option.quick)
    config.stash[plugin.FACTS] = {
        "protocol": protocol.as_dict(),
        "bounds": lock.state(),
        "environment": provenance.of_environment(config.invocation_params.args),
    }
    config.stash[_PROTOCOL] = protocol
    config.pluginmanager.register(plugin, "claims")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(plugin.Recorder(config, report), "claims-recorder")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of every cell: model × corpus × rung × block."""
    measures: Measures | None = getattr(metafunc.function, "measures", None)
    if measures is None or _SELECTION not in metafunc.config.stash:
        return
    models, corpora = metafunc.config.stash[_SELECTION]
    claim, predicate = measures.claim, measures.predicate
    metafunc.config.stash[plugin.LEDGER].measurable[claim.marker, predicate.name] = set(measures.rungs)
    params = []
    for model in models:
        for corpus, _ in corpora:
            for rung, block in predicate.cells(model.n_blocks):
                if rung not in measures.rungs:
                    continue
                names = [model.name, f"{model.family}_family", claim.marker, rung]
                names += ["core"] if predicate.is_core(rung, block, model.n_blocks) else []
                cell = Cell(model.name, corpus.name, claim.key, predicate.name, rung, block)
                marks = [getattr(pytest.mark, name) for name in dict.fromkeys(names)]
                params.append(pytest.param((cell, measures, model, corpus), id=cell.ident, marks=marks))
    metafunc.parametrize("cell", params, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test its cell, keep one model's tests together, and let a dependency's warning not decide a verdict."""
    order: dict[tuple[str, str], int] = {}
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is not None and "cell" in callspec.params:
            cell, measures, model, _ = callspec.params["cell"]
            item.stash[plugin.CELL] = cell, measures, model.n_blocks
            item.add_marker(pytest.mark.filterwarnings("default"))
            order.setdefault((cell.model, cell.corpus), len(order))

    def place(item: pytest.Item) -> int:
        if plugin.CELL not in item.stash:
            return -1
        cell = item.stash[plugin.CELL][0]
        return order[cell.model, cell.corpus]

    items.sort(key=place)


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> Any:
    """The cell under test, with its model and corpus."""
    return request.param


@pytest.fixture
def rung(cell: Any) -> str:
    """The rung of the control ladder."""
    return str(cell[0].rung)


@pytest.fixture
def block(cell: Any) -> int:
    """The index of the block."""
    return int(cell[0].block)


@pytest.fixture
def lab(cell: Any, request: pytest.FixtureRequest) -> Laboratory:
    """The laboratory: the cell's model, loaded, on the cell's corpus."""
    config = request.config
    if (bench := config.stash.get(_BENCH, None)) is None:
        from harness.laboratory import Bench

        option = config.option
        bench = Bench(option.device, option.dtype, config.stash[_PROTOCOL], Store(_store_folder(config)), plugin.announcer(config))
        config.stash[_BENCH] = bench
    _, _, model, corpus = cell
    chosen = next(why for c, why in config.stash[_SELECTION][1] if c.name == corpus.name)
    laboratory = bench.laboratory(model, corpus)
    request.node.stash[plugin.DESCRIBE] = lambda: provenance.of_laboratory(laboratory, chosen)
    return laboratory


@pytest.fixture
def verdict(request: pytest.FixtureRequest) -> plugin.Judge:
    """Judges the figure that a test hands it."""
    return plugin.Judge(request.node)


def _markers() -> list[str]:
    lines = [f"{model.name}: {model.about}" for model in MODELS.values()]
    lines += [f"{family}_family: models of the {family} family" for family in sorted({m.family for m in MODELS.values()})]
    lines += [f"{claim.marker}: {claim.title}" for claim in CLAIMS]
    lines += [f"{rung.name}: {rung.summary}" for rung in RUNGS.values()]
    return [*lines, "core: the cells a claim stands or falls with"]


def _store_folder(config: pytest.Config) -> Path | None:
    option = config.option
    if option.no_store:
        return None
    return Path(option.store).expanduser().resolve() if option.store else default_folder()


def _store_source(config: pytest.Config) -> str:
    """Say which option or variable named the store."""
    if config.option.store:
        return f"--store {printable(config.option.store)}"
    return f"CLAIMS_STORE {printable(os.environ['CLAIMS_STORE'])}" if "CLAIMS_STORE" in os.environ else "the default store"


def _asks_for_claims(config: pytest.Config) -> bool:
    here = _ROOT / "claims"
    for argument in config.args:
        path = (config.invocation_params.dir / argument.split("::")[0]).resolve()
        if path == here or here in path.parents or path in here.parents:
            return True
    return False


def _models(config: pytest.Config) -> list[Model]:
    """Resolve --model, --all-models and models named by -m; alone, the embedded default."""
    option = config.option
    if option.all_models and option.model:
        raise pytest.UsageError("--all-models and --model exclude one another")
    families = {f"{m.family}_family" for m in MODELS.values()}
    given = [model_at(text) for text in dict.fromkeys(option.model)]
    known = {line.split(":")[0].split("(")[0].strip() for line in config.getini("markers")}
    known |= {name for m in given for name in (m.name, f"{m.family}_family")}
    words = [w for w in re.findall(r"[\w.+-]+", option.markexpr or "") if w not in {"and", "or", "not", "True", "False", "None"}]
    if unknown := [word for word in words if word not in known]:
        there_are = f"models: {', '.join(MODELS)}; {', '.join(c.marker for c in CLAIMS)}; {', '.join(RUNGS)}; core"
        raise pytest.UsageError(f"-m {printable(unknown[0])}: no such marker{did_you_mean(unknown[0], known)}; {there_are}")
    if given:
        return given
    if option.all_models or any(word in MODELS or word in families for word in words):
        return list(MODELS.values())
    return [MODELS[DEFAULT_MODEL]]
