"""Memory of each of several processes, counted from a model's config.json: replicated or sharded. No weight is read."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from efface.models.memory_estimate import count_training_memory, meta_model
from efface.packing.forward import unwrap_peft
from efface.preflight.diagnosis import Engine, ProcessMemory
from efface.train.config import TrainConfig
from efface.train.distribution.sharded_model import shard_units
from efface.train.distribution.shards import rows_of_rank
from efface.train.distribution.zero_engine import BUCKET_BYTES, CPU_BYTES
from efface.train.optimizer.optimizer import state_bytes, weights_dtype

_LAYERS_AT_ONCE = 2
"""Unsharded layers, or the embeddings, at a time: one computes while the next is gathered."""


def memory_by_rank(
    model_config: Any, train: TrainConfig, *, world_size: int, device_type: str, evaluated_in: torch.dtype
) -> list[ProcessMemory]:
    """What the processes of a run keep of the model, with either engine; activations and the KV cache are not counted.

    Args:
        model_config: The model's config.json.
        train: Training settings, with a resolved `optimizer`.
        world_size: Number of processes.
        device_type: Where they train, such as `cuda`.
        evaluated_in: Dtype of the weights in an evaluation.

    Returns:
        For DDP, and FSDP2 or the engine that is set, the ranks with equal numbers together: the last have fewer rows.

    Raises:
        EffaceError: Where the config.json is not that of a causal language model.
    """
    model = meta_model(model_config, train.lora, dtype=weights_dtype(train, device_type), parameters=train.parameters)
    found = [_replicated(model, train, world_size, device_type, evaluated_in)]
    if world_size > 1 and (train.lora is None or train.lora.bits is None):
        if train.sharding == "none":
            train = train.model_copy(update={"sharding": "fsdp2"})
        compute = torch.bfloat16 if train.bf16_on(device_type) else torch.float32
        of_rank = _on_cpu if train.sharding == "zero3" else _sharded
        ranks = [
            of_rank(model, train, rank, world_size, compute=compute, evaluated_in=evaluated_in)
            for rank in range(world_size)
        ]
        for _, group in groupby(ranks, key=lambda each: each.model_copy(update={"ranks": ()})):
            equal = list(group)
            found.append(equal[0].model_copy(update={"ranks": (equal[0].ranks[0], equal[-1].ranks[1])}))
    return found


def _replicated(
    model: Any, train: TrainConfig, world_size: int, device_type: str, evaluated_in: torch.dtype
) -> ProcessMemory:
    state = count_training_memory(model, train, device_type)
    engine: Engine = "one process" if world_size == 1 else "DDP"
    return ProcessMemory(
        engine=engine,
        ranks=(0, world_size - 1),
        weights=state.weights,
        gradients=state.gradients,
        optimizer=state.optimizer,
        unsharded=state.copies,
        evaluation=state.parameters * evaluated_in.itemsize,
    )


def _sharded(
    model: Any, train: TrainConfig, rank: int, world_size: int, *, compute: torch.dtype, evaluated_in: torch.dtype
) -> ProcessMemory:
    parameters = list(model.parameters())
    trained = [each for each in parameters if each.requires_grad]
    layers = [list(unit.parameters()) for unit in shard_units(model)]
    in_layers = {id(each) for layer in layers for each in layer}
    others = [each for each in parameters if id(each) not in in_layers]
    gathered = _count(others) + sum(sorted(map(_count, layers))[-_LAYERS_AT_ONCE:])
    with_gradients = _count(each for each in others if each.requires_grad) + max(
        (_count(each for each in layer if each.requires_grad) for layer in layers), default=0
    )
    base = [each for each in unwrap_peft(model).parameters() if train.lora is None or not each.requires_grad]
    return ProcessMemory(
        engine="FSDP2",
        ranks=(rank, rank),
        weights=sum(_rows(each, rank, world_size).nbytes for each in parameters),
        gradients=sum(_rows(each, rank, world_size).nbytes for each in trained),
        optimizer=sum(state_bytes(_rows(each, rank, world_size), train) for each in trained),
        unsharded=(gathered + with_gradients) * compute.itemsize,
        evaluation=(sum(_rows(each, rank, world_size).numel() for each in base) + gathered) * evaluated_in.itemsize,
    )


def _on_cpu(
    model: Any, train: TrainConfig, rank: int, world_size: int, *, compute: torch.dtype, evaluated_in: torch.dtype
) -> ProcessMemory:
    """With ZeRO-3, which gives each process as many elements of each weight, filled up with zeros."""
    parameters = list(model.parameters())
    fsdp = _sharded(model, train, rank, world_size, compute=compute, evaluated_in=evaluated_in)
    trained = sum(-(-each.numel() // world_size) for each in parameters if each.requires_grad)
    return fsdp.model_copy(
        update={
            "engine": "ZeRO-3",
            "weights": sum(-(-each.numel() // world_size) for each in parameters) * compute.itemsize,
            "gradients": 0,
            "optimizer": 0,
            "unsharded": fsdp.unsharded + BUCKET_BYTES,
            "on_cpu": trained * CPU_BYTES,
        }
    )


def _rows(parameter: Tensor, rank: int, world_size: int) -> Tensor:
    """The rows of a parameter that FSDP2 leaves to a process."""
    rows = rows_of_rank(len(parameter), rank, world_size)
    return parameter[rows.start : rows.stop]


def _count(parameters: Iterable[Tensor]) -> int:
    return sum(each.numel() for each in parameters)
