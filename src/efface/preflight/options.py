"""The options for training a model: all weights or adapters, in full precision or quantized, and what each needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from efface.config.commands import RunConfig
from efface.models.lora import has_experts
from efface.models.memory_estimate import meta_model
from efface.objectives.terms import Objective
from efface.preflight.diagnosis import Forecast, Option
from efface.preflight.forecast import forecast
from efface.preflight.workload import Workload
from efface.train.config import LoRAConfig, TrainConfig
from efface.train.optimizer.optimizer import adamw8bit_unsupported_reason

_FORECAST_FIELDS = ("weights", "gradients", "optimizer", "activations", "tokens", "checkpointing", "training")
"""Fields that an `Option` takes from its forecast."""


@dataclass(frozen=True)
class CheckedRun:
    """A run that is examined before it starts."""

    config: RunConfig
    """Its settings, with a resolved `train.optimizer`."""
    objective: Objective
    model_config: Any
    """The model's config.json."""
    model_folder: Path | None
    """The model's folder; None where only the config.json is on this machine."""
    device: torch.device
    free: int
    """Free memory of the device, in bytes."""


def forecast_options(run: CheckedRun, workload: Workload) -> tuple[Forecast, list[Option]]:
    """What the run needs as configured, and what each option for training its model would need.

    Args:
        run: The run.
        workload: Its sequences.

    Returns:
        The forecast, and the options that can be used on this machine.

    Raises:
        EffaceError: Where the config.json is not that of a causal language model.
    """

    def forecast_with(train: TrainConfig) -> Forecast:
        config = run.config.model_copy(update={"train": train})
        return forecast(run.model_config, config, workload, run.objective, device=run.device, free=run.free)

    options = []
    for name, setting, train in _training_options(run):
        needed = forecast_with(train)
        option = Option(
            name=name,
            setting=setting,
            fits=needed.training <= min(run.free, train.memory_bytes or run.free),
            chosen=_choice(train) == _choice(run.config.train),
            **{field: getattr(needed, field) for field in _FORECAST_FIELDS},
        )
        options.append(option)
    return forecast_with(run.config.train), options


def _training_options(run: CheckedRun) -> Iterator[tuple[str, str, TrainConfig]]:
    """Name, settings and config of each option that can be used on this machine."""
    train = run.config.train
    all_weights = train.model_copy(update={"lora": None, "optimizer": "adamw"})
    yield "all weights", "train.lora=false train.optimizer=adamw", all_weights
    if train.precision != "float32" and train.sharding == "none" and adamw8bit_unsupported_reason(run.device) is None:
        in_bf16 = all_weights.model_copy(update={"optimizer": "adamw8bit"})
        yield "all weights in bf16, 8-bit AdamW", "train.lora=false train.optimizer=adamw8bit", in_bf16
    if find_spec("peft") is None:
        return
    lora = (train.lora or LoRAConfig()).model_copy(update={"bits": None})
    yield "adapters", "train.lora=true", all_weights.model_copy(update={"lora": lora})
    if not has_experts(meta_model(run.model_config, None)):  # bitsandbytes does not quantize experts
        quantized = lora.model_copy(update={"bits": 4})
        yield "adapters, 4-bit base", "train.lora.bits=4", all_weights.model_copy(update={"lora": quantized})


def _choice(train: TrainConfig) -> tuple[object, ...]:
    """The settings in which the options differ."""
    return train.optimizer, train.lora is None, train.lora and train.lora.bits
