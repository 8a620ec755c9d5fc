"""How many tokens generation keeps at once follows the free memory and the model's shape."""

from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache, GPT2Config, LlamaConfig, LlamaForCausalLM, MambaConfig

from efface.evaluation.kv_cache import cache_elements_per_token, max_cache_tokens_for
from support.sizes import DENSE

LLAMA = LlamaConfig(**DENSE, vocab_size=64)  # 2 layers x 2 heads x 8 numbers, keys and values: 64 a token
GIB = 2**30


def found(free, *, config=LLAMA, dtype=torch.float32, device="cpu", asked=None):
    return max_cache_tokens_for(asked, config, dtype=dtype, device_type=device, free=free)


def test_what_a_token_takes_is_what_the_cache_of_transformers_holds():
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
    a_token = 64 * 4
    assert found(2 * a_token * 1024) == 1024
    assert found(2 * a_token * 2047) == 1024
    assert found(2 * a_token * 1023) == 512
    assert found(2 * a_token * 1024, dtype=torch.bfloat16) == 2048
    assert found(0) == found(-5) == 1


def test_no_more_than_is_of_use():
    assert found(1000 * GIB) == 32_768
    assert found(1000 * GIB, device="cuda") == 262_144
    assert found(0, config=MambaConfig()) == 32_768


@pytest.mark.parametrize("free", [0, 1000 * GIB])
def test_what_is_asked_for_stands(free):
    assert found(free, asked=777) == 777
