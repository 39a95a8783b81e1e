"""An exit head is trained as the recipe says, step by step as a float64 NumPy oracle; state can be taken up between any two steps."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.admission import dissect
from harness.easy_protocol import EasyProtocol
from harness.errors import MeasurementError
from harness.head_training import ExitHead, HeadTraining, Lesson
from harness.language import precise_logits
from tests.head_oracle import Oracle, one_hot, schedule
from tests.test_anatomy import build

WORDS, D, TOKENS, WINDOWS = 40, 12, 9, 7
EASY = EasyProtocol(steps=20, warmup=4, trial_steps=10, trial_warmup=2, trial_windows=2, rates=(1e-3, 1e-2))
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def anatomy():
    """A random Llama."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=WORDS, hidden_size=D, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, initializer_range=0.3
    )
    model = transformers.LlamaForCausalLM(config).eval().requires_grad_(False)
    with torch.no_grad():
        model.model.norm.weight.copy_(torch.rand(D) + 0.5)
    return dissect(model)


def lesson(seed=0, marked=True, massive=1.0):
    """Random streams, as a sweep leaves them, of which the next token is a function; some positions marked."""
    draw = np.random.default_rng(seed)
    ids = draw.integers(0, WORDS, (WINDOWS, TOKENS))
    with torch.inference_mode():
        hidden = torch.from_numpy(draw.normal(size=(WINDOWS, TOKENS, D))).float()
        hidden[..., :6] += torch.from_numpy(draw.normal(size=(WORDS, 6)))[torch.from_numpy(np.roll(ids, -1, 1))].float()
        hidden[:, 0] *= massive
        marks = torch.from_numpy(draw.random((WINDOWS, TOKENS)) < 0.7) if marked else None
    return Lesson(hidden, ids, marks)


def rows(each, windows):
    """Counted streams and next tokens of some windows, in NumPy."""
    marks = np.ones((WINDOWS, TOKENS), bool) if each.marked is None else each.marked.numpy()
    kept = marks[windows][:, :-1]
    return each.hidden.double().numpy()[windows][:, :-1][kept], each.ids[windows][:, 1:][kept]


def oracle(anatomy):
    """The untrained head in NumPy."""
    norm = anatomy.norm
    return Oracle(norm.weight.double().numpy(), anatomy.head.weight.double().numpy(), norm.variance_epsilon)


def finish(training):
    """Train to the end; return the losses of the run."""
    losses = []
    while not training.finished:
        if (loss := training.step()) is not None:
            losses.append(loss)
    return losses


