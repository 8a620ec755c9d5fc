"""How forward and backward passes compute: in float32, in bf16 by autocast, or in bf16 with copies of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import Tensor, nn

from efface.packing.forward import unwrap_peft
from efface.train.config import TrainConfig

Computation = Literal["float32", "bf16 autocast", "bf16"]
"""`bf16 autocast`: each operation casts what it reads, and hidden states between layers have the dtype of the weights.
`bf16`: the weights are cast, and everything else follows."""


def computation(config: TrainConfig, device_type: str) -> Computation:
    """How a training computes.

    Where the weights are bf16 already (8-bit AdamW, the base of adapters), `bf16` gives the numbers of autocast.

    Args:
        config: Settings of training, with the optimizer resolved.
        device_type: Such as `cuda`.
    """
    if not config.bf16_on(device_type):
        return "float32"
    if config.sharding == "zero3":
        return "bf16"  # DeepSpeed casts the weights
    if config.sharding == "fsdp2" or (config.lora is not None and config.lora.bits is not None):
        return "bf16 autocast"  # FSDP2 casts shards itself, and quantized layers choose what they multiply in
    in_bf16 = config.lora is not None or config.optimizer == "adamw8bit"
    return "bf16" if in_bf16 or not config.autocast else "bf16 autocast"


def computing(model: Any, how: Computation, device: torch.device) -> AbstractContextManager[Any]:
    """The context of forward passes and of the backward passes that recompute them.

    Args:
        model: The model in training, possibly inside PEFT.
        how: What `computation` returned.
        device: Of the model.
    """
    if how == "bf16 autocast":
        return torch.autocast(device.type, torch.bfloat16)
    return bf16_weights(model) if how == "bf16" else nullcontext()


@contextmanager
def bf16_weights(model: Any) -> Iterator[None]:
    """Inside, a model computes with bf16 copies of its float32 weights.

    Each weight is cast once, and its gradient is added to that of the weight in float32, whatever the number of
    micro-batches. So the weights that the optimizer changes, checkpoints store and norms are computed of are always the
    float32 ones (mixed precision with master weights, arXiv:1710.03740, without a scaled loss, which bf16 does not
    need). Weights that transformers keeps in float32 in every model are left alone.

    Args:
        model: Of transformers or PEFT. Inside, `parameters()` gives the copies.
    """
    kept = getattr(unwrap_peft(model), "_keep_in_fp32_modules_strict", None) or ()
    copies: dict[nn.Parameter, Tensor] = {}
    replaced: list[tuple[nn.Module, str, nn.Parameter]] = []
    try:
        for prefix, module in list(model.named_modules()):
            for name, parameter in list(module.named_parameters(recurse=False)):
                if parameter.dtype != torch.float32 or _matches(f"{prefix}.{name}", kept):
                    continue
                if parameter not in copies:  # a tied weight is cast once
                    copies[parameter] = parameter.to(torch.bfloat16)
                module._parameters[name] = copies[parameter]  # setattr refuses what is no parameter
                replaced.append((module, name, parameter))
        yield
    finally:
        for module, name, parameter in replaced:
            module._parameters[name] = parameter


def _matches(name: str, patterns: Any) -> bool:
    """Whether a weight is one of those that patterns such as `mlp.gate` name, as transformers reads them."""
    return any(fnmatchcase(f".{name}.", f"*.{pattern}.*") for pattern in patterns)
