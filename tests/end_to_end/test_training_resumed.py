"""Trainings that are killed or diverge: the checkpoint that stays, and how they resume."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from efface.errors import EffaceError
from efface.objectives.config import KLConfig, MEConfig, ObjectiveConfig
from efface.objectives.method import objective
from efface.train import loop
from efface.train.batches.schedule import Schedule
from efface.train.batches.token_budget import TokenBudget
from efface.train.checkpoints import checkpoint_timer
from efface.train.checkpoints.checkpoint_writer import CheckpointWriter
from efface.train.config import TrainConfig
from efface.train.step import batch_losses
from support.training import GA_GD, LORA, TRAIN, assert_equal, cached_and_live, train_tiny, weights


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The tiny model's last digits depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Any]:
    """As `train_tiny`, in a temporary folder unless `folder` is given."""
    return lambda *arguments, folder=tmp_path, **settings: train_tiny(folder, *arguments, **settings)


# Kills


def test_checkpoints_are_written_after_minutes_or_steps(train, monkeypatch, tmp_path):
    saved, clock = [], [0.0]
    start = CheckpointWriter.start
    monkeypatch.setattr(
        CheckpointWriter, "start", lambda self, files, state: (saved.append(state.step), start(self, files, state))
    )
    monkeypatch.setattr(checkpoint_timer.time, "monotonic", lambda: clock[0])
    a_step = {"on_trainer": lambda trainer: ticking(trainer, clock, seconds=60)}
    train(**a_step)
    assert saved == []  # six minutes are fewer than ten
    train(TRAIN.model_copy(update={"save_minutes": 2}), folder=tmp_path / "minutes", **a_step)
    assert saved == [1, 3, 5]  # each step counts until its losses are known to be finite
    saved.clear()
    train(TRAIN.model_copy(update={"save_steps": 2}), folder=tmp_path / "steps")
    assert saved == [2, 4]  # none at the end: the model itself is saved there


def ticking(trainer, clock, *, seconds):
    """Let each step take so long."""
    grad_norm = trainer.parallel_model.grad_norm

    def slow():
        clock[0] += seconds
        return grad_norm()

    trainer.parallel_model.grad_norm = slow


PADDED = ObjectiveConfig(
    me=MEConfig(average="padded", padded_length=24), kl=KLConfig(average="padded", padded_length=20)
)
MICRO_BATCHES = TRAIN.model_copy(
    update={"average_over": "micro-batch", "micro_batch_size": 2, "max_tokens_per_forward": 50}
)
RESUMED = {
    "full": (TRAIN, "ga+gd", {}),
    "tied": (TRAIN, "ga+gd", {"tied": True}),
    "clipped": (TRAIN.model_copy(update={"max_grad_norm": 0.1}), "idk+ap", {}),
    "bf16": (TRAIN.model_copy(update={"precision": "bf16"}), "me+gd", {}),
    "lora": (TRAIN.model_copy(update={"lora": LORA}), "me+gd", {}),
    "padded": (MICRO_BATCHES, "me+gd", {}),
    "lora, padded": (MICRO_BATCHES.model_copy(update={"lora": LORA}), "me+kl", {"reference": cached_and_live}),
    "lora with references": (TRAIN.model_copy(update={"lora": LORA}), "npo+kl", {"reference": cached_and_live}),
}


def test_the_global_generators_continue_as_if_nothing_was_trained(train):
    def drawn():
        return random.random(), np.random.random(), torch.rand(()).item()

    def seeded(number):
        random.seed(number)
        np.random.seed(number)
        torch.manual_seed(number)

    config = TRAIN.model_copy(update={"save_steps": 3})
    train(config, stop_after=5)
    seeded(7)
    expected = drawn()
    seeded(7)
    train(config, resume=True)
    assert drawn() == expected


@pytest.mark.parametrize("case", RESUMED)
@pytest.mark.parametrize("stop_after", [1, 4])
def test_a_resumed_training_is_the_same_as_an_uninterrupted_one(train, tmp_path, case, stop_after):
    config, method, shape = RESUMED[case]
    config = config.model_copy(update={"save_steps": 2})
    bound = objective(method, PADDED if config.average_over == "micro-batch" else ObjectiveConfig())
    whole, _, whole_logs = train(config, bound, folder=tmp_path / "whole", **shape)
    train(config, bound, folder=tmp_path / "cut", stop_after=stop_after, **shape)
    torch.manual_seed(stop_after)  # as another process may have
    resumed, _, logs = train(config, bound, folder=tmp_path / "cut", resume=True, **shape)
    assert_equal(weights(resumed), weights(whole))
    done = (stop_after - 1) // 2 * 2  # killed before the checkpoint of its last step
    same = [replace(log, seconds=0) for log in whole_logs[done:]]
    assert [replace(log, seconds=0) for log in logs] == same


def test_a_resumed_run_has_the_same_micro_batches(train, monkeypatch):
    """Free memory differs from hour to hour; dropout masks and the last digits depend on the cut."""
    config = TRAIN.model_copy(update={"lora": LORA, "save_steps": 2})
    monkeypatch.setattr(loop, "token_budget_for", lambda *_: TokenBudget(60))
    train(config, stop_after=3)
    monkeypatch.setattr(loop, "token_budget_for", lambda *_: TokenBudget(10_000))
    assert train(config, resume=True)[1].budget.tokens == 60


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_checkpoint_of_an_earlier_version_resumes_bitwise(train, tmp_path, precision, monkeypatch):
    """Its scheduler and token budget were pickled by accelerate."""
    config = TRAIN.model_copy(update={"save_steps": 2, "precision": precision})
    whole, _, whole_logs = train(config, folder=tmp_path / "whole")
    trainers, start = [], CheckpointWriter.start

    def pickling(self, files, state):
        start(self, files, state)
        torch.save(trainers[0].optimizer.state_dict(), tmp_path / "optimizer.pt")

    with monkeypatch.context() as context:
        context.setattr(CheckpointWriter, "start", pickling)
        train(config, folder=tmp_path / "cut", stop_after=5, on_trainer=trainers.append)
    [path] = (tmp_path / "cut" / "checkpoints").iterdir()
    (path / "optimizer.safetensors").unlink()
    (path / "SHA256SUMS").unlink()
    (tmp_path / "optimizer.pt").rename(path / "optimizer.pt")
    state = json.loads((path / "trainer_state.json").read_text())
    (path / "trainer_state.json").unlink()
    torch.save({"last_epoch": state["step"], "_last_lr": [1.0]}, path / "custom_checkpoint_0.pkl")
    torch.save(state["token_budget"], path / "custom_checkpoint_1.pkl")
    resumed, _, logs = train(config, folder=tmp_path / "cut", resume=True)
    assert_equal(weights(resumed), weights(whole))
    assert [(log.step, log.lr) for log in logs] == [(log.step, log.lr) for log in whole_logs[4:]]


# Divergence


def test_nan_stops_training_before_the_step(train, tmp_path, monkeypatch):
    """The message names step, objective and items; the last checkpoint stays and loads."""
    config = TRAIN.model_copy(update={"save_steps": 2})
    good = weights(train(config, stop_after=4, folder=tmp_path / "good")[0])
    calls = 0

    def poisoned(*arguments, **settings):
        nonlocal calls
        calls += 1
        losses = batch_losses(*arguments, **settings)
        return replace(losses, forget=losses.forget * float("nan")) if calls == 5 else losses

    monkeypatch.setattr(loop, "batch_losses", poisoned)
    seen = []
    with pytest.raises(EffaceError) as raised:
        train(config, on_trainer=seen.append)
    message = str(raised.value)
    last = tmp_path / "checkpoints" / "step-000002"
    assert message.startswith("step 5 of 6: ga+gd is not finite (forget nan, retain ")
    assert f"the checkpoint of step 2 stays in {last}; lower train.lr, or check the items: " in message
    assert all(f"5/{view}/{n}" in message for view in GA_GD.views for n in range(3))
    assert "4/forget" not in message
    assert "\n" not in message
    assert_equal(weights(seen[0].model), good)
    assert [path.name for path in last.parent.iterdir()] == ["step-000002"]
    monkeypatch.setattr(loop, "batch_losses", batch_losses)
    resumed = train(config, resume=True)[0]
    assert_equal(weights(resumed), weights(train(config, folder=tmp_path / "whole")[0]))


def test_an_infinite_gradient_stops_training(train, monkeypatch):
    def exploding(model, *arguments, **settings):
        losses = batch_losses(model, *arguments, **settings)
        next(model.parameters()).grad[0, 0] = float("inf")
        return losses

    monkeypatch.setattr(loop, "batch_losses", exploding)
    with pytest.raises(EffaceError, match=r"step 1 of 6: ga\+gd is not finite .*gradient norm inf.*no checkpoint was"):
        train()


def test_a_checkpoint_is_one_that_gave_finite_losses(train, tmp_path):
    """An absurd learning rate leaves finite weights whose losses are not: they must not become a checkpoint."""
    with pytest.raises(EffaceError, match=r"step 2 of 6: ga\+gd is not finite .*; no checkpoint was written yet"):
        train(TrainConfig(lr=1e25, save_steps=1), schedule=Schedule(6, 0, 1))
    assert not (tmp_path / "checkpoints").exists()
