"""A short run on a forget set of a given size: sampling, tokenization, all steps."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

import measure as measuring
from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import objective
from efface.objectives.terms import Reference
from efface.train.batches.examples import unlearning_examples
from efface.train.batches.micro_batches import TrainingExample
from efface.train.batches.sampler import sample_batches
from efface.train.batches.schedule import make_schedule
from efface.train.config import TrainConfig
from efface.train.loop import Trainer
from efface.train.optimizer.optimizer import weights_dtype
from efface.train.step_log import StepLog
from measure import Setting
from shapes import build_model
from workload import formatter_for, load_text

_EPOCHS = 2


@dataclass(frozen=True)
class MeasuredRun:
    """Time of each part of a run."""

    epochs: int
    steps: int
    plan_seconds: float
    """Sampling: which items meet in which step."""
    tokenize_seconds: float
    epoch_seconds: float
    """The steps of one epoch: losses, backward, optimizer, log. The first step is excluded as warm-up."""
    tokens: int
    """Tokens of all steps."""
    peak_bytes: int


def measure_run(setting: Setting, items: int, batch_size: int) -> MeasuredRun:
    """Measure a run without a reference model, from random weights. Call it in a new process.

    Checkpoints are not written, since that would measure the disk.

    Args:
        setting: Its optimizer `none` means bf16 weights with 8-bit moments, which use the least memory.
        items: Size of the forget set.
        batch_size: Forget items per step.
    """
    task, source = load_text(items)
    formatter = formatter_for(task, source)
    bound = objective(setting.method, ObjectiveConfig())
    config = TrainConfig(
        epochs=_EPOCHS,
        batch_size=batch_size,
        save_steps=10**9,
        precision="bf16" if setting.dtype == "bfloat16" else "float32",
        optimizer="adamw" if setting.optimizer == "adamw" else "adamw8bit",
    )
    before = measuring.peak_resident()
    start = time.perf_counter()
    planned = sample_batches(task, config, 0)
    drawn = time.perf_counter()
    steps = unlearning_examples(planned, bound.views, formatter, fixed_answers=bound.fixed_answers)
    tokenized = time.perf_counter()
    logs = _train(setting, config, steps, items=len(task.forget))
    timed = logs[1:]
    return MeasuredRun(
        epochs=_EPOCHS,
        steps=len(logs),
        plan_seconds=drawn - start,
        tokenize_seconds=tokenized - drawn,
        epoch_seconds=sum(log.seconds for log in timed) / len(timed) * len(logs) / _EPOCHS,
        tokens=sum(log.tokens for log in logs),
        peak_bytes=measuring.peak(setting, before),
    )


def _train(setting: Setting, config: TrainConfig, steps: list[list[TrainingExample]], *, items: int) -> list[StepLog]:
    logs: list[StepLog] = []
    dtype = weights_dtype(config, setting.device)
    model = build_model(setting.shape, seed=0, dtype=dtype, device=torch.device(setting.device))
    with tempfile.TemporaryDirectory(prefix="efface-") as folder:
        trainer = Trainer(
            model,
            objective(setting.method, ObjectiveConfig()),
            config,
            make_schedule(items, config),
            seed=0,
            folder=Path(folder),
        )
        trainer.run(steps, Reference(), on_step=logs.append)
    return logs
