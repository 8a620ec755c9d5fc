"""What training keeps of a model in memory, from its shapes alone: no weight is read."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch

from efface.errors import EffaceError, first_line
from efface.models.lora import add_adapters
from efface.packing.forward import unwrap_peft
from efface.train.config import LoRAConfig, TrainConfig
from efface.train.optimizer import state_bytes, weights_dtype
from efface.train.token_budget import autocast_copy_bytes

_FLOAT32_BYTES = 4
"""Bytes of a number in float32."""
_NF4_BLOCK = 64
"""Weights that share a scale in NF4."""


_NF4_TABLE_BYTES = 16 * _FLOAT32_BYTES
"""The numbers that 4 bits stand for, kept beside each matrix."""


@dataclass(frozen=True)
class TrainingMemory:
    """What stays in memory from one step to the next, in bytes, and how many numbers it is of."""

    parameters: int
    """Of the model without adapters."""
    trained: int
    weights: int
    """Adapters included."""
    gradients: int
    optimizer: int
    """Two moments of each trained number, and a step counter a tensor."""
    copies: int
    """In half precision, which autocast makes of what is whole."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.copies


def meta_model(settings: Any, lora: LoRAConfig | None, *, dtype: torch.dtype = torch.float32) -> Any:
    """The model of a config.json, inside PEFT if `lora`, without any numbers: on torch's meta device.

    Raises `EffaceError` for settings of anything else than a causal language model.
    """
    from transformers import AutoModelForCausalLM

    try:
        own = deepcopy(settings)  # transformers writes the dtype into what it is given
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(own, dtype=dtype, trust_remote_code=False)
    except Exception as error:  # transformers and the model's own code each raise their own
        raise EffaceError(f"its config.json makes no causal language model: {first_line(error)}") from error
    with torch.device("meta"):
        return model if lora is None else add_adapters(model, lora, seed=0)


def estimate_training_memory(settings: Any, train: TrainConfig, device_type: str) -> TrainingMemory:
    """What training on a device such as `cuda` keeps of the model of a config.json; `train.optimizer` is settled.

    Raises `EffaceError` as `meta_model` does.
    """
    return count_training_memory(
        meta_model(settings, train.lora, dtype=weights_dtype(train, device_type)), train, device_type
    )


def count_training_memory(model: Any, train: TrainConfig, device_type: str) -> TrainingMemory:
    """Count a `meta_model` that was made with the adapters of `train`, in `weights_dtype`."""
    bits = train.lora.bits if train.lora else None
    rounded = _quantized_bytes(model, bits) if bits else {}
    parameters = list(model.parameters())
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    count = sum(parameter.numel() for parameter in trained)
    return TrainingMemory(
        parameters=sum(parameter.numel() for parameter in parameters) - (count if train.lora else 0),
        trained=count,
        weights=sum(rounded.get(id(each), each.nbytes) for each in parameters),
        gradients=sum(each.nbytes for each in trained),
        optimizer=sum(state_bytes(each, train) for each in trained),
        copies=autocast_copy_bytes(model, rounded) if train.bf16_on(device_type) else 0,
    )


def _quantized_bytes(model: Any, bits: int) -> dict[int, int]:
    """Id of each weight that bitsandbytes rounds -> its bytes: those of linear layers but the head."""
    from transformers.pytorch_utils import Conv1D

    inner = unwrap_peft(model)
    head = inner.get_output_embeddings().weight
    return {
        id(module.weight): _quantized_layer_bytes(module, bits)
        for module in inner.modules()
        if isinstance(module, torch.nn.Linear | Conv1D)
        and module.weight is not head
        and not module.weight.requires_grad  # as an adapter's
    }


def _quantized_layer_bytes(module: Any, bits: int) -> int:
    count: int = module.weight.numel()
    if bits == 8:
        outputs: int = module.out_features if isinstance(module, torch.nn.Linear) else module.nf
        return count + outputs * _FLOAT32_BYTES  # a scale for each output
    return (count + 1) // 2 - (-count // _NF4_BLOCK) * _FLOAT32_BYTES + _NF4_TABLE_BYTES
