"""Seconds, memory, forwards and tokens of one step of training: the packed contender of `measure`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

import measure as measuring
from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import objective
from efface.objectives.terms import Reference
from efface.packing.support import packing_unsupported_reason
from efface.train.batches.micro_batches import TrainingExample
from efface.train.batches.schedule import Schedule
from efface.train.config import TrainConfig
from efface.train.loop import Trainer
from efface.train.step_log import StepLog
from measure import Measured, Setting


def measure_training(setting: Setting, examples: Sequence[TrainingExample]) -> Measured:
    """Measure steps of `efface.train.loop.Trainer`: what a run does, with its precision, optimizer and checks.

    In bf16 these are float32 weights under autocast, while the padded baseline has bf16 weights, as published code has.
    """
    before, bound = measuring.peak_resident(), objective(setting.method, ObjectiveConfig())
    float32 = replace(setting, dtype="float32" if setting.dtype == "bfloat16" else setting.dtype)
    compares = bound.sequence_reference_views or bound.needs_distribution
    steps, logs = measuring.WARM_UP + setting.repeats, list[StepLog]()
    cached = None
    if compares:
        unchanged = measuring.make_model(float32, measuring.REFERENCE_SEED)
        with _autocast(setting):
            cached = measuring.cache_reference(unchanged, bound, examples, setting)
        del unchanged
    with TemporaryDirectory(prefix="efface-") as folder:
        model = measuring.make_model(float32, measuring.MODEL_SEED).train()
        trainer = Trainer(model, bound, _train_config(setting), Schedule(steps, 0, steps), seed=0, folder=Path(folder))
        with trainer.computing():  # checked by forward passes that are not part of a step
            packing_unsupported_reason(model)
        measuring.reset_peak(setting)
        traffic = measuring.Traffic(model)

        def on_step(log: StepLog) -> None:
            logs.append(log)
            traffic.stop()

        trainer.run([examples] * steps, cached.reference if cached else Reference(), on_step=on_step)
    first = logs[0]
    return Measured(
        seconds=median(log.seconds for log in logs[measuring.WARM_UP :]),
        peak_bytes=measuring.peak(setting, before),
        tokens=traffic.tokens,
        forwards=traffic.forwards,
        loss=first.forget + first.retain,
        forget_loss=first.forget,
        retain_loss=first.retain,
        reference_seconds=cached.seconds if cached else None,
        first_seconds=first.seconds,
    )


def _train_config(setting: Setting) -> TrainConfig:
    return TrainConfig(
        lr=1e-5,
        optimizer="adamw",
        precision="bf16" if setting.dtype == "bfloat16" else "float32",
        gradient_checkpointing=setting.checkpointing,
        max_tokens_per_forward=setting.max_tokens_per_forward or 10**9,
        save_steps=10**9,
        kernels=setting.kernels,
    )


def _autocast(setting: Setting) -> AbstractContextManager[Any]:
    """The context in which training computes."""
    return torch.autocast(setting.device, torch.bfloat16) if setting.dtype == "bfloat16" else nullcontext()
