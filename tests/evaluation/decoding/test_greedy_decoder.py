"""Both decoders of a batch give what transformers gives for one prompt at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as hf

from efface.evaluation.decoding.greedy_decoder import can_decode, greedy_decode, transformers_decode
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter
from support.sizes import DENSE, LINEAR

SIZES = DENSE | {
    "vocab_size": 320,
    "tie_word_embeddings": False,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
WINDOW = 6  # shorter than the longest prompt
HALF_SLIDING = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
CONFIGS = {
    "llama": hf.LlamaConfig(**SIZES),
    "mistral, sliding window": hf.MistralConfig(**SIZES, sliding_window=WINDOW),
    "gemma2, half of the layers sliding": hf.Gemma2Config(**SIZES, **HALF_SLIDING, head_dim=16),
    "gpt2": hf.GPT2Config(vocab_size=320, n_embd=32, n_layer=2, n_head=4, n_positions=256, tie_word_embeddings=False),
}
PROMPTS = [[5, 6, 7, 8, 9, 10, 11, 12, 13], [20, 21, 22], [40], [30, 31, 32, 33, 34, 35], [50, 51], [60, 61, 62, 63]]
NEW = 30


def random_model(config: Any) -> Any:
    """A model with large weights, so that each token clearly depends on the ones before it."""
    model = hf.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def alone(model: Any, prompt: list[int], max_new_tokens: int) -> list[int]:
    ids = model.generate(
        torch.tensor([prompt]), do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=None, pad_token_id=1
    )
    return ids[0, len(prompt) :].tolist()


def count_rows(model: Any) -> list[int]:
    """The batch size of each forward pass from here on."""
    batch_sizes: list[int] = []
    model.register_forward_pre_hook(lambda *args: batch_sizes.append(args[2]["input_ids"].shape[0]), with_kwargs=True)
    return batch_sizes


def counting_model(length: int) -> Any:
    """A model that counts from 0 to `length` - 1, again and again."""
    model = hf.LlamaForCausalLM(CONFIGS["llama"]).eval()
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(320, 32))
        model.lm_head.weight.copy_(torch.eye(320, 32))
        model.lm_head.weight[:length] = model.lm_head.weight[:length].roll(1, dims=0)
    return model


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_rows_end_before_a_stop_token_and_leave_the_batch(config):
    model = random_model(config)
    assert can_decode(model)
    whole = [alone(model, prompt, NEW) for prompt in PROMPTS]
    stops = [ids[3 * row + 2] for row, ids in enumerate(whole)]
    lengths = [min((ids.index(stop) for stop in stops if stop in ids), default=NEW) for ids in whole]
    assert len(set(lengths)) > 3
    expected = [ids[:length] for ids, length in zip(whole, lengths, strict=True)]
    assert transformers_decode(model, PROMPTS, stop_ids=stops, max_new_tokens=NEW) == expected
    batch_sizes = count_rows(model)
    assert greedy_decode(model, PROMPTS, stop_ids=stops, max_new_tokens=NEW) == expected
    assert len(batch_sizes) == max(lengths) + 1
    assert batch_sizes[0] == len(PROMPTS)
    for step, batch_size in enumerate(batch_sizes):  # rows are removed once a quarter of the batch has ended
        assert sum(length >= step for length in lengths) > 0.75 * batch_size


@pytest.mark.parametrize("decode", [greedy_decode, transformers_decode])
def test_rows_without_a_stop_token_end_at_the_limit(decode):
    model = random_model(CONFIGS["llama"])
    expected = [alone(model, prompt, 7) for prompt in PROMPTS]
    unused = next(id_ for id_ in range(320) if not any(id_ in ids for ids in expected))
    assert decode(model, PROMPTS, stop_ids=[unused], max_new_tokens=7) == expected


@pytest.mark.parametrize("length", [1, 3, 17])
def test_a_repeating_output_is_decoded_to_the_limit(length):
    model = counting_model(length)
    prompts = [[0], [0, 0], [length - 1] * 3]
    assert greedy_decode(model, prompts, stop_ids=(300,), max_new_tokens=150) == [
        [(prompt[-1] + step) % length for step in range(1, 151)] for prompt in prompts
    ]


@pytest.mark.parametrize(
    "config",
    [
        hf.Qwen3_5TextConfig(**SIZES, **LINEAR, head_dim=16),
        hf.MambaConfig(vocab_size=320, hidden_size=32, num_hidden_layers=2),
        hf.BloomConfig(vocab_size=320, hidden_size=32, n_layer=2, n_head=4),
        hf.Phi3Config(**SIZES),
    ],
    ids=["linear attention", "state space", "positions in the mask", "overridden generation"],
)
def test_models_that_generate_in_another_way_are_refused(config):
    assert not can_decode(hf.AutoModelForCausalLM.from_config(config))


@pytest.mark.real
def test_smollm_decodes_a_batch_as_single_prompts(real_models):
    folder = real_models / "SmolLM2-135M-Instruct"
    model = hf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.generation_config = hf.GenerationConfig()
    formatter = PromptFormatter(hf.AutoTokenizer.from_pretrained(folder), TextConfig(format="plain"))
    prompts = [
        formatter.tokenizer.encode(text) for text in ("The capital of France is", "1, 2, 3, 4,", "Water", "Ha ha ha")
    ]
    assert greedy_decode(model, prompts, stop_ids=(), max_new_tokens=120) == [
        alone(model, prompt, 120) for prompt in prompts
    ]
