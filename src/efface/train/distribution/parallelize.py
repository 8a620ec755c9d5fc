"""Which class of model in training the settings and the number of processes ask for."""

from __future__ import annotations

from typing import Any

import torch

from efface import distributed
from efface.train.config import TrainConfig
from efface.train.distribution.fsdp_model import FSDPModel
from efface.train.distribution.parallel import DDPModel, ParallelModel
from efface.train.distribution.sharded_model import ReadRows
from efface.train.distribution.zero_engine import ZeroSettings, check_zero
from efface.train.distribution.zero_model import ZeroModel


def parallelize(
    model: Any,
    config: TrainConfig,
    device: torch.device,
    *,
    read: ReadRows | None = None,
    whole: bool = True,
) -> ParallelModel:
    """Distribute a model over the connected processes.

    Args:
        model: Of transformers or PEFT; the same in all processes.
        config: `sharding` and the precision are used.
        device: Of the shards, where there are any.
        read: Reads the weights of a model on the meta device, which is sharded.
        whole: Whether every trained weight gets a gradient; not where a loss ends at a layer inside the model.

    Returns:
        A `ParallelModel` in one process, else a `DDPModel`, `FSDPModel` or `ZeroModel`.

    Raises:
        EffaceError: The model cannot be sharded.
    """
    if distributed.world_size() == 1:
        return ParallelModel(model)
    if config.sharding == "fsdp2":
        return FSDPModel(model, device, bf16=config.bf16_on(device.type), read=read)
    if config.sharding == "zero3":
        check_zero(config, whole=whole)
        settings = ZeroSettings(bf16=config.bf16_on(device.type), max_grad_norm=config.max_grad_norm)
        return ZeroModel(model, device, settings, read=read)
    return DDPModel(model, whole=whole)
