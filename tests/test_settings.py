"""Which settings a sweep changes, which measurements they reach, and that a measurement reads no more of the protocol than it declares."""

from __future__ import annotations

from dataclasses import asdict, fields, replace

import pytest
import torch

from fixtures import CORPORA
from fixtures.described import model_at
from fixtures.text_files import corpus_at
from harness import measurement as m
from harness import measuring
from harness.bench import Bench
from harness.guarded import UndeclaredError, as_keyed, guarded
from harness.protocol import Protocol
from harness.settings import AXES, ON_CPU, AxisError, affects, axes_of, settings_of
from harness.store import Store
from harness.subject import Placement
from tests import small_llama

BASE = Protocol()
TEXTS = [CORPORA[name] for name in ("pydocs", "code", "chat")]


def settings(*axes, base=BASE, dtype="float32", corpora=("wikitext-2",)):
    """Settings of axes around a base run, by name."""
    return {setting.name: setting for setting in settings_of(axes, base, dtype, corpora, TEXTS)}


def reached(name, measurements=m.MEASUREMENTS, **given):
    """The measurements that a setting can change."""
    setting = settings(*AXES, **given)[name]
    return {measurement for measurement in measurements if affects(setting, given.get("base", BASE), measurement)}


def test_axes_are_those_asked_for_in_one_order():
    """Any order, repeats and ``all``."""
    assert axes_of("dtype, seeds,seeds") == ("seeds", "dtype")
    assert axes_of("all") == axes_of("lambda,all") == tuple(AXES)


@pytest.mark.parametrize(("given", "said"), [("sedes", "did you mean 'seeds'"), ("", "no axis ''"), ("seeds,", "expected seeds, windows")])
def test_another_axis_is_refused(given, said):
    """By its name, with those there are."""
    with pytest.raises(AxisError, match=said):
        axes_of(given)


def test_every_axis_has_its_settings_around_the_base():
    """One thing is changed by each: those of the base are none, and models are loaded anew last."""
    found = settings(*AXES, base=replace(BASE, seed=5), dtype="bfloat16", corpora=("code", "mine"))
    assert list(found) == [
        *("seed=6", "seed=7", "windows=×0.5", "windows=×2", "lambda=×0.01", "lambda=×100"),
        *("corpus=pydocs", "corpus=chat", "dtype=float32", "dtype=float16"),
    ]
    assert set(settings("dtype", dtype=None)) == {"dtype=float32", "dtype=bfloat16", "dtype=float16"}
    assert [setting.name for setting in settings_of(["dtype"], BASE, "float32", [], TEXTS, ON_CPU)] == ["dtype=bfloat16"]
    assert [setting.ident for setting in settings("windows").values()] == ["windows=x0.5", "windows=x2"]


def changed(name):
    """Top-level fields that a setting changes: name → value."""
    after = settings(*AXES)[name].protocol(BASE).as_dict()
    return {field: value for field, value in after.items() if value != BASE.as_dict()[field]}


def test_a_setting_changes_what_it_says_and_nothing_else():
    """Half the windows leave room for tokens that are not typical: 18 for each dimension, where a verdict takes 16."""
    assert changed("seed=1") == {"seed": 1}
    assert changed("lambda=×0.01") == {"ridge": pytest.approx(1e-6)}
    assert changed("lambda=×100") == {"ridge": pytest.approx(1e-2)}
    assert changed("corpus=code") == changed("dtype=float16") == {}
    sizes = ("calibration_windows", "evaluation_windows", "strict_tokens_per_width", "strict_evaluation_windows")
    assert changed("windows=×2") == dict(zip(sizes, (64, 32, 64, 128), strict=True))
    assert changed("windows=×0.5") == dict(zip(sizes, (16, 8, 18, 32), strict=True))


def test_half_the_windows_say_that_on_strict_they_are_more():
    """18 of 32 tokens for each dimension are 56%; where half of them is enough, it is half."""
    told = settings("windows")
    assert told["windows=×0.5"].about.endswith(
        "; on strict 18 calibration tokens for each dimension, not 32 (56%), since a verdict takes them"
    )
    assert told["windows=×2"].about == "twice the windows of calibration and evaluation"
    assert settings("windows", base=replace(BASE, strict_tokens_per_width=64))["windows=×0.5"].about.startswith("half the windows of")
    assert "strict" not in settings("windows", base=replace(BASE, strict_tokens_per_width=64))["windows=×0.5"].about


def test_half_the_windows_are_never_more():
    """A protocol of fewer tokens than a verdict takes is not raised to them."""
    few = replace(BASE, strict_tokens_per_width=10)
    assert settings("windows")["windows=×0.5"].protocol(few).strict_tokens_per_width == 10


def test_a_setting_reaches_what_can_change_and_nothing_else():
    """The ridge is of paper and where strict has a fixed one; weights alone have no windows and no text; a type changes all."""
    strict = {measurement for measurement in m.MEASUREMENTS if measurement.layout == m.STRICT}
    assert m.RANK in reached("lambda=×100")
    assert reached("lambda=×100", strict) == {m.LOGIT_CHANGE[1], m.RUNS[1]}
    drawn = {m.CONCENTRATION, m.CHALLENGED}
    for both in (m.SUBSPACES, m.PROJECTION, m.ABLATION, m.SENSITIVITY, m.LOGIT_CHANGE, m.ARENA, m.QUANTISED):
        drawn |= set(both)
    for both in (m.EXIT, m.LATER_EXITS, m.LOWEST_EXIT, m.DISTILLED_EXIT, m.LORA):
        drawn |= set(both)
    assert reached("seed=1") == drawn
    assert reached("windows=×2") == reached("corpus=code") == set(m.MEASUREMENTS) - {m.CONCENTRATION}
    assert reached("dtype=bfloat16") == set(m.MEASUREMENTS)


