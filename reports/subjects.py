"""From options to subjects: which models, which corpora, placed where; bad input is refused here, before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from claims import CLAIMS
from fixtures import DEFAULT_MODEL, MODELS, Corpus, CorpusError, Hub, Model, ModelError, NoTextError
from fixtures.corpora import choose
from fixtures.described import model_at
from fixtures.naming import did_you_mean, printable
from fixtures.selection import asked_for, names_of, words
from harness.protocol import RUNGS, Protocol
from harness.subject import DEVICE_MAPS, DEVICES, DTYPES, EXPECTED_DEVICES, Placement

VERDICTS = ("fail", "report")


class InputError(Exception):
    """Options that cannot be followed: one line, for the user."""


@dataclass(frozen=True)
class Subjects:
    """What is tested: models, corpora each with the reason for its choice, and where models are placed."""

    models: list[Model]
    corpora: list[tuple[Corpus, str]]
    placement: Placement
    given: list[str]

    def for_workers(self) -> dict[str, Any]:
        """Return what was found out here and must not be found out differently in another process: commits, and what auto took."""
        on_hub = [(text, m) for text, m in zip(self.given, self.models, strict=False) if isinstance(m.source, Hub) and text not in MODELS]
        return {
            "models": {text: [f"{m.source.repo}@{m.source.revision}", m.unavailable] for text, m in on_hub if isinstance(m.source, Hub)},
            "corpora": [[c.name, why] for c, why in self.corpora],
        }


def settle(option: Any, known: Iterable[str], say: Callable[[str], None], fetch: bool, settled: dict[str, Any] | None) -> Subjects:
    """Resolve the options of a run. ``known``: markers that ``-m`` may name beside those of models; ``settled``: as another process did.

    Raises InputError.
    """
    try:
        models = _models(option, set(known), settled)
        corpora = _corpora(option, say, fetch, settled)
    except NoTextError as error:
        p = Protocol()
        windows = p.calibration_windows + p.evaluation_windows
        raise InputError(f"{error}; found 0 tokens, {windows * p.window:,} are needed ({windows} windows of {p.window})") from None
    except (ModelError, CorpusError) as error:
        raise InputError(str(error)) from None
    for kind, found in (("model", [m.name for m in models]), ("corpus", [c.name for c, _ in corpora])):
        if twice := {name for name in found if found.count(name) > 1}:
            raise InputError(f"--{kind}: given twice: {', '.join(sorted(twice))}")
    return Subjects(models, corpora, _placement(option), list(dict.fromkeys(option.model)))


def _models(option: Any, known: set[str], settled: dict[str, Any] | None) -> list[Model]:
    """Resolve --model, --all-models and models named by -m; alone, the embedded default."""
    if option.all_models and option.model:
        raise InputError("--all-models and --model exclude one another")
    given = [_model(text, settled) for text in dict.fromkeys(option.model)]
    known = known.union(*(names_of(model) for model in (*given, *MODELS.values())))
    for word in words(option.markexpr or ""):
        if word not in known:
            mine = [model.name for model in given if model.name.startswith(f"{word}-")]
            there_are = f"models: {', '.join(MODELS)}; {', '.join(c.marker for c in CLAIMS)}; {', '.join(RUNGS)}; core"
            meant = f" (did you mean '{mine[0]}', which was given?)" if mine else did_you_mean(word, known) or f"; {there_are}"
            raise InputError(f"-m {printable(word)}: no such marker{meant}")
    if given:
        return given
    chosen = list(MODELS.values()) if option.all_models else asked_for(option.markexpr or "", MODELS, DEFAULT_MODEL)
    if not chosen:
        raise InputError(
            f"-m {printable(option.markexpr)}: asks for no model; where none is named it is the default, {DEFAULT_MODEL}. "
            f"Name one ({', '.join(MODELS)}), or add --all-models"
        )
    return chosen


def _model(text: str, settled: dict[str, Any] | None) -> Model:
    return model_at(*settled["models"][text]) if settled and text in settled["models"] else model_at(text)


def _corpora(option: Any, say: Callable[[str], None], fetch: bool, settled: dict[str, Any] | None) -> list[tuple[Corpus, str]]:
    chosen = []
    for i, given in enumerate(dict.fromkeys(option.corpus or ["auto"])):
        name, why = settled["corpora"][i] if settled else (given, None)
        corpus, reason = choose(name if given == "auto" else given, say, fetch)
        chosen.append((corpus, why or reason))
    return chosen


def _placement(option: Any) -> Placement:
    words_of: dict[str, tuple[str, ...]] = {"dtype": DTYPES, "verdicts": VERDICTS}
    for name, expected in words_of.items():
        asked = str(getattr(option, name))
        if asked not in expected:
            raise InputError(f"--{name} {printable(asked)}: no such{did_you_mean(asked, expected)}; expected {', '.join(expected)}")
    if not DEVICES.fullmatch(option.device):
        raise InputError(f"--device {printable(option.device)}: no such device; expected {EXPECTED_DEVICES}")
    placement = Placement(option.device, option.dtype, None, option.trust_remote_code)
    given = option.device_map
    if given is None or given in DEVICE_MAPS:
        return replace(placement, device_map=given)
    form = f'expected {", ".join(DEVICE_MAPS)}, or JSON such as \'{{"": "cpu"}}\''
    try:
        table = json.loads(given)
    except (ValueError, RecursionError):
        raise InputError(f"--device-map {printable(given)}: {form}") from None
    if not isinstance(table, dict) or not table or not all(type(v) is int or isinstance(v, str) for v in table.values()):
        raise InputError(f"--device-map {printable(given)}: {form}")
    return replace(placement, device_map=table)


def check_device(asked: str) -> None:
    """Refuse a device that this machine lacks, before anything is collected. Raises InputError."""
    from harness.errors import SubjectError
    from harness.loading import choose_device

    try:
        choose_device(asked)
    except SubjectError as error:
        raise InputError(str(error)) from None
