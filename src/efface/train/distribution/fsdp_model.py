"""A model in training, sharded over processes (FSDP2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from efface import distributed
from efface.hardware.memory import trim_freed_memory
from efface.packing.support import mark_as_packable, packing_unsupported_reason
from efface.train.checkpoints.checkpoint_files import CheckpointFile
from efface.train.checkpoints.optimizer_state import optimizer_shard_file
from efface.train.checkpoints.stored_state import OPTIMIZER, TRAINED
from efface.train.distribution.parallel import ForwardWrapper, ParallelModel
from efface.train.distribution.sharded_model import (
    ReadRows,
    check_packable,
    fill_meta_copy,
    meta_copy,
    read_shards,
    shard_units,
)
from efface.train.distribution.shards import shard_file

T = TypeVar("T")


class FSDPModel(ParallelModel):
    """The model in shards over the processes (FSDP2); a layer is unsharded only while it computes."""

    is_sharded = True

    def __init__(
        self,
        model: Any,
        device: torch.device,
        *,
        bf16: bool,
        read: ReadRows | None = None,
        must_pack: bool = True,
    ) -> None:
        """Shard the model, layer by layer.

        Args:
            model: May be on the CPU: only the shards of this process are moved.
            device: Of the shards.
            bf16: Whether layers are communicated and computed in bf16; the shards stay in their dtype.
            read: Reads the weights that are on the meta device, each process its own rows.
            must_pack: Whether all processes make the same forward passes: in training.

        Raises:
            EffaceError: The model's sequences cannot be packed, and must be.
        """
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        super().__init__(model)
        if must_pack and read is None:  # before it is sharded
            check_packable(packing_unsupported_reason(model), sharding="fsdp2")
        self.meta_model = meta_copy(model)
        mesh = init_device_mesh(device.type, (distributed.world_size(),))
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if bf16 else MixedPrecisionPolicy()
        self._wrapper = ForwardWrapper(model)
        for unit in (*shard_units(model), self._wrapper):
            fully_shard(unit, mesh=mesh, mp_policy=policy)
            if device.type == "cpu":
                unit.register_forward_pre_hook(_unshard, prepend=True)
        if read is not None:
            read_shards(model, read, device)
            trim_freed_memory()
            if must_pack:
                check_packable(self.forward_in_step(packing_unsupported_reason), sharding="fsdp2")
        if must_pack:
            mark_as_packable(model)

    def forward(self, compute: Callable[[Any], T]) -> T:
        """As in `ParallelModel`."""
        result: T = self._wrapper(compute)
        return result

    def forward_no_grad(self, compute: Callable[[Any], T]) -> T:
        """As in `ParallelModel`."""
        with torch.no_grad(), self.computing():
            result = self.forward(compute)
        self._wrapper.reshard()  # type: ignore[operator]  # added by `fully_shard`
        return result

    @contextmanager
    def gradient_sync(self, *, enabled: bool) -> Iterator[None]:  # noqa: ARG002
        """As in `ParallelModel`."""
        with distributed.explain_lost_peer():
            yield

    def grad_norm(self) -> Tensor:
        """As in `ParallelModel`."""
        norm: Tensor = super().grad_norm().full_tensor()  # type: ignore[attr-defined]
        return norm

    def checkpoint_files(self) -> list[CheckpointFile]:
        """As in `ParallelModel`, with the shards of this process."""
        number = f"{distributed.rank():05d}-of-{distributed.world_size():05d}"
        return [
            shard_file(f"{TRAINED}-{number}.safetensors", self._trained_parameters()),
            optimizer_shard_file(f"{OPTIMIZER}-{number}.safetensors", self.model, self.optimizer),
        ]

    def _wrapped(self) -> nn.Module:
        return self._wrapper

    def trained_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """As in `ParallelModel`; on the CPU."""
        for name, parameter in self._trained_parameters().items():
            full = parameter.full_tensor()  # type: ignore[attr-defined]
            yield name, full.cpu() if distributed.is_main_process() else full.new_empty(0)

    def full_model(self) -> Any:
        """As in `ParallelModel`; another object, on the CPU."""
        fill_meta_copy(self.meta_model, self.model)
        return self.meta_model


def _unshard(unit: Any, _: Any) -> None:
    """Unshard before FSDP2's own hook does, which keeps the buffer of what it gathers until the next unit is gathered.

    On a GPU, gathering the next one overlaps with copying out of it. A CPU would only hold more memory.
    """
    unit.unshard()
