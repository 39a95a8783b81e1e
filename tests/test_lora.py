"""A LoRA beside the head at mid takes the steps of one trained by hand; it gains what lower blocks could have known, and harms no model."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import nn

from claims import easy
from fixtures.described import model_at
from fixtures.text_files import corpus_at
from harness import measurement as m
from harness.bench import Bench
from harness.easy_protocol import EasyProtocol
from harness.errors import LongWorkError, MeasurementError
from harness.exits import difference
from harness.linearity import CALIBRATION, EVALUATION
from harness.lora import LoraTraining
from harness.measurement import INTERVENTION
from harness.protocol import Protocol
from harness.store import Store
from harness.subject import Placement
from harness.work import Work
from tests import planted_lora, small_llama
from tests.conftest import ROOT
from tests.head_oracle import schedule
from tests.small_llama import BLOCKS, MID, WIDTH
from tests.test_exit_head import Book, StoppedError

EASY = EasyProtocol(steps=40, warmup=4, trial_steps=8, trial_warmup=1, look_stride=3, rates=(3e-4, 1e-3))
PROTOCOL = replace(small_llama.PROTOCOL, easy=EASY)
EXITS, LATE = [3, 5, 6], [5, 6, 7]
RANK = WIDTH // 2
LORA = [f"{ROOT}/claims/claim_5_a_third_of_tokens_is_easy.py::test_a_lora_beside_the_head_gains_agreement"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The laboratory of a small Llama, and the same model run whole, by layout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_llama, "PROTOCOL", PROTOCOL)
        return small_llama.measured(tmp_path_factory.mktemp("lora"))


class Sum(nn.Module):
    """A linear layer whose weight is W + B A, W frozen."""

    def __init__(self, layer, generator):
        super().__init__()
        self.weight, bound = layer.weight, layer.in_features**-0.5
        self.a = nn.Parameter(torch.empty(RANK, layer.in_features).uniform_(-bound, bound, generator=generator).double())
        self.b = nn.Parameter(torch.zeros(layer.out_features, RANK).double())

    def forward(self, x):
        """Multiply by the sum."""
        return x @ (self.weight + self.b @ self.a).T


class Hand:
    """A LoRA trained by hand: a copy of the model in float64 with other layers, a head of its own, and torch's AdamW."""

    def __init__(self, whole, seed=0):
        self.model, generator = copy.deepcopy(whole.model).double().requires_grad_(False), torch.Generator().manual_seed(seed)
        for layer in self.model.model.layers:
            for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
                setattr(layer.self_attn, name, Sum(getattr(layer.self_attn, name), generator))
            for name in ("gate_proj", "up_proj", "down_proj"):
                setattr(layer.mlp, name, Sum(getattr(layer.mlp, name), generator))
        self.gain, self.head = (nn.Parameter(p.detach().clone()) for p in (self.model.model.norm.weight, self.model.lm_head.weight))
        adapters = [p for module in self.model.modules() if isinstance(module, Sum) for p in (module.a, module.b)]
        self.optimizer = torch.optim.AdamW([self.gain, self.head, *adapters], weight_decay=0.0)

    def logits(self, ids):
        """Logits of the head and of the model for windows ``(windows, tokens)``."""
        kept = []
        handle = self.model.model.layers[MID].register_forward_hook(lambda module, given, out: kept.append(out))
        final = self.model(torch.from_numpy(ids)).logits
        handle.remove()
        x = kept[0]
        return x / (x.square().mean(-1, keepdim=True) + self.model.model.norm.variance_epsilon).sqrt() * self.gain @ self.head.T, final

    def loss(self, ids, marks):
        """Final + 0.5 · early, over positions that count."""
        said = [torch.log_softmax(logits[:, :-1], -1) for logits in self.logits(ids)]
        early, final = (-log_p.gather(-1, torch.from_numpy(ids)[:, 1:, None])[..., 0][torch.from_numpy(marks)].mean() for log_p in said)
        return final + 0.5 * early

    def train(self, ids, marks, rate, steps, warmup):
        """Take steps of one window each; return their losses."""
        order = np.concatenate([np.random.default_rng([0, epoch]).permutation(len(ids)) for epoch in range(-(-steps // len(ids)))])
        losses = []
        for w, share in zip(order[:steps], schedule(steps, warmup), strict=True):
            self.optimizer.param_groups[0]["lr"] = rate * share
            self.optimizer.zero_grad()
            loss = self.loss(ids[[w]], marks[[w]])
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
        return losses


def counted(whole, rung, split):
    """Positions that count."""
    marks = whole.typical(split, *EXITS, *LATE) if rung != "paper" else np.ones(whole.ids[split].shape, bool)
    return marks[:, :-1]


@pytest.mark.parametrize("rung", ["paper", "strict"])
def test_every_step_is_that_of_a_lora_by_hand(small, rung):
    """Losses of the trials and of the run, the rate, and what both exits say at the end, against torch in float64."""
    lab, wholes = small
    whole, a = wholes[rung], lab.lora(rung).arrays
    ids, marks = whole.ids[CALIBRATION], counted(whole, rung, CALIBRATION)
    tried = []
    for rate in EASY.rates:
        hand = Hand(whole)
        hand.train(ids[:-4], marks[:-4], rate, 8, 1)
        with torch.no_grad():
            each = [(hand.loss(ids[[w]], marks[[w]]).item(), marks[w].sum()) for w in range(len(ids) - 4, len(ids))]
        tried.append(sum(loss * n for loss, n in each) / sum(n for _, n in each))
    np.testing.assert_allclose(a["trials"][0], tried, rtol=1e-4)
    assert a["rate"][0] == EASY.rates[int(np.argmin(tried))]
    hand = Hand(whole)
    losses = hand.train(ids, marks, float(a["rate"][0]), 40, 4)
    np.testing.assert_allclose(a["train"][0, 1:], np.reshape(losses, (10, 4)).mean(1), rtol=1e-3)
    split = INTERVENTION if rung == "strict" else EVALUATION
    scored = whole.ids[split]
    with torch.no_grad():
        early, final = (log_softmax(logits.numpy()[:, :-1], -1) for logits in hand.logits(scored))
    nll = {"nll": early, "final_nll": final}
    for name, log_p in nll.items():
        expected = -np.take_along_axis(log_p, scored[:, 1:, None], -1)[..., 0]
        np.testing.assert_allclose(a[name][0] if name == "nll" else a[name], expected, rtol=2e-2, atol=5e-3)
    np.testing.assert_allclose(a["confidence"][0], np.exp(early.max(-1)), rtol=2e-2, atol=5e-3)
    said, own, full = early.argmax(-1), final.argmax(-1), whole.logits(split, {})[:, :-1].argmax(-1)
    pairs = {"agreed": (said, full), "right": (said, scored[:, 1:]), "own_agreed": (said, own), "final_agreed": (own, full)}
    for name, (one, two) in pairs.items():
        assert np.mean(a[name].reshape(one.shape) == (one == two)) > 0.995, name
    assert np.mean(own != full) > 0.02  # Else nothing tells the two apart.


def test_sizes_are_counted(small):
    """Rank at most d/2, seven layers a block, r (in + out) parameters each; tokens as of the head alone; typical positions count."""
    lab, wholes = small
    layers = [each for each in wholes["paper"].model.model.layers.modules() if isinstance(each, nn.Linear)]
    for rung in ("paper", "typical", "strict"):
        found, exit_ = lab.lora(rung), lab.exit(rung)
        assert (found.number("rank"), found.number("adapters"), found.number("unadapted")) == (RANK, 7 * BLOCKS, 0)
        assert found.number("adapter_parameters") == RANK * sum(each.in_features + each.out_features for each in layers)
        assert list(found.arrays["at"]) == [MID]
        assert found.number("fitted") == exit_.number("fitted")
        np.testing.assert_array_equal(found.arrays["counted"], exit_.arrays["counted"])
    np.testing.assert_array_equal(lab.lora("typical").arrays["agreed"], lab.lora("paper").arrays["agreed"])
    assert [EasyProtocol().lora_rank_of(d) for d in (1, 64, 128, 4096)] == [1, 32, 64, 64]


def test_before_the_first_step_all_is_as_without_it(small):
    """Head and stream at mid are the model's own: what is heard is what the head alone begins with."""
    lab, _ = small
    for rung in ("paper", "strict"):
        a, b = lab.lora(rung).arrays, lab.exit(rung).arrays
        assert (a["steps"][0], a["held_agreed"][0, 0], a["held_nll"][0, 0]) == (0, b["held_agreed"][0, 0], b["held_nll"][0, 0])
        assert a["held_nll"][0, -1] != b["held_nll"][0, -1]


def work_of(lab, measurement, book):
    """What a measurement is made from, as the laboratory would hand it over."""
    ids = {split: lab.windows(measurement.layout)[split] for split in measurement.needs()}
    return Work(lab._bench.load(lab.model), measurement, ids, PROTOCOL, lambda done, total: None, book, None, None, None)


@pytest.mark.parametrize("at", [10, 20, 30, 40, 56])
def test_an_interrupted_training_ends_where_it_would_have(small, at):
    """Killed after any step, of a trial or of the run, the figures are bit for bit the same, and so are the model's weights."""
    lab, wholes = small
    measurement, expected, book = m.LORA[0], lab.lora("paper").arrays, Book(at)
    with pytest.raises(StoppedError):
        measurement.measure(work_of(lab, measurement, book))
    assert list(book.kept) == [at]
    weights = dict(wholes["paper"].model.named_parameters())
    for name, parameter in lab._bench.load(lab.model).anatomy.model.named_parameters():
        assert torch.equal(parameter, weights[name])
        assert parameter.grad is None
    found = measurement.measure(work_of(lab, measurement, book))
    for name, array in expected.items():
        np.testing.assert_array_equal(found[f"paper/{name}"], array, err_msg=name)


def test_a_checkpoint_of_another_rank_is_refused(small):
    """Before anything is taken from it."""
    lab, _ = small
    book, measurement = Book(20), m.LORA[0]
    with pytest.raises(StoppedError):
        measurement.measure(work_of(lab, measurement, book))
    work = work_of(lab, measurement, book)
    work.protocol = replace(PROTOCOL, easy=replace(EASY, lora_rank=4))
    with pytest.raises(ValueError, match="a LoRA with its exit head of other sizes: adapters"):
        measurement.measure(work)


class Unteachable:
    """Lessons whose loss cannot be had."""

    def __init__(self, error):
        self.ids, self.error = np.zeros((2, 3), np.int64), error

    def part(self, windows):
        """Return itself."""
        return self

    def loss(self, pupil):
        """Fail."""
        raise self.error


@pytest.mark.parametrize(
    ("error", "seen"),
    [(RuntimeError("no way back"), MeasurementError), (torch.OutOfMemoryError("memory"), torch.OutOfMemoryError)],
)
def test_blocks_that_cannot_be_trained_through_are_no_verdict(error, seen):
    """What autograd refuses is an error of the measurement, which says why; too little memory stays what it is."""
    training = LoraTraining("a LoRA", lambda: nn.Linear(1, 1), Unteachable(error), EASY, 0, torch.device("cpu"), rate=1e-3)
    with pytest.raises(seen, match=r"no way back|memory") as raised:
        training.step()
    assert isinstance(error, torch.OutOfMemoryError) or "cannot be trained through" in str(raised.value)


def planted_lab(folder, long=True, **settings):
    """The laboratory of a planted subject."""
    sizes = {"window": 32, "calibration_windows": 16, "evaluation_windows": 8, "strict_evaluation_windows": 8}
    protocol = Protocol(**sizes, groups=8, easy=EasyProtocol(steps=120, warmup=10, trial_steps=10, rates=(1e-2,), looks=2))
    bench = Bench(Placement("cpu"), protocol, Store(None), lambda name: lambda done, total: None, long=long)
    text = planted_lora.corpus(folder / "text", tokens=40 * 32)
    return bench.laboratory(model_at(str(planted_lora.save(folder / "model", **settings))), corpus_at(str(text)))


@pytest.mark.parametrize("rung", ["paper", "strict"])
@pytest.mark.parametrize("low", [None, 1])
def test_a_lora_gains_what_lower_blocks_could_have_known(tmp_path, low, rung):
    """Much, where a lower block may look where only the last one does; nothing, where one below mid already does."""
    lab = planted_lab(tmp_path, low=low)
    figure, remarks = easy.lora_gain(lab, rung)
    a, b = lab.exit(rung).arrays, lab.lora(rung).arrays
    assert (figure.value > 0.5) if low is None else (abs(figure.value) < 0.02), remarks["note"]
    expected = difference(b["agreed"][0], a["agreed"][0], a["counted"])
    assert figure.value == expected.value
    np.testing.assert_array_equal(figure.score, expected.score)
    assert remarks["evidence"] == {"lora": pytest.approx((b["agreed"][0] * a["counted"]).sum() / a["counted"].sum())}
    assert f"with a LoRA of rank {planted_lora.D // 2} on {planted_lora.BLOCKS} layers (rate 0.01)" in remarks["note"]
    assert "the interval takes both trainings as given" in remarks["note"]
    assert "with the LoRA: the learning rate 0.01 is the largest that is tried" in remarks["caveats"]


def test_it_is_long_work(tmp_path, claims):
    """Untested on a CPU unless --long asks for it, and then no head is trained for it either."""
    lab = planted_lab(tmp_path, long=False)
    with pytest.raises(LongWorkError):
        easy.lora_gain(lab, "paper")
    assert not lab.timings
    rows = claims("-m", "paper", "--verdicts=report", files=LORA).report["rows"]
    mine = [row for row in rows if row["predicate"] == "lora_gain"]
    assert {(row["verdict"], row["reason"]) for row in mine if row["rung"] == "paper"} == {("untested", LongWorkError.REASON)}
