"""Packed sequences give what each gives alone, and the model is unchanged afterwards."""

from __future__ import annotations

import json
from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
import transformers as hf
from hypothesis import given, settings
from hypothesis import strategies as st

from efface.packing import attention
from efface.packing.attention import ATTENTION_NAME, PackingUnsupportedError, packed_attention_enabled
from efface.packing.forward import hidden_states, target_logprobs
from efface.packing.logprobs import answer_logprobs
from efface.packing.packed_batch import pack
from efface.packing.support import check_packing
from efface.text.sequence import TokenizedSequence
from support.sequences import distinct_prefixes
from support.sizes import DENSE

SIZES = DENSE | {"vocab_size": 97, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
MOE = {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2}
HALF_SLIDING = {"sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"]}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 1e4,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
# The sliding windows are shorter than most sequences of `uneven`.
ARCHITECTURES = {
    "llama": lambda: hf.LlamaConfig(**SIZES, rope_parameters=LLAMA3_ROPE),
    "qwen2": lambda: hf.Qwen2Config(**SIZES),
    "qwen2, window": lambda: hf.Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=5, max_window_layers=1),
    "qwen2-moe": lambda: hf.Qwen2MoeConfig(**SIZES, **MOE, shared_expert_intermediate_size=16),
    "qwen3": lambda: hf.Qwen3Config(**SIZES, head_dim=16),
    "gemma": lambda: hf.GemmaConfig(**SIZES, head_dim=16),
    "gemma2, window and softcap": lambda: hf.Gemma2Config(
        **SIZES, head_dim=16, query_pre_attn_scalar=16, **HALF_SLIDING, attn_implementation="eager"
    ),
    "gemma3, window": lambda: hf.Gemma3TextConfig(**SIZES, head_dim=16, query_pre_attn_scalar=16, **HALF_SLIDING),
    "phi": lambda: hf.PhiConfig(**SIZES),
    "phi3, window": lambda: hf.Phi3Config(**SIZES, sliding_window=5),
    "mistral, window": lambda: hf.MistralConfig(**SIZES, sliding_window=5),
    "gpt2": lambda: hf.GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=4, n_positions=128, **NO_DROPOUT),
    "gpt-neox": lambda: hf.GPTNeoXConfig(**{k: v for k, v in SIZES.items() if k != "num_key_value_heads"}),
    "opt": lambda: hf.OPTConfig(
        vocab_size=97,
        hidden_size=32,
        word_embed_proj_dim=32,
        ffn_dim=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
    ),
    "cohere": lambda: hf.CohereConfig(**SIZES),
    "granite": lambda: hf.GraniteConfig(
        **SIZES, logits_scaling=8.0, residual_multiplier=0.5, embedding_multiplier=2.0, attention_multiplier=0.3
    ),
    "olmo2": lambda: hf.Olmo2Config(**SIZES),
    "gpt-oss, window and sinks": lambda: hf.GptOssConfig(
        **SIZES, head_dim=16, num_local_experts=4, **HALF_SLIDING, experts_implementation="eager"
    ),
    "smollm3": lambda: hf.SmolLM3Config(**SIZES),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_packed_equals_one_by_one(name, random_model, uneven, related, one_by_one):
    model = random_model(ARCHITECTURES[name]())
    assert check_packing(model) is None
    packed = answer_logprobs(model, uneven + related, max_tokens_per_forward=1000)
    alone = one_by_one(model, uneven + related)
    for ours, expected in zip(packed, alone, strict=True):
        torch.testing.assert_close(torch.tensor(ours), expected, atol=1e-5, rtol=0)


_few = st.lists(st.integers(3, 4), min_size=1, max_size=8)


@given(st.lists(st.tuples(_few, _few).map(lambda ids: TokenizedSequence("x", *ids)), min_size=1, max_size=7))
@settings(deadline=None, derandomize=True, max_examples=25)
@pytest.mark.parametrize("name", ["llama", "mistral, window", "gpt2", "gemma2, window and softcap"])
@torch.no_grad()
def test_any_common_prefixes_equal_one_by_one(name, doubles, one_by_one, sequences):
    """The hidden states of all of their tokens, and the log-probs of their answers."""
    model = doubles(name)
    # Gemma 2 caps its scores in float32 in both cases
    atol = 1e-5 if model.config.model_type == "gemma2" else 1e-10
    expected = [model.base_model(torch.tensor([item.prompt + item.answer])).last_hidden_state[0] for item in sequences]
    with packed_attention_enabled(model):
        batch = pack(sequences)
        ours = hidden_states(model, batch)
    for indices, alone in zip(batch.token_indices, expected, strict=True):
        torch.testing.assert_close(ours[indices], alone, atol=atol, rtol=0)
    logprobs = answer_logprobs(model, sequences, max_tokens_per_forward=20)
    for packed, alone in zip(logprobs, one_by_one(model, sequences), strict=True):
        torch.testing.assert_close(torch.tensor(packed, dtype=torch.float64), alone, atol=atol, rtol=0)


