"""Likelihoods, divergences and sketches of next-token distributions equal float64 NumPy on the model's own logits."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import scipy.special
import torch
import transformers
from torch import nn

from harness.admission import dissect
from harness.anatomy import finish
from harness.errors import MeasurementError
from harness.interventions import Added, intervened
from harness.language import Language, LogitSketch
from tests.families import FAMILIES
from tests.planted import PlantedConfig, PlantedModel
from tests.test_moments import rows

WINDOWS, TOKENS = 3, 11
IDS = np.random.default_rng(0).integers(0, 97, (WINDOWS, TOKENS))
GPTJ = transformers.GPTJConfig(vocab_size=97, n_embd=32, n_layer=3, n_head=4, rotary_dim=4, bos_token_id=0, eos_token_id=0)
# Heads of all kinds: plain, tied, soft-capped, scaled, divided, with a bias.
HEADS = pytest.mark.parametrize("family", ["planted", "gpt2", "gemma2", "cohere", "granite", "phi", "gptj"])


def subject(family):
    """A tiny model that speaks up, so that its distributions are not flat, and its parts."""
    torch.manual_seed(0)
    if family == "planted":
        model = PlantedModel(PlantedConfig(hidden_size=32, vocab_size=97, shares=[1.0] * 3)).eval().requires_grad_(False)
    else:
        model = transformers.AutoModelForCausalLM.from_config(GPTJ if family == "gptj" else FAMILIES[family]).eval().requires_grad_(False)
    anatomy = dissect(model)
    if family != "planted":
        anatomy.norm.weight += 9.0
    if getattr(anatomy.head, "bias", None) is not None:
        anatomy.head.bias += rows(1, 97, 7)[0]
    return model, anatomy


def run(model, anatomy, variant=()):
    """The final stream and the logits in float64, of the model's own forward under interventions."""
    seen = []
    with torch.inference_mode(), intervened(anatomy, variant, list(range(WINDOWS))):
        hook = anatomy.blocks[-1].register_forward_hook(lambda _, args, out: seen.append(out[0] if isinstance(out, tuple) else out))
        logits = model(torch.from_numpy(IDS), use_cache=False).logits
        hook.remove()
    return seen[0].clone(), logits.double().numpy()


def pushes(anatomy, sizes=(0.05, 0.5, 5.0)):
    """Changes of the stream, from slight to large."""
    return [Added(1, None, size * rows(1, anatomy.width, 3)[0].double()) for size in sizes]


def by_position(clean, other):
    """KL(clean ‖ other) in nats at the positions that predict a token, from logits in float64: ``(windows, tokens − 1)``."""
    p, q = (scipy.special.log_softmax(logits[:, :-1], axis=-1) for logits in (clean, other))
    return (np.exp(p) * (p - q)).sum(-1)


def divergence(clean, other):
    """The same, mean over positions: ``(windows)``."""
    return by_position(clean, other).mean(-1)


@HEADS
def test_likelihoods_and_divergences_equal_numpy(family):
    """Of the clean stream and of pushed ones, by window, to 1e-4; KL is that from clean to other and not the reverse."""
    model, anatomy = subject(family)
    clean, logits = run(model, anatomy)
    final, other = zip(*(run(model, anatomy, (push,)) for push in pushes(anatomy)), strict=True)
    language = Language(anatomy, clean, IDS)
    truth = np.stack([divergence(logits, o) for o in other])
    np.testing.assert_allclose(language.kl_from_clean_nats(torch.stack(final)), truth, rtol=1e-4, atol=1e-9)
    assert np.abs(divergence(other[-1], logits) / truth[-1] - 1).max() > 1e-2
    likely = [scipy.special.log_softmax(o[:, :-1], axis=-1) for o in (logits, *other)]
    nll = -np.stack([np.take_along_axis(o, IDS[:, 1:, None], -1)[..., 0].mean(-1) for o in likely])
    np.testing.assert_allclose(language.nll_nats(torch.stack([clean, *final])), nll, rtol=1e-5)
    np.testing.assert_allclose(language.nll_nats(torch.stack(final)[:, [2, 0]], [2, 0]), nll[1:, [2, 0]], rtol=1e-5)


