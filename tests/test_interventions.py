"""Interventions equal plain NumPy, and a branch from a stream at hand ends where the model's own forward with the same change ends."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
import transformers

from harness import subspaces
from harness.admission import dissect
from harness.branches import branch
from harness.errors import MeasurementError
from harness.interventions import Added, MeanAblated, Noised, intervened, obliquely, onto
from harness.moments import Sums
from harness.subspaces import Principal
from tests.families import FAMILIES, GROUPED
from tests.planted import PlantedConfig, PlantedModel
from tests.test_moments import rows

D, K, TOKENS = 7, 3, 9
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])


def stream(windows=3, dtype=torch.float64, tokens=TOKENS, d=D):
    """A stream with one massive activation."""
    hidden = rows(windows * tokens, d, 0).view(windows, tokens, d).to(dtype)
    hidden[0, 2] *= 1e4
    return hidden


def marks(windows=3, tokens=TOKENS):
    """Some positions of each window."""
    return rows(windows, tokens, 5) > -0.3


def examples(positions):
    """One intervention of each kind, with what it does in plain NumPy to rows h ``(rows, tokens, d)``; noise apart."""
    mean, basis = rows(1, D, 1)[0].double(), subspaces.random_orthonormal(D, K, 2)
    weights, root = rows(D, K, 3).double(), rows(D, D, 4).double()
    spread, vector = root @ root.T, rows(1, D, 6)[0].double()
    m, u, w, s = mean.numpy(), basis.numpy(), weights.numpy(), spread.numpy()
    oblique = np.linalg.solve(w.T @ s @ w, w.T @ s)
    return {
        "orthogonal": (onto(1, positions, mean, basis), lambda h: m + (h - m) @ (u @ u.T)),
        "oblique": (obliquely(1, positions, mean, spread @ weights, weights), lambda h: m + (h - m) @ w @ oblique),
        "ablated": (MeanAblated(1, positions, mean, basis), lambda h: h - (h - m) @ (u @ u.T)),
        "added": (Added(1, positions, vector), lambda h: h + vector.numpy()),
        "noised": (Noised(1, positions, weights, 8), None),
    }


KINDS = list(examples(None))
KIND = pytest.mark.parametrize("kind", KINDS)


@DTYPES
@pytest.mark.parametrize("kind", KINDS[:-1])
def test_interventions_equal_numpy(kind, dtype):
    """At every position, to the last digit of the stream's type, beside a massive activation too; all but additions are idempotent."""
    intervention, truth = examples(None)[kind]
    hidden, before = stream(dtype=dtype), stream(dtype=dtype)
    found = intervention.apply(hidden, [0, 1, 2])
    assert found.dtype == dtype
    assert torch.equal(hidden, before)
    expected = truth(hidden.double().numpy())
    np.testing.assert_allclose(found.double(), expected, rtol=max(2 * torch.finfo(dtype).eps, 1e-9), atol=1e-9)
    if kind != "added" and dtype == torch.float64:
        torch.testing.assert_close(intervention.apply(found, [0, 1, 2]), found, rtol=1e-8, atol=1e-8)


@DTYPES
@KIND
def test_what_is_not_marked_keeps_its_bits(kind, dtype):
    """Marked positions change as if all were marked, the others keep their value, whichever windows are given."""
    hidden, marked = stream(dtype=dtype), marks()
    found = examples(marked)[kind][0].apply(hidden[[2, 0]], [2, 0])
    everywhere = examples(None)[kind][0].apply(hidden[[2, 0]], [2, 0])
    mine = marked[[2, 0]]
    assert torch.equal(found[~mine], hidden[[2, 0]][~mine])
    assert torch.equal(found[mine], everywhere[mine])
    assert not torch.equal(found[mine], hidden[[2, 0]][mine])