@pytest.fixture(scope="module")
def doubles(random_model):
    """Models in double precision, each created once."""
    models = {}
    return lambda name: models.setdefault(name, models.get(name) or random_model(ARCHITECTURES[name]()).double())


@torch.no_grad()
def test_layers_see_shared_prefixes_once(llama, related):
    seen = []
    llama.model.layers[1].mlp.register_forward_hook(lambda _, inputs, output: seen.append(output.shape[1]))
    with packed_attention_enabled(llama):
        hidden_states(llama, pack(related))
    assert seen == [len(distinct_prefixes(related))]
    assert seen[0] < 0.6 * sum(map(len, related))


@torch.no_grad()
def test_a_leak_would_be_visible_with_these_weights(llama, uneven, one_by_one):
    batch = pack(uneven)
    leaking = llama(input_ids=batch.input_ids).logits[0].log_softmax(-1)
    at = batch.target_positions("answer")
    logp = leaking[at.token_index].gather(1, at.targets[:, None])[:, 0].split(at.counts)
    assert all((a - b).abs().max() > 0.1 for a, b in zip(logp[1:], one_by_one(llama, uneven)[1:], strict=True))


@pytest.mark.parametrize("arguments", [{"packing": None}, {"attention_mask": torch.ones(1, 1, 5, 5)}])
def test_a_mask_of_the_model_is_rejected(arguments):
    """Packing replaces it, and it may contain more than causality. Without a layout, nothing is known."""
    layer, states = torch.nn.Linear(1, 1), torch.zeros(1, 1, 5, 4)
    given = {"attention_mask": None, "packing": pack([TokenizedSequence("a", [1, 2], [3, 4, 5])]).layout} | arguments
    with pytest.raises(PackingUnsupportedError, match="Linear cannot be packed: it needs more than causal masking"):
        attention.packed_attention(layer, states, states, states, **given)


def packed_gradients(model, items):
    model.zero_grad()
    with packed_attention_enabled(model):
        batch = pack(items, model.device)
        at = batch.target_positions("answer")
        target_logprobs(model, hidden_states(model, batch)[at.token_index], at.targets).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def gradients_one_by_one(model, items, one_by_one):
    model.zero_grad()
    torch.stack([logp.sum() for logp in one_by_one(model, items)]).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("sequences", ["uneven", "related"])
@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2, window and softcap", "gpt-oss, window and sinks"])
def test_gradients_equal_those_one_by_one(name, sequences, doubles, one_by_one, request):
    model, items = doubles(name), request.getfixturevalue(sequences)
    packed = packed_gradients(model, items)
    # the others compute norms or scores in float32 in any dtype
    tolerance = 1e-10 if name == "gpt2" else 1e-5
    for parameter_name, alone in gradients_one_by_one(model, items, one_by_one).items():
        scale = float(alone.abs().max())
        torch.testing.assert_close(packed[parameter_name], alone, atol=tolerance * scale, rtol=0)


@pytest.mark.parametrize("sequences", ["uneven", "related"])
def test_inputs_and_gradients_of_the_variable_length_kernel(sequences, doubles, one_by_one, request, monkeypatch):
    """Each sequence is complete. The kernel itself needs a GPU and is emulated here."""

    def kernel(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale):
        assert torch.equal(cu_seq_q, cu_seq_k)
        assert max_q == max_k == int(cu_seq_q.diff().max())
        assert int(cu_seq_q[-1]) == len(query) == len(key) == len(value)
        parts = [each.transpose(0, 1).tensor_split(cu_seq_q[1:-1].long(), dim=1) for each in (query, key, value)]
        rows = [F.scaled_dot_product_attention(*part, is_causal=True, scale=scale) for part in zip(*parts, strict=True)]
        return torch.cat(rows, dim=1).transpose(0, 1)

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", kernel)
    monkeypatch.setattr(attention, "_causal_arguments", dict)
    monkeypatch.setattr(attention, "_supports_flash", lambda query, value: True)
    model, items = doubles("gpt2"), request.getfixturevalue(sequences)
    packed = packed_gradients(model, items)
    for name, alone in gradients_one_by_one(model, items, one_by_one).items():
        torch.testing.assert_close(packed[name], alone, atol=1e-10 * float(alone.abs().max()), rtol=0)


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_changes_nothing(llama, uneven, reentrant):
    llama.train()
    plain = packed_gradients(llama, uneven)
    llama.gradient_checkpointing_enable({"use_reentrant": reentrant})
    llama.enable_input_require_grads()
    for name, gradient in packed_gradients(llama, uneven).items():
        torch.testing.assert_close(gradient, plain[name])


