"""What training keeps of a model in memory, from its config.json alone: no weight is read."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch

from efface.errors import EffaceError, first_line
from efface.models.lora import add_adapters
from efface.packing.forward import unwrap_peft
from efface.train.batches.memory_use import copy_bytes
from efface.train.config import LoRAConfig, TrainConfig
from efface.train.optimizer.optimizer import state_bytes, weights_dtype
from efface.train.optimizer.trained_weights import choose_trained

_FLOAT32_BYTES = 4
"""Bytes of a number in float32."""
_NF4_BLOCK = 64
"""Weights that share a scale in NF4."""
_NF4_TABLE_BYTES = 16 * _FLOAT32_BYTES
"""Table of the 16 values of NF4, stored with each matrix."""


@dataclass(frozen=True)
class TrainingMemory:
    """What stays in memory from one optimizer step to the next, in bytes, and the number of parameters."""

    parameters: int
    """Number of the model's parameters, adapters excluded."""
    trained: int
    """Number of the parameters that are trained."""
    weights: int
    """Bytes of the weights, adapters included."""
    gradients: int
    """Bytes of the gradients."""
    optimizer: int
    """Bytes of the optimizer's state: two moments of each trained parameter, and a step counter per tensor."""
    copies: int
    """Bytes of half-precision copies of float32 weights, made by autocast or once a step."""

    @property
    def total(self) -> int:
        """Bytes of all of it."""
        return self.weights + self.gradients + self.optimizer + self.copies


def meta_model(
    model_config: Any,
    lora: LoRAConfig | None,
    *,
    dtype: torch.dtype = torch.float32,
    parameters: str | None = None,
) -> Any:
    """A model on torch's meta device: all shapes, no numbers.

    Args:
        model_config: The model's config.json; left unchanged.
        lora: Adapters to add; None for none.
        dtype: Dtype of the model's weights.
        parameters: As the setting of training: which weights are trained.

    Returns:
        The model, inside PEFT if it has adapters.

    Raises:
        EffaceError: Where the config.json is not that of a causal language model, or has no such weights.
    """
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            # transformers writes the dtype into the config that it is given
            model = AutoModelForCausalLM.from_config(deepcopy(model_config), dtype=dtype, trust_remote_code=False)
    except Exception as error:  # transformers and the model's code each raise their own
        raise EffaceError(f"its config.json is not one of a causal language model: {first_line(error)}") from error
    choose_trained(model, parameters)
    with torch.device("meta"):
        return model if lora is None else add_adapters(model, lora, seed=0)


def estimate_training_memory(model_config: Any, train: TrainConfig, device_type: str) -> TrainingMemory:
    """What training keeps in memory.

    Args:
        model_config: The model's config.json.
        train: Training settings, with a resolved `optimizer`.
        device_type: Where it is trained, such as `cuda`.

    Returns:
        Exact sizes.

    Raises:
        EffaceError: As `meta_model`.
    """
    model = meta_model(model_config, train.lora, dtype=weights_dtype(train, device_type), parameters=train.parameters)
    return count_training_memory(model, train, device_type)


def count_training_memory(model: Any, train: TrainConfig, device_type: str) -> TrainingMemory:
    """As `estimate_training_memory`, for a `meta_model` with the adapters of `train` and in `weights_dtype`.

    Args:
        model: Of transformers or PEFT; its weights may be on the meta device.
        train: Training settings, with a resolved `optimizer`.
        device_type: Where it is trained, such as `cuda`.

    Returns:
        Exact sizes.
    """
    bits = train.lora.bits if train.lora else None
    quantized = _quantized_bytes(model, bits) if bits else {}
    parameters = list(model.parameters())
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    count = sum(parameter.numel() for parameter in trained)
    return TrainingMemory(
        parameters=sum(parameter.numel() for parameter in parameters) - (count if train.lora else 0),
        trained=count,
        weights=sum(quantized.get(id(each), each.nbytes) for each in parameters),
        gradients=sum(each.nbytes for each in trained),
        optimizer=sum(state_bytes(each, train) for each in trained),
        copies=copy_bytes(model, train, device_type, quantized),
    )


def _quantized_bytes(model: Any, bits: int) -> dict[int, int]:
    """Id of each weight that bitsandbytes quantizes -> its bytes: those of linear layers except the output head."""
    from transformers.pytorch_utils import Conv1D

    inner = unwrap_peft(model)
    head = inner.get_output_embeddings().weight
    return {
        id(module.weight): _quantized_layer_bytes(module, bits)
        for module in inner.modules()
        if isinstance(module, torch.nn.Linear | Conv1D)
        and module.weight is not head
        and not module.weight.requires_grad  # adapters are not quantized
    }


def _quantized_layer_bytes(module: Any, bits: int) -> int:
    count: int = module.weight.numel()
    if bits == 8:
        outputs: int = module.out_features if isinstance(module, torch.nn.Linear) else module.nf
        return count + outputs * _FLOAT32_BYTES  # a scale per output
    return (count + 1) // 2 - (-count // _NF4_BLOCK) * _FLOAT32_BYTES + _NF4_TABLE_BYTES
