"""``--plan``: what would run, on what, from where, how large and how long, before anything is loaded."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from fixtures import Corpus, CorpusError, Hub, Model, ModelError, hub, wikitext
from fixtures.described import from_config
from fixtures.hub_trouble import unreachable
from fixtures.naming import printable, readable_size
from harness import estimate
from harness.errors import LongWorkError, SubjectError, TextError
from harness.measurement import LAYOUTS, Measurement, all_on
from harness.rates import Rates, probe
from harness.settings import Setting
from harness.sharing import sharing
from reports.idle_axes import idle
from reports.ledger import Cell, claim_of
from reports.model_list import is_here, where
from reports.plugin import CELL, LEDGER, SETTING
from reports.subjects import Subjects

if TYPE_CHECKING:
    from harness.bench import Bench


@dataclass
class _Part:
    """The plan of one model on one corpus. ``downloads``: what → bytes, 0 where the size is not known."""

    lines: list[str] = field(default_factory=list)
    refused: bool = False
    seconds: float = 0.0
    memory: float = 0.0
    downloads: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, cost: estimate.Cost) -> None:
        """Add a measurement."""
        text = f"{' + '.join(map(str, cost.windows))} windows, {cost.tokens:,} tokens" if cost.tokens else "weights alone"
        self.lines.append(f"  {name}: {text}; about {_duration(cost.seconds)}, {readable_size(int(cost.memory))} of memory")
        self.seconds, self.memory = self.seconds + cost.seconds, max(self.memory, cost.memory)

    def share(self, layout: str, names: list[str], costs: list[estimate.Cost], sweep: estimate.Cost) -> None:
        """Have several things made in one sweep: its passes are made once, and what each of them holds is held at once."""
        saved = (len(names) - 1) * sweep.seconds
        self.lines.append(f"  one sweep over {layout} windows for {', '.join(names[:-1])} and {names[-1]}: {_duration(saved)} less")
        self.seconds -= saved
        self.memory = max(self.memory, sum(cost.memory for cost in costs) - (len(names) - 1) * sweep.memory)


class Planner:
    """Takes the place of the test loop: shows the plan of what was collected, and ends."""

    def __init__(self, config: pytest.Config, subjects: Subjects, make_bench: Callable[[Setting | None], Bench]) -> None:
        self._config, self._subjects, self._make_bench, self._refused = config, subjects, make_bench, False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Show the plan in the place of running tests."""
        cells = [item.stash[CELL][0] for item in session.items if CELL in item.stash and SETTING not in item.stash]
        swept = [(item.stash[SETTING], item.stash[CELL][0]) for item in session.items if SETTING in item.stash]
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        for line in self._lines(cells, swept) if cells else []:
            reporter.write_line(line)
        return True

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """A model or text that cannot be had is an error here too."""
        if exitstatus == pytest.ExitCode.OK and self._refused:
            session.exitstatus = 6

    def _lines(self, cells: list[Cell], swept: list[tuple[Setting, Cell]]) -> list[str]:
        device, size = _device(self._subjects)
        rates = probe(device, size)
        speed = f"{rates.product / 1e9:,.0f} GFLOP/s in {'float32' if size == 4 else 'bfloat16'}, {rates.product64 / 1e9:,.0f} in float64"
        bench = self._make_bench(None)
        long = bench.long or device != "cpu"
        parts = []
        for model in self._subjects.models:
            for corpus, why in self._subjects.corpora:
                mine = [cell for cell in cells if (cell.model, cell.corpus) == (model.name, corpus.name)]
                if mine:
                    parts.append(_plan(bench, model, corpus, why, mine, size, rates, long))
        self._refused = any(part.refused for part in parts)
        sweep, further = self._sweep(swept, {size: rates}, device, size, long)
        downloads: dict[str, int] = {}
        for part in (*parts, *further):
            downloads |= part.downloads
        sizes = [f"about {readable_size(known)}"] if (known := sum(downloads.values())) else []
        sizes += [f"{name}, of unknown size" for name, size in downloads.items() if not size]
        fetched = f"downloads: {' and '.join(sizes)}" if sizes else "no downloads"
        every = (*parts, *further)
        memory, seconds = max(part.memory for part in every), sum(part.seconds for part in every)
        time = f"about {_duration(seconds)}; peak memory about {readable_size(int(memory))}" if memory else ""
        return [
            "",
            f"plan: {len(cells)} cells on {device}; nothing is loaded or measured",
            *(line for part in parts for line in ("", *part.lines)),
            "",
            *sweep,
            *(
                [f"MORE than the {readable_size(free)} that are free on {device}: a smaller --dtype, --device-map auto or another device"]
                if memory > (free := _free_memory(device))
                else []
            ),
            f"in all: {fetched}{'; ' if time else ''}{time or ''}",
            f"estimates, good to about a factor of two, from rates measured just now: {speed}",
        ]

    def _sweep(
        self, swept: list[tuple[Setting, Cell]], rates: dict[int, Rates], device: str, size: int, long: bool
    ) -> tuple[list[str], list[_Part]]:
        """Plan what --sweep adds: a line an axis, and the parts behind them; ``rates``: by bytes of a weight, others are probed."""
        lines, parts = [], []
        for axis in dict.fromkeys(setting.axis for setting, _ in swept):
            asked = [(setting, cell) for setting, cell in swept if setting.axis == axis]
            mine = []
            for setting in dict.fromkeys(setting for setting, _ in asked):
                bytes_a_weight = size if setting.dtype is None else 4 if setting.dtype == "float32" else 2
                rates[bytes_a_weight] = rates.get(bytes_a_weight) or probe(device, bytes_a_weight)
                texts = [(setting.corpus, setting.about)] if setting.corpus else self._subjects.corpora
                for model, (corpus, why) in itertools.product(self._subjects.models, texts):
                    cells = [c for s, c in asked if s == setting and c.model == model.name and (setting.corpus or c.corpus == corpus.name)]
                    if cells:
                        mine.append(
                            _plan(self._make_bench(setting), model, corpus, why, cells, bytes_a_weight, rates[bytes_a_weight], long)
                        )
            names = ", ".join(setting.name for setting in dict.fromkeys(setting for setting, _ in asked))
            time = f"about {_duration(seconds)}" if (seconds := sum(part.seconds for part in mine)) else "nothing to measure"
            lines.append(f"sweep, {axis}: {len(asked)} cells, {names}; {time}")
            parts += mine
        lines += idle(self._config.option.sweep, self._config.stash[LEDGER].settings, {setting.name for setting, _ in swept})
        return [*lines, ""] if lines else [], parts


