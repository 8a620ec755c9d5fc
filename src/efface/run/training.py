"""Training in a run's folder: checks, metrics.jsonl, and resuming after a kill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import torch

from efface.errors import EffaceError, install_hint
from efface.main_process import from_main_process
from efface.models.load_parallel import LoadedModel
from efface.models.lora import add_adapters, load_adapter
from efface.models.quantization import check_quantization
from efface.objectives.terms import Objective, Reference
from efface.progress.reporter import Reporter
from efface.run.folder import RunFolder
from efface.run.selection.epoch_snapshots import EpochSnapshots
from efface.schema import Task
from efface.text.boundary import describe_merged
from efface.text.config import Boundary
from efface.train.batches.lazy_steps import known_steps
from efface.train.batches.micro_batches import TrainingExample
from efface.train.batches.schedule import Schedule, make_schedule
from efface.train.checkpoints import checkpoint
from efface.train.config import TrainConfig
from efface.train.distribution.parallel import ParallelModel
from efface.train.distribution.zero_engine import check_zero
from efface.train.kernels import check_kernels
from efface.train.loop import Trainer
from efface.train.optimizer.trained_weights import choose_trained
from efface.train.step_log import StepLog
from efface.train.tracker import check_tracker
from efface.train.watch import Watch, measure


class Monitor(Protocol):
    """Looks at a model while it is trained, and may end the training."""

    def start(self, model: ParallelModel) -> None:
        """Before the first step; not again when training is resumed.

        Args:
            model: As it is before training.
        """
        ...

    def after_step(self, model: ParallelModel, step: int) -> bool:
        """After each step.

        Args:
            model: The model in training, which must be left as it was.
            step: Optimizer steps so far.

        Returns:
            Whether training should end now.
        """
        ...


def check_can_train(config: TrainConfig, device: torch.device) -> None:
    """Refuse early what would otherwise fail only once training starts.

    Args:
        config: How to train.
        device: Where to train.

    Raises:
        EffaceError: Settings exclude each other, or a package that they need is missing or does not work on `device`.
    """
    if config.sharding != "none" and config.lora is not None and config.lora.bits is not None:
        raise EffaceError(
            f"train.sharding={config.sharding} cannot shard quantized weights (train.lora.bits); leave one of the two "
            "out"
        )
    check_zero(config)
    if config.lora is not None and find_spec("peft") is None:
        raise EffaceError(f"train.lora needs PEFT; {install_hint('lora')}")
    if config.lora is not None:
        check_quantization(config.lora, device)
    check_kernels(config, device)
    check_tracker(config.tracker)


def warn_before_training(
    task: Task,
    steps: Sequence[Sequence[TrainingExample]],
    config: TrainConfig,
    *,
    items: int,
    boundary: Boundary,
    reporter: Reporter,
) -> None:
    """Warn about the data, about tokens across the border of prompt and answer, and about few optimizer steps.

    Args:
        task: The data, with the warnings of its readers.
        steps: What each optimizer step trains on.
        config: How to train.
        items: How many items an epoch has.
        boundary: The setting `text.boundary`.
        reporter: Gets the warnings.
    """
    for text in task.warnings:
        reporter.on_warning(text)
    sequences = [sequence for step in known_steps(steps) for example in step for sequence in example.values()]
    if merged := describe_merged(sequences, boundary, purpose="training"):
        reporter.on_warning(merged)
    if items < config.batch_size:
        count = make_schedule(items, config).steps
        reporter.on_warning(
            f"{items} items in batches of {config.batch_size} make few optimizer steps ({count} in all), "
            "which may change little; lower train.batch_size or raise train.epochs"
        )


def train(
    loaded: LoadedModel,
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
    adapter: Path | None = None,
    watch: Watch | None = None,
    monitor: Monitor | None = None,
    last_step: int | None = None,
) -> ParallelModel:
    """Train a model in place. Each step adds one line to metrics.jsonl, each epoch that is watched another one.

    Args:
        loaded: The model to train; adapters are added here.
        objective: The loss.
        steps: What each optimizer step trains on.
        config: How to train, with the optimizer resolved.
        plan: The learning rate's schedule.
        seed: Of dropout and of the adapters' initial weights.
        folder: Gets checkpoints and metrics.jsonl.
        device: Where to train.
        reference: Called once before the first step and before a checkpoint is loaded: the trainer's model is then
            still the one before training.
        resume: Continue from the last checkpoint, if there is one; the lines of steps that are trained again are
            removed first.
        reporter: Gets every step.
        snapshots: Stores the weights at the end of each epoch.
        adapter: Folder of the adapter to go on training; None for a new one.
        watch: What to measure before training and at the end of each epoch.
        monitor: Looks at the model after each step.
        last_step: After which training ends; None for all steps.

    Returns:
        The trained model, distributed, and inside PEFT where adapters are trained.

    Raises:
        EffaceError: Training diverges, does not fit into memory, or a file cannot be written.
    """
    model = loaded.model
    if config.lora is not None:
        model = add_adapters(model, config.lora, seed=seed)
        if adapter is not None:
            load_adapter(model, adapter)
    choose_trained(model, config.parameters)
    read = loaded.skeleton.read if loaded.skeleton else None
    trainer = Trainer(model, objective, config, plan, seed=seed, folder=folder.root, device=device, read=read)
    found = from_main_process(lambda: checkpoint.latest(trainer.checkpoints)) if resume else None
    folder.drop_steps_after(found[0] if found else -1)
    if found is None:
        _watch(trainer, watch, folder, step=0)
        if monitor is not None:
            monitor.start(trainer.parallel_model)

    def on_step(log: StepLog) -> bool:
        if snapshots is not None:  # before a checkpoint of this step can be written: a resumed run would skip it
            snapshots.take(trainer.parallel_model, log.step)
        folder.append_step(log)
        _watch(trainer, watch, folder, step=log.step)  # before a checkpoint of this step, too
        reporter.on_step(log)
        return monitor is not None and monitor.after_step(trainer.parallel_model, log.step)

    trainer.run(steps, reference(trainer), resume=resume, on_step=on_step, last_step=last_step)
    trained = trainer.parallel_model
    trained.drop_optimizer()  # the model is saved next
    return trained


def _watch(trainer: Trainer, watch: Watch | None, folder: RunFolder, *, step: int) -> None:
    """Add a line on what is watched to metrics.jsonl, if an epoch ends with this step."""
    if watch is None or step not in watch.epoch_ends:
        return
    tokens = trainer.budget.tokens
    folder.append_step(
        trainer.parallel_model.forward_in_step(
            lambda model: measure(model, watch, step=step, max_tokens_per_forward=tokens)
        )
    )
