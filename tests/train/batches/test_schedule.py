"""Steps, warm-up, ends of epochs and learning rates are those of the published code and of transformers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efface.errors import EffaceError
from efface.train.batches.sampler import epoch_batches
from efface.train.batches.schedule import (
    Schedule,
    count_earlier_epochs,
    epoch_ends,
    last_step,
    make_schedule,
)
from efface.train.config import TrainConfig
from support.messages import assert_names


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


def test_max_steps_that_go_through_few_items_too_often_are_refused():
    with pytest.raises(EffaceError) as error:
        make_schedule(7, TrainConfig(max_steps=1_000_000, batch_size=8))
    assert_names(str(error.value), "train.max_steps=1000000", "train.batch_size=8", "1,000,000", "lower")


def test_stop_after_more_than_all_epochs_is_refused():
    with pytest.raises(ValueError, match="stop_after=6 is more than epochs=5"):
        TrainConfig(epochs=5, stop_after=6)
    longer = TrainConfig(epochs=5, stop_after=6, max_steps=80, batch_size=4)  # of 40 items: eight epochs
    assert (last_step(40, longer), epoch_ends(40, longer)[60]) == (60, 6)


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
