"""bf16 with weights cast once a step: the numbers of autocast where weights are bf16, else close to float32."""

from __future__ import annotations

import pytest
import torch
import transformers as hf
from pydantic import ValidationError

from efface.models.lora import add_adapters
from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import objective
from efface.objectives.terms import Reference
from efface.train.batches.schedule import Schedule
from efface.train.config import LoRAConfig, SAMConfig, TrainConfig
from efface.train.optimizer.optimizer import adamw8bit_unsupported_reason
from efface.train.precision import bf16_weights, computation, computing
from efface.train.step import batch_losses
from support.messages import assert_names
from support.model_configs import varied_model
from support.sizes import DENSE
from support.tiny import VOCABULARY
from support.training import GA_GD, TRAIN, assert_equal, largest_difference, weights

CPU = torch.device("cpu")
BF16 = TRAIN.model_copy(update={"lr": 1e-3, "precision": "bf16", "autocast": False})
SIZES = DENSE | {"vocab_size": VOCABULARY, "pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
CONFIGS = {
    "llama, tied": lambda: hf.LlamaConfig(**SIZES, tie_word_embeddings=True),
    "qwen3": lambda: hf.Qwen3Config(**SIZES, head_dim=8),
    "gemma2, capped": lambda: hf.Gemma2Config(**SIZES, head_dim=8),
    "gpt2": lambda: hf.GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, bos_token_id=None, eos_token_id=None
    ),
    "phi, biased": lambda: hf.PhiConfig(**SIZES | {"num_key_value_heads": 4}),
    "mixture of experts": lambda: hf.Qwen3MoeConfig(
        **SIZES, head_dim=8, moe_intermediate_size=16, num_experts=4, num_experts_per_tok=2
    ),
    "attention sinks": lambda: hf.GptOssConfig(**SIZES, head_dim=8, num_local_experts=4, num_experts_per_tok=2),
    "padded": lambda: hf.StableLmConfig(**SIZES),
}


def built(name):
    """A random model of this kind."""
    return varied_model(CONFIGS[name]()).eval()


def gradients(model, bound, examples, context):
    """Losses and the gradient of each weight, computed in a context."""
    model.zero_grad()
    with context:
        losses = batch_losses(model, bound, examples, Reference(), backward=torch.Tensor.backward)
    found = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    return torch.stack([losses.forget, losses.retain]), found


@pytest.mark.parametrize("adapters", [False, True], ids=["all weights", "adapters"])
@pytest.mark.parametrize("name", CONFIGS)
def test_with_weights_in_bf16_it_computes_what_autocast_computes(name, adapters, random_steps):
    model = built(name).to(torch.bfloat16)
    if adapters:
        model = add_adapters(model, LoRAConfig(r=2, dropout=0.0), seed=0)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.requires_grad:
                    weight.normal_(0, 0.1)
    [examples] = random_steps(1, 3, *GA_GD.views)
    autocast, of_autocast = gradients(model.eval(), GA_GD, examples, computing(model, "bf16 autocast", CPU))
    losses, found = gradients(model, GA_GD, examples, computing(model, "bf16", CPU))
    assert torch.equal(losses, autocast)
    assert_equal(found, of_autocast)
    assert {each.dtype for each in found.values()} == {torch.float32 if adapters else torch.bfloat16}


@pytest.mark.parametrize("name", CONFIGS)
def test_with_weights_in_float32_it_is_nearly_as_close_to_float32_as_autocast(name, random_steps):
    model = built(name)
    [examples] = random_steps(1, 3, *GA_GD.views)

    def error(how):
        losses, found = gradients(model, GA_GD, examples, computing(model, how, CPU))
        assert {each.dtype for each in found.values()} == {torch.float32}
        torch.testing.assert_close(losses, exact, rtol=0.02, atol=0.02)
        return float(torch.cat([(found[key] - each).flatten() for key, each in expected.items()]).norm())

    exact, expected = gradients(model, GA_GD, examples, computing(model, "float32", CPU))
    size = float(torch.cat([each.flatten() for each in expected.values()]).norm())
    assert 0 < error("bf16") < max(2 * error("bf16 autocast"), 0.02 * size)


def test_inside_weights_are_bf16_and_afterwards_the_same_objects(tiny_llama):
    model = tiny_llama(tied=True)
    before = dict(model.named_parameters())

    def fail():
        with bf16_weights(model):
            assert {each.dtype for each in model.parameters()} == {torch.bfloat16}
            assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
            with bf16_weights(model):  # again, in a forward pass inside a step
                assert {each.dtype for each in model.parameters()} == {torch.bfloat16}
            assert {each.dtype for each in model.parameters()} == {torch.bfloat16}
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    after = dict(model.named_parameters())
    assert list(after) == list(before)
    assert all(after[name] is each for name, each in before.items())


def test_weights_that_every_model_keeps_in_float32_stay(tiny_llama):
    model = tiny_llama()
    model._keep_in_fp32_modules_strict = {
        "mlp.up_proj",
        "input_layernorm.weight",
        "norm",
        "layers.0.self_attn.*.weight",
    }
    with bf16_weights(model):
        kept = {name for name, each in model.named_parameters() if each.dtype == torch.float32}
    everywhere = {
        f"model.layers.{layer}.{name}.weight" for layer in (0, 1) for name in ("mlp.up_proj", "input_layernorm")
    }
    first = {f"model.layers.0.self_attn.{name}_proj.weight" for name in "qkvo"}
    assert kept == {*everywhere, *first, "model.norm.weight"}


