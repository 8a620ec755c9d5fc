"""How a model would be trained, and how many bytes its checkpoints and models take on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from efface.config.commands import FinetuneConfig, RunConfig
from efface.models.dtypes import stored_dtype
from efface.models.lora import add_adapters
from efface.packing.padded_rows import input_length
from efface.run.metadata.manifest import training_precision
from efface.train.batches.micro_batches import TrainingExample
from efface.train.batches.schedule import Schedule, count_earlier_epochs, make_schedule
from efface.train.config import TrainConfig
from efface.train.optimizer.trained_weights import choose_trained

_CHECKPOINT_BYTES = 12
"""Bytes of each trained parameter in a checkpoint: the parameter and AdamW's two moments, in float32."""


@dataclass(frozen=True)
class TrainingPlan:
    """How a model would be trained."""

    method: str
    """The unlearning method, or `fine-tuning`."""
    schedule: Schedule
    config: TrainConfig
    trained: int
    """Number of parameters that are trained; with adapters, theirs."""
    tokens: int
    """Number of tokens in the forward passes of all steps, without those of the reference."""
    longest: int
    """Length of the longest sequence, in tokens."""
    precision: str
    """Precision of the trained weights and of training, in words."""


def plan_training(
    method: str,
    model: Any,
    steps: Sequence[Sequence[TrainingExample]],
    items: int,
    *,
    config: RunConfig | FinetuneConfig,
    device: torch.device,
) -> TrainingPlan:
    """Count steps, trained parameters and tokens.

    Args:
        method: The unlearning method, or `fine-tuning`.
        model: The model; adapters are added to it, to count them.
        steps: The examples of each optimizer step.
        items: Number of items in an epoch.
        config: The run's settings.
        device: Where the model would be trained.

    Returns:
        The plan.
    """
    choose_trained(model, config.train.parameters)
    adapted = model if config.train.lora is None else add_adapters(model, config.train.lora, seed=config.seed)
    lengths = [input_length(sequence) for step in steps for example in step for sequence in example.values()]
    return TrainingPlan(
        method=method,
        schedule=make_schedule(items, config.train),
        config=config.train,
        trained=sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad),
        tokens=sum(lengths),
        longest=max(lengths),
        precision=training_precision(config.train, device),
    )


def parameter_count(model: Any) -> int:
    """Number of a model's parameters; quantized weights, which are packed, count with their true number."""
    count: int = model.num_parameters()
    return count


def checkpoints_at_once(plan: Schedule, config: TrainConfig) -> int:
    """The largest number of checkpoints that are on disk at the same time.

    The last one stays until the next one is complete, so that there are up to two; there is none after the last step.
    With `save_minutes` there are fewer where training is short, which is not known here.

    Args:
        plan: The optimizer steps.
        config: Training settings; `save_steps` decides, if it is set.

    Returns:
        0, 1 or 2.
    """
    return min((plan.steps - 1) // (config.save_steps or 1), 2)


def bytes_on_disk(
    parameters: int, source: Path, training: TrainingPlan, *, models: int = 1, epochs: bool = False
) -> int:
    """Estimate the space that models and checkpoints take.

    Args:
        parameters: Number of the model's parameters.
        source: The model's folder; its dtype is that of the saved models.
        training: How the model is trained.
        models: Number of models that are kept at the same time.
        epochs: Whether each epoch is scored: its trained weights are kept until then, and one epoch's model meanwhile.

    Returns:
        Bytes.
    """
    checkpoints = checkpoints_at_once(training.schedule, training.config)
    itemsize = stored_dtype(source).itemsize
    snapshots = count_earlier_epochs(training.schedule, training.config) if epochs else 0
    kept = snapshots * training.trained * (itemsize if training.config.lora is None else torch.float32.itemsize)
    at_once = models + min(snapshots, 1)
    return at_once * parameters * itemsize + checkpoints * training.trained * _CHECKPOINT_BYTES + kept
