"""How many optimizer steps a training has, where its epochs end, and the learning rate of each step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from efface.errors import EffaceError
from efface.train.config import TrainConfig

_MOST_EPOCHS = 1_000_000
"""That `max_steps` may need; training keeps a list of the steps that end them."""


@dataclass(frozen=True)
class Schedule:
    """Length of a training, in optimizer steps."""

    steps: int
    warmup_steps: int
    steps_per_epoch: int
    """Rounded down, but at least 1."""
    decay: Literal["linear", "cosine", "constant"] = "linear"

    def lr_factor(self, steps_done: int) -> float:
        """The learning rate of the next step over its maximum: linear warm-up from 0, then as `decay` says.

        Args:
            steps_done: Number of optimizer steps so far.

        Returns:
            A number in [0, 1], that of transformers' `get_linear_schedule_with_warmup`, whose import takes a second, or
            of its like for the other two.
        """
        if steps_done < self.warmup_steps:
            return steps_done / self.warmup_steps
        if self.decay == "constant":
            return 1.0
        left = max(0.0, (self.steps - steps_done) / max(1, self.steps - self.warmup_steps))
        return left if self.decay == "linear" else (1 - math.cos(math.pi * left)) / 2


def make_schedule(items: int, config: TrainConfig) -> Schedule:
    """The published schedule: floor(epochs * items / batch size) steps, warm-up over floor(items / batch size).

    With `round_steps: epoch`, epochs * floor(items / batch size) steps where an epoch has one: what open-unlearning
    (src/trainer/__init__.py) and the trainer of transformers 4.45 make of full micro-batches. `max_steps` replaces the
    number of steps. By default there is no warm-up where an epoch has at most one step (with `round_steps: epoch`:
    none), or where it would last until the end, as in a training of one epoch.

    Args:
        items: Number of forget items, or of items to fine-tune on.
        config: Settings of training.

    Returns:
        At least one step.

    Raises:
        EffaceError: `warmup_steps` leaves no step at the full learning rate, or `max_steps` takes too many epochs.
    """
    if count_epochs(items, config) > _MOST_EPOCHS:
        raise EffaceError(
            f"train.max_steps={config.max_steps} of train.batch_size={config.batch_size} go through {items} items "
            f"{count_epochs(items, config):,} times, and at most {_MOST_EPOCHS:,} are possible; lower one of the two"
        )
    steps_per_epoch = items // config.batch_size
    by_epoch = config.round_steps == "epoch"
    total = config.epochs * steps_per_epoch if by_epoch else 0
    steps = config.max_steps or total or max(1, config.epochs * items // config.batch_size)
    default = steps_per_epoch if (0 if by_epoch else 1) < steps_per_epoch < steps else 0
    warmup_steps = default if config.warmup_steps is None else config.warmup_steps
    if warmup_steps >= steps:
        raise EffaceError(
            f"train.warmup_steps={warmup_steps} of {steps} steps leaves none at the full learning rate; lower it or "
            "raise train.epochs"
        )
    return Schedule(
        steps=steps, warmup_steps=warmup_steps, steps_per_epoch=max(1, steps_per_epoch), decay=config.schedule
    )


def count_epochs(items: int, config: TrainConfig) -> int:
    """How many epochs a training goes through: `epochs`, or as many as `max_steps` needs.

    Args:
        items: Number of items in an epoch.
        config: Settings of training.
    """
    return config.epochs if config.max_steps is None else -(-config.max_steps * config.batch_size // items)


def epoch_ends(items: int, config: TrainConfig) -> dict[int, int]:
    """The steps after which epochs end.

    Args:
        items: Number of forget items.
        config: Settings of training.

    Returns:
        Step -> the epoch that ends with it, or within the next step; both counted from 1. The last step ends the last
        epoch; of several epochs that end with a step, the last one counts. With `epoch_ends: published`, an epoch has
        the same number of steps each time, rounded down, and ends a little too early; with `round_steps: epoch`, it
        has no other steps. With `stop_after`, the epochs until then, of which the last one is `stop_after`.
    """
    ends = _all_epoch_ends(items, config)
    if config.stop_after is None:
        return ends
    last = next((step for step, epoch in ends.items() if epoch >= config.stop_after), max(ends))
    return {**{step: epoch for step, epoch in ends.items() if step < last}, last: min(config.stop_after, ends[last])}


def last_step(items: int, config: TrainConfig) -> int:
    """The step after which training ends: that of the schedule, or of the epoch `stop_after`.

    Args:
        items: Number of anchor items, or of items to fine-tune on.
        config: Settings of training.
    """
    return max(epoch_ends(items, config))


def _all_epoch_ends(items: int, config: TrainConfig) -> dict[int, int]:
    """As `epoch_ends`, of the whole schedule."""
    schedule, epochs = make_schedule(items, config), count_epochs(items, config)
    if config.epoch_ends == "published" or config.round_steps == "epoch":
        ends = {epoch * schedule.steps_per_epoch: epoch for epoch in range(1, epochs)}
        ends = {step: epoch for step, epoch in ends.items() if step < schedule.steps}
    else:
        ends = {epoch * items // config.batch_size: epoch for epoch in range(1, epochs)}
        ends.pop(0, None)
    return {**ends, schedule.steps: epochs}


def count_earlier_epochs(schedule: Schedule, config: TrainConfig) -> int:
    """How many of `epoch_ends` are before the last step.

    Args:
        schedule: From `make_schedule`.
        config: Settings of training.
    """
    epochs = config.epochs if config.max_steps is None else -(-schedule.steps // schedule.steps_per_epoch)
    return min(config.stop_after or epochs, epochs, schedule.steps) - 1