def test_losses_over_a_training_stay_close_to_those_of_float32(train):
    schedule = Schedule(steps=20, warmup_steps=2, steps_per_epoch=5)
    exact = train(TRAIN.model_copy(update={"lr": 1e-3}), schedule=schedule)[2]
    model, trainer, logs = train(BF16, schedule=schedule)
    assert trainer.computation == "bf16"
    assert [log.loss for log in logs] == pytest.approx([log.loss for log in exact], abs=0.02)
    assert logs[0].loss != exact[0].loss
    assert {each.dtype for each in model.parameters()} == {torch.float32}
    assert {state["exp_avg"].dtype for state in trainer.optimizer.state.values()} == {torch.float32}


def test_updates_smaller_than_the_digits_of_bf16_add_up(train):
    """With a learning rate of 1e-6, weights of 0.1 would not change in bf16."""
    tiny_steps = BF16.model_copy(update={"lr": 1e-6, "weight_decay": 0.0, "schedule": "constant", "warmup_steps": 0})
    start = weights(train(tiny_steps.model_copy(update={"lr": 1e-30}))[0])
    end = weights(train(tiny_steps)[0])
    moved = largest_difference(end, start)
    assert 2e-6 < moved < 4e-6
    assert largest_difference({k: v.bfloat16().float() for k, v in end.items()}, end) > 1e-4


def test_micro_batches_add_gradients_in_float32(tiny_llama, random_steps):
    """A sum of bf16 gradients would differ by a part in 256, which is more than ten times as much."""
    model, [examples] = tiny_llama(), random_steps(1, 6, *GA_GD.views)
    bound = GA_GD
    _, whole = gradients(model, bound, examples, bf16_weights(model))
    model.zero_grad()
    with bf16_weights(model):
        batch_losses(model, bound, examples, Reference(), max_tokens_per_forward=1, backward=torch.Tensor.backward)
    rounded = 0
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, whole[name], rtol=0.05, atol=0.02 * float(whole[name].abs().max()))
        rounded += int((weight.grad != weight.grad.bfloat16()).sum())
    assert rounded > 1000


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"gradient_checkpointing": True},
        {"max_grad_norm": 0.1, "max_tokens_per_forward": 40},
        {"sam": SAMConfig(rho=0.05)},
        {"lora": LoRAConfig(r=2, dropout=0.3)},
        {"retain_bound": 1.0},
        pytest.param(
            {"optimizer": "adamw8bit"},
            marks=pytest.mark.skipif(adamw8bit_unsupported_reason(CPU) is not None, reason="needs torchao"),
        ),
    ],
    ids=lambda change: " ".join(change) or "plain",
)
def test_resumed_is_as_never_stopped(train, change, tmp_path):
    config, schedule = BF16.model_copy(update={**change, "save_steps": 2}), Schedule(5, 1, 5)
    dtype = torch.bfloat16 if config.optimizer == "adamw8bit" else torch.float32
    with torch.compiler.set_stance("force_eager"):
        whole = train(config, schedule=schedule, folder=tmp_path / "whole", dtype=dtype)
        train(config, schedule=schedule, stop_after=3, dtype=dtype)
        resumed = train(config, schedule=schedule, resume=True, dtype=dtype)
    assert_equal(weights(resumed[0]), weights(whole[0]))
    assert [log.loss for log in resumed[2]] == [log.loss for log in whole[2][2:]]


def test_recomputed_activations_are_computed_alike(train):
    plain, recomputed = (
        weights(train(BF16.model_copy(update={"gradient_checkpointing": each}))[0]) for each in (False, True)
    )
    assert_equal(recomputed, plain)


def test_states_inside_the_model_are_compared_in_float32(tiny_llama, random_steps):
    bound = objective("rmu+gd", ObjectiveConfig(rmu={"layer": 0}))
    [examples] = random_steps(1, 3, *bound.views)
    model = tiny_llama()
    (forget, _), _ = gradients(model, bound, examples, bf16_weights(model))
    (exact, _), _ = gradients(model, bound, examples, computing(model, "float32", CPU))
    assert float(forget) == pytest.approx(float(exact), rel=1e-3)


@pytest.mark.parametrize(
    ("config", "device_type", "expected"),
    [
        (TrainConfig(), "cpu", "float32"),
        (TrainConfig(), "cuda", "bf16 autocast"),
        (TrainConfig(autocast=False), "cpu", "float32"),
        (TrainConfig(autocast=False), "cuda", "bf16"),
        (TrainConfig(precision="bf16", autocast=False), "cpu", "bf16"),
        (TrainConfig(optimizer="adamw8bit"), "cpu", "bf16"),
        (TrainConfig(lora=LoRAConfig()), "cuda", "bf16"),
        (TrainConfig(lora=LoRAConfig()), "cpu", "float32"),
        (TrainConfig(lora=LoRAConfig(bits=4)), "cuda", "bf16 autocast"),
        (TrainConfig(sharding="fsdp2"), "cuda", "bf16 autocast"),
    ],
)
def test_how_a_training_computes(config, device_type, expected):
    assert computation(config, device_type) == expected


@pytest.mark.parametrize("other", [{"sharding": "fsdp2"}, {"lora": LoRAConfig(bits=8)}])
def test_without_autocast_weights_are_neither_sharded_nor_quantized(other):
    with pytest.raises(ValidationError) as error:
        TrainConfig(autocast=False, **other)
    assert_names(str(error.value), "autocast=false", next(iter(other)), "leave autocast=false out")
