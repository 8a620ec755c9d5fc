"""How many tokens the KV cache may hold during generation."""

from __future__ import annotations

from typing import Any

import torch

_UPPER_BOUND = {"cuda": 1 << 18, "cpu": 1 << 15}
"""Tokens, where memory is not the limit: about a thousand outputs of 200 tokens on a GPU, a hundred on a CPU."""


def cache_elements_per_token(model_config: Any) -> int:
    """Count the elements that a KV cache holds for one token.

    Args:
        model_config: Config of a transformers model.

    Returns:
        Elements of keys and values in all layers; 0 for a model that is not known to have a KV cache.
    """
    config = model_config.get_text_config()
    query_heads = getattr(config, "num_attention_heads", None)
    if not isinstance(query_heads, int):  # none, or a number for each layer
        return 0
    heads = getattr(config, "num_key_value_heads", None) or query_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // query_heads
    return 2 * int(config.num_hidden_layers * heads * head_dim)


def max_cache_tokens_for(
    setting: int | None, model_config: Any, *, dtype: torch.dtype, device_type: str, free: int
) -> int:
    """Resolve `evaluate.max_cache_tokens`.

    By default keys and values take at most half of the free memory. The number is a power of two, so that batches,
    and with them rounding, do not change because slightly more memory is free.

    Args:
        setting: The setting; None for the default.
        model_config: Config of a transformers model.
        dtype: Dtype of keys and values.
        device_type: `cuda` or `cpu`.
        free: Free memory after the model is loaded, in bytes.

    Returns:
        Most tokens in the cache.
    """
    if setting is not None:
        return setting
    upper_bound = _UPPER_BOUND.get(device_type, _UPPER_BOUND["cpu"])
    bytes_per_token = cache_elements_per_token(model_config) * dtype.itemsize
    fitting = max(1, free // 2 // bytes_per_token) if bytes_per_token else upper_bound
    return min(upper_bound, 1 << (fitting.bit_length() - 1))
