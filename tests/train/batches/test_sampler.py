"""The seed decides which items are in which step; lengths are the published ones."""

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
from efface.train.batches.sampler import (
    Schedule,
    anchor_items,
    count_earlier_epochs,
    count_epochs,
    epoch_batches,
    epoch_ends,
    last_step,
    make_schedule,
    sample_batches,
)
from efface.train.config import TrainConfig
from support.messages import assert_names


def items(name: str, count: int) -> tuple[Item, ...]:
    return tuple(Item(id=f"{name}/{n}", question=f"{name} {n}?", answer=f"{name} {n}.") for n in range(count))


def task(forget: int = 10, retain: int = 50) -> Task:
    refusals = tuple(f"I don't know ({n})." for n in range(40))
    return Task(
        name="t", forget=items("forget", forget), retain=items("retain", retain), evaluation=(), refusals=refusals
    )


@pytest.mark.parametrize(
    ("count", "steps", "warmup", "per_epoch"),
    [
        (40, 6, 0, 1),  # TOFU's forget01: floor(5 * 40 / 32) steps, one step an epoch is no warm-up
        (200, 31, 6, 6),  # forget05
        (400, 62, 12, 12),  # forget10
        (64, 10, 2, 2),
        (63, 9, 0, 1),
        (7, 1, 0, 1),  # 35 draws, one batch
        (2, 1, 0, 1),  # fewer draws than a batch are a batch all the same
    ],
)
def test_the_published_schedule(count, steps, warmup, per_epoch):
    found = make_schedule(count, TrainConfig())
    assert (found.steps, found.warmup_steps, found.steps_per_epoch) == (steps, warmup, per_epoch)


@pytest.mark.parametrize(
    ("count", "steps", "warmup", "ends"),
    [
        (40, 10, 1, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (200, 60, 6, [6, 12, 18, 24, 30, 36, 42, 48, 54, 60]),
        (400, 120, 12, [12, 24, 36, 48, 60, 72, 84, 96, 108, 120]),
        (7, 2, 0, [1, 2]),  # fewer than a batch: as without the setting
    ],
)
def test_the_steps_of_open_unlearning(count, steps, warmup, ends):
    """A trainer of transformers 4.45.1 with 8 rows, 4 accumulated, and warmup_steps=int(1.0 * count // 32)."""
    config = TrainConfig(epochs=10, round_steps="epoch", average_over="micro-batch", micro_batch_size=8)
    found = make_schedule(count, config)
    assert (found.steps, found.warmup_steps) == (steps, warmup)
    assert list(epoch_ends(count, config)) == ends
    assert count_earlier_epochs(found, config) == len(ends) - 1
    assert all(len(batch) == 32 for batch in epoch_batches(count, config, 0))


def test_a_run_of_one_epoch_does_not_warm_up_to_its_end():
    assert make_schedule(64, TrainConfig(epochs=1)).warmup_steps == 0


def test_a_warm_up_that_leaves_no_step_is_refused():
    with pytest.raises(EffaceError, match=r"train.warmup_steps=6 of 6 steps .*; lower it or raise train\.epochs"):
        make_schedule(40, TrainConfig(warmup_steps=6))


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (7, 0), (62, 12), (5, 4), (3, 3)])
def test_the_learning_rate_is_that_of_transformers(steps, warmup):
    from torch import nn, optim
    from transformers import get_linear_schedule_with_warmup

    reference = get_linear_schedule_with_warmup(optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0), warmup, steps)
    schedule = Schedule(steps=steps, warmup_steps=warmup, steps_per_epoch=1)
    for done in range(steps + 2):
        assert schedule.lr_factor(done) == reference.lr_lambdas[0](done)


def test_warm_up_can_be_set():
    assert make_schedule(400, TrainConfig(warmup_steps=0)).warmup_steps == 0
    assert make_schedule(40, TrainConfig(warmup_steps=3)).warmup_steps == 3


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


@pytest.mark.parametrize(
    ("count", "epochs", "ends"),
    [
        (40, 5, {1: 1, 2: 2, 3: 3, 5: 4, 6: 5}),  # TOFU's forget01: 40, 80, 120, 160 and 200 draws in batches of 32
        (200, 5, {6: 1, 12: 2, 18: 3, 25: 4, 31: 5}),
        (400, 5, {12: 1, 25: 2, 37: 3, 50: 4, 62: 5}),
        (64, 2, {2: 1, 4: 2}),
        (20, 5, {1: 3, 2: 4, 3: 5}),  # two epochs end before the first step does: the last of them counts
        (2, 5, {1: 5}),
        (100, 1, {3: 1}),
    ],
)
def test_epochs_end_with_the_last_step_that_has_only_their_items(count, epochs, ends):
    assert epoch_ends(count, TrainConfig(epochs=epochs)) == ends


