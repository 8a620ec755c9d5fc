"""A model in training: in the only process, or replicated over several (DDP).

`fsdp_model` and `zero_model` have the sharded ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from efface import distributed
from efface.packing.forward import device_of
from efface.packing.in_step import in_step
from efface.train.checkpoints.checkpoint_files import CheckpointFile
from efface.train.checkpoints.optimizer_state import optimizer_tensors
from efface.train.checkpoints.stored_state import OPTIMIZER, TRAINED, load_state

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
        self.meta_model = model
        """A model with the names and shapes of the whole weights: where they are sharded, a copy without memory."""
        self.optimizer: Any = None
        """Of the model's trained parameters; saved and loaded with them. `use_optimizer` sets it."""
        self.computing: Callable[[], AbstractContextManager[Any]] = nullcontext
        """Makes the context in which training computes, such as that of autocast. The trainer sets it."""

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return device_of(self.model)

    def use_optimizer(self, optimizer: Any) -> None:
        """Train with an optimizer; to be called before anything is computed.

        Args:
            optimizer: Of torch, for the trained parameters.
        """
        self.optimizer = optimizer

    def drop_optimizer(self) -> None:
        """Free the optimizer's state, which may be twice the model. Training has ended."""
        self.optimizer = None

    def forward(self, compute: Callable[[Any], T]) -> T:
        """The result of `compute(model)`, ready for a backward pass."""
        return compute(self.model)

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a scalar that `forward` computed."""
        loss.backward()

    def step(self, grad_norm: Tensor, *, max_grad_norm: float | None) -> None:
        """Update the weights.

        Args:
            grad_norm: What the method `grad_norm` returned.
            max_grad_norm: Scale the gradients down to this norm; None for never.
        """
        if max_grad_norm is not None:
            nn.utils.clip_grads_with_norm_(self.model.parameters(), max_grad_norm, grad_norm)
        self.optimizer.step()

    def forward_no_grad(self, compute: Callable[[Any], T]) -> T:
        """The result of `compute(model)` without gradients, computed as in training.

        With FSDP2, every process must make the same forward passes.
        """
        with torch.no_grad(), self.computing():
            return compute(self.model)

    def forward_in_step(self, compute: Callable[[Any], T]) -> T:
        """As `forward_no_grad`, but processes may make different numbers of forward passes, and exchange objects."""
        if not self.is_sharded:
            return self.forward_no_grad(compute)

        def together(model: Any) -> T:
            with in_step(model):
                return compute(model)

        return self.forward_no_grad(together)

    @contextmanager
    def gradient_sync(self, *, enabled: bool) -> Iterator[None]:  # noqa: ARG002 - for the derived classes
        """Context of the forward and backward pass of one micro-batch.

        Args:
            enabled: Whether the gradients, with those of earlier micro-batches, are averaged over the processes: set
                in the last micro-batch of a step. FSDP2 averages in each, since whole gradients would take memory.
        """
        yield

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

    def release(self) -> None:
        """Free what would stay in memory although nobody has this object any more; not to be used afterwards."""

    def _trained_parameters(self) -> dict[str, Tensor]:
        return {
            name: parameter.detach().contiguous()
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad
        }


class DDPModel(ParallelModel):
    """The whole model in each process; DDP averages the gradients."""

    def __init__(self, model: Any, *, whole: bool = True) -> None:
        """Copy nothing: the model is the same in all processes.

        Args:
            model: Of transformers or PEFT.
            whole: Whether every trained weight gets a gradient in each step.
        """
        super().__init__(model)
        self._wrapper = nn.parallel.DistributedDataParallel(
            ForwardWrapper(model),
            device_ids=[self.device] if self.device.type == "cuda" else None,
            broadcast_buffers=False,  # they do not change
            find_unused_parameters=not whole,
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
