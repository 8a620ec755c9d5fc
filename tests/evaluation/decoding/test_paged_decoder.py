"""transformers' continuous batching gives the tokens of plain greedy decoding, or an error that says what to do."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import transformers as hf
from pydantic import ValidationError

from efface.errors import EffaceError
from efface.evaluation import generate as module
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.decoding.paged_decoder import paged_decode
from efface.evaluation.generate import generate_from_ids
from support.messages import assert_names
from support.sizes import DENSE

SIZES = DENSE | {"vocab_size": 97, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
CONFIGS = {
    "llama": lambda: hf.LlamaConfig(**SIZES),
    "qwen3": lambda: hf.Qwen3Config(**SIZES, head_dim=8),
    "softcap": lambda: hf.Gemma2Config(**SIZES, head_dim=8),
    "sliding window": lambda: hf.MistralConfig(**SIZES, head_dim=8, sliding_window=6),
    "attention sinks": lambda: hf.GptOssConfig(**SIZES, head_dim=8, num_local_experts=4, num_experts_per_tok=2),
    "gpt2": lambda: hf.GPT2Config(
        vocab_size=97, n_embd=32, n_layer=2, n_head=4, pad_token_id=0, bos_token_id=1, eos_token_id=2
    ),
}
STOPS = (2, 5, 11, 30, 88)


def built(config):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = hf.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.dim() > 1:
                    weight.copy_(torch.randn_like(weight) * 0.2)
    return model.eval()


@pytest.fixture
def prompts():
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(3, 97, (length,), generator=generator).tolist() for length in (3, 17, 5, 9, 5)]


@pytest.fixture
def formatter():
    tokenizer = SimpleNamespace(decode=lambda ids, **_: " ".join(map(str, ids)))
    return SimpleNamespace(stop_ids=STOPS, tokenizer=tokenizer)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_same_tokens_as_the_default(name, prompts, formatter, monkeypatch):
    model, done = built(CONFIGS[name]()), []
    before = model.config._attn_implementation
    expected = generate_from_ids(model, formatter, prompts, max_new_tokens=12, max_cache_tokens=None)
    monkeypatch.setattr(module, "_PAGED", 3)  # two calls
    found = generate_from_ids(
        model, formatter, prompts, max_new_tokens=12, max_cache_tokens=1, engine="transformers", progress=done.append
    )
    assert found == expected
    if name == "llama":
        assert len({len(each.token_ids) for each in expected}) > 1  # some rows stop
    assert done[-1] == len(prompts)
    assert model.config._attn_implementation == before


def test_an_architecture_without_pages_is_refused(prompts):
    model = built(hf.BloomConfig(vocab_size=97, hidden_size=32, n_layer=2, n_head=4))
    with pytest.raises(EffaceError) as error:
        paged_decode(model, prompts, stop_ids=STOPS, max_new_tokens=4, max_cache_tokens=100, progress=lambda _: None)
    assert_names(
        str(error.value), "evaluate.engine=transformers", "BloomForCausalLM", "leave it out", "replacing its attention"
    )


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        ({"req_0": SimpleNamespace(error="no memory", generated_tokens=[])}, "no memory"),
        ({}, "0 of 1 outputs"),
    ],
)
def test_an_output_that_is_not_made_is_an_error(outputs, reason, monkeypatch):
    model = built(CONFIGS["llama"]())
    monkeypatch.setattr(type(model), "generate_batch", lambda *_, **__: outputs)
    with pytest.raises(EffaceError) as error:
        paged_decode(model, [[3]], stop_ids=STOPS, max_new_tokens=4, max_cache_tokens=9, progress=lambda _: None)
    assert_names(str(error.value), reason, "evaluate.max_cache_tokens")


def test_outputs_are_in_the_order_of_the_prompts(monkeypatch):
    model = built(CONFIGS["llama"]())
    later = {f"req_{n}": SimpleNamespace(error=None, generated_tokens=[n + 40, 5, 7]) for n in (10, 9, 2)}
    monkeypatch.setattr(type(model), "generate_batch", lambda *_, **__: later)
    found = paged_decode(
        model, [[3]] * 3, stop_ids=STOPS, max_new_tokens=4, max_cache_tokens=9, progress=lambda _: None
    )
    assert found == [[42], [49], [50]]


def test_a_sharded_model_is_refused():
    with pytest.raises(ValidationError) as error:
        EvaluateConfig(engine="transformers", sharding="fsdp2")
    assert_names(str(error.value), "engine=transformers", "sharding=fsdp2")
    model = SimpleNamespace(parameters=lambda: [SimpleNamespace(to_local=None)])
    with pytest.raises(EffaceError) as refused:
        paged_decode(model, [[3]], stop_ids=STOPS, max_new_tokens=4, max_cache_tokens=9, progress=lambda _: None)
    assert_names(str(refused.value), "evaluate.engine=transformers", "evaluate.sharding=none")
