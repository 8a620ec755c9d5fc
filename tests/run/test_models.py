"""Model folders: refused where they cannot be used, hashed by content, written whole and loaded by others."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, Qwen2MoeConfig, Qwen2MoeForCausalLM

from efface.errors import EffaceError
from efface.models.dtypes import evaluation_dtype_of, stored_dtype
from efface.models.folder import model_folder, model_sha256
from efface.models.load import load_model, load_tokenizer
from efface.models.lora import add_adapters
from efface.models.quantization import check_trainable_weights
from efface.models.save import save_model
from efface.packing.forward import position_limit
from efface.train.config import LoRAConfig, TrainConfig

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


def written(model, source, folder, name=None):
    """`model` saved in `folder` as one that was made from `source`."""
    save_model(model, load_tokenizer(source), folder, source=source, name=name or str(source))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("precision", "stored", "on_cpu", "on_cuda"),
    [
        ("auto", torch.bfloat16, torch.float32, torch.bfloat16),
        ("auto", torch.float16, torch.float32, torch.float16),
        ("auto", None, torch.float32, torch.float32),
        ("float32", torch.bfloat16, torch.float32, torch.float32),
        ("bf16", torch.float32, torch.bfloat16, torch.bfloat16),
    ],
)
def test_what_a_model_is_evaluated_in(precision, stored, on_cpu, on_cuda):
    settings = LlamaConfig(dtype=stored)
    assert evaluation_dtype_of(settings, CPU, precision) == on_cpu
    assert evaluation_dtype_of(settings, torch.device("cuda"), precision) == on_cuda


# Loading


def test_a_folder_is_used_where_it_lies(source):
    assert model_folder(str(source)) == source
    model = load(source)
    assert not model.training
    assert position_limit(model) == 512
    assert load_tokenizer(source)("a").input_ids


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "has no config.json; give a folder written by save_pretrained"),
        ("model.safetensors", "has no safetensors weights; convert it"),
    ],
)
def test_a_folder_that_is_no_model(copy, missing, message):
    (copy / missing).unlink()
    with pytest.raises(EffaceError, match=f"model {copy} {message}"):
        model_folder(str(copy))


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(EffaceError, match=r"model: there is no folder .*nowhere; give the folder of a model as model="):
        model_folder(str(tmp_path / "nowhere"))


def test_a_sharded_model_that_lacks_a_part(copy):
    (copy / "model.safetensors").rename(copy / "model-00001-of-00002.safetensors")
    parts = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    with pytest.raises(
        EffaceError, match=f"model {copy} lacks model-00002-of-00002.safetensors, which its index lists"
    ):
        model_folder(str(copy))


def test_a_model_of_the_hub(hub, source):
    files = {path.name: path.read_bytes() for path in source.iterdir()}
    hub.add("ada/tiny", files, private=True)
    with pytest.raises(EffaceError, match=r"model: the hub has no public model ada/tiny .* set HF_TOKEN or .* model="):
        model_folder("ada/tiny")
    hub.repos["ada/tiny"].private = False
    assert model_sha256(model_folder("ada/tiny@main")) == model_sha256(source)
    hub.add("ada/pickled", {"config.json": b"{}", "pytorch_model.bin": b""})
    with pytest.raises(EffaceError, match="model ada/pickled has no safetensors weights; convert it"):
        model_folder("ada/pickled")


def test_pickled_weights_are_not_loaded(copy):
    (copy / "model.safetensors").unlink()
    torch.save({}, copy / "pytorch_model.bin")
    with pytest.raises(EffaceError, match="pickled weights are not loaded"):
        model_folder(str(copy))
    (copy / "adapter.safetensors").write_bytes(b"")  # even where some safetensors file lies beside
    with pytest.raises(EffaceError, match="does not load as a causal language model"):
        load(copy)


def test_damaged_weights(copy):
    (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(EffaceError, match=f"model {copy} does not load as a causal language model: ") as raised:
        load(copy)
    assert "\n" not in str(raised.value)


def test_weights_that_are_not_there_are_not_made_up(copy):
    """transformers warns, and fills in random numbers."""
    weights = load_file(copy / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"], weights["model.norm.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    sentence = f"model {copy} lacks 2 of its weights, such as model.layers.1.mlp.up_proj.weight; copy it whole"
    with pytest.raises(EffaceError, match=sentence):
        load(copy)


def test_layers_that_the_config_does_not_have(copy):
    """transformers warns, and leaves them out."""
    rewrite(copy / "config.json", lambda config: config | {"num_hidden_layers": 1})
    with pytest.raises(EffaceError, match=f"model {copy} stores model.layers.1, a layer that its config.json does not"):
        load(copy)
    rewrite(copy / "config.json", lambda config: config | {"num_hidden_layers": 2})
    weights = load_file(copy / "model.safetensors") | {"model.vision.layers.7.weight": torch.zeros(1)}
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    load(copy)  # of another part of a larger model
    further = {f"model.layers.2.{name}": torch.zeros(1) for name in ("mlp.up_proj.weight", "eh_proj.weight")}
    save_file(load_file(copy / "model.safetensors") | further, copy / "model.safetensors", metadata={"format": "pt"})
    load(copy)  # a layer that predicts further tokens


def test_adapters_need_linear_layers():
    bare = AutoModelForCausalLM.from_config(
        LlamaConfig(vocab_size=60, hidden_size=16, num_hidden_layers=0, num_attention_heads=2)
    )
    with pytest.raises(EffaceError, match=r"LlamaForCausalLM has no linear layers for adapters; leave train\.lora out"):
        add_adapters(bare, LoRAConfig(), seed=0)


@pytest.mark.parametrize(
    ("method", "stored"),
    [("gptq", {"quant_method": "gptq", "bits": 4}), ("bitsandbytes", {"load_in_8bit": True})],  # named since 2023 only
)
def test_weights_stored_in_few_bits_are_not_trained(copy, method, stored):
    model = load(copy)
    check_trainable_weights(copy, model, TrainConfig())
    rewrite(copy / "config.json", lambda config: config | {"quantization_config": stored})
    with pytest.raises(EffaceError, match=rf"model {copy} is stored in few bits \({method}\), which training cannot"):
        check_trainable_weights(copy, model, TrainConfig())


def test_a_model_without_a_tokenizer(copy):
    (copy / "tokenizer.json").unlink()
    (copy / "tokenizer_config.json").unlink()
    with pytest.raises(EffaceError, match=f"model {copy} has no tokenizer that loads .*; save one there") as raised:
        load_tokenizer(copy)
    assert "\n" not in str(raised.value)


def test_a_model_too_large_for_the_gpu(source, monkeypatch):
    def fails(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(torch.nn.Module, "to", fails)
    with pytest.raises(EffaceError, match=r"the GPU's memory does not hold model .* in bfloat16; use device=cpu"):
        load(source, torch.bfloat16)


def test_code_that_comes_with_a_model_never_runs(copy, monkeypatch):
    """Without an explicit no, transformers asks in a terminal and runs it after a `y`."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    ran = copy / "ran"
    (copy / "own.py").write_text(f"from pathlib import Path\nPath({str(ran)!r}).write_text('ran')\n")
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}}
    rewrite(copy / "config.json", lambda config: config | own)
    with pytest.raises(EffaceError, match=f"model {copy} has a config.json that does not load: "):
        load_model(copy, dtype=torch.float32, device=torch.device("cpu"))
    assert not ran.exists()


