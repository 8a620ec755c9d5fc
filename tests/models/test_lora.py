"""LoRA adapters: which layers get them, and how they are saved and merged."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2MoeConfig, Qwen2MoeForCausalLM

from efface.errors import EffaceError
from efface.models.load import load_model
from efface.models.lora import add_adapters, has_adapters, has_experts, merge_adapter, write_adapter
from efface.train.config import LoRAConfig

CPU = torch.device("cpu")
IDS = torch.tensor([[5, 6, 7, 8]])


def load(folder):
    return load_model(folder, dtype=torch.float32, device=CPU)


@torch.no_grad()
def logits(model):
    return model.eval()(IDS).logits


def test_adapters_need_linear_layers():
    bare = AutoModelForCausalLM.from_config(
        LlamaConfig(vocab_size=60, hidden_size=16, num_hidden_layers=0, num_attention_heads=2)
    )
    with pytest.raises(EffaceError, match=r"LlamaForCausalLM has no linear layers for adapters; leave train\.lora out"):
        add_adapters(bare, LoRAConfig(), seed=0)


def test_adapters_are_on_all_linear_layers_but_the_head_and_add_nothing_at_first(source):
    plain = load(source)
    expected = logits(plain)
    model = add_adapters(plain, LoRAConfig(r=3), seed=0)
    assert has_adapters(model)
    assert not has_adapters(plain)
    assert torch.equal(logits(model), expected)
    trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    layers = {name.split(".lora_")[0].rsplit(".", 1)[1] for name in trainable}
    assert layers == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    settings = model.peft_config["default"]
    assert (settings.r, settings.lora_alpha, settings.lora_dropout) == (3, 32, 0.05)


def test_in_a_mixture_of_experts_adapters_are_on_attention_alone():
    """PEFT takes the name of a dense layer for the experts of all layers, which it refuses to adapt with dropout."""
    sizes = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8, "mlp_only_layers": [1]}
    model = Qwen2MoeForCausalLM(Qwen2MoeConfig(**sizes, **experts, intermediate_size=8))
    assert has_experts(model)
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


def test_a_saved_adapter_is_merged_into_the_base(source, tmp_path):
    model = add_adapters(load(source), LoRAConfig(r=2, dropout=0.0), seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.1)
    write_adapter(model, tmp_path / "adapter", base="owner/name@v1")
    merged = merge_adapter(load(source), tmp_path / "adapter")
    assert not has_adapters(merged)
    assert not torch.allclose(logits(merged), logits(load(source)), atol=1e-2)
    torch.testing.assert_close(logits(merged), logits(model), rtol=1e-4, atol=1e-5)
