"""A model in training, distributed over processes: in the only process, replicated (DDP) or sharded (FSDP2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from efface import distributed
from efface.errors import EffaceError
from efface.packing.forward import device_of, unwrap_peft
from efface.packing.support import packing_unsupported_reason
from efface.train.config import TrainConfig
from efface.train.sharded_checkpoint import has_shards, load_shards, save_shards

T = TypeVar("T")
_TRAINED, _OPTIMIZER = "trained.safetensors", "optimizer.pt"


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

    def save(self, folder: Path) -> None:
        """Write trained weights and optimizer state into a checkpoint's folder, which exists."""
        if distributed.is_main_process():
            save_file(self._trained_parameters(), folder / _TRAINED)
            torch.save(self.optimizer.state_dict(), folder / _OPTIMIZER)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote in any class of this module, in any number of processes."""
        if has_shards(folder):
            load_shards(ForwardWrapper(self.model), self.optimizer, folder)
            return
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, value in load_file(folder / _TRAINED).items():
                parameters[name].copy_(value)
        self.optimizer.load_state_dict(torch.load(folder / _OPTIMIZER, map_location="cpu", weights_only=True))

    def trained_state_dict(self) -> dict[str, Tensor]:
        """The trained parameters, unsharded, by name; empty in all but the main process."""
        return self._trained_parameters() if distributed.is_main_process() else {}

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

    def __init__(self, model: Any, device: torch.device, *, bf16: bool) -> None:
        """Shard the model, layer by layer.

        Args:
            model: May be on the CPU: only the shards of this process are moved.
            device: Of the shards.
            bf16: Whether layers are communicated and computed in bf16; the shards stay float32.

        Raises:
            EffaceError: The model's sequences cannot be packed.
        """
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        super().__init__(model)
        # determined with forward passes of the whole model, so before it is sharded
        if (reason := packing_unsupported_reason(model)) is not None:
            raise EffaceError(
                f"{reason}, so that processes would make different numbers of forward passes; leave "
                "train.sharding=fsdp2 out"
            )
        self._meta_model = _meta_copy(model)
        mesh = init_device_mesh(device.type, (distributed.world_size(),))
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if bf16 else MixedPrecisionPolicy()
        self._wrapper = ForwardWrapper(model)
        for layer in _decoder_layers(model):
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(self._wrapper, mesh=mesh, mp_policy=policy)

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

    def save(self, folder: Path) -> None:
        """As in `ParallelModel`; each process writes its shards."""
        save_shards(self._wrapper, self.optimizer, folder)

    def load(self, folder: Path) -> None:
        """As in `ParallelModel`, but refuses a checkpoint that is not in shards.

        Raises:
            EffaceError: One process wrote the checkpoint.
        """
        if not has_shards(folder):
            raise EffaceError("it was written by one process and cannot be sharded; resume with one process")
        load_shards(self._wrapper, self.optimizer, folder)

    def trained_state_dict(self) -> dict[str, Tensor]:
        """As in `ParallelModel`; on the CPU."""
        state = {}
        for name, parameter in self._trained_parameters().items():
            full = parameter.full_tensor().cpu()  # type: ignore[attr-defined]
            if distributed.is_main_process():
                state[name] = full
        return state

    def full_model(self) -> Any:
        """As in `ParallelModel`; another object, on the CPU."""
        full: dict[int, nn.Parameter] = {}
        for meta, parameter in zip(self._meta_model.parameters(), self.model.parameters(), strict=True):
            value = parameter.full_tensor()
            value = value.cpu() if distributed.is_main_process() else torch.empty_like(value, device="meta")
            full[id(meta)] = nn.Parameter(value, requires_grad=parameter.requires_grad)
        for module in self._meta_model.modules():
            for name, meta in list(module.named_parameters(recurse=False)):
                setattr(module, name, full[id(meta)])
        return self._meta_model


def parallelize(model: Any, config: TrainConfig, device: torch.device) -> ParallelModel:
    """Distribute a model over the connected processes.

    Args:
        model: Of transformers or PEFT; the same in all processes.
        config: `sharding` and the precision are used.
        device: Of the shards, where there are any.

    Returns:
        A `ParallelModel` in one process, else a `DDPModel` or `FSDPModel`.

    Raises:
        EffaceError: The model cannot be sharded.
    """
    if distributed.world_size() == 1:
        return ParallelModel(model)
    if config.sharding == "fsdp2":
        return FSDPModel(model, device, bf16=config.bf16_on(device.type))
    return DDPModel(model)


def _all_reduce_sum(values: Tensor) -> Tensor:
    import torch.distributed as dist

    with distributed.explain_lost_peer():
        dist.all_reduce(values)
    return values


def _meta_copy(model: Any) -> Any:
    """A copy without memory for its weights, to be filled after training: `fully_shard` cannot be undone."""
    empty = {id(each): nn.Parameter(torch.empty_like(each, device="meta")) for each in model.parameters()}
    return deepcopy(model, dict(empty))


def _decoder_layers(model: Any) -> list[nn.Module]:
    """The layers of the decoder: the longest `ModuleList` in the model."""
    lists = [module for module in unwrap_peft(model).modules() if isinstance(module, nn.ModuleList)]
    return list(max(lists, key=len, default=[]))
