"""Which items are in which step: a function of the seed alone, computed before training. Torch for published draws."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeVar, overload

from efface.errors import EffaceError
from efface.schema import Item, Task
from efface.train.config import TrainConfig

_T = TypeVar("_T")
_MOST_EPOCHS = 1_000_000
"""That `max_steps` may need; training keeps a list of the steps that end them."""
_PUBLISHED_SEED = 42
"""The default seed of transformers' trainer, which the published code leaves as it is: whatever the run's seed is, each
epoch is shuffled with 42 plus its number, counted from 0."""


@dataclass(frozen=True)
class SampledPair:
    """A forget item in one epoch, with the retain item and the refusals drawn for it."""

    forget: Item
    retain: Item | None
    """None where the task has no retain set."""
    forget_refusal: str
    retain_refusal: str
    forget_alternate: str | None = None
    """One of the forget item's alternate answers; None where it has none."""


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


def epoch_batches(items: int, config: TrainConfig, seed: int) -> Sequence[list[tuple[int, int]]]:
    """Divide shuffled epochs into batches, which may span the end of an epoch.

    So do those of the published code: the trainer of transformers 4.43 accumulates across it. (Later versions make a
    step with what is left at the end of an epoch.)

    Args:
        items: Number of forget items, or of items to fine-tune on.
        config: Settings of training.
        seed: Decides the order of each epoch.

    Returns:
        For each step, (epoch from 0, index of the item) for each item of its batch; computed when they are read, so
        that a long training takes no more memory than a short one.
    """
    order = lru_cache(maxsize=2)(lambda epoch: _order(items, config, seed, epoch))
    size, last = config.batch_size, count_epochs(items, config) * items

    def batch(step: int) -> list[tuple[int, int]]:
        places = range(step * size, min((step + 1) * size, last))
        return [(place // items, order(place // items)[place % items]) for place in places]

    return _Computed(batch, make_schedule(items, config).steps)


def anchor_items(task: Task, config: TrainConfig) -> tuple[Item, ...]:
    """The items that an epoch goes through: the forget set, or the retain set with `anchor: retain`.

    Args:
        task: Forget set and retain set.
        config: Settings of training.
    """
    return task.retain if config.anchor == "retain" else task.forget


def sample_batches(task: Task, config: TrainConfig, seed: int) -> Sequence[list[SampledPair]]:
    """Draw the pairs of each step. The partners of an item depend on the seed, the epoch and its id only.

    An epoch goes through the forget set, or through the retain set with `anchor: retain`.

    Args:
        task: Forget set, retain set and refusals.
        config: Settings of training.
        seed: Of all draws.

    Returns:
        For each step, the pairs of its batch; drawn when they are read.

    Raises:
        EffaceError: There is no retain set to go through.
    """
    anchors = anchor_items(task, config)
    if not anchors:
        raise EffaceError(
            f"train.anchor=retain goes through the retain set, and {task.name} has none; give data.retain=FILE, or "
            "leave anchor out"
        )
    steps = epoch_batches(len(anchors), config, seed)

    def draw(step: int) -> list[SampledPair]:
        return [_sample_pair(task, index, epoch, config, seed) for epoch, index in steps[step]]

    return _Computed(draw, len(steps))


class _Computed(Sequence[_T]):
    """Computes each element when it is read."""

    def __init__(self, compute: Callable[[int], _T], count: int) -> None:
        self._compute, self._count = compute, count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> _T: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[_T]: ...

    def __getitem__(self, index: Any) -> Any:
        numbers = range(self._count)[index]
        return [self._compute(number) for number in numbers] if isinstance(index, slice) else self._compute(numbers)


def _order(items: int, config: TrainConfig, seed: int, epoch: int) -> list[int]:
    """The order of the items in an epoch, counted from 0."""
    if config.pairing == "published":
        import torch

        draws = torch.Generator().manual_seed(_PUBLISHED_SEED + epoch)
        published: list[int] = torch.randperm(items, generator=draws).tolist()
        return published
    order = list(range(items))
    random.Random(f"{seed}/{epoch}/order").shuffle(order)
    return order


def _published_pair(task: Task, index: int) -> SampledPair:
    """The partners that the published code draws for the forget item of this index, from 0.

    `TextForgetDatasetQA.__getitem__` of sail-sg/closer-look-LLM-unlearning seeds torch with the index.
    """
    import torch

    draws = torch.Generator().manual_seed(index)
    retain = None
    if task.retain:
        shift = int(torch.randint(0, len(task.retain), (1,), generator=draws))
        retain = task.retain[(index + shift) % len(task.retain)]
    refusal = task.refusals[int(torch.randint(0, len(task.refusals), (1,), generator=draws))]
    return SampledPair(
        forget=task.forget[index],
        retain=retain,
        forget_refusal=refusal,
        retain_refusal=refusal,
        forget_alternate=next(iter(task.forget[index].alternate_answers), None),
    )


def _sample_pair(task: Task, index: int, epoch: int, config: TrainConfig, seed: int) -> SampledPair:
    if config.pairing == "published":
        return _published_pair(task, index)
    anchor = anchor_items(task, config)[index]
    rng = random.Random(f"{seed}/{epoch if config.pairing == 'resampled' else 0}/{anchor.id}")
    item, retain = anchor, anchor
    if config.anchor == "retain":
        item = rng.choice(task.forget)
    elif task.retain:
        retain = rng.choice(task.retain)
    return SampledPair(
        forget=item,
        retain=retain if task.retain else None,
        forget_refusal=rng.choice(task.refusals),
        retain_refusal=rng.choice(task.refusals),
        forget_alternate=rng.choice(item.alternate_answers) if item.alternate_answers else None,
    )