@torch.no_grad()
def test_half_precision_is_close(random_model, uneven, one_by_one):
    model = random_model(ARCHITECTURES["qwen3"]()).bfloat16()
    assert check_packing(model) is None
    packed = [torch.tensor(row) for row in answer_logprobs(model, uneven, max_tokens_per_forward=1000)]
    assert (torch.cat(packed) - torch.cat(one_by_one(model, uneven))).abs().mean() < 0.02


@torch.no_grad()
def test_under_autocast_attention_runs_in_half_precision(random_model, uneven, monkeypatch):
    seen = []
    monkeypatch.setattr(
        attention, "_supports_flash", lambda query, value: bool(seen.append((query.dtype, value.dtype)))
    )
    model = random_model(ARCHITECTURES["qwen3"]())  # norms its queries with float32 weights
    with torch.autocast("cpu", torch.bfloat16):
        answer_logprobs(model, uneven, max_tokens_per_forward=1000)
    assert set(seen) == {(torch.bfloat16, torch.bfloat16)}


@pytest.mark.parametrize("previous", ["sdpa", "eager"])
def test_the_previous_attention_is_restored(llama, previous):
    llama.set_attn_implementation(previous)
    with packed_attention_enabled(llama):
        assert llama.config._attn_implementation == ATTENTION_NAME
    assert llama.config._attn_implementation == previous
    with pytest.raises(KeyboardInterrupt), packed_attention_enabled(llama):
        raise KeyboardInterrupt
    assert llama.config._attn_implementation == previous


def test_the_previous_attention_is_restored_after_a_partial_replacement():
    """GOT-OCR has two parts; its common config does not change if only one of them was replaced."""
    calls = []
    model = SimpleNamespace(config=SimpleNamespace(_attn_implementation="sdpa"), set_attn_implementation=calls.append)
    with (
        pytest.raises(PackingUnsupportedError, match="does not support replacing its attention"),
        packed_attention_enabled(model),
    ):
        pass
    assert calls == [ATTENTION_NAME, "sdpa"]


def test_a_saved_model_contains_nothing_of_packing(llama, tmp_path):
    with packed_attention_enabled(llama):
        llama.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert ATTENTION_NAME not in json.dumps(config)


def test_dropout_is_applied_in_training_mode(random_model, uneven):
    model = random_model(hf.LlamaConfig(**SIZES, attention_dropout=0.5))
    batch = pack(uneven)

    def hidden():
        with packed_attention_enabled(model), torch.no_grad():
            return hidden_states(model, batch)

    assert torch.equal(hidden(), hidden())
    model.train()
    assert not torch.allclose(hidden(), hidden())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma2, window and softcap"])
@torch.no_grad()
def test_on_a_gpu_in_half_precision(name, random_model, uneven, related, one_by_one):
    model = random_model(ARCHITECTURES[name]()).to("cuda", torch.bfloat16)
    assert check_packing(model) is None
    packed = [torch.tensor(row) for row in answer_logprobs(model, uneven + related, max_tokens_per_forward=1000)]
    alone = torch.cat(one_by_one(model, uneven + related)).cpu()
    assert (torch.cat(packed) - alone).abs().mean() < 0.05


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gradients_on_a_gpu_in_half_precision(doubles, related):
    model = doubles("llama")
    exact = packed_gradients(model, related)
    half = packed_gradients(deepcopy(model).to("cuda", torch.bfloat16), related)
    for name, gradient in exact.items():
        gap = half[name].cpu().double() - gradient
        assert gap.norm() < 0.1 * gradient.norm()


@pytest.mark.parametrize(("capability", "flash"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_cards_before_ampere_have_no_flash_kernel(capability, flash, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    attention._has_flash.cache_clear()
    query = SimpleNamespace(is_cuda=True, dtype=torch.bfloat16, shape=(1, 2, 3, 64), device="cuda:0")
    assert attention._supports_flash(query, query) is flash
    attention._has_flash.cache_clear()
