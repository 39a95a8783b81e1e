"""Exit heads, and what stands beside them, equal a model that is run whole, a dictionary of bigrams and heads trained by hand in NumPy."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_softmax

from harness import measurement as m
from harness.easy_protocol import EasyProtocol
from harness.head_course import Course, Plan, checked
from harness.linearity import CALIBRATION, EVALUATION, contiguous_groups
from harness.measurement import INTERVENTION
from harness.work import Work
from tests import small_llama
from tests.bookmarks import Book, StoppedError
from tests.head_oracle import Oracle, one_hot, schedule
from tests.kept_streams import keep
from tests.small_llama import BLOCKS, GROUPS, MID, TOKENS, WORDS

EASY = EasyProtocol(steps=60, warmup=6, trial_steps=12, trial_warmup=2, look_stride=3)
PROTOCOL = replace(small_llama.PROTOCOL, easy=EASY)
EXITS, LATE = [3, 5, 6], [5, 6, 7]
RUNGS = {"paper": "paper", "typical": "paper", "strict": "strict"}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The laboratory of a small Llama, and the same model run whole, by layout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_llama, "PROTOCOL", PROTOCOL)
        return small_llama.measured(tmp_path_factory.mktemp("exits"))


def split_of(rung):
    """The windows that are scored."""
    return INTERVENTION if rung == "strict" else EVALUATION


def counted(whole, rung, split):
    """Positions that count."""
    marks = whole.typical(split, *EXITS, *LATE) if rung != "paper" else np.ones(whole.ids[split].shape, bool)
    return marks[:, :-1]


def logits(whole, split):
    """Logits of the clean run at the positions that have a next token."""
    return whole.logits(split, {})[:, :-1]


def trained(whole, rung, at, rate, windows=None, target=None, easy=EASY):
    """A head trained by hand on the output of a block: on all tokens, on ``strict`` on those that count."""
    norm, head = whole.model.model.norm, whole.model.lm_head.weight.detach()
    oracle = Oracle(norm.weight.detach().double().numpy(), head.double().numpy(), norm.variance_epsilon)
    ids = whole.ids[CALIBRATION]
    windows = list(range(len(ids))) if windows is None else windows
    marks = counted(whole, "strict" if rung == "strict" else "paper", CALIBRATION)
    stream = whole.after(at, CALIBRATION)
    epochs = -(-easy.steps // len(windows))
    order = np.concatenate([np.random.default_rng([0, epoch]).permutation(len(windows)) for epoch in range(epochs)])[: easy.steps]
    for place, share in zip(order, schedule(easy.steps, easy.warmup), strict=True):
        w = windows[place]
        goal = one_hot(ids[w, 1:], WORDS) if target is None else target[w]
        oracle.step(stream[w, :-1][marks[w]], goal[marks[w]], rate * share)
    return oracle


def heard(oracle, whole, at, split):
    """What a head trained by hand says: top-1, its probability and −log p of the next token."""
    log_p = log_softmax(oracle.logits(whole.after(at, split)[:, :-1]), -1)
    own = np.take_along_axis(log_p, whole.ids[split][:, 1:, None], -1)[..., 0]
    return log_p.argmax(-1), np.exp(log_p.max(-1)), -own


@pytest.mark.parametrize("rung", RUNGS)
def test_what_the_model_and_naive_heads_say_is_read_off_the_whole_model(small, rung):
    """Top-1 token, confidence, loss, and agreement of the final norm and head at every exit; which positions count."""
    lab, wholes = small
    whole, split, a = wholes[RUNGS[rung]], split_of(rung), lab.exit(rung).arrays
    full, ids = logits(whole, split), whole.ids[split]
    log_p = log_softmax(full, -1)
    np.testing.assert_array_equal(a["counted"], counted(whole, rung, split))
    np.testing.assert_allclose(a["full_confidence"], np.exp(log_p.max(-1)), rtol=1e-4)
    np.testing.assert_allclose(a["full_nll"], -np.take_along_axis(log_p, ids[:, 1:, None], -1)[..., 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(a["full_right"], full.argmax(-1) == ids[:, 1:])
    norm, head = whole.model.model.norm, whole.model.lm_head.weight.detach().double().numpy()
    naive = Oracle(norm.weight.detach().double().numpy(), head, norm.variance_epsilon)
    assert list(a["exits"]) == EXITS
    for i, at in enumerate(EXITS):
        np.testing.assert_array_equal(a["naive"][i], heard(naive, whole, at, split)[0] == full.argmax(-1))
    assert a["left_out"] == pytest.approx(1 - counted(whole, rung, split).mean())
    assert 0 < a["left_out"] < 0.5 or rung == "paper"


@pytest.mark.parametrize("rung", RUNGS)
def test_the_bigram_table_is_counted(small, rung):
    """The most frequent top-1 token after each token of the calibration text, or of half of it; overall for a token that is not there."""
    lab, wholes = small
    whole, split = wholes[RUNGS[rung]], split_of(rung)
    said, ids = logits(whole, CALIBRATION).argmax(-1), whole.ids[CALIBRATION][:, :-1]
    marks = counted(whole, "strict" if rung == "strict" else "paper", CALIBRATION)
    every = [slice(None)] + [halved(whole)] * (rung == "strict")
    found = lab.exit(rung).arrays["bigram"]
    assert len(found) == len(every)
    for place, windows in enumerate(every):
        after, chosen = defaultdict(Counter), marks[windows]
        overall = Counter(said[windows][chosen])
        for token, answer in zip(ids[windows][chosen], said[windows][chosen], strict=True):
            after[token][answer] += 1
        best = {token: min(c, key=lambda t, c=c: (-c[t], t)) for token, c in after.items()}
        common = min(overall, key=lambda t, c=overall: (-c[t], t))
        answers = np.array([[best.get(token, common) for token in row[:-1]] for row in whole.ids[split]])
        np.testing.assert_array_equal(found[place], answers == logits(whole, split).argmax(-1))


def halved(whole):
    """Every second group of the calibration windows."""
    return [w for w, group in enumerate(contiguous_groups(len(whole.ids[CALIBRATION]), GROUPS)) if group % 2 == 0]


def same(found, place, oracle, whole, at, split):
    """Compare what a trained head says with one trained by hand: float32 against float64 after 60 steps."""
    top, confidence, nll = heard(oracle, whole, at, split)
    full = logits(whole, split).argmax(-1)
    np.testing.assert_allclose(found.arrays["nll"][place], nll, rtol=2e-2, atol=2e-3)
    np.testing.assert_allclose(found.arrays["confidence"][place], confidence, rtol=2e-2, atol=2e-3)
    assert np.mean(found.arrays["agreed"][place] == (top == full)) > 0.995
    assert np.mean(found.arrays["right"][place] == (top == whole.ids[split][:, 1:])) > 0.995


@pytest.mark.parametrize("rung", RUNGS)
def test_the_head_at_mid_is_the_one_trained_by_hand(small, rung):
    """On all tokens, and on strict on typical ones; there again on every second group of windows, at the same rate."""
    lab, wholes = small
    whole, split, found = wholes[RUNGS[rung]], split_of(rung), lab.exit(rung)
    rate = float(found.arrays["rate"][0])
    same(found, 0, trained(whole, rung, MID, rate), whole, MID, split)
    assert len(found.arrays["agreed"]) == 1 + (rung == "strict")
    if rung == "strict":
        same(found, 1, trained(whole, rung, MID, rate, halved(whole)), whole, MID, split)
        assert found.arrays["rate"][1] == rate
        assert np.isnan(found.arrays["trials"][1]).all()
    assert found.number("fitted") == counted(whole, "strict" if rung == "strict" else "paper", CALIBRATION).sum()


@pytest.mark.parametrize("rung", RUNGS)
def test_rates_are_tried_on_all_windows_but_the_last(small, rung):
    """The loss of each rate on the last four windows, after the schedule in small, and the least is taken."""
    lab, wholes = small
    whole, a = wholes[RUNGS[rung]], lab.exit(rung).arrays
    count, tried = len(whole.ids[CALIBRATION]), []
    marks = counted(whole, "strict" if rung == "strict" else "paper", CALIBRATION)
    small_run = replace(EASY, steps=12, warmup=2)
    for rate in EASY.rates:
        oracle = trained(whole, rung, MID, rate, list(range(count - 4)), easy=small_run)
        held = slice(count - 4, count)
        x, y = whole.after(MID, CALIBRATION)[held][:, :-1][marks[held]], whole.ids[CALIBRATION][held][:, 1:][marks[held]]
        tried.append(oracle.loss(x, one_hot(y, WORDS)))
    np.testing.assert_allclose(a["trials"][0], tried, rtol=1e-4)
    assert a["rate"][0] == EASY.rates[int(np.argmin(tried))]


@pytest.mark.parametrize("rung", RUNGS)
def test_other_heads_read_where_they_say(small, rung):
    """At the later exits, on the embeddings, and at mid after the distribution of the model."""
    lab, wholes = small
    whole, split = wholes[RUNGS[rung]], split_of(rung)
    later, lowest, distilled = lab.later_exits(rung), lab.lowest_exit(rung), lab.distilled_exit(rung)
    every = [None, halved(whole)] if rung == "strict" else [None]
    assert [list(found.arrays["at"]) for found in (later, lowest, distilled)] == [each * len(every) for each in (EXITS[1:], [-1], [MID])]
    assert [found.wholes for found in (later, lowest, distilled)] == [2, 1, 1]
    target = np.exp(log_softmax(logits(whole, CALIBRATION), -1))
    for part, windows in enumerate(every):
        for i, at in enumerate(EXITS[1:]):
            same(later, 2 * part + i, trained(whole, rung, at, float(later.arrays["rate"][i]), windows), whole, at, split)
        same(lowest, part, trained(whole, rung, -1, float(lowest.arrays["rate"][0]), windows), whole, -1, split)
        hand = trained(whole, rung, MID, float(distilled.arrays["rate"][0]), windows, target)
        same(distilled, part, hand, whole, MID, split)
    for found in (later, lowest, distilled):
        np.testing.assert_array_equal(found.arrays["counted"], lab.exit(rung).arrays["counted"])


def test_a_check_on_half_the_windows_takes_the_rate_of_its_own_head(small):
    """And not of another exit's."""
    lab, wholes = small
    plans = checked([Plan(MID), Plan(BLOCKS - 1)], strict=True)
    course = Course(work_of(lab, m.EXIT[1], Book()), work_of(lab, m.EXIT[1], Book()).streams(), plans)
    course._found = [{"rate": np.array(1e-4)}, {"rate": np.array(1e-3)}]
    assert [course.training(plan).rate for plan in plans] == [None, None, 1e-4, 1e-3]
    assert course.half == halved(wholes["strict"])


