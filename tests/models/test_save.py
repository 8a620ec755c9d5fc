"""Save models: an ordinary folder in the stored dtype, with adapters merged and next to it."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

from efface.errors import EffaceError
from efface.models.dtypes import stored_dtype
from efface.models.folder import model_sha256
from efface.models.load import load_model
from efface.models.lora import add_adapters
from efface.models.save import save_model
from efface.models.tokenizer import load_tokenizer
from efface.train.config import LoRAConfig

CPU = torch.device("cpu")
IDS = torch.tensor([[5, 6, 7, 8]])


@pytest.fixture
def copy(source, tmp_path):
    return shutil.copytree(source, tmp_path / "copy")


def load(folder, dtype=torch.float32):
    return load_model(folder, dtype=dtype, device=CPU)


def rewrite(path, change):
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


@torch.no_grad()
def logits(model):
    return model.eval()(IDS).logits


def save(model, source, folder, name=None):
    """Save `model` in `folder` as one that was made from `source`."""
    save_model(model, load_tokenizer(source), folder, source=source, name=name or str(source))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def changed(source):
    """The model as training leaves it: in float32, with other weights than it came with."""
    model = load(source)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
def test_saved_in_the_stored_dtype_for_plain_transformers(changed, model_in, tmp_path, dtype, key):
    source = model_in(dtype)
    rewrite(source / "config.json", lambda config: config | {key: config.pop("dtype")})  # the name in older models
    expected = {name: parameter.to(dtype) for name, parameter in changed.named_parameters()}
    save(changed, source, tmp_path / "model")
    assert stored_dtype(tmp_path / "model") == dtype
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert loaded.dtype == dtype
    assert all(torch.equal(parameter, expected[name]) for name, parameter in loaded.named_parameters())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    loaded.generate(**tokenizer("Who?", return_tensors="pt"), max_new_tokens=3, do_sample=False)


def test_an_ordinary_folder_without_pickles(changed, source, tmp_path):
    save(changed, source, tmp_path / "model")
    assert names(tmp_path) == ["model"]
    assert set(names(tmp_path / "model")) >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert {path.suffix for path in (tmp_path / "model").iterdir()} <= {".json", ".safetensors", ".jinja"}


@pytest.fixture
def adapted(source):
    """A model whose adapter changes its output."""
    model = add_adapters(load(source), LoRAConfig(r=2, dropout=0.5), seed=0)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def test_an_adapter_is_merged_and_saved_next_to_the_model(adapted, source, tmp_path):
    from peft import PeftModel

    expected = logits(adapted).clone()
    assert not torch.allclose(expected, logits(load(source)), atol=1e-2)
    save(adapted, source, tmp_path / "model")
    assert names(tmp_path) == ["adapter", "model"]
    assert "More Information Needed" not in (tmp_path / "adapter" / "README.md").read_text()
    torch.testing.assert_close(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "model")), expected)
    on_base = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(source), tmp_path / "adapter")
    torch.testing.assert_close(logits(on_base), expected)
    assert {path.suffix for path in tmp_path.rglob("*.*")} <= {".json", ".safetensors", ".md", ".jinja"}


@pytest.mark.parametrize(
    ("name", "base", "revision", "shown"),
    [
        ("owner/name", "owner/name", None, "owner/name"),
        ("owner/name@v1", "owner/name", "v1", "owner/name@v1"),
        ("./folder@v1", "./folder@v1", None, "folder@v1"),
        ("/home/me/folder", "/home/me/folder", None, "folder"),
    ],
)
def test_saved_folders_name_the_base_as_the_user_does(adapted, source, tmp_path, name, base, revision, shown):
    """A path in this machine's cache would mean nothing elsewhere."""
    save(adapted, source, tmp_path / "model", name)
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (settings["base_model_name_or_path"], settings["revision"]) == (base, revision)
    card = (tmp_path / "adapter" / "README.md").read_text()
    assert ("base_model: owner/name\n" in card) == name.startswith("owner")
    assert f"LoRA adapter of `{shown}`." in card
    texts = [path.read_text() for path in tmp_path.glob("*/*") if path.suffix != ".safetensors"]
    assert not any(str(source) in text for text in texts)


# Published models set sampling parameters without sampling: transformers warns when it loads, and may refuse to save.
ODD_GENERATION = {"do_sample": False, "temperature": 0.6, "top_p": 0.95, "eos_token_id": [1, 7]}


def test_generation_settings_are_kept(copy, tmp_path):
    (copy / "generation_config.json").write_text(json.dumps(ODD_GENERATION))
    model = load(copy)
    model.generation_config.max_new_tokens = 5  # changed since it was loaded: transformers looks twice
    save(model, copy, tmp_path / "model")
    assert json.loads((tmp_path / "model" / "generation_config.json").read_text()) == ODD_GENERATION
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert loaded.generation_config.eos_token_id == [1, 7]
    loaded.generate(IDS, max_new_tokens=2)


def test_a_model_without_generation_settings(copy, tmp_path):
    """Older models have them in config.json."""
    (copy / "generation_config.json").unlink()
    rewrite(copy / "config.json", lambda config: config | {"temperature": 0.6, "repetition_penalty": 1.5})
    save(load(copy), copy, tmp_path / "model")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert loaded.generation_config.repetition_penalty == 1.5
    loaded.generate(IDS, max_new_tokens=2)


def test_the_base_of_an_adapter_is_not_changed(adapted, source):
    base = {name.replace(".base_layer", ""): p for name, p in adapted.get_base_model().named_parameters()}
    for name, parameter in load(source).named_parameters():
        assert torch.equal(base[name], parameter)


def test_tied_weights_stay_tied(source, tmp_path):
    from transformers import LlamaForCausalLM

    shape = load(source).config.to_dict() | {"tie_word_embeddings": True}
    model = LlamaForCausalLM(LlamaConfig(**shape))
    expected = logits(model)
    save(model, source, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    assert torch.equal(logits(loaded), expected)


@pytest.mark.parametrize("size", [100, 100_000], ids=["nothing fits", "the adapter fits"])
def test_a_full_disk_leaves_no_model(adapted, source, tmp_path, files_of_at_most, size):
    with files_of_at_most(size), pytest.raises(EffaceError, match=r"cannot write .* GiB free\): .*; free some space"):
        save(adapted, source, tmp_path / "model")
    assert names(tmp_path) == (["adapter"] if size == 100_000 else [])


def test_an_adapter_that_a_kill_left_alone_is_written_again(adapted, source, tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(b"of a run that was killed before its model")
    (tmp_path / ".model.partial").mkdir()
    save(adapted, source, tmp_path / "model")
    assert names(tmp_path) == ["adapter", "model"]
    assert model_sha256(tmp_path / "adapter")
    assert (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size > 1000