def order(seed, windows, steps):
    """Windows in the order of the run: permutations, one after another."""
    epochs = -(-steps // windows)
    return np.concatenate([np.random.default_rng([seed, epoch]).permutation(windows) for epoch in range(epochs)])[:steps]


@pytest.mark.parametrize("marked", [True, False])
def test_every_step_is_adamw_on_the_cross_entropy(anatomy, marked):
    """Trials, their scores, the choice, and all steps of the run, against NumPy float64."""
    each, trials = lesson(marked=marked), []
    training = HeadTraining(anatomy, each, EASY, seed=3)
    losses = finish(training)
    for rate in EASY.rates:
        head, count = oracle(anatomy), WINDOWS - EASY.trial_windows
        for window, share in zip(order(3, count, 10), schedule(10, 2), strict=True):
            x, y = rows(each, [window])
            head.step(x, one_hot(y, WORDS), rate * share)
        x, y = rows(each, list(range(count, WINDOWS)))
        trials.append(head.loss(x, one_hot(y, WORDS)))
    np.testing.assert_allclose(training.trials, trials, rtol=1e-4)
    assert training.rate == EASY.rates[int(np.argmin(trials))]
    head, expected = oracle(anatomy), []
    for window, share in zip(order(3, WINDOWS, 20), schedule(20, 4), strict=True):
        x, y = rows(each, [window])
        expected.append(head.step(x, one_hot(y, WORDS), training.rate * share))
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    np.testing.assert_allclose(training.pupil.norm.weight.detach(), head.parameters[0], rtol=2e-4)
    np.testing.assert_allclose(training.pupil.weight.detach(), head.parameters[1], rtol=2e-3, atol=2e-4)


def test_distillation_follows_the_distribution_of_the_model(anatomy):
    """The loss is KL(model ‖ head), in nats: none where the head reads what the model reads."""
    each, final = lesson(), lesson(seed=5).hidden
    taught = Lesson(each.hidden, each.ids, each.marked, final, precise_logits(anatomy))
    training = HeadTraining(anatomy, taught, EASY, seed=0, rate=5e-3)
    losses, head, expected = finish(training), oracle(anatomy), []
    said = oracle(anatomy)
    for window, share in zip(order(0, WINDOWS, 20), schedule(20, 4), strict=True):
        kept = each.marked.numpy()[window][:-1]
        target = np.exp(said.logits(final.double().numpy()[window][:-1][kept]))
        x, _ = rows(each, [window])
        expected.append(head.step(x, target / target.sum(-1, keepdims=True), 5e-3 * share))
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    same = Lesson(each.hidden, each.ids, each.marked, each.hidden, precise_logits(anatomy))
    assert same.loss(ExitHead(anatomy, CPU)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("family", ["gemma2", "cohere", "granite", "gpt2", "phi", "olmo2"])
def test_an_untrained_head_is_the_models_own(family):
    """Norm, bias, soft-cap and scale of any family; what is trained is not the model's."""
    anatomy = dissect(build(family))
    hidden = torch.randn(2, 5, anatomy.width, generator=torch.Generator().manual_seed(0))
    before = {name: p.clone() for name, p in anatomy.model.named_parameters()}
    head = ExitHead(anatomy, CPU)
    with torch.inference_mode():
        torch.testing.assert_close(head(hidden), anatomy.logits(hidden).float(), rtol=1e-5, atol=1e-5)
    ids = np.random.default_rng(0).integers(0, anatomy.vocabulary, (4, 5))
    each = Lesson(torch.cat([hidden, hidden]), ids, None)
    training = HeadTraining(anatomy, each, replace(EASY, steps=3, warmup=1), seed=0, rate=1e-2)
    finish(training)
    assert not torch.equal(training.pupil.weight, before[next(n for n, p in anatomy.model.named_parameters() if p is anatomy.head.weight)])
    assert all(torch.equal(before[name], p) for name, p in anatomy.model.named_parameters())
    assert all(isinstance(p, torch.nn.Parameter) and p.dtype == torch.float32 for p in training.pupil.parameters())


@given(stop=st.integers(0, 40), marked=st.booleans())
@settings(max_examples=12, deadline=None)
def test_a_training_that_is_interrupted_ends_where_it_would_have(anatomy, stop, marked):
    """State taken after any step and taken up by a new training gives bit for bit the same head and losses."""
    each = lesson(marked=marked)
    whole, first = HeadTraining(anatomy, each, EASY, seed=1), HeadTraining(anatomy, each, EASY, seed=1)
    expected = finish(whole)
    losses = [loss for _ in range(stop) if (loss := first.step()) is not None]
    state = copy.deepcopy(first.state())
    second = HeadTraining(anatomy, each, EASY, seed=1)
    second.restore(state)
    assert (second.done, second.finished) == (stop, stop == 40)
    assert losses + finish(second) == expected
    assert second.rate == whole.rate
    for a, b in zip(second.pupil.parameters(), whole.pupil.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("spoil", ["size", "done", "trials", "missing", "dtype"])
def test_a_state_that_is_not_this_trainings_changes_nothing(anatomy, spoil):
    """It is refused before anything is taken from it."""
    training = HeadTraining(anatomy, lesson(), EASY, seed=1)
    for _ in range(25):
        training.step()
    state, before = training.state(), copy.deepcopy(training.state())
    changes = {
        "size": {"value/weight": np.zeros((WORDS, D - 1), np.float32)},
        "done": {"done": np.array(41)},
        "trials": {"trials": np.zeros(1)},
        "dtype": {"exp_avg/weight": np.zeros((WORDS, D))},
    }
    spoiled = {**state, **changes.get(spoil, {})}
    if spoil == "missing":
        del spoiled["exp_avg/weight"]
    with pytest.raises((ValueError, KeyError)):
        training.restore(spoiled)
    assert all(np.array_equal(before[name], array) for name, array in training.state().items())


def test_every_window_comes_before_any_comes_again(anatomy):
    """In each epoch all windows, in an order of its own; a step of several windows takes the next ones."""
    training = HeadTraining(anatomy, lesson(), replace(EASY, batch=3), seed=1, rate=1e-3)
    seen = [window for step in range(7) for window in training._order(step, WINDOWS)]
    epochs = [seen[i : i + WINDOWS] for i in range(0, 21, WINDOWS)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(WINDOWS))] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_massive_activations_do_not_wreck_training(anatomy):
    """First positions of a thousand times the norm, unmarked or not: losses and head stay what they are without."""
    plain, massive = lesson(marked=False), lesson(marked=False, massive=1e3)
    losses = [finish(HeadTraining(anatomy, each, EASY, seed=2, rate=1e-2)) for each in (plain, massive)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)


def test_a_rate_that_diverges_is_not_taken_and_one_that_must_be_is_an_error(anatomy):
    """A trial without a finite loss loses; where none is finite, or the run diverges, that is said."""
    rates = replace(EASY, rates=(float("inf"), 1e-3))
    training = HeadTraining(anatomy, lesson(), rates, seed=0)
    finish(training)
    assert training.rate == 1e-3
    assert not np.isfinite(training.trials[0])
    with pytest.raises(MeasurementError, match="diverges at every learning rate"):
        finish(HeadTraining(anatomy, lesson(), replace(EASY, rates=(float("inf"),)), seed=0))
    with pytest.raises(MeasurementError, match="diverged at step 2 of 20"):
        finish(HeadTraining(anatomy, lesson(), EASY, seed=0, rate=float("inf")))


def test_too_few_windows_to_score_a_trial_are_refused(anatomy):
    """Before a step is taken."""
    each = lesson().part([0, 1])
    with pytest.raises(MeasurementError, match="2 windows to train on, 2 of which"):
        HeadTraining(anatomy, each, EASY, seed=0)


def test_a_window_without_counted_positions_is_no_step_astray(anatomy):
    """Its loss is 0 and so are its gradients; everything stays finite."""
    each = lesson()
    with torch.inference_mode():
        marks = each.marked.clone()
        marks[2] = False
    losses = finish(HeadTraining(anatomy, replace(each, marked=marks), EASY, seed=0, rate=1e-3))
    assert 0.0 in losses
    assert np.isfinite(losses).all()


def test_a_head_of_a_model_that_is_spread_has_no_hooks_of_its(anatomy):
    """What sends a model's own norm its input would send the head's elsewhere."""
    from accelerate.hooks import ModelHook, add_hook_to_module

    class Elsewhere(ModelHook):
        def pre_forward(self, module, *args, **kwargs):
            raise RuntimeError("sent to another device")

    other = copy.copy(anatomy)
    other.norm = copy.deepcopy(anatomy.norm)
    add_hook_to_module(other.norm, Elsewhere())
    hidden = torch.randn(1, 2, D)
    torch.testing.assert_close(ExitHead(other, CPU)(hidden), ExitHead(anatomy, CPU)(hidden))


def test_heads_that_are_no_linear_are_refused(anatomy):
    """And so are weights that are kept elsewhere."""
    other = copy.copy(anatomy)
    other.head = torch.nn.Sequential(anatomy.head)
    with pytest.raises(MeasurementError, match="it is a Sequential"):
        ExitHead(other, CPU)
    other.head = torch.nn.Linear(D, WORDS, device="meta")
    with pytest.raises(MeasurementError, match="kept elsewhere"):
        ExitHead(other, CPU)
