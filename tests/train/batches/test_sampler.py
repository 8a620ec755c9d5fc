"""The seed decides which items are in which step."""

from __future__ import annotations

import tracemalloc
from collections import Counter

import pytest
import torch
from accelerate.data_loader import SeedableRandomSampler
from hypothesis import given, settings
from hypothesis import strategies as st

from efface.errors import EffaceError
from efface.schema import Item, Task
from efface.train.batches.sampler import anchor_items, epoch_batches, sample_batches
from efface.train.batches.schedule import (
    count_epochs,
    epoch_ends,
    make_schedule,
)
from efface.train.config import TrainConfig


def items(name: str, count: int) -> tuple[Item, ...]:
    return tuple(Item(id=f"{name}/{n}", question=f"{name} {n}?", answer=f"{name} {n}.") for n in range(count))


def task(forget: int = 10, retain: int = 50) -> Task:
    refusals = tuple(f"I don't know ({n})." for n in range(40))
    return Task(
        name="t", forget=items("forget", forget), retain=items("retain", retain), evaluation=(), refusals=refusals
    )


@given(count=st.integers(1, 60), epochs=st.integers(1, 5), size=st.integers(1, 40), seed=st.integers(0, 9))
@settings(deadline=None, derandomize=True, max_examples=80)
def test_batches_are_full_and_span_the_end_of_an_epoch(count, epochs, size, seed):
    config = TrainConfig(epochs=epochs, batch_size=size)
    found = epoch_batches(count, config, seed)
    assert len(found) == make_schedule(count, config).steps == max(1, count * epochs // size)
    assert all(len(batch) == size for batch in found) or len(found) == 1
    drawn = [draw for batch in found for draw in batch]
    assert [epoch for epoch, _ in drawn] == sorted(epoch for epoch, _ in drawn)
    for epoch in range(epochs):
        times = Counter(index for e, index in drawn if e == epoch)
        assert set(times.values()) <= {1}  # never twice in an epoch
        if epoch < drawn[-1][0]:
            assert len(times) == count  # and each once, except where the last epoch is cut short


def test_every_epoch_has_its_own_order():
    found = epoch_batches(30, TrainConfig(epochs=3, batch_size=30), seed=0)
    orders = [tuple(index for _, index in batch) for batch in found]
    assert len(set(orders)) == 3
    assert orders[0] != tuple(range(30))


def test_a_seed_gives_the_same_draws_and_another_seed_others():
    config = TrainConfig(epochs=2, batch_size=5)
    assert list(sample_batches(task(), config, 3)) == list(sample_batches(task(), config, 3))
    first, other = sample_batches(task(), config, 3), sample_batches(task(), config, 4)
    assert [d.forget.id for step in first for d in step] != [d.forget.id for step in other for d in step]
    partners = [{d.forget.id: d.retain.id for d in plan[0] + plan[1]} for plan in (first, other)]
    assert partners[0] != partners[1]


def by_epoch(config: TrainConfig, seed: int = 0) -> list[dict[str, tuple[str, str, str]]]:
    """Forget id -> its partners, one mapping an epoch; the batch is an epoch."""
    return [
        {d.forget.id: (d.retain.id, d.forget_refusal, d.retain_refusal) for d in step}
        for step in sample_batches(task(), config, seed)
    ]


def test_partners_are_drawn_again_in_every_epoch():
    first, second, third = by_epoch(TrainConfig(epochs=3, batch_size=10))
    for a, b in ((first, second), (second, third)):
        changed = sum(a[id_] != b[id_] for id_ in a)
        assert changed >= 9


def test_fixed_pairing_keeps_those_of_the_first_epoch():
    resampled = by_epoch(TrainConfig(epochs=3, batch_size=10))
    fixed = by_epoch(TrainConfig(epochs=3, batch_size=10, pairing="fixed"))
    assert fixed[0] == fixed[1] == fixed[2] == resampled[0]


def test_an_items_partners_depend_on_nothing_but_seed_epoch_and_id():
    """A forget set cut short, or another batch size, leaves the others' partners as they were."""
    config = TrainConfig(epochs=1, batch_size=5)
    whole = {d.forget.id: d for step in sample_batches(task(10), config, 0) for d in step}
    half = {d.forget.id: d for step in sample_batches(task(5), config, 0) for d in step}
    assert len(half) == 5
    assert all(whole[id_] == draw for id_, draw in half.items())


def test_all_retain_items_and_refusals_are_drawn():
    plan = sample_batches(task(10, retain=8), TrainConfig(epochs=40, batch_size=10), 0)
    assert {d.retain.id for step in plan for d in step} == {f"retain/{n}" for n in range(8)}
    assert len({d.forget_refusal for step in plan for d in step}) == 40
    assert len({d.retain_refusal for step in plan for d in step}) == 40
    assert any(d.forget_refusal != d.retain_refusal for step in plan for d in step)


PUBLISHED = TrainConfig(epochs=3, batch_size=10, pairing="published")


def test_published_partners_are_those_of_the_published_dataset():
    """They draw with torch's global generator, seeded with the index of the forget item."""
    found = {pair.forget.id: pair for step in sample_batches(task(), PUBLISHED, seed=7) for pair in step}
    with torch.random.fork_rng():
        for index in range(10):
            torch.manual_seed(index)
            retain = (index + torch.randint(0, 50, (1,)).item()) % 50
            refusal = f"I don't know ({torch.randint(0, 40, (1,)).item()})."
            pair = found[f"forget/{index}"]
            assert pair.retain is not None
            assert pair.retain.id == f"retain/{retain}"
            assert pair.forget_refusal == pair.retain_refusal == refusal


def test_published_draws_are_the_same_in_every_epoch_and_for_every_seed():
    first, second, third = by_epoch(PUBLISHED)
    assert first == second == third
    assert list(sample_batches(task(), PUBLISHED, 0)) == list(sample_batches(task(), PUBLISHED, 1))


def test_the_published_order_is_that_of_transformers_trainer():
    found = epoch_batches(40, TrainConfig(pairing="published"), seed=3)
    with torch.random.fork_rng():
        torch.manual_seed(42)  # as the trainer does
        sampler = SeedableRandomSampler(range(40), generator=torch.Generator())
    order = [index for _ in range(5) for index in sampler]
    assert [index for batch in found for _, index in batch] == order[: 6 * 32]


def test_published_draws_without_a_retain_set():
    alone = task().model_copy(update={"retain": ()})
    pairs = [pair for step in sample_batches(alone, PUBLISHED, 0) for pair in step]
    assert {pair.retain for pair in pairs} == {None}


@pytest.mark.parametrize("max_steps", [1, 3, 7])
def test_max_steps_take_the_place_of_epochs(max_steps):
    config = TrainConfig(max_steps=max_steps, batch_size=4, epochs=1)
    steps = epoch_batches(10, config, 0)
    assert [len(step) for step in steps] == [4] * max_steps
    epochs = count_epochs(10, config)
    assert epochs == -(-max_steps * 4 // 10)
    assert steps[-1][-1][0] == epochs - 1
    assert make_schedule(10, config).steps == max_steps
    assert max(epoch_ends(10, config).items()) == (max_steps, epochs)
    longer = epoch_batches(10, TrainConfig(max_steps=9, batch_size=4), 0)
    assert longer[:max_steps] == [*steps]


def test_a_long_training_takes_no_more_memory_than_a_short_one():
    config = TrainConfig(max_steps=10_000_000, batch_size=8)
    tracemalloc.start()
    try:
        steps = epoch_batches(1000, config, 0)
        assert len(steps) == config.max_steps
        assert steps[:2] == epoch_batches(1000, TrainConfig(max_steps=2, batch_size=8), 0)[:2]
        assert {epoch for epoch, _ in steps[-1]} == {79_999}
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_an_epoch_of_the_retain_set():
    config = TrainConfig(anchor="retain", batch_size=5, epochs=2)
    data = task(forget=3, retain=10)
    steps = [*sample_batches(data, config, seed=0)]
    assert len(steps) == 4
    assert anchor_items(data, config) == data.retain
    for epoch in (steps[:2], steps[2:]):
        assert sorted(pair.retain.id for step in epoch for pair in step) == sorted(item.id for item in data.retain)
    drawn = Counter(pair.forget.id for step in steps for pair in step)
    assert set(drawn) == {item.id for item in data.forget}


def test_an_epoch_of_a_retain_set_that_is_not_there():
    with pytest.raises(EffaceError, match=r"train\.anchor=retain .* t has none; give data\.retain"):
        sample_batches(task(retain=0), TrainConfig(anchor="retain"), seed=0)


def test_alternate_answers_are_drawn_again_in_each_epoch():
    item = Item(id="a", question="Who?", answer="Ada.", alternate_answers=("Bob.", "Cid.", "Dan."))
    data = task().model_copy(update={"forget": (item,)})
    config = TrainConfig(batch_size=1, epochs=30)
    drawn = [step[0].forget_alternate for step in sample_batches(data, config, seed=0)]
    assert set(drawn) == set(item.alternate_answers)
    fixed = TrainConfig(batch_size=1, epochs=30, pairing="fixed")
    assert len({step[0].forget_alternate for step in sample_batches(data, fixed, seed=0)}) == 1
    published = TrainConfig(batch_size=1, epochs=2, pairing="published")
    assert {step[0].forget_alternate for step in sample_batches(data, published, seed=0)} == {"Bob."}
    assert sample_batches(task(), config, seed=0)[0][0].forget_alternate is None
