"""Reads the files of a checkpoint, of this version or an earlier one, into a model and its optimizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from efface.errors import EffaceError
from efface.train.checkpoints.checkpoint_files import StoredTensors
from efface.train.checkpoints.optimizer_state import load_optimizer_tensors
from efface.train.checkpoints.pickled_shards import has_shards, load_shards
from efface.train.distribution.shards import local_part, local_rows

TRAINED, OPTIMIZER = "trained", "optimizer"
"""Names of the files in a checkpoint; those of shards have their number after it."""


def load_state(model: Any, optimizer: Any, folder: Path, *, wrapped: nn.Module, sharded: bool) -> None:
    """Read trained weights and optimizer state, written by any number of processes; pickles only where nothing else is.

    Args:
        model: Of transformers or PEFT; it may be sharded in another way than the one that was saved.
        optimizer: Of its trained parameters.
        folder: The checkpoint's folder.
        wrapped: The module whose parameter names are those in the shards of an earlier version.
        sharded: Whether the model is sharded.

    Raises:
        EffaceError: An earlier version wrote it in one process, and the model is sharded.
        FileNotFoundError: A file is missing.
    """
    trained = StoredTensors(sorted(folder.glob(f"{TRAINED}*.safetensors")))
    if not trained.names and has_shards(folder):
        load_shards(wrapped, optimizer, folder)
        return
    if not trained.names:
        raise FileNotFoundError(f"{folder} has no {TRAINED}.safetensors")
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name in trained.names:
            target = parameters[name]
            local_part(target).copy_(trained.read(name, local_rows(target)))
    if moments := sorted(folder.glob(f"{OPTIMIZER}*.safetensors")):
        load_optimizer_tensors(model, optimizer, StoredTensors(moments))
        return
    pickled = folder / f"{OPTIMIZER}.pt"
    if not pickled.is_file():
        raise FileNotFoundError(f"{folder} has no {OPTIMIZER}.safetensors")
    if sharded:
        raise EffaceError(
            f"{pickled.name} was written by one process of an earlier version and cannot be sharded; resume with one "
            "process"
        )
    optimizer.load_state_dict(torch.load(pickled, map_location="cpu", weights_only=True))