def test_the_guard_lets_declared_fields_through():
    """By name and in methods, with the values of the protocol."""
    seen = guarded(replace(BASE, seed=7), ["seed", "grid"], ["exits", "late"], "it")
    assert seen.seed == 7
    assert seen.penalties() == BASE.penalties()
    assert seen.easy.looked_at(12) == BASE.easy.looked_at(12)


@pytest.mark.parametrize(
    "read",
    [
        lambda p: p.ridge,
        lambda p: p.strict_calibration_windows(64),
        lambda p: p.as_dict(),
        lambda p: asdict(p),
        lambda p: vars(p),
        lambda p: replace(p, seed=1),
        lambda p: p == p,
        lambda p: hash(p),
        lambda p: p.easy.steps,
        lambda p: p.easy.batch_on(False),
    ],
)
def test_the_guard_stops_every_other_field(read):
    """However it is read, the reader is named."""
    with pytest.raises(UndeclaredError, match="what is tested"):
        read(guarded(BASE, ["seed"], ["late"], "what is tested"))


def test_claim_5s_part_is_closed_to_what_declares_none_of_it():
    """Not even methods can be reached, and a field that there is not cannot be declared."""
    with pytest.raises(UndeclaredError, match="easy"):
        _ = guarded(BASE, ["seed"], [], "it").easy
    with pytest.raises(UndeclaredError, match="declares sede"):
        guarded(BASE, ["sede"], [], "it")


def test_a_key_has_defaults_for_what_is_not_declared():
    """So the default protocol's keys are what they were before there was a declaration: all of it, but for claim 5's other fields."""
    for measurement in m.MEASUREMENTS:
        whole = BASE.as_dict()
        easy = whole.pop("easy")
        of_easy = {"easy": {name: easy[name] for name in measurement.easy}} if measurement.easy else {}
        assert as_keyed(BASE, measurement.depends, measurement.easy) == whole | of_easy
    other = replace(BASE, seed=3, ridge=1.0, evaluation_windows=8)
    assert as_keyed(other, ["ridge"], ()) == as_keyed(replace(BASE, ridge=1.0), ["ridge"], ())
    assert as_keyed(other, ["ridge", "seed"], ())["seed"] == 3


@pytest.mark.parametrize("name", ["windows=×0.5", "lambda=×100"])
def test_a_setting_measures_what_a_run_of_its_protocol_does(tmp_path, name):
    """Beside a run whose streams and maps are at hand, none of them is taken: the same figures as alone."""
    protocol = replace(small_llama.PROTOCOL, calibration_windows=8, evaluation_windows=4, groups=4)
    model, text = model_at(str(small_llama.save(tmp_path / "model"))), corpus_at(str(small_llama.write(tmp_path / "text")))

    def fresh(protocol):
        return Bench(Placement("cpu"), protocol, Store(None), lambda name: lambda done, total: None)

    base, setting = fresh(protocol), settings("windows", "lambda")[name]
    before = base.laboratory(model, text).runs("paper").arrays
    found = base.under(setting, {}).laboratory(model, text).runs("paper").arrays
    alone = fresh(setting.protocol(protocol)).laboratory(model, text).runs("paper").arrays
    assert all((found[part] == alone[part]).all() for part in alone)
    assert any(before[part].shape != found[part].shape or (before[part] != found[part]).any() for part in found)


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """Fields of the protocol that each measurement read: every one made on a small Llama in a few steps, and what keeps their streams."""
    views, patch = {}, pytest.MonkeyPatch()

    def watched(*given):
        view = guarded(*given)
        views.setdefault(given[-1], []).append(view)
        return view

    patch.setattr(measuring, "guarded", watched)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    easy = replace(small_llama.PROTOCOL.easy.trained_for(4), trial_steps=2, trial_warmup=1, looks=2)
    variance = replace(small_llama.PROTOCOL.variance, nulls=2, null_subspaces=1, directions=3)
    sizes = {"calibration_windows": 8, "evaluation_windows": 4, "strict_evaluation_windows": 4, "strict_tokens_per_width": 8, "groups": 4}
    protocol, folder = replace(small_llama.PROTOCOL, easy=easy, variance=variance, **sizes), tmp_path_factory.mktemp("read")
    model = model_at(str(small_llama.save(folder / "model")))
    texts = tuple(corpus_at(str(small_llama.write(folder / name))) for name in ("one", "other"))
    bench = Bench(Placement("cpu"), protocol, Store(None), lambda name: lambda done, total: None, long=True, corpora=texts)
    try:
        lab = bench.laboratory(model, texts[0])
        for measurement in m.MEASUREMENTS:
            lab._once(measurement)
    finally:
        torch.set_num_threads(threads)
        patch.undo()
    return {name: set().union(*(object.__getattribute__(view, "_read") for view in of)) for name, of in views.items()}


@pytest.mark.parametrize("measurement", m.MEASUREMENTS, ids=lambda each: each.name)
def test_what_a_measurement_declares_it_reads(read, measurement):
    """Nothing stands in a key needlessly; what it does not declare, the guard would have refused."""
    assert read[measurement.name] - {"easy"} == set(measurement.depends)


def test_every_field_is_read_by_some_measurement_or_says_how_figures_are_read(read):
    """What no measurement reads cuts windows, or judges."""
    rest = {field.name for field in fields(Protocol)} - set().union(*read.values())
    cut = {"window", "calibration_windows", "evaluation_windows", "strict_tokens_per_width", "strict_evaluation_windows"}
    assert rest == cut | {"fewest_tokens_per_width", "half_sample_change", "quick"}
