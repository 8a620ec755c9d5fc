"""DeepSpeed's engine for ZeRO-3: its settings, and a module that runs a whole step. Imported where it is used."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from efface.errors import EffaceError, install_hint
from efface.train.config import TrainConfig
from efface.train.distribution.sharded_model import ReadRows

_BUCKET = 50_000_000
"""Elements of gradients that are averaged at once; a larger gradient is averaged by itself."""
BUCKET_BYTES = 4 * _BUCKET
"""Of the buffer for these, on the device of the weights."""
CPU_BYTES = 20
"""For each trained element of a process, on the CPU: a float32 weight, two moments, and the gradient twice."""


@dataclass(frozen=True)
class ZeroSettings:
    """What an engine is made with."""

    bf16: bool
    """Whether sharded weights are bf16 and everything is computed in it; those of the optimizer are always float32."""
    max_grad_norm: float | None
    """The norm to which gradients are scaled down; None for never."""

    @property
    def config(self) -> dict[str, Any]:
        """Of DeepSpeed."""
        return {
            "train_micro_batch_size_per_gpu": 1,  # losses are divided by efface
            "gradient_accumulation_steps": 1,  # set before each micro-batch instead
            "gradient_clipping": self.max_grad_norm or 0.0,
            "bf16": {"enabled": self.bf16},
            "communication_data_type": "fp32",  # sums of gradients
            "data_types": {"grad_accum_dtype": "fp32"},
            "zero_optimization": {
                "stage": 3,
                "offload_optimizer": {"device": "cpu"},
                "reduce_bucket_size": _BUCKET,
                # prefetching follows the calls of the step before, which processes make different numbers of
                "stage3_prefetch_bucket_size": 0,
                "stage3_param_persistence_threshold": 0,
                "memory_efficient_linear": False,  # would replace torch's function for the whole program
            },
            "zero_allow_untested_optimizer": True,  # torch's AdamW, which needs no compiler
            "zero_force_ds_cpu_optimizer": False,
        }

    @property
    def dtype(self) -> torch.dtype:
        """Of the sharded weights."""
        return torch.bfloat16 if self.bf16 else torch.float32


class ComputeModule(nn.Module):
    """The module of the engine: its `forward` runs a whole step, since hooks around it gather the weights.

    The weights of the output head are parameters of this module, so that they are gathered once for all that a step
    computes: processes call the head different numbers of times.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        for name, parameter in model.get_output_embeddings().named_parameters(recurse=False):
            self.register_parameter(f"head_{name}", parameter)
        self.model = model
        self.compute: Callable[[Any], Any] | None = None
        """From the model to what is computed; set before each call."""
        self.result: Any = None
        """Of a call without gradient: hooks would look for tensors in what is returned."""

    def forward(self) -> Any:
        """What `compute` returns, where gradients are computed."""
        assert self.compute is not None
        result = self.compute(self.model)
        if torch.is_grad_enabled():
            return result
        self.result = result
        return ()


def check_zero(config: TrainConfig, *, whole: bool = True) -> None:
    """Refuse `sharding=zero3` where it cannot be used.

    Args:
        config: Settings of training.
        whole: Whether every trained weight gets a gradient; not where a loss ends at a layer inside the model.

    Raises:
        EffaceError: DeepSpeed is not installed, or would change weights that get no gradient.
    """
    if config.sharding != "zero3":
        return
    if find_spec("deepspeed") is None:
        raise EffaceError(f"train.sharding=zero3 needs deepspeed, which is not installed; {install_hint('deepspeed')}")
    if not whole:
        raise EffaceError(
            "train.sharding=zero3 also changes weights that get no gradient, and this loss ends at a layer inside the "
            "model; use train.sharding=fsdp2, or a retain regularizer that reads the whole model, such as rmu+gd"
        )


def partition(model: Any, device: torch.device, settings: ZeroSettings, read: ReadRows) -> None:
    """Replace each weight by its elements of this process, and move buffers.

    Args:
        model: Of transformers, on the CPU or the meta device.
        device: Of the shards.
        settings: Of the engine.
        read: Reads a weight; called in the main process, which sends it to the others.
    """
    deepspeed = _import_deepspeed(device)
    made: dict[nn.Parameter, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter not in made:  # a tied weight is one
                value = torch.empty(parameter.shape, dtype=settings.dtype, device=device)
                if torch.distributed.get_rank() == 0:
                    value.copy_(read(module, name, 0, len(parameter)))
                holder = nn.Module()
                holder.register_parameter("weight", nn.Parameter(value, requires_grad=parameter.requires_grad))
                deepspeed.zero.Init(module=holder, config_dict_or_path=settings.config, dtype=settings.dtype)
                made[parameter] = holder.get_parameter("weight")
            module.register_parameter(name, made[parameter])
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, buffer.to(device))


def make_engine(model: Any, optimizer: Any, settings: ZeroSettings) -> Any:
    """The engine of a model that `partition` sharded, with a `ComputeModule`.

    Args:
        model: Of transformers.
        optimizer: Of torch; its parameters become the float32 ones of the engine.
        settings: Of the engine.
    """
    import deepspeed

    module = ComputeModule(model)
    with _without_head(model):
        engine, *_ = deepspeed.initialize(model=module, optimizer=optimizer, config=settings.config)
    return engine


def release(engine: Any) -> None:
    """Free the shards of an engine. DeepSpeed keeps its modules and weights, with all of it, until the program ends.

    Args:
        engine: Not to be used afterwards.
    """
    engine.destroy()
    optimizer, engine.optimizer = engine.optimizer, None
    for parameter in engine.module.parameters():
        vars(parameter).clear()
    vars(optimizer).clear()
    for name, _ in list(engine.module.named_parameters(recurse=False)):
        delattr(engine.module, name)
    del engine.module.model


@contextmanager
def _without_head(model: Any) -> Iterator[None]:
    """Inside, the output head is no part of the model, so that no hook is registered on it."""
    head = model.get_output_embeddings()
    places = [
        (owner, name)
        for owner in model.modules()
        for name, child in owner.named_children()
        if child is head and child is not model.get_input_embeddings()
    ]
    for owner, name in places:
        delattr(owner, name)
        object.__setattr__(owner, name, head)  # past torch's own, which would register it again
    try:
        yield
    finally:
        for owner, name in places:
            object.__delattr__(owner, name)
            setattr(owner, name, head)


def _import_deepspeed(device: torch.device) -> Any:
    os.environ.setdefault("DS_ACCELERATOR", device.type)
    import deepspeed

    warnings.filterwarnings("ignore", r".*torch\.distributed\..* is deprecated", FutureWarning)  # in each step
    if device.type == "cpu":
        # it would be compiled now, and a process that is killed meanwhile leaves a lock that the next one waits for
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend="nccl" if device.type == "cuda" else "gloo", verbose=False)
    return deepspeed


def padded(value: Tensor, parameter: Any) -> Tensor:
    """The elements of a process as DeepSpeed's functions take them: as many in each process.

    Args:
        value: The elements that it has of a parameter, flattened.
        parameter: The parameter.
    """
    shard: Tensor = parameter.ds_tensor
    full = torch.zeros(shard.numel(), dtype=torch.float32, device=value.device)
    full[: len(value)] = value
    return full
