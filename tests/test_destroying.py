"""What destroyed blocks and a missing MLP cost equals the model run whole with other weights, on every rung, position by position."""

from __future__ import annotations

import copy
import types

import numpy as np
import pytest
import torch

from harness import destroying
from harness.admission import dissect
from harness.destroyed import PARTS, LastMlp, LateBlocks, Profile
from harness.destroyed_block import Destroyer
from harness.errors import MeasurementError
from harness.linearity import CALIBRATION, EVALUATION
from harness.measurement import INTERVENTION, LAST_MLP, LATE_BLOCKS, PROFILE, Sizes
from harness.protocol import Protocol
from harness.quantizers import Uniform
from harness.work import Work
from tests.destruction_oracle import BLOCKS, CONFIGS, FACTOR, LAYERS, WORDS, D, Destroyed, four_values, made
from tests.kept_streams import keep
from tests.planted import PlantedConfig, PlantedModel
from tests.test_layers import fresh
from tests.test_other_mlps import with_mlp
from tests.test_reconstructing import Refusing
from tests.test_sweep import Pages

TOKENS = 20
PROTOCOL = Protocol(window=TOKENS, groups=4, typical_factor=FACTOR)
DRAW = np.random.default_rng(0)
IDS = {CALIBRATION: DRAW.integers(0, WORDS, (9, TOKENS)), EVALUATION: DRAW.integers(0, WORDS, (5, TOKENS))}
OWN = {**IDS, INTERVENTION: DRAW.integers(0, WORDS, (4, TOKENS))}
LATE, FIRST, LOOKED = [4, 5, 6], 4, (2, 4, 5, 6)
RUNGS = ["paper", "typical", "strict"]
CLOSE = {"rtol": 1e-4, "atol": 1e-7}  # logits are float32
CPU = torch.device("cpu")
whole_families = pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])


def work(anatomy, measurement, bookmark=None, protocol=PROTOCOL):
    """What a measurement is made from."""
    ids = OWN if measurement.layout == "strict" else IDS
    needed, quiet = {split: ids[split] for split in measurement.needs()}, lambda done, total: None
    subject = types.SimpleNamespace(anatomy=anatomy, device=CPU)
    return Work(subject, measurement, needed, protocol, quiet, bookmark, lambda: keep(anatomy, ids, protocol, None, CPU, quiet), None, dict)


class Subjects:
    """Models by family, with the arrays of each measurement by rung, and what an oracle says; each is made once."""

    def __init__(self):
        self.models, self.found, self.truths, self.pages = {}, {}, {}, {}

    def model(self, family):
        """The model."""
        if family not in self.models:
            self.models[family] = made(family)
        return self.models[family]

    def arrays(self, family, measurements, rung):
        """The arrays of a measurement on a rung."""
        measurement = measurements[rung == "strict"]
        if (family, measurement.name) not in self.found:
            pages = self.pages[family, measurement.name] = Pages() if measurements is PROFILE else None
            found = measurement.measure(work(dissect(self.model(family)), measurement, pages))
            windows = {split: len(ids) for split, ids in (OWN if rung == "strict" else IDS).items()}
            assert set(measurement.read(found, Sizes(BLOCKS, D, 4, windows))) == set(measurement.rungs)
            self.found[family, measurement.name] = found
        found = self.found[family, measurement.name]
        return {path.partition("/")[2]: array for path, array in found.items() if path.startswith(f"{rung}/")}

    def truth(self, family, split):
        """The model run whole on some windows."""
        if (family, split) not in self.truths:
            self.truths[family, split] = Destroyed(family, self.model(family), OWN[split])
        return self.truths[family, split]

    def scored(self, family, rung):
        """The same on the windows that a rung is scored on."""
        return self.truth(family, INTERVENTION if rung == "strict" else EVALUATION)


@pytest.fixture(scope="module")
def subjects():
    """Made when they are asked for."""
    return Subjects()


