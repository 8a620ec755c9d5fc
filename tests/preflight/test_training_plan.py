"""Trained parameters, tokens and bytes on disk of a planned training."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from efface.models.load import load_model
from efface.preflight.training_plan import TrainingPlan, bytes_on_disk, parameter_count, plan_training
from efface.text.sequence import TokenizedSequence
from efface.train.batches.schedule import Schedule
from efface.train.config import LoRAConfig, TrainConfig

CPU = torch.device("cpu")


def planned(**changes: Any) -> TrainingPlan:
    config = TrainConfig(**changes)
    return TrainingPlan("me+gd", Schedule(steps=10, warmup_steps=0, steps_per_epoch=4), config, 7, 0, 0, "float32")


def test_what_is_counted(source, config):
    model = load_model(source, dtype=torch.float32, device=CPU)
    example = {view: TokenizedSequence(view, [1] * n, [2] * 3) for n, view in ((4, "forget"), (9, "retain"))}
    found = plan_training("me+gd", model, [[example], [example]], 20, config=config(), device=CPU)
    assert (found.tokens, found.longest) == (2 * (7 + 12), 12)
    assert found.trained == parameter_count(model) == 90_864
    assert found.schedule.steps == 8
    adapted = plan_training("me+gd", model, [[example]], 20, config=config(**{"train.lora": {"r": 2}}), device=CPU)
    assert 0 < adapted.trained < 0.2 * parameter_count(model)


@pytest.mark.parametrize(
    ("train", "options", "expected"),
    [
        ({"save_steps": 10}, {}, 4 * 5),
        ({"save_steps": 9}, {}, 4 * 5 + 12 * 7),
        ({"save_steps": 4}, {}, 4 * 5 + 2 * 12 * 7),
        ({}, {}, 4 * 5 + 2 * 12 * 7),  # if training takes long
        ({"save_steps": 1}, {}, 4 * 5 + 2 * 12 * 7),
        ({"save_steps": 10}, {"models": 3}, 3 * 4 * 5),
        ({"save_steps": 10, "epochs": 3}, {"epochs": True}, 2 * 4 * 5 + 2 * 4 * 7),
        ({"save_steps": 10, "epochs": 3, "lora": LoRAConfig()}, {"epochs": True}, 2 * 4 * 5 + 2 * 4 * 7),
    ],
)
def test_bytes_on_disk(source, train, options, expected):
    """A model of 5 parameters of 4 bytes, 7 of which are trained."""
    assert bytes_on_disk(5, source, planned(**train), **options) == expected
