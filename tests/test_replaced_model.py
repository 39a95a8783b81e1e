"""A model is loaded with maps in the place of blocks, computes what the interventions compute, and is saved and loaded bit for bit."""

from __future__ import annotations

import contextlib
import gc
import weakref

import pytest
import torch
import transformers
from torch import nn

from fixtures.described import model_at
from harness import map_file
from harness.admission import dissect
from harness.errors import MapsError, SubjectError
from harness.interventions import intervened
from harness.linear_block import LinearBlock, put_in_place, replaced_by
from harness.maps import of_parts
from harness.replaced import Replaced
from harness.replaced_model import load_replaced, load_saved, save_replaced, tensors_of
from harness.subject import Placement
from tests import planted_maps
from tests.families import FAMILIES
from tests.planted_maps import BLOCKS, D
from tests.test_anatomy import build
from tests.test_models import load

IDS = torch.randint(3, 97, (2, 12), generator=torch.Generator().manual_seed(4))
EVERYWHERE = list(range(BLOCKS))
ON_DISK = [family for family in FAMILIES if family != "qwen2"]  # transformers gives it no other tokenizer than its own.
TAIL = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0, "attention_mask": torch.ones_like(IDS)}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def float64_maps(found, blocks):
    """Maps of a file as the interventions take them."""
    return {b: of_parts({name: part.double() for name, part in tensors_of(found, b).items()}) for b in blocks}


def logits(model, ids=IDS, **options):
    """Run a model."""
    with torch.inference_mode():
        return model(ids, **options).logits


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory):
    """Models of a family with a file of maps each, written once."""
    folder, made = tmp_path_factory.mktemp("families"), {}

    def get(family, affine=True, dtype=torch.float32):
        key = f"{family}-{affine}-{dtype}"
        if key not in made:
            path = planted_maps.save(folder / key, family, dtype)
            made[key] = path, planted_maps.write(folder / f"{key}.safetensors", path, affine)
        return made[key]

    return get


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("family", ON_DISK)
def test_the_loaded_model_computes_what_the_intervention_does(on_disk, family, affine):
    """Bit for bit, the first block and the last replaced, in every family; tuples where blocks return tuples."""
    path, file = on_disk(family, affine)
    subject, blocks = load(model_at(str(path))), [0, BLOCKS - 1]
    whole = logits(subject.anatomy.model, use_cache=False)
    maps = [Replaced(b, None, (each,)) for b, each in float64_maps(map_file.read(file), blocks).items()]
    with intervened(subject.anatomy, maps, range(len(IDS))):
        expected = logits(subject.anatomy.model, use_cache=False)
    model, tokenizer = load_replaced(file, blocks)
    assert torch.equal(logits(model, use_cache=False), expected)
    assert not torch.equal(expected, whole)
    assert tokenizer("w3").input_ids == [3]


@pytest.mark.parametrize("blocks", [[0], [1, 2], EVERYWHERE])
@pytest.mark.parametrize("family", ["gpt2", "opt", "llama", "mistral", "gemma3", "falcon", "bloom", "phi3"])
def test_a_cache_changes_nothing(on_disk, family, blocks):
    """Same tokens with a cache, of growing and of fixed size, and with beams; same logits token by token, past a sliding window of 8."""
    model, _ = load_replaced(on_disk(family)[1], blocks)
    without = model.generate(IDS, use_cache=False, **TAIL)
    assert without.shape == (2, 24)
    assert torch.equal(model.generate(IDS, use_cache=True, **TAIL), without)
    assert torch.equal(model.generate(IDS, cache_implementation="static", **TAIL), without)
    assert torch.equal(model.generate(IDS, num_beams=3, **TAIL), model.generate(IDS, num_beams=3, use_cache=False, **TAIL))
    with torch.inference_mode():
        out, found = model(without[:, :12], use_cache=True), []
        for i in range(12, 24):
            found.append(out.logits[:, -1])
            out = model(without[:, i : i + 1], past_key_values=out.past_key_values, use_cache=True)
    torch.testing.assert_close(torch.stack(found, 1), logits(model, without, use_cache=False)[:, 11:-1], rtol=1e-4, atol=1e-5)
    assert out.past_key_values.get_seq_length() == 24


