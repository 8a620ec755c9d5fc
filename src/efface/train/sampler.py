"""Which items meet in which step: decided by the seed alone, before training. No torch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from efface.errors import EffaceError
from efface.schema import Item, Task
from efface.train.config import Pairing, TrainConfig


@dataclass(frozen=True)
class SampledPair:
    """One forget item of one epoch and its partners."""

    forget: Item
    retain: Item | None
    """None where the task keeps nothing."""
    forget_refusal: str
    retain_refusal: str


@dataclass(frozen=True)
class Schedule:
    """Lengths of a run, in optimizer steps."""

    steps: int
    warmup: int
    per_epoch: int


def schedule(items: int, config: TrainConfig) -> Schedule:
    """The published schedule: floor(epochs x n / batch) steps, warm-up over floor(n / batch) if more than one.

    A run that would warm up to its end, as one of a single epoch, has no warm-up. Raises `EffaceError` for
    `warmup_steps` that leave no step at the full rate.
    """
    per_epoch = items // config.batch_size
    steps = max(1, config.epochs * items // config.batch_size)
    default = per_epoch if 1 < per_epoch < steps else 0
    warmup = default if config.warmup_steps is None else config.warmup_steps
    if warmup >= steps:
        raise EffaceError(
            f"train.warmup_steps={warmup} of {steps} steps leaves none at the full rate; lower it or raise train.epochs"
        )
    return Schedule(steps=steps, warmup=warmup, per_epoch=max(1, per_epoch))


def epoch_ends(items: int, config: TrainConfig) -> dict[int, int]:
    """Step -> the epoch that ends with it, or in the middle of the next one; the last step ends the last epoch."""
    ends = {epoch * items // config.batch_size: epoch for epoch in range(1, config.epochs + 1)}
    ends.pop(0, None)
    return {**ends, schedule(items, config).steps: config.epochs}


def earlier_epochs(plan: Schedule, config: TrainConfig) -> int:
    """How many of `epoch_ends` come before the last step."""
    return min(config.epochs, plan.steps) - 1


def epoch_batches(ids: Sequence[str], config: TrainConfig, seed: int) -> list[list[tuple[int, int]]]:
    """(epoch, index) of each item of each step: every epoch in its own order, batches run on over its end."""
    stream: list[tuple[int, int]] = []
    for epoch in range(config.epochs):
        order = list(range(len(ids)))
        random.Random(f"{seed}/{epoch}/order").shuffle(order)
        stream += [(epoch, index) for index in order]
    size = config.batch_size
    steps = schedule(len(ids), config).steps
    return [stream[step * size : (step + 1) * size] for step in range(steps)]


def sample_batches(task: Task, config: TrainConfig, seed: int) -> list[list[SampledPair]]:
    """The draws of each step. An item's partners depend on the seed, the epoch and its id only."""
    steps = epoch_batches([item.id for item in task.forget], config, seed)
    return [
        [_sample_pair(task, task.forget[index], epoch, config.pairing, seed) for epoch, index in step] for step in steps
    ]


def _sample_pair(task: Task, item: Item, epoch: int, pairing: Pairing, seed: int) -> SampledPair:
    chance = random.Random(f"{seed}/{epoch if pairing == 'resampled' else 0}/{item.id}")
    return SampledPair(
        forget=item,
        retain=chance.choice(task.retain) if task.retain else None,
        forget_refusal=chance.choice(task.refusals),
        retain_refusal=chance.choice(task.refusals),
    )
