"""``--sweep``: the cells of a run that carry a verdict, measured again with one setting changed at a time.

The base run decides what is selected and what the run ends in. A test of a cell under a setting has the cell's id, ``@`` and the
setting's name; it is run when its cell is, after all cells, model by model and setting by setting.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any

import pytest

from claims.claim import Measures
from claims.verdicts import Verdict
from fixtures import CORPORA, Model
from fixtures.naming import printable
from harness import layouts
from harness.measurement import Measurement, all_on
from harness.pair import layout_of
from harness.protocol import RUNGS, Protocol
from harness.settings import CORPORA as TEXTS
from harness.settings import DTYPE, FLOATS, ON_CPU, WINDOWS, AxisError, Setting, affects, axes_of, settings_of
from reports.ledger import Cell, Row
from reports.plugin import CELL, LEDGER, ROW, SETTING
from reports.stability import JUDGED
from reports.subjects import InputError, Subjects

if TYPE_CHECKING:
    from harness.laboratory import Laboratory

_ON_THE_HUB = ("wikitext-2",)


def asked_for(option: Any, base: Protocol, subjects: Subjects) -> tuple[Setting, ...]:
    """Return the settings that ``--sweep`` asks for. Raises InputError."""
    if option.sweep is None:
        return ()
    if option.quick:
        raise InputError("--sweep and --quick exclude one another: at quarter sizes nothing is judged, so no verdict can stand or flip")
    try:
        axes = axes_of(option.sweep)
    except AxisError as error:
        raise InputError(str(error)) from None
    texts = [corpus for corpus in CORPORA.values() if corpus.name not in _ON_THE_HUB]
    dtype, types = _types_of(subjects) if DTYPE in axes else (None, FLOATS)
    return settings_of(axes, base, dtype, [corpus.name for corpus, _ in subjects.corpora], texts, types)


def check_choice(arguments: Iterable[str], option: Any) -> None:
    """Refuse to sweep tests that are chosen by their ids: pytest collects nothing else then. Raises InputError."""
    for given in arguments if option.sweep is not None else ():
        place, _, parameters = given.partition("::")[2].partition("[")
        if parameters:
            rung = next((name for name, rung in RUNGS.items() if rung.judged and f"-{name}" in parameters), "strict")
            choice = f"{given.partition('::')[0]}::{place} -m {rung}"
            why = "an id takes that test alone, without its settings; leave out what is in brackets, and choose cells by -m or -k"
            raise InputError(printable(f"--sweep with {given}: {why}, such as {choice}"))


def _types_of(subjects: Subjects) -> tuple[str | None, tuple[str, ...]]:
    """Return the type of the weights in the base run, None where it is each checkpoint's own, and those there are."""
    placement = subjects.placement
    if placement.device == "auto":
        from harness.loading import choose_device

        on_cpu = choose_device("auto").type == "cpu"
    else:
        on_cpu = placement.device == "cpu"
    usual = "float32" if on_cpu else None
    return usual if placement.dtype == "auto" else placement.dtype, ON_CPU if on_cpu else FLOATS


def settings_for(
    settings: tuple[Setting, ...], base: Protocol, measures: Measures, cell: Cell, model: Model
) -> Generator[Setting, None, None]:
    """Yield the settings under which a cell is measured again: where it carries a verdict and the setting can change its figure."""
    predicate = measures.predicate
    if not RUNGS[cell.rung].judged or predicate.judged(cell.rung, cell.block, model.n_blocks) is None:
        return
    if model.unavailable or predicate.inapplicable(model.n_blocks):
        return
    for setting in settings:
        if setting.axis == TEXTS and predicate.fewest_texts > 1:
            continue  # It compares texts already.
        if setting.axis in predicate.unmoved.get(cell.rung, ()):
            continue
        if any(affects(setting, base, measurement) for measurement in all_on(predicate.measured_by, cell.rung)):
            yield setting


