"""Save a model tensor by tensor: the same folder as `save_model` writes."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from efface.models import save_sharded as module
from efface.models.load import load_model
from efface.models.lora import add_adapters
from efface.models.save import save_model
from efface.models.save_sharded import save_trained, write_trained
from efface.models.skeleton import load_skeleton
from efface.models.tokenizer import load_tokenizer
from efface.train.config import LoRAConfig
from efface.train.distribution.parallel import ParallelModel
from efface.train.distribution.sharded_model import meta_copy

CPU = torch.device("cpu")
LORA = LoRAConfig(r=2, dropout=0.5)


def trained(source, dtype, lora):
    """The model as training leaves it, in `dtype`."""
    model = load_model(source, dtype=dtype, device=CPU)
    model = model if lora is None else add_adapters(model, lora, seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def write_by_tensor(model, source, folder, dtype, lora):
    skeleton = load_skeleton(source, dtype=dtype)
    if lora is not None:
        add_adapters(skeleton.model, lora, seed=0)
    tensors = ((name, each) for name, each in model.named_parameters() if each.requires_grad)
    tokenizer = load_tokenizer(source)
    write_trained(tensors, meta_copy(model), skeleton, tokenizer, folder, source=source, name="owner/name")


def contents(folder):
    """Tensors by file and name, JSON files parsed, the rest as bytes."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        if path.suffix == ".safetensors":
            found |= {f"{name} {key}": tensor for key, tensor in load_file(path).items()}
        else:
            found[name] = json.loads(path.read_text()) if path.suffix == ".json" else path.read_bytes()
    return found


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert found[name].dtype == value.dtype
            assert torch.equal(found[name], value), name
        else:
            assert found[name] == value, name


@pytest.mark.parametrize("lora", [None, LORA], ids=["all weights", "adapters"])
@pytest.mark.parametrize(
    ("stored", "dtype"),
    [(torch.float32, torch.float32), (torch.bfloat16, torch.float32), (torch.float32, torch.bfloat16)],
)
def test_the_folder_that_is_written_at_once(model_in, tmp_path, stored, dtype, lora):
    source = model_in(stored)
    model = trained(source, dtype, lora)
    write_by_tensor(model, source, tmp_path / "parts" / "model", dtype, lora)
    save_model(model, load_tokenizer(source), tmp_path / "whole" / "model", source=source, name="owner/name")
    assert_equal(contents(tmp_path / "parts"), contents(tmp_path / "whole"))


def test_large_models_are_written_to_several_files_with_an_index(source, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_FILE_BYTES", 20_000)
    model = trained(source, torch.float32, None)
    write_by_tensor(model, source, tmp_path / "model", torch.float32, None)
    files = sorted(path.name for path in (tmp_path / "model").glob("*.safetensors"))
    assert len(files) > 2
    assert files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    loaded = load_model(tmp_path / "model", dtype=torch.float32, device=CPU)
    for name, parameter in loaded.named_parameters():
        assert torch.equal(parameter, model.get_parameter(name))


def test_one_process_saves_the_model_that_it_has(source, tmp_path):
    model = trained(source, torch.float32, None)
    expected = {name: each.detach().clone() for name, each in model.named_parameters()}
    save_trained(ParallelModel(model), None, load_tokenizer(source), tmp_path / "model", source=source, name="m")
    assert all(
        torch.equal(each, expected[name]) for name, each in load_file(tmp_path / "model" / "model.safetensors").items()
    )
