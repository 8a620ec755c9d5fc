"""Load a model for several processes: whole in each, or in shards that each reads from the files on its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from efface import distributed
from efface.evaluation.config import EvaluateConfig
from efface.hardware.memory import free_memory, return_freed_memory
from efface.models.folder import load_model_config
from efface.models.load import load_model
from efface.models.memory_estimate import meta_model
from efface.models.quantization import quantization_config
from efface.models.skeleton import Skeleton, load_skeleton
from efface.train.config import TrainConfig
from efface.train.distribution.fsdp_model import FSDPModel
from efface.train.distribution.parallel import ParallelModel
from efface.train.optimizer.optimizer import weights_dtype
from efface.train.precision import computation

_WHOLE_SHARE = 0.6
"""A model is evaluated whole where it takes at most this share of the free memory; the KV cache needs some, too."""
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class LoadedModel:
    """A model to train, not yet distributed."""

    model: Any
    skeleton: Skeleton | None
    """Reads the weights of `model`, which are on the meta device; None where they are loaded."""


def load_to_train(folder: Path, config: TrainConfig, device: torch.device) -> LoadedModel:
    """A model in the dtype of training.

    Args:
        folder: The model's folder.
        config: How to train.
        device: Where to train. A model that is to be sharded is not loaded, or to the CPU where transformers has to
            convert its weights.

    Raises:
        EffaceError: As `load_model`.
    """
    dtype = weights_dtype(config, device.type)
    if config.sharding == "none" or distributed.world_size() == 1:
        quantization = quantization_config(config, device)
        return LoadedModel(load_model(folder, dtype=dtype, device=device, quantization=quantization), None)
    skeleton = _load_skeleton(folder, dtype, device)
    if skeleton is not None:
        return LoadedModel(skeleton.model, skeleton)
    return LoadedModel(load_model(folder, dtype=dtype, device=_CPU), None)


def load_reference(folder: Path, config: TrainConfig, device: torch.device) -> ParallelModel:
    """A model that a training only compares with, in the dtype in which it computes, sharded like the trained one.

    Args:
        folder: The model's folder.
        config: How to train.
        device: Where to train.

    Raises:
        EffaceError: As `load_model`.
    """
    in_bf16 = computation(config, device.type) == "bf16"
    if config.sharding == "none" or distributed.world_size() == 1:
        if in_bf16:
            return ParallelModel(load_model(folder, dtype=torch.bfloat16, device=device))
        return ParallelModel(load_to_train(folder, config, device).model)
    dtype = torch.bfloat16 if in_bf16 else weights_dtype(config, device.type)
    return shard_to_run(folder, dtype=dtype, device=device, bf16=config.bf16_on(device.type), must_pack=True)


def load_to_evaluate(
    folder: Path, config: EvaluateConfig, *, dtype: torch.dtype, device: torch.device
) -> ParallelModel:
    """A model in the dtype of evaluation; every process must call this.

    Args:
        folder: The model's folder.
        config: Says whether the model is sharded.
        dtype: The dtype of the weights.
        device: Where it is evaluated.

    Returns:
        The model: whole, or sharded over the processes.

    Raises:
        EffaceError: As `load_model`.
    """
    if not is_evaluation_sharded(folder, config, dtype=dtype, device=device):
        return ParallelModel(load_model(folder, dtype=dtype, device=device))
    return shard_to_run(folder, dtype=dtype, device=device)


def shard_to_run(
    folder: Path, *, dtype: torch.dtype, device: torch.device, bf16: bool = False, must_pack: bool = False
) -> FSDPModel:
    """A model in shards that is not trained.

    Args:
        folder: The model's folder.
        dtype: The dtype of the weights.
        device: Of the shards.
        bf16: Whether layers are communicated and computed in bf16.
        must_pack: Whether all processes make the same forward passes.

    Raises:
        EffaceError: As `load_model`.
    """
    skeleton = _load_skeleton(folder, dtype, device)
    if skeleton is not None:
        return FSDPModel(skeleton.model, device, bf16=bf16, read=skeleton.read, must_pack=must_pack)
    return FSDPModel(load_model(folder, dtype=dtype, device=_CPU), device, bf16=bf16, must_pack=must_pack)


def _load_skeleton(folder: Path, dtype: torch.dtype, device: torch.device) -> Skeleton | None:
    if device.type == "cpu":
        return_freed_memory()  # before the first tensors are allocated
    return load_skeleton(folder, dtype=dtype)


def is_evaluation_sharded(folder: Path, config: EvaluateConfig, *, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether a model is evaluated in shards: where it is set, or automatically where it does not fit whole.

    Args:
        folder: The model's folder.
        config: `sharding` is used.
        dtype: The dtype of the weights.
        device: Where it is evaluated. Processes on one machine share the memory of its CPU.

    Raises:
        EffaceError: The config.json is not that of a causal language model.
    """
    if distributed.world_size() == 1 or config.sharding == "none":
        return False
    if config.sharding == "fsdp2":
        return True
    copies = distributed.local_world_size() if device.type == "cpu" else 1
    free = min(distributed.all_gather(free_memory(device))) // copies
    parameters: int = sum(each.numel() for each in meta_model(load_model_config(folder), None).parameters())
    return parameters * dtype.itemsize > _WHOLE_SHARE * free
