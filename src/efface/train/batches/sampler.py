"""Which items are in which step: a function of the seed alone, computed before training. Torch for published draws."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar, overload

from efface.errors import EffaceError
from efface.schema import Item, Task
from efface.train.batches.schedule import count_epochs, make_schedule
from efface.train.config import TrainConfig

_T = TypeVar("_T")
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
