"""The bytes of a training, counted by hand for the tiny model: 2 layers, width 16, MLP 24, 61 words."""

from __future__ import annotations

import torch

from efface.train.batches.memory_use import activation_bytes, autocast_copy_bytes, training_state_bytes
from efface.train.config import LoRAConfig, TrainConfig

PER_TOKEN = 2 * (10 * 16 + 5 * 24) * 4
"""Layers x values x bytes."""


def test_autocast_copies_all_matrices_but_the_embeddings(tiny_llama):
    model = tiny_llama()
    assert autocast_copy_bytes(model) == sum(p.numel() for p in model.parameters() if p.ndim == 2) * 2 - 61 * 16 * 2


def test_bf16_weights_are_not_copied(tiny_llama):
    config = TrainConfig(optimizer="adamw8bit")
    model = tiny_llama(dtype=torch.bfloat16)
    weights, tensors = sum(p.numel() for p in model.parameters()), len(list(model.parameters()))
    assert training_state_bytes(model, config, "cpu") == 3 * 2 * weights + 4 * tensors  # too small for 8-bit moments


def test_the_dropout_of_adapters_stores_inputs(tiny_llama):
    shape = tiny_llama().config

    def stored(config):
        return activation_bytes(shape, config, "cpu", checkpointing=False)

    assert stored(TrainConfig()) == stored(TrainConfig(lora=LoRAConfig(dropout=0))) == PER_TOKEN
    assert stored(TrainConfig(lora=LoRAConfig())) == PER_TOKEN + 2 * (6 * 16 + 24) * 4
