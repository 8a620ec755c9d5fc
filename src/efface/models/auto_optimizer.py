"""Resolve `train.optimizer=auto`, once per run and before a model is loaded."""

from __future__ import annotations

from typing import Any

import torch

from efface import distributed
from efface.artifacts import Manifest
from efface.hardware.memory import free_memory
from efface.models.memory_estimate import estimate_training_memory
from efface.train.batches.token_budget import smallest_forward_fits
from efface.train.config import Optimizer, TrainConfig
from efface.train.optimizer.optimizer import adamw8bit_unsupported_reason, check_optimizer


def resolve_optimizer(
    train: TrainConfig, model_config: Any, device: torch.device, *, earlier: Manifest | None
) -> TrainConfig:
    """Training settings with the optimizer to use in place of `auto`.

    Collective: all processes must call it, and get the same result.

    Args:
        train: Training settings.
        model_config: The model's config.json.
        device: Where this process trains.
        earlier: Manifest of the run that is resumed, whose optimizer is kept: more or less memory may be free now. None
            for a new run.

    Returns:
        `train` with `optimizer` set to `adamw` or `adamw8bit`.

    Raises:
        EffaceError: For an optimizer that cannot be used on this machine.
    """
    if earlier is not None:
        optimizer: str = earlier.optimizer or "adamw"
    else:
        free = min(distributed.all_gather(free_for_training(train, device)))
        optimizer = choose_optimizer(train, model_config, device, free=free)
    resolved = train.model_copy(update={"optimizer": optimizer})
    check_optimizer(resolved, device)
    return resolved


def choose_optimizer(train: TrainConfig, model_config: Any, device: torch.device, *, free: int) -> Optimizer:
    """What `train.optimizer` means on a device.

    Args:
        train: Training settings.
        model_config: The model's config.json.
        device: Where the model is trained.
        free: Free memory of the device, in bytes.

    Returns:
        `adamw` where it fits or nothing else can be used, otherwise `adamw8bit`.
    """
    if train.optimizer != "auto":
        return train.optimizer
    may_be_8bit = device.type == "cuda" and train.lora is None and train.precision != "float32"
    needs_float32 = train.sharding != "none" or train.sam.rho is not None
    if not may_be_8bit or needs_float32 or adamw8bit_unsupported_reason(device) is not None:
        return "adamw"
    adamw = train.model_copy(update={"optimizer": "adamw"})
    left = free - estimate_training_memory(model_config, adamw, device.type).total
    return "adamw" if smallest_forward_fits(left, model_config, adamw, device.type) else "adamw8bit"


def free_for_training(train: TrainConfig, device: torch.device) -> int:
    """Bytes that training may take, weights included, once this process has freed its models on a GPU.

    Args:
        train: Training settings.
        device: Where this process trains.

    Returns:
        Bytes, at most `train.memory_gib` where it is set.
    """
    free = free_memory(device) + (torch.cuda.memory_allocated(device) if device.type == "cuda" else 0)
    return free if train.memory_bytes is None else min(free, train.memory_bytes)
