"""AdamW in float32, or in bf16 with 8-bit moments where memory is short; and what its state takes."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from typing import Any

import torch

from efface.errors import EffaceError
from efface.packing.forward import device_of
from efface.train.config import TrainConfig

_BLOCK = 256
"""Numbers that share a scale in an 8-bit moment."""
_LEAST = 4096
"""Tensors with fewer numbers, or with a part of a block, keep moments in their own dtype."""
_STEP_COUNTER = 4
_C, _CPP = ("gcc", "clang", "cc"), ("clang++",) if sys.platform == "darwin" else ("g++",)
"""Where torch.compile looks for compilers: for a GPU's kernels, and for a CPU's."""


def make_optimizer(model: Any, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer of all that is trained in `model`, which was loaded in `weights_dtype`; `auto` is `adamw`.

    `adamw8bit` is that of torchao (block-wise 8-bit moments, arXiv:2110.02861): it computes in float32 and rounds
    the new bf16 weights up or down with a probability that makes them right on average. It draws from torch's global
    generator at each step, and is compiled at the first. Raises `EffaceError` where torchao is missing.
    """
    groups = decay_groups(model, config.weight_decay)
    if config.optimizer == "adamw8bit":
        check_optimizer(config, device_of(model))
        from torchao.optim import AdamW8bit

        rounded: torch.optim.Optimizer = AdamW8bit(groups, lr=config.lr, block_size=_BLOCK, bf16_stochastic_round=True)
        return rounded
    return torch.optim.AdamW(groups, lr=config.lr, fused=True if device_of(model).type == "cuda" else None)


def decay_groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay, biases and norms do not, as in transformers' trainer."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]


def weights_dtype(config: TrainConfig, device_type: str) -> torch.dtype:
    """What a model is loaded in for training: float32, or bf16 for 8-bit AdamW and below adapters in bf16 training.

    Adapters themselves are float32.
    """
    frozen = config.lora is not None and config.bf16_on(device_type)
    return torch.bfloat16 if frozen or config.optimizer == "adamw8bit" else torch.float32


def state_bytes(parameter: torch.Tensor, config: TrainConfig) -> int:
    """Bytes that the optimizer keeps of one trained parameter: two moments and a counter of steps."""
    count = parameter.numel()
    if config.optimizer == "adamw8bit" and count >= _LEAST and count % _BLOCK == 0:
        moment = count + count // _BLOCK * 4 + _BLOCK * 4  # codes, scales, and what each code stands for
    else:
        moment = count * parameter.element_size()
    return 2 * moment + _STEP_COUNTER


def adamw8bit_unsupported_reason(device: torch.device) -> str | None:
    """What 8-bit AdamW lacks here, with what to do; None where it can be used."""
    if find_spec("torchao") is None:
        return "torchao, which is not installed; install it with: pip install 'efface[lowmem]'"
    variable, names = ("CXX", _CPP) if device.type == "cpu" else ("CC", _C)
    found = os.environ.get(variable)
    if not any(map(shutil.which, [found] if found else names)):
        return f"a compiler, and there is no {found or names[0]}; install one, or name another in {variable}"
    return None


def check_optimizer(config: TrainConfig, device: torch.device) -> None:
    """Refuse an optimizer that is not there. Raises `EffaceError`."""
    if config.optimizer == "adamw8bit" and (why := adamw8bit_unsupported_reason(device)):
        raise EffaceError(f"train.optimizer=adamw8bit needs {why}")
