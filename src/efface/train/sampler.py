"""Which items are in which step: a function of the seed alone, computed before training. No torch."""

from __future__ import annotations

import random
from dataclasses import dataclass

from efface.errors import EffaceError
from efface.schema import Item, Task
from efface.train.config import Pairing, TrainConfig


@dataclass(frozen=True)
class SampledPair:
    """A forget item in one epoch, with the retain item and the refusals drawn for it."""

    forget: Item
    retain: Item | None
    """None where the task has no retain set."""
    forget_refusal: str
    retain_refusal: str


@dataclass(frozen=True)
class Schedule:
    """Length of a training, in optimizer steps."""

    steps: int
    warmup_steps: int
    steps_per_epoch: int
    """Rounded down, but at least 1."""


def make_schedule(items: int, config: TrainConfig) -> Schedule:
    """The published schedule: floor(epochs * items / batch size) steps, warm-up over floor(items / batch size).

    By default there is no warm-up where an epoch has at most one step, or where it would last until the end, as in a
    training of one epoch.

    Args:
        items: Number of forget items, or of items to fine-tune on.
        config: Settings of training.

    Returns:
        At least one step.

    Raises:
        EffaceError: `warmup_steps` leaves no step at the full learning rate.
    """
    steps_per_epoch = items // config.batch_size
    steps = max(1, config.epochs * items // config.batch_size)
    default = steps_per_epoch if 1 < steps_per_epoch < steps else 0
    warmup_steps = default if config.warmup_steps is None else config.warmup_steps
    if warmup_steps >= steps:
        raise EffaceError(
            f"train.warmup_steps={warmup_steps} of {steps} steps leaves none at the full learning rate; lower it or "
            "raise train.epochs"
        )
    return Schedule(steps=steps, warmup_steps=warmup_steps, steps_per_epoch=max(1, steps_per_epoch))


def epoch_ends(items: int, config: TrainConfig) -> dict[int, int]:
    """The steps after which epochs end.

    Args:
        items: Number of forget items.
        config: Settings of training.

    Returns:
        Step -> the epoch that ends with it, or within the next step; both counted from 1. The last step ends the last
        epoch; of several epochs that end with a step, the last one counts.
    """
    ends = {epoch * items // config.batch_size: epoch for epoch in range(1, config.epochs + 1)}
    ends.pop(0, None)
    return {**ends, make_schedule(items, config).steps: config.epochs}


def count_earlier_epochs(schedule: Schedule, config: TrainConfig) -> int:
    """How many of `epoch_ends` are before the last step."""
    return min(config.epochs, schedule.steps) - 1


def epoch_batches(items: int, config: TrainConfig, seed: int) -> list[list[tuple[int, int]]]:
    """Divide shuffled epochs into batches, which may span the end of an epoch.

    Args:
        items: Number of forget items, or of items to fine-tune on.
        config: Settings of training.
        seed: Decides the order of each epoch.

    Returns:
        For each step, (epoch from 0, index of the item) for each item of its batch.
    """
    stream: list[tuple[int, int]] = []
    for epoch in range(config.epochs):
        order = list(range(items))
        random.Random(f"{seed}/{epoch}/order").shuffle(order)
        stream += [(epoch, index) for index in order]
    size = config.batch_size
    steps = make_schedule(items, config).steps
    return [stream[step * size : (step + 1) * size] for step in range(steps)]


def sample_batches(task: Task, config: TrainConfig, seed: int) -> list[list[SampledPair]]:
    """Draw the pairs of each step. The partners of an item depend on the seed, the epoch and its id only.

    Args:
        task: Forget set, retain set and refusals.
        config: Settings of training.
        seed: Of all draws.

    Returns:
        For each step, the pairs of its batch.
    """
    steps = epoch_batches(len(task.forget), config, seed)
    return [
        [_sample_pair(task, task.forget[index], epoch, config.pairing, seed) for epoch, index in step] for step in steps
    ]


def _sample_pair(task: Task, item: Item, epoch: int, pairing: Pairing, seed: int) -> SampledPair:
    rng = random.Random(f"{seed}/{epoch if pairing == 'resampled' else 0}/{item.id}")
    return SampledPair(
        forget=item,
        retain=rng.choice(task.retain) if task.retain else None,
        forget_refusal=rng.choice(task.refusals),
        retain_refusal=rng.choice(task.refusals),
    )