@whole_families
@pytest.mark.parametrize("rung", RUNGS)
def test_late_blocks(subjects, family, rung):
    """KL at each position with each late block destroyed alone and all of them together, and which positions count."""
    a, truth, everywhere = subjects.arrays(family, LATE_BLOCKS, rung), subjects.scored(family, rung), rung == "paper"
    assert set(a) == set(LateBlocks.SHAPES)
    np.testing.assert_array_equal(a["blocks"], LATE)
    expected = [truth.kl_at(truth.logits_of({b: "both"}, everywhere)) for b in LATE]
    np.testing.assert_allclose(a["kl"], expected, **CLOSE)
    together = truth.logits_of(dict.fromkeys(range(FIRST, BLOCKS), "both"), everywhere)
    np.testing.assert_allclose(a["together"], truth.kl_at(together), **CLOSE)
    counted = np.ones(a["together"].shape) if everywhere else truth.typical(*LOOKED)[:, :-1]
    np.testing.assert_array_equal(a["counted"], counted)
    assert a["left_out"] == pytest.approx(1 - counted.mean())
    # Else the oracle tells nothing apart.
    assert a["kl"].mean((1, 2)).min() > 1e-3
    if not everywhere:
        assert len({truth.typical(b).tobytes() for b in (*LOOKED, 3)}) > 2
        assert 0.2 < counted.mean() < 0.98


@whole_families
@pytest.mark.parametrize("rung", RUNGS)
def test_every_block_and_its_parts(subjects, family, rung):
    """Likelihood and KL of each window with each block destroyed, its attention, its MLP."""
    a, truth, everywhere = subjects.arrays(family, PROFILE, rung), subjects.scored(family, rung), rung == "paper"
    assert set(a) == set(Profile.SHAPES)
    np.testing.assert_allclose(a["clean"], truth.nll(truth.logits), **CLOSE)
    for p, part in enumerate(PARTS):
        for b in range(BLOCKS):
            logits = truth.logits_of({b: part}, everywhere)
            np.testing.assert_allclose(a["nll"][p, b], truth.nll(logits), **CLOSE)
            np.testing.assert_allclose(a["kl"][p, b], truth.kl(logits), **CLOSE)
    left_out = [0 if everywhere else 1 - truth.typical(b).mean() for b in range(BLOCKS)]
    np.testing.assert_allclose(a["left_out"], left_out, atol=1e-12)
    assert len(np.unique(a["kl"].mean(2).round(9))) == len(PARTS) * BLOCKS


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("rung", RUNGS)
def test_the_last_mlp(subjects, family, rung):
    """Nothing, or its mean output over the tokens that the rung takes, in the place of what it writes."""
    a, truth, everywhere = subjects.arrays(family, LAST_MLP, rung), subjects.scored(family, rung), rung == "paper"
    calibration = subjects.truth(family, CALIBRATION)
    assert set(a) == set(LastMlp.SHAPES)
    rows = calibration.mlp_outputs()[... if everywhere else calibration.typical(BLOCKS - 1)].reshape(-1, D)
    assert a["fitted"] == len(rows)
    np.testing.assert_allclose(a["clean"], truth.nll(truth.logits), **CLOSE)
    for name, value in (("skipped", np.zeros(D)), ("mean", rows.mean(0))):
        logits = truth.without_mlp(value, everywhere)
        np.testing.assert_allclose(a[name], truth.nll(logits), **CLOSE)
        np.testing.assert_allclose(a[f"{name}_kl"], truth.kl(logits), **CLOSE)
        assert a[f"{name}_kl"].min() > 1e-4
    assert a["left_out"] == pytest.approx(0 if everywhere else 1 - truth.typical(BLOCKS - 1).mean())


