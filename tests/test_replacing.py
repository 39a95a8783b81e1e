"""What replacing blocks costs, and what R² is lost, equals a brute-force computation on a tiny Llama with massive activations."""

from __future__ import annotations

import types

import numpy as np
import pytest
import torch
import transformers

from harness.admission import dissect
from harness.linearity import CALIBRATION, EVALUATION, contiguous_groups
from harness.measurement import EACH, INTERVENTION, RUNS, SHIFT
from harness.protocol import Protocol, ReplacementProtocol
from harness.replacement import MIDDLE, VARIANTS
from harness.work import Work
from tests.kept_streams import keep
from tests.replacement_oracle import FACTOR, Truth, affine_map, chosen, full_map, r2, rank_map, spread

BLOCKS, D, TOKENS, MASSIVE, GROUPS = 7, 12, 24, 5, 4
PROTOCOL = Protocol(window=TOKENS, groups=GROUPS, typical_factor=FACTOR, replacement=ReplacementProtocol(run=2, refit_stride=2))
DRAW = np.random.default_rng(0)
IDS = {CALIBRATION: DRAW.integers(0, 60, (9, TOKENS)), EVALUATION: DRAW.integers(0, 60, (5, TOKENS))}
OWN = {**IDS, INTERVENTION: DRAW.integers(0, 60, (4, TOKENS))}
RUN, MID, LAST = [5, 6], [3, 4], 6
GROUP = np.array(contiguous_groups(9, GROUPS))
CLOSE = {"rtol": 1e-5, "atol": 1e-7}  # logits are float32


