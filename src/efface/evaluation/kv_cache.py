"""How many tokens generation keeps keys and values of at once."""

from __future__ import annotations

from typing import Any

import torch

_UPPER_BOUND = {"cuda": 1 << 18, "cpu": 1 << 15}
"""Where memory is no limit: about a thousand outputs of 200 tokens on a GPU, a hundred on a CPU."""


def cache_elements_per_token(model_config: Any) -> int:
    """Numbers that the keys and values of one token are; 0 for a model that is not known to keep any."""
    shape = model_config.get_text_config()
    queries = getattr(shape, "num_attention_heads", None)
    if not isinstance(queries, int):  # none, or a number for each layer
        return 0
    heads = getattr(shape, "num_key_value_heads", None) or queries
    width = getattr(shape, "head_dim", None) or shape.hidden_size // queries
    return 2 * int(shape.num_hidden_layers * heads * width)


def max_cache_tokens_for(
    asked: int | None, model_config: Any, *, dtype: torch.dtype, device_type: str, free: int
) -> int:
    """`evaluate.max_cache_tokens`, or where that is None what `free` bytes beside the loaded model of this `dtype` allow.

    Keys and values take at most half of them. It is a power of two, so that batches are not cut another way, and
    their numbers rounded another way, because a little memory more is free.
    """
    if asked is not None:
        return asked
    most = _UPPER_BOUND.get(device_type, _UPPER_BOUND["cpu"])
    bytes_each = cache_elements_per_token(model_config) * dtype.itemsize
    fitting = max(1, free // 2 // bytes_each) if bytes_each else most
    return min(most, 1 << (fitting.bit_length() - 1))
