"""Load models and tokenizers: what is refused, and untrained weights."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from efface.errors import EffaceError
from efface.models.load import load_model, random_model
from efface.models.tokenizer import load_tokenizer
from efface.packing.forward import position_limit

CPU = torch.device("cpu")


@pytest.fixture
def copy(source, tmp_path):
    return shutil.copytree(source, tmp_path / "copy")


def load(folder, dtype=torch.float32):
    return load_model(folder, dtype=dtype, device=CPU)


def rewrite(path, change):
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def test_model_and_tokenizer(source):
    model = load(source)
    assert not model.training
    assert position_limit(model) == 512
    assert load_tokenizer(source)("a").input_ids


def drop_weights(folder):
    """transformers warns, and fills in random numbers."""
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"], weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def drop_a_layer_from_the_config(folder):
    """transformers warns, and leaves the stored layer out."""
    rewrite(folder / "config.json", lambda config: config | {"num_hidden_layers": 1})


def truncate_weights(folder):
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])


def pickle_weights(folder):
    """Even where there is another safetensors file."""
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "adapter.safetensors").write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (drop_weights, ["2 of its weights are missing", "model.layers.1.mlp.up_proj.weight", "copy"]),
        (
            drop_a_layer_from_the_config,
            ["model.layers.1, a layer that its config.json does not have", "give the config"],
        ),
        (
            truncate_weights,
            ["does not load as a causal language model: model.safetensors is damaged", "copy or download"],
        ),
        (pickle_weights, ["does not load as a causal language model", "save_pretrained"]),
    ],
)
def test_refused_weights(copy, damage, named):
    damage(copy)
    with pytest.raises(EffaceError, match=re.escape(f"model {copy}")) as refused:
        load(copy)
    assert all(part in str(refused.value) for part in named)
    assert "\n" not in str(refused.value)


def test_stored_layers_of_another_kind_are_allowed(copy):
    weights = load_file(copy / "model.safetensors") | {"model.vision.layers.7.weight": torch.zeros(1)}
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    load(copy)  # of another part of a larger model
    further = {f"model.layers.2.{name}": torch.zeros(1) for name in ("mlp.up_proj.weight", "eh_proj.weight")}
    save_file(load_file(copy / "model.safetensors") | further, copy / "model.safetensors", metadata={"format": "pt"})
    load(copy)  # a layer that predicts further tokens


def test_a_model_too_large_for_the_gpu(source, monkeypatch):
    def fails(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(torch.nn.Module, "to", fails)
    with pytest.raises(EffaceError, match=r"model .* in bfloat16 does not fit into the GPU's memory; use device=cpu"):
        load(source, torch.bfloat16)


def test_code_that_comes_with_a_model_never_runs(copy, monkeypatch):
    """Without an explicit no, transformers asks in a terminal and runs it after a `y`."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    ran = copy / "ran"
    (copy / "its_code.py").write_text(f"from pathlib import Path\nPath({str(ran)!r}).write_text('ran')\n")
    changes = {"model_type": "its_code", "auto_map": {"AutoConfig": "its_code.C", "AutoModelForCausalLM": "its_code.M"}}
    rewrite(copy / "config.json", lambda config: config | changes)
    with pytest.raises(EffaceError, match=f"config.json of model {copy} does not load"):
        load_model(copy, dtype=torch.float32, device=torch.device("cpu"))
    assert not ran.exists()


# Untrained weights


def weights(model):
    return {name: each.detach() for name, each in model.named_parameters()}


def random(folder, seed, dtype=torch.float32):
    return random_model(folder, dtype=dtype, device=CPU, seed=seed)


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_seed_gives_the_same_untrained_weights(source):
    stored = weights(load_model(source, dtype=torch.float32, device=CPU))
    state = torch.get_rng_state()
    first, again, other = (weights(random(source, seed)) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert {name: each.shape for name, each in first.items()} == {name: each.shape for name, each in stored.items()}
    assert same(first, again)
    matrices = [name for name, each in first.items() if each.ndim > 1]
    assert matrices
    for name in matrices:
        assert not torch.equal(first[name], stored[name])
        assert not torch.equal(first[name], other[name])


def test_untrained_weights_are_drawn_in_float32(source):
    model = random(source, 0, torch.bfloat16)
    assert not model.training
    assert {each.dtype for each in model.parameters()} == {torch.bfloat16}
    expected = {name: each.bfloat16() for name, each in weights(random(source, 0)).items()}
    assert same(weights(model), expected)  # drawn in float32, whatever the dtype


def test_a_model_that_cannot_be_initialized(source, monkeypatch):
    from transformers import AutoModelForCausalLM

    def refusing(*_, **__):
        raise ValueError("no such activation\nat all")

    monkeypatch.setattr(AutoModelForCausalLM, "from_config", refusing)
    with pytest.raises(EffaceError, match=r"weights=random: .* no such activation$"):
        random(source, 0)
