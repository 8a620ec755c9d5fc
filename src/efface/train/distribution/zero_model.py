"""A model in training, sharded over processes by DeepSpeed (ZeRO-3), with the optimizer's state on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from efface import distributed
from efface.packing.support import mark_as_packable, packing_unsupported_reason
from efface.train.checkpoints.checkpoint_files import CheckpointFile, StoredTensors
from efface.train.checkpoints.stored_state import OPTIMIZER, TRAINED
from efface.train.distribution.parallel import ParallelModel
from efface.train.distribution.sharded_model import ReadRows, check_packable, fill, meta_copy
from efface.train.distribution.shards import elements_of_rank, whole_shape
from efface.train.distribution.zero_engine import ZeroSettings, make_engine, padded, partition, release

T = TypeVar("T")
_MOMENTS = ("exp_avg", "exp_avg_sq")
"""AdamW's state of a parameter, besides the number of steps."""


class ZeroModel(ParallelModel):
    """The model in shards over the processes (ZeRO-3): weights on their device, the optimizer's state on the CPU.

    What an optimizer changes is a float32 copy of the weights, on the CPU, too; only functions of DeepSpeed that are
    documented read or write it.
    """

    is_sharded = True

    def __init__(
        self, model: Any, device: torch.device, settings: ZeroSettings, *, read: ReadRows | None = None
    ) -> None:
        """Shard the weights. Nothing can be computed before `use_optimizer`.

        Args:
            model: May be on the CPU: only the shards of this process are moved.
            device: Of the shards.
            settings: Of the engine.
            read: Reads the weights that are on the meta device.
        """
        super().__init__(model)
        self.meta_model = meta_copy(model)
        self._settings = settings
        self._read: ReadRows | None = read or _read_from_memory(model)
        self._engine: Any = None
        self._device = device
        partition(model, device, settings, self._read)

    @property
    def device(self) -> torch.device:
        """As in `ParallelModel`."""
        return self._device

    def use_optimizer(self, optimizer: Any) -> None:
        """As in `ParallelModel`.

        Raises:
            EffaceError: The model's sequences cannot be packed.
        """
        super().use_optimizer(optimizer)
        self._engine = make_engine(self.model, optimizer, self._settings)
        if self._settings.bf16:  # the float32 weights were made from those in bf16
            self._read_float32_weights()
        self._read = None
        check_packable(self.forward_in_step(packing_unsupported_reason), sharding="zero3")
        mark_as_packable(self.model)

    def drop_optimizer(self) -> None:
        """As in `ParallelModel`."""
        self.optimizer.state.clear()
        super().drop_optimizer()

    def forward(self, compute: Callable[[Any], T]) -> T:
        """As in `ParallelModel`, for results of which all tensors are to get a gradient."""
        self._engine.module.compute = compute
        result: T = self._engine()
        return result

    def forward_no_grad(self, compute: Callable[[Any], T]) -> T:
        """As in `ParallelModel`."""
        module = self._engine.module
        module.compute = compute
        with torch.no_grad(), self.computing():
            self._engine()
        result: T = module.result
        module.result = None
        return result

    @contextmanager
    def gradient_sync(self, *, enabled: bool) -> Iterator[None]:
        """As in `ParallelModel`: gradients are averaged in each micro-batch, and complete in the last one."""
        self._engine.set_gradient_accumulation_boundary(enabled)
        with distributed.explain_lost_peer():
            yield

    def backward(self, loss: Tensor) -> None:
        """As in `ParallelModel`."""
        self._engine.backward(loss)

    def grad_norm(self) -> Tensor:
        """As in `ParallelModel`."""
        from deepspeed.utils import safe_get_local_grad

        squares = torch.zeros((), device=self.device)
        for _, parameter, elements in self._trained():
            squares += safe_get_local_grad(parameter)[: len(elements)].square().sum()
        return distributed.all_reduce_sum(squares).sqrt()

    def step(self, grad_norm: Tensor, *, max_grad_norm: float | None) -> None:  # noqa: ARG002 - the engine has both
        """As in `ParallelModel`; the engine computes the norm once more where it scales gradients down."""
        with distributed.explain_lost_peer():
            self._engine.step()

    def checkpoint_files(self) -> list[CheckpointFile]:
        """As in `ParallelModel`, with the elements that this process has of each flattened weight."""
        from deepspeed.utils import safe_get_local_fp32_param, safe_get_local_optimizer_state

        steps = next(iter(self.optimizer.state.values()))["step"].to("cpu", copy=True)  # it is on the CPU
        weights: dict[str, Tensor] = {}
        moments: dict[str, Tensor] = {}
        for name, parameter, elements in self._trained():
            weights[name] = safe_get_local_fp32_param(parameter)[: len(elements)].cpu()
            for key in _MOMENTS:
                state = safe_get_local_optimizer_state(parameter, key)
                moments[f"{key}/{name}"] = state[: len(elements)].cpu()  # one by one: it does not fit on a GPU
            moments[f"step/{name}"] = steps
        return [self._file(TRAINED, weights), self._file(OPTIMIZER, moments)]

    def _file(self, kind: str, tensors: dict[str, Tensor]) -> CheckpointFile:
        """The file of this process with elements of weights, or of what belongs to `KEY/WEIGHT`."""
        places = {name: (elements.start, whole_shape(parameter)) for name, parameter, elements in self._trained()}
        flat = {key: places[key.split("/")[-1]] for key, each in tensors.items() if each.ndim > 0}
        return CheckpointFile(
            f"{kind}-{distributed.rank():05d}-of-{distributed.world_size():05d}.safetensors",
            tensors,
            {key: start for key, (start, _) in flat.items()},
            {key: shape for key, (_, shape) in flat.items()},
            is_copy=self.device.type != "cpu",  # of what DeepSpeed put together on the device
        )

    def load(self, folder: Path) -> None:
        """As in `ParallelModel`."""
        from deepspeed.utils import safe_set_local_fp32_param, safe_set_local_optimizer_state

        trained = StoredTensors(sorted(folder.glob(f"{TRAINED}*.safetensors")))
        moments = StoredTensors(sorted(folder.glob(f"{OPTIMIZER}*.safetensors")))
        if not trained.names or not moments.names:
            raise FileNotFoundError(f"{folder} has no {TRAINED} and {OPTIMIZER} .safetensors")
        for name, parameter, elements in self._trained():
            safe_set_local_fp32_param(parameter, padded(trained.read_elements(name, elements), parameter))
        self._copy_weights()
        for name, parameter, elements in self._trained():
            for key in _MOMENTS:
                value = moments.read_elements(f"{key}/{name}", elements)
                safe_set_local_optimizer_state(parameter, padded(value, parameter), key)
        steps = moments.read(next(name for name in moments.names if name.startswith("step/")))
        for state in self.optimizer.state.values():
            state["step"].copy_(steps)

    def trained_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """As in `ParallelModel`; on the CPU."""
        from deepspeed.utils import safe_get_full_fp32_param

        for name, parameter, _ in self._trained():
            full = safe_get_full_fp32_param(parameter)
            yield name, full.cpu() if distributed.is_main_process() else full.new_empty(0)

    def full_model(self) -> Any:
        """As in `ParallelModel`; another object, on the CPU, complete in the main process only."""
        import deepspeed

        full = dict(self.trained_tensors())
        for name, parameter in self.model.named_parameters():
            if not parameter.requires_grad:
                with deepspeed.zero.GatheredParameters([parameter]):
                    full[name] = parameter.detach().cpu().clone()
        if distributed.is_main_process():
            fill(self.meta_model, full)
        return self.meta_model

    def release(self) -> None:
        """As in `ParallelModel`."""
        release(self._engine)
        self._engine = self.model = None

    def _trained(self) -> Iterator[tuple[str, Any, range]]:
        """Name, parameter, and which of its elements this process has, of each trained weight."""
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                total = whole_shape(parameter).numel()
                yield name, parameter, elements_of_rank(total, distributed.rank(), distributed.world_size())

    def _read_float32_weights(self) -> None:
        """Replace the weights that the optimizer changes, which are rounded to bf16, by the stored ones."""
        from deepspeed.utils import safe_set_local_fp32_param

        assert self._read is not None
        places = {
            parameter: (module, name)
            for module in self.model.modules()
            for name, parameter in module.named_parameters(recurse=False)
        }
        for _, parameter, elements in self._trained():
            module, name = places[parameter]
            size = whole_shape(parameter)[1:].numel()
            first, end = elements.start // size, -(-elements.stop // size)
            rows = self._read(module, name, first, end).flatten()
            value = rows[elements.start - first * size : elements.stop - first * size]
            safe_set_local_fp32_param(parameter, padded(value, parameter))
        self._copy_weights()

    def _copy_weights(self) -> None:
        """Copy the weights that the optimizer changes to those that compute: a step without gradient and with lr 0."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        for group in self.optimizer.param_groups:
            group["lr"] = 0.0
        self._engine.set_gradient_accumulation_boundary(True)
        with distributed.explain_lost_peer():
            self._engine.step()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        for state in self.optimizer.state.values():
            state["step"].zero_()


def _read_from_memory(model: Any) -> ReadRows:
    """Reads the weights of a loaded model, also after its parameters were replaced."""
    weights: dict[tuple[nn.Module, str], Tensor] = {
        (module, name): parameter.detach()
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
    }

    def read(module: nn.Module, name: str, start: int, stop: int) -> Tensor:
        return weights[module, name][start:stop]

    return read
