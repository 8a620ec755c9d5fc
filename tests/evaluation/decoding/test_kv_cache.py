"""The size of the KV cache follows the free memory and the model's shape."""

from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache, GPT2Config, LlamaConfig, LlamaForCausalLM, MambaConfig

from efface.evaluation.decoding.kv_cache import cache_elements_per_token, max_cache_tokens_for
from support.sizes import DENSE

LLAMA = LlamaConfig(**DENSE, vocab_size=64)  # 2 layers x 2 heads x 8 numbers, keys and values: 64 a token
GIB = 2**30


def max_tokens(free, *, config=LLAMA, dtype=torch.float32, device="cpu", setting=None):
    return max_cache_tokens_for(setting, config, dtype=dtype, device_type=device, free=free)


def test_elements_per_token_are_those_of_the_transformers_cache():
    cache = DynamicCache(config=LLAMA)
    with torch.no_grad():
        LlamaForCausalLM(LLAMA)(torch.tensor([[1, 2, 3]]), past_key_values=cache)
    assert (
        3 * cache_elements_per_token(LLAMA)
        == sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers)
        == 192
    )
    assert cache_elements_per_token(GPT2Config(n_embd=32, n_layer=3, n_head=4)) == 2 * 3 * 32
    assert cache_elements_per_token(MambaConfig()) == 0


def test_half_of_the_free_memory_in_powers_of_two():
    bytes_per_token = 64 * 4
    assert max_tokens(2 * bytes_per_token * 1024) == 1024
    assert max_tokens(2 * bytes_per_token * 2047) == 1024
    assert max_tokens(2 * bytes_per_token * 1023) == 512
    assert max_tokens(2 * bytes_per_token * 1024, dtype=torch.bfloat16) == 2048
    assert max_tokens(0) == max_tokens(-5) == 1


def test_upper_bounds():
    assert max_tokens(1000 * GIB) == 32_768
    assert max_tokens(1000 * GIB, device="cuda") == 262_144
    assert max_tokens(0, config=MambaConfig()) == 32_768


@pytest.mark.parametrize("free", [0, 1000 * GIB])
def test_the_setting_wins(free):
    assert max_tokens(free, setting=777) == 777