def test_tokens_that_no_step_comes_to_are_not_fitted_to(small):
    """Of fewer steps than windows, the tokens of the windows that they take."""
    lab, wholes = small
    protocol = replace(PROTOCOL, easy=replace(EASY, steps=10, looks=1))
    work = replace(work_of(lab, m.EXIT[1], Book()), protocol=protocol)
    whole = wholes["strict"]
    seen = np.random.default_rng([0, 0]).permutation(len(whole.ids[CALIBRATION]))[:10]
    assert m.EXIT[1].measure(work)["strict/fitted"] == counted(whole, "strict", CALIBRATION)[seen].sum()


def test_the_curve_begins_at_the_untrained_head_and_ends_at_the_trained_one(small):
    """Looks at every tenth of the steps, on every third scored window."""
    lab, _ = small
    for rung in ("paper", "strict"):
        a = lab.exit(rung).arrays
        assert list(a["steps"]) == [0, 6, 12, 18, 24, 30, 36, 42, 48, 54, 60]
        marks = a["counted"][::3]
        for place, marked in ((0, a["naive"][0]), (-1, a["agreed"][0])):
            assert a["held_agreed"][0, place] == pytest.approx((marked[::3] * marks).sum() / marks.sum())
        assert a["held_nll"][0, -1] == pytest.approx((a["nll"][0, ::3] * marks).sum() / marks.sum())
        assert np.isnan(a["train"][0, 0])
        assert np.isfinite(a["train"][0, 1:]).all()


