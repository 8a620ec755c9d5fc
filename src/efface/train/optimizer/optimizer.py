"""AdamW in float32, or in bf16 with 8-bit moments where memory is short; and the size of its state."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from typing import Any

import torch

from efface.errors import EffaceError, install_hint
from efface.packing.forward import device_of
from efface.train.config import TrainConfig
from efface.train.distribution.shards import whole_shape
from efface.train.optimizer.adamw8bit import BLOCK, AdamW8bit, has_8bit_moments

_STEP_COUNTER = 4
"""Bytes."""
_FUSED_FROM = 2_000_000
"""Parameters. On a CPU, the fused step rounds differently and takes a sixth off training at 135 million parameters; it
saves little in a model of the demo's size, whose published numbers it would change."""
_C, _CPP = ("gcc", "clang", "cc"), ("clang++",) if sys.platform == "darwin" else ("g++",)
"""The compilers that torch.compile looks for: for kernels on a GPU, and on a CPU."""


def make_optimizer(model: Any, config: TrainConfig) -> torch.optim.Optimizer:
    """Make the optimizer of all trained parameters.

    `adamw8bit` (block-wise 8-bit moments, arXiv:2110.02861) computes in float32 and rounds the new bf16 weights
    stochastically, so that they are correct on average. It draws from torch's global generator at each step, and is
    compiled at the first.

    Args:
        model: Loaded in `weights_dtype`.
        config: Settings of training; `optimizer=auto` counts as `adamw`.

    Returns:
        The optimizer.

    Raises:
        EffaceError: torchao or a compiler is missing.
    """
    groups = decay_groups(model, config.weight_decay)
    if config.optimizer == "adamw8bit":
        check_optimizer(config, device_of(model))
        return AdamW8bit(groups, lr=config.lr, by_rows=config.sharding != "none")
    return torch.optim.AdamW(groups, lr=config.lr, fused=_is_fused(model, config) or None)


def _is_fused(model: Any, config: TrainConfig) -> bool:
    device = device_of(model).type
    if device == "cuda" or config.sharding == "zero3":  # whose weights are changed on the CPU
        return True
    trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
    return device == "cpu" and trained >= _FUSED_FROM


def decay_groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups in which matrices decay and biases and norms do not, as in transformers' trainer.

    Args:
        model: Its frozen parameters are left out.
        weight_decay: Of the matrices.

    Returns:
        The two groups, as torch's optimizers take them.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trainable if len(whole_shape(p)) >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if len(whole_shape(p)) < 2], "weight_decay": 0.0},
    ]


def weights_dtype(config: TrainConfig, device_type: str) -> torch.dtype:
    """The dtype in which a model is loaded for training.

    Args:
        config: Settings of training.
        device_type: Such as `cuda`.

    Returns:
        bf16 for 8-bit AdamW and for the base model of adapters in bf16 training, else float32. Adapters are always
        float32.
    """
    frozen = config.lora is not None and config.bf16_on(device_type)
    return torch.bfloat16 if frozen or config.optimizer == "adamw8bit" else torch.float32


def state_bytes(parameter: torch.Tensor, config: TrainConfig) -> int:
    """Bytes of optimizer state for one trained parameter: two moments and a step counter, and SAM's copy.

    Args:
        parameter: The parameter, or the rows of it that a process has.
        config: Settings of training; `optimizer=auto` counts as `adamw`.

    Returns:
        Bytes.
    """
    count = parameter.numel()
    if config.optimizer == "adamw8bit" and has_8bit_moments(parameter, by_rows=config.sharding != "none"):
        moment = count + count // BLOCK * 4  # codes and scales
    else:
        moment = count * parameter.element_size()
    copy = 0 if config.sam.rho is None else parameter.nbytes
    return 2 * moment + _STEP_COUNTER + copy


def adamw8bit_unsupported_reason(device: torch.device) -> str | None:
    """Why 8-bit AdamW cannot be used.

    Args:
        device: To train on.

    Returns:
        What is missing and what to do about it; None if nothing is missing.
    """
    if find_spec("torchao") is None:
        return f"torchao, which is not installed; {install_hint('lowmem')}"
    return missing_compiler(device)


def missing_compiler(device: torch.device) -> str | None:
    """Why `torch.compile` cannot be used.

    Args:
        device: To compute on.

    Returns:
        What is missing and what to do about it; None if nothing is missing.
    """
    variable, names = ("CXX", _CPP) if device.type == "cpu" else ("CC", _C)
    from_environment = os.environ.get(variable)
    if not any(map(shutil.which, [from_environment] if from_environment else names)):
        return (
            f"a compiler, and {from_environment or names[0]} was not found; install one, or name another in {variable}"
        )
    return None


def check_optimizer(config: TrainConfig, device: torch.device) -> None:
    """Refuse an optimizer that cannot be used.

    Args:
        config: Settings of training.
        device: To train on.

    Raises:
        EffaceError: A package or a compiler is missing.
    """
    if config.optimizer == "adamw8bit" and (reason := adamw8bit_unsupported_reason(device)):
        raise EffaceError(f"train.optimizer=adamw8bit needs {reason}")