@HEADS
def test_divergences_stand_where_their_positions_are(family, monkeypatch):
    """At each position of each window on its own, whatever the size of a chunk; their mean is the figure of the window."""
    model, anatomy = subject(family)
    clean, logits = run(model, anatomy)
    final, other = zip(*(run(model, anatomy, (push,)) for push in pushes(anatomy, (0.5, 5.0))), strict=True)
    truth = np.stack([by_position(logits, o) for o in other])
    for rows_at_once in (1000, 3):
        monkeypatch.setattr("harness.language._CHUNK_LOGITS", rows_at_once * 97)
        language = Language(anatomy, clean, IDS)
        found = language.kl_by_position_nats(torch.stack(final))
        assert (found.dtype, found.shape) == (np.float64, (2, WINDOWS, TOKENS - 1))
        np.testing.assert_allclose(found, truth, rtol=2e-4, atol=1e-8)
        np.testing.assert_array_equal(language.kl_from_clean_nats(torch.stack(final)), found.mean(-1))
    assert (np.ptp(truth, axis=-1) > 0.1 * truth.mean(-1)).all()


@HEADS
def test_nothing_changed_is_no_divergence_and_nothing_is_below_zero(family):
    """Exactly 0 for the clean stream, at least 0 for whatever lies a rounding away."""
    model, anatomy = subject(family)
    clean, _ = run(model, anatomy)
    language = Language(anatomy, clean, IDS)
    assert (language.kl_from_clean_nats(clean[None]) == 0).all()
    near = torch.stack([clean * (1 + 2.0**-power * rows(*clean.shape[1:], power)) for power in range(14, 26)])
    assert (language.kl_from_clean_nats(near) >= 0).all()


@pytest.mark.parametrize("family", ["planted", "gemma2", "phi"])
def test_a_tiny_divergence_is_right_to_a_hundredth(family):
    """Of 1e-10 nats, at which the sum of p (log p − log q) in float32 has no digit left."""
    model, anatomy = subject(family)
    precise = dissect(copy.deepcopy(model).double())
    clean, _ = run(model, anatomy)
    language, step = Language(anatomy, clean, IDS), clean.norm(dim=-1).mean() / 32**0.5
    direction = rows(*clean.shape[1:], 9)
    size = 1e-4
    for _ in range(3):  # KL grows with the square of the change.
        other = clean + size * step * direction
        truth = divergence(*(precise.logits(h.double()).numpy() for h in (clean, other)))
        size *= (1e-10 / truth.mean()) ** 0.5
    assert truth.mean() == pytest.approx(1e-10, rel=0.2)
    np.testing.assert_allclose(language.kl_from_clean_nats(other[None])[0], truth, rtol=0.01)
    p, q = (anatomy.logits(h)[:, :-1].log_softmax(-1) for h in (clean, other))
    naive = (p.exp() * (p - q)).sum(-1).mean(-1).numpy()
    assert np.abs(naive / truth - 1).max() > 0.5


@pytest.mark.parametrize("loud", [10.0, 100.0])
def test_a_huge_divergence_is_a_number(loud):
    """Where logits rise by hundreds the divergence is tens or hundreds of nats, not infinity: e^b alone leaves float32 at 88."""
    model, anatomy = subject("planted")
    model.lm_head.weight *= loud
    clean, logits = run(model, anatomy)
    final, other = run(model, anatomy, (Added(1, None, 20 * rows(1, 32, 3)[0].double()),))
    truth = divergence(logits, other)
    assert truth.min() > 20
    assert ((other - logits).max() > 88) == (loud == 100)
    np.testing.assert_allclose(Language(anatomy, clean, IDS).kl_from_clean_nats(final[None])[0], truth, rtol=1e-4)


class Given(nn.Module):
    """A norm and a head that give the stream itself as logits."""

    def forward(self, hidden):
        """Change nothing."""
        return hidden.clone()