@pytest.mark.parametrize("place", [0, 1], ids=["paper", "strict"])
def test_the_profile_can_be_taken_up_at_any_block(subjects, place):
    """Whatever block it was interrupted after, all arrays are those of a sweep left alone, bit for bit."""
    measurement = PROFILE[place]
    subjects.arrays("llama", PROFILE, measurement.rungs[0])
    found, kept = subjects.found["llama", measurement.name], subjects.pages["llama", measurement.name].pages
    assert sorted(kept) == list(range(1, BLOCKS))
    for block in (1, 5):
        again = measurement.measure(work(dissect(subjects.model("llama")), measurement, Pages((block, kept[block]))))
        assert set(again) == set(found)
        for path, array in again.items():
            np.testing.assert_array_equal(array, found[path], err_msg=path)


def test_a_state_that_does_not_fit_is_refused(subjects):
    """Missing, short, additional arrays, of another type, or of more blocks: what is found is that of a sweep that began anew."""
    measurement = PROFILE[1]
    subjects.arrays("llama", PROFILE, "strict")
    found, kept = subjects.found["llama", measurement.name], subjects.pages["llama", measurement.name].pages
    state = kept[3]
    changed = [kept[4] | {name: array for name, array in state.items() if name.startswith("stream/")}]
    for name in ("strict/nll", "strict/kl", "left_out"):
        path = f"visitor0/{name}"
        changed.append({other: array for other, array in state.items() if other != path})
        changed += [{**state, path: other} for other in (state[path][:-1], state[path].astype(np.float32), state[path][..., None])]
    changed.append({**state, "visitor0/more": np.zeros(3)})
    again = measurement.measure(work(dissect(subjects.model("llama")), measurement, Refusing((3, changed))))
    for path, array in again.items():
        np.testing.assert_array_equal(array, found[path], err_msg=path)


@whole_families
def test_layers_belong_to_attention_or_to_the_mlp_and_end_as_they_began(subjects, family):
    """All matrices but routers', experts too; after the block has run, and after it has failed, weights are as before, to the bit."""
    model = subjects.model(family)
    anatomy, before = dissect(model), {name: p.clone() for name, p in model.named_parameters()}
    stream = anatomy.enter(torch.from_numpy(IDS[EVALUATION]))[0]
    destroyed = Destroyer(anatomy, 4)(0, stream, IDS[EVALUATION])
    names = {part: sorted({destroyed.layers[i].name.split("[")[0] for i in mine}) for part, mine in destroyed.parts.items()}
    sides = {part: sorted(layers) for part, layers in LAYERS[family].items()}
    assert names == {"both": sorted([*sides["attention"], *sides["mlp"]]), **sides}
    assert [alike for _, alike in destroyed.apart()] == [["both"], ["attention"], ["mlp"]]
    for layer, matrix in zip(destroyed.layers, destroyed.matrices, strict=True):
        assert all(len(row.unique()) <= 4 for row in matrix)
        np.testing.assert_array_equal(matrix, four_values(layer.matrix().numpy()))
    destroyed.run("both", stream, IDS[EVALUATION])
    with pytest.raises(MeasurementError, match="block 0 on a changed stream yields NaN or infinity"):
        destroyed.run("mlp", stream * torch.inf, IDS[EVALUATION])
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__ for module in model.modules())


def test_a_block_without_attention_is_its_mlp(monkeypatch):
    """It is run once for both, and there is no figure of what it has not."""
    model = PlantedModel(PlantedConfig(vocab_size=WORDS, shares=[0.5] * 3)).eval().requires_grad_(False)
    ran = []
    run = destroying.to_the_end
    monkeypatch.setattr(destroying, "to_the_end", lambda *given: ran.append(given[2]) or run(*given))
    found = PROFILE[0].measure(work(dissect(model), PROFILE[0]))
    assert ran == [0, 0, 1, 1, 2, 2]  # on two rungs
    for rung in ("paper", "typical"):
        for kind in ("nll", "kl"):
            both, attention, mlp = found[f"{rung}/{kind}"]
            np.testing.assert_array_equal(both, mlp)
            assert np.isnan(attention).all()
            assert np.isfinite(both).all()


