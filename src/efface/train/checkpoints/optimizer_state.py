"""The state of an optimizer as named tensors, and back."""

from __future__ import annotations

from itertools import chain
from typing import Any

from torch import Tensor

from efface.train.checkpoints.checkpoint_files import StoredTensors
from efface.train.distribution.shards import like_shard, local_part, local_rows


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
            rows, device = local_rows(parameter), local_part(parameter).device
            state[index] = {
                key: like_shard(stored.read(f"{key}/{name}", rows), parameter, device) for key in by_parameter[name]
            }
    optimizer.load_state_dict({**current, "state": state})
