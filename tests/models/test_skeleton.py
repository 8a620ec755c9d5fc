"""A model whose weights stay in its files: the same as the loaded one, or left to transformers."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, MixtralConfig, Qwen3Config

from efface.errors import EffaceError
from efface.models.load import load_model
from efface.models.skeleton import load_skeleton

CPU = torch.device("cpu")
SMALL = {"vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
ROPE = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
CONFIGS = {
    "tied": LlamaConfig(**SMALL, tie_word_embeddings=True),
    "scaled positions": LlamaConfig(**SMALL, rope_parameters=ROPE | {"original_max_position_embeddings": 64}),
    "biases and transposed weights": GPT2Config(vocab_size=61, n_embd=32, n_layer=2, n_head=2),
    "norms of queries": Qwen3Config(**SMALL, head_dim=16),
}
EXPERTS = MixtralConfig(**SMALL, num_key_value_heads=2, num_local_experts=2)


@pytest.fixture
def stored(tmp_path):
    def make(config, **saving):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            AutoModelForCausalLM.from_config(deepcopy(config)).save_pretrained(tmp_path / "model", **saving)
        return tmp_path / "model"

    return make


def places(model):
    return {
        (prefix, name) for prefix, module in model.named_modules() for name, _ in module.named_parameters(recurse=False)
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_read_is_what_transformers_loads(stored, name, dtype):
    folder = stored(CONFIGS[name])
    skeleton, loaded = load_skeleton(folder, dtype=dtype), load_model(folder, dtype=dtype, device=CPU)
    assert places(skeleton.model) == places(loaded)
    assert not skeleton.model.training
    for prefix, attribute in places(loaded):
        module, expected = skeleton.model.get_submodule(prefix), getattr(loaded.get_submodule(prefix), attribute)
        parameter = getattr(module, attribute)
        assert parameter.is_meta
        assert (parameter.shape, parameter.dtype) == (expected.shape, expected.dtype)
        assert torch.equal(skeleton.read(module, attribute, 1, len(expected)).to(dtype), expected[1:])
    buffers = dict(loaded.named_buffers())
    assert dict(skeleton.model.named_buffers()).keys() == buffers.keys()
    for buffer, value in skeleton.model.named_buffers():
        assert torch.equal(value, buffers[buffer])
    assert skeleton.model.config.to_dict() == loaded.config.to_dict()
    assert skeleton.model.generation_config.to_dict() == loaded.generation_config.to_dict()


def test_files_with_an_index(stored):
    folder = stored(CONFIGS["tied"], max_shard_size="10KB")
    assert (folder / "model.safetensors.index.json").is_file()
    skeleton, loaded = load_skeleton(folder, dtype=torch.float32), load_model(folder, dtype=torch.float32, device=CPU)
    for name, parameter in loaded.named_parameters():
        assert torch.equal(skeleton.read_all(name), parameter)


def test_weights_that_transformers_converts_are_left_to_it(stored):
    """Experts are stored one by one, and are one parameter of the model."""
    assert load_skeleton(stored(EXPERTS), dtype=torch.float32) is None


def test_weights_under_other_names_are_left_to_transformers(source, tmp_path):
    """As base models store them: without the prefix `model`."""
    folder = shutil.copytree(source, tmp_path / "copy")
    tensors = load_file(folder / "model.safetensors")
    save_file({name.removeprefix("model."): tensor for name, tensor in tensors.items()}, folder / "model.safetensors")
    assert load_skeleton(folder, dtype=torch.float32) is None


def test_a_quantized_model_is_left_to_transformers(source, tmp_path):
    folder = shutil.copytree(source, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "gptq"}}))
    assert load_skeleton(folder, dtype=torch.float32) is None


def test_weights_of_another_shape_are_refused_as_by_loading(source, tmp_path):
    folder = shutil.copytree(source, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": config["intermediate_size"] * 2}))
    messages = []
    for load in (
        lambda: load_skeleton(folder, dtype=torch.float32),
        lambda: load_model(folder, dtype=torch.float32, device=CPU),
    ):
        with pytest.raises(EffaceError, match=r"mlp\..* with shape .* config\.json") as error:
            load()
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_a_file_that_is_gone_is_named(source, tmp_path):
    folder = shutil.copytree(source, tmp_path / "copy")
    skeleton = load_skeleton(folder, dtype=torch.float32)
    (folder / "model.safetensors").unlink()
    with pytest.raises(EffaceError, match=r"lm_head\.weight of .*model\.safetensors.*copy the model again"):
        skeleton.read_all("lm_head.weight")


def test_a_damaged_file_is_named(source, tmp_path):
    folder = shutil.copytree(source, tmp_path / "copy")
    (folder / "model.safetensors").write_bytes(b"not one")
    with pytest.raises(EffaceError, match=r"model\.safetensors does not load.*copy the model again"):
        load_skeleton(folder, dtype=torch.float32)
