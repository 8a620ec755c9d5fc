"""Memory of training, counted from shapes: compared with real tensors after a step."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from efface.errors import EffaceError
from efface.models.lora import add_adapters
from efface.models.memory_estimate import estimate_training_memory, meta_model
from efface.models.quantization import quantization_config
from efface.train.batches.memory_use import autocast_copy_bytes
from efface.train.config import LoRAConfig, TrainConfig
from efface.train.optimizer.optimizer import adamw8bit_unsupported_reason, make_optimizer, weights_dtype
from support.model_configs import MODEL_CONFIGS, TRAINING_OPTIONS

CPU = torch.device("cpu")


@pytest.mark.parametrize("model_config", MODEL_CONFIGS.values(), ids=MODEL_CONFIGS)
@pytest.mark.parametrize("train", TRAINING_OPTIONS.values(), ids=TRAINING_OPTIONS)
def test_memory_is_that_of_real_tensors_after_a_step(model_config: Any, train: TrainConfig) -> None:
    if train.optimizer == "adamw8bit" and (why := adamw8bit_unsupported_reason(CPU)):
        pytest.skip(f"8-bit AdamW needs {why}")
    model = AutoModelForCausalLM.from_config(deepcopy(model_config), dtype=weights_dtype(train, "cpu"))
    check_state(model, model_config, train)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("bits", [4, 8])
def test_quantized_weights_are_counted_with_their_scales(bits: Any, precision: Any, tmp_path: Any) -> None:
    pytest.importorskip("bitsandbytes")
    model_config = MODEL_CONFIGS["grouped queries, tied head"]
    train = TrainConfig(lora=LoRAConfig(bits=bits), precision=precision)
    AutoModelForCausalLM.from_config(model_config).save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(
        tmp_path,
        dtype=weights_dtype(train, "cpu"),
        quantization_config=quantization_config(train, CPU),
        device_map={"": CPU},
    )
    check_state(model, model_config, train)


def check_state(model: Any, model_config: Any, train: TrainConfig) -> None:
    parameters = model.num_parameters()
    model = add_adapters(model, train.lora, seed=0) if train.lora else model
    weights = sum(map(bytes_with_scales, model.parameters()))  # before the first forward moves the scales of 8 bits
    copies = autocast_copy_bytes(model) if train.bf16_on("cpu") else 0
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(model, train)
    with torch.autocast("cpu", enabled=train.bf16_on("cpu")), torch.compiler.set_stance("force_eager"):
        model.train()(torch.tensor([[5, 6, 7]])).logits.sum().backward()
        optimizer.step()
    moments = [part for state in optimizer.state.values() for each in state.values() for part in parts_of(each)]
    state = estimate_training_memory(model_config, train, "cpu")
    assert state.parameters == parameters
    assert state.trained == sum(parameter.numel() for parameter in trained)
    assert state.weights == weights
    assert state.gradients == sum(parameter.grad.nbytes for parameter in trained)
    assert state.optimizer == sum(each.nbytes for each in moments)
    assert state.copies == copies
    assert state.total == weights + state.gradients + state.optimizer + copies


def parts_of(state: Any) -> list[torch.Tensor]:
    """The tensors inside an 8-bit tensor."""
    return [getattr(state, name) for name in getattr(state, "tensor_attrs", ())] or [state]


def bytes_with_scales(parameter: Any) -> int:
    quantized = getattr(parameter, "quant_state", None)
    scales = [quantized.absmax, quantized.code] if quantized else []
    scales += [parameter.SCB] if getattr(parameter, "SCB", None) is not None else []
    return parameter.nbytes + sum(each.nbytes for each in scales)


def test_config_json_of_no_model() -> None:
    with pytest.raises(EffaceError, match=r"its config\.json is not one of a causal language model"):
        meta_model(LlamaConfig(hidden_act="nonsense"), None)


def test_the_config_is_left_as_it_was() -> None:
    model_config = LlamaConfig.from_dict({**MODEL_CONFIGS["wide"].to_dict(), "dtype": "bfloat16"})
    assert meta_model(model_config, None).dtype == torch.float32
    assert model_config.dtype == torch.bfloat16