@pytest.fixture(scope="module")
def model():
    """A random Llama in float64, of which one token is massive from the start."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=60, hidden_size=D, num_hidden_layers=BLOCKS, num_attention_heads=3, intermediate_size=20, max_position_embeddings=64
    )
    made = transformers.LlamaForCausalLM(config).eval().requires_grad_(False).double()
    for p in made.parameters():
        p.mul_(8)
    made.get_input_embeddings().weight[MASSIVE] *= 60
    return made


@pytest.fixture(scope="module")
def found(model):
    """The arrays of each measurement on both layouts, by rung."""
    anatomy, cpu = dissect(model), torch.device("cpu")
    kept, arrays, brought = {}, {}, []
    for measurements in (RUNS, SHIFT, EACH):
        for measurement in measurements:
            ids = OWN if measurement.layout == "strict" else IDS
            if measurement.layout not in kept:
                kept[measurement.layout] = keep(anatomy, ids, PROTOCOL, None, cpu, lambda done, total: None)
            work = Work(
                types.SimpleNamespace(anatomy=anatomy, device=cpu),
                measurement,
                ids,
                PROTOCOL,
                lambda done, total: None,
                None,
                lambda layout=measurement.layout: kept[layout],
                lambda other, more: brought.append((other.name, more)),
                dict,
            )
            for name, array in measurement.measure(work).items():
                arrays[measurements[0].name, *name.split("/")] = np.asarray(array)
    arrays["brought"] = dict(brought)
    return arrays


class Oracle:
    """What a rung fits and scores, from full forwards."""

    def __init__(self, model, rung, ids=OWN):
        self.rung, self.strict, self.all = rung, rung == "strict", rung in ("paper", "held-out")
        blocks = model.model.layers
        windows = ids[CALIBRATION], ids[INTERVENTION if self.strict else EVALUATION], ids[EVALUATION]
        self.calibration, self.scored, self.evaluation = (Truth(model, blocks, each) for each in windows)

    def marked(self, truth, *blocks):
        """Positions that are fitted, scored or replaced."""
        return None if self.all else truth.typical(*blocks)

    def rows(self, x, y, marked, windows):
        """Rows of some windows."""
        return [part[windows][... if marked is None else marked[windows]].reshape(-1, D) for part in (x, y)]

    def fit(self, seen, marked, windows=slice(None), like=None):
        """The rung's map of (input, output) on some calibration windows: map, (k, λ), mean of Δ. ``like``: k and λ of the whole."""
        x, y = seen[0], seen[1] - seen[0]
        rows = self.rows(x, y, marked, windows)
        if not self.strict:
            fitted, k, lam = rank_map(*rows, lam=like and like[1], k=like and like[0])
            return fitted, (k, lam), rows[1].mean(0)
        if like is None:
            groups = [g for g in range(GROUPS) if (GROUP[windows] == g).any()]
            penalty = chosen([tuple(self.rows(x, y, marked, g == GROUP)) for g in groups])
            like = (D, penalty * spread(rows[0]))
        return affine_map(*rows, like[1]), like, rows[1].mean(0)

    def whole(self, block, windows=slice(None), like=None):
        """The same of a block on the clean run."""
        return self.fit(self.calibration.clean[block], self.marked(self.calibration, block), windows, like)

    def without(self, block, group):
        """Refitted without a group of calibration windows."""
        return self.whole(block, group != GROUP, self.whole(block)[1])

    def half(self, block):
        """Refitted on every second group, λ chosen anew."""
        return self.whole(block, GROUP % 2 == 0)

    def costs(self, run, maps, at=None):
        """Negative log-likelihood and divergence of each window, the blocks of a run replaced where they, or others, are typical."""
        logits = self.scored.run(dict(zip(run, maps, strict=True)), self.marked(self.scored, *(at or run)))[1]
        return self.scored.nll(logits), self.scored.kl(logits)

    def forced(self, run, fits):
        """What the run's maps add at the true inputs, for each block."""
        return [f[0](self.scored.clean[b][0]) for b, f in zip(run, fits, strict=True)]

    def refitted(self, run):
        """Maps fitted one after another on the stream that those before have shifted, and their R² there."""
        maps, scores = [], []
        for i, block in enumerate(run):
            done = dict(zip(run[:i], maps, strict=True))
            here = [t.run(done, self.marked(t, *run))[0][block] for t in (self.calibration, self.scored)]
            fitted, _, mean = self.fit(here[0], self.marked(self.calibration, *run))
            error, energy = r2(fitted, here[1][0], here[1][1] - here[1][0], self.marked(self.scored, *run), mean if self.strict else 0.0)
            maps.append(fitted)
            scores.append(1 - error.sum() / energy.sum())
        return maps, scores

    def shift(self, target, count, fit, windows=slice(None)):
        """Squared error and energy of a block's map, on the stream that maps of the blocks before have shifted."""
        truth = self.calibration if self.rung == "paper" else self.evaluation
        upstream = list(range(target - count, target))
        maps = {b: fit(b)[0] for b in upstream}
        given, after = truth.run(maps, self.marked(truth, *upstream) if upstream else None)[0][target]
        fitted, _, mean = fit(target)
        error, energy = r2(fitted, given, after - given, self.marked(truth, target), mean if self.strict else 0.0)
        return error[windows], energy[windows]

    def moved(self, target, count):
        """Mean squared distance of the shifted stream from the clean one, over the variance of that, at the scored tokens."""
        truth, upstream = self.calibration if self.rung == "paper" else self.evaluation, range(target - count, target)
        shifted = truth.run({b: self.whole(b)[0] for b in upstream}, self.marked(truth, *upstream))[0][target][0]
        clean, there = self.rows(truth.clean[target][0], shifted, self.marked(truth, target), slice(None))
        return np.square(there - clean).sum() / np.square(clean - clean.mean(0)).sum()


@pytest.fixture(scope="module", params=["paper", "typical", "strict", "held-out"])
def oracle(request, model):
    """The definitions, by rung."""
    return Oracle(model, request.param)


def of(found, kind, rung):
    """The arrays of a measurement on a rung."""
    return {name[2]: array for name, array in found.items() if name[0] == kind[0].name and name[1] == rung}