# Hashing


def test_the_hash_is_of_the_content(source, copy):
    assert model_sha256(copy) == model_sha256(source)
    (copy / "README.md").write_text("a card changes nothing")
    assert model_sha256(copy) == model_sha256(source)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_whatever_changes_the_model_changes_its_hash(source, copy, file):
    content = bytearray((copy / file).read_bytes())
    content[-1] ^= 1
    (copy / file).write_bytes(content)
    assert model_sha256(copy) != model_sha256(source)


def test_a_renamed_file_changes_the_hash(source, copy):
    (copy / "model.safetensors").rename(copy / "other.safetensors")
    assert model_sha256(copy) != model_sha256(source)


# Adapters


def test_adapters_are_on_all_linear_layers_but_the_head_and_add_nothing_at_first(source):
    plain = load(source)
    expected = logits(plain)
    model = add_adapters(plain, LoRAConfig(r=3), seed=0)
    assert torch.equal(logits(model), expected)
    trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    layers = {name.split(".lora_")[0].rsplit(".", 1)[1] for name in trainable}
    assert layers == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    settings = model.peft_config["default"]
    assert (settings.r, settings.lora_alpha, settings.lora_dropout) == (3, 32, 0.05)


def test_in_a_mixture_of_experts_adapters_are_on_attention_alone(tmp_path):
    """PEFT takes the name of a dense layer for the experts of all layers, which it refuses to adapt with dropout."""
    sizes = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8, "mlp_only_layers": [1]}
    model = Qwen2MoeForCausalLM(Qwen2MoeConfig(**sizes, **experts, intermediate_size=8))
    adapted = add_adapters(model, LoRAConfig(), seed=0)
    trainable = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    assert {name.split(".lora_")[0].rsplit(".", 2)[1] for name in trainable} == {"self_attn"}


