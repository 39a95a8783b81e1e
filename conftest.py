"""The wiring: options, markers, what is tested on what, and the session's laboratories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from claims import CLAIMS, lock
from claims.claim import Measures
from fixtures import MODELS, ModelError
from fixtures.extensions import register_from_file, register_installed
from fixtures.selection import names_of
from harness import challengers
from harness.measurement import Measurement
from harness.protocol import RUNGS, Protocol
from harness.store import Store
from reports import bundle, places, plan, plugin, provenance, subjects, sweeping, telling, workers
from reports.ledger import Cell, Ledger
from reports.model_list import model_list
from reports.options import OPTIONS, protocol_of
from reports.subjects import InputError, Subjects
from reports.tests_found import TestsFound

if TYPE_CHECKING:
    from harness.bench import Bench
    from harness.laboratory import Laboratory
    from harness.settings import Setting
    from reports.baseline_guard import Guard

pytest_plugins = ["pytester"]

_ROOT = Path(__file__).parent
_SUBJECTS = pytest.StashKey[Subjects]()
_PROTOCOL = pytest.StashKey[Protocol]()
_BENCHES: pytest.StashKey[dict[str | None, Bench]] = pytest.StashKey()
_WANTED = pytest.StashKey[dict[str | None, dict[tuple[str, str], tuple[Measurement, ...]]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of ``pytest claims``."""
    group = parser.getgroup("claims", "claims (pytest claims): which model to test, on which text")
    for name, settings in OPTIONS.items():
        group.addoption(name, **settings)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """List the models when that is all that is asked for."""
    if config.option.plan and config.pluginmanager.hasplugin("xdist"):
        config.option.numprocesses, config.option.dist, config.option.tx = None, "no", []  # A plan needs no workers.
    if not config.option.models:
        return None
    _register_models(config)
    print(model_list())
    return 0