def test_costs_of_runs(oracle, found):
    """Every variant of the last block, of the run and of the one after mid; refits on some windows; halves."""
    if oracle.rung == "held-out":
        return
    a = of(found, RUNS, oracle.rung)
    fits = {b: oracle.whole(b) for b in (*RUN, *MID)}
    rows = oracle.rows(
        *(lambda s: (s[0], s[1] - s[0]))(oracle.calibration.clean[LAST]), oracle.marked(oracle.calibration, LAST), slice(None)
    )
    other = rank_map(*rows)[0] if oracle.strict else full_map(*rows)
    expected = [oracle.costs([LAST], [m]) for m in (fits[LAST][0], other, np.zeros(D), fits[LAST][2])]
    for run, name in ((RUN, ""), (MID, "middle_")):
        maps, scores = oracle.refitted(run)
        own, forced = [fits[b] for b in run], oracle.forced(run, [fits[b] for b in run])
        of_run = [[f[0] for f in own], forced, maps, [np.zeros(D) for _ in run], [f[2] for f in own]]
        expected += [oracle.costs(run, m) for m in of_run]
        np.testing.assert_allclose(a[f"{name}refitted_r2"], scores, rtol=1e-6)
    for i, kind in enumerate(("nll", "kl")):
        np.testing.assert_allclose(a[kind], [costs[i] for costs in expected[: len(VARIANTS)]], **CLOSE)
        np.testing.assert_allclose(a[f"middle_{kind}"], [costs[i] for costs in expected[len(VARIANTS) :]], **CLOSE)
    assert len(expected) == len(VARIANTS) + len(MIDDLE)
    np.testing.assert_allclose(a["clean"], oracle.scored.nll(oracle.scored.logits), **CLOSE)
    np.testing.assert_allclose(a["alone"], [oracle.costs([b], [fits[b][0]], at=RUN)[0] for b in RUN], **CLOSE)
    marked = [oracle.marked(oracle.scored, *run) for run in ([LAST], RUN, MID)]
    np.testing.assert_allclose(a["left_out"], [0 if m is None else 1 - m.mean() for m in marked], atol=1e-6)
    np.testing.assert_array_equal(a["ranks"], [fits[b][1][0] for b in RUN])

    if oracle.strict:
        sizes = [D * D + D, min(2 * rank_map(*rows)[1], D) * D]
        np.testing.assert_array_equal(a["map_parameters_fit"], [sizes[0]] * GROUPS)
    else:
        sizes = [min(2 * fits[LAST][1][0], D) * D, D * D]
        anew = [oracle.whole(LAST, g != GROUP)[1][0] for g in range(GROUPS)]
        np.testing.assert_array_equal(a["map_parameters_fit"], [min(2 * k, D) * D for k in anew])
    np.testing.assert_array_equal([a["map_parameters"], a["other_parameters"]], sizes)

    def three(refit):
        again = [refit(b) for b in RUN]
        return [
            oracle.costs([LAST], [again[-1][0]]),
            oracle.costs(RUN, [f[0] for f in again]),
            oracle.costs(RUN, oracle.forced(RUN, again)),
        ]

    some = a["refit_windows"].astype(int)
    np.testing.assert_array_equal(some, range(0, len(oracle.scored.ids), 2))
    for g in range(GROUPS):
        for name, costs in zip(("last", "free", "forced"), three(lambda b, g=g: oracle.without(b, g)), strict=True):
            np.testing.assert_allclose(a[f"{name}_refit"][g], costs[0][some], **CLOSE)
    if oracle.strict:
        np.testing.assert_allclose(a["half"][0], [costs[0] for costs in three(oracle.half)], **CLOSE)
    else:
        assert a["half"].shape == (0, 3, len(oracle.scored.ids))