def test_a_cache_of_states_is_refused_where_its_block_is_replaced():
    """A convolution's state cannot be counted: with a cache one clear error, without one it generates."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 97, "hidden_size": D, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = transformers.Lfm2Config(**sizes, num_hidden_layers=3, layer_types=["conv", "full_attention", "conv"])
    anatomy = dissect(transformers.AutoModelForCausalLM.from_config(config).eval().requires_grad_(False))
    put_in_place(anatomy, {0: {name: torch.from_numpy(part) for name, part in planted_maps.drawn(True)[0].items()}})
    assert anatomy.model.generate(IDS, use_cache=False, **TAIL).shape == (2, 24)
    with pytest.raises(SubjectError, match=r"use_cache=False"):
        anatomy.model.generate(IDS, **TAIL)


def test_the_old_weights_are_gone(on_disk):
    """Nothing holds a replaced block; the model has as many parameters fewer as the block had over its map."""
    path, file = on_disk("llama")
    anatomy = load(model_at(str(path))).anatomy
    size, block = sum(p.numel() for p in anatomy.model.parameters()), sum(p.numel() for p in anatomy.blocks[1].parameters())
    gone = weakref.ref(anatomy.blocks[1])
    put_in_place(anatomy, {1: tensors_of(map_file.read(file), 1)})
    gc.collect()
    assert gone() is None
    assert sum(p.numel() for p in anatomy.model.parameters()) == size - block + D * D + 2 * D


def test_blocks_are_put_back_after_a_look(on_disk):
    """Also after an error inside, and after a map of another width, of which nothing is left in place."""
    path, file = on_disk("llama")
    anatomy = load(model_at(str(path))).anatomy
    before, found = logits(anatomy.model), map_file.read(file)
    with contextlib.suppress(ZeroDivisionError), replaced_by(anatomy, {1: tensors_of(found, 1)}):
        assert not torch.equal(logits(anatomy.model), before)
        raise ZeroDivisionError
    assert torch.equal(logits(anatomy.model), before)
    narrow = {name: part[:8] for name, part in tensors_of(found, 0).items()}
    with pytest.raises(SubjectError, match="a map of width 8, the model has 32"):
        put_in_place(anatomy, {0: tensors_of(found, 0), 1: narrow})
    assert torch.equal(logits(anatomy.model), before)
    assert not any(isinstance(module, LinearBlock) for module in anatomy.model.modules())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_massive_activation_costs_its_neighbours_no_digits(dtype):
    """10⁴ beside ones, cancelled by the mean: one rounding to the stream's type and no other, under autocast too."""
    draw = torch.Generator().manual_seed(0)
    parts = {name: torch.randn(shape, generator=draw) for name, shape in {"weight": (D, D), "mean_x": (D,), "mean_y": (D,)}.items()}
    h = torch.randn((2, 5, D), generator=draw)
    h[..., 0] += 1e4
    parts["mean_x"][0] += 1e4
    h = h.to(dtype)
    block = LinearBlock(parts, 0, yields_tuple=True, plain={"attention_type": "full_attention"})
    exact = h.double() + parts["mean_y"].double() + (h.double() - parts["mean_x"].double()) @ parts["weight"].double()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (found,) = block(hidden_states=h, attention_mask=None)
    assert found.dtype == dtype
    assert torch.equal(found, exact.to(dtype))
    assert block.attention_type == "full_attention"
    assert {p.dtype for p in block.parameters()} == {torch.float32}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ON_DISK)
def test_saved_and_loaded_again_bit_for_bit(on_disk, tmp_path, family, dtype):
    """Without the checkpoint: logits, generated tokens, settings, tokenizer; tied weights stay one."""
    model, tokenizer = load_replaced(on_disk(family, dtype=dtype)[1], [0, 2], placement=Placement(dtype=str(dtype).split(".")[1]))
    model.generation_config.max_new_tokens = 5
    save_replaced(model, tmp_path / "saved", tokenizer)
    assert len({file.stat().st_mode for file in (tmp_path / "saved").iterdir()}) == 1
    again, words = load_saved(tmp_path / "saved")
    assert torch.equal(logits(again, use_cache=False), logits(model, use_cache=False))
    assert torch.equal(again.generate(IDS, **TAIL), model.generate(IDS, **TAIL))
    assert again.generation_config.max_new_tokens == 5
    assert words("w3 w4").input_ids == [3, 4]
    assert again.dtype == dtype
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert (again.get_output_embeddings().weight is again.get_input_embeddings().weight) is tied
    assert tied is (family in ("gpt2", "opt", "gemma2", "gemma3", "falcon", "bloom", "cohere"))
    assert not again.training
    with pytest.raises(OSError, match="no file named"):  # Of the missing blocks it would make random ones.
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "saved")


