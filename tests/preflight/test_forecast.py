"""What is forecast from shapes, compared with real models after a real step."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MambaConfig

from efface.config.commands import RunConfig
from efface.config.parse import validate_config
from efface.models.lora import add_adapters
from efface.models.memory_estimate import estimate_training_memory, meta_model
from efface.objectives.compute import term_values
from efface.objectives.method import objective
from efface.objectives.terms import Reference, divisors
from efface.packing.attention import packed_attention_enabled
from efface.packing.forward import unwrap_peft
from efface.preflight.diagnosis import Forecast
from efface.preflight.forecast import forecast
from efface.preflight.workload import Workload, assumed_workload
from efface.reference.hidden_states import FrozenHead, stored_bytes
from efface.text.sequence import TokenizedSequence
from efface.train.batches.memory_use import activation_bytes, autocast_copy_bytes
from efface.train.batches.schedule import Schedule
from efface.train.config import LoRAConfig, TrainConfig
from efface.train.optimizer.optimizer import weights_dtype
from support.model_configs import MODEL_CONFIGS, TRAINING_OPTIONS

CPU = torch.device("cpu")
GIB = 2**30
SEVEN_BILLION = LlamaConfig(hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32)


def run_config(**settings: Any) -> RunConfig:
    return validate_config(RunConfig, {"method": "ga+gd", "model": "none", "data": "synthetic-authors", **settings})


def forecast_of(
    model_config: Any,
    *,
    workload: Workload | None = None,
    device: torch.device = CPU,
    free: int = 100 * GIB,
    **settings: Any,
) -> Forecast:
    config = run_config(**settings)
    method = objective(config.method, config)
    return forecast(
        model_config, config, workload or assumed_workload(config, method), method, device=device, free=free
    )


@pytest.mark.parametrize("model_config", MODEL_CONFIGS.values(), ids=MODEL_CONFIGS)
def test_cache_is_that_of_a_real_batch(model_config: Any) -> None:
    config = run_config(evaluate={"max_new_tokens": 3, "max_cache_tokens": 16})
    method = objective(config.method, config)
    workload = Workload(assumed_workload(config, method).steps, [5, 5, 2], [8], [], Schedule(1, 0, 1))
    planned = forecast(model_config, config, workload, method, device=CPU, free=GIB)
    with torch.no_grad():
        cache = AutoModelForCausalLM.from_config(model_config)(torch.zeros(2, 8, dtype=torch.long)).past_key_values
    assert planned.cache == sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)


@pytest.mark.parametrize("lora", [None, LoRAConfig(r=4)], ids=["full", "lora"])
def test_a_model_without_attention_is_forecast(lora: LoRAConfig | None) -> None:
    model_config = MambaConfig(vocab_size=97, hidden_size=64, num_hidden_layers=2)
    planned = forecast_of(model_config, train={"lora": lora and lora.model_dump()})
    assert planned.cache == 0
    assert planned.trained == estimate_training_memory(model_config, TrainConfig(lora=lora), "cpu").trained
    assert planned.training > planned.weights


@pytest.mark.parametrize("model_config", MODEL_CONFIGS.values(), ids=MODEL_CONFIGS)
@pytest.mark.parametrize("train", TRAINING_OPTIONS.values(), ids=TRAINING_OPTIONS)
def test_activations_are_about_what_is_kept(model_config: Any, train: TrainConfig) -> None:
    """In bf16 some stay in float32, such as those of norms; the budget asks for twice what is estimated."""
    model = AutoModelForCausalLM.from_config(deepcopy(model_config), dtype=weights_dtype(train, "cpu"))
    model = add_adapters(model, train.lora, seed=0) if train.lora else model
    half = train.bf16_on("cpu")
    with torch.autocast("cpu", enabled=half):
        kept, tokens = kept_for_backward(model)
    kept -= autocast_copy_bytes(model) if half else 0
    estimated = activation_bytes(model_config, train, "cpu", checkpointing=False)
    assert estimated / 1.5 < kept / tokens < (2 if half else 1.5) * estimated


def kept_for_backward(model: Any) -> tuple[int, int]:
    """Bytes that the layers and the losses of a forward keep, weights aside, and its tokens."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    config = run_config()
    method = objective(config.method, config)
    views = {
        view: [
            TokenizedSequence(f"{view}/{n}", [8 * number + n] * 59, [6]) for n in range(4)
        ]  # no two of them share a prompt
        for number, view in enumerate(method.views)
    }
    by = [divisors(term, views) for term in method.terms]
    model.train()
    with (
        packed_attention_enabled(unwrap_peft(model)),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        values = term_values(model, method.terms, views, by, Reference())
    assert len(values) == 2
    return sum(kept.values()), 60 * 8


def test_logits_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    model_config = MODEL_CONFIGS["wide"]
    views = 2 * 64  # two items of 64 answer tokens
    row = 4 * 61  # bytes of one row
    settings = {"train": {"batch_size": 2}}
    assert forecast_of(model_config, **settings).logits == (views + views + 2 * views) * row
    everywhere = 2 * 127  # ME reads all tokens but the first
    assert forecast_of(model_config, method="me", **settings).logits == (3 + 2) * everywhere * row
    assert forecast_of(model_config, method="me+kl", **settings).logits == ((3 + 2) * everywhere + 4 * views) * row
    monkeypatch.setattr("efface.packing.forward._CHUNK_ELEMENTS", 50 * 61)
    assert forecast_of(model_config, **settings).logits == (1 + 2) * 50 * row


def test_a_budget_cuts_the_largest_forward() -> None:
    model_config, train = MODEL_CONFIGS["wide"], {"batch_size": 8}
    assert forecast_of(model_config, train=train).tokens == 8 * 2 * 128
    assert forecast_of(model_config, train={**train, "max_tokens_per_forward": 600}).tokens == 2 * 2 * 128
    short = forecast_of(model_config, train=train, free=0)
    assert (short.tokens, short.checkpointing) == (512 // 256 * 256, True)
    assert not forecast_of(model_config, train=train).checkpointing


def test_what_only_some_runs_need() -> None:
    model_config = MODEL_CONFIGS["grouped queries, tied head"]
    plain = forecast_of(model_config)
    assert (plain.reference, plain.copies, plain.loading) == (0, 0, 0)
    assert forecast_of(model_config, method="ga+kl", train={"kl_reference": "live"}).reference == plain.weights
    assert forecast_of(model_config, method="ga+kl", train={"lora": {}}).reference == 0
    on_gpu = forecast_of(model_config, device=torch.device("cuda"))
    matrices = sum(p.numel() for p in meta_model(model_config, None).parameters() if p.ndim == 2)
    assert on_gpu.copies == 2 * matrices
    assert on_gpu.loading == on_gpu.weights
    assert on_gpu.activations_per_token == plain.activations_per_token / 2


def test_disk_holds_the_last_checkpoint_until_the_next_is_whole() -> None:
    model_config = MODEL_CONFIGS["wide"]
    config = run_config()
    steps = assumed_workload(config, objective(config.method, config)).steps

    def planned(**train: Any) -> Forecast:
        workload = Workload(steps, [5], [8], [], Schedule(steps=10, warmup_steps=0, steps_per_epoch=4))
        return forecast_of(model_config, workload=workload, train=train)

    assert [planned(save_steps=n).checkpoints for n in (4, 9, 10)] == [2, 1, 0]
    assert planned().disk == 2 * planned().checkpoint
    assert planned(save_steps=9).disk == planned().checkpoint + planned().saved
    tensors = len(list(meta_model(model_config, None).parameters()))
    assert planned().checkpoint == 12 * planned().trained + 4 * tensors  # counters of steps


def test_disk_holds_what_each_epoch_but_the_last_trained_until_it_is_scored() -> None:
    model_config = MODEL_CONFIGS["wide"]
    config = run_config()
    steps = assumed_workload(config, objective(config.method, config)).steps

    def planned(**settings: Any) -> Forecast:
        workload = Workload(steps, [5], [8], [], Schedule(steps=10, warmup_steps=0, steps_per_epoch=4))
        train = {"save_steps": 9, "epochs": 3, **settings.pop("train", {})}
        return forecast_of(model_config, workload=workload, train=train, **settings)

    plain, each = planned(), planned(evaluate={"every": "epoch"})
    assert (plain.epochs, each.epochs) == (0, 2 * 4 * each.trained)
    assert each.disk == plain.disk + each.saved + each.epochs
    assert planned(evaluate={"every": "epoch"}, train={"epochs": 1}).disk == plain.disk
    assert planned(evaluate={"every": "epoch"}, train={"epochs": 40}).epochs == 9 * 4 * each.trained  # no step, no end


@pytest.mark.parametrize("lora", [None, {"r": 4}])
def test_a_second_model_takes_memory_where_distributions_are_compared_live(lora: Any) -> None:
    def reference(method: str, **settings: Any) -> int:
        train = {"lora": lora, "kl_reference": "live"}
        return forecast_of(MODEL_CONFIGS["wide"], method=method, train=train, **settings).reference

    whole = 4 * forecast_of(MODEL_CONFIGS["wide"]).parameters
    assert reference("ga+kl", reference="other/model") == whole
    assert reference("ga+kl") == (0 if lora else whole)
    assert reference("npo+gd", reference="other/model") == 0


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("lora", [None, {"r": 4}])
def test_cached_states_take_disk_and_a_head_that_changes_memory(lora: Any, precision: Any) -> None:
    """As many bytes as the reference takes and writes for a real model."""
    train = TrainConfig(lora=lora, precision=precision, kl_reference="cached", batch_size=2)
    planned = forecast_of(MODEL_CONFIGS["wide"], method="ga+kl", train=train.model_dump())
    model = AutoModelForCausalLM.from_config(deepcopy(MODEL_CONFIGS["wide"]), dtype=weights_dtype(train, "cpu"))
    model = add_adapters(model, train.lora, seed=0) if train.lora else model
    config = run_config(method="ga+kl", train=train.model_dump())
    method = objective(config.method, config)
    steps = assumed_workload(config, method).steps
    reads = [
        (example[view], at) for step in steps for example in step for view, at in method.distribution_reference_views
    ]
    with torch.autocast("cpu", enabled=train.bf16_on("cpu")):
        copied = FrozenHead(model)._output_embeddings.weight
        assert planned.states == stored_bytes(model, reads) > 0
    own = copied is unwrap_peft(model).get_output_embeddings().weight
    assert planned.reference == (0 if own else copied.nbytes)
    assert own is (lora is not None)
    assert planned.disk >= planned.states + planned.saved
    assert forecast_of(MODEL_CONFIGS["wide"], method="npo+gd").states == 0


def test_with_adapters_kl_compares_with_states_and_the_head_itself() -> None:
    planned = forecast_of(MODEL_CONFIGS["wide"], method="ga+kl", train={"lora": {}})
    assert planned.states > 0
    assert planned.reference == 0
    kept = forecast_of(MODEL_CONFIGS["wide"], method="ga+kl", train={"lora": {"adapter": "keep"}})
    assert kept.states > 0
    another = forecast_of(MODEL_CONFIGS["wide"], method="ga+kl", train={"lora": {}}, reference="other/model")
    assert another.states > 0
    assert another.reference == 61 * 48 * 4


def test_settings_stay_as_they_were() -> None:
    model_config = LlamaConfig.from_dict({**MODEL_CONFIGS["wide"].to_dict(), "dtype": "bfloat16"})
    planned = forecast_of(model_config)
    assert model_config.dtype == torch.bfloat16
    assert planned.saved == 2 * planned.parameters
    assert planned.weights == 4 * planned.parameters


def test_seven_billion_parameters_need_no_weights() -> None:
    full = forecast_of(SEVEN_BILLION, train={"max_tokens_per_forward": 512})
    assert full.parameters == 6_738_415_616
    assert full.training > 16 * full.parameters
    quantized = forecast_of(SEVEN_BILLION, train={"max_tokens_per_forward": 512, "lora": {"bits": 4}})
    assert quantized.weights < 0.2 * full.weights
    assert quantized.training < 0.2 * full.training


def on_a_gpu(free: int, **train: Any) -> Forecast:
    device = torch.device("cuda")
    return forecast_of(SEVEN_BILLION, device=device, free=free, train={"batch_size": 32, **train})


def test_seven_billion_parameters_on_one_gpu() -> None:
    small = on_a_gpu(79 * GIB, optimizer="adamw8bit")
    assert small.weights == small.gradients == small.loading == 2 * small.parameters
    assert small.copies == 0
    assert small.optimizer == pytest.approx(2 * small.parameters, rel=0.02)
    assert small.training < 0.95 * 79 * GIB
    assert not small.checkpointing
    assert small.precision.startswith("weights bf16 with stochastic rounding, AdamW states 8 bit")


@pytest.mark.parametrize("lora", [{}, {"bits": 4}], ids=["full precision", "4 bits"])
def test_adapters_of_seven_billion_parameters_on_a_smaller_one(lora: Any) -> None:
    planned = on_a_gpu(23 * GIB, lora=lora)
    assert planned.training < 22 * GIB
    assert planned.weights < 2.05 * planned.parameters
    assert planned.copies == 2 * planned.trained  # adapters alone are float32