def test_linearity_after_upstream_change(oracle, found):
    """Sums of squares of both blocks for every number of blocks replaced, refits, and the half."""
    a, windows = of(found, SHIFT, oracle.rung), slice(None)
    np.testing.assert_array_equal(a["targets"], [LAST, 4])
    for t, target in enumerate((LAST, 4)):
        error, energy = oracle.shift(target, 0, oracle.whole)
        np.testing.assert_allclose(a["clean_error"][t], error, rtol=1e-8)
        np.testing.assert_allclose(a["clean_energy"][t], energy, rtol=1e-8)
        for j in (1, 2):
            error, energy = oracle.shift(target, j, oracle.whole)
            np.testing.assert_allclose(a["error"][t, j - 1], error, rtol=1e-8)
            np.testing.assert_allclose(a["energy"][t, j - 1], energy, rtol=1e-8)
            assert a["moved"][t, j - 1] == pytest.approx(oracle.moved(target, j), rel=1e-8)

    def both(refit, windows):
        parts = [oracle.shift(LAST, j, refit, windows) for j in (0, 2)]
        return [1 - error.sum() / energy.sum() for error, energy in parts]

    for g in range(GROUPS):
        windows = g != GROUP if oracle.rung == "paper" else slice(None)
        np.testing.assert_allclose(a["fit"][:, g], both(lambda b, g=g: oracle.without(b, g), windows), rtol=1e-8)
    if oracle.strict:
        np.testing.assert_allclose(a["half"], both(oracle.half, slice(None)), rtol=1e-8)


def test_costs_of_every_block(oracle, found):
    """Its map on all windows, and on strict its map of half the text, nothing and its mean output on some."""
    if oracle.rung == "held-out":
        return
    a = of(found, EACH, oracle.rung)
    some = a["some"].astype(int)
    np.testing.assert_array_equal(a["refit_window"], np.arange(GROUPS) % len(oracle.scored.ids))
    for b in range(BLOCKS):
        fitted, _, mean = oracle.whole(b)
        nll, kl = oracle.costs([b], [fitted])
        np.testing.assert_allclose(a["nll"][b], nll, **CLOSE)
        np.testing.assert_allclose(a["kl"][b], kl, **CLOSE)
        for g, window in enumerate(a["refit_window"].astype(int)):
            np.testing.assert_allclose(a["refit"][b, g], oracle.costs([b], [oracle.without(b, g)[0]])[0][window], **CLOSE)
        if oracle.strict:
            for name, each in (("half", oracle.half(b)[0]), ("skipped", np.zeros(D)), ("mean", mean)):
                np.testing.assert_allclose(a[name][b], oracle.costs([b], [each])[0][some], **CLOSE)


def test_linearity_comes_with_the_costs_of_every_block(found):
    """The same sweep gives the figures that the sweep for linearity alone gives, on all rungs."""
    names = {"linearity by rank-k maps": ("paper", "held-out", "typical"), "linearity by affine maps": ("strict",)}
    brought = {name: {path.split("/")[0] for path in arrays} for name, arrays in found["brought"].items() if name in names}
    assert brought == {name: set(rungs) for name, rungs in names.items()}
    for rung, name in [(rung, name) for name, rungs in names.items() for rung in rungs]:
        value = found["brought"][name][f"{rung}/value"]
        clean = of(found, SHIFT, rung)
        own = 1 - clean["clean_error"].sum(1) / clean["clean_energy"].sum(1)
        np.testing.assert_allclose(value[[LAST, 4]], own, rtol=1e-9)


def test_some_tokens_are_not_typical(oracle):
    """At each block others: else the oracle would not see at which blocks of a run a position must be typical."""
    for truth in (oracle.calibration, oracle.scored, oracle.evaluation):
        for run in (RUN, MID):
            marks = [truth.typical(*blocks) for blocks in (run[:1], run[1:], run)]
            assert len({mark.tobytes() for mark in marks}) == 3
            assert marks[2].mean() > 0.4
