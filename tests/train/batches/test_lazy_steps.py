"""Steps are made in blocks, one block ahead, and are the same however they are read."""

from __future__ import annotations

import threading

import pytest

from efface.train.batches import lazy_steps
from efface.train.batches.lazy_steps import LazySteps, known_steps


@pytest.fixture
def made(monkeypatch):
    monkeypatch.setattr(lazy_steps, "STEPS_PER_BLOCK", 3)
    return []


def lazy(made, count=8):
    def make(numbers):
        made.append((numbers, threading.current_thread().name))
        return [10 * number for number in numbers]

    return LazySteps(count, make)


def test_they_are_a_sequence(made):
    steps = lazy(made)
    assert len(steps) == 8
    assert list(steps) == [0, 10, 20, 30, 40, 50, 60, 70]
    assert [steps[-1], steps[4], *steps[1:3]] == [70, 40, 10, 20]
    with pytest.raises(IndexError):
        steps[8]


def test_the_next_block_is_made_in_a_thread(made):
    steps = lazy(made)
    assert made == []
    assert steps.first_block() == [0, 10, 20]
    list(steps)
    assert [numbers for numbers, _ in made] == [range(3), range(3, 6), range(6, 8)]
    assert [name.startswith("steps") for _, name in made] == [False, True, True]


def test_a_resumed_training_begins_anywhere(made):
    steps = lazy(made, 30)
    steps.first_block()
    assert [steps[number] for number in range(20, 24)] == [200, 210, 220, 230]
    assert range(15, 18) not in [numbers for numbers, _ in made]


def test_errors_are_raised_where_the_step_is_read():
    def make(numbers):
        if numbers.start:
            raise ValueError("item x is too long")
        return list(numbers)

    steps = LazySteps(20, make)
    assert steps[0] == 0
    with pytest.raises(ValueError, match="item x"):
        steps[16]


def test_what_is_known_at_once(made):
    assert known_steps(lazy(made)) == [0, 10, 20]
    assert known_steps([1, 2]) == [1, 2]