def test_an_oblique_projection_keeps_the_scores_and_expects_the_rest():
    """Wᵀ(h − μ) stays, and the result is the least-squares regression of h on its scores: uncorrelated with what is left."""
    x = rows(400, D, 1).double() @ rows(D, D, 2).double() + 3
    y = x @ rows(D, 4, 3).double() + rows(400, 4, 4)
    side, _, cross = subspaces.sides(Sums.of(x, y))
    fit = subspaces.rrr(side, cross, 10.0, K)
    found = obliquely(0, None, side.mean, subspaces.patterns_of(fit.x, fit.weights), fit.weights).apply(x[None], [0])[0]
    scores = (x - side.mean) @ fit.weights
    torch.testing.assert_close((found - side.mean) @ fit.weights, scores)
    oracle = np.linalg.lstsq(scores.numpy(), (x - side.mean).numpy(), rcond=None)[0]
    np.testing.assert_allclose(found, x.numpy().mean(0) + scores.numpy() @ oracle, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(scores.T @ (x - found), 0, atol=1e-6)


def test_onto_keeps_what_lies_in_the_span_and_ablation_what_lies_outside():
    """The scores on the basis are kept, or take their mean; the two together put back the whole."""
    pcs, hidden = Principal.of(27, (flat := stream().flatten(0, 1)).sum(0), flat.T @ flat), stream()
    basis, mean = pcs.top(K), pcs.mean
    kept, ablated = onto(0, None, mean, basis).apply(hidden, [0, 1, 2]), MeanAblated(0, None, mean, basis).apply(hidden, [0, 1, 2])
    torch.testing.assert_close(kept @ basis, hidden @ basis)
    torch.testing.assert_close(ablated @ basis, (mean @ basis).expand(3, TOKENS, K))
    torch.testing.assert_close(kept - mean + ablated, hidden)
    torch.testing.assert_close(onto(0, None, mean, pcs.vectors).apply(hidden, [0, 1, 2]), hidden)


def test_noise_has_the_covariance_of_its_factor():
    """Mean 0 and covariance FFᵀ, of fewer directions than the stream has, within sampling error of 40,000 draws."""
    factor = rows(5, 2, 0).double()
    hidden = stream(windows=4, tokens=10_000, d=5)
    noise = (Noised(0, None, factor, 1).apply(hidden, [0, 1, 2, 3]) - hidden).flatten(0, 1).numpy()
    truth = (factor @ factor.T).numpy()
    scale = np.sqrt(np.outer(np.diag(truth), np.diag(truth)))
    np.testing.assert_allclose(noise.mean(0) / np.sqrt(np.diag(truth)), 0, atol=0.025)
    np.testing.assert_allclose((np.cov(noise.T) - truth) / scale, 0, atol=0.03)
    assert np.linalg.matrix_rank(noise[:100], tol=1e-8) == 2


def test_noise_belongs_to_a_window_and_not_to_a_batch():
    """However windows are batched, ordered or repeated each has its draw; another window, position or seed has another."""
    hidden, noised = stream(), Noised(0, None, rows(D, D, 0).double(), 4)
    whole = noised.apply(hidden, [0, 1, 2])
    torch.testing.assert_close(noised.apply(hidden[[2, 0, 2]], [2, 0, 2]), whole[[2, 0, 2]], rtol=1e-12, atol=1e-12)
    draws = [noised._draw(w, (TOKENS, D)) for w in range(3)] + [replace(noised, seed=s)._draw(0, (TOKENS, D)) for s in (5, 6)]
    assert len({row.numpy().tobytes() for draw in draws for row in draw}) == 5 * TOKENS


def altered(value):
    """Values that differ from one in as little as can be."""
    if isinstance(value, int):
        return [value + 1, -value]
    if value.dtype == torch.bool:
        other = value.clone()
        other[-1, -1] ^= True
        return [None, other, value[:, :-1]]
    other = value.clone()
    other[(-1,) * value.ndim] = np.nextafter(float(value[(-1,) * value.ndim]), np.inf)
    return [other, value.float(), value.contiguous().view(torch.int64), value.reshape(-1, 1, 1), value[:-1]]


@KIND
def test_equal_interventions_have_equal_keys_and_others_have_others(kind):
    """Every field counts, to the last bit, with its shape and type, and so does the kind; how a tensor lies in memory does not."""
    first, again = examples(marks())[kind][0], examples(marks())[kind][0]
    laid_out = {f.name: getattr(first, f.name) for f in fields(first)}
    laid_out = {name: v.mT.contiguous().mT if isinstance(v, torch.Tensor) and v.ndim > 1 else v for name, v in laid_out.items()}
    assert first.key == again.key == type(first)(**laid_out).key
    others = [replace(first, **{f.name: value}).key for f in fields(first) for value in altered(getattr(first, f.name))]
    others += [type("Other", (type(first),), {})(**laid_out).key]
    assert len({first.key, *others}) == 1 + len(others)


@KIND
def test_windows_and_positions_that_do_not_fit_the_stream_are_refused(kind):
    """As many windows as rows, and marks for as many tokens: ValueError otherwise."""
    with pytest.raises(ValueError, match="3 rows of the stream, 2 windows named"):
        examples(None)[kind][0].apply(stream(), [0, 1])
    with pytest.raises(ValueError, match=r"positions are marked for \(3, 8\), the stream has \(3, 9\) windows and tokens"):
        examples(marks(tokens=8))[kind][0].apply(stream(), [0, 1, 2])


# Blocks of Gemma 4 are given something of each token beside the stream.
GEMMA4 = {**GROUPED, "head_dim": 8, "global_head_dim": 8, "vocab_size_per_layer_input": 97, "hidden_size_per_layer_input": 8}
OWN = {"planted": PlantedConfig(), "in place": PlantedConfig(fault="in place"), "gemma4": transformers.Gemma4TextConfig(**GEMMA4)}
FAMILY = pytest.mark.parametrize("family", ["planted", "in place", "gpt2", "llama", "gpt_neox", "falcon", "gemma2", "gemma4"])
WINDOWS = 5
IDS = np.random.default_rng(0).integers(0, 97, (WINDOWS, 12))


@pytest.fixture(scope="module")
def subject():
    """Tiny models by family in float64 (planted ones are chaotic), with their parts and the outputs of their blocks in the clean run."""

    def of(family):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config({**FAMILIES, **OWN}[family]).eval().requires_grad_(False)
        anatomy = dissect(model.double())
        return model, anatomy, forward(model, anatomy, (), list(range(WINDOWS)))[0]

    return functools.cache(of)


def forward(model, anatomy, variant, windows):
    """The outputs of the blocks and the logits in the model's own forward under interventions, by plain hooks."""
    seen = []
    with torch.inference_mode(), intervened(anatomy, variant, windows):
        keep = lambda _, args, out: seen.append((out[0] if isinstance(out, tuple) else out).clone())  # noqa: E731
        hooks = [block.register_forward_hook(keep) for block in anatomy.blocks]
        logits = model(torch.from_numpy(IDS[windows]), use_cache=False).logits
        for hook in hooks:
            hook.remove()
    return seen, logits


def variants(anatomy, block):
    """Variants of one boundary and of several, at some positions and at all, of all kinds."""
    d, last, some = anatomy.width, len(anatomy.blocks) - 1, marks(WINDOWS, 12)
    mean, basis, factor = 0.1 * rows(1, d, 1)[0].double(), subspaces.random_orthonormal(d, 4, 0), 0.1 * rows(d, 5, 2).double()
    push = Added(block, some, 0.3 * rows(1, d, 3)[0].double())
    later = onto(block + 1, None, mean, basis)
    return [
        (),
        (push,),
        (onto(block, None, mean, basis),),
        (MeanAblated(block, some, mean, basis), Noised(block, some, factor, 0), push),
        (Noised(block, None, factor, 1), later, Noised(last, some, factor, 2)),
        (later,),
        (obliquely(last, some, mean, factor[:, :2] + basis[:, :2], basis[:, :2]),),
    ]


@FAMILY
@pytest.mark.parametrize("block", [0, 1])
@pytest.mark.parametrize(("batch", "group"), [(8, 128), (1, 1), (3, 11), (64, 10)])
def test_a_branch_ends_where_the_models_own_forward_ends(subject, family, block, batch, group, monkeypatch):
    """Final streams and logits are the same, whatever is batched and grouped, and the clean stream is left as it was."""
    monkeypatch.setattr("harness.batching.BATCH", batch)
    monkeypatch.setattr("harness.branches.GROUP", group)
    model, anatomy, outputs = subject(family)
    clean, wanted = outputs[block].clone(), variants(anatomy, block)
    found = list(branch(anatomy, clean, block, IDS, wanted))
    assert torch.equal(clean, outputs[block])
    assert all(len(final) == max(1, group // WINDOWS) for _, final in found[:-1])
    assert [first for first, _ in found] == list(range(0, len(wanted), max(1, group // WINDOWS)))
    final = torch.cat([f for _, f in found])
    assert final.shape == (len(wanted), *clean.shape)
    for variant, ours in zip(wanted, final, strict=True):
        theirs, logits = forward(model, anatomy, variant, list(range(WINDOWS)))
        torch.testing.assert_close(ours, theirs[-1], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(anatomy.logits(ours), logits, rtol=1e-6, atol=1e-6)
    assert all(not torch.allclose(f, outputs[-1], atol=1e-3) for f in final[1:])


@FAMILY
def test_some_windows_are_run_as_in_the_whole(subject, family):
    """``windows=`` picks them, in the order given, each with its own positions and noise."""
    model, anatomy, outputs = subject(family)
    wanted = variants(anatomy, 1)
    ((_, some),) = branch(anatomy, outputs[1], 1, IDS, wanted, windows=[3, 0])
    for variant, ours in zip(wanted, some, strict=True):
        torch.testing.assert_close(ours, forward(model, anatomy, variant, [3, 0])[0][-1], rtol=1e-6, atol=1e-6)


def test_nothing_upstream_runs_again_and_variants_share_batches():
    """Of six blocks those above the third run, on full batches: with 4 windows a variant, two variants in one call of 8 rows."""
    model = PlantedModel(PlantedConfig(shares=[0.5] * 6)).eval().requires_grad_(False)
    anatomy = dissect(model)
    clean, push = torch.zeros(WINDOWS, 12, 16), [(Added(b, None, rows(1, 16, b)[0].double()),) for b in (2, 2, 3, 4, 5)]
    calls = []
    for index, layer in enumerate(model.layers):
        layer.mlp.register_forward_hook(lambda module, args, out, index=index: calls.append((index, len(args[0]))))
    list(branch(anatomy, clean, 2, IDS, push, windows=[0, 1, 2, 4]))
    assert calls == [(b, size) for b in (3, 4, 5) for size in (8, 8, 4)]
    assert len(list(branch(anatomy, clean, 5, IDS, push[-1:]))) == 1
    assert len(calls) == 9


def test_a_branch_refuses_what_comes_too_late_or_stops_being_finite(subject):
    """An intervention below the stream at hand is a ValueError; NaN and infinity are a MeasurementError that says where from."""
    _, anatomy, outputs = subject("gpt2")
    ones = torch.ones(32, dtype=torch.float64)
    with pytest.raises(ValueError, match="the stream after block 1 is too late for an intervention that starts after block 0"):
        next(branch(anatomy, outputs[1], 1, IDS, [(Added(1, None, ones),), (Added(2, None, ones), Added(0, None, ones))]))
    for bad in (np.nan, np.inf):
        with pytest.raises(MeasurementError, match="an intervention after block 1 yields NaN or infinity"):
            next(branch(anatomy, outputs[1], 1, IDS, [(Added(2, None, bad * ones),)]))


@pytest.mark.parametrize("family", ["planted", "gpt2", "falcon"])
@pytest.mark.parametrize("leaving", [None, RuntimeError, KeyboardInterrupt])
def test_the_model_is_as_before_after_any_exit(subject, family, leaving):
    """Hooks go on normal exit, on errors and on Ctrl-C, nested ones in turn; inside, inner interventions act after outer ones."""
    model, anatomy, outputs = subject(family)
    windows, d = list(range(WINDOWS)), anatomy.width
    first, second = onto(1, None, torch.zeros(d).double(), subspaces.random_orthonormal(d, 2, 0)), Added(1, None, torch.ones(d).double())
    alone, together, turned = (forward(model, anatomy, v, windows)[0] for v in ((first,), (first, second), (second, first)))
    assert not torch.allclose(together[1], turned[1])
    with pytest.raises(leaving) if leaving else contextlib.nullcontext(), intervened(anatomy, [first], windows):
        with intervened(anatomy, [second], windows):
            assert torch.equal(forward(model, anatomy, (), windows)[0][-1], together[-1])
            if leaving:
                raise leaving
        assert torch.equal(forward(model, anatomy, (), windows)[0][-1], alone[-1])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.equal(forward(model, anatomy, (), windows)[0][-1], outputs[-1])


def test_hooks_go_when_a_later_one_cannot_be_set(subject):
    """An intervention at a block that is not there leaves none of the others behind."""
    model, anatomy, _ = subject("gpt2")
    with pytest.raises(ValueError, match="block 99"), intervened(anatomy, [Added(block, None, torch.ones(32)) for block in (0, 99)], [0]):
        pass
    assert not any(module._forward_hooks for module in model.modules())
