"""Configs of tiny models, and training settings that differ in what they keep in memory."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

from efface.train.config import LoRAConfig, TrainConfig

MODEL_CONFIGS: dict[str, Any] = {
    "grouped queries, tied head": LlamaConfig(
        vocab_size=97,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    ),
    "wide": LlamaConfig(
        vocab_size=61, hidden_size=48, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4
    ),
    "transposed weights": GPT2Config(
        vocab_size=97, n_embd=64, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=1, tie_word_embeddings=True
    ),
}
TRAINING_OPTIONS = {
    "all": TrainConfig(),
    "all in bf16 with copies": TrainConfig(precision="bf16"),
    "all in 8 bits": TrainConfig(optimizer="adamw8bit"),
    "adapters": TrainConfig(lora=LoRAConfig(r=4)),
    "adapters on bf16": TrainConfig(lora=LoRAConfig(r=4), precision="bf16"),
}


def varied_model(config: Any) -> Any:
    """A random model in training mode whose weights, also those of norms, are not those of an initialization."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn_like(weight), alpha=0.1)
    return model.train()
