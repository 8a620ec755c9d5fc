"""What is forecast from shapes, beside real models after a real step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, MambaConfig

from efface.errors import EffaceError
from efface.objectives.compute import term_values
from efface.objectives.method import objective
from efface.objectives.terms import Reference, divisors
from efface.report.diagnosis import Forecast
from efface.run.adapters import quantization, with_adapters
from efface.run.config import RunConfig
from efface.run.forecast import forecast, skeleton, state_of
from efface.run.settings import validated
from efface.run.workload import Workload, supposed
from efface.text.attention import packing
from efface.text.forward import unwrapped
from efface.text.template import Encoded
from efface.train import memory
from efface.train.config import LoRAConfig, TrainConfig
from efface.train.plan import Schedule

CPU = torch.device("cpu")
GIB = 2**30
SHAPES = {
    "grouped queries, tied head": LlamaConfig(
        vocab_size=97,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    ),
    "wide": LlamaConfig(
        vocab_size=61, hidden_size=48, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4
    ),
    "transposed weights": GPT2Config(
        vocab_size=97, n_embd=64, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=1, tie_word_embeddings=True
    ),
}
SEVEN_BILLION = LlamaConfig(hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32)


def run_config(**settings: Any) -> RunConfig:
    return validated(RunConfig, {"method": "ga+gd", "model": "none", "data": "generated", **settings})


def forecast_of(
    shape: Any, *, work: Workload | None = None, device: torch.device = CPU, free: int = 100 * GIB, **settings: Any
) -> Forecast:
    config = run_config(**settings)
    bound = objective(config.method, config)
    return forecast(shape, config, work or supposed(config, bound), bound, device=device, free=free)


# What is exact


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("lora", [None, LoRAConfig(r=4)], ids=["full", "lora"])
def test_state_is_that_of_real_tensors_after_a_step(shape: Any, lora: LoRAConfig | None) -> None:
    model = AutoModelForCausalLM.from_config(shape)
    check_state(model, shape, lora)


@pytest.mark.parametrize("bits", [4, 8])
def test_rounded_weights_are_counted_with_their_scales(bits: Any, tmp_path: Any) -> None:
    pytest.importorskip("bitsandbytes")
    shape, lora = SHAPES["grouped queries, tied head"], LoRAConfig(bits=bits)
    AutoModelForCausalLM.from_config(shape).save_pretrained(tmp_path)
    rounding = quantization(TrainConfig(lora=lora), CPU)
    model = AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.float32, quantization_config=rounding, device_map={"": CPU}
    )
    check_state(model, shape, lora)


def check_state(model: Any, shape: Any, lora: LoRAConfig | None) -> None:
    parameters = model.num_parameters()
    model = with_adapters(model, lora, seed=0) if lora else model
    weights = sum(map(bytes_with_scales, model.parameters()))  # before the first forward moves the scales of 8 bits
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    model.train()(torch.tensor([[5, 6, 7]])).logits.sum().backward()
    optimizer.step()
    moments = [each for state in optimizer.state.values() for each in state.values()]
    state = state_of(skeleton(shape, lora), lora)
    assert state.parameters == parameters
    assert state.trained == sum(parameter.numel() for parameter in trained)
    assert state.weights == weights
    assert state.gradients == sum(parameter.grad.nbytes for parameter in trained)
    assert state.optimizer == sum(each.nbytes for each in moments)


def bytes_with_scales(parameter: Any) -> int:
    rounded = getattr(parameter, "quant_state", None)
    scales = [rounded.absmax, rounded.code] if rounded else []
    scales += [parameter.SCB] if getattr(parameter, "SCB", None) is not None else []
    return parameter.nbytes + sum(each.nbytes for each in scales)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_cache_is_that_of_a_real_batch(shape: Any) -> None:
    config = run_config(evaluate={"new_tokens": 3, "batch_tokens": 16})
    bound = objective(config.method, config)
    work = Workload(supposed(config, bound).steps, [5, 5, 2], [8], [], Schedule(1, 0, 1), is_counted=True)
    planned = forecast(shape, config, work, bound, device=CPU, free=GIB)
    with torch.no_grad():
        cache = AutoModelForCausalLM.from_config(shape)(torch.zeros(2, 8, dtype=torch.long)).past_key_values
    assert planned.cache == sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)


@pytest.mark.parametrize("lora", [None, LoRAConfig(r=4)], ids=["full", "lora"])
def test_a_model_without_attention_is_forecast(lora: LoRAConfig | None) -> None:
    shape = MambaConfig(vocab_size=97, hidden_size=64, num_hidden_layers=2)
    planned = forecast_of(shape, train={"lora": lora and lora.model_dump()})
    assert planned.cache == 0
    assert planned.trained == state_of(skeleton(shape, lora), lora).trained
    assert planned.training > planned.weights


# What is estimated


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("lora", [None, LoRAConfig(r=4)], ids=["full", "lora"])
def test_activations_are_within_a_half_of_what_is_kept(shape: Any, lora: LoRAConfig | None) -> None:
    model = AutoModelForCausalLM.from_config(shape)
    model = with_adapters(model, lora, seed=0) if lora else model
    kept, tokens = kept_for_backward(model)
    estimated = memory.activation_bytes(shape, TrainConfig(lora=lora), "cpu")
    assert estimated / 1.5 < kept / tokens < 1.5 * estimated


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
    bound = objective(config.method, config)
    views = {view: [Encoded(f"{view}/{n}", [5] * 59, [6]) for n in range(4)] for view in bound.views}
    by = [divisors(term, views) for term in bound.terms]
    model.train()
    with packing(unwrapped(model)), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        values = term_values(model, bound.terms, views, by, Reference())
    assert len(values) == 2
    return sum(kept.values()), 60 * 8


def test_logits_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = SHAPES["wide"]
    views = 2 * 64  # two items of 64 answer tokens
    whole = 4 * 61  # bytes of one row
    settings = {"train": {"batch_size": 2}}
    assert forecast_of(shape, **settings).logits == (views + views + 2 * views) * whole
    everywhere = 2 * 127  # ME reads all tokens but the first
    assert forecast_of(shape, method="me", **settings).logits == (3 + 2) * everywhere * whole
    assert forecast_of(shape, method="me+kl", **settings).logits == ((3 + 2) * everywhere + 4 * views) * whole
    monkeypatch.setattr("efface.text.forward._CHUNK_ELEMENTS", 50 * 61)
    assert forecast_of(shape, **settings).logits == (1 + 2) * 50 * whole


def test_a_budget_cuts_the_largest_forward() -> None:
    shape, train = SHAPES["wide"], {"batch_size": 8}
    assert forecast_of(shape, train=train).tokens == 8 * 2 * 128
    assert forecast_of(shape, train={**train, "token_budget": 600}).tokens == 2 * 2 * 128
    assert forecast_of(shape, train=train, free=0).tokens == 512 // 256 * 256


def test_what_only_some_runs_need() -> None:
    shape = SHAPES["grouped queries, tied head"]
    plain = forecast_of(shape)
    assert (plain.reference, plain.copies, plain.loading) == (0, 0, 0)
    assert forecast_of(shape, method="ga+kl").reference == plain.weights
    assert forecast_of(shape, method="ga+kl", train={"lora": {}}).reference == 0
    on_gpu = forecast_of(shape, device=torch.device("cuda"))
    matrices = sum(p.numel() for p in skeleton(shape, None).parameters() if p.ndim == 2)
    assert on_gpu.copies == 2 * matrices
    assert on_gpu.loading == on_gpu.weights
    assert on_gpu.activations_per_token == plain.activations_per_token / 2


def test_disk_holds_the_last_checkpoint_until_the_next_is_whole() -> None:
    shape = SHAPES["wide"]
    config = run_config()
    steps = supposed(config, objective(config.method, config)).steps

    def planned(**train: Any) -> Forecast:
        work = Workload(steps, [5], [8], [], Schedule(steps=10, warmup=0, per_epoch=4), is_counted=True)
        return forecast_of(shape, work=work, train=train)

    assert [planned(checkpoint_every=n).checkpoints for n in (4, 9, 10)] == [2, 1, 0]
    assert planned().disk == 2 * planned().checkpoint
    assert planned(checkpoint_every=9).disk == planned().checkpoint + planned().saved
    assert planned().checkpoint == 12 * planned().trained


def test_disk_holds_what_each_epoch_but_the_last_trained_until_it_is_scored() -> None:
    shape = SHAPES["wide"]
    config = run_config()
    steps = supposed(config, objective(config.method, config)).steps

    def planned(**settings: Any) -> Forecast:
        work = Workload(steps, [5], [8], [], Schedule(steps=10, warmup=0, per_epoch=4), is_counted=True)
        train = {"checkpoint_every": 9, "epochs": 3, **settings.pop("train", {})}
        return forecast_of(shape, work=work, train=train, **settings)

    plain, each = planned(), planned(evaluate={"every": "epoch"})
    assert (plain.epochs, each.epochs) == (0, 2 * 4 * each.trained)
    assert each.disk == plain.disk + each.saved + each.epochs
    assert planned(evaluate={"every": "epoch"}, train={"epochs": 1}).disk == plain.disk
    assert planned(evaluate={"every": "epoch"}, train={"epochs": 40}).epochs == 9 * 4 * each.trained  # no step, no end


@pytest.mark.parametrize("method", ["ga+kl", "npo+gd"])
@pytest.mark.parametrize("lora", [None, {"r": 4}])
def test_a_reference_of_its_own_takes_memory_where_distributions_are_compared(method: str, lora: Any) -> None:
    def reference(**settings: Any) -> int:
        return forecast_of(SHAPES["wide"], method=method, train={"lora": lora}, **settings).reference

    whole = 4 * forecast_of(SHAPES["wide"]).parameters
    assert reference(reference="other/model") == (whole if method == "ga+kl" else 0)
    assert reference() == (whole if method == "ga+kl" and lora is None else 0)


def test_settings_stay_as_they_were() -> None:
    shape = LlamaConfig.from_dict({**SHAPES["wide"].to_dict(), "dtype": "bfloat16"})
    planned = forecast_of(shape)
    assert shape.dtype == torch.bfloat16
    assert planned.saved == 2 * planned.parameters
    assert planned.weights == 4 * planned.parameters


def test_seven_billion_parameters_need_no_weights() -> None:
    full = forecast_of(SEVEN_BILLION, train={"token_budget": 512})
    assert full.parameters == 6_738_415_616
    assert full.training > 16 * full.parameters
    rounded = forecast_of(SEVEN_BILLION, train={"token_budget": 512, "lora": {"bits": 4}})
    assert rounded.weights < 0.2 * full.weights
    assert rounded.training < 0.2 * full.training


def test_settings_that_make_no_model() -> None:
    with pytest.raises(EffaceError, match=r"its config\.json makes no causal language model"):
        skeleton(LlamaConfig(hidden_act="nonsense"), None)
