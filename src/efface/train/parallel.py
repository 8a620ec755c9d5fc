"""Where a model in training lies: whole in the only process, whole in each of several, or in shards over them."""

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

T = TypeVar("T")
_TRAINED, _OPTIMIZER, _SHARDS = "trained.safetensors", "optimizer.pt", "shards"


class ForwardWrapper(nn.Module):
    """A model behind one `forward`, where DDP and FSDP listen: efface calls backbone and head by themselves."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[[Any], Any]) -> Any:
        """What `compute` makes of the model."""
        return compute(self.model)


class ParallelModel:
    """A model whole in this process, the only one; what the others derive from."""

    def __init__(self, model: Any) -> None:
        self.model = model
        """The model of transformers or PEFT itself, placed."""
        self.optimizer: Any = None
        """What `save` and `load` keep beside the weights; whoever made it for the placed model sets it."""

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return device_of(self.model)

    def forward(self, compute: Callable[[Any], T]) -> T:
        """What `compute` makes of the model, ready for a backward pass."""
        return compute(self.model)

    def read(self, compute: Callable[[Any], T]) -> T:
        """What `compute` makes of the model, without a backward pass."""
        with torch.no_grad():
            return compute(self.model)

    @contextmanager
    def accumulating(self, *, last: bool) -> Iterator[None]:  # noqa: ARG002 - for those that derive
        """Around forward and backward of a part of a step; the gradients of all processes meet in the `last`."""
        yield

    def total(self, values: Tensor) -> Tensor:
        """Sum over the processes."""
        return values

    def norm(self) -> Tensor:
        """Of the gradient of everything that is trained, a scalar on its device."""
        return nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])

    def save(self, folder: Path) -> None:
        """Write what is trained, and the optimizer's state, into a checkpoint's folder."""
        if distributed.is_main_process():
            save_file(self._trained(), folder / _TRAINED)
            torch.save(self.optimizer.state_dict(), folder / _OPTIMIZER)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote, in a run of any number of processes."""
        if (folder / _SHARDS).is_dir():
            _load_shards(ForwardWrapper(self.model), self.optimizer, folder)
            return
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, value in load_file(folder / _TRAINED).items():
                parameters[name].copy_(value)
        self.optimizer.load_state_dict(torch.load(folder / _OPTIMIZER, map_location="cpu", weights_only=True))

    def trained(self) -> dict[str, Tensor]:
        """What is trained, whole, by name; in the first process only."""
        return self._trained() if distributed.is_main_process() else {}

    def gathered(self) -> Any:
        """The whole model, which is not trained any further; complete in the first process only."""
        return self.model

    def _trained(self) -> dict[str, Tensor]:
        return {
            name: parameter.detach().contiguous()
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad
        }


