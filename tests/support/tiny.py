"""A model of a few thousand weights."""

from __future__ import annotations

from typing import Any

import torch

VOCABULARY = 61


def llama(*, tied: bool = False, dtype: torch.dtype = torch.float32) -> Any:
    """A Llama with weights from a seed; the same at every call."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return LlamaForCausalLM(config).to(dtype).eval()
