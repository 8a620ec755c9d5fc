"""A model in training, distributed over processes: in the only process, replicated (DDP) or sharded (FSDP2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from efface import distributed
from efface.errors import EffaceError
from efface.hardware.memory import trim_freed_memory
from efface.packing.forward import device_of
from efface.packing.in_step import in_step
from efface.packing.support import mark_as_packable, packing_unsupported_reason
from efface.train.checkpoint_files import CheckpointFile
from efface.train.config import TrainConfig
from efface.train.optimizer_state import optimizer_tensors
from efface.train.sharded_model import ReadRows, fill_meta_copy, meta_copy, read_shards, shard_units
from efface.train.shards import shard_file
from efface.train.stored_state import OPTIMIZER, TRAINED, load_state

T = TypeVar("T")


class ForwardWrapper(nn.Module):
    """A module whose `forward` runs a given function of the model.

    The hooks of DDP and FSDP2 run around `forward`, while efface calls backbone and output head separately.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[[Any], Any]) -> Any:
        """The result of `compute(model)`."""
        return compute(self.model)


class ParallelModel:
    """A model in the only process; the base of the distributed ones, whose methods every process must call."""

    is_sharded = False
    """Whether each process has a part of the weights alone, and writes its part of a checkpoint."""

    def __init__(self, model: Any) -> None:
        self.model = model
        """The model of transformers or PEFT itself, on its device."""
        self.optimizer: Any = None
        """Of the model's trained parameters; saved and loaded with them. The trainer sets it."""

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return device_of(self.model)

    def forward(self, compute: Callable[[Any], T]) -> T:
        """The result of `compute(model)`, ready for a backward pass."""
        return compute(self.model)

    def forward_no_grad(self, compute: Callable[[Any], T]) -> T:
        """The result of `compute(model)` without gradients; with FSDP2, every process must make the same forwards."""
        with torch.no_grad():
            return compute(self.model)

    def forward_in_step(self, compute: Callable[[Any], T]) -> T:
        """As `forward_no_grad`, but processes may make different numbers of forward passes, and exchange objects."""
        return self.forward_no_grad(compute)

    @contextmanager
    def gradient_sync(self, *, enabled: bool) -> Iterator[None]:  # noqa: ARG002 - for the derived classes
        """Context of the forward and backward pass of one micro-batch.

        Args:
            enabled: Whether the gradients, with those of earlier micro-batches, are averaged over the processes: set
                in the last micro-batch of a step. FSDP2 averages in each, since whole gradients would take memory.
        """
        yield

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """The sum of `values` over the processes, elementwise."""
        return values

    def grad_norm(self) -> Tensor:
        """The 2-norm of the gradient of all trained parameters: a scalar on their device."""
        return nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])

    def checkpoint_files(self) -> list[CheckpointFile]:
        """The files with trained weights and optimizer state that this process writes; their tensors are not copies."""
        if not distributed.is_main_process():
            return []
        moments = optimizer_tensors(self.model, self.optimizer)
        return [
            CheckpointFile(f"{TRAINED}.safetensors", self._trained_parameters()),
            CheckpointFile(f"{OPTIMIZER}.safetensors", moments),
        ]

    def load(self, folder: Path) -> None:
        """Read the checkpoint of any class of this module, in any number of processes, or of an earlier version."""
        load_state(self.model, self.optimizer, folder, wrapped=self._wrapped(), sharded=self.is_sharded)

    def _wrapped(self) -> nn.Module:
        return ForwardWrapper(self.model)

    def trained_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Name and value of the trained parameters, unsharded one by one; empty tensors in all but the main process."""
        yield from self._trained_parameters().items()

    def full_model(self) -> Any:
        """The unsharded model, for use after training; complete in the main process only."""
        return self.model

    def _trained_parameters(self) -> dict[str, Tensor]:
        return {
            name: parameter.detach().contiguous()
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad
        }


class DDPModel(ParallelModel):
    """The whole model in each process; DDP averages the gradients."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self._wrapper = nn.parallel.DistributedDataParallel(
            ForwardWrapper(model),
            device_ids=[self.device] if self.device.type == "cuda" else None,
            broadcast_buffers=False,  # they do not change
            gradient_as_bucket_view=True,  # or each gradient would be in memory twice
        )

    def forward(self, compute: Callable[[Any], T]) -> T:
        """As in `ParallelModel`."""
        result: T = self._wrapper(compute)
        return result

    @contextmanager
    def gradient_sync(self, *, enabled: bool) -> Iterator[None]:
        """As in `ParallelModel`."""
        with distributed.explain_lost_peer():
            if enabled:
                yield
                return
            with self._wrapper.no_sync():
                yield

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """As in `ParallelModel`."""
        return _all_reduce_sum(values)


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
            _check_packable(packing_unsupported_reason(model))
        self.meta_model = meta_copy(model)
        """The model before it was sharded, without memory for its weights."""
        mesh = init_device_mesh(device.type, (distributed.world_size(),))
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if bf16 else MixedPrecisionPolicy()
        self._wrapper = ForwardWrapper(model)
        for unit in shard_units(model):
            fully_shard(unit, mesh=mesh, mp_policy=policy)
        fully_shard(self._wrapper, mesh=mesh, mp_policy=policy)
        if read is not None:
            read_shards(model, read, device)
            trim_freed_memory()
            if must_pack:
                _check_packable(self.forward_in_step(packing_unsupported_reason))
        if must_pack:
            mark_as_packable(model)

    def forward(self, compute: Callable[[Any], T]) -> T:
        """As in `ParallelModel`."""
        result: T = self._wrapper(compute)
        return result

    def forward_no_grad(self, compute: Callable[[Any], T]) -> T:
        """As in `ParallelModel`."""
        with torch.no_grad():
            result = self.forward(compute)
        self._wrapper.reshard()  # type: ignore[operator]  # added by `fully_shard`
        return result

    def forward_in_step(self, compute: Callable[[Any], T]) -> T:
        """As in `ParallelModel`."""

        def together(model: Any) -> T:
            with in_step(model):
                return compute(model)

        return self.forward_no_grad(together)

    @contextmanager
    def gradient_sync(self, *, enabled: bool) -> Iterator[None]:  # noqa: ARG002
        """As in `ParallelModel`."""
        with distributed.explain_lost_peer():
            yield

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """As in `ParallelModel`."""
        return _all_reduce_sum(values)

    def grad_norm(self) -> Tensor:
        """As in `ParallelModel`."""
        norm: Tensor = super().grad_norm().full_tensor()  # type: ignore[attr-defined]
        return norm

    def checkpoint_files(self) -> list[CheckpointFile]:
        """As in `ParallelModel`, with the shards of this process."""
        number = f"{distributed.rank():05d}-of-{distributed.world_size():05d}"
        moments = optimizer_tensors(self.model, self.optimizer)
        return [
            shard_file(f"{TRAINED}-{number}.safetensors", self._trained_parameters()),
            shard_file(f"{OPTIMIZER}-{number}.safetensors", moments),
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


def parallelize(
    model: Any, config: TrainConfig, device: torch.device, *, read: ReadRows | None = None
) -> ParallelModel:
    """Distribute a model over the connected processes.

    Args:
        model: Of transformers or PEFT; the same in all processes.
        config: `sharding` and the precision are used.
        device: Of the shards, where there are any.
        read: Reads the weights of a model on the meta device, which is sharded.

    Returns:
        A `ParallelModel` in one process, else a `DDPModel` or `FSDPModel`.

    Raises:
        EffaceError: The model cannot be sharded.
    """
    if distributed.world_size() == 1:
        return ParallelModel(model)
    if config.sharding == "fsdp2":
        return FSDPModel(model, device, bf16=config.bf16_on(device.type), read=read)
    return DDPModel(model)


def _check_packable(reason: str | None) -> None:
    if reason is not None:
        raise EffaceError(
            f"{reason}, so that processes would make different numbers of forward passes; leave "
            "train.sharding=fsdp2 out"
        )


def _all_reduce_sum(values: Tensor) -> Tensor:
    import torch.distributed as dist

    with distributed.explain_lost_peer():
        dist.all_reduce(values)
    return values
