"""Quantized base models: which weights are quantized, what is computed with them, and what is refused."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM, MixtralConfig

from efface.errors import EffaceError
from efface.models.load import load_model
from efface.models.lora import add_adapters
from efface.models.quantization import (
    check_quantization,
    check_trainable_weights,
    dequantization_config,
    is_quantized,
    is_unquantized_base,
    stored_quantization,
)
from efface.packing.logprobs import answer_logprobs
from efface.packing.support import check_packing
from efface.text.sequence import TokenizedSequence
from efface.train.batches import token_budget
from efface.train.config import LoRAConfig, TrainConfig
from support.quantized import SIZES, STORED, quantized, stored_quantized, wide_llama

bitsandbytes = pytest.importorskip("bitsandbytes")

CPU = torch.device("cpu")
IDS = torch.tensor([[5, 60, 7, 8, 90, 11, 12, 13]])
LINEAR = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.fixture(scope="module")
def wide(source, tmp_path_factory):
    """A tiny Llama in bf16 whose sizes are multiples of the blocks that are quantized together."""
    return wide_llama(source, tmp_path_factory.mktemp("wide"))


@torch.no_grad()
def logits(model):
    return model.eval()(IDS).logits.clone()


@pytest.mark.parametrize(("bits", "kind", "size"), [(4, "Params4bit", 0.5), (8, "Int8Params", 1)])
def test_linear_layers_but_the_head_are_quantized(wide, bits, kind, size):
    model, full = quantized(wide, bits), load_model(wide, dtype=torch.float32, device=CPU)
    assert is_quantized(model)
    assert not is_quantized(full)
    weights = dict(full.named_parameters())
    for name, parameter in model.named_parameters():
        if name.split(".")[-2] in LINEAR:
            assert type(parameter).__name__ == kind
            assert parameter.nbytes == size * weights[name].numel()
        else:
            assert parameter.dtype == torch.float32
            assert torch.equal(parameter, weights[name])
    change = (logits(model) - logits(full)).abs().max()
    assert 1e-4 < change < 0.5 * logits(full).abs().max()


@pytest.mark.parametrize("bits", [4, 8])
def test_only_the_adapter_trains_and_counts_for_the_token_budget(wide, monkeypatch, bits):
    monkeypatch.setattr(token_budget, "free_memory", lambda device: 2**33)
    config = TrainConfig(lora=LoRAConfig(bits=bits, r=3))
    model = add_adapters(quantized(wide, bits), config.lora, seed=0)
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert all(".lora_" in name and p.dtype == torch.float32 for name, p in trainable.items())
    assert {name.split(".lora_")[0].rsplit(".", 1)[1] for name in trainable} == LINEAR
    same = add_adapters(load_model(wide, dtype=torch.float32, device=CPU), config.lora, seed=0)
    assert sum(p.numel() for p in trainable.values()) == sum(p.numel() for p in same.parameters() if p.requires_grad)
    assert token_budget.token_budget_for(model, config).tokens == token_budget.token_budget_for(same, config).tokens


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bf16", torch.bfloat16)])
def test_four_bits_are_multiplied_in_the_precision_of_training(wide, precision, dtype):
    layer = quantized(wide, 4, precision).model.layers[0].mlp.up_proj
    assert layer.compute_dtype == dtype
    assert layer.weight.quant_type == "nf4"


@pytest.mark.parametrize("bits", [4, 8])
@torch.no_grad()
def test_a_packed_batch_gives_what_each_sequence_alone_does(wide, bits):
    model = quantized(wide, bits)
    model.model.layers[0].input_layernorm.weight[3] = 5  # makes outliers, which LLM.int8 computes separately
    assert check_packing(model) is None
    items = [TokenizedSequence(str(n), [0, n + 5], list(range(n + 9, n + 12 + 3 * n))) for n in range(5)]
    packed = answer_logprobs(model, items, max_tokens_per_forward=1000)
    for item, ours in zip(items, packed, strict=True):
        [alone] = answer_logprobs(model, [item], max_tokens_per_forward=1000)
        torch.testing.assert_close(torch.tensor(ours), torch.tensor(alone), rtol=0, atol=1e-5 if bits == 4 else 0.05)


@torch.no_grad()
def test_four_bits_have_the_same_gradients_before_and_after_an_evaluation(wide):
    """bitsandbytes repacks them in evaluation mode, on some CPUs, for a kernel without gradients."""
    model = add_adapters(quantized(wide, 4), LoRAConfig(r=2, dropout=0.0), seed=0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.fill_(0.02)

    def gradients():
        model.train().zero_grad()
        with torch.enable_grad():
            model(IDS).logits.square().sum().backward()
        return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]

    before = gradients()
    model.eval()(IDS)
    for ours, earlier in zip(gradients(), before, strict=True):
        torch.testing.assert_close(ours, earlier)


@pytest.mark.parametrize("how", STORED)
def test_a_model_stored_quantized_computes_what_plain_transformers_does(wide, tmp_path, how):
    folder = stored_quantized(wide, tmp_path / "stored", how)
    model = load_model(folder, dtype=torch.float32, device=CPU)
    assert is_quantized(model)
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    plain.train(how != "8 bits")  # 4 bits are repacked in evaluation mode, 8 are multiplied differently in training
    with torch.no_grad():
        plain = plain(IDS).logits
    assert check_packing(model) is None
    assert torch.equal(logits(model), plain)
    change = (plain - logits(load_model(wide, dtype=torch.float32, device=CPU))).abs().max()
    assert 1e-4 < change < 0.5 * plain.abs().max()


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("8 bits", r"model.layers.0.mlp.down_proj.SCB, .* give the config"),
        ("4 bits", r"model.layers.0.mlp.down_proj.weight with shape \[4096, 1\], .*\[64, 128\]; give the config"),
    ],
)
def test_a_config_that_does_not_mention_the_quantization(wide, tmp_path, how, sentence):
    folder = stored_quantized(wide, tmp_path / "stored", how)
    config = json.loads((folder / "config.json").read_text())
    del config["quantization_config"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(EffaceError, match=f"model {folder} stores {sentence}") as raised:
        load_model(folder, dtype=torch.float32, device=CPU)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("method", "stored"),
    [
        ("gptq", {"quant_method": "gptq", "bits": 4}),
        ("bitsandbytes", {"load_in_8bit": True}),  # older models do not name the method
        (None, {"quant_method": "mxfp4"}),
        (None, None),
    ],
)
def test_weights_that_are_stored_quantized_are_not_trained(wide, tmp_path, method, stored):
    model = load_model(wide, dtype=torch.float32, device=CPU)
    folder = shutil.copytree(wide, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | ({"quantization_config": stored} if stored else {})))
    assert stored_quantization(folder) == method
    assert (dequantization_config(folder) is not None) == (stored == {"quant_method": "mxfp4"})
    if method is None:
        check_trainable_weights(folder, model, TrainConfig())
        return
    with pytest.raises(EffaceError, match=rf"model {folder} is stored quantized \({method}\), .*train.lora.bits=4"):
        check_trainable_weights(folder, model, TrainConfig())


def test_experts_would_stay_unquantized(tmp_path):
    config = MixtralConfig(**SIZES, num_local_experts=2, num_experts_per_tok=1)
    config.save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_config(config)
    check_trainable_weights(tmp_path, model, TrainConfig(lora=LoRAConfig()))
    with pytest.raises(EffaceError, match=r"train.lora.bits=8: .* does not quantize the experts of Mixtral.*; leave"):
        check_trainable_weights(tmp_path, model, TrainConfig(lora=LoRAConfig(bits=8)))


@pytest.mark.parametrize(
    ("loaded", "stored", "exact"),
    [
        (torch.float32, torch.bfloat16, True),
        (torch.bfloat16, torch.bfloat16, True),
        (torch.bfloat16, torch.float32, False),
    ],
)
def test_an_unquantized_base_has_the_stored_weights(wide, loaded, stored, exact):
    model = load_model(wide, dtype=loaded, device=CPU)
    assert is_unquantized_base(add_adapters(model, LoRAConfig(), seed=0), stored) == exact


def test_a_quantized_base_has_not_the_stored_weights(wide):
    assert not is_unquantized_base(add_adapters(quantized(wide, 4), LoRAConfig(), seed=0), torch.bfloat16)


def test_without_bitsandbytes(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(EffaceError, match=r"train.lora.bits=4 needs bitsandbytes; .*\[quantized\]"):
        check_quantization(LoRAConfig(bits=4), CPU)


@pytest.mark.parametrize(("bits", "function"), [(4, "quantize_4bit"), (8, "int8_vectorwise_quant")])
def test_a_device_that_bitsandbytes_does_not_know(monkeypatch, bits, function):
    def fails(*_, **__):
        raise NotImplementedError("no kernel\nbacktrace")

    check_quantization(LoRAConfig(bits=bits), CPU)
    monkeypatch.setattr(bitsandbytes.functional, function, fails)
    with pytest.raises(
        EffaceError, match=rf"train.lora.bits={bits}: .* does not work on cpu here .no kernel.; install"
    ):
        check_quantization(LoRAConfig(bits=bits), CPU)
    check_quantization(LoRAConfig(), CPU)
