"""How many bytes a training takes beside the weights: gradients, optimizer state, copies in bf16, activations."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch

from efface.packing.forward import unwrap_peft
from efface.train.config import TrainConfig
from efface.train.optimizer.optimizer import state_bytes
from efface.train.precision import computation

HALF_PRECISION = 2
"""Bytes of a number in bf16."""


def training_state_bytes(model: Any, config: TrainConfig, device_type: str) -> int:
    """Bytes that training adds to the loaded weights: gradients, AdamW's state and copies in bf16.

    Args:
        model: Of transformers or PEFT.
        config: Settings of training.
        device_type: Such as `cuda`.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    state: int = sum(each.nbytes + state_bytes(each, config) for each in trained)
    return state + copy_bytes(model, config, device_type)


def copy_bytes(model: Any, config: TrainConfig, device_type: str, quantized: Collection[int] = ()) -> int:
    """Bytes of the bf16 copies of float32 weights that are kept during a step.

    Args:
        model: Of transformers or PEFT.
        config: Settings of training.
        device_type: Such as `cuda`.
        quantized: As in `autocast_copy_bytes`.
    """
    how = computation(config, device_type)
    if how == "bf16":
        return HALF_PRECISION * sum(int(each.numel()) for each in model.parameters() if each.dtype == torch.float32)
    return autocast_copy_bytes(model, quantized) if how == "bf16 autocast" else 0


def autocast_copy_bytes(model: Any, quantized: Collection[int] = ()) -> int:
    """Bytes of autocast's bf16 copies of float32 weights.

    Args:
        model: The weights that it multiplies with are copied: matrices, but not the embeddings.
        quantized: `id`s of weights that will be quantized, which are not copied.

    Returns:
        Two bytes for each copied weight.
    """
    inner = unwrap_peft(model)
    embeddings, head = inner.get_input_embeddings().weight, inner.get_output_embeddings().weight
    multiplied = (each for each in inner.parameters() if each.ndim >= 2 and (each is not embeddings or each is head))
    copied = (each for each in multiplied if each.dtype == torch.float32 and id(each) not in quantized)
    return HALF_PRECISION * sum(int(each.numel()) for each in copied)


def activation_bytes(model_config: Any, config: TrainConfig, device_type: str, *, checkpointing: bool) -> int:
    """Bytes per token that the layers store for the backward pass, estimated from the shape of a dense decoder.

    Measured with tiny models of five architectures, the true size is 0.5 to 1.4 times the estimate; in bf16, where
    norms stay float32, up to twice.

    Args:
        model_config: Of transformers.
        config: Settings of training.
        device_type: Such as `cuda`; decides the precision.
        checkpointing: Whether gradient checkpointing is on.
    """
    shape = model_config.get_text_config()
    layer = values_per_layer(model_config)
    if config.lora is not None and config.lora.dropout > 0:
        layer += 6 * shape.hidden_size + intermediate_size(shape)  # each adapter's dropout stores its input
    layers = shape.num_hidden_layers
    values = layers * shape.hidden_size + layer if checkpointing else layers * layer
    return int(values * (HALF_PRECISION if config.bf16_on(device_type) else 4))


def values_per_layer(model_config: Any) -> int:
    """Values per token that one layer computes: two norms, q, k, v, attention, residuals; gate, up, product."""
    shape = model_config.get_text_config()
    return int(10 * shape.hidden_size + 5 * intermediate_size(shape))


def intermediate_size(shape: Any) -> int:
    """Width of a layer's MLP.

    Args:
        shape: The config of a text model.
    """
    return int(getattr(shape, "intermediate_size", None) or 4 * shape.hidden_size)
