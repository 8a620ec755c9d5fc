"""Training inside a run's folder: metrics.jsonl, and going on after a kill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch

from efface import distributed
from efface.errors import EffaceError
from efface.models.lora import add_adapters
from efface.models.quantization import check_quantization
from efface.objectives.terms import Objective, Reference
from efface.progress.reporter import Reporter
from efface.run.epoch_snapshots import EpochSnapshots
from efface.run.folder import RunFolder
from efface.schema import Task
from efface.text.formatter import PromptFormatter
from efface.train import checkpoint
from efface.train.config import TrainConfig
from efface.train.loop import StepLog, Trainer
from efface.train.micro_batches import TrainingExample
from efface.train.sampler import Schedule, make_schedule
from efface.train.tracker import check_tracker


def check_can_train(config: TrainConfig, device: torch.device) -> None:
    """Refuse early what would fail only once training starts.

    Raises `EffaceError` for settings that exclude each other, and for packages that the settings ask for and that
    are missing or do not work on `device`.
    """
    if config.sharding != "none" and config.lora is not None and config.lora.bits is not None:
        raise EffaceError(
            f"train.sharding={config.sharding} cannot lay rounded weights (train.lora.bits) over processes; leave one "
            "of the two out"
        )
    if config.lora is not None and find_spec("peft") is None:
        raise EffaceError("train.lora needs PEFT; install it with: pip install 'efface[lora]'")
    if config.lora is not None:
        check_quantization(config.lora, device)
    check_tracker(config.tracker)


def warn_before_training(
    task: Task, formatter: PromptFormatter, config: TrainConfig, *, items: int, reporter: Reporter
) -> None:
    """Tell what the user should know before training: of the data, of its tokens, of too few steps."""
    for text in task.warnings:
        reporter.on_warning(text)
    if apart := set(formatter.tokenized_separately):
        reporter.on_warning(
            f"{len(apart)} items were tokenized apart: a token crosses the border between their prompt and answer, or "
            "their text spells a special token; another text.format may avoid the first"
        )
    if items < config.batch_size:
        steps = make_schedule(items, config).steps
        reporter.on_warning(
            f"{items} items in batches of {config.batch_size} make {steps} steps in all, which may change little; "
            "lower train.batch_size or raise train.epochs"
        )


def loading_device(config: TrainConfig, device: torch.device) -> torch.device:
    """Where a model is loaded that is to be trained on `device`: one for shards may be larger than that."""
    return torch.device("cpu") if config.sharding != "none" and distributed.world_size() > 1 else device


def train(
    model: Any,
    objective: Objective,
    steps: Sequence[Sequence[TrainingExample]],
    config: TrainConfig,
    plan: Schedule,
    *,
    seed: int,
    folder: RunFolder,
    device: torch.device,
    reference: Callable[[Trainer], Reference],
    resume: bool,
    reporter: Reporter,
    snapshots: EpochSnapshots | None = None,
) -> Any:
    """Train `model` in place and return it, inside PEFT where adapters are trained.

    `reference` is asked for before the first step, and before a checkpoint is loaded: the trainer's model is then
    still the one before training. Each step leaves one line in metrics.jsonl; on `resume` the lines of steps
    that are trained again are dropped first. `snapshots` keeps the weights at the end of each epoch.
    """
    if config.lora is not None:
        model = add_adapters(model, config.lora, seed=seed)
    trainer = Trainer(model, objective, config, plan, seed=seed, folder=folder.root, device=device)
    found = checkpoint.latest(trainer.checkpoints) if resume else None
    folder.forget_steps_after(found[0] if found else 0)

    def on_step(log: StepLog) -> None:
        if (
            snapshots is not None
        ):  # before the next step may write a checkpoint, from which this one would not come again
            snapshots.take(trainer.parallel_model, log.step)
        folder.append_step(log)
        reporter.on_step(log)

    trainer.run(steps, reference(trainer), resume=resume, on_step=on_step)
    return trainer.parallel_model.full_model()