def test_texts_are_those_of_the_windows(small):
    """Each token's own text, and that of what the model says there."""
    lab, wholes = small
    whole, found = wholes["strict"], lab.exit("strict")
    names = [f"w{i}" for i in range(WORDS - 1)] + ["<unk>"]
    assert [[text.strip() for text in row] for row in found.texts("pieces")] == [[names[i] for i in row] for row in whole.ids[INTERVENTION]]
    said = logits(whole, INTERVENTION).argmax(-1)
    assert [[text.strip() for text in row] for row in found.texts("said")] == [[names[i] for i in row] for row in said]


def test_operations_are_counted_from_parameters(small):
    """Every block's, and those of norm and head."""
    lab, wholes = small
    model, a = wholes["paper"].model, lab.exit("paper").arrays
    np.testing.assert_array_equal(a["active"], [sum(p.numel() for p in block.parameters()) for block in model.model.layers])
    assert a["head"] == model.model.norm.weight.numel() + model.lm_head.weight.numel()
    assert len(a["active"]) == BLOCKS
    assert a["counted"].shape[1] == TOKENS - 1


def work_of(lab, measurement, book):
    """What a measurement is made from, as the laboratory would hand it over."""
    subject, windows = lab._bench.load(lab.model), lab.windows(measurement.layout)
    ids = {split: windows[split] for split in measurement.needs()}

    def streams():
        return keep(subject.anatomy, windows, PROTOCOL, None, subject.device, lambda done, total: None)

    return Work(subject, measurement, ids, PROTOCOL, lambda done, total: None, book, streams, None, None)


