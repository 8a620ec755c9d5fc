"""A checkpoint is due after minutes, or after steps if these are set."""

from __future__ import annotations

from efface.train.checkpoints import checkpoint_timer
from efface.train.checkpoints.checkpoint_timer import CheckpointTimer
from efface.train.config import TrainConfig


def test_minutes(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoint_timer.time, "monotonic", lambda: now[0])
    timer = CheckpointTimer(TrainConfig(save_minutes=2))
    now[0] = 119
    assert not timer.is_due(50)
    now[0] = 120
    assert timer.is_due(51)
    timer.restart()
    assert not timer.is_due(52)


def test_steps_in_place_of_minutes(monkeypatch):
    monkeypatch.setattr(checkpoint_timer.time, "monotonic", lambda: 0.0)
    timer = CheckpointTimer(TrainConfig(save_minutes=1e-9, save_steps=3))
    monkeypatch.setattr(checkpoint_timer.time, "monotonic", lambda: 1e9)
    assert [step for step in range(1, 8) if timer.is_due(step)] == [3, 6]


def test_ten_minutes_by_default():
    assert TrainConfig().save_minutes == 10
