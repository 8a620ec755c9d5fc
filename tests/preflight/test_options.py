"""The options for training a model, and what each needs."""

from __future__ import annotations

import pytest
from transformers import Qwen3MoeConfig

from efface.preflight import options
from support.doctor import look

pytestmark = pytest.mark.usefixtures("nothing_stays", "adamw8bit_available")
ALL, EIGHT = "train.lora=false train.optimizer=adamw", "train.lora=false train.optimizer=adamw8bit"


def test_options_and_what_each_needs(hub, config):
    found = look(config(**{"train.lora": {"r": 4, "bits": 4}}))
    assert [each.setting for each in found.options] == [ALL, EIGHT, "train.lora=true", "train.lora.bits=4"]
    full, small, adapters, quantized = found.options
    assert quantized.training == found.forecast.training
    assert [each.chosen for each in found.options] == [False, False, False, True]
    assert all(each.fits for each in found.options)
    assert (small.weights, small.gradients) == (full.weights / 2, full.gradients / 2)
    assert small.optimizer < 0.4 * full.optimizer  # some tensors are too small for 8 bits
    assert small.activations == full.activations / 2
    assert adapters.gradients < 0.2 * full.gradients
    assert adapters.training - adapters.weights - adapters.gradients - adapters.optimizer >= adapters.activations


def test_options_that_cannot_be_used(hub, config, monkeypatch):
    assert EIGHT not in [each.setting for each in look(config(**{"train.precision": "float32"})).options]
    monkeypatch.setattr(options, "adamw8bit_unsupported_reason", lambda device: "torchao")
    monkeypatch.setattr(options, "find_spec", lambda name: None)
    assert [each.setting for each in look(config()).options] == [ALL]


def test_experts_are_not_offered_in_four_bits(hub, config, source, tmp_path):
    folder = tmp_path / "experts"
    shape = Qwen3MoeConfig(
        vocab_size=512,
        hidden_size=16,
        intermediate_size=32,
        moe_intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_experts=4,
        num_experts_per_tok=2,
    )
    shape.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        (folder / name).symlink_to(source / name)
    found = look(config(model=str(folder)))
    assert [each.setting for each in found.options] == [ALL, EIGHT, "train.lora=true"]
