"""What a process has of sharded tensors: some of their rows (FSDP2) or elements (ZeRO-3). Of others it has all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from efface.train.checkpoints.checkpoint_files import CheckpointFile


def local_part(tensor: Tensor) -> Tensor:
    """What this process has of a sharded tensor; any other tensor as it is."""
    part: Tensor = tensor.to_local() if is_sharded(tensor) else getattr(tensor, "ds_tensor", tensor)  # type: ignore[attr-defined]
    return part


def is_sharded(tensor: Tensor) -> bool:
    """Whether this is a tensor that `fully_shard` distributed."""
    return hasattr(tensor, "to_local")


def local_rows(tensor: Any) -> range | None:
    """Which rows of the whole tensor `local_part` has; None where it has all."""
    if not is_sharded(tensor):
        return None
    return rows_of_rank(tensor.shape[0], tensor.device_mesh.get_local_rank(), tensor.device_mesh.size())


def local_elements(tensor: Any) -> range:
    """Which elements of the whole tensor, flattened, `local_part` has."""
    rows = local_rows(tensor)
    if rows is None:
        return range(tensor.numel())
    size = tensor.shape[1:].numel()
    return range(rows.start * size, rows.stop * size)


def rows_of_rank(total: int, rank: int, world_size: int) -> range:
    """Which of `total` rows `fully_shard` gives to a process: as many to each as `torch.chunk` would.

    Args:
        total: Number of rows of the whole tensor.
        rank: The process, from 0.
        world_size: Number of processes.

    Returns:
        Indices of its rows; empty where the processes before it have all rows.
    """
    size = -(-total // world_size)
    start = min(rank * size, total)
    return range(start, min(start + size, total))


def whole_shape(tensor: Tensor) -> torch.Size:
    """The shape of a tensor, also of a parameter of DeepSpeed's that is not gathered, whose own shape is [0]."""
    shape: torch.Size = getattr(tensor, "ds_shape", tensor.shape)
    return shape


def elements_of_rank(total: int, rank: int, world_size: int) -> range:
    """Which of the elements of a flattened parameter ZeRO-3 gives to a process; the last ones may have fewer.

    Args:
        total: Number of elements of the whole parameter.
        rank: The process, from 0.
        world_size: Number of processes.
    """
    return rows_of_rank(total, rank, world_size)


def like_shard(local: Tensor, tensor: Any, device: torch.device) -> Tensor:
    """A tensor sharded as `tensor` is.

    Args:
        local: The rows `local_rows(tensor)` of the values; or a scalar, which every process has.
        tensor: Sharded; of any other, `local` is all there is and returned.
        device: Of the shards.
    """
    if not is_sharded(tensor) or local.ndim == 0:
        return local
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(
        local.to(device), tensor.device_mesh, tensor.placements, shape=tensor.shape, stride=tensor.stride()
    )


def shard_file(name: str, tensors: Mapping[str, Tensor]) -> CheckpointFile:
    """The file with this process's part of tensors.

    Args:
        name: Of the file, inside the checkpoint's folder.
        tensors: Name -> tensor, sharded or not.

    Returns:
        The file, not yet written, with the index of the first row of each sharded tensor.
    """
    first_rows = {key: rows.start for key, each in tensors.items() if (rows := local_rows(each)) is not None}
    return CheckpointFile(name, {key: local_part(each) for key, each in tensors.items()}, first_rows)