def test_a_gguf_is_loaded_saved_and_loaded_again(tmp_path):
    """De-quantised on loading, it no longer calls itself quantised, and is saved by us and by its own method."""
    path = planted_maps.save_gguf(tmp_path / "tiny.gguf")
    file = planted_maps.write(tmp_path / "m.safetensors", path)
    plain = load(model_at(str(path))).anatomy.model
    with pytest.raises(ValueError, match="quantized with gguf"):
        plain.save_pretrained(tmp_path / "refused")
    model, tokenizer = load_replaced(file, [1])
    save_replaced(model, tmp_path / "saved", tokenizer)
    path.unlink()
    again, words = load_saved(tmp_path / "saved")
    ids = torch.tensor([words("the other thing").input_ids])
    assert ids.tolist() == [tokenizer("the other thing").input_ids]
    assert torch.equal(logits(again, ids), logits(model, ids))
    assert again.lm_head.weight is again.model.embed_tokens.weight
    assert not hasattr(again.config, "quantization_config")
    model.save_pretrained(tmp_path / "own")
    save_replaced(plain_with_block(plain), tmp_path / "from-plain")  # Cleared on saving as well.


def plain_with_block(model):
    """Put a map in a model's second block by hand."""
    put_in_place(dissect(model), {1: {name: torch.from_numpy(part) for name, part in planted_maps.drawn(False)[0].items()}})
    return model


def test_what_could_not_be_loaded_again_is_not_saved(tmp_path):
    """No linear block, parameters that the configuration does not make, a folder that holds something: nothing is written."""
    model = build("llama")
    with pytest.raises(MapsError, match="no linear block"):
        save_replaced(model, tmp_path / "x")
    model.model.norm.extra = nn.Parameter(torch.zeros(3))
    with pytest.raises(MapsError, match=r"model\.norm\.extra is not what the model's configuration makes"):
        save_replaced(plain_with_block(model), tmp_path / "x")
    del model.model.norm.extra
    model.hf_quantizer = model.quantization_method = "packed"
    with pytest.raises(MapsError, match=r"quantised \(packed\)"):
        save_replaced(model, tmp_path / "x")
    model.hf_quantizer = None
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for place, message in ((tmp_path / "full", "something already"), ("/dev/null/x", "cannot be written"), ("x" * 300, "too long")):
        with pytest.raises(MapsError, match=message):
            save_replaced(model, place)
    assert sorted(part.name for part in tmp_path.iterdir()) == ["full"]


def test_damaged_saved_models_are_refused(tmp_path):
    """Nothing there, cut short, another version, a weight missing or of another shape."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    save_replaced(plain_with_block(build("llama")), tmp_path / "good")
    file = tmp_path / "good" / "replaced.safetensors"
    data, tensors = file.read_bytes(), load_file(file)
    with safe_open(file, "pt") as opened:
        header = opened.metadata()
    with pytest.raises(MapsError, match=r"no replaced\.safetensors there"):
        load_saved(tmp_path)
    cases = [
        (tensors, {**header, "version": "2"}, "version 2; this program reads version 1"),
        ({k: v for k, v in tensors.items() if k != "model.norm.weight"}, header, "model.norm.weight is not what"),
        ({**tensors, "model.norm.weight": torch.ones(3)}, header, "model.norm.weight is not of the shape"),
        (tensors, {**header, "linear": '{"model.nothing.1": true}'}, "cannot be loaded"),
        (tensors, {**header, "linear": "[]"}, "not what save_replaced"),
    ]
    for changed, stated, message in cases:
        save_file(changed, file, metadata=stated)
        with pytest.raises(MapsError, match=message):
            load_saved(tmp_path / "good")
    file.write_bytes(data[:-10])
    with pytest.raises(MapsError, match="cannot be loaded"):
        load_saved(tmp_path / "good")
    file.write_bytes(data)
    assert load_saved(tmp_path / "good")[1] is None