def test_a_block_of_attention_alone_has_no_mlp():
    """What is not found is no part."""
    model = made("llama")
    for block in model.model.layers:
        block.mlp = torch.nn.Identity()
    anatomy = dissect(model)
    stream = anatomy.enter(torch.from_numpy(IDS[EVALUATION]))[0]
    destroyed = Destroyer(anatomy, 4)(1, stream, IDS[EVALUATION])
    assert list(destroyed.apart()) == [("both", ["both", "attention"])]
    with pytest.raises(MeasurementError, match="block 6: no MLP found beside the attention"):
        LAST_MLP[0].measure(work(anatomy, LAST_MLP[0]))


@pytest.mark.parametrize("kind", ["twice", "einsum"])
def test_a_matrix_that_cannot_be_followed_is_an_error(kind):
    """Half a block destroyed is no destroyed block."""
    anatomy = with_mlp(kind)
    ids = np.arange(24).reshape(2, 12)
    stream = anatomy.enter(torch.from_numpy(ids))[0]
    with pytest.raises(MeasurementError, match=r"layers\.1\.mlp\.gate\.weight .*, so that block 1 cannot be destroyed as a whole"):
        Destroyer(anatomy, 4)(1, stream, ids)


def test_an_mlp_that_yields_more_than_its_output_is_skipped_too():
    """Of a tuple the first entry goes: the block ends where its attention left the stream."""
    model, anatomy = fresh("gpt_oss")
    found = LAST_MLP[0].measure(work(anatomy, LAST_MLP[0]))
    skipped = copy.deepcopy(model)
    skipped.model.layers[-1].mlp.register_forward_hook(lambda module, args, out: (torch.zeros_like(out[0]), out[1]))
    with torch.inference_mode():
        clean, other = (each(torch.from_numpy(IDS[EVALUATION])).logits[:, :-1].log_softmax(-1) for each in (model, skipped))
    np.testing.assert_allclose(found["paper/skipped_kl"], (clean.exp() * (clean - other)).sum(-1).mean(-1), **CLOSE)
    assert found["paper/skipped_kl"].min() > 1e-6


def test_an_mlp_of_several_parts_is_an_error():
    """Which of them writes what cannot be told; the message names them."""
    anatomy = fresh("gemma4")[1]
    with pytest.raises(MeasurementError, match=r"block \d: what its MLP \(mlp, .*\) writes is the output of no one module"):
        LAST_MLP[0].measure(work(anatomy, LAST_MLP[0]))


def test_models_of_any_depth_are_measured():
    """One block, which starts from the embeddings, or a few."""
    for blocks in (1, 2, 3):
        model = made("llama")
        del model.model.layers[blocks:]
        anatomy = dissect(model)
        late = LATE_BLOCKS[1].measure(work(anatomy, LATE_BLOCKS[1]))
        truth = Destroyed("llama", model, OWN[INTERVENTION])
        first = 2 * blocks // 3
        np.testing.assert_array_equal(late["strict/blocks"], range(first, blocks))
        np.testing.assert_allclose(late["strict/kl"][0], truth.kl_at(truth.logits_of({first: "both"}, False)), **CLOSE)
        profile = PROFILE[1].measure(work(anatomy, PROFILE[1], Pages()))
        np.testing.assert_allclose(profile["strict/kl"][0, -1], truth.kl(truth.logits_of({blocks - 1: "both"}, False)), **CLOSE)
        found = LAST_MLP[1].measure(work(anatomy, LAST_MLP[1]))
        np.testing.assert_allclose(found["strict/skipped_kl"], truth.kl(truth.without_mlp(np.zeros(D), False)), **CLOSE)


def test_the_oracle_stores_what_the_instrument_stores():
    """INT2 of float64 rows, of any sign and size."""
    rows = DRAW.standard_normal((50, 9)) * np.exp(DRAW.standard_normal((50, 1))) + DRAW.standard_normal((50, 1))
    np.testing.assert_array_equal(Uniform(4, "row").quantized(torch.from_numpy(rows)), four_values(rows))