@pytest.mark.parametrize("rise", [70.0, 79.0, 81.0, 90.0, 110.0])
def test_a_token_that_was_all_but_impossible_may_rise_far(rise):
    """From e^−100 by e^rise: the divergence is right to 1e-7, even where it is next to nothing, and never below zero."""
    _, anatomy = subject("planted")
    anatomy = dataclasses.replace(anatomy, norm=Given(), head=Given())
    for seed in range(10):
        clean = 0.3 * rows(WINDOWS * TOKENS, 97, seed).view(WINDOWS, TOKENS, 97)
        clean[..., 5] -= 100
        other = clean.clone()
        other[..., 5] += rise
        found = Language(anatomy, clean, IDS).kl_from_clean_nats(other[None])[0]
        np.testing.assert_allclose(found, divergence(clean.double().numpy(), other.double().numpy()), rtol=1e-3, atol=3e-7)
        assert (found >= 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_an_error(value):
    """Never a figure."""
    _, anatomy = subject("planted")
    anatomy = dataclasses.replace(anatomy, norm=Given(), head=Given())
    clean = rows(WINDOWS * TOKENS, 97, 0).view(WINDOWS, TOKENS, 97)
    other = clean.clone()
    other[1, 3, 4] = value
    language = Language(anatomy, clean, IDS)
    for read in (language.nll_nats, language.kl_from_clean_nats, language.kl_by_position_nats):
        with pytest.raises(MeasurementError, match="logits after an intervention are not finite"):
            read(other[None])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", ["planted", "gemma2", "phi"])
def test_a_head_of_half_precision_is_applied_in_full(family, dtype):
    """The figures are those of its weights and its streams in float64: rounded logits alone would be a divergence of 1e-5 and more."""
    model, anatomy = subject(family)
    anatomy.norm.to(torch.float32)
    anatomy.head.to(dtype)
    clean, _ = run(*subject(family))
    other = clean + 1e-3 * clean.norm(dim=-1, keepdim=True) * rows(TOKENS, 32, 4)
    precise = dissect(copy.deepcopy(model).double())
    rounded = [anatomy.norm(h).float().double() for h in (clean, other)]
    logits = [finish(precise.head(h), model).numpy() for h in rounded]
    np.testing.assert_allclose(Language(anatomy, clean, IDS).kl_from_clean_nats(other[None])[0], divergence(*logits), rtol=1e-3)


@pytest.mark.parametrize("rows_at_once", [1, 3, 4, 1000])
def test_no_more_than_a_chunk_of_logits_is_held(rows_at_once, monkeypatch):
    """The head is given as many positions of a window as fit, every one that predicts, and no other; figures do not depend on it."""
    model, anatomy = subject("planted")
    clean, _ = run(model, anatomy)
    final = torch.stack([run(model, anatomy, (push,))[0] for push in pushes(anatomy)])
    whole = Language(anatomy, clean, IDS)
    truth, sketch = (whole.nll_nats(final), whole.kl_from_clean_nats(final)), LogitSketch(anatomy, 4, 0, torch.device("cpu"))
    sketch._product = None
    sketched = sketch(final[0])
    monkeypatch.setattr("harness.language._CHUNK_LOGITS", rows_at_once * 97 + 96)
    language, sizes = Language(anatomy, clean, IDS), []
    hook = model.lm_head.register_forward_hook(lambda module, args, out: sizes.append(out.shape[:-1].numel()))
    np.testing.assert_allclose(language.nll_nats(final), truth[0], rtol=1e-4)
    np.testing.assert_allclose(language.kl_from_clean_nats(final), truth[1], rtol=1e-4)
    assert max(sizes) == min(rows_at_once, 3 * (TOKENS - 1))  # Of several variants together, where they fit.
    assert sum(sizes) == (3 + 4) * WINDOWS * (TOKENS - 1)
    sizes.clear()
    torch.testing.assert_close(sketch(final[0]), sketched)
    assert max(sizes) == min(rows_at_once, WINDOWS * TOKENS)
    hook.remove()


@HEADS
@pytest.mark.parametrize("long_way", [False, True])
def test_a_sketch_is_the_logits_times_fixed_directions(family, long_way):
    """Differences equal those of full logits times Gaussian directions of norm 1, where the head is one product and where it is not."""
    model, anatomy = subject(family)
    clean, logits = run(model, anatomy)
    sketch = LogitSketch(anatomy, 16, 5, torch.device("cpu"))
    assert (sketch._product is None) == (family in ("gemma2", "cohere", "granite"))
    if long_way:
        sketch._product = None
    directions = torch.randn(97, 16, generator=torch.Generator().manual_seed(5)).double().numpy() / 4
    for push in pushes(anatomy):
        final, other = run(model, anatomy, (push,))
        change = (other - logits) @ directions
        found = sketch(final) - sketch(clean)
        assert (found.dtype, found.shape) == (torch.float32, (WINDOWS, TOKENS, 16))
        np.testing.assert_allclose(found, change, rtol=1e-4, atol=1e-4 * np.abs(change).max())


def test_a_sketch_keeps_sizes_of_changes():
    """‖change‖ is kept within a few times 1/√columns; another seed gives other directions, the same seed the same."""
    model, anatomy = subject("planted")
    (clean, logits), (final, other) = run(model, anatomy), run(model, anatomy, pushes(anatomy)[1:2])
    sketches = [LogitSketch(anatomy, 256, seed, torch.device("cpu")) for seed in (0, 0, 1)]
    found = [sketch(final) - sketch(clean) for sketch in sketches]
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2])
    np.testing.assert_allclose(found[0].norm(dim=-1), np.linalg.norm(other - logits, axis=-1), rtol=4 / 16)
