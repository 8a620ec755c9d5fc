"""Checkpoints in shards, as FSDP2 writes them: read by any number of processes, one included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from efface import distributed

_SHARDS = "shards"


def has_shards(folder: Path) -> bool:
    """Whether a checkpoint's folder was written by `save_shards`."""
    return (folder / _SHARDS).is_dir()


def save_shards(module: nn.Module, optimizer: Any, folder: Path) -> None:
    """Write trained weights and optimizer state into a checkpoint's folder; each process writes its shards."""
    from torch.distributed.checkpoint.state_dict_saver import save

    save(_state(module, optimizer), checkpoint_id=folder / _SHARDS)


def load_shards(module: nn.Module, optimizer: Any, folder: Path) -> None:
    """Read what `save_shards` wrote.

    Args:
        module: Has the same parameter names as the one that was saved; sharded, or whole in the only process.
        optimizer: Of the module's trained parameters.
        folder: The checkpoint's folder.
    """
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_state_dict
    from torch.distributed.checkpoint.state_dict_loader import load

    state = _state(module, optimizer)
    load(state, checkpoint_id=folder / _SHARDS, no_dist=distributed.world_size() == 1)
    options = StateDictOptions(ignore_frozen_params=True, strict=False)
    set_state_dict(
        module, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"], options=options
    )


def _state(module: nn.Module, optimizer: Any) -> dict[str, Any]:
    """Trained weights and the optimizer's state, by parameter name."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict

    model, optimizer_state = get_state_dict(module, optimizer, options=StateDictOptions(ignore_frozen_params=True))
    return {"model": model, "optimizer": optimizer_state}