def _plan(bench: Bench, model: Model, corpus: Corpus, why: str, cells: list[Cell], size: int, rates: Rates, long: bool) -> _Part:
    """Plan one model on one corpus; ``size``: bytes of a weight in memory, ``long``: whether long work is done."""
    part, model = _Part(), _completed(model)
    count = Counter(claim_of(cell.claim).label for cell in cells)
    part.lines = [f"{model.name} · {model.about}"]
    try:
        part.lines += [f"  weights: {_weights(model, part)}", f"  text: {_text(corpus, part)} ({printable(why)})"]
    except (ModelError, CorpusError) as error:
        part.lines.append(f"  ERROR: {printable(error)}")
        return replace(part, refused=True, downloads={})
    part.lines.append(f"  cells: {', '.join(f'{n} of {label}' for label, n in count.items())}")
    asked = [claim_of(cell.claim).named(cell.predicate) for cell in cells]
    able = [(p, cell) for p, cell in zip(asked, cells, strict=True) if not p.inapplicable(model.n_blocks)]
    needed = {measurement: None for p, cell in able for measurement in all_on(p.measured_by, cell.rung)}
    missing = []
    for measurement in needed:
        if _is_stored(bench, model, corpus, measurement):
            part.lines.append(f"  {measurement.name}: in the store, nothing to measure")
        elif measurement.long and not long:
            part.lines.append(f"  {measurement.name}: {LongWorkError.REASON}")
        elif not model.width or not model.parameters:
            part.lines.append(f"  {measurement.name}: to be measured; how long is not known: give the model's width and parameters")
        else:
            missing.append(measurement)
    brought = {other.name: measurement.name for measurement in missing for other in measurement.brings}
    for measurement in [m for m in missing if m.name in brought]:
        part.lines.append(f"  {measurement.name}: comes with {brought[measurement.name]}")
        missing.remove(measurement)
    costs = {measurement.name: estimate.cost(measurement, model, bench.protocol, size, rates) for measurement in missing}
    for layout in LAYOUTS:
        together = [costs[measurement.name] for measurement in sharing(missing, layout)]
        names = [measurement.name for measurement in sharing(missing, layout)]
        if any(measurement.layout == layout and measurement.keeps for measurement in missing):
            together.append(estimate.streams(layout, model, bench.protocol, size, rates))
            part.add(f"streams, {layout} windows", together[-1])
            names.append("streams")
        if len(names) > 1:
            part.share(layout, names, together, estimate.sweep(layout, model, bench.protocol, size, rates))
    for measurement in missing:
        part.add(measurement.name, costs[measurement.name])
    return part