class Sweep:
    """Puts the tests of cells under settings after those of the cells, and leaves out what cannot be said of a verdict."""

    def __init__(self, config: pytest.Config, subjects: Subjects) -> None:
        self._config, self._models = config, [model.name for model in subjects.models]
        self._settings = config.stash[LEDGER].settings
        self._cells: dict[Cell, pytest.Item] = {}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None, None, None]:
        """Have cells selected as if there were no sweep; then add what belongs to them."""
        swept: dict[tuple[str, str], dict[Cell, pytest.Item]] = {}
        for item in items:
            if (setting := _setting_of(item)) is not None:
                cell, measures, model = item.callspec.params["cell"][:3]  # type: ignore[attr-defined]
                item.stash[CELL], item.stash[SETTING] = (cell, measures, model), setting
                item.add_marker(pytest.mark.filterwarnings("default"))
                swept.setdefault((cell.model, setting.name), {})[cell] = item
        items[:] = [item for item in items if _setting_of(item) is None]
        yield
        self._cells = {item.stash[CELL][0]: item for item in items if CELL in item.stash}
        for name in self._models:
            for setting in self._settings:
                found = swept.get((name, setting.name), {})
                items += [found[cell] for cell in self._cells if cell in found]
        if dropped := [item for found in swept.values() for cell, item in found.items() if cell not in self._cells]:
            self._config.hook.pytest_deselected(items=dropped)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Leave a cell out whose base run has no verdict: there is none that could stand."""
        if SETTING in item.stash:
            base = self._cells[item.stash[CELL][0]].stash.get(ROW, None)  # A worker that took over for another does not know it.
            if base is not None and base.verdict not in JUDGED:
                pytest.skip(f"the run without this setting has no verdict: {base.verdict.word}")


def leave_out_type(item: pytest.Item, setting: Setting, base: Laboratory) -> None:
    """Leave a cell out under a type that the weights of the base run have, before they are loaded in it anew."""
    if setting.dtype == base.facts.dtype:
        leave_out(item, "the run itself has this type")


def leave_out(item: pytest.Item, why: str) -> None:
    """Enter a cell as UNTESTED under its setting, for a reason, and end its test."""
    cell, measures, model = item.stash[CELL]
    core = measures.predicate.is_core(cell.rung, cell.block, model.n_blocks)
    item.stash[ROW] = row = Row(cell, Verdict.UNTESTED, measures.predicate.unit, core, reason=why)
    pytest.skip(row.message())


def leave_out_short(item: pytest.Item, setting: Setting, lab: Laboratory) -> None:
    """Leave a cell out whose text holds too few windows for a setting of windows."""
    cell = item.stash[CELL][0]
    if setting.axis != WINDOWS:
        return
    layout = layout_of(cell.rung)
    asked = layouts.plan(layout, lab.protocol, lab.facts.width)["count"]
    short = [f"{found} of {asked[split]} windows for {split}" for split, found in lab.sizes(cell.rung).items() if found < asked[split]]
    if short:
        leave_out(item, f"too little text for this setting: it holds {' and '.join(short)}")


def facts_of(lab: Laboratory, setting: Setting) -> dict[str, Any]:
    """Return what a report says of a laboratory under a setting: where its measurements come from."""
    return {"timings": {f"{lab.model.name}/{lab.corpus.name}@{setting.name}": lab.timings}}


def wanted(items: list[pytest.Item]) -> dict[str | None, dict[tuple[str, str], tuple[Measurement, ...]]]:
    """Return what tests ask to be measured, by setting (None: the base run), then by model and text."""
    found: dict[str | None, dict[tuple[str, str], dict[Measurement, None]]] = {}
    for item in items:
        if CELL in item.stash:
            cell, measures, model = item.stash[CELL]
            setting = item.stash.get(SETTING, None)
            text = setting.corpus.name if setting is not None and setting.corpus is not None else cell.corpus
            if measures.predicate.measured_by and not measures.predicate.inapplicable(model.n_blocks):
                asked = found.setdefault(setting.name if setting else None, {}).setdefault((cell.model, text), {})
                asked |= dict.fromkeys(all_on(measures.predicate.measured_by, cell.rung))
    return {name: {pair: tuple(each) for pair, each in pairs.items()} for name, pairs in found.items()}


def _setting_of(item: pytest.Item) -> Setting | None:
    params = getattr(getattr(item, "callspec", None), "params", {}).get("cell")
    return params[4] if isinstance(params, tuple) else None
