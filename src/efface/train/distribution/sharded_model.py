"""The shards of a model: its layers, and weights that each process reads from files on its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from efface import distributed
from efface.errors import EffaceError
from efface.packing.forward import unwrap_peft
from efface.packing.layers import decoder_layers
from efface.train.distribution.shards import like_shard, local_part, local_rows

ReadRows = Callable[[nn.Module, str, int, int], Tensor]
"""Reads rows of a stored weight: of a module, by the name in the module, from one row to before another."""


def shard_units(model: Any) -> list[nn.Module]:
    """What is gathered one after another: each layer, and the embeddings unless the output head shares them.

    The rest is gathered for a whole forward pass: processes call the head different numbers of times.
    """
    inner = unwrap_peft(model)
    embeddings, head = inner.get_input_embeddings(), inner.get_output_embeddings()
    return [*decoder_layers(model), *([] if head.weight is embeddings.weight else [embeddings])]


def meta_copy(model: Any) -> Any:
    """A copy without memory for its weights, to be filled after training: `fully_shard` cannot be undone."""
    empty = {
        id(each): nn.Parameter(torch.empty_like(each, device="meta"), requires_grad=each.requires_grad)
        for each in model.parameters()
    }
    return deepcopy(model, dict(empty))


def fill_meta_copy(meta_model: Any, model: Any) -> None:
    """Unshard all weights of `model` into a `meta_copy` of it, on the CPU of the main process; every process calls.

    Args:
        meta_model: What `meta_copy` returned before the model was sharded; filled in place, on the main process only.
        model: With all its weights sharded.
    """
    full: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        value = parameter.full_tensor()
        full[name] = value.cpu() if distributed.is_main_process() else torch.empty_like(value, device="meta")
    fill(meta_model, full)


def fill(meta_model: Any, values: Mapping[str, Tensor]) -> None:
    """Replace all weights of a `meta_copy`; they require a gradient where they did.

    Args:
        meta_model: Filled in place.
        values: Name of each weight -> its values; a tied one has its first name.
    """
    full = {
        id(meta): nn.Parameter(values[name], requires_grad=meta.requires_grad)
        for name, meta in meta_model.named_parameters()
    }
    for module in meta_model.modules():
        for name, meta in list(module.named_parameters(recurse=False)):
            setattr(module, name, full[id(meta)])


def check_packable(reason: str | None, *, sharding: str) -> None:
    """Refuse to shard a model in training whose sequences cannot be packed.

    Args:
        reason: Why they cannot; None if they can.
        sharding: The setting.

    Raises:
        EffaceError: They cannot.
    """
    if reason is not None:
        raise EffaceError(
            f"{reason}, so that processes would make different numbers of forward passes; leave "
            f"train.sharding={sharding} out"
        )


@torch.no_grad()
def read_shards(model: Any, read: ReadRows, device: torch.device) -> None:
    """Replace the shards on the meta device by stored weights, of which each process reads its own rows only.

    Args:
        model: Sharded along the first dimension; its other weights stay.
        read: Reads the rows.
        device: Of the shards.
    """
    made: dict[nn.Parameter, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            if parameter.is_meta:
                if parameter not in made:  # a tied weight is read once
                    made[parameter] = _read_shard(module, name, parameter, read, device)
                module.register_parameter(name, made[parameter])


def _read_shard(module: nn.Module, name: str, parameter: Any, read: ReadRows, device: torch.device) -> nn.Parameter:
    rows = local_rows(parameter)
    assert rows is not None, "the model is sharded"
    shard = torch.empty_like(local_part(parameter), device=device)
    if rows:
        shard.copy_(read(module, name, rows.start, rows.stop))
    return nn.Parameter(like_shard(shard, parameter, device), requires_grad=parameter.requires_grad)
