"""Models that cannot be packed are padded, with the same results; models for which both differ are rejected."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
import transformers as hf

from efface.errors import EffaceError
from efface.packing import support
from efface.packing.attention import ATTENTION_NAME
from efface.packing.forward import hidden_states, target_logprobs
from efface.packing.logprobs import answer_logprobs
from efface.packing.packed_batch import pack
from efface.packing.support import check_packing, packing_unsupported_reason
from support.messages import assert_names
from support.sizes import DENSE, LINEAR

SIZES = DENSE | {"vocab_size": 97}
EXPERTS = {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2}
MAMBA = {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1}
PADDED = {
    # the attention has no name by which it can be replaced
    "bloom": (lambda: hf.BloomConfig(vocab_size=97, hidden_size=32, n_layer=2, n_head=4), "replacing its attention"),
    "falcon, alibi": (
        lambda: hf.FalconConfig(vocab_size=97, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, alibi=True),
        "replacing its attention",
    ),
    "rwkv": (
        lambda: hf.RwkvConfig(vocab_size=97, hidden_size=32, attention_hidden_size=32, num_hidden_layers=2),
        "replacing its attention",
    ),
    # tokens mixed outside of attention
    "mamba": (lambda: hf.MambaConfig(vocab_size=97, hidden_size=32, num_hidden_layers=2), "layers of linear_attention"),
    "qwen3.5": (lambda: hf.Qwen3_5TextConfig(**SIZES, **LINEAR, head_dim=16), "layers of linear_attention"),
    "lfm2": (lambda: hf.Lfm2Config(**SIZES, layer_types=["conv", "full_attention"]), "layers of conv"),
    "falcon-h1": (
        lambda: hf.FalconH1Config(**SIZES, **MAMBA, head_dim=16, lm_head_multiplier=0.5),
        "layers of hybrid",
    ),
    "recurrent-gemma, capped logits": (
        lambda: hf.RecurrentGemmaConfig(
            vocab_size=97, hidden_size=32, num_hidden_layers=3, intermediate_size=48, num_attention_heads=4
        ),
        "layers of linear_attention",
    ),
    # attention within chunks, of thousands of tokens in the released models
    "llama4": (
        lambda: hf.Llama4TextConfig(**SIZES, head_dim=16, intermediate_size_mlp=48, num_local_experts=2),
        "layers of chunked_attention",
    ),
    # the model passes its own mask
    "stablelm": (lambda: hf.StableLmConfig(**SIZES), "more than causal masking within a sequence"),
    # a window that the model passes only inside a mask, and that is longer than the probe sequences
    "qwen2-moe, window": (
        lambda: hf.Qwen2MoeConfig(
            **SIZES,
            **EXPERTS,
            shared_expert_intermediate_size=16,
            use_sliding_window=True,
            sliding_window=30,
            max_window_layers=1,
        ),
        "hides its sliding window in a mask",
    ),
    # position ids that the model counts along the packed row
    "bart": (
        lambda: hf.BartConfig(
            vocab_size=97, d_model=32, decoder_layers=2, decoder_attention_heads=4, decoder_ffn_dim=48
        ),
        "its logits differ by",
    ),
}


@pytest.mark.parametrize("name", PADDED)
def test_padded_equals_one_by_one(name, random_model, uneven, related, one_by_one):
    config, reason = PADDED[name]
    model = random_model(config())
    previous = model.config._attn_implementation
    assert reason in check_packing(model)
    with torch.no_grad():
        ours = answer_logprobs(model, uneven + related, max_tokens_per_forward=1000)
        for padded, alone in zip(ours, one_by_one(model, uneven + related), strict=True):
            torch.testing.assert_close(torch.tensor(padded), alone, atol=2e-5, rtol=0)
    assert model.config._attn_implementation == previous


@pytest.mark.parametrize("name", ["bloom", "qwen3.5"])
def test_gradients_equal_those_one_by_one(name, random_model, related, one_by_one):
    model = random_model(PADDED[name][0]()).double()
    batch = pack(related)
    at = batch.target_positions("answer")
    with support.packed_or_padded(model):
        target_logprobs(model, hidden_states(model, batch)[at.token_index], at.targets).sum().backward()
    ours = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    torch.cat(one_by_one(model, related)).sum().backward()
    for parameter_name, parameter in model.named_parameters():
        scale = float(parameter.grad.abs().max())  # Qwen 3.5 computes some of it in float32
        torch.testing.assert_close(ours[parameter_name], parameter.grad, atol=2e-4 * scale, rtol=0)


def test_padded_batches_have_sequences_of_similar_length(llama, uneven):
    """So that there is little padding."""
    seen = []
    llama.model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(inputs["input_ids"].shape), with_kwargs=True
    )
    hidden_states(llama, pack(uneven))
    assert seen == [(4, 12), (2, 40)]


def test_a_model_that_can_be_packed_is_packed(llama):
    assert packing_unsupported_reason(llama) is None
    with support.packed_or_padded(llama):
        assert llama.config._attn_implementation == ATTENTION_NAME


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tokens_mixed_outside_of_attention_are_detected(llama, dtype):
    model = llama.to(dtype).train()
    assert check_packing(model) is None
    mixing = model.model.layers[0].mlp.register_forward_hook(lambda _, __, output: output + output.cumsum(dim=1))
    assert "LlamaForCausalLM cannot be packed: its logits differ by" in check_packing(model)
    mixing.remove()
    model.model.layers[0].mlp.register_forward_hook(lambda _, __, output: output + output.flip(1))
    with pytest.raises(EffaceError, match=r"LlamaForCausalLM cannot be used: its logits differ by .* padding"):
        check_packing(model)
    assert model.training


def test_logits_scaled_in_an_unknown_way_are_detected(llama):
    llama.register_forward_hook(lambda module, inputs, output: output.__setitem__("logits", output.logits * 1.01))
    with pytest.raises(EffaceError, match="choose a causal language model of another architecture"):
        check_packing(llama)


def test_weights_that_are_not_finite_are_named(llama):
    llama.lm_head.weight.data[3] = math.nan
    llama.config.name_or_path = "runs/first/model"
    with pytest.raises(EffaceError) as error:
        check_packing(llama)
    assert_names(str(error.value), "runs/first/model", "not finite", "another model")


def test_under_autocast(llama):
    llama.set_attn_implementation("eager")  # its softmax rounds at another point
    with torch.autocast("cpu", torch.bfloat16):
        assert check_packing(llama) is None


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (lambda: hf.BertConfig(**SIZES), ["BertLMHeadModel", "its logits differ by"]),
        (
            lambda: hf.RemBertConfig(**SIZES, input_embedding_size=16, output_embedding_size=24),
            ["RemBertForCausalLM", "backbone", "head", "RuntimeError: mat1"],
        ),
    ],
    ids=["not causal", "more than a head"],
)
def test_unknown_models_are_rejected(random_model, config, named):
    with pytest.raises(EffaceError) as error:
        check_packing(random_model(config()))
    assert all(words in str(error.value) for words in [*named, "choose a causal language model"])


def test_the_check_runs_once_for_an_architecture(random_model, monkeypatch):
    config = hf.LlamaConfig(**SIZES | {"intermediate_size": 49})
    checked = []
    monkeypatch.setattr(support, "check_packing", lambda model: checked.append(model) or "because")
    first, second = random_model(config), random_model(config)
    assert packing_unsupported_reason(first) == packing_unsupported_reason(second) == "because"
    assert checked == [first]
    other = random_model(hf.LlamaConfig(**SIZES | {"intermediate_size": 50}))
    packing_unsupported_reason(other)
    assert checked == [first, other]


def test_the_config_is_written_once_for_a_model(llama, monkeypatch):
    """It is asked for twice in each step, and writing a config takes half a millisecond."""
    packing_unsupported_reason(llama)
    monkeypatch.setattr(type(llama.config), "to_json_string", lambda config: pytest.fail("written again"))
    assert packing_unsupported_reason(llama) is None


def test_out_of_memory_is_not_a_reason(llama, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(support, "hidden_states", full)
    with pytest.raises(torch.OutOfMemoryError):
        check_packing(llama)


def model_of(dtype, *, int8=False):
    return SimpleNamespace(dtype=dtype, is_loaded_in_8bit=int8)


@pytest.mark.parametrize(
    ("model", "difference", "accepted"),
    [
        (model_of(torch.float32), 3e-4, True),  # relative to logits of up to 4
        (model_of(torch.float32), 6e-4, False),
        (model_of(torch.bfloat16), 0.3, True),
        (model_of(torch.bfloat16), 0.6, False),
        (model_of(torch.float32, int8=True), 0.3, True),
        (model_of(torch.bfloat16), math.nan, False),
    ],
)
def test_differences_up_to_rounding_are_accepted(model, difference, accepted):
    expected = torch.tensor([4.0, -1.0])
    found = support._difference(model, expected, expected + torch.tensor([0.0, difference]))
    assert found is None if accepted else found == pytest.approx(difference, rel=1e-3, nan_ok=True)


@pytest.mark.parametrize("model_type", ["phimoe", "qwen2_moe"])
def test_a_sliding_window_inside_a_mask_is_known_by_the_model_type(llama, model_type, monkeypatch):
    monkeypatch.setattr(type(llama.config), "model_type", model_type)
    assert check_packing(llama) is None
    llama.config.sliding_window = 30
    assert "hides its sliding window in a mask" in check_packing(llama)


def test_each_way_to_compute_is_checked(llama, monkeypatch):
    """A check in float32 says nothing about the kernel of bf16."""
    checked = []
    monkeypatch.setattr(support, "_known", {})
    monkeypatch.setattr(support, "check_packing", lambda model: checked.append(model.dtype))
    for _ in range(2):
        packing_unsupported_reason(llama)
        with torch.autocast("cpu", torch.bfloat16):
            packing_unsupported_reason(llama)
    packing_unsupported_reason(llama.bfloat16())
    assert checked == [torch.float32, torch.float32, torch.bfloat16]


def test_a_sharded_model_is_not_checked_again(llama, monkeypatch):
    monkeypatch.setattr(support, "check_packing", lambda model: pytest.fail("checked"))
    monkeypatch.setattr(support, "_known", {})
    support.mark_as_packable(llama)
    assert packing_unsupported_reason(llama) is None
