"""Reads the shards that earlier versions wrote with torch.distributed.checkpoint. No code in them can run."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from efface import distributed
from efface.errors import first_line

_SHARDS = "shards"
_HARMLESS = {
    "collections": {"OrderedDict"},
    "pathlib": {"PosixPath", "Path", "WindowsPath"},
    "torch": {"Size", "float16", "float32", "float64", "bfloat16", "uint8", "int64"},
    "torch.serialization": {"_get_layout"},
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.distributed.checkpoint.metadata": {
        "_MEM_FORMAT_ENCODING",
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
    },
}
"""Module -> what the description of shards consists of."""


class _Unpickler(pickle.Unpickler):
    """Creates nothing but the values that describe shards."""

    def find_class(self, module: str, name: str) -> Any:
        """As in the base class, for what is known to be harmless."""
        if name not in _HARMLESS.get(module, ()):
            raise pickle.UnpicklingError(f"the shards name {module}.{name}, which is no part of a checkpoint")
        return super().find_class(module, name)


def has_shards(folder: Path) -> bool:
    """Whether a checkpoint's folder was written as shards by an earlier version."""
    return (folder / _SHARDS).is_dir()


def load_shards(module: nn.Module, optimizer: Any, folder: Path) -> None:
    """Read trained weights and optimizer state.

    Args:
        module: Has the same parameter names as the one that was saved; sharded, or whole in the only process.
        optimizer: Of the module's trained parameters.
        folder: The checkpoint's folder.

    Raises:
        ValueError: They are damaged, or contain something else than a checkpoint does.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
    from torch.distributed.checkpoint.state_dict_loader import load

    only_trained = StateDictOptions(ignore_frozen_params=True)
    model_state, optimizer_state = get_state_dict(module, optimizer, options=only_trained)
    state: dict[str, Any] = {"model": model_state, "optimizer": optimizer_state}
    try:
        alone = distributed.world_size() == 1
        load(state, storage_reader=_reader(folder / _SHARDS), planner=_planner(), no_dist=alone)
    except CheckpointException as error:  # which is no Exception
        raise ValueError("; ".join(first_line(cause) for cause, _ in error.failures.values())) from error
    options = StateDictOptions(ignore_frozen_params=True, strict=False)
    set_state_dict(
        module, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"], options=options
    )


def _reader(folder: Path) -> Any:
    from torch.distributed.checkpoint.filesystem import FileSystemReader

    class Reader(FileSystemReader):
        """torch's, which would unpickle anything."""

        def read_metadata(self, *_: Any, **__: Any) -> Any:
            with (folder / ".metadata").open("rb") as file:
                metadata = _Unpickler(file).load()
            metadata.storage_meta.load_id = self.load_id
            return metadata

    return Reader(folder)


def _planner() -> Any:
    from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner

    class Planner(DefaultLoadPlanner):
        """torch's, which would unpickle any number."""

        def load_bytes(self, read_item: Any, value: io.BytesIO) -> None:
            safe = torch.load(value, weights_only=True)
            copied = io.BytesIO()
            torch.save(safe, copied)
            copied.seek(0)
            super().load_bytes(read_item, copied)

    return Planner()
