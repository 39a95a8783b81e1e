"""The wiring: options, markers, what is tested on what, and the session's laboratories."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from claims import CLAIMS
from claims.claim import Measures
from fixtures import DEFAULT_MODEL, MODELS, Corpus, CorpusError, Model, ModelError, model_at
from fixtures.corpora import choose
from fixtures.naming import did_you_mean, printable
from harness.protocol import RUNGS, Protocol
from reports import plugin, report_file
from reports.ledger import Cell, Ledger

if TYPE_CHECKING:
    from harness.laboratory import Laboratory

pytest_plugins = ["pytester"]

_ROOT = Path(__file__).parent
_SELECTION = pytest.StashKey[tuple[list[Model], list[tuple[Corpus, str]]]]()
_BENCH = pytest.StashKey["Bench"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of ``pytest claims``."""
    group = parser.getgroup("claims", "claims: put a model to the test")
    group.addoption("--model", action="append", default=[], metavar="NAME_OR_PATH", help="a registered name, a folder with safetensors, or a GGUF file; repeatable (default: smollm2)")  # fmt: skip
    group.addoption("--all-models", action="store_true", help="every registered model")
    group.addoption("--corpus", action="append", default=[], metavar="auto|NAME|PATH", help="text to measure on: auto, pydocs, a folder with train/valid and test files, or one text file; repeatable (default: auto)")  # fmt: skip
    group.addoption("--device", default="auto", metavar="DEVICE", help="auto (cuda, else mps, else cpu), cpu, cuda, cuda:N or mps")
    group.addoption("--dtype", default="auto", choices=["auto", "float32", "bfloat16", "float16"], help="weights' type; auto: float32 on a CPU, else the checkpoint's")  # fmt: skip
    group.addoption("--report", default="report.json", metavar="FILE", help="where the report goes (default: report.json)")
    group.addoption("--verdicts", default="fail", choices=["fail", "report"], help="fail: a falsified cell fails the run (exit code 1); report: it does not")  # fmt: skip


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
    except (ModelError, CorpusError) as error:
        raise pytest.UsageError(str(error)) from None
    for kind, found in (("model", [m.name for m in models]), ("corpus", [c.name for c, _ in corpora])):
        if twice := {name for name in found if found.count(name) > 1}:
            raise pytest.UsageError(f"--{kind}: given twice: {', '.join(sorted(twice))}")
    for model in models:
        for line in (f"{model.name}: {model.about}", f"{model.family}_family: models of the {model.family} family"):
            config.addinivalue_line("markers", line)
    report = Path(option.report).expanduser().absolute()
    if why := report_file.why_not_writable(report):
        raise pytest.UsageError(f"--report {printable(option.report)}: cannot be written, {why}")
    protocol = Protocol()
    config.stash[_SELECTION] = models, corpora
    config.stash[plugin.LEDGER] = Ledger({(m.name, c.name): m.n_blocks for m in models for c, _ in corpora})
    config.stash[plugin.FACTS] = {"protocol": protocol.as_dict(), "environment": _environment(config)}
    config.stash[_BENCH] = Bench(config, protocol)
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
                ident = f"{model.name}-{corpus.name}-{rung}" + ("" if block is None else f"-block{block}")
                params.append(pytest.param((cell, measures, model, corpus), id=ident, marks=[getattr(pytest.mark, n) for n in dict.fromkeys(names)]))  # fmt: skip
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
    if order:
        items.sort(key=lambda item: order[item.stash[plugin.CELL][0].model, item.stash[plugin.CELL][0].corpus] if plugin.CELL in item.stash else -1)  # fmt: skip


class Bench:
    """Holds the one model that is loaded, and its laboratories; a model that failed to load fails at once the next time."""

    def __init__(self, config: pytest.Config, protocol: Protocol) -> None:
        self._config = config
        self._protocol = protocol
        self._failed: dict[str, Exception] = {}
        self._subject: Any = None
        self._laboratories: dict[str, Laboratory] = {}

    def laboratory(self, model: Model, corpus: Corpus) -> Laboratory:
        """Return the laboratory of a model on a corpus, loading the model when it is not the one at hand."""
        from harness.laboratory import Laboratory
        from harness.loading import load

        if model.name in self._failed:
            raise self._failed[model.name]
        if self._subject is None or self._subject.model != model:
            self._subject, self._laboratories = None, {}
            try:
                self._subject = load(model, self._config.option.device, self._config.option.dtype)
            except Exception as error:
                self._failed[model.name] = error
                raise
        if corpus.name not in self._laboratories:
            self._laboratories[corpus.name] = Laboratory(self._subject, corpus, self._protocol, plugin.announcer(self._config))
        return self._laboratories[corpus.name]


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
    _, _, model, corpus = cell
    laboratory = request.config.stash[_BENCH].laboratory(model, corpus)
    request.session.stash[plugin.FACTS] = _facts(request.config, laboratory)
    return laboratory


@pytest.fixture
def verdict(request: pytest.FixtureRequest) -> plugin.Judge:
    """Judges the figure that a test hands it."""
    return plugin.Judge(request.node)


def _facts(config: pytest.Config, laboratory: Laboratory) -> dict[str, Any]:
    subject, corpus = laboratory.subject, laboratory.corpus
    chosen = next(why for c, why in config.stash[_SELECTION][1] if c.name == corpus.name)
    model = subject.model
    return {
        "models": {
            model.name: {
                "family": model.family,
                "n_blocks": model.n_blocks,
                "about": model.about,
                "licence": model.licence,
                "source": printable(model.source.path()),
                "provenance": subject.provenance,
                "weights": subject.fingerprint,
                "dtype": str(subject.dtype).removeprefix("torch."),
                "device": str(subject.device),
                "attention": subject.attention,
            }
        },
        "corpora": {
            corpus.name: {
                "edition": corpus.edition,
                "splitting": corpus.splitting,
                "licence": corpus.licence,
                "text": corpus.read().fingerprint,
                "chosen": chosen,
            }
        },
        "timings": {f"{model.name}/{corpus.name}": laboratory.timings},
    }


def _environment(config: pytest.Config) -> dict[str, Any]:
    from importlib.metadata import PackageNotFoundError, version

    packages = {}
    for name in ("torch", "transformers", "tokenizers", "safetensors", "gguf", "numpy", "scipy", "pytest"):
        with contextlib.suppress(PackageNotFoundError):
            packages[name] = version(name)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "packages": packages,
        "command": ["pytest", *config.invocation_params.args],
    }


def _markers() -> list[str]:
    lines = [f"{model.name}: {model.about}" for model in MODELS.values()]
    lines += [f"{family}_family: models of the {family} family" for family in sorted({m.family for m in MODELS.values()})]
    lines += [f"{claim.marker}: {claim.title}" for claim in CLAIMS]
    lines += [f"{rung.name}: {rung.summary}" for rung in RUNGS.values()]
    return [*lines, "core: the cells a claim stands or falls with"]


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
    for word in words:
        if word not in known:
            raise pytest.UsageError(f"-m {printable(word)}: no such marker{did_you_mean(word, known)}; models: {', '.join(MODELS)}; claims: {', '.join(c.marker for c in CLAIMS)}; rungs: {', '.join(RUNGS)}; core")  # fmt: skip
    if given:
        return given
    if option.all_models or any(word in MODELS or word in families for word in words):
        return list(MODELS.values())
    return [MODELS[DEFAULT_MODEL]]


if sys.version_info < (3, 11):  # pragma: no cover
    raise pytest.UsageError("Python 3.11 or newer is needed")