def test_the_seed_decides_the_adapters_and_nothing_else(source):
    def first(seed):
        parameters = add_adapters(load(source), LoRAConfig(), seed=seed).named_parameters()
        return next(parameter for name, parameter in parameters if "lora_A" in name)

    torch.manual_seed(9)
    expected = torch.rand(2)
    torch.manual_seed(9)
    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))
    assert torch.equal(torch.rand(2), expected)


# Saving


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
def test_saved_in_its_own_dtype_for_plain_transformers(changed, model_in, tmp_path, dtype, key):
    source = model_in(dtype)
    rewrite(source / "config.json", lambda config: config | {key: config.pop("dtype")})  # as it was called once
    expected = {name: parameter.to(dtype) for name, parameter in changed.named_parameters()}
    written(changed, source, tmp_path / "model")
    assert stored_dtype(tmp_path / "model") == dtype
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert loaded.dtype == dtype
    assert all(torch.equal(parameter, expected[name]) for name, parameter in loaded.named_parameters())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    loaded.generate(**tokenizer("Who?", return_tensors="pt"), max_new_tokens=3, do_sample=False)


def test_an_ordinary_folder_without_pickles(changed, source, tmp_path):
    written(changed, source, tmp_path / "model")
    assert names(tmp_path) == ["model"]
    assert set(names(tmp_path / "model")) >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert {path.suffix for path in (tmp_path / "model").iterdir()} <= {".json", ".safetensors", ".jinja"}


@pytest.fixture
def adapted(source):
    """A model whose adapter is no longer nothing."""
    model = add_adapters(load(source), LoRAConfig(r=2, dropout=0.5), seed=0)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def test_an_adapter_is_merged_and_written_beside(adapted, source, tmp_path):
    from peft import PeftModel

    expected = logits(adapted).clone()
    assert not torch.allclose(expected, logits(load(source)), atol=1e-2)
    written(adapted, source, tmp_path / "model")
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
    written(adapted, source, tmp_path / "model", name)
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (settings["base_model_name_or_path"], settings["revision"]) == (base, revision)
    card = (tmp_path / "adapter" / "README.md").read_text()
    assert ("base_model: owner/name\n" in card) == name.startswith("owner")
    assert f"LoRA adapter of `{shown}`." in card
    texts = [path.read_text() for path in tmp_path.glob("*/*") if path.suffix != ".safetensors"]
    assert not any(str(source) in text for text in texts)


# Published models ask for sampling without switching it on: transformers warns when it loads, may refuse to save.
ODD_GENERATION = {"do_sample": False, "temperature": 0.6, "top_p": 0.95, "eos_token_id": [1, 7]}


def test_generation_settings_are_kept_as_they_came(copy, tmp_path):
    (copy / "generation_config.json").write_text(json.dumps(ODD_GENERATION))
    model = load(copy)
    model.generation_config.max_new_tokens = 5  # changed since it was loaded: transformers looks twice
    written(model, copy, tmp_path / "model")
    assert json.loads((tmp_path / "model" / "generation_config.json").read_text()) == ODD_GENERATION
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert loaded.generation_config.eos_token_id == [1, 7]
    loaded.generate(IDS, max_new_tokens=2)


def test_a_model_without_generation_settings(copy, tmp_path):
    """Those of old models lie in config.json."""
    (copy / "generation_config.json").unlink()
    rewrite(copy / "config.json", lambda config: config | {"temperature": 0.6, "repetition_penalty": 1.5})
    written(load(copy), copy, tmp_path / "model")
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
    written(model, source, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    assert torch.equal(logits(loaded), expected)


@pytest.mark.parametrize("size", [100, 100_000], ids=["nothing fits", "the adapter fits"])
def test_a_full_disk_leaves_no_model(adapted, source, tmp_path, files_of_at_most, size):
    with files_of_at_most(size), pytest.raises(EffaceError, match=r"cannot write .* GiB free\): .*; free some space"):
        written(adapted, source, tmp_path / "model")
    assert names(tmp_path) == (["adapter"] if size == 100_000 else [])


def test_an_adapter_that_a_kill_left_alone_is_written_again(adapted, source, tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(b"of a run that was killed before its model")
    (tmp_path / ".model.partial").mkdir()
    written(adapted, source, tmp_path / "model")
    assert names(tmp_path) == ["adapter", "model"]
    assert model_sha256(tmp_path / "adapter")
    assert (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size > 1000