@given(count=st.integers(1, 60), epochs=st.integers(1, 8), size=st.integers(1, 40))
@settings(deadline=None, derandomize=True, max_examples=80)
def test_the_last_step_ends_the_last_epoch_and_no_epoch_ends_twice(count, epochs, size):
    config = TrainConfig(epochs=epochs, batch_size=size, warmup_steps=0)
    ends, plan = epoch_ends(count, config), make_schedule(count, config)
    assert (max(ends), ends[max(ends)]) == (plan.steps, epochs)
    assert sorted(ends) == list(ends)
    assert sorted(ends.values()) == sorted(set(ends.values())) == list(ends.values())
    assert count_earlier_epochs(plan, config) == len(ends) - 1
    drawn = epoch_batches(count, config, seed=0)
    for step, epoch in ends.items():
        if step < plan.steps:
            assert max(each for each, _ in drawn[step - 1]) < epoch  # no item of a later epoch was read
            assert any(each >= epoch for each, _ in drawn[step])  # the next step begins one


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


@pytest.mark.parametrize(
    ("count", "ends"),
    [
        (40, {1: 1, 2: 2, 3: 3, 4: 4, 6: 5}),
        (200, {6: 1, 12: 2, 18: 3, 24: 4, 31: 5}),
        (400, {12: 1, 24: 2, 36: 3, 48: 4, 62: 5}),
        (2, {1: 5}),
    ],
)
def test_published_epochs_have_the_same_number_of_steps(count, ends):
    config = TrainConfig(epoch_ends="published", pairing="published")
    assert epoch_ends(count, config) == ends
    assert count_earlier_epochs(make_schedule(count, config), config) == len(ends) - 1


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (7, 0), (62, 12), (5, 4)])
def test_the_other_schedules_are_those_of_transformers(steps, warmup):
    from torch import nn, optim
    from transformers import get_constant_schedule_with_warmup, get_cosine_schedule_with_warmup

    def optimizer():
        return optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)

    references = {
        "cosine": get_cosine_schedule_with_warmup(optimizer(), warmup, steps),
        "constant": get_constant_schedule_with_warmup(optimizer(), warmup),
    }
    for decay, reference in references.items():
        schedule = Schedule(steps=steps, warmup_steps=warmup, steps_per_epoch=1, decay=decay)
        for done in range(steps):
            assert schedule.lr_factor(done) == pytest.approx(reference.lr_lambdas[0](done), abs=1e-12)


def test_the_schedule_is_that_of_the_settings():
    assert make_schedule(64, TrainConfig()).decay == "linear"
    assert make_schedule(64, TrainConfig(schedule="cosine")).decay == "cosine"


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


def test_max_steps_that_go_through_few_items_too_often_are_refused():
    with pytest.raises(EffaceError) as error:
        make_schedule(7, TrainConfig(max_steps=1_000_000, batch_size=8))
    assert_names(str(error.value), "train.max_steps=1000000", "train.batch_size=8", "1,000,000", "lower")


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


@given(items=st.integers(1, 60), size=st.integers(1, 20), epochs=st.integers(1, 9), data=st.data())
def test_stop_after_ends_at_an_epoch_of_the_whole_schedule(items, size, epochs, data):
    whole = TrainConfig(epochs=epochs, batch_size=size, warmup_steps=0)
    stop = data.draw(st.integers(1, epochs))
    stopped = TrainConfig(epochs=epochs, batch_size=size, warmup_steps=0, stop_after=stop)
    assert make_schedule(items, stopped) == make_schedule(items, whole)
    ends, all_ends = epoch_ends(items, stopped), epoch_ends(items, whole)
    assert ends.keys() <= all_ends.keys()
    assert max(ends) == last_step(items, stopped) == min(step for step, epoch in all_ends.items() if epoch >= stop)
    assert ends[max(ends)] == stop
    assert last_step(items, whole) == make_schedule(items, whole).steps


def test_stop_after_more_than_all_epochs_is_refused():
    with pytest.raises(ValueError, match="stop_after=6 is more than epochs=5"):
        TrainConfig(epochs=5, stop_after=6)
    longer = TrainConfig(epochs=5, stop_after=6, max_steps=80, batch_size=4)  # of 40 items: eight epochs
    assert (last_step(40, longer), epoch_ends(40, longer)[60]) == (60, 6)
