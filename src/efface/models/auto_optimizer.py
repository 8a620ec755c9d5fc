"""Which optimizer a run trains with, decided once, before a model is loaded."""

from __future__ import annotations

from typing import Any

import torch

from efface import distributed
from efface.artifacts import Manifest
from efface.hardware.memory import free_memory
from efface.models.memory_estimate import estimate_training_memory
from efface.train.config import Optimizer, TrainConfig
from efface.train.optimizer import adamw8bit_unsupported_reason, check_optimizer
from efface.train.token_budget import smallest_forward_fits


def resolve_optimizer(
    train: TrainConfig, settings: Any, device: torch.device, *, earlier: Manifest | None
) -> TrainConfig:
    """`train` with the optimizer to use in the place of `auto`; `settings`: the model's config.json.

    A run that goes on keeps that of its `earlier` manifest: memory may be free now that was not then. All processes
    find the same, and each must ask. Raises `EffaceError` for an optimizer that cannot be used here.
    """
    if earlier is not None:
        optimizer: str = earlier.optimizer or "adamw"
    else:
        free = min(distributed.all_gather(_free_for_training(device)))
        optimizer = choose_optimizer(train, settings, device, free=free)
    found = train.model_copy(update={"optimizer": optimizer})
    check_optimizer(found, device)
    return found


def choose_optimizer(train: TrainConfig, settings: Any, device: torch.device, *, free: int) -> Optimizer:
    """What `train.optimizer` stands for where `free` bytes of a device are free."""
    if train.optimizer != "auto":
        return train.optimizer
    may_be_8bit = device.type == "cuda" and train.lora is None and train.precision != "float32"
    if not may_be_8bit or train.sharding != "none" or adamw8bit_unsupported_reason(device) is not None:
        return "adamw"
    whole = train.model_copy(update={"optimizer": "adamw"})
    left = free - estimate_training_memory(settings, whole, device.type).total
    return "adamw" if smallest_forward_fits(left, settings, whole, device.type) else "adamw8bit"


def _free_for_training(device: torch.device) -> int:
    """Free memory once this process has let go of the models that it has on a GPU."""
    return free_memory(device) + (torch.cuda.memory_allocated(device) if device.type == "cuda" else 0)
