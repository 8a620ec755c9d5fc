"""The state of an optimizer as named tensors, and back."""

from __future__ import annotations

from itertools import chain
from typing import Any

from torch import Tensor

from efface.train.checkpoints.checkpoint_files import CheckpointFile, StoredTensors
from efface.train.distribution.shards import is_sharded, like_shard, local_elements, local_part, local_rows
from efface.train.optimizer.adamw8bit import AdamW8bit, state_elements


def optimizer_tensors(model: Any, optimizer: Any) -> dict[str, Tensor]:
    """The state of every trained parameter.

    Args:
        model: Its parameters are the optimizer's.
        optimizer: Of torch; its state consists of tensors.

    Returns:
        `STATE/PARAMETER`, such as `exp_avg/lm_head.weight` -> tensor, in memory that the optimizer uses.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        f"{key}/{names[id(parameter)]}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def optimizer_shard_file(name: str, model: Any, optimizer: Any) -> CheckpointFile:
    """The file with this process's part of an optimizer's state.

    Args:
        name: Of the file, inside the checkpoint's folder.
        model: Its parameters are the optimizer's, and sharded.
        optimizer: Of torch, with sharded state, or `AdamW8bit`, whose state is flat.
    """
    parameters, first_rows = dict(model.named_parameters()), {}
    tensors = optimizer_tensors(model, optimizer)
    for full_key, value in tensors.items():
        key, _, parameter_name = full_key.partition("/")
        if (rows := local_rows(value)) is not None:
            first_rows[full_key] = rows.start
        elif value.ndim > 0 and is_sharded(parameter := parameters[parameter_name]):
            first_rows[full_key] = state_elements(key, local_elements(parameter)).start
    return CheckpointFile(name, {key: local_part(each) for key, each in tensors.items()}, first_rows)


def load_optimizer_tensors(model: Any, optimizer: Any, stored: StoredTensors) -> None:
    """Load what `optimizer_tensors` returned. Learning rate and other settings stay as they are.

    Args:
        model: Its parameters are the optimizer's; they may be sharded in another way.
        optimizer: Of torch.
        stored: The tensors.
    """
    by_parameter: dict[str, list[str]] = {}
    for name in stored.names:
        key, _, parameter_name = name.partition("/")
        by_parameter.setdefault(parameter_name, []).append(key)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    current = optimizer.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for index, parameter in enumerate(chain.from_iterable(group["params"] for group in optimizer.param_groups)):
        name = names[id(parameter)]
        if name in by_parameter:
            read = _read_flat if isinstance(optimizer, AdamW8bit) else _read_rows
            state[index] = {key: read(stored, key, name, parameter) for key in by_parameter[name]}
    optimizer.load_state_dict({**current, "state": state})


def _read_rows(stored: StoredTensors, key: str, name: str, parameter: Any) -> Tensor:
    rows, device = local_rows(parameter), local_part(parameter).device
    read = stored.read(f"{key}/{name}", rows).clone()  # not a mapping of a file that training removes
    return like_shard(read, parameter, device)


def _read_flat(stored: StoredTensors, key: str, name: str, parameter: Any) -> Tensor:
    return stored.read_elements(f"{key}/{name}", state_elements(key, local_elements(parameter))).clone()
