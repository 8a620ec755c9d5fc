"""Batches that shrink say what transformers says to one prompt at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as hf

from efface.evaluation import greedy_decoder
from efface.evaluation.greedy_decoder import can_decode, greedy_decode, period
from efface.text.formatter import PromptFormatter, TextConfig
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
    "mistral, windows alone": hf.MistralConfig(**SIZES, sliding_window=WINDOW),
    "gemma2, half of them windows": hf.Gemma2Config(**SIZES, **HALF_SLIDING, head_dim=16),
    "gpt2": hf.GPT2Config(vocab_size=320, n_embd=32, n_layer=2, n_head=4, n_positions=256, tie_word_embeddings=False),
}
PROMPTS = [[5, 6, 7, 8, 9, 10, 11, 12, 13], [20, 21, 22], [40], [30, 31, 32, 33, 34, 35], [50, 51], [60, 61, 62, 63]]
NEW = 30


def random_model(config: Any) -> Any:
    """Weights so large that what one token does to another shows."""
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


def rows_of(model: Any) -> list[int]:
    """How many rows go through the model, forward by forward."""
    rows: list[int] = []
    model.register_forward_pre_hook(lambda *given: rows.append(given[2]["input_ids"].shape[0]), with_kwargs=True)
    return rows


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_what_transformers_says_one_by_one(config):
    model = random_model(config)
    assert can_decode(model)
    whole = [alone(model, prompt, NEW) for prompt in PROMPTS]
    stops = [said[3 * row + 2] for row, said in enumerate(whole)]
    ended = [min((said.index(stop) for stop in stops if stop in said), default=NEW) for said in whole]
    assert len(set(ended)) > 3
    rows = rows_of(model)
    found = greedy_decode(model, PROMPTS, stop_ids=stops, max_new_tokens=NEW)
    assert found == [said[:end] for said, end in zip(whole, ended, strict=True)]
    assert len(rows) == max(ended) + 1
    assert rows[0] == len(PROMPTS)
    assert all(computed <= len(PROMPTS) for computed in rows)
    for step, computed in enumerate(rows):  # a row is taken out no later than a quarter of all have ended
        assert sum(end >= step for end in ended) > 0.75 * computed


def test_rows_that_run_on_are_cut_at_the_limit():
    model = random_model(CONFIGS["llama"])
    assert greedy_decode(model, PROMPTS, stop_ids=(), max_new_tokens=7) == [
        alone(model, prompt, 7) for prompt in PROMPTS
    ]


@pytest.fixture
def guessing(monkeypatch):
    """As on a GPU."""
    monkeypatch.setattr(greedy_decoder, "_guesses_pay", lambda model: True)


def going_round(length: int) -> Any:
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


@pytest.mark.parametrize(("length", "forwards"), [(1, 41), (3, 41), (16, 49), (17, 150)])
def test_a_loop_is_read_in_one_forward(length, forwards, guessing):
    model = going_round(length)
    prompts = [[0], [0, 0], [number := length - 1, number, number]]
    rows = rows_of(model)
    found = greedy_decode(model, prompts, stop_ids=(300,), max_new_tokens=150)
    assert found == [[(prompt[-1] + step) % length for step in range(1, 151)] for prompt in prompts]
    assert len(rows) == forwards


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_row_that_leaves_its_loop_is_computed_to_its_end(config, guessing, monkeypatch):
    model, max_new_tokens = random_model(config), 72
    expected = [alone(model, prompt, max_new_tokens) for prompt in PROMPTS]
    monkeypatch.setattr(
        greedy_decoder, "period", lambda ids: 1
    )  # each row is thought to say its last token over and over
    rows = rows_of(model)
    assert greedy_decode(model, PROMPTS, stop_ids=(), max_new_tokens=max_new_tokens) == expected
    assert rows == [6] * (max_new_tokens + 1)  # guessed once


def test_guesses_are_read_in_parts_that_keep_their_logits_small(guessing, monkeypatch):
    monkeypatch.setattr(greedy_decoder, "_LOGITS_AT_ONCE", 2 * 110 * 320 + 1)
    model = going_round(3)
    rows = rows_of(model)
    found = greedy_decode(model, [[0], [1, 1], [2], [0, 0, 0], [1]], stop_ids=(), max_new_tokens=150)
    assert [ids[:2] for ids in found] == [[1, 2], [2, 0], [0, 1], [1, 2], [2, 0]]
    assert all(ids[2:] == [(each + 2) % 3 for each in ids[:-2]] for ids in found)
    assert rows == [5] * 40 + [2, 2, 1]


def test_a_loop_is_32_tokens_that_each_repeat_one_at_most_16_before():
    beginning = [100, 101, 102]
    assert period([*beginning, 7, *[7] * 32]) == 1
    assert period([*beginning, 7, *[7] * 31]) is None
    assert period([*beginning, *[7, 8, 9] * 11, 7, 8]) == 3
    assert period([*beginning, *[7, 8, 9] * 11, 7]) is None  # the first round repeats nothing
    assert period([*range(16)] * 3) == 16
    assert period([*range(17)] * 9) is None
    assert period([*[7] * 30, 8, *[7] * 30]) is None
    assert period([]) is None


@pytest.mark.parametrize(
    "config",
    [
        hf.Qwen3_5TextConfig(**SIZES, **LINEAR, head_dim=16),
        hf.MambaConfig(vocab_size=320, hidden_size=32, num_hidden_layers=2),
        hf.BloomConfig(vocab_size=320, hidden_size=32, n_layer=2, n_head=4),
        hf.Phi3Config(**SIZES),
    ],
    ids=["linear attention", "state space", "positions in the mask", "its own way to generate"],
)
def test_models_that_generate_otherwise_are_left_to_transformers(config):
    assert not can_decode(hf.AutoModelForCausalLM.from_config(config))


@pytest.mark.real
def test_smollm_says_what_it_says_to_one_prompt_at_a_time(real_models):
    folder = real_models / "SmolLM2-135M-Instruct"
    model = hf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.generation_config = hf.GenerationConfig()
    make = PromptFormatter(hf.AutoTokenizer.from_pretrained(folder), TextConfig(format="plain"))
    prompts = [make.tokenizer.encode(text) for text in ("The capital of France is", "1, 2, 3, 4,", "Water", "Ha ha ha")]
    assert greedy_decode(model, prompts, stop_ids=(), max_new_tokens=120) == [
        alone(model, prompt, 120) for prompt in prompts
    ]