def _completed(model: Model) -> Model:
    """Return a model on the hub with the sizes that were not stated, when the hub or its cache tells them."""
    source = model.source
    if not isinstance(source, Hub) or model.unavailable or (model.width and model.parameters and source.size):
        return model
    try:
        config, commit = hub.config(source.repo, source.revision)
        _, _, width, vocabulary = from_config(config, source.repo)
        size, parameters = hub.download_size(source.repo, commit)
    except ModelError:
        return model
    weights = parameters or size // 2  # Most checkpoints are of 16 bits.
    return replace(model, width=width, vocabulary=vocabulary, parameters=weights, source=replace(source, size=size))


def _device(subjects: Subjects) -> tuple[str, int]:
    """Return the device that would be used, and the bytes of a weight there."""
    from harness.loading import choose_device

    device, dtype = choose_device(subjects.placement.device), subjects.placement.dtype
    narrow = dtype in ("bfloat16", "float16") or (dtype == "auto" and device.type != "cpu")
    return str(device), 2 if narrow else 4


def _free_memory(device: str) -> int:
    """Return the bytes that are free for a model on a device."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    import psutil

    return int(psutil.virtual_memory().available)


def _weights(model: Model, part: _Part) -> str:
    """Say where the weights are, or what their download takes. Raises ModelError when they cannot be had."""
    if model.unavailable:
        raise ModelError(model.unavailable)
    if not isinstance(model.source, Hub):
        return f"{printable(model.source.fetch(lambda line: None))}, here"
    if is_here(model):
        return f"{where(model)}, here"
    if unreachable():
        hub.describe(model.source.repo, model.source.revision)  # Raises what the run would.
    part.downloads[model.name] = model.source.size
    return f"{where(model)}, a download of {f'about {readable_size(model.source.size)}' if model.source.size else 'unknown size'}"


def _text(corpus: Corpus, part: _Part) -> str:
    """Say which text it is, and what its download takes. Raises CorpusError when it cannot be had."""
    if corpus.name != "wikitext-2" or (wikitext.cached() and not wikitext.trouble()):
        return f"{corpus.name}, {corpus.edition}"
    if wikitext.trouble():
        corpus.read()  # Raises what the run would.
    part.downloads[corpus.name] = wikitext.SIZE
    return f"{corpus.name}, {corpus.edition}, a download of about {readable_size(wikitext.SIZE)}"


def _is_stored(bench: Bench, model: Model, corpus: Corpus, measurement: Measurement) -> bool:
    """Whether a measurement is in the store, as far as can be told without loading or fetching."""
    if not is_here(model) or (corpus.name == "wikitext-2" and not wikitext.cached()):
        return False
    try:
        return bench.facts(model) is not None and bench.laboratory(model, corpus).is_stored(measurement)
    except (ModelError, CorpusError, SubjectError, TextError, OSError):
        return False


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
