"""Llamas with random weights in the measured sizes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Shape:
    """Sizes of a Llama, named as in `LlamaConfig`."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    intermediate_size: int
    vocab_size: int
    tie_word_embeddings: bool


SHAPES = {
    "tiny": Shape(128, 4, 4, 4, 352, 5120, tie_word_embeddings=True),
    "135m": Shape(576, 30, 9, 3, 1536, 49152, tie_word_embeddings=True),
    "300m": Shape(768, 40, 12, 12, 2048, 12288, tie_word_embeddings=False),
    "1b": Shape(2048, 16, 32, 8, 8192, 128256, tie_word_embeddings=True),
    "7b": Shape(4096, 32, 32, 32, 11008, 32000, tie_word_embeddings=False),
}
"""1.5 M parameters; SmolLM2-135M; 302 M; Llama-3.2-1B; Llama-2-7B."""


def llama_config(shape: Shape) -> Any:
    """The config of transformers."""
    from transformers import LlamaConfig

    return LlamaConfig(**asdict(shape), max_position_embeddings=2048)


def build_model(shape: Shape, *, seed: int, dtype: torch.dtype, device: torch.device) -> Any:
    """A causal LM with sdpa attention; the same weights for the same arguments."""
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(), device:
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(llama_config(shape), dtype=dtype, attn_implementation="sdpa")