@pytest.mark.parametrize("measurement", [m.EXIT[1], m.LATER_EXITS[0]])
@pytest.mark.parametrize("at", [10, 20, 30, 60, 90, 96, 106, 126])
def test_an_interrupted_course_ends_where_it_would_have(small, measurement, at):
    """Killed after any step, of a trial, of the first head or of the second: the figures are bit for bit the same."""
    lab, _ = small
    expected, book = measurement.measure(work_of(lab, measurement, Book())), Book(at)
    with pytest.raises(StoppedError):
        measurement.measure(work_of(lab, measurement, book))
    assert list(book.kept) == [at]
    found = measurement.measure(work_of(lab, measurement, book))
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("spoil", ["heads", "curve", "missing", "training"])
def test_a_checkpoint_of_another_course_is_refused(small, spoil):
    """Before anything is taken from it; the store then sets it aside, and the course begins anew."""
    lab, _ = small
    book, measurement = Book(40), m.EXIT[0]
    with pytest.raises(StoppedError):
        measurement.measure(work_of(lab, measurement, book))
    state = next(iter(book.kept.values()))
    if spoil == "heads":
        state["head0/agreed"] = np.zeros(1)
    elif spoil == "curve":
        state["curve"] = np.zeros((2, 2))
    elif spoil == "missing":
        del state["losses"]
    else:
        state["training/done"] = np.array(-1)
    with pytest.raises((ValueError, KeyError)):
        measurement.measure(work_of(lab, measurement, book))