class DDPModel(ParallelModel):
    """The model whole in each process; DDP averages their gradients."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self._door = nn.parallel.DistributedDataParallel(
            ForwardWrapper(model),
            device_ids=[self.device] if self.device.type == "cuda" else None,
            broadcast_buffers=False,  # they do not change
            gradient_as_bucket_view=True,  # or each gradient would lie in memory twice
        )

    def forward(self, compute: Callable[[Any], T]) -> T:
        """As in `ParallelModel`."""
        result: T = self._door(compute)
        return result

    @contextmanager
    def accumulating(self, *, last: bool) -> Iterator[None]:
        """As in `ParallelModel`."""
        with distributed.explain_lost_peer():
            if last:
                yield
                return
            with self._door.no_sync():
                yield

    def total(self, values: Tensor) -> Tensor:
        """As in `ParallelModel`."""
        return _total(values)


class FSDPModel(ParallelModel):
    """The model in shards over the processes, layer by layer: FSDP2. Each is whole only while it computes."""

    def __init__(self, model: Any, device: torch.device, *, bf16: bool) -> None:
        """`model` may lie on the CPU: each process takes no more than its shards to `device`."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        super().__init__(model)
        if (
            why := packing_unsupported_reason(model)
        ) is not None:  # found out by forwards of its own, which shards could not make
            raise EffaceError(f"{why}, so that each process would make other forwards; leave train.sharding=fsdp2 out")
        self._twin = _meta_copy(model)
        mesh = init_device_mesh(device.type, (distributed.world_size(),))
        # shards stay float32; what travels, and what the layers then compute with, is half as large
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if bf16 else MixedPrecisionPolicy()
        self._door = ForwardWrapper(model)
        for layer in _layers(model):
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(self._door, mesh=mesh, mp_policy=policy)

    def forward(self, compute: Callable[[Any], T]) -> T:
        """As in `ParallelModel`."""
        result: T = self._door(compute)
        return result

    def read(self, compute: Callable[[Any], T]) -> T:
        """As in `ParallelModel`; every process must make the same forwards."""
        with torch.no_grad():
            return self.forward(compute)

    @contextmanager
    def accumulating(self, *, last: bool) -> Iterator[None]:  # noqa: ARG002
        """As in `ParallelModel`; gradients meet in every part, or each process would need room for whole ones."""
        with distributed.explain_lost_peer():
            yield

    def total(self, values: Tensor) -> Tensor:
        """As in `ParallelModel`."""
        return _total(values)

    def norm(self) -> Tensor:
        """As in `ParallelModel`."""
        norm: Tensor = super().norm().full_tensor()  # type: ignore[attr-defined]
        return norm

    def save(self, folder: Path) -> None:
        """As in `ParallelModel`; each process writes its shards."""
        from torch.distributed.checkpoint.state_dict_saver import save

        save(_state(self._door, self.optimizer), checkpoint_id=folder / _SHARDS)

    def load(self, folder: Path) -> None:
        """As in `ParallelModel`. Raises `EffaceError` for a checkpoint of a process that was alone."""
        if not (folder / _SHARDS).is_dir():
            raise EffaceError("it was written by one process, and several cannot share it out; go on with one")
        _load_shards(self._door, self.optimizer, folder)

    def trained(self) -> dict[str, Tensor]:
        """As in `ParallelModel`."""
        found = {}
        for name, parameter in self._trained().items():
            whole = parameter.full_tensor().cpu()  # type: ignore[attr-defined]
            if distributed.is_main_process():
                found[name] = whole
        return found

    def gathered(self) -> Any:
        """As in `ParallelModel`; another object, in the CPU's memory."""
        whole: dict[int, nn.Parameter] = {}
        for twin, parameter in zip(self._twin.parameters(), self.model.parameters(), strict=True):
            value = parameter.full_tensor()
            kept = value.cpu() if distributed.is_main_process() else torch.empty_like(value, device="meta")
            whole[id(twin)] = nn.Parameter(kept, requires_grad=parameter.requires_grad)
        for module in self._twin.modules():
            for name, twin in list(module.named_parameters(recurse=False)):
                setattr(module, name, whole[id(twin)])
        return self._twin


def parallelize(model: Any, config: TrainConfig, device: torch.device) -> ParallelModel:
    """The model as the number of processes and the settings want it."""
    if distributed.world_size() == 1:
        return ParallelModel(model)
    if config.sharding == "fsdp2":
        return FSDPModel(model, device, bf16=config.bf16_on(device.type))
    return DDPModel(model)


def _total(values: Tensor) -> Tensor:
    import torch.distributed as dist

    with distributed.explain_lost_peer():
        dist.all_reduce(values)
    return values


def _state(door: ForwardWrapper, optimizer: Any) -> dict[str, Any]:
    """What is trained and the optimizer's state, by name."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict

    model, moments = get_state_dict(door, optimizer, options=StateDictOptions(ignore_frozen_params=True))
    return {"model": model, "optimizer": moments}


def _load_shards(door: ForwardWrapper, optimizer: Any, folder: Path) -> None:
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_state_dict
    from torch.distributed.checkpoint.state_dict_loader import load

    state = _state(door, optimizer)
    load(state, checkpoint_id=folder / _SHARDS, no_dist=distributed.world_size() == 1)
    options = StateDictOptions(ignore_frozen_params=True, strict=False)
    set_state_dict(
        door, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"], options=options
    )


def _meta_copy(model: Any) -> Any:
    """A copy that takes no memory: shards leave marks in a model that cannot be taken off again."""
    empty = {id(each): nn.Parameter(torch.empty_like(each, device="meta")) for each in model.parameters()}
    return deepcopy(model, dict(empty))


def _layers(model: Any) -> list[nn.Module]:
    """The decoder's layers: the longest list of modules that it holds."""
    lists = [module for module in unwrap_peft(model).modules() if isinstance(module, nn.ModuleList)]
    return list(max(lists, key=len, default=[]))