def pytest_configure(config: pytest.Config) -> None:
    """Register markers; when claims are asked for, settle what is tested and reject bad input before anything is loaded."""
    asked = _asks_for_claims(config)
    if asked:
        _register_models(config)
        _enter_challengers(config)
    for line in _markers():
        config.addinivalue_line("markers", line)
    if not asked:
        return
    option, here = config.option, not hasattr(config, "workerinput")
    try:
        if option.store and option.no_store:
            raise InputError("--store and --no-store exclude one another")
        protocol, report = protocol_of(option), places.checked(option)
        sweeping.check_choice(config.args, option)
        known = {line.split(":")[0].split("(")[0].strip() for line in config.getini("markers")}
        settled = None if here else config.workerinput["claims"]  # type: ignore[attr-defined]
        if option.device not in ("auto", "cpu") and not option.collectonly:
            subjects.check_device(option.device)
        chosen = subjects.settle(option, known, telling.teller(config), _will_run(option), settled)
        settings = sweeping.asked_for(option, protocol, chosen)
        pairs = {(m.name, c.name): m.n_blocks for m in chosen.models for c, _ in chosen.corpora}
        ledger = Ledger(pairs, quick=option.quick, settings=settings)
        guard = _guard(option, ledger, chosen) if here and option.baseline is not None else None
    except InputError as error:
        raise pytest.UsageError(str(error)) from None
    for model in (model for model in chosen.models if model.name not in MODELS):
        for line in (f"{model.name}: {model.about}", f"{model.family}_family: models of the {model.family} family"):
            config.addinivalue_line("markers", line)
    config.stash[_SUBJECTS], config.stash[_PROTOCOL] = chosen, protocol
    config.stash[plugin.LEDGER] = ledger
    config.stash[plugin.FACTS] = {
        "protocol": protocol.as_dict(),
        "bounds": lock.state(),
        "environment": provenance.of_environment(config.invocation_params.args),
    }
    config.pluginmanager.register(plugin, "claims")
    if settings:
        config.pluginmanager.register(sweeping.Sweep(config, chosen), "claims-sweep")
    config.pluginmanager.register(TestsFound(config, _ROOT / "claims", ledger), "claims-tests-found")
    if here and option.plan:
        config.pluginmanager.register(plan.Planner(config, chosen, lambda setting: _bench(config, setting)), "claims-plan")
    elif here:
        config.pluginmanager.register(plugin.Recorder(config, report, guard), "claims-recorder")
        if config.pluginmanager.hasplugin("xdist"):
            config.pluginmanager.register(workers.Workers(config, chosen), "claims-workers")
    if (folder := places.bundle_folder(option)) is not None and not option.plan:
        config.pluginmanager.register(bundle.Bundler(config, folder), "claims-bundle")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of every cell: model × corpus × rung × block; and one of it under every setting that can change its figure."""
    measures: Measures | None = getattr(metafunc.function, "measures", None)
    if measures is None or _SUBJECTS not in metafunc.config.stash:
        return
    chosen, protocol = metafunc.config.stash[_SUBJECTS], metafunc.config.stash[_PROTOCOL]
    settings = metafunc.config.stash[plugin.LEDGER].settings
    claim, predicate = measures.claim, measures.predicate
    params: list[Any] = []
    if len(chosen.corpora) < predicate.fewest_texts:
        metafunc.parametrize("cell", params, indirect=True)
        return
    for model in chosen.models:
        for corpus, _ in chosen.corpora:
            for rung, block in predicate.cells(model.n_blocks):
                if rung not in measures.rungs:
                    continue
                names = [*sorted(names_of(model)), claim.marker, rung]
                names += ["core"] if predicate.is_core(rung, block, model.n_blocks) else []
                cell = Cell(model.name, corpus.name, claim.key, predicate.name, rung, block)
                marks = [getattr(pytest.mark, name) for name in dict.fromkeys(names)]
                for setting in (None, *sweeping.settings_for(settings, protocol, measures, cell, model)):
                    ident = cell.ident if setting is None else f"{cell.ident}@{setting.ident}"
                    params.append(pytest.param((cell, measures, model, corpus, setting), id=ident, marks=marks))
    metafunc.parametrize("cell", params, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test its cell, keep one model's tests together, and let a dependency's warning not decide a verdict."""
    # A predicate that has no cell on these texts is no test.
    items[:] = [item for item in items if not _is_empty(item)]
    order: dict[tuple[str, str], int] = {}
    models: dict[str, int] = {}
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is not None and isinstance(callspec.params.get("cell"), tuple):
            cell, measures, model, *_ = callspec.params["cell"]
            item.stash[plugin.CELL] = cell, measures, model
            item.add_marker(pytest.mark.filterwarnings("default"))
            order.setdefault((cell.model, cell.corpus), len(order))
            models.setdefault(cell.model, len(models))

    def place(item: pytest.Item) -> tuple[int, bool, int]:
        if plugin.CELL not in item.stash:
            return -1, False, -1
        cell, measures, _ = item.stash[plugin.CELL]
        # What compares texts comes when all texts of a model have been measured.
        return models[cell.model], measures.predicate.fewest_texts > 1, order[cell.model, cell.corpus]

    items.sort(key=place)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note what is to be measured, so that what comes with something else is not measured apart."""
    session.config.stash[_WANTED] = sweeping.wanted(session.items)


def _is_empty(item: Any) -> bool:
    """Whether an item stands for an empty set of cells, which pytest would show as skipped."""
    of_claims = getattr(getattr(item, "function", None), "measures", None) is not None
    return of_claims and hasattr(item, "callspec") and not isinstance(item.callspec.params.get("cell"), tuple)


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> Any:
    """The cell under test, with its model, its corpus, and the setting that is changed around the run or None."""
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
    config, node = request.config, request.node
    _, _, model, corpus, setting = cell
    if setting is not None:
        if setting.dtype is not None:
            sweeping.leave_out_type(node, setting, _bench(config).laboratory(model, corpus))
        laboratory = _bench(config, setting).laboratory(model, setting.corpus or corpus)
        sweeping.leave_out_short(node, setting, laboratory)
        node.stash[plugin.DESCRIBE] = lambda: sweeping.facts_of(laboratory, setting)
        return laboratory
    chosen = next(why for c, why in config.stash[_SUBJECTS].corpora if c.name == corpus.name)
    laboratory = _bench(config).laboratory(model, corpus)
    node.stash[plugin.DESCRIBE] = lambda: provenance.of_laboratory(laboratory, chosen)
    return laboratory


@pytest.fixture
def verdict(request: pytest.FixtureRequest) -> plugin.Judge:
    """Judges the figure that a test hands it."""
    return plugin.Judge(request.node)


def _bench(config: pytest.Config, setting: Setting | None = None) -> Bench:
    """The bench of the run, or the one of a setting that is changed around it."""
    benches, wanted = config.stash.setdefault(_BENCHES, {}), config.stash.get(_WANTED, {})
    if None not in benches:
        from harness.bench import Bench

        store = Store(places.store_folder(config.option))
        placement, protocol = config.stash[_SUBJECTS].placement, config.stash[_PROTOCOL]
        announce, say = telling.announcer(config), telling.teller(config)
        corpora = tuple(corpus for corpus, _ in config.stash[_SUBJECTS].corpora)
        maps, tokens = places.maps_folder(config.option), places.tokens_file(config.option)
        asked, long = wanted.get(None, {}), config.option.long
        benches[None] = Bench(placement, protocol, store, announce, say, long, asked, corpora, maps, tokens)
    if setting is not None and setting.name not in benches:
        benches[setting.name] = benches[None].under(setting, wanted.get(setting.name, {}))
    return benches[setting.name if setting else None]


def _guard(option: Any, ledger: Ledger, chosen: Subjects) -> Guard:
    from reports.baseline_guard import guard_of  # Imports what only a baseline needs.

    return guard_of(option, ledger, chosen.models)


def _register_models(config: pytest.Config) -> None:
    # Names that -m already gives a meaning.
    builtin = {line.split(":")[0].split("(")[0].strip() for line in config.getini("markers")} - set(MODELS)
    pytests_own = {"parametrize", "skip", "skipif", "xfail", "usefixtures", "filterwarnings"}
    reserved = {*builtin, *pytests_own, *RUNGS, *(claim.marker for claim in CLAIMS), "core", "and", "or", "not"}
    try:
        register_installed(reserved)
        for file in config.option.models_from:
            register_from_file(str(config.invocation_params.dir / Path(file).expanduser()), reserved)
    except (ModelError, RuntimeError) as error:
        raise pytest.UsageError(str(error)) from None


def _enter_challengers(config: pytest.Config) -> None:
    try:
        for file in config.option.challengers:
            challengers.register_from_file(str(config.invocation_params.dir / Path(file).expanduser()))
    except ModelError as error:
        raise pytest.UsageError(str(error)) from None


def _will_run(option: Any) -> bool:
    """Whether tests are to run: for what only looks, nothing is downloaded."""
    looks = ("collectonly", "plan", "markers", "showfixtures", "show_fixtures_per_test", "setupplan", "setuponly")
    return not any(getattr(option, name, False) for name in looks)


def _markers() -> list[str]:
    lines = [f"{model.name}: {model.about}" for model in MODELS.values()]
    lines += [f"{family}_family: models of the {family} family" for family in sorted({m.family for m in MODELS.values()})]
    lines += [f"{claim.marker}: {claim.title}" for claim in CLAIMS]
    lines += [f"{rung.name}: {rung.summary}" for rung in RUNGS.values()]
    return [*dict.fromkeys(lines), "core: the cells a claim stands or falls with"]


def _asks_for_claims(config: pytest.Config) -> bool:
    here = _ROOT / "claims"
    for argument in config.args:
        path = (config.invocation_params.dir / argument.split("::")[0]).resolve()
        if path == here or here in path.parents or path in here.parents:
            return True
    return False
